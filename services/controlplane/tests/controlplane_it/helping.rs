//! What `--help` and `completion` print. The help is committed: `UPDATE_EXPECT=1` writes it anew.

use std::fmt::Write as _;

use expect_test::expect_file;

use crate::world::type_in;

#[test]
fn help_is_as_it_is_committed() {
    let mut text = String::new();
    let mut pages: Vec<Vec<String>> = vec![vec![]];
    while let Some(page) = pages.pop() {
        let mut words: Vec<&str> = page.iter().map(String::as_str).collect();
        words.push("--help");
        let answer = type_in(&words);
        assert_eq!(answer.code, 0, "{words:?}");
        let words = words.join(" ");
        writeln!(text, "$ controlplane {words}\n{}", answer.out).unwrap();
        let mut below: Vec<Vec<String>> = subcommands(&answer.out)
            .into_iter()
            .map(|name| page.iter().cloned().chain([name]).collect())
            .collect();
        below.reverse();
        pages.extend(below);
    }
    expect_file!["./help.txt"].assert_eq(&text);
}

#[test]
fn every_shell_completes() {
    for shell in ["bash", "zsh", "fish"] {
        let answer = type_in(&["completion", shell]);
        assert_eq!(answer.code, 0);
        assert!(answer.out.contains("broker-config"), "{shell}");
    }
}

fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = list.take_while(|line| !line.is_empty());
    rows.filter_map(|row| row.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

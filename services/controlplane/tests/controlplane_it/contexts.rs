//! Several control planes, each under a name.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::world::{World, command};

/// Types a command with contexts of one's own, in a directory without a control plane.
fn type_in(home: &Path, words: &[&str], input: Option<&str>) -> Output {
    let file = home.join("input");
    fs::write(&file, input.unwrap_or_default()).unwrap();
    command(words)
        .env("XDG_CONFIG_HOME", home)
        .env_remove("CONTROL_PLANE_CONTEXT")
        .current_dir(home)
        .stdin(Stdio::from(fs::File::open(&file).unwrap()))
        .output()
        .unwrap()
}

#[track_caller]
fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(err));
    String::from_utf8_lossy(out).into_owned()
}

#[tokio::test]
async fn whoever_logs_in_is_asked_for_no_file_from_then_on() {
    let world = World::up().await;
    let context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
    let url = context["url"].as_str().unwrap();
    let token = |name: &str| {
        let token = &context["identities"][name]["token"];
        token.as_str().unwrap().to_owned()
    };
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let login = ["login", "desk", "--url", url];
    let said = told(&type_in(home, &login, Some(&token("submitter"))));
    assert!(said.contains("submitter of workspace demo"), "{said}");
    let file = home.join("controlplane/contexts/desk.json");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let submitted = told(&type_in(
        home,
        &["--json", "intent", "submit", "Say hello"],
        None,
    ));
    let submitted: Value = serde_json::from_str(&submitted).unwrap();
    let id = submitted["executionId"].as_str().unwrap();

    let voter = ["login", "voter", "--url", url];
    told(&type_in(home, &voter, Some(&token("approver"))));
    let list = ["--json", "context", "list"];
    let listed: Value = serde_json::from_str(&told(&type_in(home, &list, None))).unwrap();
    let chosen = listed["items"].as_array().unwrap().iter();
    let chosen: Vec<_> = chosen
        .map(|item| (item["name"].as_str().unwrap(), item["chosen"] == true))
        .collect();
    assert_eq!(chosen, [("desk", false), ("voter", true)]);
    // The one that was chosen may not submit; the other one is named.
    let refused = type_in(home, &["intent", "submit", "Say hello"], None);
    assert_eq!(refused.status.code(), Some(1));
    told(&type_in(
        home,
        &["--context", "desk", "execution", "get", id],
        None,
    ));
    told(&type_in(home, &["context", "use", "desk"], None));
    told(&type_in(
        home,
        &["-w", "demo", "execution", "get", id],
        None,
    ));
    let elsewhere = type_in(home, &["-w", "other", "execution", "get", id], None);
    assert_eq!(elsewhere.status.code(), Some(2));

    told(&type_in(home, &["context", "remove", "desk"], None));
    assert!(!file.exists());
    let gone = type_in(home, &["context", "use", "desk"], None);
    assert_eq!(gone.status.code(), Some(2));
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(said.contains("use one of voter"), "{said}");
}

#[tokio::test]
async fn a_token_that_is_not_known_is_kept_nowhere() {
    let world = World::up().await;
    let context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
    let url = context["url"].as_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (name, token, code) in [
        ("desk", "nonsense", 1),
        ("desk", "", 2),
        ("../desk", "nonsense", 2),
    ] {
        let refused = type_in(home, &["login", name, "--url", url], Some(token));
        assert_eq!(refused.status.code(), Some(code), "{name} {token}");
    }
    assert!(!home.join("controlplane").exists());
}

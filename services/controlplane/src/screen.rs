//! What is printed: tables and words for people, JSON for programs, colours for terminals only.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::json;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    json: bool,
    colour: bool,
    is_aside: bool,
}

/// How much of a text a column of a table shows.
const CELL_CHARS_MAX: usize = 60;

/// So many of a thing, in the number it takes: `1 execution`, `2 policies`.
pub fn count(number: u64, one: &str) -> String {
    if number == 1 {
        return format!("1 {one}");
    }
    let before_y = one.strip_suffix('y');
    match before_y.filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u'])) {
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {one}s"),
    }
}

impl Screen {
    pub fn new(json: bool, no_colour: bool) -> Self {
        Self {
            json,
            colour: !json && !no_colour && io::stdout().is_terminal(),
            is_aside: false,
        }
    }

    /// What is going on is said on standard error: the answer is something else.
    #[must_use]
    pub fn aside(self) -> Self {
        Self {
            is_aside: true,
            ..self
        }
    }

    pub fn is_json(self) -> bool {
        self.json
    }

    /// One answer: the value for programs, or the words for people.
    pub fn answer<T: Serialize>(self, value: &T, people: impl FnOnce() -> String) {
        if self.json {
            put(&serde_json::to_string(value).unwrap_or_default());
        } else {
            put(people().trim_end_matches('\n'));
        }
    }

    /// One line of what is going on.
    pub fn note(self, topic: &str, text: &str) {
        let line = if self.json {
            json!({ "topic": topic, "text": text }).to_string()
        } else {
            format!("{} {}", self.bold(&format!("{topic:<11}")), plain(text))
        };
        if self.is_aside {
            let _ = writeln!(io::stderr().lock(), "{line}");
        } else {
            put(&line);
        }
    }

    /// A line for people only.
    pub fn line(self, text: &str) {
        if !self.json {
            put(text);
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.styled("2", text)
    }

    pub fn good(self, text: &str) -> String {
        self.styled("32", text)
    }

    pub fn waiting(self, text: &str) -> String {
        self.styled("33", text)
    }

    pub fn alert(self, text: &str) -> String {
        self.styled("31", text)
    }

    /// A word about how something stands, in the colour of what it means.
    pub fn state(self, word: &str) -> String {
        match word.trim_end() {
            "completed" | "autonomous" | "low" | "installed" | "activated" => self.good(word),
            "failed" | "rejected" | "corrupt" | "high" | "refused" => self.alert(word),
            "blocked" | "assist" | "medium" | "paused" | "disabled" => self.waiting(word),
            _ => word.to_owned(),
        }
    }

    /// Rows under headings, in columns as wide as they need.
    pub fn table(self, headings: &[&str], rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|cell| shortened(&plain(cell), CELL_CHARS_MAX))
                    .collect()
            })
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(headings.get(column).map_or(0, |heading| heading.len()))
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let padded = |cell: &str, width: usize| format!("{cell:width$}");
        let heading: Vec<String> = headings
            .iter()
            .zip(&widths)
            .map(|(cell, width)| padded(cell, *width))
            .collect();
        let mut lines = vec![self.faint(heading.join("  ").trim_end())];
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| self.state(&padded(cell, *width)))
                .collect();
            lines.push(cells.join("  ").trim_end().to_owned());
        }
        lines.join("\n")
    }

    fn styled(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Writes a line. Whoever closed the pipe does not want the rest.
pub fn put(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A text from elsewhere, made safe to show: what a reader cannot see, or that would move the
/// cursor, is written out. Whoever approves must see what is approved.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As it has to be typed in a shell, where it is one word.
pub fn quoted(word: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_bare) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Indented JSON for a person.
pub fn pretty(value: &serde_json::Value, indent: &str) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("{indent}{}", plain(line)))
        .collect();
    lines.join("\n")
}

pub fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

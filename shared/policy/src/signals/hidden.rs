//! Text that does not say to a reader what it says to a machine.
//!
//! Honest uses of invisible characters pass: joiners within emoji and within scripts that join,
//! marks of direction in text that has a right-to-left script, a byte order mark at the start,
//! soft hyphens.

use unicode_security::{MixedScript, skeleton};

use super::fold::is_invisible;

pub fn is_in(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.is_ascii() {
        return text.chars().any(is_control);
    }
    text.chars().any(is_control) || holds_invisible(text) || poses_as_other_letters(text)
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

fn holds_invisible(text: &str) -> bool {
    let has_right_to_left = text.chars().any(is_right_to_left);
    let mut before: Option<char> = None;
    let mut rest = text.chars().peekable();
    // Tag characters are honest only in the flag of a region, which begins with a black flag.
    let mut in_flag = false;
    while let Some(c) = rest.next() {
        in_flag = c == '\u{1f3f4}' || (in_flag && is_tag(c));
        let honest = match c {
            '\u{ad}' => true,
            '\u{200d}' => {
                before.is_some_and(is_pictograph) && rest.peek().copied().is_some_and(is_pictograph)
                    || before.is_some_and(joins)
            }
            '\u{200c}' => before.is_some_and(joins),
            '\u{200e}' | '\u{200f}' | '\u{61c}' => has_right_to_left,
            '\u{fe00}'..='\u{fe0f}' => before.is_some_and(takes_variation),
            '\u{180b}'..='\u{180f}' => before.is_some_and(is_mongolian),
            c if is_tag(c) => in_flag,
            c => !is_invisible(c),
        };
        if !honest {
            return true;
        }
        before = Some(c);
    }
    false
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

/// Whether a variation selector may follow: symbols, and digits of keycap emoji. After letters of
/// an alphabet it carries data, not looks.
fn takes_variation(before: char) -> bool {
    is_pictograph(before)
        || before.is_ascii_digit()
        || matches!(before, '#' | '*' | '\u{203c}' | '\u{2049}')
        || is_ideograph(before)
}

fn is_pictograph(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{2100}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}'
            | '\u{3299}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}'
    )
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

fn is_mongolian(c: char) -> bool {
    matches!(c, '\u{1800}'..='\u{18af}')
}

/// Scripts in which joiners and non-joiners change the shape of letters.
fn joins(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{7ff}' | '\u{840}'..='\u{dff}' | '\u{f00}'..='\u{109f}'
        | '\u{1780}'..='\u{18af}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{5ff}' | '\u{600}'..='\u{61b}' | '\u{61d}'..='\u{8ff}'
        | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// A word of several scripts in which a letter stands for an ASCII letter that it looks like.
fn poses_as_other_letters(text: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_ascii() && !word.is_single_script())
        .any(|word| word.chars().any(|c| !c.is_ascii() && looks_like_ascii(c)))
}

fn looks_like_ascii(c: char) -> bool {
    let one = c.to_string();
    let mut looks = skeleton(&one);
    looks.next().is_some_and(|look| look.is_ascii_alphabetic()) && looks.next().is_none()
}

//! How deep the text of a policy or a schema nests, before Cedar reads it. Cedar's reader,
//! validator and evaluator call themselves for each level, so that a text without a bound would end
//! the process: and again each time the event that holds it is delivered.

/// Brackets that stand in each other, and `if`s of one statement.
const DEPTH_MAX: usize = 64;

/// Signs of one statement that Cedar may turn into one more level each, such as `.` and `+`: an
/// order of magnitude above the largest that a person reviews.
const SIGNS_MAX: usize = 1_500;

/// Declarations of a schema: each may stand for the next, or be in it.
const DECLARATIONS_MAX: usize = 500;

/// Why a text is not given to Cedar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooDeep {
    #[error("more than {DEPTH_MAX} brackets or `if`s stand in each other; split it")]
    Depth,
    #[error("a statement has more than {SIGNS_MAX} operators and brackets; split it")]
    Signs,
    #[error("there are more than {DECLARATIONS_MAX} declarations")]
    Declarations,
}

/// Policies, whose statements do not refer to each other.
pub fn of_policies(text: &str) -> Result<(), TooDeep> {
    measure(text, &['(', '[', '{'], &[')', ']', '}']).map(drop)
}

pub fn of_schema(text: &str) -> Result<(), TooDeep> {
    let declarations = measure(text, &['(', '[', '{', '<'], &[')', ']', '}', '>'])?;
    if declarations > DECLARATIONS_MAX {
        return Err(TooDeep::Declarations);
    }
    Ok(())
}

/// How many statements there are, if none of them nests too deep.
fn measure(text: &str, opening: &[char], closing: &[char]) -> Result<usize, TooDeep> {
    let (mut depth, mut ifs, mut signs, mut statements) = (0_usize, 0, 0, 0);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let length = match c {
            '"' => string(rest),
            '/' if rest.starts_with("//") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            _ => word.max(c.len_utf8()),
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = after;
        match c {
            ';' => {
                (ifs, signs) = (0, 0);
                statements += 1;
            }
            _ if opening.contains(&c) => depth += 1,
            _ if closing.contains(&c) => depth = depth.saturating_sub(1),
            _ if token == "if" => ifs += 1,
            _ => {}
        }
        let is_sign = c.is_ascii_punctuation() && !matches!(c, '"' | '/' | ',' | ':' | ';' | '_');
        signs += usize::from(is_sign);
        if depth + ifs > DEPTH_MAX {
            return Err(TooDeep::Depth);
        }
        if signs > SIGNS_MAX {
            return Err(TooDeep::Signs);
        }
    }
    Ok(statements)
}

/// The length of the string that `text` begins with, its quotes included.
fn string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

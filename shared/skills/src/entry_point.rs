//! Which entry points a publisher may name: what the catalogue's `EntryPoint` parses, less what is
//! the control plane's own, each refusal with its reason.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntryPoint {
    #[error("the entry point `{0}` has no scheme; write `nats:<name>`")]
    NoScheme(String),
    #[error("entry points `{0}:` are not supported yet; use `nats:<name>`")]
    NotSupportedYet(String),
    #[error("the entry point scheme `{0}:` is unknown; use `nats:<name>`")]
    UnknownScheme(String),
    /// One token of a subject as it stands, below the workspace's own subjects.
    #[error("`{0}` is not the name of an entry point: 1 to 128 of `a-z`, `0-9`, `-` and `_`")]
    Name(String),
    #[error("`builtin:` belongs to the skills of the control plane, whose keys begin with `core.`")]
    BuiltinOfAnother,
}

/// Keeps a subject readable, and far below the server's limit of 4 KiB for a protocol line.
const NAME_BYTES_MAX: usize = 128;

/// Checks the entry point of the skill `key`.
pub fn check(text: &str, key: &str) -> Result<(), InvalidEntryPoint> {
    let (scheme, name) = text
        .split_once(':')
        .ok_or_else(|| InvalidEntryPoint::NoScheme(excerpt(text)))?;
    match scheme {
        "nats" => check_name(name),
        "builtin" if is_reserved(key) => check_name(name),
        "builtin" => Err(InvalidEntryPoint::BuiltinOfAnother),
        "https" | "wasm" | "mcp" => Err(InvalidEntryPoint::NotSupportedYet(scheme.to_owned())),
        _ => Err(InvalidEntryPoint::UnknownScheme(excerpt(scheme))),
    }
}

/// Whether a skill key is the control plane's own, which nobody can install.
pub fn is_reserved(key: &str) -> bool {
    key == "core" || key.starts_with("core.")
}

fn check_name(name: &str) -> Result<(), InvalidEntryPoint> {
    let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(InvalidEntryPoint::Name(excerpt(name)))
    }
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

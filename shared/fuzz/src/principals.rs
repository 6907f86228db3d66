//! The file of principals.

use std::collections::BTreeSet;

use host::principals::Document;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a file"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Reached::new();
    };
    let Ok(document) = Document::parse(text, "the corpus") else {
        return Reached::new();
    };
    let tokens: BTreeSet<_> = document.principals.iter().map(|it| it.token_hash).collect();
    assert_eq!(tokens.len(), document.principals.len(), "a token of two");
    let written = serde_json::to_string(&document).unwrap();
    assert_eq!(
        Document::parse(&written, "what was written").unwrap(),
        document
    );
    Reached::from(["a file"])
}

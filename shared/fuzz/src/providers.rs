//! The file of identity providers.

use std::collections::BTreeSet;

use host::identity::document::Document;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a file"];

pub fn holds(bytes: &[u8]) -> Reached {
    let document = match Document::parse(bytes) {
        Ok(document) => document,
        Err(findings) => {
            assert!(!findings.is_empty(), "refused without a reason");
            return Reached::new();
        }
    };
    for provider in &document.providers {
        assert_ne!(provider.keys.file.is_some(), provider.keys.url.is_some());
        assert!(!provider.algorithms.is_empty() && !provider.audiences.is_empty());
    }
    let names: BTreeSet<_> = document.providers.iter().map(|it| &it.name).collect();
    assert_eq!(names.len(), document.providers.len());
    let written = serde_json::to_vec(&document).unwrap();
    assert_eq!(Document::parse(&written).as_ref(), Ok(&document));
    Reached::from(["a file"])
}

//! Bundles, and policies in Cedar's text.

use contracts::bundle::{Bundle, Trust};
use host::http::body;
use policy::{engine::Engine, shipped::default_bundle};
use serde_json::Value;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a bundle", "a schema", "policies"];

/// A bundle in JSON; or the text of a schema after a first line `schema`; or that of policies.
pub fn holds(bytes: &[u8]) -> Reached {
    let Some((kind, bundle)) = bundle(bytes) else {
        return Reached::new();
    };
    match Engine::load(&bundle) {
        Ok(_) => {
            let hash = bundle.hash().expect("what is active has a hash");
            let written = serde_json::to_value(&bundle).unwrap();
            let again: Bundle = serde_json::from_value(written).unwrap();
            assert_eq!(again.hash(), Ok(hash));
            Reached::from([kind])
        }
        Err(findings) => {
            assert!(!findings.is_empty(), "refused without a reason");
            assert!(findings.is_sorted(), "{findings:?}");
            assert_eq!(Engine::load(&bundle).err(), Some(findings));
            Reached::new()
        }
    }
}

/// And what it came as.
fn bundle(bytes: &[u8]) -> Option<(&'static str, Bundle)> {
    if let Ok(members) = body::parse(bytes) {
        let bundle = serde_json::from_value(Value::Object(members)).ok()?;
        return Some(("a bundle", bundle));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let shipped = default_bundle();
    if let Some(schema) = text.strip_prefix("schema\n") {
        let schema = schema.to_owned();
        return Some(("a schema", Bundle { schema, ..shipped }));
    }
    let bundle = Bundle {
        policies: [("corpus.cedar".to_owned(), text.to_owned())].into(),
        trust: Trust::default(),
        ..shipped
    };
    Some(("policies", bundle))
}

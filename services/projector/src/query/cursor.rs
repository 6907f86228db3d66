//! Cursors: opaque texts that say after which item a list goes on, and of which list. They grant
//! nothing: what is listed is what the caller may see.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::{canonical::Digest, ids::WorkspaceId, registry::OperationName};
use host::http::input::INVALID_VALUE;
use serde::Serialize;
use serde_json::Value;

use super::Findings;

/// The code of a cursor that was made for another list.
const OTHER_FILTERS: &str = "CURSOR_OF_OTHER_FILTERS";

/// Longer than any that is made: an item's key is one or two ids.
const CHARS_MAX: usize = 1024;

/// Of the digest of the list, what stands in its cursors.
const LIST_BYTES: usize = 8;

/// Members of an input that change which part of a list is shown, and not the list.
const PART: [&str; 4] = ["limit", "offset", "cursor", "atLeast"];

/// A list, by what is asked for in it.
pub struct List([u8; LIST_BYTES]);

impl List {
    pub fn of(operation: OperationName, workspace: &WorkspaceId, input: &impl Serialize) -> Self {
        let mut filters = serde_json::to_value(input).unwrap_or_default();
        if let Value::Object(members) = &mut filters {
            members.retain(|member, _| !PART.contains(&member.as_str()));
        }
        let named = format!("{}\n{workspace}\n{filters}", operation.entry().key);
        let digest = Digest::of(named.as_bytes());
        let mut list = [0; LIST_BYTES];
        for (byte, digested) in list.iter_mut().zip(digest.bytes()) {
            *byte = *digested;
        }
        Self(list)
    }

    /// The cursor of what follows the item with this key.
    pub fn after(&self, key: &str) -> String {
        let mut bytes = self.0.to_vec();
        bytes.extend_from_slice(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key that a cursor holds, and whether it was made for this list.
    pub fn key(&self, cursor: &str) -> Option<(bool, String)> {
        let bytes = (cursor.len() <= CHARS_MAX).then(|| URL_SAFE_NO_PAD.decode(cursor));
        let bytes = bytes?.ok()?;
        let (list, key) = bytes.split_at_checked(LIST_BYTES)?;
        Some((list == self.0, std::str::from_utf8(key).ok()?.to_owned()))
    }

    /// The key of the item after which the list goes on, as `parse` reads it.
    pub(super) fn read<T>(
        &self,
        cursor: Option<&str>,
        parse: impl FnOnce(&str) -> Option<T>,
        findings: &mut Findings,
    ) -> Option<T> {
        let key = self
            .key(cursor?)
            .and_then(|(is_own, key)| Some((is_own, parse(&key)?)));
        match key {
            Some((true, key)) => Some(key),
            Some((false, _)) => {
                let message = "it was made for other filters: send them again with it, or leave it";
                findings.add("/cursor", OTHER_FILTERS, message);
                None
            }
            None => {
                let message = "take it unchanged from `nextCursor` of an earlier answer";
                findings.add("/cursor", INVALID_VALUE, message);
                None
            }
        }
    }
}

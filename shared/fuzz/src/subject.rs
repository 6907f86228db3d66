//! Subjects of the log, and any text as one of their tokens.

use contracts::subject::{AggregateId, InvalidSubject, Subject, decode_token, encode_token};

use crate::{Reached, name::is_token};

pub const PROPERTIES: &[&str] = &["a subject", "an aggregate", "a token"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Reached::new();
    };
    let mut reached = Reached::new();
    match text.parse::<Subject>() {
        Ok(subject) => {
            assert_eq!(subject.to_string(), text, "one event has one spelling");
            assert!(text.split('.').all(is_token), "a wildcard in {text:?}");
            assert!(text.starts_with(subject.aggregate.prefix()));
            assert_eq!(
                AggregateId::from_prefix(subject.aggregate.prefix()),
                Ok(subject.aggregate)
            );
            reached.insert("a subject");
        }
        Err(
            InvalidSubject::Shape(said)
            | InvalidSubject::Aggregate(said)
            | InvalidSubject::Shard(said)
            | InvalidSubject::UnknownEvent(said),
        ) => assert_eq!(said, text),
    }
    if let Ok(aggregate) = AggregateId::from_prefix(text) {
        assert_eq!(aggregate.prefix(), text);
        reached.insert("an aggregate");
    }
    if let Some(decoded) = decode_token(text) {
        assert!(is_token(text), "no token: {text:?}");
        assert_eq!(encode_token(&decoded), text);
        reached.insert("a token");
    }
    if !text.is_empty() {
        let token = encode_token(text);
        assert!(is_token(&token), "{text:?} becomes {token:?}");
        assert_eq!(decode_token(&token).as_deref(), Some(text));
    }
    reached
}

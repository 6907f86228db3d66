//! Events on the wire: headers read back, and what is hostile refused.

use std::collections::BTreeMap;

use contracts::{
    canonical::Digest,
    envelope::{
        Attributes, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, Headers, INLINE_PAYLOAD_BYTES_MAX,
        InvalidHeaders, percent_decode, percent_encode,
    },
    event::{EventName, Service},
    events::{RULES, host::IncidentRaised},
    ids::EventId,
    record::{Cause, Recorded, Undecodable, seal},
    subject::AggregateId,
    time::Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The headers of a plain event, to be made hostile one at a time.
fn plain() -> Vec<(String, String)> {
    [
        ("ce-specversion", "1.0"),
        ("ce-id", "5f1c2b3a-0000-5000-8000-000000000001"),
        ("ce-source", "/control-plane/intake"),
        ("ce-type", "controlPlane.intent.received"),
        ("ce-time", "2026-01-02T03:04:05.678Z"),
        ("ce-datacontenttype", "application/msgpack"),
        ("traceparent", TRACEPARENT),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn with(name: &str, value: &str) -> Vec<(String, String)> {
    let mut pairs = plain();
    pairs.retain(|(given, _)| given != name);
    pairs.push((name.to_owned(), value.to_owned()));
    pairs
}

fn without(name: &str) -> Vec<(String, String)> {
    let mut pairs = plain();
    pairs.retain(|(given, _)| given != name);
    pairs
}

fn read(pairs: Vec<(String, String)>) -> Result<Attributes, InvalidHeaders> {
    Attributes::from_headers(&Headers::from_wire(pairs)?)
}

#[track_caller]
fn refuses(pairs: Vec<(String, String)>) -> InvalidHeaders {
    match read(pairs) {
        Ok(attributes) => panic!("taken as {attributes:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_plain_event_is_read() {
    let attributes = read(plain()).unwrap();
    assert_eq!(attributes.event, EventName::IntentReceived);
    assert_eq!(attributes.source, "/control-plane/intake");
    assert_eq!(attributes.time.to_string(), "2026-01-02T03:04:05.678Z");
    assert_eq!(attributes.traceparent.as_deref(), Some(TRACEPARENT));
    assert_eq!(attributes.causation, None);
    assert_eq!(attributes.prev_hash, None);
    assert_eq!(attributes.data_ref, None);
    assert!(attributes.extensions.is_empty());
}

#[test]
fn both_spellings_of_the_content_type_are_read() {
    let mut pairs = without("ce-datacontenttype");
    pairs.push(("content-type".to_owned(), "application/msgpack".to_owned()));
    assert_eq!(read(pairs), read(plain()));
    refuses(without("ce-datacontenttype"));
    refuses(with("ce-datacontenttype", "application/json"));
    refuses(with("ce-datacontenttype", "Application/MsgPack"));
    refuses(with("content-type", "application/json"));
}

#[test]
fn values_are_percent_encoded_as_the_binding_asks() {
    assert_eq!(
        percent_encode("caf\u{e9} \"x\" 100%"),
        "caf%C3%A9%20%22x%22%20100%25"
    );
    assert_eq!(
        percent_encode("/control-plane/intake!~"),
        "/control-plane/intake!~"
    );
    assert_eq!(percent_decode("caf%c3%A9").as_deref(), Some("caf\u{e9}"));
    for broken in ["%", "%4", "%4g", "%+4", "%FF", "a%C3"] {
        assert_eq!(percent_decode(broken), None, "`{broken}`");
    }
}

#[test]
fn unknown_extensions_are_kept() {
    let attributes = read(with("ce-note", "caf%C3%A9")).unwrap();
    assert_eq!(
        attributes.extensions,
        BTreeMap::from([("note".to_owned(), "café".to_owned())])
    );
    assert_eq!(attributes.to_headers().get("ce-note"), Some("caf%C3%A9"));
}

#[test]
fn the_brokers_own_headers_are_dropped() {
    for name in [
        "Nats-Sequence",
        "nats-msg-id",
        "NATS-Expected-Last-Subject-Sequence",
    ] {
        let headers = Headers::from_wire(with(name, "1")).unwrap();
        assert_eq!(headers, Headers::from_wire(plain()).unwrap());
    }
}

#[test]
fn hostile_names_are_refused() {
    for name in [
        "CE-ID",
        "Ce-Note",
        "ce-n\u{f6}te",
        "ce note",
        "ce-\u{0}",
        "ce:note",
        "",
    ] {
        let error = Headers::from_wire(with(name, "x")).unwrap_err();
        assert!(
            matches!(error, InvalidHeaders::NotLowerCase(_)),
            "`{name}`: {error}"
        );
    }
    let error = Headers::from_wire(with(&"n".repeat(257), "x")).unwrap_err();
    assert!(matches!(error, InvalidHeaders::TooLong(_)), "{error}");
}

#[test]
fn a_header_given_twice_is_refused() {
    let mut pairs = plain();
    pairs.push((
        "ce-id".to_owned(),
        "5f1c2b3a-0000-5000-8000-000000000001".to_owned(),
    ));
    assert_eq!(refuses(pairs), InvalidHeaders::Twice("ce-id".to_owned()));
}

#[test]
fn control_characters_in_values_are_refused() {
    for value in ["a\nce-id:1", "a\rb", "\u{0}", "a\tb", "\u{7f}"] {
        let error = refuses(with("ce-note", value));
        assert!(matches!(error, InvalidHeaders::Value { .. }), "{error}");
        assert!(!error.to_string().contains(|c: char| c.is_control()));
    }
}

#[test]
fn too_much_is_refused() {
    let longest = "v".repeat(HEADER_VALUE_BYTES_MAX);
    assert!(read(with("ce-note", &longest)).is_ok());
    let error = refuses(with("ce-note", &format!("{longest}v")));
    assert_eq!(error, InvalidHeaders::TooLong("ce-note".to_owned()));

    let mut pairs = plain();
    pairs.extend((pairs.len()..HEADERS_MAX).map(|n| (format!("ce-x{n}"), "x".to_owned())));
    assert!(read(pairs.clone()).is_ok());
    pairs.push(("ce-more".to_owned(), "x".to_owned()));
    assert_eq!(refuses(pairs), InvalidHeaders::TooMany);
}

#[test]
fn what_is_required_must_be_there_and_well_formed() {
    for name in ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time"] {
        assert!(
            matches!(refuses(without(name)), InvalidHeaders::Missing(missing) if missing == name)
        );
    }
    for (name, value) in [
        ("ce-specversion", "0.3"),
        ("ce-specversion", "1"),
        ("ce-id", "x"),
        ("ce-id", "5F1C2B3A-0000-5000-8000-000000000001"),
        ("ce-source", "%"),
        ("ce-type", "intent.received"),
        ("ce-type", "controlPlaneintent.received"),
        ("ce-type", "controlPlane.intent.received.v2"),
        ("ce-type", "controlPlane."),
        ("ce-time", "yesterday"),
        ("ce-causationid", "x"),
        ("ce-prevhash", "00"),
        ("ce-dataref", "md5:00"),
        ("ce-dataref", "sha256:00"),
        ("ce-note", "%C3"),
        ("traceparent", "%C3"),
    ] {
        let error = refuses(with(name, value));
        assert!(
            matches!(error, InvalidHeaders::Value { .. }),
            "{name}: {value}: {error}"
        );
    }
}

fn incident(cause: &str) -> IncidentRaised {
    IncidentRaised {
        code: "POISON_MESSAGE".to_owned(),
        cause: cause.to_owned(),
        about: "acme/execution/x".to_owned(),
        event_id: None,
        service: "intake".to_owned(),
        raised_at: Timestamp::from_millis(0),
        rules: RULES,
    }
}

fn aggregate() -> AggregateId {
    AggregateId::incident("acme".parse().unwrap(), "x")
}

#[test]
fn sealed_events_are_chained_and_never_go_back_in_time() {
    let at = Timestamp::from_millis;
    let event = incident("first").into();
    let (first, recorded) = seal(
        &aggregate(),
        None,
        event,
        Service::Intake,
        &Cause::default(),
        at(5),
    )
    .unwrap();
    assert_eq!(recorded.version(), 1);
    assert_eq!(recorded.attributes.prev_hash, None);
    assert_eq!(recorded.head().hash, first.hash());

    let cause = Cause {
        id: Some(recorded.id()),
        traceparent: Some(TRACEPARENT.to_owned()),
    };
    let event = incident("second").into();
    let head = recorded.head();
    let (second, next) = seal(
        &aggregate(),
        Some(&head),
        event,
        Service::Executor,
        &cause,
        at(3),
    )
    .unwrap();
    assert_eq!(next.version(), 2);
    assert_eq!(next.time(), at(5));
    assert_eq!(next.attributes.prev_hash, Some(first.hash()));
    assert_eq!(next.attributes.causation, Some(recorded.id()));
    assert_ne!(next.id(), recorded.id());
    assert_eq!(Recorded::decode(&second).unwrap(), next);
}

#[test]
fn the_same_decision_is_sealed_in_the_same_bytes() {
    let sealed = || {
        let at = Timestamp::from_millis(5);
        let event = incident("once").into();
        seal(
            &aggregate(),
            None,
            event,
            Service::Intake,
            &Cause::default(),
            at,
        )
        .unwrap()
        .0
    };
    assert_eq!(sealed(), sealed());
}

#[test]
fn the_type_in_the_headers_must_be_that_of_the_subject() {
    let event = incident("x").into();
    let (mut envelope, recorded) = seal(
        &aggregate(),
        None,
        event,
        Service::Intake,
        &Cause::default(),
        Timestamp::from_millis(0),
    )
    .unwrap();
    let attributes = Attributes {
        event: EventName::IncidentResolved,
        ..recorded.attributes
    };
    envelope.headers = attributes.to_headers();
    let error = Recorded::decode(&envelope).unwrap_err();
    assert!(matches!(error, Undecodable::TypeDiffers { .. }), "{error}");
}

#[test]
fn a_payload_that_is_not_the_events_is_undecodable() {
    let event = incident("x").into();
    let at = Timestamp::from_millis(0);
    let (envelope, _) = seal(
        &aggregate(),
        None,
        event,
        Service::Intake,
        &Cause::default(),
        at,
    )
    .unwrap();
    for payload in [
        &b""[..],
        b"\xc1",
        b"\x80",
        &envelope.payload[..envelope.payload.len() - 1],
    ] {
        let broken = contracts::envelope::Envelope {
            payload: payload.to_vec().into(),
            ..envelope.clone()
        };
        let error = Recorded::decode(&broken).unwrap_err();
        assert!(matches!(error, Undecodable::Payload(_)), "{error}");
    }
}

#[test]
fn a_large_payload_is_kept_by_its_digest_and_held_to_it() {
    let event = incident(&"x".repeat(INLINE_PAYLOAD_BYTES_MAX)).into();
    let at = Timestamp::from_millis(0);
    let (mut envelope, recorded) = seal(
        &aggregate(),
        None,
        event,
        Service::Intake,
        &Cause::default(),
        at,
    )
    .unwrap();
    assert_eq!(
        recorded.attributes.data_ref,
        Some(Digest::of(&envelope.payload))
    );
    assert!(envelope.stored_payload().is_empty());
    assert_eq!(Recorded::decode(&envelope).unwrap(), recorded);

    // The hash covers the reference, so the reference must cover the payload.
    let other = contracts::event::Event::from(incident(&"y".repeat(INLINE_PAYLOAD_BYTES_MAX)));
    envelope.payload = other.encode().unwrap().into();
    assert_eq!(envelope.hash(), recorded.hash);
    let error = Recorded::decode(&envelope).unwrap_err();
    assert!(
        matches!(error, Undecodable::PayloadDiffers { .. }),
        "{error}"
    );
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let digest = any::<[u8; 32]>().prop_map(Digest::from_bytes);
    let id = any::<u128>().prop_map(|id| EventId::of(Uuid::from_u128(id)));
    // Not names that have a meaning.
    let extensions = prop::collection::btree_map("x[a-z0-9]{0,10}", "\\PC{0,20}", 0..5);
    (
        id.clone(),
        prop::sample::select(EventName::ALL.to_vec()),
        "\\PC{0,40}",
        any::<i64>().prop_map(Timestamp::from_millis),
        prop::option::of("\\PC{0,60}"),
        prop::option::of(id),
        prop::option::of(digest.clone()),
        prop::option::of(digest),
        extensions,
    )
        .prop_map(
            |(id, event, source, time, traceparent, causation, prev_hash, data_ref, extensions)| {
                Attributes {
                    id,
                    event,
                    source,
                    time,
                    traceparent,
                    causation,
                    prev_hash,
                    data_ref,
                    extensions,
                }
            },
        )
}

proptest! {
    #![proptest_config(super::properties())]

    #[test]
    fn attributes_read_back(attributes in attributes()) {
        let headers = attributes.to_headers();
        prop_assert_eq!(Attributes::from_headers(&headers), Ok(attributes));
        prop_assert_eq!(Headers::from_wire(headers.iter()), Ok(headers));
    }

    #[test]
    fn encoded_values_are_plain_ascii_and_come_back(text in ".*") {
        let encoded = percent_encode(&text);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
        prop_assert_eq!(percent_decode(&encoded), Some(text));
    }
}

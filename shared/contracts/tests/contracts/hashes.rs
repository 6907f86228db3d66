//! The hash of an event: vectors that anyone can compute, and that everything stored is in it.

use contracts::{
    envelope::{Envelope, Headers},
    subject::Subject,
};

/// SHA-256 of `cp.event.v1\n`, the subject, `\n`, each header as `name:value\n` sorted by name,
/// `\n`, the payload. Computed apart from this code, with Python's hashlib; the input of the first
/// as a shell would write it:
///
/// ```text
/// printf 'cp.event.v1\n%s\nce-datacontenttype:application/msgpack\nce-id:5f1c2b3a-0000-5000-8000-000000000001\nce-source:/control-plane/intake\nce-specversion:1.0\nce-time:2026-01-02T03:04:05.678Z\nce-type:controlPlane.intent.received\n\n\x81\xa1a\x01' \
///   controlPlane.acme.execution.29.0198f3a0-0000-7000-8000-000000000001.1.intent.received | sha256sum
/// ```
const FIRST: &str = "0fc19f4b57731da7c6a75fd47ecb5c1745c7749ae74a287604f1b409a7fce101";
const CHAINED: &str = "69dc2121abaa1fd8d402a49e78af5611d819b31f34ddb1b401fdf97726c6f1e5";
const REFERRED: &str = "d97a034f4352695c92bb40325ec12537ecdac06ddb3fe1cc8bb1182958ab37f2";

fn first() -> Vec<(&'static str, &'static str)> {
    vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "5f1c2b3a-0000-5000-8000-000000000001"),
        ("ce-source", "/control-plane/intake"),
        ("ce-type", "controlPlane.intent.received"),
        ("ce-time", "2026-01-02T03:04:05.678Z"),
        ("ce-datacontenttype", "application/msgpack"),
    ]
}

fn chained() -> Vec<(&'static str, &'static str)> {
    vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "5f1c2b3a-0000-5000-8000-000000000002"),
        ("ce-source", "/control-plane/intake"),
        ("ce-type", "controlPlane.skill.disabled"),
        ("ce-time", "2026-01-02T03:04:05.678Z"),
        ("ce-datacontenttype", "application/msgpack"),
        (
            "ce-prevhash",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ),
        ("ce-causationid", "0198f3a0-0000-7000-8000-000000000001"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("ce-note", "caf%C3%A9%20%22x%22"),
    ]
}

const FIRST_SUBJECT: &str =
    "controlPlane.acme.execution.29.0198f3a0-0000-7000-8000-000000000001.1.intent.received";
const CHAINED_SUBJECT: &str = "controlPlane.acme.skill.12.support=2Edesk=3A=C3=A9.2.skill.disabled";

fn hash(subject: &str, headers: Vec<(&str, &str)>, payload: &[u8]) -> String {
    let envelope = Envelope {
        subject: subject.parse::<Subject>().unwrap(),
        headers: Headers::from_wire(headers).unwrap(),
        payload: payload.to_vec().into(),
    };
    envelope.hash().to_string()
}

#[test]
fn hashes_are_those_of_the_committed_vectors() {
    assert_eq!(hash(FIRST_SUBJECT, first(), b"\x81\xa1a\x01"), FIRST);
    assert_eq!(hash(CHAINED_SUBJECT, chained(), b""), CHAINED);
}

#[test]
fn a_referred_payload_is_hashed_by_its_reference() {
    let mut headers = chained();
    // printf large | sha256sum
    let reference = "sha256:d35c416a85b807e9b5384915d6ebb4a9f7352713efd89857b45a242f473728a9";
    headers.push(("ce-dataref", reference));
    assert_eq!(hash(CHAINED_SUBJECT, headers, b"large"), REFERRED);
}

#[test]
fn the_order_of_headers_on_the_wire_and_the_brokers_own_do_not_matter() {
    let mut headers = chained();
    headers.reverse();
    headers.insert(3, ("Nats-Expected-Last-Subject-Sequence", "0"));
    assert_eq!(hash(CHAINED_SUBJECT, headers, b""), CHAINED);
}

#[test]
fn another_subject_is_another_hash() {
    for other in [
        "controlPlane.acme.execution.29.0198f3a0-0000-7000-8000-000000000001.2.intent.received",
        "controlPlane.acmf.execution.29.0198f3a0-0000-7000-8000-000000000001.1.intent.received",
        "controlPlane.acme.execution.29.0198f3a0-0000-7000-8000-000000000001.1.plan.compiled",
    ] {
        assert_ne!(hash(other, first(), b"\x81\xa1a\x01"), FIRST);
    }
}

#[test]
fn every_bit_of_the_payload_is_in_the_hash() {
    let payload = b"\x81\xa1a\x01";
    for bit in 0..payload.len() * 8 {
        let mut flipped = *payload;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(hash(FIRST_SUBJECT, first(), &flipped), FIRST);
    }
    assert_ne!(hash(FIRST_SUBJECT, first(), &payload[..3]), FIRST);
    assert_ne!(hash(FIRST_SUBJECT, first(), b"\x81\xa1a\x01\x00"), FIRST);
}

#[test]
fn every_header_is_in_the_hash() {
    for index in 0..chained().len() {
        let mut dropped = chained();
        let (name, value) = dropped.remove(index);
        assert_ne!(
            hash(CHAINED_SUBJECT, dropped.clone(), b""),
            CHAINED,
            "without {name}"
        );

        let longer = format!("{value}x");
        dropped.push((name, &longer));
        assert_ne!(
            hash(CHAINED_SUBJECT, dropped, b""),
            CHAINED,
            "{name} changed"
        );

        let mut renamed = chained();
        let other = format!("{name}x");
        renamed[index].0 = &other;
        assert_ne!(
            hash(CHAINED_SUBJECT, renamed, b""),
            CHAINED,
            "{name} renamed"
        );
    }
    let mut added = chained();
    added.push(("x", ""));
    assert_ne!(hash(CHAINED_SUBJECT, added, b""), CHAINED);
}

#[test]
fn what_stands_in_a_header_cannot_pass_for_payload() {
    let mut moved = first();
    moved.push(("zz", "1"));
    assert_ne!(
        hash(FIRST_SUBJECT, moved, b"x"),
        hash(FIRST_SUBJECT, first(), b"zz:1\n\nx")
    );
}

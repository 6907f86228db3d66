//! A committed sample of every event: it must decode, and hash the same, for ever.
//!
//! A sample is never written again. A new event gets its own with
//! `UPDATE_SAMPLES=1 cargo test --test contracts`; an old sample that no longer decodes means that
//! the log of an installation no longer decodes either.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    canonical::Digest,
    envelope::{Envelope, Headers},
    event::{Event, EventName},
    ids::EventId,
    record::{Cause, Head, Recorded, seal},
    registry::event_schema,
    subject::{AggregateId, AggregateKind, Subject},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{sample_documents::EXECUTION, sample_payloads::payload};

/// An event as it is stored, and what it says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    subject: String,
    headers: BTreeMap<String, String>,
    /// In base64.
    payload: String,
    hash: Digest,
    json: Value,
}

impl Sample {
    fn envelope(&self) -> Envelope {
        Envelope {
            subject: self.subject.parse().unwrap(),
            headers: Headers::from_wire(&self.headers).unwrap(),
            payload: STANDARD.decode(&self.payload).unwrap().into(),
        }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/contracts/samples")
}

fn sample(event: EventName) -> Sample {
    // Tests run side by side, and one of them may be writing it.
    static FILES: Mutex<()> = Mutex::new(());
    let path = folder().join(format!("{event}.json"));
    let text = {
        let _files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        fs::read_to_string(&path).unwrap_or_else(|_| write(event))
    };
    serde_json::from_str(&text).unwrap()
}

/// Writes the sample of a new event, and only of a new one.
fn write(event: EventName) -> String {
    #[expect(clippy::disallowed_methods, reason = "how a test is told to write")]
    let asked = std::env::var("UPDATE_SAMPLES").is_ok_and(|value| value == "1");
    assert!(
        asked,
        "`{event}` has no sample; to write one: UPDATE_SAMPLES=1 cargo test --test contracts"
    );
    let envelope = sealed(event);
    let sample = Sample {
        subject: envelope.subject.to_string(),
        headers: envelope
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        payload: STANDARD.encode(&envelope.payload),
        hash: envelope.hash(),
        json: payload(event),
    };
    let text = serde_json::to_string_pretty(&sample).unwrap() + "\n";
    fs::create_dir_all(folder()).unwrap();
    fs::write(folder().join(format!("{event}.json")), &text).unwrap();
    text
}

fn sealed(name: EventName) -> Envelope {
    let event = Event::from_json(name, payload(name)).unwrap();
    let workspace = "acme".parse().unwrap();
    let aggregate = match name.aggregate() {
        AggregateKind::Execution => AggregateId::execution(workspace, EXECUTION.parse().unwrap()),
        AggregateKind::Incident => AggregateId::incident(workspace, EXECUTION),
        AggregateKind::Skill => AggregateId::skill(workspace, &"support.desk".parse().unwrap()),
        AggregateKind::Policy => AggregateId::policy(workspace),
        AggregateKind::Hold => hold(),
        AggregateKind::Schedule => unreachable!("no event belongs to a schedule"),
    };
    let time: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    // The first event of an execution has none before it; the others are given one.
    let head = (name != EventName::IntentReceived).then(|| Head {
        version: 6,
        hash: Digest::of(b"the event before"),
        time,
    });
    let cause: EventId = "5f1c2b3a-9d4e-5a6b-8c7d-0e1f2a3b4c5d".parse().unwrap();
    let cause = Cause {
        id: Some(cause),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    };
    seal(
        &aggregate,
        head.as_ref(),
        event,
        name.writers()[0],
        &cause,
        time,
    )
    .unwrap()
    .0
}

/// There is no constructor for what nothing places yet: its subject is its only form.
fn hold() -> AggregateId {
    "controlPlane.acme.hold.1e.support=2Edesk.1.hold.placed"
        .parse::<Subject>()
        .unwrap()
        .aggregate
}

#[test]
fn every_sample_decodes_and_hashes_as_it_did() {
    for event in EventName::ALL {
        let sample = sample(event);
        let envelope = sample.envelope();
        assert_eq!(envelope.subject.event, event);
        assert_eq!(envelope.hash(), sample.hash, "{event}");
        let recorded = Recorded::decode(&envelope).unwrap();
        assert_eq!(recorded.hash, sample.hash);
        assert_eq!(recorded.event.to_json().unwrap(), sample.json, "{event}");
    }
}

#[test]
fn every_sample_is_of_an_event_that_is_still_known() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let event = name.strip_suffix(".json").and_then(EventName::parse);
        assert!(
            event.is_some(),
            "`{name}`: an event that was stored is never forgotten"
        );
    }
}

#[test]
fn encoding_and_decoding_again_changes_nothing() {
    for event in EventName::ALL {
        let sample = sample(event);
        let decoded = Recorded::decode(&sample.envelope()).unwrap();
        let encoded = decoded.event.encode().unwrap();
        assert_eq!(
            Event::decode(event, &encoded).unwrap(),
            decoded.event,
            "{event}"
        );
        let from_json = Event::from_json(event, sample.json).unwrap();
        assert_eq!(from_json.encode().unwrap(), encoded, "{event}");
    }
}

#[test]
fn old_and_new_payloads_fit_the_published_schema() {
    for event in EventName::ALL {
        let schema = event_schema(event).to_value();
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        for json in [sample(event).json, payload(event)] {
            let faults: Vec<_> = validator
                .iter_errors(&json)
                .map(|fault| fault.to_string())
                .collect();
            assert!(faults.is_empty(), "{event}: {faults:?}");
        }
    }
}

#[test]
fn an_optional_member_may_be_absent_and_no_other() {
    for event in EventName::ALL {
        let schema = event.schema().to_value();
        let required = schema["required"].as_array().unwrap();
        let json = payload(event);
        for name in json.as_object().unwrap().keys() {
            let mut shorter = json.clone();
            shorter.as_object_mut().unwrap().remove(name);
            let decoded = Event::from_json(event, shorter);
            let optional = !required.iter().any(|required| required == name);
            assert_eq!(decoded.is_ok(), optional, "{event} without `{name}`");
        }
    }
}

#[test]
fn a_new_sample_has_every_member() {
    for event in EventName::ALL {
        let schema = event.schema().to_value();
        let json = payload(event);
        for name in schema["properties"].as_object().unwrap().keys() {
            assert!(
                json.get(name).is_some(),
                "`sample_payloads` lacks `{name}` of `{event}`"
            );
        }
    }
}

#[test]
fn a_member_that_a_newer_writer_added_does_no_harm() {
    for event in EventName::ALL {
        let sample = sample(event);
        let mut json = sample.json.clone();
        json.as_object_mut()
            .unwrap()
            .insert("fromANewerWriter".to_owned(), Value::from(1));
        let newer = rmp_serde::to_vec_named(&json).unwrap();
        let decoded = Event::decode(event, &newer).unwrap();
        assert_eq!(decoded.to_json().unwrap(), sample.json, "{event}");
    }
}

/// What newer rules wrote may hold anything: it is not poison, whatever does not decode.
#[test]
fn an_event_of_newer_rules_is_told_from_a_broken_one() {
    use contracts::record::{Recorded, Undecodable};
    let sample = sample(EventName::ExecutionFailed);
    let read = |rules: u32| {
        let mut json = sample.json.clone();
        json["errorCode"] = Value::from("A_CODE_OF_LATER");
        json["rules"] = Value::from(rules);
        let mut envelope = sample.envelope();
        envelope.payload = rmp_serde::to_vec_named(&json).unwrap().into();
        Recorded::decode(&envelope).unwrap_err()
    };
    let newer = contracts::events::RULES + 1;
    assert!(matches!(read(newer), Undecodable::Newer { rules } if rules == newer));
    assert!(matches!(
        read(contracts::events::RULES),
        Undecodable::Payload(_)
    ));
}

/// The reader calls itself for each level; the stack of the one that reads ends much later.
#[test]
fn a_payload_that_nests_without_end_is_broken_and_ends_nothing() {
    use contracts::record::{Recorded, Undecodable};
    let mut envelope = sample(EventName::IntentReceived).envelope();
    for level in [0x91_u8, 0x81] {
        let mut payload = b"\x81\xa8metadata\x81\xa1a".to_vec();
        payload.extend([level, 0xa0].repeat(100_000));
        envelope.payload = payload.into();
        let broken = Recorded::decode(&envelope).unwrap_err();
        assert!(matches!(broken, Undecodable::Payload(_)), "{broken}");
    }
}

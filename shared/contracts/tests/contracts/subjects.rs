//! Subjects: one spelling each, nothing a user sends unencoded.

use contracts::{
    event::{EventName, Service},
    ids::{ExecutionId, SkillKey, WorkspaceId},
    subject::{
        AggregateId, AggregateKind, InvalidSubject, SHARDS, Shard, Subject, decode_token,
        encode_token,
    },
};
use proptest::prelude::*;
use uuid::Uuid;

const SUBJECT: &str =
    "controlPlane.acme.execution.29.0198f3a0-0000-7000-8000-000000000001.4.execution.step.started";

#[track_caller]
fn refused(text: &str) -> InvalidSubject {
    match text.parse::<Subject>() {
        Ok(subject) => panic!("`{text}` is taken as {subject:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_subject_says_where_an_event_belongs() {
    let subject: Subject = SUBJECT.parse().unwrap();
    assert_eq!(subject.version, 4);
    assert_eq!(subject.event, EventName::StepStarted);
    assert_eq!(subject.aggregate.workspace().as_str(), "acme");
    assert_eq!(subject.aggregate.kind(), AggregateKind::Execution);
    assert_eq!(
        subject.aggregate.id(),
        "0198f3a0-0000-7000-8000-000000000001"
    );
    assert_eq!(
        subject.aggregate.execution_id().unwrap().to_string(),
        subject.aggregate.id()
    );
    assert_eq!(subject.to_string(), SUBJECT);
}

#[test]
fn filters_begin_as_the_subjects_do() {
    let subject: Subject = SUBJECT.parse().unwrap();
    let prefix = "controlPlane.acme.execution.29.0198f3a0-0000-7000-8000-000000000001";
    assert_eq!(subject.aggregate.prefix(), prefix);
    assert_eq!(subject.aggregate.filter(), format!("{prefix}.>"));
    assert_eq!(subject.aggregate.version_filter(4), format!("{prefix}.4.>"));
}

#[test]
fn another_spelling_is_refused() {
    for (from, to) in [
        ("controlPlane.", "controlplane."),
        ("controlPlane.", ""),
        (".acme.", ".Acme."),
        (".acme.", ".*."),
        (".acme.", ".."),
        (".0198f3a0", ".0198F3a0"),
        (".0198f3a0", ".=30198f3a0"),
        (".4.", ".0."),
        (".4.", ".04."),
        (".4.", ".+4."),
        (".4.", ".-4."),
        (".4.", "."),
        (".4.", ".18446744073709551616."),
        (".execution.step.started", ""),
        (".execution.step.started", "."),
    ] {
        assert!(SUBJECT.contains(from));
        refused(&SUBJECT.replacen(from, to, 1));
    }
    refused("");
    refused(".......");
    refused("controlPlane.>");
}

#[test]
fn a_refusal_says_which_part_is_wrong() {
    let kind = SUBJECT.replacen(".execution.", ".lane.", 1);
    assert_eq!(refused(&kind), InvalidSubject::Aggregate(kind.clone()));
    let shard = SUBJECT.replacen(".29.", ".2a.", 1);
    assert_eq!(refused(&shard), InvalidSubject::Shard(shard.clone()));
    let newer = SUBJECT.replacen("step.started", "step.started.v2", 1);
    assert_eq!(refused(&newer), InvalidSubject::UnknownEvent(newer.clone()));
}

#[test]
fn an_event_belongs_to_one_kind_of_aggregate() {
    let stray = SUBJECT.replacen("execution.step.started", "policy.activated", 1);
    assert_eq!(refused(&stray), InvalidSubject::Shape(stray.clone()));
}

#[test]
fn tokens_hold_no_character_with_a_meaning_on_the_broker() {
    assert_eq!(encode_token("support.desk"), "support=2Edesk");
    assert_eq!(encode_token("a*>= é"), "a=2A=3E=3D=20=C3=A9");
    for token in [
        "", "=", "=2", "=2e", "=61", "=GG", "=+1", "=FF", "a.b", "a*", "é", "=C3",
    ] {
        assert_eq!(decode_token(token), None, "`{token}`");
    }
}

#[test]
fn shards_are_the_first_six_bits_of_the_sha_256() {
    // printf active | sha256sum: 97…
    assert_eq!(Shard::of("active").to_string(), "25");
    let all: Vec<_> = Shard::all().map(|shard| shard.to_string()).collect();
    assert_eq!(all.len(), usize::from(SHARDS));
    assert_eq!((all[0].as_str(), all[63].as_str()), ("00", "3f"));
}

#[test]
fn every_event_name_reads_back_and_has_a_writer() {
    for event in EventName::ALL {
        assert_eq!(EventName::parse(event.as_str()), Some(event));
        assert!(!event.writers().is_empty(), "{event}");
    }
    assert_eq!(EventName::parse("intent.received.v2"), None);
    assert_eq!(EventName::parse(""), None);
}

#[test]
fn only_two_events_have_more_than_one_writer() {
    let shared: Vec<_> = EventName::ALL
        .into_iter()
        .filter(|event| event.writers().len() > 1)
        .collect();
    assert_eq!(shared, [EventName::PlanRejected, EventName::IncidentRaised]);
    assert_eq!(
        EventName::PlanRejected.writers(),
        [Service::Planner, Service::Verifier]
    );
    assert_eq!(
        Service::Projector.writes().collect::<Vec<_>>(),
        [EventName::IncidentRaised]
    );
}

fn workspaces() -> impl Strategy<Value = WorkspaceId> {
    "[a-z0-9-]{1,63}".prop_map(|text| text.parse().unwrap())
}

fn subjects() -> impl Strategy<Value = Subject> {
    let skill_key =
        "\\PC{1,40}".prop_filter_map("is a skill key", |text| text.parse::<SkillKey>().ok());
    let event = prop::sample::select(EventName::ALL.to_vec());
    (workspaces(), any::<u128>(), skill_key, 1_u64.., event).prop_filter_map(
        "has an aggregate",
        |(workspace, id, key, version, event)| {
            let id = ExecutionId::of(Uuid::from_u128(id));
            let aggregate = match event.aggregate() {
                AggregateKind::Execution => AggregateId::execution(workspace, id),
                AggregateKind::Incident => AggregateId::incident(workspace, &id.to_string()),
                AggregateKind::Skill => AggregateId::skill(workspace, &key),
                AggregateKind::Policy => AggregateId::policy(workspace),
                AggregateKind::Hold | AggregateKind::Schedule => return None,
            };
            Some(Subject {
                aggregate,
                version,
                event,
            })
        },
    )
}

proptest! {
    #![proptest_config(super::properties())]

    #[test]
    fn a_subject_reads_back(subject in subjects()) {
        let text = subject.to_string();
        prop_assert_eq!(text.parse::<Subject>(), Ok(subject));
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte)));
    }

    #[test]
    fn any_text_fits_into_one_token_and_comes_back(text in ".+") {
        let token = encode_token(&text);
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=".contains(&b)));
        prop_assert_eq!(decode_token(&token), Some(text));
    }

    #[test]
    fn a_token_that_decodes_is_the_one_spelling(token in "[a-zA-Z0-9_=.*-]{0,12}") {
        if let Some(text) = decode_token(&token) {
            prop_assert_eq!(encode_token(&text), token);
        }
    }

    #[test]
    fn a_subject_that_parses_is_the_one_spelling(
        token in "[a-z0-9=A-F]{1,6}", shard in 0_u8..64, version in "[+0-9]{1,4}",
    ) {
        let text = format!("controlPlane.acme.skill.{shard:02x}.{token}.{version}.skill.disabled");
        if let Ok(subject) = text.parse::<Subject>() {
            prop_assert_eq!(subject.to_string(), text);
        }
    }
}

#[test]
fn a_prefix_names_its_aggregate_whatever_its_kind() {
    for event in EventName::ALL {
        let kind = event.aggregate().as_str();
        let id = "support.refunds";
        let shard = Shard::of(id);
        let token = encode_token(id);
        let prefix = format!("controlPlane.acme.{kind}.{shard}.{token}");
        let aggregate = AggregateId::from_prefix(&prefix).unwrap();
        assert_eq!(aggregate.prefix(), prefix);
        assert!(AggregateId::from_prefix(&format!("{prefix}.1")).is_err());
    }
}

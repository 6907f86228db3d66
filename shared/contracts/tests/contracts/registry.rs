//! Who may do what, and what a refusal looks like.

use std::collections::BTreeSet;

use contracts::{
    event::EventName,
    facts::{Actor, ActorType},
    operations::{execution, intent, policy, trace::Stage},
    plan::Finding,
    problem::{Code, Problem},
    registry::{
        CAPABILITIES, Capability, Grant, NOT_SERVED, Operation, OperationName, Role, Surface,
        Variation, cloud_events, event_key,
    },
};
use expect_test::{expect, expect_file};
use serde_json::{Map, Value, json};

fn actor(kind: ActorType, grants: &[Grant]) -> Actor {
    Actor {
        via: None,
        kind,
        id: "ada".parse().unwrap(),
        grants: grants
            .iter()
            .map(|grant| grant.as_str().to_owned())
            .collect(),
    }
}

fn members(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

#[track_caller]
fn authorise(operation: OperationName, grants: &[Grant], input: Value) -> Result<(), Grant> {
    operation
        .entry()
        .authorise(&actor(ActorType::User, grants), &members(input))
}

#[test]
fn keys_read_back_and_are_unique() {
    let mut keys = BTreeSet::new();
    for operation in OperationName::ALL {
        let key = operation.entry().key;
        assert_eq!(OperationName::parse(key), Some(operation));
        assert!(keys.insert(key), "{key}");
    }
    for row in &NOT_SERVED {
        assert_eq!(OperationName::parse(row.key), None);
        assert!(keys.insert(row.key), "{}", row.key);
    }
}

#[test]
fn what_a_capability_provides_exists() {
    for capability in &CAPABILITIES {
        for row in capability.provides {
            let known = match row.surface {
                Surface::Operation => {
                    let operation = OperationName::parse(row.key).map(OperationName::entry);
                    operation.is_some_and(|it| it.capability == Some(capability.key))
                }
                Surface::Event => EventName::ALL
                    .into_iter()
                    .any(|event| event_key(event) == row.key),
            };
            assert!(known, "{} provides {}", capability.key, row.key);
        }
        for row in capability.requires {
            assert!(Capability::find(row.key).is_some());
        }
    }
}

#[test]
fn without_grants_nothing_is_allowed() {
    for operation in OperationName::ALL {
        let grant = operation.entry().grant;
        assert_eq!(authorise(operation, &[], json!({})), Err(grant));
        assert_eq!(authorise(operation, &[grant], json!({})), Ok(()));
        let others: Vec<_> = Grant::ALL
            .into_iter()
            .filter(|other| *other != grant)
            .collect();
        assert_eq!(
            authorise(operation, &others, json!({})),
            Err(grant),
            "{operation:?}"
        );
    }
}

#[test]
fn voting_for_and_against_is_one_grant() {
    assert_eq!(
        OperationName::ExecutionApprove.entry().grant,
        Grant::ExecutionApprove
    );
    assert_eq!(
        OperationName::ExecutionReject.entry().grant,
        Grant::ExecutionApprove
    );
}

#[test]
fn an_agent_never_votes_whatever_its_credential_says() {
    let agent = actor(ActorType::Agent, &Grant::ALL);
    for operation in OperationName::ALL {
        let allowed = operation.entry().authorise(&agent, &Map::new());
        let votes = operation.entry().grant == Grant::ExecutionApprove;
        assert_eq!(
            allowed,
            if votes {
                Err(Grant::ExecutionApprove)
            } else {
                Ok(())
            }
        );
    }
    assert!(!Grant::ExecutionApprove.may_be_held_by(ActorType::Agent));
    assert!(Grant::ExecutionApprove.may_be_held_by(ActorType::User));
    assert!(Grant::ExecutionApprove.may_be_held_by(ActorType::Service));
}

#[test]
fn an_outside_planner_needs_no_more_than_to_draft() {
    let compile = OperationName::PlanCompile;
    assert_eq!(
        authorise(compile, &[Grant::PlanDraft], json!({ "draft": {} })),
        Ok(())
    );
    let refused = Err(Grant::PlanCompile);
    assert_eq!(authorise(compile, &[Grant::PlanDraft], json!({})), refused);
    assert_eq!(
        authorise(compile, &[Grant::PlanDraft], json!({ "draft": null })),
        refused
    );
    assert_eq!(
        authorise(compile, &[Grant::PlanCompile], json!({ "draft": {} })),
        Ok(())
    );
}

#[test]
fn payloads_of_a_trace_need_a_grant_of_their_own() {
    let trace = OperationName::TraceGet;
    let with = json!({ "includePayloads": true });
    let without = json!({ "includePayloads": false });
    assert_eq!(authorise(trace, &[Grant::TraceRead], without), Ok(()));
    assert_eq!(
        authorise(trace, &[Grant::TraceRead], with.clone()),
        Err(Grant::TracePayloads)
    );
    assert_eq!(
        authorise(trace, &[Grant::TracePayloads], with.clone()),
        Err(Grant::TraceRead)
    );
    assert_eq!(
        authorise(trace, &[Grant::TraceRead, Grant::TracePayloads], with),
        Ok(())
    );
}

#[test]
fn grants_and_codes_read_back() {
    for grant in Grant::ALL {
        assert_eq!(grant.as_str().parse(), Ok(grant));
    }
    assert!("execution.*".parse::<Grant>().is_err());
    for code in Code::ALL {
        assert_eq!(code.as_str().parse(), Ok(code));
        assert!((400..600).contains(&code.http()), "{code}");
    }
    assert!("internal".parse::<Code>().is_err());
}

#[test]
fn an_operation_lists_each_error_once() {
    for operation in OperationName::ALL.map(OperationName::entry) {
        let all: Vec<_> = operation.all_errors().collect();
        let unique: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), unique.len(), "{}", operation.key);
    }
}

#[test]
fn every_code_is_some_operations() {
    // Of a path that is none, and of a mistake that no operation can make.
    let used: BTreeSet<_> = OperationName::ALL
        .into_iter()
        .flat_map(|name| name.entry().all_errors())
        .chain(cloud_events::errors())
        .collect();
    let unused: Vec<_> = Code::ALL
        .into_iter()
        .filter(|code| !used.contains(code))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_missing_grant_is_named() {
    let problem = Problem::missing_grant(Grant::ExecutionApprove);
    expect![[r#"
        {
          "type": "urn:control-plane:problem:FORBIDDEN",
          "title": "grant missing",
          "status": 403,
          "detail": "the grant `execution.approve` is missing: ask who administers the credentials for it",
          "code": "FORBIDDEN"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&problem).unwrap());
}

#[test]
fn a_problem_reads_back_with_all_its_findings() {
    let finding = |path: &str| Finding {
        path: path.to_owned(),
        code: "UNKNOWN_SKILL".to_owned(),
        message: "no such skill".to_owned(),
    };
    let problem = Problem::of(Code::PlanRejected)
        .with_findings(vec![finding("/steps/0/uses"), finding("/steps/1/uses")])
        .with_instance("/v1/executions/x")
        .with_trace_id("4bf92f3577b34da6a3ce929d0e0e4736")
        .with_position("v1.00-1f4".parse().unwrap());
    let json = serde_json::to_value(&problem).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), 2);
    assert_eq!(json["position"], "v1.00-1f4");
    assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
}

#[test]
fn a_misspelt_option_is_an_error() {
    let submit = |extra: Value| {
        let mut input = members(json!({ "workspaceId": "acme", "text": "hello" }));
        input.extend(members(extra));
        serde_json::from_value::<intent::SubmitInput>(Value::Object(input))
    };
    assert!(submit(json!({})).is_ok());
    assert!(submit(json!({ "mode": "observe", "start": "manual" })).is_ok());
    assert!(submit(json!({ "Mode": "observe" })).is_err());
    assert!(submit(json!({ "mode": "Observe" })).is_err());
    assert!(submit(json!({ "draft": [] })).is_err());
    assert!(serde_json::from_value::<execution::ListInput>(json!({ "limit": -1 })).is_err());
    let unknown = json!({ "bundle": { "policys": {} } });
    assert!(serde_json::from_value::<policy::ActivateInput>(unknown).is_err());
}

#[test]
fn what_is_absent_is_left_out() {
    let output: intent::SubmitOutput = serde_json::from_value(json!({
        "executionId": "0198f3a0-0000-7000-8000-000000000001",
        "intentId": "0198f3a0-0000-7000-8000-000000000002",
        "status": "received",
        "receivedAt": "2026-01-02T03:04:05.678Z",
        "fromANewerServer": 1,
    }))
    .unwrap();
    let json = serde_json::to_value(&output).unwrap();
    assert!(json.get("position").is_none());
    assert_eq!(json["status"], "received");
}

#[test]
fn words_are_written_as_they_are_serialised() {
    let statuses = [
        execution::StepStatus::Pending,
        execution::StepStatus::RetryWait,
        execution::StepStatus::Compensated,
    ];
    for status in statuses {
        assert_eq!(json!(status), status.as_str());
    }
    for event in EventName::ALL {
        let stage = Stage::of(event);
        assert_eq!(json!(stage), stage.as_str());
    }
}

/// `schemas/grants.md`: what each operation needs, and who holds it.
#[test]
fn the_table_of_grants_is_as_committed() {
    let needs = |operation: &Operation| {
        let variations = operation
            .variations
            .iter()
            .map(|variation| match variation {
                Variation::Suffices { member, grant } => {
                    format!("; with `{member}`, `{grant}` is enough")
                }
                Variation::NeededToo { member, grant } => {
                    format!("; with `{member}`, `{grant}` too")
                }
            });
        let all: Vec<String> = variations.collect();
        format!(
            "| `{}` | `{}`{} |",
            operation.key,
            operation.grant,
            all.concat()
        )
    };
    let holds = |role: Role| {
        let grants: Vec<String> = role.grants().iter().map(|it| format!("`{it}`")).collect();
        format!("| `{role}` | {} | {} |", role.what(), grants.join(", "))
    };
    let mut lines = vec![
        "# Who may do what".to_owned(),
        String::new(),
        "Written from the registry.".to_owned(),
        String::new(),
        "| operation | grant |".to_owned(),
        "| --- | --- |".to_owned(),
    ];
    lines.extend(OperationName::ALL.map(|name| needs(name.entry())));
    lines.extend([
        String::new(),
        "A role is a set of grants. `act-as` is in none; an agent holds no `execution.approve`,"
            .to_owned(),
        "whatever its roles say.".to_owned(),
        String::new(),
        "| role | does | grants |".to_owned(),
        "| --- | --- | --- |".to_owned(),
    ]);
    lines.extend(Role::ALL.map(holds));
    expect_file!["../../../../schemas/grants.md"].assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn nobody_asks_and_votes_by_one_role() {
    for role in Role::ALL {
        let holds = |grant| role.grants().contains(&grant);
        assert!(!(holds(Grant::IntentSubmit) && holds(Grant::ExecutionApprove)));
        assert!(!holds(Grant::ActAs));
        assert_eq!(role.as_str().parse(), Ok(role));
    }
}

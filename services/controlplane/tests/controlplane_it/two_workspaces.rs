//! Two workspaces of one control plane, driven at once: whatever is asked, and through whichever
//! door, nothing of the one is told in the other, and what the other has is as what is not there.
//!
//! What is done is drawn: a seed, which a failure prints, and a number of operations. To see a
//! failure again, set `CONTROL_PLANE_ISOLATION_SEED` to its seed; to go on for longer, set
//! `CONTROL_PLANE_ISOLATION_SECONDS`, for a minute to 60.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    event::EventName, manifest::SkillManifest, problem::Code, registry::OperationName,
};
use domain::execution::intake::{Door as Through, keyed_id};
use serde_json::{Value, json};
use skills::{
    key::keygen,
    signature::{Validity, sign},
};
use tokio::time::Instant;

use crate::{
    doors::{Door, Doors, Newcomer, PATIENCE, Said},
    overhearing::{Ears, is_refused_by_the_broker, tries_what_is_anothers},
    sides::{Ids, NAMES_NOTHING, Side, asked_of, telling, told},
    stage::{installation, manifest, trusting},
};

/// Operations of each workspace, where no time is set.
const OPERATIONS: u32 = 150;

const SEED: u64 = 2_718_281_828;

/// Of the event that is published to the inbox of the one and meant for the other.
const ASTRAY: &str = "astray";

const SIGNER: [u8; 32] = [7; 32];

/// How often the two questions may fall to either side of something that one's own execution does
/// meanwhile. What tells the other's id from nobody's does so each time.
const PAIRS: usize = 20;

/// The other's id, and one that nobody has: the same answer, and nothing is found.
async fn is_not_found(
    doors: &Doors,
    sides: (&Side, &Side),
    door: Door,
    number: usize,
    (own, theirs): (&Ids, &Ids),
) {
    let side = sides.0;
    let (role, operation, _) = asked_of(side, theirs, own).swap_remove(number);
    let about = async |ids: &Ids| {
        let (_, _, input) = asked_of(side, ids, own).swap_remove(number);
        asked(doors, sides, door, role, operation, &input).await
    };
    let mut pairs = 0;
    let said = loop {
        let nowhere = side.nowhere();
        let (said, unknown) = (about(theirs).await, about(&nowhere).await);
        let (one, another) = (told(&said, theirs), told(&unknown, &nowhere));
        pairs += 1;
        if one == another {
            break said;
        }
        assert!(
            pairs < PAIRS,
            "{operation:?} through {door:?} tells that another workspace has it: {one:#?} and \
             {another:#?}"
        );
    };
    if said.is_answer() {
        assert_eq!(said.body["total"], 0, "{operation:?}: {said:#?}");
    } else {
        // One's own may be in another state by now.
        let passing = [
            Code::PolicyNotActive,
            Code::AlreadyStarted,
            Code::ExecutionEnded,
            Code::NoOpenBlock,
        ];
        let is_passing = passing.iter().any(|code| code.as_str() == said.code());
        assert!(said.status == 404 || is_passing, "{operation:?}: {said:#?}");
    }
    side.foreign.borrow_mut().insert(operation);
}

/// A bundle and a skill of its own.
async fn equip(doors: &Doors, side: &Side, other: &Side) {
    let mut bundle = trusting();
    let policy = format!(
        "@id(\"own-{0}\")\n@reason(\"{0} says so\")\n\
         permit (principal, action == Action::\"runAssisted\", resource);\n",
        side.marker
    );
    bundle.policies.insert("own.cedar".to_owned(), policy);
    let mut own = json!(manifest("1.0.0"));
    own["skill"]["key"] = json!(side.skill);
    own["metadata"]["owner"] = json!(side.marker);
    let own: SkillManifest = serde_json::from_value(own).unwrap();
    let own = sign(&own, &keygen(SIGNER), Validity::default()).unwrap();
    for (operation, input) in [
        (OperationName::PolicyActivate, json!({ "bundle": bundle })),
        (OperationName::SkillInstall, installation(&own)),
    ] {
        let said = asked(doors, (side, other), Door::Http, "admin", operation, &input).await;
        if operation == OperationName::PolicyActivate {
            side.policy.replace(said.text("hash"));
        }
        said.ok();
    }
}

/// Asks for something of one's own.
async fn asked(
    doors: &Doors,
    (side, other): (&Side, &Side),
    door: Door,
    role: &str,
    operation: OperationName,
    input: &Value,
) -> Said {
    let who = side.person(role);
    let said = doors
        .through(door, side.workspace, &who, operation, input, None)
        .await;
    let text = format!("{} {:?}", said.body, said.headers);
    side.looks_through(other, &text, &format!("{operation:?} through {door:?}"));
    assert!(said.status < 500, "{operation:?}: {said:#?}");
    said
}

/// Whoever looked for a marker in what is answered, through whichever door, would find it.
async fn its_own_is_told(doors: &Doors, sides: (&Side, &Side)) {
    let side = sides.0;
    for (operation, input) in telling(&side.any()) {
        for door in Door::ALL {
            let said = asked(doors, sides, door, "admin", operation, &input).await;
            let marked = side.marked.borrow();
            let here = format!("{operation:?} through {door:?}");
            assert!(marked.contains(&here), "no marker in {here}: {said:#?}");
        }
    }
    for door in Door::ALL {
        let (list, all) = (OperationName::SkillList, json!({ "limit": 100 }));
        let listed = asked(doors, sides, door, "admin", list, &all).await;
        let listed = listed.ok().to_string();
        // Of a skill its key is told, which has no marker.
        assert!(listed.contains(side.skill), "{door:?}: {listed}");
        assert!(!listed.contains(sides.1.skill), "{door:?}: {listed}");
    }
}

/// Kinds of intents: without a draft, with one, and with one that waits for a vote.
const KINDS: usize = 3;

async fn submit(doors: &Doors, sides: (&Side, &Side), door: Door, kind: usize) -> Ids {
    let side = sides.0;
    let mut input = json!({
        "workspaceId": side.workspace, "text": side.text("look after it"),
        "metadata": { "note": side.marker }, "channelKey": side.marker,
    });
    if kind > 0 {
        input["draft"] = side.draft();
        input["mode"] = json!(["autonomous", "assist"][kind - 1]);
    }
    let operation = OperationName::IntentSubmit;
    let said = asked(doors, sides, door, "submitter", operation, &input).await;
    let execution = said.text("executionId");
    let plan = if kind > 0 {
        let compiled = EventName::PlanCompiled;
        let compiled = doors.until(side.workspace, &execution, compiled).await;
        compiled["planId"].as_str().unwrap().to_owned()
    } else {
        side.chance.borrow_mut().id()
    };
    let block = if kind == 2 {
        let blocked = EventName::StepBlocked;
        let blocked = doors.until(side.workspace, &execution, blocked).await;
        blocked["blockId"].as_str().unwrap().to_owned()
    } else {
        side.chance.borrow_mut().id()
    };
    let intent = said.text("intentId");
    known(side, execution, [intent, plan, block])
}

fn known(side: &Side, execution: String, [intent, plan, block]: [String; 3]) -> Ids {
    let ids = Ids {
        execution,
        intent,
        plan,
        block,
        skill: side.skill.to_owned(),
        policy: side.policy.borrow().clone(),
        person: side.person("submitter"),
    };
    side.executions.borrow_mut().push(ids.clone());
    ids
}

/// Publishes an intent to the own inbox; it is taken some time later.
async fn publish(doors: &Doors, side: &Side) {
    let id = side.chance.borrow_mut().draw().to_string();
    let who = side.person("submitter");
    let event = json!({
        "specversion": "1.0", "type": "controlPlane.intent.submit", "id": id, "source": "/desk",
        "data": {
            "workspaceId": side.workspace, "text": side.text("from the inbox"),
            "draft": side.draft(),
        },
    });
    let person = doors.person(side.workspace, &who);
    let subject = journal::inbox::inbox_subject(&person.workspace, &person.id);
    person
        .guest
        .publish(&subject, event.to_string().as_bytes())
        .await;
    let execution = keyed_id(&person.workspace, Through::CloudEvents, "/desk", &id).to_string();
    let received = EventName::IntentReceived;
    let received = doors.until(side.workspace, &execution, received).await;
    let intent = received["intentId"].as_str().unwrap().to_owned();
    let [plan, block] = [(), ()].map(|()| side.chance.borrow_mut().id());
    known(side, execution, [intent, plan, block]);
}

/// A plan that uses the other's skill is refused as one that uses nobody's.
async fn a_skill_of_the_other_is_unknown(doors: &Doors, sides: (&Side, &Side)) {
    let (side, other) = sides;
    let (theirs, nowhere) = (other.any(), side.nowhere());
    let mut answers = Vec::new();
    for ids in [&theirs, &nowhere] {
        let uses = format!("{}/tell", ids.skill);
        let input = json!({
            "workspaceId": side.workspace, "text": side.text("with another's skill"),
            "draft": { "steps": [{ "id": "only", "uses": uses, "with": {} }] },
        });
        let submit = OperationName::IntentSubmit;
        let said = asked(doors, sides, Door::Nats, "submitter", submit, &input).await;
        let (execution, intent) = (said.text("executionId"), said.text("intentId"));
        let compile = json!({ "executionId": execution, "intentId": intent });
        let operation = OperationName::PlanCompile;
        let said = asked(doors, sides, Door::Nats, "submitter", operation, &compile).await;
        assert_eq!(said.code(), Code::PlanRejected.as_str(), "{said:#?}");
        answers.push(told(
            &said,
            &Ids {
                execution,
                ..ids.clone()
            },
        ));
    }
    assert_eq!(answers[0], answers[1]);
}

/// One key in each workspace is one execution in each.
async fn one_key_is_two_executions(doors: &Doors, sides: [&Side; 2]) {
    let mut ids = Vec::new();
    for side in sides {
        let input = json!({ "workspaceId": side.workspace, "text": side.text("once") });
        let (who, submit) = (side.person("submitter"), OperationName::IntentSubmit);
        let key = Some("the same in both");
        let said = doors
            .through(Door::Http, side.workspace, &who, submit, &input, key)
            .await;
        assert_eq!(said.status, 201, "{said:#?}");
        ids.push(said.text("executionId"));
    }
    assert_ne!(ids[0], ids[1]);
}

/// What was published for the other workspace is refused, and kept in the own one.
fn only_its_own_is_refused(doors: &Doors, side: &Side) {
    let listed = || {
        let words = ["inbox", "refused", "--workspace", side.workspace];
        let listed = doors.world.ask(&words);
        listed["items"].as_array().unwrap().clone()
    };
    let is_astray = |item: &Value| {
        let payload = item["refusal"]["payload"].as_str().unwrap();
        let payload = STANDARD.decode(payload).unwrap();
        // Whatever the broker was tried with is refused too, and no event.
        serde_json::from_slice::<Value>(&payload).is_ok_and(|event| event["id"] == ASTRAY)
    };
    let until = Instant::now() + PATIENCE;
    let listed = loop {
        let listed = listed();
        if listed.iter().any(is_astray) {
            break listed;
        }
        assert!(Instant::now() < until, "it is not refused: {listed:#?}");
    };
    let subject = format!("cp.inbox.{}.", side.workspace);
    for item in listed {
        let told = item["refusal"]["subject"].as_str().unwrap();
        assert!(told.starts_with(&subject), "{item:#}");
    }
}

/// Publishes to the own inbox what is meant for the other workspace.
async fn publish_elsewhere(doors: &Doors, (side, other): (&Side, &Side)) {
    let event = json!({
        "specversion": "1.0", "type": "controlPlane.intent.submit", "id": ASTRAY,
        "source": "/desk",
        "data": { "workspaceId": other.workspace, "text": side.text("astray") },
    });
    let person = doors.person(side.workspace, &side.person("submitter"));
    let subject = journal::inbox::inbox_subject(&person.workspace, &person.id);
    person
        .guest
        .publish(&subject, event.to_string().as_bytes())
        .await;
}

/// One drawn operation.
async fn act(doors: &Doors, sides: (&Side, &Side)) {
    let (side, other) = sides;
    let door = [Door::Http, Door::Nats][side.below(2)];
    match side.below(10) {
        0 | 1 => {
            submit(doors, sides, door, side.below(KINDS)).await;
        }
        2 => publish(doors, side).await,
        3 | 4 => {
            // Whatever comes of it: it may be done already, or not yet possible.
            let own = side.any();
            let asks = asked_of(side, &own, &own);
            let number = side.below(asks.len());
            let (role, operation, input) = &asks[number];
            // The skill stays, for the other to ask for.
            if *operation != OperationName::SkillDisable {
                asked(doors, sides, door, role, *operation, input).await;
            }
        }
        5 => {
            let list = [
                (OperationName::ExecutionList, json!({ "limit": 100 })),
                (OperationName::SkillList, json!({ "limit": 100 })),
                (OperationName::ApprovalList, json!({ "all": true })),
                (OperationName::ExecutionList, json!({ "text": "look" })),
            ];
            let (operation, input) = &list[side.below(list.len())];
            asked(doors, sides, door, "admin", *operation, input).await;
            // The other's words find nothing.
            let words = json!({ "text": other.marker });
            let who = side.person("admin");
            let list = OperationName::ExecutionList;
            let found = doors
                .through(door, side.workspace, &who, list, &words, None)
                .await;
            assert_eq!(found.ok()["total"], 0, "{found:#?}");
        }
        _ => {
            let (own, theirs) = (side.any(), other.any());
            let number = side.below(asked_of(side, &own, &own).len());
            is_not_found(doors, sides, door, number, (&own, &theirs)).await;
        }
    }
}

/// Until there were enough operations, or the time that was set is over.
async fn drive(doors: &Doors, sides: (&Side, &Side), until: Option<Instant>) {
    let mut done = 0;
    while until.map_or(done < OPERATIONS, |until| Instant::now() < until) {
        act(doors, sides).await;
        done += 1;
    }
}

/// Each thing that can be asked for of another's, through each door.
async fn everything_once(doors: &Doors, sides: (&Side, &Side)) {
    let (side, other) = sides;
    let (own, theirs) = (side.any(), other.any());
    for number in 0..asked_of(side, &own, &own).len() {
        for door in Door::ALL {
            is_not_found(doors, sides, door, number, (&own, &theirs)).await;
        }
    }
    let nowhere = side.nowhere();
    for rest in ["", "/trace", "/policy", "/events"] {
        let who = side.person("admin");
        let mut answers = Vec::new();
        for ids in [&theirs, &nowhere] {
            let path = format!("/v1/executions/{}{rest}", ids.execution);
            let said = doors.get(side.workspace, &who, &path).await;
            side.looks_through(other, &said.body.to_string(), &path);
            assert_eq!(said.code(), Code::ExecutionNotFound.as_str(), "{path}");
            answers.push(told(&said, ids));
        }
        assert_eq!(answers[0], answers[1], "{rest}");
    }
}

#[tokio::test]
async fn two_workspaces_hear_nothing_of_each_other() {
    let seed = set("CONTROL_PLANE_ISOLATION_SEED").unwrap_or(SEED);
    let seconds = set("CONTROL_PLANE_ISOLATION_SECONDS");
    // Only printed with a failure.
    println!("to see it again: CONTROL_PLANE_ISOLATION_SEED={seed}");
    let acme = Side::new("quartz", "m4rk3r0fqu4rtz", "orders.desk", seed);
    let globex = Side::new("basalt", "m4rk3r0fb4s4lt", "claims.desk", !seed);
    let people: Vec<Newcomer> = acme.people().chain(globex.people()).collect();
    let options = [
        "--workspace",
        acme.workspace,
        "--republish",
        "--serves",
        "desk",
    ];
    let doors = Doors::open(&options, &people).await;
    let (forth, back) = ((&acme, &globex), (&globex, &acme));
    for (side, other) in [forth, back] {
        equip(&doors, side, other).await;
    }
    let mut ears = [
        Ears::of(&doors, &acme).await,
        Ears::of(&doors, &globex).await,
    ];
    let reader = doors.guest("events-reader", "_INBOX_events-reader").await;
    let republished = format!("events.{}.>", acme.workspace);
    let mut republished = reader.listen(&republished).await;
    for sides in [forth, back] {
        for number in 0..2 * KINDS {
            submit(&doors, sides, Door::Http, number % KINDS).await;
        }
    }
    for (sides, ears) in [forth, back].into_iter().zip(&mut ears) {
        its_own_is_told(&doors, sides).await;
        everything_once(&doors, sides).await;
        a_skill_of_the_other_is_unknown(&doors, sides).await;
        let theirs = sides.1.any();
        ears.listen_to(&doors, sides.0, &theirs).await;
    }
    one_key_is_two_executions(&doors, [&acme, &globex]).await;
    for sides in [forth, back] {
        publish_elsewhere(&doors, sides).await;
    }
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    tokio::join!(drive(&doors, forth, until), drive(&doors, back, until));

    for ((side, other), ears) in [forth, back].into_iter().zip(&mut ears) {
        let last = submit(&doors, (side, other), Door::Nats, 0).await;
        ears.heard_nothing_of(side, other, &last.execution).await;
        for operation in OperationName::ALL {
            let is_asked = side.foreign.borrow().contains(&operation);
            assert_ne!(
                is_asked,
                NAMES_NOTHING.contains(&operation),
                "{operation:?}"
            );
        }
        is_refused_by_the_broker(&doors, side, other).await;
        only_its_own_is_refused(&doors, side);
    }
    let mut heard = 0;
    while let Ok(event) = republished.try_recv() {
        let payload = String::from_utf8_lossy(&event.payload).into_owned();
        let text = format!("{} {:?} {payload}", event.subject, event.headers);
        acme.looks_through(&globex, &text, &"a republished event");
        heard += 1;
    }
    assert!(heard > 50, "only {heard} events were republished");
    assert!(acme.marked.borrow().contains("a republished event"));
    for (user, their, other) in [
        ("events-reader", "basalt", &globex),
        ("worker", "basalt", &globex),
    ] {
        let mut guest = doors.guest(user, &format!("_INBOX_{user}")).await;
        let them = other.person("submitter");
        tries_what_is_anothers(&mut guest, user, their, &them).await;
    }
    // Whoever reads metrics reads those of all: so nothing of any workspace is in them.
    let metrics = doors.metrics().await;
    assert!(metrics.contains("# TYPE"), "{metrics}");
    for side in [&acme, &globex] {
        for name in [side.marker, side.workspace] {
            assert!(!metrics.contains(name), "`{name}` is in the metrics");
        }
    }
    doors.check_events().await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "how a run by hand is told what to do"
)]
fn set(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

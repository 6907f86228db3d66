//! Two workspaces of one control plane, driven at once: whatever is asked, and through whichever
//! door, nothing of the one is told in the other, and what the other has is as what is not there.
//!
//! What is done is drawn: a seed, which a failure prints, and a number of operations. To see a
//! failure again, set `CONTROL_PLANE_ISOLATION_SEED` to its seed; to go on for longer, set
//! `CONTROL_PLANE_ISOLATION_SECONDS`, for a minute to 60.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use contracts::{
    event::EventName, manifest::SkillManifest, problem::Code, registry::OperationName,
};
use domain::execution::intake::{Door as Through, keyed_id};
use journal::permissions::{CALLER_INBOX_PREFIX, caller_name};
use serde_json::{Value, json};
use skills::{
    key::keygen,
    signature::{Validity, sign},
};
use testkit::guest::{Guest, Heard};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    doors::{Door, Doors, Newcomer, PATIENCE, Said},
    stage::{installation, manifest, trusting},
};

/// Operations of each workspace, where no time is set.
const OPERATIONS: u32 = 150;

const SEED: u64 = 2_718_281_828;

const ROLES: [(&str, &[&str]); 4] = [
    ("submitter", &["--role", "submitter"]),
    ("approver", &["--role", "approver"]),
    ("admin", &["--role", "admin"]),
    ("reporter", &["--role", "worker"]),
];

const SIGNER: [u8; 32] = [7; 32];

/// One workspace, and what is known of it to whoever drives it.
struct Side {
    workspace: &'static str,
    /// In every text, every name of a person, every document; nowhere else.
    marker: &'static str,
    /// No marker: it is asked for in the other workspace.
    skill: &'static str,
    chance: RefCell<Chance>,
    executions: RefCell<Vec<Ids>>,
    policy: RefCell<String>,
    /// Answers in which the own marker was found: looking for one would find it.
    marked: Cell<u32>,
    /// What of the other was asked for, and how often.
    foreign: RefCell<BTreeMap<OperationName, u32>>,
}

/// What an operation may name.
#[derive(Debug, Clone)]
struct Ids {
    execution: String,
    intent: String,
    plan: String,
    skill: String,
    policy: String,
    person: String,
}

impl Ids {
    /// Every one of them, each with what stands for it.
    fn named(&self) -> [(&str, &str); 6] {
        [
            (&self.execution, "<execution>"),
            (&self.intent, "<intent>"),
            (&self.plan, "<plan>"),
            (&self.skill, "<skill>"),
            (&self.policy, "<policy>"),
            (&self.person, "<person>"),
        ]
    }
}

/// Numbers that follow from a seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn id(&mut self) -> String {
        let (one, other) = (self.next(), self.next());
        format!(
            "0198f3b1-{:04x}-7{:03x}-8{:03x}-{:012x}",
            one & 0xffff,
            (one >> 16) & 0xfff,
            (one >> 32) & 0xfff,
            other & 0xffff_ffff_ffff,
        )
    }
}

impl Side {
    fn new(workspace: &'static str, marker: &'static str, skill: &'static str, seed: u64) -> Self {
        Self {
            workspace,
            marker,
            skill,
            chance: RefCell::new(Chance(seed)),
            executions: RefCell::default(),
            policy: RefCell::default(),
            marked: Cell::new(0),
            foreign: RefCell::default(),
        }
    }

    fn person(&self, role: &str) -> String {
        format!("{role}-{}", self.marker)
    }

    fn people(&self) -> impl Iterator<Item = Newcomer> {
        ROLES.into_iter().map(|(role, may)| Newcomer {
            workspace: self.workspace.to_owned(),
            id: self.person(role),
            may,
        })
    }

    fn text(&self, what: &str) -> String {
        format!("{what} {}", self.marker)
    }

    fn draft(&self) -> Value {
        json!({ "steps": [
            { "id": "only", "uses": "core.echo/echo", "with": { "message": self.text("say") } },
        ] })
    }

    fn below(&self, bound: usize) -> usize {
        self.chance.borrow_mut().below(bound)
    }

    /// One of its executions.
    fn any(&self) -> Ids {
        let number = self.below(self.executions.borrow().len());
        self.executions.borrow()[number].clone()
    }

    /// What nobody has.
    fn nowhere(&self) -> Ids {
        let mut chance = self.chance.borrow_mut();
        let (execution, intent, plan) = (chance.id(), chance.id(), chance.id());
        Ids {
            skill: format!("nowhere.s{}", chance.next()),
            policy: format!("{:016x}", chance.next()).repeat(4),
            person: format!("nobody-{}", chance.next()),
            execution,
            intent,
            plan,
        }
    }

    /// Looks through what was heard here.
    #[track_caller]
    fn looks_through(&self, other: &Self, text: &str, what: &dyn std::fmt::Display) {
        for secret in [other.marker, other.workspace] {
            assert!(
                !text.contains(secret),
                "`{}` heard `{secret}` of the other workspace: {what}\n{text}",
                self.workspace
            );
        }
        if text.contains(self.marker) {
            self.marked.set(self.marked.get() + 1);
        }
    }
}

/// What is asked for of `about`, which may be one's own, another's or nobody's; `own` is one's own.
fn asked_of(side: &Side, about: &Ids, own: &Ids) -> Vec<(&'static str, OperationName, Value)> {
    let Ids {
        execution,
        intent,
        plan,
        skill,
        policy,
        person,
    } = about;
    let run = format!("{execution}:1");
    let (submitter, approver, admin) = (
        side.person("submitter"),
        side.person("approver"),
        side.person("admin"),
    );
    vec![
        (
            "admin",
            OperationName::ExecutionGet,
            json!({ "executionId": execution }),
        ),
        (
            "admin",
            OperationName::TraceGet,
            json!({ "executionId": execution, "includePayloads": true }),
        ),
        (
            "admin",
            OperationName::PolicyExplain,
            json!({ "executionId": execution }),
        ),
        (
            "admin",
            OperationName::PolicyExplain,
            json!({ "executionId": execution, "stepId": "only" }),
        ),
        (
            "approver",
            OperationName::ApprovalList,
            json!({ "executionId": execution, "all": true }),
        ),
        (
            "admin",
            OperationName::ExecutionList,
            json!({ "actorId": person }),
        ),
        (
            "admin",
            OperationName::ExecutionList,
            json!({ "skillKey": skill }),
        ),
        (
            "submitter",
            OperationName::PlanCompile,
            json!({ "executionId": execution, "intentId": intent }),
        ),
        (
            "submitter",
            OperationName::PlanCompile,
            json!({ "executionId": execution, "intentId": intent, "draft": side.draft() }),
        ),
        (
            "submitter",
            OperationName::PlanCompile,
            json!({ "executionId": own.execution, "intentId": intent }),
        ),
        (
            "submitter",
            OperationName::PlanVerify,
            json!({ "executionId": execution, "planId": plan }),
        ),
        (
            "submitter",
            OperationName::PlanVerify,
            json!({ "executionId": own.execution, "planId": plan }),
        ),
        (
            "submitter",
            OperationName::PlanVerify,
            json!({ "executionId": own.execution, "planId": own.plan, "policyVersion": policy }),
        ),
        (
            "submitter",
            OperationName::ExecutionStart,
            json!({ "executionId": execution, "planId": plan }),
        ),
        (
            "submitter",
            OperationName::ExecutionStart,
            json!({ "executionId": own.execution, "planId": plan }),
        ),
        (
            "approver",
            OperationName::ExecutionApprove,
            json!({ "executionId": execution, "stepId": "only", "approvedBy": approver }),
        ),
        (
            "approver",
            OperationName::ExecutionReject,
            json!({
                "executionId": execution, "stepId": "only", "rejectedBy": approver,
                "reason": side.text("no"),
            }),
        ),
        (
            "submitter",
            OperationName::ExecutionCancel,
            json!({ "executionId": execution, "cancelledBy": submitter }),
        ),
        (
            "admin",
            OperationName::ExecutionPause,
            json!({ "runId": run, "pausedBy": admin }),
        ),
        (
            "admin",
            OperationName::ExecutionResume,
            json!({ "runId": run, "resumedBy": admin }),
        ),
        (
            "admin",
            OperationName::ExecutionRetry,
            json!({ "runId": run, "retriedBy": admin }),
        ),
        (
            "admin",
            OperationName::ExecutionAbort,
            json!({ "runId": run, "abortedBy": admin }),
        ),
        (
            "admin",
            OperationName::ExecutionShutdown,
            json!({ "runId": run, "shutdownBy": admin }),
        ),
        (
            "reporter",
            OperationName::StepReport,
            json!({
                "executionId": execution, "stepId": "only", "token": "0".repeat(64),
                "outcome": "completed", "output": {},
            }),
        ),
        (
            "admin",
            OperationName::SkillDisable,
            json!({ "skillKey": skill, "disabledBy": admin }),
        ),
    ]
}

/// What names nothing, or makes it: not asked for of another's.
const NAMES_NOTHING: [OperationName; 5] = [
    OperationName::IntentSubmit,
    OperationName::SkillInstall,
    OperationName::SkillList,
    OperationName::SkillVerify,
    OperationName::PolicyActivate,
];

/// An answer in which every id is what it stands for.
fn told(said: &Said, ids: &Ids) -> (u16, Value, BTreeMap<String, String>) {
    let mut body = said.body.clone();
    body.as_object_mut().unwrap().remove("position");
    let mut text = body.to_string();
    for (id, name) in ids.named() {
        text = text.replace(id, name);
    }
    let mut headers = said.headers.clone();
    // What each answer has of its own.
    for name in ["date", "content-length", "etag"] {
        headers.remove(name);
    }
    (said.status, serde_json::from_str(&text).unwrap(), headers)
}

/// The other's id, and one that nobody has: the same answer, and nothing is found.
async fn is_not_found(
    doors: &Doors,
    (side, other): (&Side, &Side),
    door: Door,
    number: usize,
    (own, theirs): (&Ids, &Ids),
) {
    let nowhere = side.nowhere();
    let mut answers = Vec::new();
    let mut operation = None;
    for ids in [theirs, &nowhere] {
        let (role, name, input) = asked_of(side, ids, own).swap_remove(number);
        let who = side.person(role);
        let said = doors
            .through(door, side.workspace, &who, name, &input, None)
            .await;
        let text = format!("{} {:?}", said.body, said.headers);
        side.looks_through(other, &text, &format!("{name:?} through {door:?}"));
        operation = Some(name);
        answers.push((said, ids));
    }
    let operation = operation.unwrap();
    let [(said, theirs), (unknown, nowhere)] = answers.as_slice() else {
        panic!("two answers")
    };
    assert_eq!(
        told(said, theirs),
        told(unknown, nowhere),
        "{operation:?} through {door:?} tells that another workspace has it"
    );
    if said.is_answer() {
        assert_eq!(said.body["total"], 0, "{operation:?}: {said:#?}");
    } else {
        // One's own may be in another state by now.
        let passing = [
            Code::PolicyNotActive,
            Code::AlreadyStarted,
            Code::ExecutionEnded,
        ];
        let is_passing = passing.iter().any(|code| code.as_str() == said.code());
        assert!(said.status == 404 || is_passing, "{operation:?}: {said:#?}");
    }
    *side.foreign.borrow_mut().entry(operation).or_default() += 1;
}

/// Everything that hears without asking.
struct Ears {
    feeds: Vec<Arc<Mutex<String>>>,
    inboxes: Vec<mpsc::UnboundedReceiver<Heard>>,
}

impl Ears {
    async fn of(doors: &Doors, side: &Side) -> Self {
        let mut ears = Self {
            feeds: Vec::new(),
            inboxes: Vec::new(),
        };
        let (workspace, admin) = (side.workspace, side.person("admin"));
        for (who, path) in [
            (&admin, "/v1/events"),
            (&side.person("approver"), "/v1/approvals/events"),
        ] {
            let mut response = doors.feed(workspace, who, path).await;
            assert_eq!(response.status(), 200, "{path}");
            let heard: Arc<Mutex<String>> = Arc::default();
            ears.feeds.push(Arc::clone(&heard));
            tokio::spawn(async move {
                while let Ok(Some(chunk)) = response.chunk().await {
                    let text = String::from_utf8_lossy(&chunk);
                    heard.lock().unwrap().push_str(&text);
                }
            });
        }
        for (role, _) in ROLES {
            let person = doors.person(workspace, &side.person(role));
            // Of its own account: others' answers have the same subjects in theirs.
            let answers = format!("{CALLER_INBOX_PREFIX}.>");
            ears.inboxes.push(person.guest.listen(&answers).await);
        }
        ears
    }

    /// Waits until the feed has told of `execution`, then looks through all that was heard.
    async fn heard_nothing_of(&mut self, side: &Side, other: &Side, execution: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.feeds[0].lock().unwrap().contains(execution) {
            assert!(Instant::now() < until, "the feed does not tell of the last");
            tokio::task::yield_now().await;
        }
        let (theirs, own) = (other.executions.borrow(), side.executions.borrow());
        for feed in &self.feeds {
            let feed = feed.lock().unwrap();
            side.looks_through(other, &feed, &"a live feed");
            for ids in theirs.iter() {
                assert!(!feed.contains(&ids.execution), "{ids:?}");
            }
        }
        let told = own.iter().filter(|ids| {
            let feed = self.feeds[0].lock().unwrap();
            feed.contains(&ids.execution)
        });
        assert!(told.count() > own.len() / 2, "the feed tells of too little");
        let mut answers = 0;
        for inbox in &mut self.inboxes {
            while let Ok(heard) = inbox.try_recv() {
                let text = format!(
                    "{} {:?} {}",
                    heard.subject,
                    heard.headers,
                    String::from_utf8_lossy(&heard.payload)
                );
                side.looks_through(other, &text, &"an inbox on NATS");
                answers += 1;
            }
        }
        assert!(answers > 10, "only {answers} answers came to the inboxes");
    }
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

/// Submits one of several kinds of intents.
async fn submit(doors: &Doors, sides: (&Side, &Side), door: Door) -> Ids {
    let side = sides.0;
    let mut input = json!({
        "workspaceId": side.workspace, "text": side.text("look after it"),
        "metadata": { "note": side.marker }, "channelKey": side.marker,
    });
    let kind = side.below(3);
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
    known(side, execution, said.text("intentId"), plan)
}

fn known(side: &Side, execution: String, intent: String, plan: String) -> Ids {
    let ids = Ids {
        execution,
        intent,
        plan,
        skill: side.skill.to_owned(),
        policy: side.policy.borrow().clone(),
        person: side.person("submitter"),
    };
    side.executions.borrow_mut().push(ids.clone());
    ids
}

/// Publishes an intent to the own inbox; it is taken some time later.
async fn publish(doors: &Doors, side: &Side) {
    let id = side.chance.borrow_mut().next().to_string();
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
    let plan = side.chance.borrow_mut().id();
    known(side, execution, intent, plan);
}

/// One drawn operation.
async fn act(doors: &Doors, sides: (&Side, &Side)) {
    let (side, other) = sides;
    let door = [Door::Http, Door::Nats][side.below(2)];
    match side.below(10) {
        0 | 1 => {
            submit(doors, sides, door).await;
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

/// What each of its users tries at the broker.
async fn is_refused_by_the_broker(doors: &Doors, side: &Side, other: &Side) {
    let (their, them) = (other.workspace, other.person("submitter"));
    for (role, _) in ROLES {
        let me = side.person(role);
        let person = doors.person(side.workspace, &me);
        let user = caller_name(&person.workspace, &person.id);
        let mut guest = doors.guest(&user, CALLER_INBOX_PREFIX).await;
        tries_what_is_anothers(&mut guest, &user, their, &them).await;
        // As whom it is there, it may not be in the other workspace.
        for subject in [
            format!("cp.api.{their}.{me}.execution.list"),
            format!("cp.inbox.{their}.{me}"),
        ] {
            assert!(!guest.may_publish(&subject).await, "{user}: {subject}");
        }
        let own = format!("cp.inbox.{}.{me}", side.workspace);
        assert!(guest.may_publish(&own).await, "{user}: {own}");
    }
}

async fn tries_what_is_anothers(guest: &mut Guest, user: &str, their: &str, them: &str) {
    for subject in [
        format!("cp.api.{their}.>"),
        format!("cp.api.{their}.{them}.>"),
        format!("cp.inbox.{their}.>"),
        format!("cp.refused.{their}.>"),
        format!("controlPlane.{their}.>"),
        format!("events.{their}.>"),
        format!("cp.skill.{their}.>"),
        "_INBOX_intake.>".to_owned(),
        "_INBOX_executor.>".to_owned(),
        "_R_.>".to_owned(),
        "cp.>".to_owned(),
        "$JS.>".to_owned(),
        ">".to_owned(),
    ] {
        assert!(
            !guest.may_subscribe(&subject).await,
            "{user} may hear {subject}"
        );
    }
    for subject in [
        format!("cp.api.{their}.{them}.intent.submit"),
        format!("cp.inbox.{their}.{them}"),
        format!("cp.refused.{their}.{them}.1"),
        format!("controlPlane.{their}.execution.2a.some-id.1.intent.received"),
        format!("events.{their}.execution.2a.some-id.1.intent.received"),
        format!("cp.skill.{their}.desk"),
        "_INBOX.x".to_owned(),
        "_INBOX_intake.x".to_owned(),
        "$JS.API.STREAM.MSG.GET.CONTROL_PLANE_00".to_owned(),
        "$SRV.PING".to_owned(),
    ] {
        assert!(
            !guest.may_publish(&subject).await,
            "{user} may say {subject}"
        );
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
    let (here, there) = ((&acme, &globex), (&globex, &acme));
    for (side, other) in [here, there] {
        equip(&doors, side, other).await;
    }
    let mut ears = [
        Ears::of(&doors, &acme).await,
        Ears::of(&doors, &globex).await,
    ];
    let reader = doors.guest("events-reader", "_INBOX_events-reader").await;
    let republished = format!("events.{}.>", acme.workspace);
    let mut republished = reader.listen(&republished).await;
    for sides in [here, there] {
        for _ in 0..6 {
            submit(&doors, sides, Door::Http).await;
        }
    }
    for sides in [here, there] {
        everything_once(&doors, sides).await;
    }
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    tokio::join!(drive(&doors, here, until), drive(&doors, there, until));

    for ((side, other), ears) in [here, there].into_iter().zip(&mut ears) {
        let last = submit(&doors, (side, other), Door::Nats).await;
        ears.heard_nothing_of(side, other, &last.execution).await;
        assert!(side.marked.get() > 50, "{}", side.marked.get());
        let foreign: BTreeSet<_> = side.foreign.borrow().keys().copied().collect();
        for operation in OperationName::ALL {
            let is_asked = foreign.contains(&operation);
            assert_ne!(
                is_asked,
                NAMES_NOTHING.contains(&operation),
                "{operation:?}"
            );
        }
        is_refused_by_the_broker(&doors, side, other).await;
    }
    let mut heard = 0;
    while let Ok(event) = republished.try_recv() {
        let payload = String::from_utf8_lossy(&event.payload).into_owned();
        let text = format!("{} {:?} {payload}", event.subject, event.headers);
        acme.looks_through(&globex, &text, &"a republished event");
        heard += 1;
    }
    assert!(heard > 50, "only {heard} events were republished");
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

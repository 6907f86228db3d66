//! Two workspaces as who drives them knows them, and what can be asked for in each.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use contracts::registry::OperationName;
use serde_json::{Value, json};

use crate::doors::{Newcomer, Said};

/// Who asks in each, by what they are called before the workspace's marker.
pub const ROLES: [(&str, &[&str]); 4] = [
    ("submitter", &["--role", "submitter"]),
    ("approver", &["--role", "approver"]),
    ("admin", &["--role", "admin"]),
    ("reporter", &["--role", "worker"]),
];

/// One workspace, and what is known of it to whoever drives it.
pub struct Side {
    pub workspace: &'static str,
    /// In every text, every name of a person, every document; nowhere else.
    pub marker: &'static str,
    /// No marker: it is asked for in the other workspace.
    pub skill: &'static str,
    pub chance: RefCell<Chance>,
    pub executions: RefCell<Vec<Ids>>,
    pub policy: RefCell<String>,
    /// Where the own marker was found: looking for the other's would find it there.
    pub marked: RefCell<BTreeSet<String>>,
    /// What was asked of the other's.
    pub foreign: RefCell<BTreeSet<OperationName>>,
}

/// What an operation may name.
#[derive(Debug, Clone)]
pub struct Ids {
    pub execution: String,
    pub intent: String,
    pub plan: String,
    /// Of its step that waits for a vote.
    pub block: String,
    pub skill: String,
    pub policy: String,
    pub person: String,
}

impl Ids {
    /// Every one of them, each with what stands for it.
    pub fn named(&self) -> [(&str, &str); 7] {
        [
            (&self.execution, "<execution>"),
            (&self.intent, "<intent>"),
            (&self.plan, "<plan>"),
            (&self.block, "<block>"),
            (&self.skill, "<skill>"),
            (&self.policy, "<policy>"),
            (&self.person, "<person>"),
        ]
    }
}

/// Numbers that follow from a seed.
pub struct Chance(u64);

impl Chance {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub fn id(&mut self) -> String {
        let (one, other) = (self.draw(), self.draw());
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
    pub fn new(
        workspace: &'static str,
        marker: &'static str,
        skill: &'static str,
        seed: u64,
    ) -> Self {
        Self {
            workspace,
            marker,
            skill,
            chance: RefCell::new(Chance(seed)),
            executions: RefCell::default(),
            policy: RefCell::default(),
            marked: RefCell::default(),
            foreign: RefCell::default(),
        }
    }

    pub fn person(&self, role: &str) -> String {
        format!("{role}-{}", self.marker)
    }

    pub fn people(&self) -> impl Iterator<Item = Newcomer> {
        ROLES.into_iter().map(|(role, may)| Newcomer {
            workspace: self.workspace.to_owned(),
            id: self.person(role),
            may,
        })
    }

    pub fn text(&self, what: &str) -> String {
        format!("{what} {}", self.marker)
    }

    pub fn draft(&self) -> Value {
        json!({ "steps": [
            { "id": "only", "uses": "core.echo/echo", "with": { "message": self.text("say") } },
        ] })
    }

    pub fn below(&self, bound: usize) -> usize {
        self.chance.borrow_mut().below(bound)
    }

    /// One of its executions.
    pub fn any(&self) -> Ids {
        let number = self.below(self.executions.borrow().len());
        self.executions.borrow()[number].clone()
    }

    /// What nobody has.
    pub fn nowhere(&self) -> Ids {
        let mut chance = self.chance.borrow_mut();
        let (execution, intent, plan) = (chance.id(), chance.id(), chance.id());
        let block = chance.id();
        Ids {
            skill: format!("nowhere.s{}", chance.draw()),
            policy: format!("{:016x}", chance.draw()).repeat(4),
            person: format!("nobody-{}", chance.draw()),
            execution,
            intent,
            plan,
            block,
        }
    }

    /// Looks through what was heard here.
    #[track_caller]
    pub fn looks_through(&self, other: &Self, text: &str, what: &dyn std::fmt::Display) {
        for secret in [other.marker, other.workspace] {
            assert!(
                !text.contains(secret),
                "`{}` heard `{secret}` of the other workspace: {what}\n{text}",
                self.workspace
            );
        }
        if text.contains(self.marker) {
            self.marked.borrow_mut().insert(what.to_string());
        }
    }
}

/// What is asked for of `about`, which may be one's own, another's or nobody's; `own` is one's own.
#[expect(clippy::too_many_lines, reason = "each operation has its row")]
pub fn asked_of(side: &Side, about: &Ids, own: &Ids) -> Vec<(&'static str, OperationName, Value)> {
    let Ids {
        execution,
        intent,
        plan,
        block,
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
            OperationName::ExecutionApprove,
            json!({
                "executionId": own.execution, "stepId": "only", "approvedBy": approver,
                "blockId": block,
            }),
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
pub const NAMES_NOTHING: [OperationName; 5] = [
    OperationName::IntentSubmit,
    OperationName::SkillInstall,
    OperationName::SkillList,
    OperationName::SkillVerify,
    OperationName::PolicyActivate,
];

/// What tells of something of one's own by the names and texts that it was given.
pub fn telling(own: &Ids) -> Vec<(OperationName, Value)> {
    let execution = &own.execution;
    vec![
        (
            OperationName::ExecutionGet,
            json!({ "executionId": execution }),
        ),
        (
            OperationName::TraceGet,
            json!({ "executionId": execution, "includePayloads": true }),
        ),
        (OperationName::ExecutionList, json!({ "limit": 100 })),
        (OperationName::ApprovalList, json!({ "all": true })),
    ]
}

/// An answer in which every id is what it stands for.
pub fn told(said: &Said, ids: &Ids) -> (u16, Value, BTreeMap<String, String>) {
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

//! `execution approve|reject`: what is voted on is shown first, and the vote names what was
//! shown, so that it counts for nothing else.

use std::io::{self, IsTerminal as _, Write as _};

use contracts::{
    canonical::Digest,
    event::EventName,
    facts::{Actor, StepFacts, facts_digest},
    ids::{ExecutionId, StepId},
    manifest::Effect,
    operations::{
        execution::{
            ApproveInput, ApproveOutput, ExecutionRecord, OpenApproval, RejectInput, RejectOutput,
            StepSummary,
        },
        trace::TraceEntry,
    },
    position::Positions,
    problem::Code,
    registry::OperationName,
};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    api::Api,
    command::{Global, Session},
    execution::{open_approvals, record, terms},
    failure::Failure,
    screen::{Screen, plain, pretty, shortened},
    trace,
};

/// Enough of a digest to tell one build of a skill from another.
const PIN_CHARS: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Approve {
    /// Its id, as `execution list --status blocked` shows it
    execution: ExecutionId,
    /// The step; may be left out where only one waits
    step: Option<StepId>,
    /// Why, for the record
    #[arg(long)]
    note: Option<String>,
    /// Do not ask before voting; needed where nobody can be asked: with `--json`, or without a
    /// terminal
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub struct Reject {
    /// Its id, as `execution list --status blocked` shows it
    execution: ExecutionId,
    /// The step; may be left out where only one waits
    step: Option<StepId>,
    /// Why, for the record and for who asked
    #[arg(long, value_parser = said)]
    reason: String,
    /// Do not ask before voting; needed where nobody can be asked: with `--json`, or without a
    /// terminal
    #[arg(long, short)]
    yes: bool,
}

/// A step that waits, and what a voter is shown of it.
pub struct Ballot {
    pub record: ExecutionRecord,
    pub step: StepSummary,
    pub approval: OpenApproval,
    /// Nothing where the credential may not see them.
    pub seen: Option<Seen>,
}

/// What only the record of an execution tells of a step.
pub struct Seen {
    pub inputs: Value,
    /// As its skill declares it; nothing where no verdict tells it.
    pub facts: Option<StepFacts>,
}

pub async fn approve(approve: Approve, global: &Global) -> Result<(), Failure> {
    let session = global.session("approver")?;
    let ballot = find(&session.api, approve.execution, approve.step.as_ref(), None).await?;
    ask(&session, &ballot, "approve", approve.yes)?;
    let output = cast_for(&session.api, &ballot, approve.note).await?;
    let screen = session.screen;
    screen.answer(&output, || {
        format!(
            "{}  execution {}",
            screen.good("approved"),
            screen.state(output.status.as_str())
        )
    });
    Ok(())
}

pub async fn reject(reject: Reject, global: &Global) -> Result<(), Failure> {
    let session = global.session("approver")?;
    let ballot = find(&session.api, reject.execution, reject.step.as_ref(), None).await?;
    ask(&session, &ballot, "reject", reject.yes)?;
    let output = cast_against(&session.api, &ballot, reject.reason).await?;
    let screen = session.screen;
    screen.answer(&output, || {
        format!(
            "{}  execution {}",
            screen.alert("rejected"),
            screen.state(output.status.as_str())
        )
    });
    Ok(())
}

/// A reason that says something.
fn said(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// The block that waits, with what is voted on.
pub async fn find(
    api: &Api,
    execution: ExecutionId,
    step: Option<&StepId>,
    at_least: Option<Positions>,
) -> Result<Ballot, Failure> {
    let record = record(api, execution, at_least.clone()).await?.execution;
    let steps = record.steps.clone().unwrap_or_default();
    let waiting: Vec<StepId> = open_approvals(&steps).map(|(id, _)| id.clone()).collect();
    let wanted = match (step, waiting.as_slice()) {
        (Some(step), _) => step.clone(),
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(Failure::Unsuccessful(format!(
                "no step waits for a vote: the execution is {}",
                record.status
            )));
        }
        (None, several) => {
            let names: Vec<_> = several.iter().map(StepId::as_str).collect();
            return Err(Failure::Usage(format!(
                "several steps wait for a vote, name one: {}",
                names.join(", ")
            )));
        }
    };
    let found = steps.into_iter().find(|step| step.id == wanted);
    let Some(step) = found else {
        return Err(Failure::Unsuccessful(format!(
            "the plan has no step `{wanted}`"
        )));
    };
    let Some(approval) = step.approval.clone() else {
        return Err(Failure::Unsuccessful(format!(
            "step `{wanted}` waits for no vote: it is {}",
            step.status.as_str()
        )));
    };
    let seen = match trace::entries(api, execution, true, at_least).await {
        Ok(output) => Some(seen_in(&output.entries, &wanted, &approval.inputs_digest)?),
        Err(Failure::Refused(refusal)) if refusal.code == Code::Forbidden.as_str() => None,
        Err(failure) => return Err(failure),
    };
    Ok(Ballot {
        record,
        step,
        approval,
        seen,
    })
}

pub async fn cast_for(
    api: &Api,
    ballot: &Ballot,
    note: Option<String>,
) -> Result<ApproveOutput, Failure> {
    let input = ApproveInput {
        execution_id: ballot.record.execution_id,
        step_id: ballot.step.id.clone(),
        approved_by: api.principal.clone(),
        note,
        plan_hash: Some(ballot.approval.plan_hash),
        inputs_digest: Some(ballot.approval.inputs_digest),
        block_id: Some(ballot.approval.block_id),
    };
    api.ask(OperationName::ExecutionApprove, &input).await
}

pub async fn cast_against(
    api: &Api,
    ballot: &Ballot,
    reason: String,
) -> Result<RejectOutput, Failure> {
    let input = RejectInput {
        execution_id: ballot.record.execution_id,
        step_id: ballot.step.id.clone(),
        rejected_by: api.principal.clone(),
        reason,
        plan_hash: Some(ballot.approval.plan_hash),
        inputs_digest: Some(ballot.approval.inputs_digest),
        block_id: Some(ballot.approval.block_id),
    };
    api.ask(OperationName::ExecutionReject, &input).await
}

/// What is voted on, in words.
pub fn shown(screen: Screen, ballot: &Ballot) -> String {
    let Ballot {
        record,
        step,
        approval,
        seen,
    } = ballot;
    let mut lines = Vec::new();
    let mut say = |topic: &str, text: String| {
        lines.push(format!("{} {text}", screen.bold(&format!("{topic:<11}"))));
    };
    say(
        "asked",
        record.text.as_deref().map(plain).unwrap_or_default(),
    );
    if let Some(actor) = &record.actor {
        say("by", named(actor));
    }
    say(
        "step",
        format!(
            "{}: {}@{}/{}",
            step.id, step.uses.key, step.uses.version, step.action
        ),
    );
    let pin = step.uses.digest.to_string();
    say("pinned", shortened(&pin, PIN_CHARS));
    if let Some(facts) = seen.as_ref().and_then(|seen| seen.facts.as_ref()) {
        say("publisher", plain(&facts.publisher));
        say("effect", effect(facts.effect).to_owned());
    }
    say("reason", plain(&approval.reason));
    if let Some(tier) = step.tier {
        say("risk", screen.state(tier.as_str()));
    }
    say("plan hash", approval.plan_hash.to_string());
    match seen {
        Some(seen) => {
            let indent = " ".repeat(12);
            say(
                "inputs",
                pretty(&seen.inputs, &indent).trim_start().to_owned(),
            );
        }
        None => say(
            "inputs",
            format!(
                "not shown (the grant `trace.payloads` is missing); digest {}",
                approval.inputs_digest
            ),
        ),
    }
    lines.push(terms(approval));
    lines.join("\n")
}

/// The name that was acted under, and who acted.
pub fn named(actor: &Actor) -> String {
    match &actor.via {
        Some(via) => format!("{} (by {via})", actor.id),
        None => actor.id.to_string(),
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::External => "external",
        Effect::Money => "money",
        Effect::Irreversible => "irreversible",
    }
}

fn ask(session: &Session, ballot: &Ballot, verb: &str, yes: bool) -> Result<(), Failure> {
    let screen = session.screen;
    screen.line(&shown(screen, ballot));
    if yes {
        return Ok(());
    }
    if screen.is_json() || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Usage(format!(
            "nobody can be asked here, so nothing was voted: to {verb} what was shown, add `--yes`"
        )));
    }
    let mut out = io::stdout().lock();
    let mut answer = String::new();
    let asked = write!(out, "{verb} this? [y/N] ").and_then(|()| out.flush());
    let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        (Ok(_) | Err(_), _) => Err(Failure::Unsuccessful("not voted".to_owned())),
    }
}

/// The inputs whose digest the vote will name, from the step's last proposal or else from the
/// plan: found by their digest, so that nothing else is shown.
pub fn seen_in(entries: &[TraceEntry], step: &StepId, digest: &Digest) -> Result<Seen, Failure> {
    let mut candidates = entries
        .iter()
        .rev()
        .filter_map(|entry| inputs_in(entry, step));
    let Some(inputs) = candidates.find(|inputs| facts_digest(inputs) == *digest) else {
        return Err(Failure::Unsuccessful(format!(
            "the record of `{step}` holds no inputs with the digest {digest}, so nobody can know \
             what the vote is about: nothing was voted; `execution cancel` ends the run"
        )));
    };
    let facts = entries
        .iter()
        .rev()
        .find_map(|entry| facts_in(entry, step))
        .and_then(|facts| StepFacts::deserialize(facts).ok());
    Ok(Seen {
        inputs: inputs.clone(),
        facts,
    })
}

/// From the step's last verdict, or else from that on the plan.
fn facts_in<'a>(entry: &'a TraceEntry, step: &StepId) -> Option<&'a Value> {
    let facts = entry.payload.as_ref()?.get("facts")?;
    let name = EventName::parse(entry.event.as_deref()?)?;
    if name == EventName::StepJudged && entry.step_id.as_ref() == Some(step) {
        return Some(facts);
    }
    if name == EventName::PlanVerified {
        return facts.get("steps")?.get(step.as_str());
    }
    None
}

fn inputs_in<'a>(entry: &'a TraceEntry, step: &StepId) -> Option<&'a Value> {
    let payload = entry.payload.as_ref()?;
    let name = EventName::parse(entry.event.as_deref()?)?;
    if name == EventName::StepProposed && entry.step_id.as_ref() == Some(step) {
        return payload.get("inputs");
    }
    if name == EventName::PlanCompiled {
        let steps = payload.get("plan")?.get("steps")?.as_array()?;
        let id = Some(step.as_str());
        let found = steps
            .iter()
            .find(|step| step.get("id").and_then(Value::as_str) == id);
        return found?.get("with");
    }
    None
}

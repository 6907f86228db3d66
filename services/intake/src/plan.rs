//! `controlPlane.plan.compile` and `controlPlane.plan.verify`.

use contracts::{
    event::Event,
    events::{
        planner::{PlanCompiled, PlanSource},
        verifier::PlanVerified,
    },
    ids::DraftId,
    operations::plan::{CompileInput, CompileOutput, VerifyInput, VerifyOutput},
    plan::Finding,
    position::Positions,
    problem::{Code, Problem},
    subject::AggregateId,
};
use domain::execution::{
    Execution, Known, Stage,
    intake::{self, Rejection},
    verification,
};
use host::catalogue::FollowError;
use journal::history::Read;
use serde_json::Value;

use crate::{
    api::Call,
    commit::History,
    outcome::Outcome,
    refusal::{self, Rejected},
};

/// Asked of a planner: one draft, or whatever comes.
#[derive(Clone, Copy)]
enum Asked {
    Plan,
    Draft(DraftId),
}

pub(crate) async fn compile(
    call: &Call<'_>,
    input: CompileInput,
) -> Result<CompileOutput, Problem> {
    let aggregate = AggregateId::execution(call.principal.workspace.clone(), input.execution_id);
    let mut history: History<Execution> = call.intake.load(&aggregate, Read::Confirmed).await?;
    let known = |history: &History<Execution>| -> Result<(), Problem> {
        match intake::existing(&history.state, input.execution_id) {
            Ok(known) if known.intent.intent_id == input.intent_id => Ok(()),
            Ok(_) | Err(Rejection::ExecutionNotFound(_)) => Err(Problem::of(Code::IntentNotFound)),
            Err(rejection) => Err(rejection.problem()),
        }
    };
    known(&history)?;
    let Some(draft) = input.draft.map(Value::Object) else {
        return call
            .outcome(&mut history, &aggregate, |history| {
                compiled(history, Asked::Plan)
            })
            .await;
    };
    let asked = Asked::Draft(intake::draft_id(input.execution_id, &draft));
    // Whoever submits and offers a draft at once is a moment ahead of the planner's request.
    let ready = call
        .outcome(&mut history, &aggregate, |history| {
            let known = history.state.known()?;
            (known.stop.is_some() || !is_passing(&known.stage)).then_some(Ok(()))
        })
        .await;
    // Whether that came or not, the decision says what is the case.
    drop(ready);
    if let Some(Ok(output)) = compiled_from(&history, asked) {
        return Ok(output);
    }
    let decided = call
        .intake
        .carry_out_on(history, &aggregate, call.traceparent(), |history, now| {
            known(history)?;
            let known =
                intake::existing(&history.state, input.execution_id).map_err(Rejected::problem)?;
            let model = input.planner_model.as_deref();
            intake::offer_draft(known, &draft, model, call.actor(), now).map_err(Rejected::problem)
        })
        .await?;
    let mut history = decided.history;
    call.outcome(&mut history, &aggregate, |history| compiled(history, asked))
        .await
}

/// The planner is about to go on by itself.
fn is_passing(stage: &Stage) -> bool {
    matches!(stage, Stage::Received | Stage::DraftRefused { .. })
}

fn compiled(history: &History<Execution>, asked: Asked) -> Outcome<CompileOutput> {
    if let Some(output) = compiled_from(history, asked) {
        return Some(output);
    }
    let known = match &history.state {
        Execution::Known(known) => known,
        Execution::Corrupt(_) => return Some(Err(Rejection::Corrupt.problem())),
        Execution::NeverReceived => return None,
    };
    match (&known.stage, asked) {
        (Stage::Rejected { findings, .. }, _)
        | (Stage::DraftRefused { findings, .. }, Asked::Draft(_)) => {
            Some(Err(rejected(findings, history.position())))
        }
        (Stage::Failed { .. } | Stage::Completed { .. }, _) => Some(Err(ended(known))),
        _ if known.stop.is_some() => Some(Err(ended(known))),
        (Stage::AwaitingDraft { .. }, Asked::Plan) => Some(Err(Problem::of(Code::DraftRequired))),
        // Another draft was compiled, which ends the wait for this one.
        (Stage::Compiled { .. } | Stage::Verified(_) | Stage::Running(_), _) => {
            Some(Err(Rejection::NotAwaitingDraft(known.status()).problem()))
        }
        // The planner goes on from here.
        (
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. },
            _,
        ) => None,
    }
}

/// The plan that is recorded, if it came of what was asked.
fn compiled_from(history: &History<Execution>, asked: Asked) -> Outcome<CompileOutput> {
    let compiled = history.last(recorded_plan)?;
    let is_asked = match (asked, &compiled.source) {
        (Asked::Plan, _) => true,
        (Asked::Draft(asked), PlanSource::Draft { draft_id }) => *draft_id == asked,
        (Asked::Draft(_), PlanSource::Intent | PlanSource::Playbook { .. }) => false,
    };
    is_asked.then(|| Ok(output_of(compiled, history.position())))
}

fn recorded_plan(event: &Event) -> Option<&PlanCompiled> {
    if let Event::PlanCompiled(compiled) = event {
        Some(compiled)
    } else {
        None
    }
}

fn output_of(compiled: &PlanCompiled, position: Positions) -> CompileOutput {
    CompileOutput {
        plan_id: compiled.plan_id,
        compiled_at: compiled.compiled_at,
        step_count: compiled.step_count,
        deterministic_hash: compiled.deterministic_hash,
        position: Some(position),
    }
}

fn rejected(findings: &[Finding], position: Positions) -> Problem {
    let unsupported = Code::NotSupportedYet.as_str();
    let all_unsupported =
        !findings.is_empty() && findings.iter().all(|finding| finding.code == unsupported);
    let code = if all_unsupported {
        Code::NotSupportedYet
    } else {
        Code::PlanRejected
    };
    Problem::of(code)
        .with_findings(findings.to_vec())
        .with_position(position)
}

fn ended(known: &Known) -> Problem {
    Rejection::Ended(known.status()).problem()
}

pub(crate) async fn verify(call: &Call<'_>, input: VerifyInput) -> Result<VerifyOutput, Problem> {
    let workspace = &call.principal.workspace;
    let aggregate = AggregateId::execution(workspace.clone(), input.execution_id);
    if let Some(expected) = &input.policy_version {
        let followed = call
            .intake
            .host
            .catalogue
            .confirmed_since(call.received)
            .await;
        let catalogue = followed.map_err(|error| follow(&error))?;
        let active = catalogue
            .policy_version(workspace)
            .map(|hash| hash.to_string());
        if active.as_ref() != Some(expected) {
            return Err(not_active(active.as_deref()));
        }
    }
    let done = call
        .intake
        .carry_out::<Execution, _>(&aggregate, call.traceparent(), |history, now| {
            let known = intake::existing(&history.state, input.execution_id);
            known
                .and_then(|known| intake::verify(known, input.plan_id, call.actor(), now))
                .map_err(Rejected::problem)
        })
        .await?;
    let mut history = done.history;
    // A verdict is awaited from here on, whoever asked for it.
    let asked_at = history.state.version();
    let output = call
        .outcome(&mut history, &aggregate, |history| {
            verdict(history, asked_at)
        })
        .await?;
    let judged_by = output.policy_version.map(|hash| hash.to_string());
    if input.policy_version.is_some() && input.policy_version != judged_by {
        return Err(not_active(judged_by.as_deref()));
    }
    Ok(output)
}

fn verdict(history: &History<Execution>, asked_at: u64) -> Outcome<VerifyOutput> {
    let newer = history
        .events
        .iter()
        .filter(|recorded| recorded.version() > asked_at);
    for recorded in newer {
        if let Event::PlanVerified(verified) = &recorded.event {
            return Some(Ok(judged(history, verified)));
        }
    }
    match &history.state {
        Execution::Known(known) if known.stop.is_some() || known.is_ended() => {
            Some(Err(ended(known)))
        }
        Execution::Corrupt(_) => Some(Err(Rejection::Corrupt.problem())),
        Execution::Known(_) | Execution::NeverReceived => None,
    }
}

fn judged(history: &History<Execution>, verified: &PlanVerified) -> VerifyOutput {
    let reasons = verification::blocked_reasons(verified);
    VerifyOutput {
        verdict: verified.verdict,
        requires_approval: verified.requires_approval,
        verified_at: verified.verified_at,
        blocked_reasons: (!reasons.is_empty()).then_some(reasons),
        risk_tier: Some(verified.risk_tier),
        policy_version: verified.policy_version,
        plan_hash: history
            .last(recorded_plan)
            .map(|plan| plan.deterministic_hash),
        position: Some(history.position()),
    }
}

fn not_active(active: Option<&str>) -> Problem {
    let detail = match active {
        Some(active) => format!("the active policy is `{active}`"),
        None => "no policy is active, and without one every plan is blocked".to_owned(),
    };
    Problem::new(Code::PolicyNotActive, detail)
}

fn follow(error: &FollowError) -> Problem {
    match error {
        FollowError::Unavailable(error) => refusal::unavailable(error),
        FollowError::Newer(_) | FollowError::Unreadable { .. } | FollowError::CutBack { .. } => {
            tracing::error!(
                reason = host::engine::chain(error),
                "the catalogue cannot be used"
            );
            Problem::new(Code::LogUnavailable, error.to_string())
        }
    }
}

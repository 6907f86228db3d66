//! `controlPlane.plan.compile` and `controlPlane.plan.verify`.

use contracts::{
    event::Event,
    events::{planner::PlanCompiled, verifier::PlanVerified},
    operations::plan::{CompileInput, CompileOutput, VerifyInput, VerifyOutput},
    position::Positions,
    problem::{Code, Problem},
    subject::AggregateId,
};
use domain::execution::{
    Execution, Known,
    intake::{self, Asked, Rejection},
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

pub(crate) async fn compile(
    call: &Call<'_>,
    input: CompileInput,
) -> Result<CompileOutput, Problem> {
    let id = input.execution_id;
    let aggregate = AggregateId::execution(call.principal.workspace.clone(), id);
    let mut history: History<Execution> = call.intake.load(&aggregate, Read::Confirmed).await?;
    intake::of_intent(&history.state, id, input.intent_id).map_err(Rejected::problem)?;
    let Some(draft) = input.draft.map(Value::Object) else {
        return call
            .outcome(&mut history, &aggregate, |history| {
                compiled(history, Asked::Recorded)
            })
            .await;
    };
    let asked = Asked::Of(intake::draft_id(id, &draft));
    // Whoever submits and offers a draft at once is a moment ahead of the planner's request.
    let ready = call
        .outcome(&mut history, &aggregate, |history| {
            (!intake::planner_goes_on(history.state.known()?)).then_some(Ok(()))
        })
        .await;
    // Whether that came or not, the decision says what is the case.
    drop(ready);
    let decided = call
        .carry_out_on(history, &aggregate, call.traceparent(), |history, now| {
            let model = input.planner_model.as_deref();
            intake::of_intent(&history.state, id, input.intent_id)
                .and_then(|known| intake::offer_draft(known, &draft, model, call.actor(), now))
                .map_err(Rejected::problem)
        })
        .await?;
    let mut history = decided.history;
    call.outcome(&mut history, &aggregate, |history| compiled(history, asked))
        .await
}

fn compiled(history: &History<Execution>, asked: Asked) -> Outcome<CompileOutput> {
    let known = match &history.state {
        Execution::Known(known) => known,
        Execution::Corrupt(_) => return Some(Err(Rejection::Corrupt.problem())),
        Execution::NeverReceived => return None,
    };
    match intake::plan(known, asked) {
        Ok(plan) => plan.map(|compiled| Ok(output_of(compiled, history.position()))),
        Err(
            rejection @ (Rejection::PlanRejected(_)
            | Rejection::NotSupportedYet(_)
            | Rejection::DraftTimedOut),
        ) => Some(Err(rejection.problem().with_position(history.position()))),
        Err(rejection) => Some(Err(rejection.problem())),
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
        .carry_out::<Execution, _>(&aggregate, |history, now| {
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
            .state
            .known()
            .and_then(|known| known.compiled())
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

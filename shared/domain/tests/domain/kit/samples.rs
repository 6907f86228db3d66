//! One event of each name, fitted to a state.

use contracts::{
    canonical::Digest,
    event::{Event, EventName},
    events::{RULES, executor, host, intake, planner, verifier},
    ids::{BlockId, DraftId, InstallationId, PlanId, RunId, StepId},
    plan::{Mode, Status},
};
use domain::execution::{StepState, steps::idempotency_key};
use serde_json::json;
use uuid::Uuid;

use super::{
    World, after, at, digest, execution_id, given, judge, policy, process, rule, shop, step, who,
};

fn honest() -> World {
    given(&[step("a"), after("b", &["a"])]).judged()
}

/// An event of this name that fits the state in everything that may fit.
pub fn sample(name: EventName, world: &World) -> Event {
    let known = world.state.known();
    let execution_id = execution_id();
    let run_id = known
        .and_then(domain::execution::Known::run_id)
        .unwrap_or(RunId {
            execution: execution_id,
            number: 1,
        });
    let compiled = known.and_then(|known| known.compiled());
    let plan_id = compiled.map_or(PlanId::of(Uuid::nil()), |compiled| compiled.plan_id);
    let step_id: StepId = "a".parse().unwrap();
    let step = known
        .and_then(|known| known.steps())
        .and_then(|steps| steps.get(&step_id));
    let attempts = step.map_or(0, |step| step.attempts);
    let block = step.and_then(|step| step.block.as_ref());
    let ends_by = known.and_then(|known| known.stop.as_ref());
    let time = at(world.now);
    let facts_digest = Digest::of(b"facts");
    let inputs_digest = digest(&json!({}));
    let rules = RULES;
    let by = who("ann");
    let honest = honest();
    let plan = honest.known().compiled().unwrap();
    let hash = plan.deterministic_hash;
    let verdict = world.judge.step(Some(policy("base")), &step_id, false);
    let skill_key = "ops".parse().unwrap();
    let installation_id = InstallationId::of(Uuid::nil());
    match name {
        EventName::IntentReceived => honest.log[0].event.clone(),
        EventName::PlanDrafted => intake::PlanDrafted {
            execution_id,
            draft_id: DraftId::of(Uuid::nil()),
            draft: json!({}),
            planner_model: None,
            by,
            drafted_at: time,
            rules,
        }
        .into(),
        EventName::PlanVerificationRequested => intake::PlanVerificationRequested {
            execution_id,
            plan_id,
            by,
            requested_at: time,
            rules,
        }
        .into(),
        EventName::ExecutionStartRequested => intake::ExecutionStartRequested {
            execution_id,
            plan_id,
            mode: Mode::Autonomous,
            by,
            requested_at: time,
            rules,
        }
        .into(),
        EventName::ExecutionApproved => intake::ExecutionApproved {
            execution_id,
            run_id,
            step_id,
            block_id: block.map_or(BlockId::of(Uuid::nil()), |block| block.opened.block_id),
            by,
            plan_hash: None,
            inputs_digest: None,
            note: None,
            approved_at: time,
            rules,
        }
        .into(),
        EventName::ExecutionRejected => intake::ExecutionRejected {
            execution_id,
            run_id,
            step_id,
            block_id: block.map_or(BlockId::of(Uuid::nil()), |block| block.opened.block_id),
            by,
            plan_hash: None,
            inputs_digest: None,
            reason: "no".to_owned(),
            rejected_at: time,
            rules,
        }
        .into(),
        EventName::StepReported => intake::StepReported {
            execution_id,
            run_id,
            step_id,
            attempt: attempts,
            outcome: intake::ReportedOutcome::Completed,
            output: None,
            error: None,
            error_code: None,
            retryable: None,
            by: Some(by),
            reported_at: time,
            rules,
        }
        .into(),
        EventName::CancelRequested => intake::CancelRequested {
            execution_id,
            by,
            reason: None,
            requested_at: time,
            rules,
        }
        .into(),
        EventName::Paused => intake::Paused {
            execution_id,
            run_id,
            by,
            reason: None,
            paused_at: time,
            rules,
        }
        .into(),
        EventName::Resumed => intake::Resumed {
            execution_id,
            run_id,
            by,
            resumed_at: time,
            rules,
        }
        .into(),
        EventName::RetryRequested => intake::RetryRequested {
            execution_id,
            run_id,
            by,
            reason: None,
            from: None,
            requested_at: time,
            rules,
        }
        .into(),
        EventName::SkillInstallRequested => intake::SkillInstallRequested {
            installation_id,
            skill_key,
            version: "1.0.0".parse().unwrap(),
            artifact_digest: String::new(),
            manifest: shop::manifest("ops", "1.0.0", &shop::ops()),
            by,
            requested_at: time,
            rules,
        }
        .into(),
        EventName::SkillDisabled => intake::SkillDisabled {
            skill_key,
            version: None,
            by,
            reason: None,
            disabled_at: time,
            rules,
        }
        .into(),
        EventName::PolicyActivationRequested => intake::PolicyActivationRequested {
            hash,
            bundle: shop::bundle("base"),
            by,
            requested_at: time,
            rules,
        }
        .into(),
        EventName::HoldPlaced => intake::HoldPlaced {
            scope: String::new(),
            by,
            reason: None,
            placed_at: time,
            rules,
        }
        .into(),
        EventName::HoldLifted => intake::HoldLifted {
            scope: String::new(),
            by,
            reason: None,
            lifted_at: time,
            rules,
        }
        .into(),
        EventName::IncidentResolved => intake::IncidentResolved {
            code: String::new(),
            by,
            reason: None,
            resolved_at: time,
            rules,
        }
        .into(),
        EventName::DraftRequested => planner::DraftRequested {
            execution_id,
            attempt: match known.map(|known| &known.stage) {
                Some(domain::execution::Stage::DraftRefused { attempt, .. }) => attempt + 1,
                _ => 1,
            },
            requested_at: time,
            expires_at: time,
            rules,
        }
        .into(),
        EventName::PlanCompiled => (**plan).clone().into(),
        EventName::PlanRejected => planner::PlanRejected {
            execution_id,
            plan_id: None,
            rejected_at: time,
            reasons: None,
            cause: match known.map(domain::execution::Known::status) {
                Some(Status::AwaitingDraft) => planner::RejectionCause::DraftTimeout,
                Some(Status::Verified) => planner::RejectionCause::Policy,
                _ => planner::RejectionCause::Compile,
            },
            findings: Vec::new(),
            is_final: true,
            catalogue: None,
            facts_digest: None,
            rules,
        }
        .into(),
        EventName::PlanVerified => {
            let answer = world.judge.plan(Some(policy("base")), &plan.plan);
            verifier::PlanVerified {
                execution_id,
                plan_id,
                verdict: answer.verdict,
                requires_approval: false,
                risk_tier: answer.risk_tier,
                steps: answer.steps,
                facts: answer.facts,
                policy_version: None,
                engine_version: String::new(),
                verified_at: time,
                catalogue: 0,
                facts_digest,
                rules,
            }
            .into()
        }
        EventName::StepJudged => verifier::StepJudged {
            execution_id,
            run_id,
            step_id,
            answers: match step.map(|step| &step.state) {
                Some(StepState::Proposed { version, .. }) => *version,
                _ => 0,
            },
            inputs_digest,
            verdict,
            facts: judge::step_facts(&plan.plan.steps[0], true),
            policy_version: None,
            engine_version: String::new(),
            judged_at: time,
            catalogue: 0,
            facts_digest,
            rules,
        }
        .into(),
        EventName::SkillInstalled => verifier::SkillInstalled {
            installation_id,
            skill_key,
            version: "1.0.0".parse().unwrap(),
            installed_at: time,
            publisher: None,
            provenance: None,
            manifest_digest: None,
            trust_digest: hash,
            report: report(),
            catalogue: 0,
            rules,
        }
        .into(),
        EventName::SkillRejected => verifier::SkillRejected {
            installation_id,
            skill_key,
            version: None,
            rejected_at: time,
            reason: String::new(),
            provenance: None,
            manifest_digest: None,
            issues: None,
            trust_digest: hash,
            report: report(),
            catalogue: 0,
            rules,
        }
        .into(),
        EventName::PolicyActivated => verifier::PolicyActivated {
            hash,
            findings: Vec::new(),
            engine_version: String::new(),
            activated_at: time,
            rules,
        }
        .into(),
        EventName::PolicyRefused => verifier::PolicyRefused {
            hash,
            findings: Vec::new(),
            engine_version: String::new(),
            refused_at: time,
            rules,
        }
        .into(),
        EventName::ExecutionStarted => executor::ExecutionStarted {
            execution_id,
            run_id,
            plan_id,
            mode: Mode::Autonomous,
            started_at: time,
            rules,
        }
        .into(),
        EventName::StepProposed => executor::StepProposed {
            execution_id,
            run_id,
            step_id,
            inputs: json!({}),
            inputs_digest,
            reason: executor::ProposalReason::InputsKnown,
            proposed_at: time,
            catalogue: 0,
            facts_digest,
            rules,
        }
        .into(),
        EventName::StepBlocked => executor::StepBlocked {
            execution_id,
            run_id,
            step_id,
            blocked_at: time,
            reason: String::new(),
            block_id: BlockId::of(Uuid::nil()),
            plan_hash: hash,
            inputs_digest,
            approval: rule(1),
            expires_at: time,
            catalogue: 0,
            facts_digest,
            rules,
        }
        .into(),
        EventName::StepStarted => executor::StepStarted {
            execution_id,
            run_id,
            idempotency_key: idempotency_key(execution_id, &step_id),
            step_id,
            started_at: time,
            attempt: attempts + 1,
            takeover: false,
            owner: process(1),
            pin: plan.plan.steps[0].uses.clone(),
            inputs_digest,
            token_hash: hash,
            timeout_at: time,
            catalogue: 0,
            facts_digest,
            rules,
        }
        .into(),
        EventName::StepAccepted => executor::StepAccepted {
            execution_id,
            run_id,
            step_id,
            attempt: attempts,
            accepted_at: time,
            expires_at: time,
            rules,
        }
        .into(),
        EventName::StepCompleted => executor::StepCompleted {
            execution_id,
            run_id,
            step_id,
            completed_at: time,
            attempt: attempts,
            output: json!({}),
            output_digest: inputs_digest,
            rules,
        }
        .into(),
        EventName::StepFailed => executor::StepFailed {
            execution_id,
            run_id,
            step_id,
            failed_at: time,
            attempt: attempts,
            error_code: String::new(),
            error_message: None,
            retryable: false,
            outcome: executor::EffectOutcome::NotDone,
            next_attempt_at: None,
            rules,
        }
        .into(),
        EventName::StepSkipped => executor::StepSkipped {
            execution_id,
            run_id,
            step_id,
            reason: String::new(),
            skipped_at: time,
            rules,
        }
        .into(),
        EventName::StepCompensated => executor::StepCompensated {
            execution_id,
            run_id,
            step_id,
            reason: String::new(),
            compensated_at: time,
            rules,
        }
        .into(),
        EventName::ExecutionStopping => executor::ExecutionStopping {
            execution_id,
            run_id: Some(run_id),
            code: executor::FailureCode::DeadlineExceeded,
            step_id: None,
            cause: String::new(),
            stopping_at: time,
            catalogue: None,
            facts_digest: None,
            rules,
        }
        .into(),
        EventName::ExecutionCompleted => executor::ExecutionCompleted {
            execution_id,
            run_id,
            completed_at: time,
            outcome: match known.map(domain::execution::Known::status) {
                Some(Status::Verified) => Some(executor::CompletionOutcome::Observed),
                _ => None,
            },
            rules,
        }
        .into(),
        EventName::ExecutionFailed => executor::ExecutionFailed {
            execution_id,
            run_id: known.and_then(|known| known.run()).map(|_| run_id),
            failed_at: time,
            error_code: ends_by.map_or(executor::FailureCode::DeadlineExceeded, |stop| stop.code),
            error_message: None,
            problem: None,
            step_id: None,
            catalogue: None,
            facts_digest: None,
            rules,
        }
        .into(),
        EventName::IncidentRaised => host::IncidentRaised {
            code: String::new(),
            cause: String::new(),
            about: String::new(),
            event_id: None,
            service: String::new(),
            raised_at: time,
            rules,
        }
        .into(),
    }
}

fn report() -> contracts::manifest::VerificationReport {
    contracts::manifest::VerificationReport {
        verified: true,
        signature_verified: true,
        publisher_trusted: true,
        compatibility_verified: true,
        issues: Vec::new(),
    }
}

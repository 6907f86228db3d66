//! The planner's decisions: from an intent or an offered draft to a plan, a request for a draft,
//! or a rejection.

use contracts::{
    event::Event,
    events::planner::{DraftRequested, PlanCompiled, PlanRejected, PlanSource, RejectionCause},
    ids::PlanId,
    plan::Finding,
    time::Timestamp,
};

use super::{DRAFTS_MAX, Execution, Known, RULES, Stage, nothing};
use crate::{
    catalogue::Catalogue,
    compile::{self, COMPILER_VERSION, Compiled, Refused, Source},
};

/// How long an outside planner has for each draft: an hour.
pub const DRAFT_EXPIRES_AFTER_MS: u64 = 60 * 60 * 1000;

/// What the planner appends next, if anything.
pub fn decide(state: &Execution, catalogue: &Catalogue, now: Timestamp) -> Vec<Event> {
    let Execution::Known(known) = state else {
        // Nothing was received, or nothing can follow.
        return nothing();
    };
    if known.stop.is_some() {
        // The executor ends it.
        return nothing();
    }
    match &known.stage {
        Stage::Received => received(known, catalogue, now),
        Stage::Drafted { attempt, draft } => {
            let source = Source::Draft {
                draft: &draft.draft,
                origin: PlanSource::Draft {
                    draft_id: draft.draft_id,
                },
            };
            let is_final = *attempt >= DRAFTS_MAX;
            vec![compiled(known, source, catalogue, is_final, now)]
        }
        Stage::DraftRefused { attempt, .. } => vec![request_draft(known, attempt + 1, now)],
        Stage::AwaitingDraft { expires_at, .. } if now >= *expires_at => {
            vec![draft_timed_out(known, now)]
        }
        // A draft is awaited until its timer comes; or it was planned before, and others go on.
        Stage::AwaitingDraft { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_)
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => nothing(),
    }
}

fn received(known: &Known, catalogue: &Catalogue, now: Timestamp) -> Vec<Event> {
    let intent = &known.intent;
    if let Some(draft) = &intent.draft {
        let source = Source::Draft {
            draft,
            origin: PlanSource::Intent,
        };
        return vec![compiled(known, source, catalogue, true, now)];
    }
    match compile::playbook_of(
        &intent.text,
        intent.metadata.as_ref(),
        &known.workspace,
        catalogue,
    ) {
        Ok(Some(source)) => vec![compiled(known, source, catalogue, true, now)],
        Ok(None) => vec![request_draft(known, 1, now)],
        Err(findings) => {
            let refused = Refused {
                facts_digest: contracts::facts::facts_digest(&findings),
                findings,
            };
            vec![rejected(known, refused, catalogue, true, now)]
        }
    }
}

fn compiled(
    known: &Known,
    source: Source<'_>,
    catalogue: &Catalogue,
    is_final: bool,
    now: Timestamp,
) -> Event {
    match compile::compile(source, &known.workspace, catalogue) {
        Ok(Compiled {
            plan,
            hash,
            pins,
            source,
            facts_digest,
        }) => PlanCompiled {
            execution_id: known.id,
            plan_id: PlanId::derive(known.id, &hash),
            compiled_at: now,
            step_count: u32::try_from(plan.steps.len()).unwrap_or(u32::MAX),
            deterministic_hash: hash,
            plan,
            pins,
            source,
            compiler_version: COMPILER_VERSION,
            catalogue: catalogue.sequence(),
            facts_digest,
            rules: RULES,
        }
        .into(),
        Err(refused) => rejected(known, refused, catalogue, is_final, now),
    }
}

fn rejected(
    known: &Known,
    refused: Refused,
    catalogue: &Catalogue,
    is_final: bool,
    now: Timestamp,
) -> Event {
    PlanRejected {
        execution_id: known.id,
        plan_id: None,
        rejected_at: now,
        reasons: Some(reasons(&refused.findings)),
        cause: RejectionCause::Compile,
        findings: refused.findings,
        is_final,
        catalogue: Some(catalogue.sequence()),
        facts_digest: Some(refused.facts_digest),
        rules: RULES,
    }
    .into()
}

fn reasons(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| {
            format!(
                "{} at `{}`: {}",
                finding.code, finding.path, finding.message
            )
        })
        .collect()
}

fn request_draft(known: &Known, attempt: u32, now: Timestamp) -> Event {
    DraftRequested {
        execution_id: known.id,
        attempt,
        requested_at: now,
        expires_at: now.plus_ms(DRAFT_EXPIRES_AFTER_MS),
        rules: RULES,
    }
    .into()
}

fn draft_timed_out(known: &Known, now: Timestamp) -> Event {
    PlanRejected {
        execution_id: known.id,
        plan_id: None,
        rejected_at: now,
        reasons: Some(vec!["no planner offered a draft in time".to_owned()]),
        cause: RejectionCause::DraftTimeout,
        findings: Vec::new(),
        is_final: true,
        catalogue: None,
        facts_digest: None,
        rules: RULES,
    }
    .into()
}

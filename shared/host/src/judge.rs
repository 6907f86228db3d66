//! What the verifier decides, as functions of a fold and the catalogue: the same for the service
//! and for replay.

mod claims;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use contracts::{
    bundle::{Bundle, BundleFinding, Trust},
    canonical::Digest,
    event::Event,
    events::{intake::PolicyActivationRequested, planner::PlanCompiled},
    facts::{FACTS_VERSION, Facts, PlanFlow, StepVerdict},
    ids::WorkspaceId,
    plan::{RiskTier, Verdict},
    time::Timestamp,
};
use domain::{
    catalogue::Catalogue,
    execution::{
        Execution, Known,
        verification::{self, Basis, PlanAnswer, Proposed, Question},
    },
    policy::Policy,
    skill::{Checked, Skill},
};
use policy::{ENGINE_VERSION, engine::Engine, facts, judge};
use skills::verify::Request;

/// How many loaded bundles are kept: the active one of each workspace, in most installations.
const BUNDLES_MAX: usize = 64;

/// A bundle as it loads, or what is wrong with it.
type Loaded = Result<Arc<Engine>, Arc<[BundleFinding]>>;

/// Loaded bundles, by hash.
#[derive(Default)]
pub struct Judge {
    bundles: Mutex<BTreeMap<Digest, Loaded>>,
}

impl Judge {
    /// The verdicts that `state` asks for.
    pub fn execution(
        &self,
        state: &Execution,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Vec<Event> {
        let Execution::Known(known) = state else {
            return Vec::new();
        };
        match verification::question(state) {
            Question::Plan(compiled) => self.plan(known, compiled, catalogue, now),
            Question::Steps(proposed) => proposed
                .iter()
                .map(|proposed| self.step(known, proposed, catalogue, now))
                .collect(),
            Question::Reject(judged) => vec![verification::plan_rejected(
                known,
                &judged.compiled,
                &judged.verdict,
                now,
            )],
            Question::Nothing => Vec::new(),
        }
    }

    fn plan(
        &self,
        known: &Known,
        compiled: &PlanCompiled,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Vec<Event> {
        let basis = basis(&known.workspace, catalogue);
        let intact = compiled.plan.hash().ok() == Some(compiled.deterministic_hash);
        let answer = if intact {
            match facts::of_plan(&known.intent, &compiled.plan, &known.workspace, catalogue) {
                Ok(facts) => {
                    let engine = self.active(&known.workspace, catalogue);
                    let judgement = judge::judge_plan(engine.as_deref(), &facts, &compiled.plan);
                    PlanAnswer {
                        facts,
                        verdict: judgement.verdict,
                        requires_approval: judgement.requires_approval,
                        risk_tier: judgement.risk_tier,
                        steps: judgement.steps,
                    }
                }
                Err(unknown) => refused(known, compiled, &unknown.to_string()),
            }
        } else {
            refused(
                known,
                compiled,
                "the plan does not have the hash that was recorded for it",
            )
        };
        verification::plan_verified(known, compiled, answer, &basis, now)
    }

    fn step(
        &self,
        known: &Known,
        proposed: &Proposed<'_>,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Event {
        let basis = basis(&known.workspace, catalogue);
        let judged = &proposed.run.judged;
        let (facts, verdict) = match facts::of_step(
            &judged.compiled.plan,
            proposed.step,
            proposed.inputs,
            &known.workspace,
            catalogue,
        ) {
            Ok(facts) => {
                let engine = self.active(&known.workspace, catalogue);
                let verdict = judge::judge_step(
                    engine.as_deref(),
                    &judged.verdict.facts,
                    proposed.step,
                    &facts,
                    proposed.provisional,
                );
                (facts, verdict)
            }
            // What it was judged on before still describes it.
            Err(unresolved) => (proposed.planned.clone(), blocked(unresolved.to_string())),
        };
        verification::step_judged(known, proposed, facts, verdict, &basis, now)
    }

    /// The answer to the first installation that `state` asks for.
    pub fn skill(
        &self,
        workspace: &WorkspaceId,
        state: &Skill,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Vec<Event> {
        // One at a time: the next is held against what this one installs.
        let Some(request) = state.unanswered().next() else {
            return Vec::new();
        };
        let asked = Request {
            skill_key: &request.skill_key,
            version: &request.version,
            artifact_digest: &request.artifact_digest,
            manifest: &request.manifest,
        };
        let checked = check_skill(workspace, state, &asked, catalogue, now);
        domain::skill::answer(state, request, checked, now)
    }

    /// The answers to the activations that `state` asks for.
    pub fn policy(&self, state: &Policy, now: Timestamp) -> Vec<Event> {
        state
            .unanswered()
            .into_iter()
            .map(|request| {
                let findings = self.findings(&request.event);
                domain::policy::answer(&request.event, findings, ENGINE_VERSION, now)
            })
            .collect()
    }

    fn findings(&self, request: &PolicyActivationRequested) -> Vec<BundleFinding> {
        // By its hash it will be found, named and cached.
        if request.bundle.hash().ok() != Some(request.hash) {
            return vec![BundleFinding {
                path: String::new(),
                code: "BUNDLE_HASH_MISMATCH".to_owned(),
                message: "the bundle does not have the hash that was recorded for it".to_owned(),
            }];
        }
        let loaded = self.loaded(request.hash, &request.bundle);
        loaded
            .err()
            .map_or_else(Vec::new, |findings| findings.to_vec())
    }

    /// The loaded bundle of a workspace; none where no policy is active, which denies.
    pub fn active(&self, workspace: &WorkspaceId, catalogue: &Catalogue) -> Option<Arc<Engine>> {
        let policy = catalogue.active_policy(workspace)?;
        let hash = policy.hash;
        // It was checked when it was activated; one that does not load now denies.
        self.loaded(hash, &policy.bundle)
            .inspect_err(|_| {
                tracing::error!(%hash, "the active policy bundle does not load: everything is denied");
            })
            .ok()
    }

    fn loaded(&self, hash: Digest, bundle: &Bundle) -> Loaded {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = bundles.get(&hash) {
            return loaded.clone();
        }
        let loaded = Engine::load(bundle).map(Arc::new).map_err(Arc::from);
        if bundles.len() >= BUNDLES_MAX {
            bundles.pop_first();
        }
        bundles.insert(hash, loaded.clone());
        loaded
    }
}

/// Everything that is checked before a skill is installed. `state` may be newer than the catalogue.
pub fn check_skill(
    workspace: &WorkspaceId,
    state: &Skill,
    asked: &Request<'_>,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Checked {
    let no_trust = Trust::default();
    let trust = catalogue
        .active_policy(workspace)
        .map_or(&no_trust, |policy| &policy.bundle.trust);
    let mut report = skills::verify::verify(asked, trust, now);
    claims::check(workspace, state, asked, catalogue, &mut report);
    Checked {
        report,
        manifest_digest: skills::canonical::digest(asked.manifest).ok(),
        trust_digest: trust.digest(),
        catalogue: catalogue.sequence(),
    }
}

fn basis(workspace: &WorkspaceId, catalogue: &Catalogue) -> Basis<'static> {
    Basis {
        policy_version: catalogue.policy_version(workspace),
        engine_version: ENGINE_VERSION,
        catalogue: catalogue.sequence(),
    }
}

/// A plan that cannot be judged is blocked, and says why.
fn refused(known: &Known, compiled: &PlanCompiled, reason: &str) -> PlanAnswer {
    PlanAnswer {
        facts: Facts {
            version: FACTS_VERSION,
            actor: known.intent.actor.clone(),
            channel: known.intent.channel_key.clone(),
            mode: known.intent.mode,
            signals: policy::signals::of_text(&known.intent.text),
            flow: PlanFlow::default(),
            steps: BTreeMap::new(),
        },
        verdict: Verdict::Blocked,
        requires_approval: false,
        risk_tier: RiskTier::Blocked,
        steps: compiled
            .plan
            .steps
            .iter()
            .map(|step| (step.id.clone(), blocked(reason.to_owned())))
            .collect(),
    }
}

fn blocked(reason: String) -> StepVerdict {
    StepVerdict {
        verdict: Verdict::Blocked,
        tier: RiskTier::Blocked,
        reasons: vec![reason],
        policy_ids: Vec::new(),
        approval: None,
        dynamic: false,
    }
}

//! A bundle that has passed every check, ready to be asked.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Context, Decision, Effect, PolicySet};
use contracts::{
    bundle::{Bundle, BundleFinding},
    facts::{Facts, StepFacts, TextSignal},
    ids::{ActionName, SkillKey},
    plan::Verdict,
};
use skills::entry_point::is_reserved;

use crate::{
    annotations::Annotations,
    dependence::InputFact,
    load,
    request::{Inputs, Question, Situation, Unaskable, Vocabulary},
    slices::Slices,
};

/// The publisher of the skills that come with this build.
const BUILT_IN: &str = "core";

#[derive(Debug)]
pub struct Engine {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) thresholds: BTreeMap<String, i64>,
    pub(crate) autonomous: Slices,
    pub(crate) assisted: Slices,
    pub(crate) policies: BTreeMap<String, LoadedPolicy>,
    /// The ids of the publishers that the bundle's trust document names.
    pub(crate) publishers: BTreeSet<String>,
}

/// What is known of a policy beside its condition.
#[derive(Debug)]
pub(crate) struct LoadedPolicy {
    pub file: String,
    /// As it was written.
    pub text: String,
    pub effect: Effect,
    pub annotations: Annotations,
    pub reads: BTreeSet<InputFact>,
}

/// What the policies say of a step, before tier and mode.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub verdict: Verdict,
    /// The policies that decided, whatever the inputs will be.
    pub settled: BTreeSet<String>,
    /// Those that decided on facts that are not known yet.
    pub unsettled: BTreeSet<String>,
    /// What has no policy's `@reason`.
    pub reasons: Vec<String>,
}

/// The answer to one question.
struct Answer {
    allowed: bool,
    /// All that permit, or all that forbid.
    deciding: BTreeSet<String>,
    /// Policies that could not be evaluated. Cedar passes over them, which would let a faulty
    /// `forbid` permit.
    faulty: BTreeMap<String, String>,
}

impl Engine {
    /// Checks a bundle; every fault is reported at once.
    pub fn load(bundle: &Bundle) -> Result<Self, Vec<BundleFinding>> {
        load::engine(bundle)
    }

    /// The ids of the policies that are walked for a step with this action, sorted.
    pub fn considered(&self, skill: &SkillKey, action: &ActionName) -> BTreeSet<&str> {
        [&self.autonomous, &self.assisted]
            .into_iter()
            .flat_map(|slices| slices.of(skill, action).all.policies())
            .map(|policy| policy.id().as_ref())
            .collect()
    }

    /// Whether the bundle trusts whose skill the step uses. What comes with this build has nobody
    /// to trust; its keys are reserved, so no one else's skill passes for it.
    pub(crate) fn trusts(&self, step: &StepFacts) -> bool {
        let built_in = step.publisher == BUILT_IN && is_reserved(step.uses.key.as_str());
        built_in || self.publishers.contains(&step.publisher)
    }

    /// `provisional`: the inputs are not all known yet, and the step will be judged again. What is
    /// not known then can make the verdict `assist`, never `blocked`.
    pub(crate) fn rule(
        &self,
        facts: &Facts,
        step: &StepFacts,
        provisional: bool,
    ) -> Result<Ruling, Unaskable> {
        let situation = self
            .vocabulary
            .situation(facts, step, &self.thresholds, None)?;
        let context = self.vocabulary.context(&situation, &Inputs::of(step))?;
        let slice = |question| self.slices(question).of(&step.uses.key, &step.action);
        let ask = |question, context: Context| {
            self.ask(&situation, question, context, &slice(question).all)
        };
        let autonomous = ask(Question::RunAutonomous, context.clone())?;
        let assisted = ask(Question::RunAssisted, context.clone())?;

        let unknown = if provisional {
            unknown_facts(step)
        } else {
            BTreeSet::new()
        };
        let rests_on_unknown = |id: &str| {
            self.policies
                .get(id)
                .is_some_and(|policy| !policy.reads.is_disjoint(&unknown))
        };
        let (mut unsettled, mut settled): (BTreeSet<String>, BTreeSet<String>) = autonomous
            .deciding
            .iter()
            .chain(&assisted.deciding)
            .cloned()
            .partition(|id| rests_on_unknown(id));
        if !assisted.allowed && !unsettled.is_empty() {
            for id in self.blocking_whatever_comes(&situation, step, &unsettled)? {
                if unsettled.remove(&id) {
                    settled.insert(id);
                }
            }
        }

        let mut reasons = Vec::new();
        let mut faulty = autonomous.faulty;
        faulty.extend(assisted.faulty);
        let (faulty_unsettled, faulty_settled): (BTreeSet<&String>, BTreeSet<&String>) =
            faulty.keys().partition(|id| rests_on_unknown(id));
        for (id, error) in &faulty {
            reasons.push(format!("policy `{id}` could not be evaluated: {error}"));
        }

        let asked = match (autonomous.allowed, assisted.allowed) {
            (true, true) => Verdict::Autonomous,
            (false, true) => Verdict::Assist,
            (_, false) => Verdict::Blocked,
        };
        let verdict = if !faulty_settled.is_empty() {
            Verdict::Blocked
        } else if asked == Verdict::Blocked {
            let forbidden = assisted.deciding.iter().any(|id| settled.contains(id));
            // A permit that holds now, or may hold once the inputs are known.
            let may_be_permitted = || {
                let permits = &slice(Question::RunAssisted).permits;
                let now = self.ask(&situation, Question::RunAssisted, context, permits)?;
                let mut ids = permits.policies().map(cedar_policy::Policy::id);
                Ok(now.allowed || ids.any(|id| rests_on_unknown(id.as_ref())))
            };
            if provisional && !forbidden && may_be_permitted()? {
                reasons.push(
                    "what is known so far does not permit it; judged again when the inputs are known"
                        .to_owned(),
                );
                Verdict::Assist
            } else {
                if assisted.deciding.is_empty() {
                    reasons.push(unpermitted(autonomous.allowed));
                }
                Verdict::Blocked
            }
        } else if faulty_unsettled.is_empty() {
            asked
        } else {
            asked.max(Verdict::Assist)
        };
        Ok(Ruling {
            verdict,
            settled,
            unsettled,
            reasons,
        })
    }

    fn slices(&self, question: Question) -> &Slices {
        match question {
            Question::RunAutonomous => &self.autonomous,
            Question::RunAssisted => &self.assisted,
        }
    }

    fn ask(
        &self,
        situation: &Situation,
        question: Question,
        context: Context,
        policies: &PolicySet,
    ) -> Result<Answer, Unaskable> {
        let request = self
            .vocabulary
            .request(situation, question, context, None)?;
        let response = Authorizer::new().is_authorized(&request, policies, situation.entities());
        let diagnostics = response.diagnostics();
        Ok(Answer {
            allowed: response.decision() == Decision::Allow,
            deciding: diagnostics.reason().map(ToString::to_string).collect(),
            faulty: diagnostics
                .errors()
                .map(|error| {
                    let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
                    (error.policy_id().to_string(), error.inner().to_string())
                })
                .collect(),
        })
    }

    /// Those of `unsettled` that forbid `runAssisted` with the signals and secrets found so far and
    /// with any more of them. Those that read an amount that is not known are never among them.
    fn blocking_whatever_comes(
        &self,
        situation: &Situation,
        step: &StepFacts,
        unsettled: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, Unaskable> {
        let reads = |id: &String, fact| {
            let policy = self.policies.get(id);
            policy.is_none_or(|policy| policy.reads.contains(&fact))
        };
        let mut blocking = unsettled.clone();
        blocking.retain(|id| step.amount.is_some() || !reads(id, InputFact::Amount));
        let mut secrets = BTreeSet::from([step.uses_secrets]);
        if blocking.iter().any(|id| reads(id, InputFact::Secrets)) {
            secrets.insert(true);
        }
        let slice = self
            .slices(Question::RunAssisted)
            .of(&step.uses.key, &step.action);
        for signals in supersets(&step.signals) {
            for &uses_secrets in &secrets {
                if blocking.is_empty() {
                    return Ok(blocking);
                }
                let inputs = Inputs {
                    signals: signals.clone(),
                    uses_secrets,
                    ..Inputs::of(step)
                };
                let context = self.vocabulary.context(situation, &inputs)?;
                let answer = self.ask(situation, Question::RunAssisted, context, &slice.all)?;
                blocking.retain(|id| !answer.allowed && answer.deciding.contains(id));
            }
        }
        Ok(blocking)
    }
}

/// The facts of a step that may still change when its inputs become known.
fn unknown_facts(step: &StepFacts) -> BTreeSet<InputFact> {
    let mut unknown = BTreeSet::from([InputFact::Signals]);
    if step.amount.is_none() {
        unknown.insert(InputFact::Amount);
    }
    if !step.uses_secrets {
        unknown.insert(InputFact::Secrets);
    }
    unknown
}

fn supersets(found: &BTreeSet<TextSignal>) -> Vec<BTreeSet<TextSignal>> {
    let mut sets = vec![found.clone()];
    for signal in [
        TextSignal::InstructionOverride,
        TextSignal::SecretRequest,
        TextSignal::ControlBypass,
        TextSignal::HiddenText,
    ] {
        if found.contains(&signal) {
            continue;
        }
        let with: Vec<_> = sets
            .iter()
            .map(|set| set.iter().copied().chain([signal]).collect())
            .collect();
        sets.extend(with);
    }
    sets
}

fn unpermitted(autonomous: bool) -> String {
    if autonomous {
        "a policy permits `runAutonomous`, but none permits `runAssisted`; permit both".to_owned()
    } else {
        "no policy permits it; what is not permitted is denied".to_owned()
    }
}

//! The plan compiler: intent, draft and catalogue in, a plan or all its faults out.
//!
//! * [`playbook`]: which playbook an intent means, and its draft
//! * [`inputs`]: whether the inputs of a step fit its action
//!
//! Deterministic: the same inputs give the same bytes, whatever the order of keys in a draft or
//! of installations in the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical::Digest,
    events::planner::PlanSource,
    facts::facts_digest,
    ids::{ActionName, Pin, StepId, WorkspaceId},
    manifest::{ActionDefinition, Playbook},
    plan::{Finding, Plan, PlanStep},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    binding::{self, Binding},
    catalogue::{Builtin, Catalogue, EntryPoint, InstalledSkill, WAIT_MS_MAX, wait_ms},
    draft::{self, DraftStep, Findings, Uses},
};

pub(crate) mod inputs;
mod playbook;

use playbook::Expanded;
pub use playbook::playbook_of;

/// The version of the compiler in this build: raised when the same inputs give other bytes.
pub const COMPILER_VERSION: u32 = 1;

/// An attempt's time where neither draft nor action names one: half a minute, as longer work
/// belongs to an answer that is accepted for later.
const TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// What a `core.wait` may take beyond its own time.
const WAIT_GRACE_MS: u64 = 60_000;

/// Where the steps come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source<'a> {
    /// A draft, with what is recorded as its origin.
    Draft {
        draft: &'a Value,
        origin: PlanSource,
    },
    /// A playbook and its parameters.
    Playbook {
        skill: &'a InstalledSkill,
        name: &'a str,
        playbook: &'a Playbook,
        params: Value,
    },
}

/// A plan with everything that is recorded about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    pub plan: Plan,
    pub hash: Digest,
    /// Sorted, each once.
    pub pins: Vec<Pin>,
    pub source: PlanSource,
    pub facts_digest: Digest,
}

/// A draft that does not compile.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub findings: Vec<Finding>,
    pub facts_digest: Digest,
}

/// What the compiler read of the catalogue: each skill that the draft names, as it stood.
#[derive(Debug, Default, Serialize)]
struct Read {
    skills: BTreeMap<String, Option<(Pin, bool)>>,
}

/// Compiles `source` on `catalogue`.
pub fn compile(
    source: Source<'_>,
    workspace: &WorkspaceId,
    catalogue: &Catalogue,
) -> Result<Compiled, Refused> {
    let mut findings = Findings::default();
    let Expanded {
        draft,
        origin,
        unfilled,
    } = match source {
        Source::Draft { draft, origin } => Expanded {
            draft: draft.clone(),
            origin,
            unfilled: BTreeSet::new(),
        },
        Source::Playbook {
            skill,
            name,
            playbook,
            params,
        } => playbook::expand(skill, name, playbook, &params, &mut findings),
    };
    let mut read = Read::default();
    let steps = draft::read(&draft, &mut findings);
    let resolved: Vec<Resolved<'_>> = steps
        .iter()
        .map(|step| resolve(step, workspace, catalogue, &mut read, &mut findings))
        .collect();
    check_needs(&steps, &mut findings);
    check_cycles(&steps, &mut findings);
    for step in &resolved {
        inputs::check(step, &resolved, &unfilled, &mut findings);
    }
    let facts_digest = facts_digest(&read);
    let refused = |findings: Findings| Refused {
        findings: findings.into_sorted(),
        facts_digest,
    };
    if !findings.is_empty() {
        return Err(refused(findings));
    }
    let mut steps: Vec<PlanStep> = resolved.iter().filter_map(plan_step).collect();
    steps.sort_by(|a, b| a.id.cmp(&b.id));
    let pins: BTreeSet<Pin> = steps.iter().map(|step| step.uses.clone()).collect();
    let plan = Plan { steps };
    match plan.hash() {
        Ok(hash) => Ok(Compiled {
            hash,
            plan,
            pins: pins.into_iter().collect(),
            source: origin,
            facts_digest,
        }),
        Err(error) => {
            findings.add(error.path.clone(), "NUMBER_NOT_EXACT", error.to_string());
            Err(refused(findings))
        }
    }
}

/// A step and the action it uses, where there is one.
struct Resolved<'a> {
    step: &'a DraftStep,
    action: Option<(&'a InstalledSkill, &'a ActionDefinition)>,
}

fn resolve<'a>(
    step: &'a DraftStep,
    workspace: &WorkspaceId,
    catalogue: &'a Catalogue,
    read: &mut Read,
    findings: &mut Findings,
) -> Resolved<'a> {
    let Some(Uses {
        key,
        version,
        action,
    }) = &step.uses
    else {
        return Resolved { step, action: None };
    };
    let path = format!("{}/uses", step.path);
    let found = catalogue.resolve(workspace, key, version.as_ref());
    let asked = match version {
        Some(version) => format!("{key}@{version}"),
        None => key.to_string(),
    };
    let seen = found.map(|skill| (skill.pin.clone(), skill.enabled));
    read.skills.insert(asked.clone(), seen);
    let Some(skill) = found else {
        let disabled = version.is_none() && catalogue.versions(workspace, key).next().is_some();
        if disabled {
            findings.add(
                path,
                "SKILL_DISABLED",
                format!("every version of `{key}` is disabled"),
            );
        } else {
            findings.add(
                path,
                "UNKNOWN_SKILL",
                format!("`{asked}` is not installed: install it, or correct the name"),
            );
        }
        return Resolved { step, action: None };
    };
    if !skill.enabled {
        findings.add(&path, "SKILL_DISABLED", format!("`{asked}` is disabled"));
    }
    let definition = skill.metadata.actions.get(action);
    if definition.is_none() {
        let known: Vec<&str> = skill
            .metadata
            .actions
            .keys()
            .map(ActionName::as_str)
            .collect();
        findings.add(
            path,
            "UNKNOWN_ACTION",
            format!(
                "`{key}` has no action `{action}`: it has {}",
                known.join(", ")
            ),
        );
    }
    Resolved {
        step,
        action: definition.map(|definition| (skill, definition)),
    }
}

/// The steps that must be completed before `step`: those it names and those its inputs come from.
fn needs(step: &DraftStep) -> BTreeSet<StepId> {
    let bound = binding::find(&step.with)
        .into_iter()
        .filter_map(|bound| match bound.binding {
            Ok(Binding::From { step, .. }) => Some(step),
            Ok(Binding::Param(_) | Binding::Secret(_)) | Err(_) => None,
        });
    step.needs
        .iter()
        .map(|(_, id)| id.clone())
        .chain(bound)
        .collect()
}

fn check_needs(steps: &[DraftStep], findings: &mut Findings) {
    let known: BTreeSet<&StepId> = steps.iter().map(|step| &step.id).collect();
    for step in steps {
        for (path, id) in &step.needs {
            if *id == step.id {
                findings.add(path, "SELF_DEPENDENCY", format!("step `{id}` needs itself"));
            } else if !known.contains(id) {
                findings.add(path, "UNKNOWN_STEP", format!("there is no step `{id}`"));
            }
        }
    }
}

/// One finding per cycle: the steps that are left when all that can be ordered is taken away, each
/// group of them once.
fn check_cycles(steps: &[DraftStep], findings: &mut Findings) {
    let known: BTreeSet<&StepId> = steps.iter().map(|step| &step.id).collect();
    let edges: BTreeMap<&StepId, BTreeSet<StepId>> = steps
        .iter()
        .map(|step| {
            let needs = needs(step)
                .into_iter()
                .filter(|id| *id != step.id && known.contains(id));
            (&step.id, needs.collect())
        })
        .collect();
    let mut reported: BTreeSet<StepId> = BTreeSet::new();
    for step in steps {
        if reported.contains(&step.id) {
            continue;
        }
        let Some(cycle) = cycle_through(&step.id, &edges) else {
            continue;
        };
        let path: Vec<String> = cycle.iter().map(|id| format!("`{id}`")).collect();
        findings.add(
            format!("{}/needs", step.path),
            "CYCLE",
            format!(
                "steps need each other: {} → `{}`",
                path.join(" → "),
                step.id
            ),
        );
        reported.extend(cycle);
    }
}

/// A shortest way from `start` along what it needs back to itself.
fn cycle_through(
    start: &StepId,
    edges: &BTreeMap<&StepId, BTreeSet<StepId>>,
) -> Option<Vec<StepId>> {
    let mut came_from: BTreeMap<StepId, StepId> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start.clone()]);
    while let Some(at) = queue.pop_front() {
        for next in edges.get(&at).into_iter().flatten() {
            if next == start {
                let mut cycle = vec![at.clone()];
                let mut step = &at;
                while let Some(earlier) = came_from.get(step) {
                    cycle.push(earlier.clone());
                    step = earlier;
                }
                cycle.reverse();
                return Some(cycle);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next.clone(), at.clone());
                queue.push_back(next.clone());
            }
        }
    }
    None
}

fn plan_step(resolved: &Resolved<'_>) -> Option<PlanStep> {
    let step = resolved.step;
    let (skill, action) = resolved.action?;
    Some(PlanStep {
        id: step.id.clone(),
        uses: skill.pin.clone(),
        action: step.uses.as_ref()?.action.clone(),
        needs: needs(step).into_iter().collect(),
        with: step.with.clone(),
        retry: step.retry.or(action.retry).unwrap_or_default(),
        timeout_ms: timeout_ms(step, skill, action),
    })
}

fn timeout_ms(step: &DraftStep, skill: &InstalledSkill, action: &ActionDefinition) -> u64 {
    if skill.entry_point == EntryPoint::Builtin(Builtin::Wait) {
        // Its time is its input; a bound one is limited by the schema.
        let ms = wait_ms(&step.with).unwrap_or(WAIT_MS_MAX);
        return ms.saturating_add(WAIT_GRACE_MS);
    }
    step.timeout_ms
        .or(action.timeout_ms)
        .unwrap_or(TIMEOUT_MS_DEFAULT)
}

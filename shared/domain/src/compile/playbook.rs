//! Playbooks: which one an intent means, and its draft with the parameters filled in.

use std::collections::BTreeSet;

use contracts::{
    events::planner::PlanSource,
    facts::facts_digest,
    ids::{SkillKey, WorkspaceId},
    manifest::Playbook,
    plan::Finding,
};
use serde_json::{Map, Value};

use super::Source;
use crate::{
    binding::{self, Binding},
    catalogue::{Catalogue, InstalledSkill},
    draft::Findings,
    schema,
};

/// The source that an intent names itself: a playbook by name, else one whose phrase its text
/// holds. Nothing where it names none and no phrase fits.
pub fn playbook_of<'a>(
    text: &str,
    metadata: Option<&Map<String, Value>>,
    workspace: &'a WorkspaceId,
    catalogue: &'a Catalogue,
) -> Result<Option<Source<'a>>, Vec<Finding>> {
    let params = metadata
        .and_then(|metadata| metadata.get("params"))
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::new()));
    let source = |(skill, name, playbook)| Source::Playbook {
        skill,
        name,
        playbook,
        params: params.clone(),
    };
    if let Some(named) = metadata.and_then(|metadata| metadata.get("playbook")) {
        let found = named
            .as_str()
            .map(|named| find_named(named, workspace, catalogue));
        return match found.as_deref() {
            Some([one]) => Ok(Some(source(*one))),
            Some([]) | None => Err(one_finding(
                "/metadata/playbook",
                "UNKNOWN_PLAYBOOK",
                format!("no installed skill has the playbook {named}"),
            )),
            Some(several) => Err(ambiguous(several)),
        };
    }
    let text = text.to_lowercase();
    let matching: Vec<_> = enabled_playbooks(workspace, catalogue)
        .filter(|(_, _, playbook)| {
            playbook
                .phrases
                .iter()
                .any(|phrase| !phrase.trim().is_empty() && text.contains(&phrase.to_lowercase()))
        })
        .collect();
    match matching.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(source(*one))),
        several => Err(ambiguous(several)),
    }
}

type Named<'a> = (&'a InstalledSkill, &'a str, &'a Playbook);

/// The playbooks of the newest enabled version of each skill.
fn enabled_playbooks<'a>(
    workspace: &'a WorkspaceId,
    catalogue: &'a Catalogue,
) -> impl Iterator<Item = Named<'a>> {
    let mut seen: BTreeSet<&SkillKey> = BTreeSet::new();
    catalogue
        .usable(workspace)
        .filter(|skill| skill.enabled)
        .filter(move |skill| seen.insert(&skill.pin.key))
        .flat_map(|skill| {
            skill
                .metadata
                .playbooks
                .iter()
                .map(move |(name, playbook)| (skill, name.as_str(), playbook))
        })
}

/// By `name`, or by `skill.key/name` where several skills have one of that name.
fn find_named<'a>(
    named: &str,
    workspace: &'a WorkspaceId,
    catalogue: &'a Catalogue,
) -> Vec<Named<'a>> {
    let (key, name) = match named.rsplit_once('/') {
        Some((key, name)) => (Some(key), name),
        None => (None, named),
    };
    enabled_playbooks(workspace, catalogue)
        .filter(|(skill, candidate, _)| {
            *candidate == name && key.is_none_or(|key| key == skill.pin.key.as_str())
        })
        .collect()
}

fn ambiguous(several: &[Named<'_>]) -> Vec<Finding> {
    let names: Vec<String> = several
        .iter()
        .map(|(skill, name, _)| format!("`{}/{name}`", skill.pin.key))
        .collect();
    one_finding(
        "/metadata/playbook",
        "PLAYBOOK_AMBIGUOUS",
        format!("several playbooks fit: name one of {}", names.join(", ")),
    )
}

fn one_finding(path: &str, code: &str, message: String) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.add(path, code, message);
    findings.into_sorted()
}

/// A playbook's draft with its parameters filled in.
pub(super) struct Expanded {
    pub draft: Value,
    pub origin: PlanSource,
    /// Pointers to the bindings that no parameter fills; each has its finding.
    pub unfilled: BTreeSet<String>,
}

pub(super) fn expand(
    skill: &InstalledSkill,
    name: &str,
    playbook: &Playbook,
    params: &Value,
    findings: &mut Findings,
) -> Expanded {
    match schema::faults(&playbook.params, params) {
        Ok(faults) => {
            for fault in faults {
                let path = format!("/metadata/params{}", fault.path);
                findings.add(path, "PARAMS_INVALID", fault.message);
            }
        }
        Err(error) => findings.add("/metadata/params", "PLAYBOOK_INVALID", error.to_string()),
    }
    let mut unfilled = BTreeSet::new();
    let draft = binding::substitute(&playbook.draft, |path, binding| {
        let Binding::Param(pointer) = binding else {
            return None;
        };
        let value = params.pointer(pointer);
        if value.is_none() {
            findings.add(
                path,
                "PARAM_MISSING",
                format!("the playbook takes `{pointer}` from `metadata.params`, which has no such member"),
            );
            unfilled.insert(path.to_owned());
        }
        value.cloned()
    });
    let origin = PlanSource::Playbook {
        skill: skill.pin.key.clone(),
        name: name.to_owned(),
        digest: facts_digest(playbook),
        params_digest: facts_digest(params),
    };
    Expanded {
        draft,
        origin,
        unfilled,
    }
}

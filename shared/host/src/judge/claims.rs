//! What an installation may not take from what is installed: a key or an entry point that somebody
//! else holds, and the caution that an earlier version asks for.

use contracts::{
    ids::WorkspaceId,
    manifest::{VerificationIssue, VerificationReport},
};
use domain::{
    catalogue::Catalogue,
    skill::{Answer, Skill},
};
use skills::{fault::Code, verify::Request};

/// Adds what is wrong to the report.
pub(super) fn check(
    workspace: &WorkspaceId,
    state: &Skill,
    request: &Request<'_>,
    catalogue: &Catalogue,
    report: &mut VerificationReport,
) {
    let taken = [
        key_of_another(workspace, state, request, catalogue),
        entry_point_of_another(workspace, request, catalogue),
    ];
    for message in taken.into_iter().flatten() {
        report.publisher_trusted = false;
        refuse(report, Code::PublisherUntrusted, message);
    }
    for message in lowered(workspace, state, request, catalogue) {
        refuse(report, Code::ManifestInvalid, message);
    }
}

fn refuse(report: &mut VerificationReport, code: Code, message: String) {
    report.verified = false;
    report.issues.push(VerificationIssue {
        code: code.as_str().to_owned(),
        message,
    });
}

fn key_of_another(
    workspace: &WorkspaceId,
    state: &Skill,
    request: &Request<'_>,
    catalogue: &Catalogue,
) -> Option<String> {
    // The catalogue may be older than the skill's own events.
    let own = state
        .installations
        .values()
        .filter(|installation| matches!(installation.answer, Some(Answer::Installed(_))))
        .map(|installation| &installation.request.manifest.publisher.id);
    let listed = catalogue
        .versions(workspace, request.skill_key)
        .map(|skill| &skill.publisher);
    let holder = own
        .chain(listed)
        .find(|holder| **holder != request.manifest.publisher.id)?;
    Some(format!(
        "the key `{}` is held by the publisher `{holder}`, who installed it: use another key",
        request.skill_key
    ))
}

fn entry_point_of_another(
    workspace: &WorkspaceId,
    request: &Request<'_>,
    catalogue: &Catalogue,
) -> Option<String> {
    let entry_point = &request.manifest.skill.entry_point;
    let holder = catalogue.usable(workspace).find(|skill| {
        skill.pin.key != *request.skill_key && skill.entry_point.to_string() == *entry_point
    })?;
    Some(format!(
        "the entry point `{entry_point}` is that of `{}` of the publisher `{}`: use another name",
        holder.pin.key, holder.publisher
    ))
}

/// Actions that would be judged more leniently than those of the newest version.
fn lowered(
    workspace: &WorkspaceId,
    state: &Skill,
    request: &Request<'_>,
    catalogue: &Catalogue,
) -> Vec<String> {
    // One that was installed before may come back: its content is the same.
    if state.installed.contains_key(request.version.as_str()) {
        return Vec::new();
    }
    let Some(newest) = catalogue.versions(workspace, request.skill_key).next() else {
        return Vec::new();
    };
    let Ok(metadata) = request.manifest.skill_metadata() else {
        // The manifest is refused for it already.
        return Vec::new();
    };
    let lower = metadata.actions.iter().filter(|(name, action)| {
        let before = newest.metadata.actions.get(*name);
        before.is_some_and(|before| action.effect < before.effect || action.risk < before.risk)
    });
    lower
        .map(|(name, _)| {
            format!(
                "the action `{name}` has a lower effect or risk than in the installed version `{}`: \
                 publish under another action name",
                newest.pin.version
            )
        })
        .collect()
}

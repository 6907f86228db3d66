//! `controlPlane.skill.list` and `.verify`

use std::cmp::Reverse;

use contracts::{
    operations::skill::{
        ListInput, ListOutput, SkillStatus, SkillSummary, VerifyInput, VerifyOutput,
    },
    position::{Position, Positions, StreamId},
    problem::{Code, Problem},
    subject::AggregateId,
};
use domain::skill::Skill;
use host::{
    aggregate::confirmed, catalogue::FollowError, engine::chain, judge::check_skill,
    principals::Principal,
};
use semver::Version;
use skills::verify::Request;
use tokio::time::Instant;

use super::limit;
use crate::{
    api::{Api, unreadable},
    log::{refusal, unavailable},
};

/// What the workspace may use: its own skills, shared ones, and those of the build. By key, then
/// newest version first. `includeDisabled` shows also what is asked for and what was rejected.
pub async fn list(
    api: &Api,
    principal: &Principal,
    input: ListInput,
) -> Result<ListOutput, Problem> {
    let limit = limit(input.limit)?;
    api.reached.at_least(input.at_least.as_ref()).await?;
    let found = api.reader.skills(&principal.workspace).await;
    let (mut skills, position) = found.map_err(|error| unreadable(&error))?;
    if input.include_disabled != Some(true) {
        skills.retain(|skill| skill.status == SkillStatus::Installed);
    }
    skills.sort_by_cached_key(order);
    let total = skills.len() as u64;
    let offset = usize::try_from(input.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(ListOutput {
        items: skills.into_iter().skip(offset).take(limit).collect(),
        total,
        position: Some(position),
    })
}

fn order(skill: &SkillSummary) -> (String, Reverse<Option<Version>>) {
    let version = Version::parse(skill.version.as_str()).ok();
    (skill.skill_key.to_string(), Reverse(version))
}

/// Against the trust of the bundle that is active now, and what is installed; nothing is recorded.
pub async fn verify(
    api: &Api,
    principal: &Principal,
    input: &VerifyInput,
) -> Result<VerifyOutput, Problem> {
    let workspace = &principal.workspace;
    let catalogue = api.host.catalogue.confirmed_since(Instant::now()).await;
    let catalogue = catalogue.map_err(|error| unconfirmed(&error))?;
    let aggregate = AggregateId::skill(workspace.clone(), &input.skill_key);
    let loaded = confirmed::<Skill>(&*api.host.journal, &aggregate).await;
    let skill = loaded.map_err(refusal)?.state;
    let request = Request {
        skill_key: &input.skill_key,
        version: &input.version,
        artifact_digest: &input.artifact_digest,
        manifest: &input.manifest,
    };
    let now = api.host.now();
    let checked = check_skill(workspace, &skill, &request, &catalogue, now);
    let report = checked.report;
    let codes: Vec<&str> = report
        .issues
        .iter()
        .map(|issue| issue.code.as_str())
        .collect();
    Ok(VerifyOutput {
        verified: report.verified,
        verified_at: now,
        signature_verified: Some(report.signature_verified),
        publisher_trusted: Some(report.publisher_trusted),
        compatibility_verified: Some(report.compatibility_verified),
        manifest_digest: checked.manifest_digest,
        reason: (!codes.is_empty()).then(|| codes.join(", ")),
        issues: (!report.issues.is_empty()).then_some(report.issues),
        position: Some(Positions::from(Position {
            stream: StreamId::Catalogue,
            sequence: checked.catalogue,
        })),
    })
}

fn unconfirmed(error: &FollowError) -> Problem {
    match error {
        FollowError::Unavailable(error) => unavailable(error),
        FollowError::Newer(_) | FollowError::Unreadable { .. } | FollowError::CutBack { .. } => {
            tracing::error!(reason = chain(error), "the catalogue cannot be read");
            Problem::new(Code::LogUnavailable, error.to_string())
        }
    }
}

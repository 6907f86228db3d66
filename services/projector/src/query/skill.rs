//! `controlPlane.skill.list` and `.verify`

use std::cmp::Reverse;

use contracts::{
    operations::skill::{
        ListInput, ListOutput, SkillStatus, SkillSummary, VerifyInput, VerifyOutput,
    },
    position::{Position, Positions, StreamId},
    problem::{Code, Problem},
    registry::OperationName,
    subject::AggregateId,
};
use domain::skill::Skill;
use host::{
    aggregate::confirmed, catalogue::FollowError, engine::chain, http::input::INVALID_VALUE,
    judge::check_skill, principals::Principal,
};
use semver::Version;
use skills::verify::Request;
use tokio::time::Instant;

use super::{Findings, cursor::List};
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
    let pages = List::of(OperationName::SkillList, &principal.workspace, &input);
    let mut findings = Findings::default();
    let limit = findings.limit(input.limit);
    if input.cursor.is_some() && input.offset.is_some() {
        findings.add(
            "/offset",
            INVALID_VALUE,
            "a cursor says where the list goes on: leave one of the two",
        );
    }
    let after = pages.read(input.cursor.as_deref(), after, &mut findings);
    findings.none()?;
    api.reached.at_least(input.at_least.as_ref()).await?;
    let found = api.reader.skills(&principal.workspace).await;
    let (mut skills, position) = found.map_err(|error| unreadable(&error))?;
    if input.include_disabled != Some(true) {
        skills.retain(|skill| skill.status == SkillStatus::Installed);
    }
    skills.sort_by_cached_key(order);
    let total = skills.len() as u64;
    if let Some(after) = after {
        skills.retain(|skill| order(skill) > after);
    }
    let offset = usize::try_from(input.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut following = skills.into_iter().skip(offset);
    let items: Vec<_> = following.by_ref().take(limit).collect();
    let last = items.last().filter(|_| following.next().is_some());
    Ok(ListOutput {
        next_cursor: last.map(|last| pages.after(&key(last))),
        items,
        total,
        position: Some(position),
    })
}

/// A shared skill may have the key and the version of one of the workspace's own.
type Order = (String, Reverse<Option<Version>>, Option<String>);

fn order(skill: &SkillSummary) -> Order {
    let version = Version::parse(skill.version.as_str()).ok();
    let digest = skill.manifest_digest.map(|digest| digest.to_string());
    (skill.skill_key.to_string(), Reverse(version), digest)
}

fn key(skill: &SkillSummary) -> String {
    let digest = skill.manifest_digest.map(|digest| digest.to_string());
    let digest = digest.unwrap_or_default();
    format!("{} {} {digest}", skill.skill_key, skill.version)
}

fn after(key: &str) -> Option<Order> {
    let mut parts = key.split(' ');
    let (skill, version, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let digest = (!digest.is_empty()).then(|| digest.to_owned());
    Some((
        skill.to_owned(),
        Reverse(Version::parse(version).ok()),
        digest,
    ))
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

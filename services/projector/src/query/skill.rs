//! `controlPlane.skill.list` and `.verify`

use std::cmp::Reverse;

use contracts::{
    operations::skill::{ListInput, ListOutput, SkillStatus, VerifyInput, VerifyOutput},
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
    database::read::catalogue::Listed,
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
        skills.retain(|listed| listed.skill.status == SkillStatus::Installed);
    }
    skills.sort_by_cached_key(order);
    let total = skills.len() as u64;
    if let Some(after) = after {
        skills.retain(|listed| order(listed) > after);
    }
    let offset = usize::try_from(input.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut following = skills.into_iter().skip(offset);
    let items: Vec<_> = following.by_ref().take(limit).collect();
    let last = items.last().filter(|_| following.next().is_some());
    Ok(ListOutput {
        next_cursor: last.map(|last| pages.after(&key(last))),
        items: items.into_iter().map(|listed| listed.skill).collect(),
        total,
        position: Some(position),
    })
}

/// By what a row is known by and nothing that may change of it, so that no two are at one place and
/// none moves: the key, the version (as it is written too, where it is none that can be compared),
/// and whether it is shared, as a shared skill may have the key and the version of one of the
/// workspace's own.
type Order = (String, Reverse<Option<Version>>, String, bool);

fn order(Listed { skill, is_shared }: &Listed) -> Order {
    placed(skill.skill_key.as_str(), skill.version.as_str(), *is_shared)
}

fn placed(key: &str, version: &str, is_shared: bool) -> Order {
    let compared = Reverse(Version::parse(version).ok());
    (key.to_owned(), compared, version.to_owned(), is_shared)
}

fn key(Listed { skill, is_shared }: &Listed) -> String {
    let whose = if *is_shared { SHARED } else { OWN };
    format!("{} {} {whose}", skill.skill_key, skill.version)
}

const OWN: &str = "own";
const SHARED: &str = "shared";

fn after(text: &str) -> Option<Order> {
    let mut parts = text.split(' ');
    let (key, version, whose) = (parts.next()?, parts.next()?, parts.next()?);
    let is_shared = match whose {
        OWN => false,
        SHARED => true,
        _ => return None,
    };
    parts
        .next()
        .is_none()
        .then(|| placed(key, version, is_shared))
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

//! What is stored of an event, and of an aggregate that its events were folded to.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use contracts::{
    canonical::Digest,
    facts::Actor,
    ids::{SkillKey, SkillVersion, WorkspaceId},
    operations::{
        execution::{ExecutionRecord, OpenApproval},
        skill::SkillStatus,
    },
    plan::{RiskTier, Status},
    position::Position,
    record::Recorded,
    subject::Subject,
    time::Timestamp,
};
use domain::{
    catalogue::InstalledSkill,
    execution::Known,
    policy::{self, Policy},
    record,
    skill::{self, Skill},
};
use journal::stored::{Entry, Raw};

/// One event as it was written, readable or not.
#[derive(Debug)]
pub struct EventRow<'e> {
    pub ordinal: i64,
    pub position: Position,
    pub raw: &'e Raw,
    pub subject: Option<Cow<'e, Subject>>,
    pub time: Option<Timestamp>,
    pub hash: Option<Digest>,
    pub fault: Option<String>,
    /// Nothing for what is no execution's.
    pub standing: Option<Standing>,
    /// JSON, where the event may change who may vote on what: it is asked of no others.
    pub requester: Option<Arc<str>>,
}

/// An execution after one of its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub status: Status,
    /// Who asked for it; nothing where its history does not hold together.
    pub requester: Option<Arc<Actor>>,
}

/// Who asked for an execution, the same after each of its events.
#[derive(Debug, Clone)]
pub struct Requester {
    pub actor: Arc<Actor>,
    pub json: Arc<str>,
}

impl Requester {
    pub fn of(known: &Known) -> serde_json::Result<Self> {
        let actor = known.requester();
        Ok(Self {
            json: serde_json::to_string(actor)?.into(),
            actor: Arc::new(actor.clone()),
        })
    }
}

impl Standing {
    pub const fn broken() -> Self {
        Self {
            status: Status::Corrupt,
            requester: None,
        }
    }
}

impl<'e> EventRow<'e> {
    pub fn of(entry: &'e Entry, ordinal: i64) -> Self {
        let recorded = entry.recorded.as_ref().ok();
        Self {
            ordinal,
            position: entry.position,
            raw: &entry.raw,
            subject: match recorded {
                Some(recorded) => Some(Cow::Borrowed(&recorded.subject)),
                None => entry.raw.subject.parse().ok().map(Cow::Owned),
            },
            time: recorded.map(Recorded::time),
            hash: recorded.map(|recorded| recorded.hash),
            fault: match &entry.recorded {
                Ok(_) => None,
                Err(error) => Some(host::engine::chain(error)),
            },
            standing: None,
            requester: None,
        }
    }
}

/// One execution, with the blocks that wait for votes.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionRow {
    pub workspace: WorkspaceId,
    pub record: ExecutionRecord,
    pub approvals: Vec<ApprovalRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRow {
    pub step: String,
    pub tier: RiskTier,
    pub opened_at: Timestamp,
    pub shown: OpenApproval,
}

impl ExecutionRow {
    /// The skills that its plan uses.
    pub fn skills(&self) -> BTreeSet<SkillKey> {
        let steps = self.record.steps.iter().flatten();
        steps.map(|step| step.uses.key.clone()).collect()
    }

    pub fn of(known: &Known) -> Self {
        let approvals = record::open_approvals(known);
        Self {
            workspace: known.workspace.clone(),
            record: record::record(known),
            approvals: approvals
                .into_iter()
                .map(|(step, block)| ApprovalRow {
                    step: step.to_string(),
                    tier: block.tier,
                    opened_at: block.opened.blocked_at,
                    shown: record::approval(block),
                })
                .collect(),
        }
    }
}

/// One version of a skill.
#[derive(Debug, Clone, PartialEq)]
pub struct SkillRow {
    pub workspace: WorkspaceId,
    pub key: SkillKey,
    pub skill_version: SkillVersion,
    pub version: u64,
    pub status: SkillStatus,
    pub publisher: Option<String>,
    pub provenance: Option<String>,
    pub manifest_digest: Option<String>,
    pub installed_at: Option<Timestamp>,
}

impl SkillRow {
    /// Of a skill that is part of the build: version 0 of a history that nobody writes.
    pub fn builtin(workspace: &WorkspaceId, skill: &InstalledSkill) -> Self {
        Self {
            workspace: workspace.clone(),
            key: skill.pin.key.clone(),
            skill_version: skill.pin.version.clone(),
            version: 0,
            status: SkillStatus::Installed,
            publisher: Some(skill.publisher.clone()),
            provenance: Some(skill.provenance.clone()),
            manifest_digest: Some(skill.pin.digest.to_string()),
            installed_at: None,
        }
    }

    /// A row for each version of a key. What was asked for after a version was installed does not
    /// hide that it is.
    pub fn all(workspace: &WorkspaceId, skill: &Skill) -> Vec<Self> {
        let version = skill.head.map_or(0, |head| head.version);
        let mut rows: Vec<Self> = Vec::new();
        for installation in skill.in_order() {
            let request = &installation.request;
            let standing = skill.installed.get(request.version.as_str());
            let stands = standing.map(|it| it.installation) == Some(request.installation_id);
            if standing.is_some() && !stands {
                continue;
            }
            let (status, digest, at) = match &installation.answer {
                None => (SkillStatus::Requested, None, None),
                Some(skill::Answer::Rejected(it)) => {
                    (SkillStatus::Rejected, it.manifest_digest, None)
                }
                Some(skill::Answer::Installed(it)) => {
                    let disabled = standing.is_some_and(|it| it.disabled.is_some());
                    let status = if disabled {
                        SkillStatus::Disabled
                    } else {
                        SkillStatus::Installed
                    };
                    (status, it.manifest_digest, Some(it.installed_at))
                }
            };
            // The last request for a version is what is told of it.
            rows.retain(|row| row.skill_version != request.version);
            rows.push(Self {
                workspace: workspace.clone(),
                key: request.skill_key.clone(),
                skill_version: request.version.clone(),
                version,
                status,
                publisher: Some(request.manifest.publisher.id.clone()),
                provenance: Some(request.manifest.publisher.provenance.clone()),
                manifest_digest: digest.map(|digest| digest.to_string()),
                installed_at: at,
            });
        }
        rows
    }
}

/// One policy bundle of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRow {
    pub workspace: WorkspaceId,
    pub hash: String,
    pub version: u64,
    pub status: &'static str,
    /// JSON.
    pub bundle: String,
    pub findings: String,
    pub requested_at: Timestamp,
}

impl PolicyRow {
    pub fn all(workspace: &WorkspaceId, policy: &Policy) -> serde_json::Result<Vec<Self>> {
        let version = policy.head.map_or(0, |head| head.version);
        let rows = policy.requests.iter().map(|(hash, request)| {
            let (status, findings) = match &request.answer {
                _ if policy.active == Some(*hash) => ("active", "[]".to_owned()),
                None => ("requested", "[]".to_owned()),
                Some(policy::Answer::Activated(_)) => ("replaced", "[]".to_owned()),
                Some(policy::Answer::Refused(refused)) => {
                    ("refused", serde_json::to_string(&refused.findings)?)
                }
            };
            Ok(Self {
                workspace: workspace.clone(),
                hash: hash.to_string(),
                version,
                status,
                bundle: serde_json::to_string(&request.event.bundle)?,
                findings,
                requested_at: request.event.requested_at,
            })
        });
        rows.collect()
    }
}

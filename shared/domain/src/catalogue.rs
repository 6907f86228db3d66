//! The fold of the catalogue stream: installed skills and active policies, per workspace.
//!
//! Planner, verifier and executor decide on it, each at a sequence that is recorded in the event;
//! replay folds to the same sequence.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use contracts::{
    bundle::Bundle,
    canonical::{self, Digest},
    event::Event,
    ids::{ActionName, InstallationId, Pin, SkillKey, SkillVersion, WorkspaceId},
    manifest::{ActionDefinition, SkillManifest, SkillMetadata},
    record::Recorded,
    time::Timestamp,
};
use semver::Version;
use serde_json::{Value, json};

/// Everything up to [`Catalogue::sequence`]. Cheap to clone: the documents are shared.
#[derive(Debug, Clone)]
pub struct Catalogue {
    sequence: u64,
    skills: BTreeMap<(WorkspaceId, SkillKey), BTreeMap<Version, Arc<InstalledSkill>>>,
    builtins: BTreeMap<SkillKey, Arc<InstalledSkill>>,
    policies: BTreeMap<WorkspaceId, Policies>,
    /// Requests that wait for the verifier's answer.
    requested: BTreeMap<(WorkspaceId, InstallationId), Requested>,
}

#[derive(Debug, Clone)]
struct Requested {
    manifest: Arc<SkillManifest>,
    /// Disabled while it waited: the later word counts.
    disabled: bool,
}

#[derive(Debug, Clone, Default)]
struct Policies {
    active: Option<Arc<ActivePolicy>>,
    requested: BTreeMap<Digest, Arc<Bundle>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ActivePolicy {
    pub hash: Digest,
    pub bundle: Arc<Bundle>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InstalledSkill {
    pub pin: Pin,
    pub entry_point: EntryPoint,
    pub publisher: String,
    pub provenance: String,
    pub metadata: SkillMetadata,
    pub enabled: bool,
    pub installed_at: Option<Timestamp>,
}

/// How a skill is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryPoint {
    /// Request and reply under `cp.skill.<workspace>.`, with this relative name.
    Nats(String),
    /// Inside the executor.
    Builtin(Builtin),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Answers with its input.
    Echo,
    /// Completes after a time.
    Wait,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an entry point that can be run: use `nats:<name>`")]
pub struct InvalidEntryPoint(String);

impl FromStr for EntryPoint {
    type Err = InvalidEntryPoint;

    fn from_str(text: &str) -> Result<Self, InvalidEntryPoint> {
        // One subject token as it stands, so that the name a worker serves is the name in the
        // manifest.
        let name_ok = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        };
        match text.split_once(':') {
            Some(("nats", name)) if name.len() <= 128 && name_ok(name) => {
                Ok(Self::Nats(name.to_owned()))
            }
            Some(("builtin", "echo")) => Ok(Self::Builtin(Builtin::Echo)),
            Some(("builtin", "wait")) => Ok(Self::Builtin(Builtin::Wait)),
            _ => Err(InvalidEntryPoint(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nats(name) => write!(f, "nats:{name}"),
            Self::Builtin(Builtin::Echo) => f.write_str("builtin:echo"),
            Self::Builtin(Builtin::Wait) => f.write_str("builtin:wait"),
        }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::empty()
    }
}

impl Catalogue {
    /// Before the first event: the built-in skills only, and no policy.
    pub fn empty() -> Self {
        Self {
            sequence: 0,
            skills: BTreeMap::new(),
            builtins: builtins(),
            policies: BTreeMap::new(),
            requested: BTreeMap::new(),
        }
    }

    /// The sequence of the last event in it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Takes the event at `sequence` of the catalogue stream. Events that are no business of the
    /// catalogue change only the sequence.
    pub fn apply(&mut self, sequence: u64, recorded: &Recorded) {
        self.sequence = self.sequence.max(sequence);
        let workspace = recorded.subject.aggregate.workspace();
        match &recorded.event {
            Event::SkillInstallRequested(event) => {
                self.requested.insert(
                    (workspace.clone(), event.installation_id),
                    Requested {
                        manifest: Arc::new(event.manifest.clone()),
                        disabled: false,
                    },
                );
            }
            Event::SkillInstalled(event) => {
                let request = (workspace.clone(), event.installation_id);
                if let Some(requested) = self.requested.remove(&request) {
                    self.install(
                        workspace,
                        &requested,
                        event.manifest_digest,
                        event.installed_at,
                    );
                }
            }
            Event::SkillRejected(event) => {
                self.requested
                    .remove(&(workspace.clone(), event.installation_id));
            }
            Event::SkillDisabled(event) => {
                self.disable(workspace, &event.skill_key, event.version.as_ref());
                for ((owner, _), requested) in &mut self.requested {
                    let skill = &requested.manifest.skill;
                    let named = event.version.as_ref();
                    requested.disabled |= owner == workspace
                        && skill.key == event.skill_key.as_str()
                        && named.is_none_or(|named| named.as_str() == skill.version);
                }
            }
            Event::PolicyActivationRequested(event) => {
                let policies = self.policies.entry(workspace.clone()).or_default();
                policies
                    .requested
                    .insert(event.hash, Arc::new(event.bundle.clone()));
            }
            Event::PolicyActivated(event) => {
                let policies = self.policies.entry(workspace.clone()).or_default();
                if let Some(bundle) = policies.requested.remove(&event.hash) {
                    policies.active = Some(Arc::new(ActivePolicy {
                        hash: event.hash,
                        bundle,
                    }));
                }
            }
            Event::PolicyRefused(event) => {
                let policies = self.policies.entry(workspace.clone()).or_default();
                policies.requested.remove(&event.hash);
            }
            // Holds come with their own engine; executions and incidents are not in this stream.
            Event::HoldPlaced(_)
            | Event::HoldLifted(_)
            | Event::IntentReceived(_)
            | Event::PlanDrafted(_)
            | Event::PlanVerificationRequested(_)
            | Event::ExecutionStartRequested(_)
            | Event::ExecutionApproved(_)
            | Event::ExecutionRejected(_)
            | Event::StepReported(_)
            | Event::CancelRequested(_)
            | Event::Paused(_)
            | Event::Resumed(_)
            | Event::RetryRequested(_)
            | Event::IncidentResolved(_)
            | Event::DraftRequested(_)
            | Event::PlanCompiled(_)
            | Event::PlanRejected(_)
            | Event::PlanVerified(_)
            | Event::StepJudged(_)
            | Event::ExecutionStarted(_)
            | Event::StepProposed(_)
            | Event::StepBlocked(_)
            | Event::StepStarted(_)
            | Event::StepAccepted(_)
            | Event::StepCompleted(_)
            | Event::StepFailed(_)
            | Event::StepSkipped(_)
            | Event::StepCompensated(_)
            | Event::ExecutionStopping(_)
            | Event::ExecutionCompleted(_)
            | Event::ExecutionFailed(_)
            | Event::IncidentRaised(_) => {}
        }
    }

    fn install(
        &mut self,
        workspace: &WorkspaceId,
        requested: &Requested,
        digest: Option<Digest>,
        at: Timestamp,
    ) {
        let Some((version, mut skill)) = installed(&requested.manifest, digest, at) else {
            // The verifier does not install what cannot be read back.
            return;
        };
        skill.enabled = !requested.disabled;
        self.skills
            .entry((workspace.clone(), skill.pin.key.clone()))
            .or_default()
            .insert(version, Arc::new(skill));
    }

    fn disable(&mut self, workspace: &WorkspaceId, key: &SkillKey, version: Option<&SkillVersion>) {
        let Some(versions) = self.skills.get_mut(&(workspace.clone(), key.clone())) else {
            return;
        };
        for skill in versions.values_mut() {
            if version.is_none_or(|version| *version == skill.pin.version) {
                Arc::make_mut(skill).enabled = false;
            }
        }
    }

    /// A skill at exactly this content, enabled or not: of the workspace, shared, or built in.
    pub fn skill(&self, workspace: &WorkspaceId, pin: &Pin) -> Option<&InstalledSkill> {
        self.versions(workspace, &pin.key)
            .find(|skill| skill.pin == *pin)
    }

    /// The version asked for, or else the newest that is enabled; the workspace's own before a
    /// shared one.
    pub fn resolve(
        &self,
        workspace: &WorkspaceId,
        key: &SkillKey,
        version: Option<&SkillVersion>,
    ) -> Option<&InstalledSkill> {
        self.versions(workspace, key).find(|skill| match version {
            Some(version) => skill.pin.version == *version,
            None => skill.enabled,
        })
    }

    /// Every known version of a skill, newest first, the workspace's own before shared ones.
    pub fn versions<'a>(
        &'a self,
        workspace: &WorkspaceId,
        key: &SkillKey,
    ) -> impl Iterator<Item = &'a InstalledSkill> {
        let of = |workspace: WorkspaceId| {
            self.skills
                .get(&(workspace, key.clone()))
                .into_iter()
                .flat_map(|versions| versions.values().rev())
        };
        of(workspace.clone())
            .chain(of(WorkspaceId::global()))
            .chain(self.builtins.get(key))
            .map(Arc::as_ref)
    }

    /// What a workspace has installed itself, by key and then newest version first.
    pub fn skills<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
    ) -> impl Iterator<Item = &'a InstalledSkill> {
        self.installed_by(move |owner| owner == workspace)
            .chain(self.builtins.values().map(Arc::as_ref))
    }

    /// What a workspace may use: its own skills, then shared ones, then those of the build.
    pub fn usable<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
    ) -> impl Iterator<Item = &'a InstalledSkill> {
        self.installed_by(move |owner| owner == workspace)
            .chain(self.installed_by(WorkspaceId::is_global))
            .chain(self.builtins.values().map(Arc::as_ref))
    }

    fn installed_by<'a>(
        &'a self,
        owner: impl Fn(&WorkspaceId) -> bool + 'a,
    ) -> impl Iterator<Item = &'a InstalledSkill> {
        self.skills
            .iter()
            .filter(move |((workspace, _), _)| owner(workspace))
            .flat_map(|(_, versions)| versions.values().rev())
            .map(Arc::as_ref)
    }

    /// An action of a skill at exactly this content.
    pub fn action(
        &self,
        workspace: &WorkspaceId,
        pin: &Pin,
        action: &ActionName,
    ) -> Option<(&InstalledSkill, &ActionDefinition)> {
        let skill = self.skill(workspace, pin)?;
        Some((skill, skill.metadata.actions.get(action)?))
    }

    pub fn active_policy(&self, workspace: &WorkspaceId) -> Option<&ActivePolicy> {
        self.policies.get(workspace)?.active.as_deref()
    }

    /// The hash of the active policy: the `policyVersion` of verdicts.
    pub fn policy_version(&self, workspace: &WorkspaceId) -> Option<Digest> {
        self.active_policy(workspace).map(|policy| policy.hash)
    }
}

fn installed(
    manifest: &SkillManifest,
    digest: Option<Digest>,
    at: Timestamp,
) -> Option<(Version, InstalledSkill)> {
    let version: SkillVersion = manifest.skill.version.parse().ok()?;
    let skill = InstalledSkill {
        pin: Pin {
            key: manifest.skill.key.parse().ok()?,
            version: version.clone(),
            digest: digest?,
        },
        entry_point: manifest.skill.entry_point.parse().ok()?,
        publisher: manifest.publisher.id.clone(),
        provenance: manifest.publisher.provenance.clone(),
        metadata: manifest.skill_metadata().ok()?,
        enabled: true,
        installed_at: Some(at),
    };
    Some((Version::parse(version.as_str()).ok()?, skill))
}

/// The longest a `core.wait` may take: 30 days.
pub const WAIT_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// How long inputs ask a `core.wait` to take. A plan says `1000.0` and `1000` in the same bytes, so
/// they are the same time.
pub(crate) fn wait_ms(inputs: &Value) -> Option<u64> {
    let canonical = canonical::to_bytes(inputs.get("ms")?).ok()?;
    std::str::from_utf8(&canonical).ok()?.parse().ok()
}

/// `core.echo` and `core.wait`: part of the build, so there is nothing to install or to trust.
fn builtins() -> BTreeMap<SkillKey, Arc<InstalledSkill>> {
    let echo = json!({ "actions": { "echo": {
        "description": "answers with its input",
        "input": { "type": "object" },
        "output": { "type": "object" },
        "effect": "read",
        "risk": "low",
    }}});
    let wait = json!({ "actions": { "wait": {
        "description": "completes after a time",
        "input": {
            "type": "object",
            "properties": { "ms": { "type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX } },
            "required": ["ms"],
            "additionalProperties": false,
        },
        "output": {
            "type": "object",
            "properties": { "waitedMs": { "type": "integer" } },
            "required": ["waitedMs"],
        },
        "effect": "read",
        "risk": "low",
    }}});
    [
        ("core.echo", Builtin::Echo, echo),
        ("core.wait", Builtin::Wait, wait),
    ]
    .into_iter()
    .filter_map(|(key, builtin, metadata)| {
        let digest = Digest::of_json(&json!({ "builtin": key, "metadata": metadata })).ok()?;
        let skill = InstalledSkill {
            pin: Pin {
                key: key.parse().ok()?,
                version: "1.0.0".parse().ok()?,
                digest,
            },
            entry_point: EntryPoint::Builtin(builtin),
            publisher: "core".to_owned(),
            provenance: "builtin".to_owned(),
            metadata: serde_json::from_value(metadata).ok()?,
            enabled: true,
            installed_at: None,
        };
        Some((skill.pin.key.clone(), Arc::new(skill)))
    })
    .collect()
}

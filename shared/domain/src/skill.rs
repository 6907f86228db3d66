//! A skill aggregate: every version of one key, as asked for, installed, rejected and disabled.

use std::collections::BTreeMap;

use contracts::{
    canonical::Digest,
    event::Event,
    events::{
        RULES,
        intake::{SkillDisabled, SkillInstallRequested},
        verifier::{SkillInstalled, SkillRejected},
    },
    facts::{Actor, facts_digest},
    ids::{InstallationId, SkillKey, SkillVersion},
    manifest::{SkillManifest, VerificationReport},
    record::{Head, Recorded},
    time::Timestamp,
};
use uuid::Uuid;

/// Every version of one key, as the events tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Skill {
    pub head: Option<Head>,
    pub installations: BTreeMap<InstallationId, Installation>,
    /// The installation that stands for each version.
    pub installed: BTreeMap<String, Standing>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Installation {
    /// Of the event that asks for it.
    pub version: u64,
    pub request: SkillInstallRequested,
    pub answer: Option<Answer>,
    /// Set where the version was disabled while the request waited: the later word counts.
    pub disabled: Option<SkillDisabled>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Installed(SkillInstalled),
    Rejected(SkillRejected),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub installation: InstallationId,
    pub content: Digest,
    pub disabled: Option<SkillDisabled>,
}

/// Why a request is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error(
        "`{key}` `{version}` has other content, installed or asked for: publish this under a new version"
    )]
    VersionConflict {
        key: SkillKey,
        version: SkillVersion,
    },
    #[error("no installed version of `{key}` is `{version}`")]
    VersionNotFound {
        key: SkillKey,
        version: SkillVersion,
    },
    #[error("`{0}` is not installed")]
    NotFound(SkillKey),
}

impl Rejection {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::VersionConflict { .. } => "SKILL_VERSION_CONFLICT",
            Self::VersionNotFound { .. } | Self::NotFound(_) => "SKILL_NOT_FOUND",
        }
    }
}

impl Skill {
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        events.into_iter().fold(Self::default(), Self::evolve)
    }

    /// Takes the next event; those of other kinds of aggregates never stand here.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a skill's subjects hold only these events; the broker refuses others"
    )]
    pub fn evolve(mut self, recorded: &Recorded) -> Self {
        match &recorded.event {
            Event::SkillInstallRequested(request) => {
                self.installations.insert(
                    request.installation_id,
                    Installation {
                        version: recorded.version(),
                        request: request.clone(),
                        answer: None,
                        disabled: None,
                    },
                );
            }
            Event::SkillInstalled(installed) => {
                if let Some(installation) = self.installations.get_mut(&installed.installation_id) {
                    self.installed.insert(
                        installed.version.to_string(),
                        Standing {
                            installation: installed.installation_id,
                            content: content(&installation.request.manifest),
                            disabled: installation.disabled.clone(),
                        },
                    );
                    installation.answer = Some(Answer::Installed(installed.clone()));
                }
            }
            Event::SkillRejected(rejected) => {
                if let Some(installation) = self.installations.get_mut(&rejected.installation_id) {
                    installation.answer = Some(Answer::Rejected(rejected.clone()));
                }
            }
            Event::SkillDisabled(disabled) => {
                for installation in self.installations.values_mut() {
                    let version = &installation.request.version;
                    let named = disabled.version.as_ref();
                    if installation.answer.is_none() && named.is_none_or(|named| named == version) {
                        installation
                            .disabled
                            .get_or_insert_with(|| disabled.clone());
                    }
                }
                for (version, standing) in &mut self.installed {
                    let named = disabled.version.as_ref();
                    if named.is_none_or(|named| named.as_str() == version) {
                        standing.disabled.get_or_insert_with(|| disabled.clone());
                    }
                }
            }
            _ => {}
        }
        self.head = Some(recorded.head());
        self
    }

    /// The requests that the verifier has not answered, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = &SkillInstallRequested> {
        self.in_order()
            .into_iter()
            .filter(|installation| installation.answer.is_none())
            .map(|installation| &installation.request)
    }

    /// Everything that was asked for, oldest first.
    pub fn in_order(&self) -> Vec<&Installation> {
        let mut installations: Vec<_> = self.installations.values().collect();
        installations.sort_by_key(|installation| installation.version);
        installations
    }
}

/// A request to install, as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Install {
    pub key: SkillKey,
    pub version: SkillVersion,
    pub artifact_digest: String,
    pub manifest: SkillManifest,
    pub by: Actor,
}

/// What tells the content of two manifests apart, signature included.
fn content(manifest: &SkillManifest) -> Digest {
    let unsigned = SkillManifest {
        signature: None,
        ..manifest.clone()
    };
    facts_digest(&unsigned)
}

/// Asks for an installation: the events, and the installation to wait for. The same content that
/// stands already, or is being looked at, is not asked for again; one that was rejected is.
pub fn request_install(
    skill: &Skill,
    install: &Install,
    now: Timestamp,
) -> Result<(Vec<Event>, InstallationId), Rejection> {
    let digest = content(&install.manifest);
    let of_version = |installation: &&Installation| {
        installation.answer.is_none() && installation.request.version == install.version
    };
    let mut asked = skill.installations.values().filter(of_version);
    let standing = skill.installed.get(install.version.as_str());
    let other_content = standing.is_some_and(|standing| standing.content != digest)
        || asked.any(|installation| content(&installation.request.manifest) != digest);
    if other_content {
        return Err(Rejection::VersionConflict {
            key: install.key.clone(),
            version: install.version.clone(),
        });
    }
    // Only what was asked to the letter has its answer already: without its signature, or with
    // another artifact, the same content is another question.
    let same = |installation: &&Installation| {
        installation.request.version == install.version
            && installation.request.manifest == install.manifest
            && installation.request.artifact_digest == install.artifact_digest
    };
    let stands = standing
        .filter(|standing| standing.disabled.is_none())
        .and_then(|standing| skill.installations.get(&standing.installation))
        .filter(same);
    let pending = skill
        .installations
        .values()
        .filter(|installation| installation.answer.is_none())
        .find(same);
    if let Some(asked) = stands.or(pending) {
        return Ok((Vec::new(), asked.request.installation_id));
    }
    let id = installation_id(skill, install, &digest);
    let event = SkillInstallRequested {
        installation_id: id,
        skill_key: install.key.clone(),
        version: install.version.clone(),
        artifact_digest: install.artifact_digest.clone(),
        manifest: install.manifest.clone(),
        by: install.by.clone(),
        requested_at: now,
        rules: RULES,
    };
    Ok((vec![event.into()], id))
}

fn installation_id(skill: &Skill, install: &Install, content: &Digest) -> InstallationId {
    /// Ours, drawn once.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3b5a_97b4_6e2f_4c02_9d15_77c3_0a4e_6b88);
    let number = skill.installations.len();
    let name = format!("{}\n{}\n{content}\n{number}", install.key, install.version);
    InstallationId::of(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

/// Disables one version, or all. Nothing to append where they are disabled already.
pub fn disable(
    skill: &Skill,
    key: &SkillKey,
    version: Option<&SkillVersion>,
    by: &Actor,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let named: Vec<&Standing> = skill
        .installed
        .iter()
        .filter(|(installed, _)| version.is_none_or(|version| version.as_str() == *installed))
        .map(|(_, standing)| standing)
        .collect();
    if named.is_empty() {
        return Err(match version {
            Some(version) => Rejection::VersionNotFound {
                key: key.clone(),
                version: version.clone(),
            },
            None => Rejection::NotFound(key.clone()),
        });
    }
    if named.iter().all(|standing| standing.disabled.is_some()) {
        return Ok(Vec::new());
    }
    Ok(vec![
        SkillDisabled {
            skill_key: key.clone(),
            version: version.cloned(),
            by: by.clone(),
            reason: reason.map(str::to_owned),
            disabled_at: now,
            rules: RULES,
        }
        .into(),
    ])
}

/// What the verifier found about a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub report: VerificationReport,
    pub manifest_digest: Option<Digest>,
    pub trust_digest: Digest,
    /// Sequence of the catalogue whose trust it was checked against.
    pub catalogue: u64,
}

/// The verifier's answer to `request`; nothing where it was answered before.
pub fn answer(
    skill: &Skill,
    request: &SkillInstallRequested,
    checked: Checked,
    now: Timestamp,
) -> Vec<Event> {
    let answered = skill
        .installations
        .get(&request.installation_id)
        .is_none_or(|installation| installation.answer.is_some());
    if answered {
        return Vec::new();
    }
    let publisher = &request.manifest.publisher;
    if checked.report.verified {
        return vec![
            SkillInstalled {
                installation_id: request.installation_id,
                skill_key: request.skill_key.clone(),
                version: request.version.clone(),
                installed_at: now,
                publisher: Some(publisher.id.clone()),
                provenance: Some(publisher.provenance.clone()),
                manifest_digest: checked.manifest_digest,
                trust_digest: checked.trust_digest,
                report: checked.report,
                catalogue: checked.catalogue,
                rules: RULES,
            }
            .into(),
        ];
    }
    let codes: Vec<&str> = checked
        .report
        .issues
        .iter()
        .map(|issue| issue.code.as_str())
        .collect();
    vec![
        SkillRejected {
            installation_id: request.installation_id,
            skill_key: request.skill_key.clone(),
            version: Some(request.version.clone()),
            rejected_at: now,
            reason: codes.join(", "),
            provenance: Some(publisher.provenance.clone()),
            manifest_digest: checked.manifest_digest,
            issues: Some(checked.report.issues.clone()),
            trust_digest: checked.trust_digest,
            report: checked.report,
            catalogue: checked.catalogue,
            rules: RULES,
        }
        .into(),
    ]
}

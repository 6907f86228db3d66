//! What the catalogue said at each of its sequences, and since when.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    bundle::Trust,
    canonical::Digest,
    event::Event,
    ids::{ActionName, InstallationId, Pin, SkillKey, SkillVersion, WorkspaceId},
    manifest::{DeclaredRisk, Effect, SkillManifest},
    plan::RiskTier,
    record::Recorded,
    time::Timestamp,
};

use super::{
    promises::Answered,
    rule::{Check, Rule, ensure},
};

#[derive(Default)]
pub(super) struct Catalogue {
    /// Every sequence with the instant it was stored.
    instants: Vec<(Timestamp, u64)>,
    policies: BTreeMap<WorkspaceId, Policies>,
    skills: BTreeMap<(WorkspaceId, SkillKey), Vec<Standing>>,
    requested: BTreeMap<(WorkspaceId, InstallationId), Requested>,
    /// The tier of each action by what the publisher says of it, of what was installed.
    declared: BTreeMap<(WorkspaceId, SkillKey, SkillVersion), BTreeMap<ActionName, RiskTier>>,
}

#[derive(Default)]
struct Policies {
    /// Not answered yet, with the trust that would hold.
    requested: BTreeMap<Digest, Digest>,
    /// In the order of sequences.
    active: Vec<Active>,
}

struct Active {
    sequence: u64,
    hash: Digest,
    trust: Digest,
}

/// How a version of a skill stood from a sequence on.
struct Standing {
    sequence: u64,
    version: SkillVersion,
    digest: Option<Digest>,
    enabled: bool,
}

struct Requested {
    /// What must be seen by whoever answers it.
    asked: u64,
    key: SkillKey,
    version: SkillVersion,
    /// While it waited: the later word counts.
    disabled: bool,
    /// The tier of each action by what the manifest says of it.
    declared: BTreeMap<ActionName, RiskTier>,
}

/// What a start is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub policy: Option<Digest>,
    pub enabled: bool,
}

impl Catalogue {
    pub fn end(&self) -> u64 {
        self.instants.last().map_or(0, |(_, sequence)| *sequence)
    }

    /// The last sequence that was certainly there at an instant.
    pub fn before(&self, instant: Timestamp) -> u64 {
        let stored = self.instants.partition_point(|(at, _)| *at < instant);
        let last = stored.checked_sub(1).and_then(|at| self.instants.get(at));
        last.map_or(0, |(_, sequence)| *sequence)
    }

    pub fn policy(&self, workspace: &WorkspaceId, sequence: u64) -> Option<Digest> {
        self.active(workspace, sequence).map(|active| active.hash)
    }

    fn active(&self, workspace: &WorkspaceId, sequence: u64) -> Option<&Active> {
        let active = &self.policies.get(workspace)?.active;
        active.iter().rfind(|active| active.sequence <= sequence)
    }

    pub fn enabled(&self, workspace: &WorkspaceId, pin: &Pin, sequence: u64) -> bool {
        let global = WorkspaceId::global();
        let own = [workspace, &global]
            .into_iter()
            .find_map(|owner| self.standing(owner, pin, sequence));
        own.unwrap_or_else(|| is_builtin(pin))
    }

    fn standing(&self, owner: &WorkspaceId, pin: &Pin, sequence: u64) -> Option<bool> {
        let versions = self.skills.get(&(owner.clone(), pin.key.clone()))?;
        let last = versions
            .iter()
            .rfind(|it| it.sequence <= sequence && it.version == pin.version)?;
        (last.digest == Some(pin.digest)).then_some(last.enabled)
    }

    /// The tier of an action by what its publisher says of it, and nothing else.
    pub fn declared(
        &self,
        workspace: &WorkspaceId,
        pin: &Pin,
        action: &ActionName,
    ) -> Check<RiskTier> {
        if is_builtin(pin) {
            return Ok(RiskTier::Low);
        }
        let global = WorkspaceId::global();
        let said = [workspace, &global].into_iter().find_map(|owner| {
            let of = (owner.clone(), pin.key.clone(), pin.version.clone());
            self.declared.get(&of)?.get(action)
        });
        said.copied().ok_or_else(|| super::rule::Fault {
            rule: Rule::OtherThanPlanned,
            detail: format!("nothing is installed as `{pin}` that has `{action}`"),
        })
    }

    /// Whether what a caller was told of the catalogue is in it.
    pub fn has_stored(&self, answered: &Answered) -> bool {
        let stands =
            |workspace: &WorkspaceId, key: &SkillKey, which: &dyn Fn(&Standing) -> bool| {
                let versions = self.skills.get(&(workspace.clone(), key.clone()));
                versions.is_some_and(|versions| versions.iter().any(which))
            };
        match answered {
            Answered::Activated { workspace, hash } => self
                .policies
                .get(workspace)
                .is_some_and(|policies| policies.active.iter().any(|it| it.hash == *hash)),
            Answered::Installed {
                workspace,
                key,
                version,
            } => stands(workspace, key, &|it| it.version == *version),
            Answered::Disabled {
                workspace,
                key,
                version,
            } => stands(workspace, key, &|it| it.version == *version && !it.enabled),
            Answered::Submitted { .. }
            | Answered::Approved { .. }
            | Answered::Rejected { .. }
            | Answered::Cancelled { .. }
            | Answered::Planned { .. }
            | Answered::Judged { .. }
            | Answered::Started { .. }
            | Answered::Paused { .. }
            | Answered::Resumed { .. }
            | Answered::Retried { .. }
            | Answered::Reported { .. } => false,
        }
    }

    pub fn facts(&self, workspace: &WorkspaceId, pin: &Pin, sequence: u64) -> Facts {
        Facts {
            policy: self.policy(workspace, sequence),
            enabled: self.enabled(workspace, pin, sequence),
        }
    }

    /// Whether the facts were, at any time between two instants, what they were at `sequence`.
    pub fn holds_between(
        &self,
        workspace: &WorkspaceId,
        pin: &Pin,
        sequence: u64,
        (since, until): (Timestamp, Timestamp),
    ) -> bool {
        let decided = self.facts(workspace, pin, sequence);
        (self.before(since)..=self.before(until.plus_ms(1)))
            .any(|sequence| self.facts(workspace, pin, sequence) == decided)
    }

    /// Whether a position that an event names is there, and no older than `least`.
    pub fn is_fresh(&self, named: u64, least: u64, what: impl FnOnce() -> String) -> Check {
        let end = self.end();
        ensure(least <= named && named <= end, Rule::StaleFacts, || {
            format!(
                "{} names position {named} of the catalogue, which had {least} and has {end}",
                what()
            )
        })
    }

    pub fn names_policy(
        &self,
        workspace: &WorkspaceId,
        sequence: u64,
        named: Option<Digest>,
    ) -> Check {
        let active = self.policy(workspace, sequence);
        ensure(named == active, Rule::OtherPolicy, || {
            format!("a verdict at position {sequence} names policy {named:?}, not {active:?}")
        })
    }

    pub fn unanswered(&self) -> Option<String> {
        let installation = self.requested.values().next().map(|requested| {
            format!(
                "the installation of `{}` {} was not answered",
                requested.key, requested.version
            )
        });
        let activation = || {
            let mut waiting = self.policies.values().flat_map(|it| it.requested.keys());
            let hash = waiting.next()?;
            Some(format!("the activation of {hash} was not answered"))
        };
        installation.or_else(activation)
    }

    pub fn take(&mut self, at: Timestamp, sequence: u64, recorded: &Recorded) -> Check {
        self.instants.push((at, sequence));
        let workspace = recorded.subject.aggregate.workspace();
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "what is neither skill nor policy only takes up a position"
        )]
        match &recorded.event {
            Event::SkillInstallRequested(event) => {
                let request = Requested {
                    asked: self.before(at),
                    key: event.skill_key.clone(),
                    version: event.version.clone(),
                    disabled: false,
                    declared: declared(&event.manifest),
                };
                let id = (workspace.clone(), event.installation_id);
                self.requested.insert(id, request);
                Ok(())
            }
            Event::SkillInstalled(event) => {
                let request = self.answered(workspace, event.installation_id)?;
                is_of(&request, &event.skill_key, Some(&event.version))?;
                self.judged(workspace, &request, event.catalogue, event.trust_digest)?;
                let of = (
                    workspace.clone(),
                    request.key.clone(),
                    request.version.clone(),
                );
                self.declared.insert(of, request.declared);
                let key = (workspace.clone(), request.key);
                self.skills.entry(key).or_default().push(Standing {
                    sequence,
                    version: request.version,
                    digest: event.manifest_digest,
                    enabled: !request.disabled,
                });
                Ok(())
            }
            Event::SkillRejected(event) => {
                let request = self.answered(workspace, event.installation_id)?;
                is_of(&request, &event.skill_key, event.version.as_ref())?;
                self.judged(workspace, &request, event.catalogue, event.trust_digest)
            }
            Event::SkillDisabled(event) => {
                self.disabled(
                    workspace,
                    sequence,
                    &event.skill_key,
                    event.version.as_ref(),
                );
                Ok(())
            }
            Event::PolicyActivationRequested(event) => {
                let policies = self.policies.entry(workspace.clone()).or_default();
                let trust = event.bundle.trust.digest();
                policies.requested.insert(event.hash, trust);
                Ok(())
            }
            Event::PolicyActivated(event) => {
                let trust = self.decided(workspace, event.hash)?;
                let policies = self.policies.entry(workspace.clone()).or_default();
                policies.active.push(Active {
                    sequence,
                    hash: event.hash,
                    trust,
                });
                Ok(())
            }
            Event::PolicyRefused(event) => self.decided(workspace, event.hash).map(drop),
            _ => Ok(()),
        }
    }

    fn answered(&mut self, workspace: &WorkspaceId, id: InstallationId) -> Check<Requested> {
        let request = self.requested.remove(&(workspace.clone(), id));
        request.ok_or_else(|| super::rule::Fault {
            rule: Rule::OutOfTurn,
            detail: format!("installation {id} was answered without being asked for"),
        })
    }

    fn decided(&mut self, workspace: &WorkspaceId, hash: Digest) -> Check<Digest> {
        let policies = self.policies.get_mut(workspace);
        let trust = policies.and_then(|policies| policies.requested.remove(&hash));
        trust.ok_or_else(|| super::rule::Fault {
            rule: Rule::OutOfTurn,
            detail: format!("policy {hash} was answered without being asked for"),
        })
    }

    /// An installation is judged on the catalogue as it is after it was asked for.
    fn judged(
        &self,
        workspace: &WorkspaceId,
        request: &Requested,
        catalogue: u64,
        trust: Digest,
    ) -> Check {
        self.is_fresh(catalogue, request.asked, || {
            format!("the answer on `{}` {}", request.key, request.version)
        })?;
        let active = self.active(workspace, catalogue);
        let expected = active.map_or_else(|| Trust::default().digest(), |active| active.trust);
        ensure(trust == expected, Rule::OtherPolicy, || {
            format!(
                "`{}` {} was held against trust {trust} at position {catalogue}, not {expected}",
                request.key, request.version
            )
        })
    }

    fn disabled(
        &mut self,
        workspace: &WorkspaceId,
        sequence: u64,
        key: &SkillKey,
        version: Option<&SkillVersion>,
    ) {
        let named = |it: &SkillVersion| version.is_none_or(|version| version == it);
        for ((owner, _), request) in &mut self.requested {
            request.disabled |=
                owner == workspace && request.key == *key && named(&request.version);
        }
        let Some(versions) = self.skills.get_mut(&(workspace.clone(), key.clone())) else {
            return;
        };
        let known: BTreeSet<SkillVersion> = versions.iter().map(|it| it.version.clone()).collect();
        for version in known.into_iter().filter(|version| named(version)) {
            let last = versions.iter().rfind(|it| it.version == version);
            let digest = last.and_then(|last| last.digest);
            versions.push(Standing {
                sequence,
                version,
                digest,
                enabled: false,
            });
        }
    }
}

fn declared(manifest: &SkillManifest) -> BTreeMap<ActionName, RiskTier> {
    let metadata = manifest.skill_metadata().unwrap_or_default();
    let actions = metadata.actions.into_iter();
    actions
        .map(|(name, action)| {
            let of_effect = match action.effect {
                Effect::Read | Effect::Write => RiskTier::Low,
                Effect::External | Effect::Money => RiskTier::Medium,
                Effect::Irreversible => RiskTier::High,
            };
            let said = match action.risk {
                DeclaredRisk::Low => RiskTier::Low,
                DeclaredRisk::Medium => RiskTier::Medium,
                DeclaredRisk::High => RiskTier::High,
            };
            (name, of_effect.max(said))
        })
        .collect()
}

fn is_of(request: &Requested, key: &SkillKey, version: Option<&SkillVersion>) -> Check {
    let same = request.key == *key && version.is_none_or(|version| request.version == *version);
    ensure(same, Rule::OutOfTurn, || {
        format!(
            "`{key}` {version:?} was answered, and `{}` {} was asked for",
            request.key, request.version
        )
    })
}

/// Part of the build: never installed, never disabled, and no worker's.
pub(super) fn is_builtin(pin: &Pin) -> bool {
    matches!(pin.key.as_str(), "core.echo" | "core.wait")
}

//! Everything that is checked before a skill is accepted. Each check is one function; all of them
//! run, so that a publisher sees every finding at once.

mod compatibility;
mod content;
mod trust;

use contracts::{
    bundle::Trust,
    ids::{SkillKey, SkillVersion},
    manifest::{SkillManifest, VerificationReport},
    time::Timestamp,
};

use crate::fault::{Code, Fault};

pub use compatibility::Runtime;

/// What `controlPlane.skill.install` and `.verify` are asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub skill_key: &'a SkillKey,
    pub version: &'a SkillVersion,
    /// Of what was fetched.
    pub artifact_digest: &'a str,
    pub manifest: &'a SkillManifest,
}

/// Checks a manifest for this build of the control plane.
pub fn verify(request: &Request<'_>, trust: &Trust, now: Timestamp) -> VerificationReport {
    verify_on(&Runtime::this_build(), request, trust, now)
}

/// Checks a manifest for any control plane.
pub fn verify_on(
    runtime: &Runtime<'_>,
    request: &Request<'_>,
    trust: &Trust,
    now: Timestamp,
) -> VerificationReport {
    report(&faults(runtime, request, trust, now))
}

/// All findings, in the order of the checks.
pub fn faults(
    runtime: &Runtime<'_>,
    request: &Request<'_>,
    trust: &Trust,
    now: Timestamp,
) -> Vec<Fault> {
    let manifest = request.manifest;
    let mut faults = Vec::new();
    content::schema_version(manifest, &mut faults);
    content::identity(request, &mut faults);
    content::reserved_key(manifest, &mut faults);
    content::entry_point(manifest, &mut faults);
    content::publisher(manifest, &mut faults);
    content::artifact(manifest, &mut faults);
    content::canonical_form(manifest, &mut faults);
    content::metadata(manifest, &mut faults);
    content::artifact_digest(request, &mut faults);
    trust::signature(manifest, &mut faults);
    trust::signed_instants(manifest, trust, now, &mut faults);
    trust::publisher(manifest, trust, now, &mut faults);
    compatibility::ranges(manifest, &mut faults);
    compatibility::contracts_spec(manifest, runtime, &mut faults);
    compatibility::control_plane(manifest, runtime, &mut faults);
    compatibility::capabilities(manifest, runtime, &mut faults);
    faults
}

fn report(faults: &[Fault]) -> VerificationReport {
    let none_of = |codes: &[Code]| !faults.iter().any(|fault| codes.contains(&fault.code()));
    VerificationReport {
        verified: faults.is_empty(),
        // Without a canonical form there is nothing the signature could be of.
        signature_verified: none_of(&[Code::SignatureMissing, Code::SignatureInvalid])
            && !faults
                .iter()
                .any(|fault| matches!(fault, Fault::NoCanonicalForm(_))),
        publisher_trusted: none_of(&[
            Code::SignatureMissing,
            Code::SignatureExpired,
            Code::PublisherUntrusted,
            Code::KeyUntrusted,
            Code::ProvenanceUntrusted,
        ]),
        compatibility_verified: none_of(&[
            Code::ContractsSpecVersionMissing,
            Code::ContractsSpecTooOld,
            Code::ContractsSpecTooNew,
            Code::ControlPlaneVersionMissing,
            Code::ControlPlaneTooOld,
            Code::ControlPlaneTooNew,
            Code::CapabilityMissing,
        ]) && !faults
            .iter()
            .any(|fault| matches!(fault, Fault::Version { .. })),
        issues: faults.iter().map(Fault::issue).collect(),
    }
}

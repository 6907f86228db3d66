//! Whether this control plane is one the skill was made for.

use contracts::manifest::{
    CONTRACTS_SPEC_VERSION, CONTROL_PLANE_VERSION, SkillManifest, VersionRange,
};
use semver::Version;

use crate::fault::Fault;

/// What a control plane says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Runtime<'a> {
    pub contracts_spec: Option<&'a str>,
    pub control_plane: Option<&'a str>,
    /// Key and version.
    pub capabilities: &'a [(&'a str, &'a str)],
}

/// The capabilities of the reference contract.
const CAPABILITIES: &[(&str, &str)] = &[
    ("control-plane.core", "1.0.0"),
    ("control-plane.approval", "1.0.0"),
    ("control-plane.audit", "1.0.0"),
    ("control-plane.skill-registry", "1.0.0"),
    ("control-plane.channel-runtime", "1.0.0"),
];

impl Runtime<'static> {
    pub const fn this_build() -> Self {
        Self {
            contracts_spec: Some(CONTRACTS_SPEC_VERSION),
            control_plane: Some(CONTROL_PLANE_VERSION),
            capabilities: CAPABILITIES,
        }
    }
}

pub(super) fn ranges(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    let compatibility = &manifest.compatibility;
    let spec = compatibility.contracts_spec.given();
    let plane = compatibility.control_plane_feature.given();
    for (member, version) in [
        (
            "contractsSpec.minVersion",
            spec.and_then(|range| range.min_version.given()),
        ),
        (
            "contractsSpec.maxVersion",
            spec.and_then(|range| range.max_version.given()),
        ),
        (
            "controlPlaneFeature.minVersion",
            plane.and_then(|range| range.min_version.given()),
        ),
        (
            "controlPlaneFeature.maxVersion",
            plane.and_then(|range| range.max_version.given()),
        ),
    ] {
        if let Some(version) = version
            && Version::parse(version).is_err()
        {
            faults.push(Fault::Version {
                member,
                version: version.chars().take(64).collect(),
            });
        }
    }
}

pub(super) fn contracts_spec(
    manifest: &SkillManifest,
    runtime: &Runtime<'_>,
    faults: &mut Vec<Fault>,
) {
    let Some(range) = manifest.compatibility.contracts_spec.given() else {
        return;
    };
    let Some(found) = version(runtime.contracts_spec) else {
        faults.push(Fault::ContractsSpecUnknown);
        return;
    };
    let needs = |needed: String| (needed, found.to_string());
    faults.extend(
        below(&found, range)
            .map(needs)
            .map(|(needed, found)| Fault::ContractsSpecTooOld { needed, found }),
    );
    faults.extend(
        above(&found, range)
            .map(needs)
            .map(|(needed, found)| Fault::ContractsSpecTooNew { needed, found }),
    );
}

pub(super) fn control_plane(
    manifest: &SkillManifest,
    runtime: &Runtime<'_>,
    faults: &mut Vec<Fault>,
) {
    let Some(range) = manifest.compatibility.control_plane_feature.given() else {
        return;
    };
    let Some(found) = version(runtime.control_plane) else {
        faults.push(Fault::ControlPlaneUnknown);
        return;
    };
    let needs = |needed: String| (needed, found.to_string());
    faults.extend(
        below(&found, range)
            .map(needs)
            .map(|(needed, found)| Fault::ControlPlaneTooOld { needed, found }),
    );
    faults.extend(
        above(&found, range)
            .map(needs)
            .map(|(needed, found)| Fault::ControlPlaneTooNew { needed, found }),
    );
}

pub(super) fn capabilities(
    manifest: &SkillManifest,
    runtime: &Runtime<'_>,
    faults: &mut Vec<Fault>,
) {
    for needed in manifest
        .compatibility
        .required_capabilities
        .given()
        .into_iter()
        .flatten()
    {
        let version = needed.version.given();
        let offered = runtime.capabilities.iter().any(|(key, offered)| {
            *key == needed.key && version.is_none_or(|version| version == offered)
        });
        if !offered {
            let at = version.map_or_else(String::new, |version| format!("@{version}"));
            faults.push(Fault::Capability(
                format!("{}{at}", needed.key).chars().take(200).collect(),
            ));
        }
    }
}

fn version(text: Option<&str>) -> Option<Version> {
    Version::parse(text?).ok()
}

/// The least version of a range that `found` is below of. A bound that is not a version is a
/// finding of its own and bounds nothing here.
fn below(found: &Version, range: &VersionRange) -> Option<String> {
    let needed = range.min_version.given()?;
    let min = Version::parse(needed).ok()?;
    // By precedence: builds of one version do not differ in what they can do.
    found.cmp_precedence(&min).is_lt().then(|| needed.clone())
}

/// The greatest version of a range that `found` is above of.
fn above(found: &Version, range: &VersionRange) -> Option<String> {
    let needed = range.max_version.given()?;
    let max = Version::parse(needed).ok()?;
    found.cmp_precedence(&max).is_gt().then(|| needed.clone())
}

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
    let spec = compatibility.contracts_spec.as_ref();
    let plane = compatibility.control_plane_feature.as_ref();
    for (member, version) in [
        (
            "contractsSpec.minVersion",
            spec.and_then(|range| range.min_version.as_ref()),
        ),
        (
            "contractsSpec.maxVersion",
            spec.and_then(|range| range.max_version.as_ref()),
        ),
        (
            "controlPlaneFeature.minVersion",
            plane.and_then(|range| range.min_version.as_ref()),
        ),
        (
            "controlPlaneFeature.maxVersion",
            plane.and_then(|range| range.max_version.as_ref()),
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
    let Some(range) = &manifest.compatibility.contracts_spec else {
        return;
    };
    faults.extend(match place(runtime.contracts_spec, range) {
        Place::Inside => None,
        Place::Unknown => Some(Fault::ContractsSpecUnknown),
        Place::Below { needed, found } => Some(Fault::ContractsSpecTooOld { needed, found }),
        Place::Above { needed, found } => Some(Fault::ContractsSpecTooNew { needed, found }),
    });
}

pub(super) fn control_plane(
    manifest: &SkillManifest,
    runtime: &Runtime<'_>,
    faults: &mut Vec<Fault>,
) {
    let Some(range) = &manifest.compatibility.control_plane_feature else {
        return;
    };
    faults.extend(match place(runtime.control_plane, range) {
        Place::Inside => None,
        Place::Unknown => Some(Fault::ControlPlaneUnknown),
        Place::Below { needed, found } => Some(Fault::ControlPlaneTooOld { needed, found }),
        Place::Above { needed, found } => Some(Fault::ControlPlaneTooNew { needed, found }),
    });
}

pub(super) fn capabilities(
    manifest: &SkillManifest,
    runtime: &Runtime<'_>,
    faults: &mut Vec<Fault>,
) {
    for needed in manifest
        .compatibility
        .required_capabilities
        .iter()
        .flatten()
    {
        let version = needed.version.as_deref();
        let offered = runtime.capabilities.iter().any(|(key, offered)| {
            *key == needed.key && version.is_none_or(|version| version == *offered)
        });
        if !offered {
            let at = version.map_or_else(String::new, |version| format!("@{version}"));
            faults.push(Fault::Capability(
                format!("{}{at}", needed.key).chars().take(200).collect(),
            ));
        }
    }
}

/// Where a version stands to a range.
enum Place {
    Inside,
    Unknown,
    Below { needed: String, found: String },
    Above { needed: String, found: String },
}

/// A bound that is not a version is a finding of its own and bounds nothing here.
fn place(found: Option<&str>, range: &VersionRange) -> Place {
    let Some((found, version)) = found.and_then(|text| Some((text, Version::parse(text).ok()?)))
    else {
        return Place::Unknown;
    };
    let bound = |bound: &Option<String>| {
        let text = bound.clone()?;
        let version = Version::parse(&text).ok()?;
        Some((text, version))
    };
    let found = found.to_owned();
    if let Some((needed, min)) = bound(&range.min_version)
        && version < min
    {
        return Place::Below { needed, found };
    }
    if let Some((needed, max)) = bound(&range.max_version)
        && version > max
    {
        return Place::Above { needed, found };
    }
    Place::Inside
}

//! Capabilities: what a deployment can be asked for as a whole, as in the reference contract.

/// A named set of operations and events.
#[derive(Debug)]
pub struct Capability {
    pub key: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub requires: &'static [Requirement],
    pub provides: &'static [Provided],
}

#[derive(Debug)]
pub struct Requirement {
    pub key: &'static str,
    pub version: &'static str,
    pub reason: &'static str,
}

#[derive(Debug)]
pub struct Provided {
    pub surface: Surface,
    pub key: &'static str,
    pub version: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Operation,
    Event,
}

impl Surface {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Event => "event",
        }
    }
}

impl Capability {
    pub fn find(key: &str) -> Option<&'static Self> {
        CAPABILITIES.iter().find(|capability| capability.key == key)
    }
}

const fn operation(key: &'static str) -> Provided {
    Provided {
        surface: Surface::Operation,
        key,
        version: "1.0.0",
    }
}

const fn event(key: &'static str) -> Provided {
    Provided {
        surface: Surface::Event,
        key,
        version: "1.0.0",
    }
}

const fn requires(key: &'static str, reason: &'static str) -> Requirement {
    Requirement {
        key,
        version: "1.0.0",
        reason,
    }
}

pub static CAPABILITIES: [Capability; 5] = [
    Capability {
        key: "control-plane.core",
        version: "1.0.0",
        kind: "integration",
        requires: &[],
        provides: &[
            operation("controlPlane.intent.submit"),
            operation("controlPlane.plan.compile"),
            operation("controlPlane.execution.start"),
            operation("controlPlane.execution.cancel"),
            operation("controlPlane.execution.get"),
            operation("controlPlane.execution.list"),
            event("controlPlane.intent.received"),
            event("controlPlane.plan.compiled"),
        ],
    },
    Capability {
        key: "control-plane.approval",
        version: "1.0.0",
        kind: "integration",
        requires: &[requires(
            "control-plane.core",
            "Approval decisions are applied on core execution records.",
        )],
        provides: &[
            operation("controlPlane.execution.approve"),
            operation("controlPlane.execution.reject"),
            event("controlPlane.execution.step.blocked"),
        ],
    },
    Capability {
        key: "control-plane.audit",
        version: "1.0.0",
        kind: "data",
        requires: &[requires(
            "control-plane.core",
            "Audit surfaces depend on core execution lifecycle records.",
        )],
        provides: &[
            operation("controlPlane.plan.verify"),
            operation("controlPlane.trace.get"),
            operation("controlPlane.policy.explain"),
            event("controlPlane.execution.failed"),
            event("controlPlane.execution.completed"),
        ],
    },
    Capability {
        key: "control-plane.skill-registry",
        version: "1.0.0",
        kind: "integration",
        requires: &[],
        provides: &[
            operation("controlPlane.skill.install"),
            operation("controlPlane.skill.disable"),
            operation("controlPlane.skill.list"),
            operation("controlPlane.skill.verify"),
            event("controlPlane.skill.installed"),
            event("controlPlane.skill.rejected"),
        ],
    },
    Capability {
        key: "control-plane.channel-runtime",
        version: "1.0.0",
        kind: "integration",
        requires: &[
            requires(
                "control-plane.core",
                "Channel runtime builds on core intent and execution contracts.",
            ),
            requires(
                "control-plane.audit",
                "Channel interactions must remain traceable and replayable.",
            ),
        ],
        provides: &[
            event("controlPlane.execution.step.started"),
            event("controlPlane.execution.step.completed"),
            event("controlPlane.execution.step.blocked"),
        ],
    },
];

//! Grants: what a credential allows.

use std::{fmt, str::FromStr};

use crate::facts::{Actor, ActorType};

/// A text that is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown grant `{0}`")]
pub struct UnknownGrant(String);

macro_rules! grants {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// What a principal may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Grant { $($(#[$doc])* $name),+ }

        impl Grant {
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

grants! {
    IntentSubmit = "intent.submit";
    PlanCompile = "plan.compile";
    /// All that an outside planner needs: to offer a draft where one is awaited.
    PlanDraft = "plan.draft";
    PlanVerify = "plan.verify";
    ExecutionStart = "execution.start";
    /// To vote, for or against.
    ExecutionApprove = "execution.approve";
    ExecutionCancel = "execution.cancel";
    /// To hold a run back, and to let it go on.
    ExecutionPause = "execution.pause";
    ExecutionRetry = "execution.retry";
    /// To report what became of a step, with the token of its call.
    StepReport = "step.report";
    ExecutionRead = "execution.read";
    TraceRead = "trace.read";
    /// To see the payloads of a trace, which hold personal data.
    TracePayloads = "trace.payloads";
    PolicyActivate = "policy.activate";
    PolicyRead = "policy.read";
    SkillInstall = "skill.install";
    SkillDisable = "skill.disable";
    SkillRead = "skill.read";
    /// To name someone else as the one who acts.
    ActAs = "act-as";
}

impl Grant {
    /// An agent never votes, whatever its credential says.
    pub const fn may_be_held_by(self, kind: ActorType) -> bool {
        !matches!((self, kind), (Self::ExecutionApprove, ActorType::Agent))
    }

    pub fn is_held_by(self, actor: &Actor) -> bool {
        self.may_be_held_by(actor.kind) && actor.grants.contains(self.as_str())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(text: &str) -> Result<Self, UnknownGrant> {
        Self::ALL
            .into_iter()
            .find(|grant| grant.as_str() == text)
            .ok_or_else(|| UnknownGrant(text.chars().take(64).collect()))
    }
}

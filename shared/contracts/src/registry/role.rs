//! Roles: grants by the name of who usually holds them together.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Grant;

/// A text that is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role `{unknown}`: use one of {}", Role::ALL.map(Role::as_str).join(", "))]
pub struct UnknownRole {
    unknown: String,
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $what:literal [$($grant:ident)*];)+) => {
        /// A named set of grants.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Role { $($(#[$doc])* $name),+ }

        impl Role {
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// What its holder does.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what),+ }
            }

            pub const fn grants(self) -> &'static [Grant] {
                match self { $(Self::$name => &[$(Grant::$grant),*]),+ }
            }
        }
    };
}

// Nobody both asks and votes, and who administers does neither for others. `act-as` is in no role:
// it is given by name.
roles! {
    Viewer = "viewer", "looks at everything but payloads" [
        ExecutionRead TraceRead PolicyRead SkillRead
    ];
    Submitter = "submitter", "asks for something to be done, and calls it off" [
        IntentSubmit PlanCompile PlanDraft PlanVerify ExecutionStart ExecutionCancel
        ExecutionRead TraceRead PolicyRead SkillRead
    ];
    Planner = "planner", "drafts plans for intents, as an outside planner" [
        PlanDraft ExecutionRead SkillRead
    ];
    Worker = "worker", "reports what became of the steps that it was given" [
        StepReport
    ];
    Approver = "approver", "votes, having seen what is voted on" [
        ExecutionApprove ExecutionRead TraceRead TracePayloads PolicyRead SkillRead
    ];
    Operator = "operator", "keeps what runs going, holds it back, and calls it off" [
        PlanVerify ExecutionStart ExecutionCancel ExecutionPause ExecutionRetry
        ExecutionRead TraceRead TracePayloads PolicyRead SkillRead
    ];
    Admin = "admin", "decides by which policy and with which skills" [
        PlanVerify ExecutionStart ExecutionCancel ExecutionPause ExecutionRetry
        ExecutionRead TraceRead TracePayloads PolicyRead SkillRead
        PolicyActivate SkillInstall SkillDisable
    ];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole {
                unknown: text.chars().take(64).collect(),
            })
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Role {
    fn schema_name() -> Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str).to_vec() })
    }
}

//! Identifiers, one type per kind. A value of such a type is well formed: what a caller sends is
//! parsed once, at the edge.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A text that is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    text: String,
    expected: &'static str,
}

impl InvalidId {
    fn new(text: &str, expected: &'static str) -> Self {
        // What was sent may be long or hostile; the message is for a person.
        let text = text.chars().filter(|c| !c.is_control()).take(64).collect();
        Self { text, expected }
    }
}

/// Everything but the check itself, for an identifier that is written as text.
macro_rules! text_form {
    ($name:ident, $format:expr) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $format
            }
        }
    };
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn of(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Only the hyphenated lower-case form, so that one id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match Uuid::try_parse(text) {
                    Ok(uuid) if uuid.hyphenated().to_string() == text => Ok(Self(uuid)),
                    _ => Err(InvalidId::new(text, "a lower-case hyphenated UUID")),
                }
            }
        }

        text_form!($name, json_schema!({ "type": "string", "format": "uuid" }));
    )+};
}

uuid_id! {
    /// One intent and all that follows from it: the id of an execution aggregate.
    ExecutionId
    /// The intent as such; one per execution.
    IntentId
    /// A compiled plan: `UUIDv5` of the execution and the plan's hash.
    PlanId
    /// One opening of a blocked step for votes.
    BlockId
    /// One draft that was offered for an intent.
    DraftId
    /// An event, or a wake-up that is not in the log (a timer).
    EventId
    /// One life of a process: new at each start.
    Incarnation
    /// One installation request of a skill.
    InstallationId
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident ( $expected:literal, $max:literal, $pattern:literal ) $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if !text.is_empty() && text.len() <= $max && check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId::new(text, $expected))
                }
            }
        }

        text_form!($name, json_schema!({ "type": "string", "maxLength": $max, "pattern": $pattern }));
    )+};
}

text_id! {
    /// A tenant. `global` is reserved for shared skills and floor policy.
    WorkspaceId("a workspace id: 1 to 63 of `a-z`, `0-9` and `-`", 63, "^[a-z0-9-]+$")
        |text| text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    /// A step of a plan, unique within it.
    StepId("a step id: 1 to 64 of letters, digits, `_` and `-`", 64, "^[A-Za-z0-9_-]+$")
        |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    /// Someone or something that authenticates.
    PrincipalId("a principal id: 1 to 128 of letters, digits and `._@:+-`", 128, "^[A-Za-z0-9._@:+-]+$")
        |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b':' | b'+' | b'-'));
    /// A skill's name, without version. It may hold any characters but those that a plan's pin
    /// uses as separators, and those that cannot be seen: people approve it by sight.
    SkillKey("a skill key: 1 to 200 visible characters without white space, `/`, `@` and `#`", 200, "^[^\\s/@#\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]+$")
        |text| text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '/' | '@' | '#') && !is_invisible(c));
    /// An action of a skill.
    ActionName("an action name: 1 to 64 of letters, digits, `_`, `-` and `.`", 64, "^[A-Za-z0-9._-]+$")
        |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    /// A semantic version, as it was written.
    SkillVersion("a semantic version such as `1.4.0`", 64, "^[0-9]+\\.[0-9]+\\.[0-9]+")
        |text| semver::Version::parse(text).is_ok();
}

/// Format characters: they join, split and turn around what stands beside them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

impl WorkspaceId {
    /// The workspace of shared skills and of the policy nobody may loosen.
    pub fn global() -> Self {
        Self("global".to_owned())
    }

    pub fn is_global(&self) -> bool {
        self.0 == "global"
    }
}

/// One run of an execution: `<executionId>:<n>`, n counting from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    pub execution: ExecutionId,
    pub number: u32,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.execution, self.number)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let refused = || InvalidId::new(text, "a run id `<executionId>:<n>`");
        let (execution, number) = text.split_once(':').ok_or_else(refused)?;
        let run = Self {
            execution: execution.parse().map_err(|_| refused())?,
            number: number.parse().map_err(|_| refused())?,
        };
        if run.number > 0 && run.to_string() == text {
            Ok(run)
        } else {
            Err(refused())
        }
    }
}

text_form!(
    RunId,
    json_schema!({ "type": "string", "pattern": "^[0-9a-f-]{36}:[1-9][0-9]*$" })
);

/// A skill at one version with one content: `key@version#digest`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    pub key: SkillKey,
    pub version: SkillVersion,
    /// Of the canonical manifest.
    pub digest: crate::canonical::Digest,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.key, self.version, self.digest)
    }
}

impl FromStr for Pin {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let refused = || InvalidId::new(text, "a skill pin `key@version#digest`");
        let (key, rest) = text.split_once('@').ok_or_else(refused)?;
        let (version, digest) = rest.split_once('#').ok_or_else(refused)?;
        Ok(Self {
            key: key.parse()?,
            version: version.parse()?,
            digest: digest.parse().map_err(|_| refused())?,
        })
    }
}

text_form!(
    Pin,
    json_schema!({ "type": "string", "pattern": "^[^\\s/@#]+@[^\\s@#]+#[0-9a-f]{64}$" })
);

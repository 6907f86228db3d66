//! What can be wrong with a bundle. All faults are found at once.

use contracts::bundle::BundleFinding;

/// A fault, with what shows it. The doc comment states the rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The schema is Cedar schema syntax and declares what it names. `Thresholds` is added to it.
    #[error("the schema does not hold together: {error}")]
    Schema { error: String },
    /// A schema of one's own may add to the shipped one, but takes every request this build makes.
    #[error(
        "the schema does not take what this build asks: {error}; begin with the shipped schema and only add to it"
    )]
    SchemaUnsuitable { error: String },
    /// Policies are Cedar policy syntax.
    #[error("{at}{error}")]
    Syntax { at: String, error: String },
    /// A template without links never applies.
    #[error(
        "{at}`{policy}` has a slot such as `?principal`, which is never filled; write a policy without slots"
    )]
    Template { at: String, policy: String },
    /// Each policy has an `@id`, by which verdicts name it.
    #[error("{at}a policy has no `@id`; give it one, such as `@id(\"refunds-need-a-human\")`")]
    IdMissing { at: String },
    #[error("{at}`@id(\"{id}\")` is not 1 to 128 of letters, digits, `.`, `_` and `-`")]
    IdMalformed { at: String, id: String },
    /// One id names one policy, in all files of a bundle.
    #[error("{at}`@id(\"{id}\")` is used before, in {file}; give each policy its own")]
    IdDuplicate {
        at: String,
        id: String,
        file: String,
    },
    /// An annotation that nobody reads is a typo that loosens the policy.
    #[error(
        "{at}policy `{policy}`: `@{name}` is not known; use `@id`, `@reason`, `@risk`, `@quorum`, `@approvers`, `@expires` or `@description`"
    )]
    AnnotationUnknown {
        at: String,
        policy: String,
        name: String,
    },
    #[error("{at}policy `{policy}`: `@{name}(\"{value}\")` is malformed; {expected}")]
    AnnotationMalformed {
        at: String,
        policy: String,
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    /// As many people can vote as must.
    #[error(
        "{at}policy `{policy}`: a quorum of {quorum} cannot be reached by {approvers} named approvers"
    )]
    QuorumUnreachable {
        at: String,
        policy: String,
        quorum: u32,
        approvers: usize,
    },
    /// Policies type-check against the schema, strictly.
    #[error("{at}{error}")]
    Validation { at: String, error: String },
    /// A policy does what it seems to: it can apply, and no letters of it pose as others.
    #[error("{at}{warning}")]
    Misleading { at: String, warning: String },
    /// A threshold's name is an identifier, so that `context.thresholds.<name>` reads it.
    #[error(
        "`{name}` is not a threshold's name: 1 to 64 of letters, digits and `_`, not beginning with a digit, and no Cedar keyword"
    )]
    ThresholdName { name: String },
    /// Numbers in a bundle are within ±2⁵³, so that its hash is the same everywhere.
    #[error("{value} is beyond 2^53")]
    ThresholdRange { value: i64 },
    #[error("the bundle has {count} policies, more than {max}")]
    TooManyPolicies { count: usize, max: usize },
    #[error("the policies are {bytes} bytes long together, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    /// A publisher has an id, and one entry.
    #[error("publisher `{id}` stands here twice; put its keys into one entry")]
    PublisherDuplicate { id: String },
    #[error("a publisher needs an id without white space at its ends")]
    PublisherMalformed,
    /// A key is one publisher's, and stands there once.
    #[error("this key is also at {other}; a key belongs to one publisher, once")]
    KeyDuplicate { other: String },
    #[error("{error}")]
    KeyMalformed { error: String },
    #[error("the name of a key is 1 to {max} characters; leave it out where it has none")]
    KeyIdMalformed { max: usize },
    /// A key is trusted at some time.
    #[error("the key is trusted until before it is trusted from, which is never")]
    KeyNeverTrusted,
    /// Every text begins with nothing.
    #[error("an empty prefix accepts every provenance; name what the publisher builds from")]
    ProvenancePrefixEmpty,
}

impl Fault {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "SCHEMA_INVALID",
            Self::SchemaUnsuitable { .. } => "SCHEMA_UNSUITABLE",
            Self::Syntax { .. } => "POLICY_SYNTAX",
            Self::Template { .. } => "POLICY_TEMPLATE",
            Self::IdMissing { .. } => "POLICY_ID_MISSING",
            Self::IdMalformed { .. } => "POLICY_ID_MALFORMED",
            Self::IdDuplicate { .. } => "POLICY_ID_DUPLICATE",
            Self::AnnotationUnknown { .. } => "ANNOTATION_UNKNOWN",
            Self::AnnotationMalformed { .. } => "ANNOTATION_MALFORMED",
            Self::QuorumUnreachable { .. } => "QUORUM_UNREACHABLE",
            Self::Validation { .. } => "POLICY_INVALID",
            Self::Misleading { .. } => "POLICY_MISLEADING",
            Self::ThresholdName { .. } => "THRESHOLD_NAME",
            Self::ThresholdRange { .. } => "THRESHOLD_RANGE",
            Self::TooManyPolicies { .. } => "TOO_MANY_POLICIES",
            Self::TooLarge { .. } => "POLICIES_TOO_LARGE",
            Self::PublisherDuplicate { .. } => "PUBLISHER_DUPLICATE",
            Self::PublisherMalformed => "PUBLISHER_MALFORMED",
            Self::KeyDuplicate { .. } => "KEY_DUPLICATE",
            Self::KeyMalformed { .. } => "KEY_MALFORMED",
            Self::KeyIdMalformed { .. } => "KEY_ID_MALFORMED",
            Self::KeyNeverTrusted => "KEY_NEVER_TRUSTED",
            Self::ProvenancePrefixEmpty => "PROVENANCE_PREFIX_EMPTY",
        }
    }

    /// As it is reported, at a JSON pointer into the bundle.
    pub fn at(&self, path: impl Into<String>) -> BundleFinding {
        BundleFinding {
            path: path.into(),
            code: self.code().to_owned(),
            message: self.to_string(),
        }
    }
}

/// The JSON pointer to a policy file.
pub(crate) fn policy_path(file: &str) -> String {
    format!("/policies/{}", file.replace('~', "~0").replace('/', "~1"))
}

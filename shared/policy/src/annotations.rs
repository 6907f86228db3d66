//! What a policy says beside permitting or forbidding.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use contracts::{facts::Eligible, ids::PrincipalId, plan::RiskTier};
use serde::Serialize;

use crate::fault::Fault;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    /// `@reason("…")`: for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `@risk("low|medium|high|blocked")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskTier>,
    /// `@quorum("2")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// `@approvers("grant:execution.approve, principal:alice")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<BTreeSet<Eligible>>,
    /// `@expires("24h")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after_ms: Option<u64>,
}

/// Nobody gathers more votes than this for one step.
const QUORUM_MAX: u32 = 20;

/// A question nobody has answered in a quarter of a year is no longer the same question.
const EXPIRES_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1000;

/// A reason is a sentence, repeated in each verdict.
const REASON_CHARS_MAX: usize = 300;

impl Annotations {
    /// Of a policy that is called `id` and stands at `at`.
    pub fn parse(policy: &Policy, id: &str, at: &str) -> (Self, Vec<Fault>) {
        let mut said = Self::default();
        let mut faults = Vec::new();
        let mut annotations: Vec<_> = policy.annotations().collect();
        annotations.sort_unstable();
        for (name, value) in annotations {
            let mut malformed = |name, expected| {
                faults.push(Fault::AnnotationMalformed {
                    at: at.to_owned(),
                    policy: id.to_owned(),
                    name,
                    value: value.chars().filter(|c| !c.is_control()).take(64).collect(),
                    expected,
                });
            };
            match name {
                "id" | "description" => {}
                "reason" => match reason(value) {
                    Some(reason) => said.reason = Some(reason),
                    None => malformed("reason", "say why in 1 to 300 characters on one line"),
                },
                "risk" => match risk(value) {
                    Some(risk) => said.risk = Some(risk),
                    None => malformed("risk", "use `low`, `medium`, `high` or `blocked`"),
                },
                "quorum" => match quorum(value) {
                    Some(quorum) => said.quorum = Some(quorum),
                    None => malformed("quorum", "use a number from 1 to 20"),
                },
                "approvers" => match approvers(value) {
                    Some(approvers) => said.approvers = Some(approvers),
                    None => malformed(
                        "approvers",
                        "use a list such as `grant:execution.approve, principal:alice`",
                    ),
                },
                "expires" => match expires(value) {
                    Some(ms) => said.expires_after_ms = Some(ms),
                    None => malformed(
                        "expires",
                        "use a time up to 90 days, such as `30m`, `24h` or `7d`",
                    ),
                },
                unknown => faults.push(Fault::AnnotationUnknown {
                    at: at.to_owned(),
                    policy: id.to_owned(),
                    name: unknown.to_owned(),
                }),
            }
        }
        if let (Some(quorum), Some(approvers)) = (said.quorum, &said.approvers)
            && !can_reach(quorum, approvers)
        {
            faults.push(Fault::QuorumUnreachable {
                at: at.to_owned(),
                policy: id.to_owned(),
                quorum,
                approvers: approvers.len(),
            });
        }
        (said, faults)
    }
}

/// Whether that many different people can be eligible. A grant may be held by any number.
pub(crate) fn can_reach(quorum: u32, eligible: &BTreeSet<Eligible>) -> bool {
    let named = u32::try_from(eligible.len()).unwrap_or(u32::MAX);
    named >= quorum
        || eligible
            .iter()
            .any(|eligible| matches!(eligible, Eligible::Grant(_)))
}

fn reason(text: &str) -> Option<String> {
    let length = text.chars().count();
    let fits = !text.trim().is_empty() && length <= REASON_CHARS_MAX;
    (fits && !text.chars().any(char::is_control)).then(|| text.trim().to_owned())
}

fn risk(text: &str) -> Option<RiskTier> {
    [
        RiskTier::Low,
        RiskTier::Medium,
        RiskTier::High,
        RiskTier::Blocked,
    ]
    .into_iter()
    .find(|tier| tier.as_str() == text)
}

fn quorum(text: &str) -> Option<u32> {
    number(text)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|quorum| (1..=QUORUM_MAX).contains(quorum))
}

fn approvers(text: &str) -> Option<BTreeSet<Eligible>> {
    text.split(',')
        .map(str::trim)
        .map(|item| match item.split_once(':') {
            Some(("grant", grant)) if is_grant(grant) => Some(Eligible::Grant(grant.to_owned())),
            Some(("principal", id)) => id.parse::<PrincipalId>().ok().map(Eligible::Principal),
            _ => None,
        })
        .collect()
}

fn is_grant(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn expires(text: &str) -> Option<u64> {
    let unit_ms = match text.as_bytes().last()? {
        b's' => 1_000,
        b'm' => 60_000,
        b'h' => 3_600_000,
        b'd' => 86_400_000,
        _ => return None,
    };
    let ms = number(text.get(..text.len() - 1)?)?.checked_mul(unit_ms)?;
    (1..=EXPIRES_MS_MAX).contains(&ms).then_some(ms)
}

/// Plain digits: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    digits.then(|| text.parse().ok())?
}

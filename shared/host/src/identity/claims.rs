//! What the claims of a token mean: whether it counts now, here, and whose it is.

use std::{collections::BTreeSet, fmt::Write as _};

use contracts::{
    facts::{Actor, ActorType},
    ids::{PrincipalId, WorkspaceId},
    registry::Grant,
    time::Timestamp,
};
use serde_json::Value;

use super::{
    Invalid,
    document::{Mapped, Provider},
};
use crate::principals::Principal;

/// A principal's claims of a token whose signature is good.
pub fn principal(
    provider: &Provider,
    claims: &Value,
    now: Timestamp,
) -> Result<Principal, Invalid> {
    check_times(provider, claims, now)?;
    check_audience(provider, claims)?;
    let named = provider.principal.of(claims).and_then(Value::as_str);
    let named = named.ok_or(Invalid::NoPrincipal)?;
    check_revoked(provider, claims, named)?;
    let kind = kind(provider, claims)?;
    Ok(Principal {
        actor: Actor {
            via: None,
            kind,
            id: id(&provider.name, named)?,
            grants: grants(provider, claims, kind),
        },
        workspace: workspace(provider, claims)?,
    })
}

fn check_times(provider: &Provider, claims: &Value, now: Timestamp) -> Result<(), Invalid> {
    let skew = u64::from(provider.clock_skew_seconds);
    let now = u64::try_from(now.as_millis()).unwrap_or(0) / 1000;
    let end = seconds(claims, "exp")?.ok_or(Invalid::NoEnd)?;
    if now >= end.saturating_add(skew) {
        return Err(Invalid::Expired);
    }
    if seconds(claims, "nbf")?.is_some_and(|from| now.saturating_add(skew) < from) {
        return Err(Invalid::NotYet);
    }
    let issued = seconds(claims, "iat")?;
    if issued.is_some_and(|at| now.saturating_add(skew) < at) {
        return Err(Invalid::NotYet);
    }
    let lifetime = end.saturating_sub(issued.unwrap_or(now));
    if lifetime > u64::from(provider.max_lifetime_seconds) {
        return Err(Invalid::LivesTooLong);
    }
    Ok(())
}

/// Seconds since 1970. Some issuers write fractions, which are cut off.
fn seconds(claims: &Value, name: &str) -> Result<Option<u64>, Invalid> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let fraction = || {
        let whole = value.as_f64()?.trunc();
        whole.to_string().parse().ok()
    };
    match value.as_u64().or_else(fraction) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(Invalid::Times),
    }
}

fn check_audience(provider: &Provider, claims: &Value) -> Result<(), Invalid> {
    let is_ours = |audience: &Value| {
        let audience = audience.as_str();
        audience.is_some_and(|it| provider.audiences.iter().any(|ours| ours == it))
    };
    let reached = match claims.get("aud") {
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string) && audiences.iter().any(is_ours)
        }
        Some(one) => is_ours(one),
        None => false,
    };
    if reached {
        Ok(())
    } else {
        Err(Invalid::Audience)
    }
}

fn check_revoked(provider: &Provider, claims: &Value, named: &str) -> Result<(), Invalid> {
    let among = |revoked: &[String], text: Option<&str>| {
        text.is_some_and(|text| revoked.iter().any(|it| it == text))
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let revoked = &provider.revoked;
    if among(&revoked.ids, text("jti"))
        || among(&revoked.subjects, text("sub"))
        || among(&revoked.subjects, Some(named))
    {
        return Err(Invalid::Revoked);
    }
    Ok(())
}

fn workspace(provider: &Provider, claims: &Value) -> Result<WorkspaceId, Invalid> {
    let rule = &provider.workspace;
    if let Some(constant) = &rule.constant {
        return Ok(constant.clone());
    }
    let named = rule.claim.as_ref().and_then(|claim| claim.of(claims));
    let named = named.and_then(Value::as_str).ok_or(Invalid::NoWorkspace)?;
    let workspace = named.parse().map_err(|_| Invalid::NoWorkspace)?;
    if rule.allows(&workspace) {
        Ok(workspace)
    } else {
        Err(Invalid::Workspace)
    }
}

fn kind(provider: &Provider, claims: &Value) -> Result<ActorType, Invalid> {
    let rule = &provider.kind;
    if let Some(constant) = rule.constant {
        return Ok(constant);
    }
    let named = rule.claim.as_ref().and_then(|claim| claim.of(claims));
    let named = named.and_then(Value::as_str);
    let kind = named.and_then(|named| rule.values.get(named));
    kind.copied().ok_or(Invalid::NoType)
}

/// Nobody's but this provider's, and another one for every other claim: what an id cannot hold is
/// written as `+` and two hexadecimal digits per byte.
fn id(provider: &str, named: &str) -> Result<PrincipalId, Invalid> {
    if named.is_empty() {
        return Err(Invalid::NoPrincipal);
    }
    let mut id = format!("{provider}:");
    for byte in named.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b':' | b'-') {
            id.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(id, "+{byte:02X}");
        }
    }
    id.parse().map_err(|_| Invalid::LongPrincipal)
}

/// Nothing but what the file names, and no vote for an agent.
fn grants(provider: &Provider, claims: &Value, kind: ActorType) -> BTreeSet<String> {
    let roles = mapped(provider.roles.as_ref(), claims);
    let of_roles = roles
        .flat_map(|role| role.grants())
        .map(ToString::to_string);
    let mut grants: BTreeSet<String> = of_roles.collect();
    grants.extend(mapped(provider.grants.as_ref(), claims).cloned());
    for grant in Grant::ALL {
        if !grant.may_be_held_by(kind) {
            grants.remove(grant.as_str());
        }
    }
    grants
}

fn mapped<'a, T>(
    rule: Option<&'a Mapped<T>>,
    claims: &'a Value,
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    rule.into_iter().flat_map(|rule| {
        let names: Vec<&str> = match rule.claim.of(claims) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(names)) => names.split(' ').collect(),
            Some(_) | None => Vec::new(),
        };
        let values = names.into_iter().filter_map(|name| rule.values.get(name));
        values.flatten()
    })
}

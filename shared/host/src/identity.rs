//! Who calls with a token that an identity provider has signed (a JWT, as OIDC and OAuth 2.0 use
//! them), under the rules of a file.
//!
//! Nothing is believed before the signature is verified but which provider to hold it against. A
//! provider that is not named lets nobody in, and what a claim does not map to is not granted.
//! Deliberately absent: secrets shared with a provider (HMAC), tokens without a signature,
//! encrypted ones, and asking the provider about a token (introspection): one is good until its
//! end, but for those that the file revokes.
//!
//! * [`document`]: the file
//! * [`token`]: a token taken apart
//! * [`key_set`], [`keys`]: the provider's public keys, and signatures
//! * [`claims`]: what a good token says

mod claims;
pub mod document;
mod key_set;
pub mod keys;
pub mod token;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contracts::{plan::Finding, time::Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use self::{
    document::{Document, Provider},
    key_set::KeySet,
    token::Token,
};
use crate::{
    engine::chain,
    http::input::{INVALID_VALUE, finding},
    principals::Principal,
    watched::Watched,
};

pub use self::token::{BYTES_MAX as TOKEN_BYTES_MAX, is_alike};

/// Refused tokens that are told of in the log each second: who sends garbage shall not fill it.
const TOLD_A_SECOND_MAX: u32 = 20;

/// Why a token is not good. Said to the caller, so it holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the token is too long: it has at most {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is not three parts of base64url, two of them JSON objects")]
    Form,
    #[error("the token is signed with an algorithm that is not allowed")]
    Algorithm,
    #[error("the token has a critical header that is not understood")]
    Critical,
    #[error("the token is of another type (`typ`)")]
    Type,
    #[error("the issuer of the token is not known")]
    Issuer,
    #[error("the keys of the issuer could not be had: try again later")]
    NoKeys,
    #[error("the token is signed with a key that is not known (`kid`)")]
    UnknownKey,
    #[error("the token names a key that is not fit for its algorithm")]
    UnfitKey,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token does not say until when it is good (`exp`)")]
    NoEnd,
    #[error("a time in the token is not a number of seconds")]
    Times,
    #[error("the token has expired: ask for a new one")]
    Expired,
    #[error("the token is not good yet: compare the clocks")]
    NotYet,
    #[error("the token is good for longer than the issuer may make them")]
    LivesTooLong,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the token was revoked")]
    Revoked,
    #[error("the token names no principal")]
    NoPrincipal,
    #[error("the token names a principal with too long a name")]
    LongPrincipal,
    #[error("the token names a principal who is known by other tokens")]
    LocalPrincipal,
    #[error("the token names no workspace")]
    NoWorkspace,
    #[error("the token names a workspace that the issuer has no say in")]
    Workspace,
    #[error("the token does not say whether its principal is a user, a service or an agent")]
    NoType,
}

#[derive(Debug, thiserror::Error)]
pub enum ProvidersError {
    #[error("cannot read the identity providers in `{path}`")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "the identity providers in `{path}` are not as they should be: {}",
        listed(faults)
    )]
    Faulty { path: String, faults: Vec<Finding> },
}

fn listed(faults: &[Finding]) -> String {
    let faults = faults.iter().map(|fault| match fault.path.as_str() {
        "" => fault.message.clone(),
        path => format!("`{path}`: {}", fault.message),
    });
    faults.collect::<Vec<_>>().join("; ")
}

/// The providers of the file, read again when it changes.
pub struct Providers {
    path: PathBuf,
    watched: Watched<Vec<Trusted>>,
    /// Of a file that is refused because of others: opened once, however often it is read again.
    waiting: Mutex<Vec<Trusted>>,
    told: Mutex<Told>,
}

#[derive(Clone)]
struct Trusted {
    provider: Provider,
    keys: Arc<KeySet>,
}

struct Told {
    since: Instant,
    lines: u32,
}

impl Providers {
    /// Reads the file, which has to be there.
    pub fn load(path: &Path) -> Result<Self, ProvidersError> {
        let paths = vec![path.to_owned()];
        let mut waiting = Vec::new();
        let read = || read(path, &[], &mut waiting);
        Ok(Self {
            path: path.to_owned(),
            watched: Watched::load("the identity providers stay", paths, read)?,
            waiting: Mutex::default(),
            told: Mutex::new(Told {
                since: Instant::now(),
                lines: 0,
            }),
        })
    }

    /// Whose token it is, if it is good now.
    pub async fn authenticate(&self, text: &str, now: Timestamp) -> Result<Principal, Invalid> {
        match Token::parse(text) {
            Ok(token) => {
                let checked = self.check(&token, now).await;
                checked.inspect_err(|reason| self.tell(*reason, Some(&token)))
            }
            Err(reason) => {
                self.tell(reason, None);
                Err(reason)
            }
        }
    }

    async fn check(&self, token: &Token<'_>, now: Timestamp) -> Result<Principal, Invalid> {
        let all = self.watched.current(|before| {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            read(&self.path, before, &mut waiting)
        });
        let issuer = token.claims.get("iss").and_then(Value::as_str);
        let trusted = all
            .iter()
            .find(|trusted| Some(trusted.provider.issuer.as_str()) == issuer)
            .ok_or(Invalid::Issuer)?;
        let provider = &trusted.provider;
        let header = &token.header;
        if !provider.algorithms.contains(&header.algorithm) {
            return Err(Invalid::Algorithm);
        }
        if header
            .kind
            .as_ref()
            .is_some_and(|kind| !is_among(&provider.types, kind))
        {
            return Err(Invalid::Type);
        }
        trusted.keys.verify(token).await?;
        claims::principal(provider, &token.claims, now)
    }

    /// For the operator, who sees why a caller is refused. What the caller wrote is quoted.
    pub(crate) fn tell(&self, reason: Invalid, token: Option<&Token<'_>>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.elapsed() >= Duration::from_secs(1) {
            if let Some(more @ 1..) = told.lines.checked_sub(TOLD_A_SECOND_MAX) {
                tracing::info!(more, "tokens were refused that are not told of one by one");
            }
            *told = Told {
                since: Instant::now(),
                lines: 0,
            };
        }
        told.lines = told.lines.saturating_add(1);
        if told.lines > TOLD_A_SECOND_MAX {
            return;
        }
        let issuer = token.and_then(|token| token.claims.get("iss")?.as_str());
        let kid = token.and_then(|token| token.header.key.as_deref());
        tracing::info!(
            issuer = issuer.map(shown),
            kid = kid.map(shown),
            "a token is refused: {reason}"
        );
    }
}

/// The media type may be written in full, and in any case (RFC 7515, section 4.1.9).
fn is_among(types: &[String], found: &str) -> bool {
    let short = |text: &str| {
        let lower = text.to_ascii_lowercase();
        lower
            .strip_prefix("application/")
            .unwrap_or(&lower)
            .to_owned()
    };
    types.iter().any(|allowed| short(allowed) == short(found))
}

fn shown(text: &str) -> String {
    let clipped: String = text.chars().take(100).collect();
    clipped.escape_debug().to_string()
}

/// Keys that were had are kept where the file says the same of them as before, be it in use or
/// `waiting` for others to be put right.
fn read(
    path: &Path,
    before: &[Trusted],
    waiting: &mut Vec<Trusted>,
) -> Result<Vec<Trusted>, ProvidersError> {
    let shown = || path.display().to_string();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // Taken away while it is in use: nobody is vouched for any more.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !before.is_empty() => {
            tracing::error!(
                path = shown(),
                "the identity providers are gone: nobody is let in by them"
            );
            return Ok(Vec::new());
        }
        Err(source) => {
            return Err(ProvidersError::Unreadable {
                path: shown(),
                source,
            });
        }
    };
    let refused = |faults| ProvidersError::Faulty {
        path: shown(),
        faults,
    };
    let document = Document::parse(&bytes).map_err(refused)?;
    let mut trusted = Vec::new();
    let mut faults = Vec::new();
    for (at, provider) in document.providers.into_iter().enumerate() {
        let kept = before.iter().chain(waiting.iter()).find(|held| {
            held.provider.keys == provider.keys && held.provider.issuer == provider.issuer
        });
        let keys = match kept {
            Some(held) => Ok(Arc::clone(&held.keys)),
            None => KeySet::open(&provider.keys).map(Arc::new),
        };
        match keys {
            Ok(keys) => trusted.push(Trusted { provider, keys }),
            Err(error) => {
                let place = format!("/providers/{at}/keys");
                faults.push(finding(place, INVALID_VALUE, chain(&error)));
            }
        }
    }
    if !faults.is_empty() {
        *waiting = trusted;
        return Err(refused(faults));
    }
    waiting.clear();
    let names: Vec<_> = trusted.iter().map(|it| it.provider.name.as_str()).collect();
    tracing::info!(
        file = shown(),
        providers = names.join(", "),
        "identity providers loaded"
    );
    Ok(trusted)
}

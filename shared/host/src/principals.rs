//! Who calls: bearer tokens from a file, each the credential of one principal in one workspace;
//! and beside them those that an identity provider signs, see [`crate::identity`].
//!
//! The file holds SHA-256 hashes, so whoever reads it cannot call. A plain hash is right here, and
//! a slow one would only cost: a token is at least 32 random bytes, which nobody tries out.
//!
//! No file, an empty one, or one that has gone: everybody is refused, and the log says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use contracts::{
    canonical::Digest,
    facts::{Actor, ActorType},
    ids::{PrincipalId, WorkspaceId},
    problem::{Code, Problem},
    registry::{Grant, Operation, Role},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::{
    config::{Config, names},
    identity::{self, Invalid, Providers},
    watched::Watched,
};

/// The shortest token that is looked at: 32 bytes are longer than this in any text form.
const TOKEN_CHARS_MIN: usize = 32;

/// Someone who has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub actor: Actor,
    /// From the credential, never from what was sent.
    pub workspace: WorkspaceId,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    pub principals: Vec<Credential>,
}

impl Document {
    /// What the text says, with roles and grants as they stand there; `from` is where it was found.
    pub fn parse(text: &str, from: &str) -> Result<Self, PrincipalsError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let document: Self =
            serde_json::from_str(text).map_err(|source| PrincipalsError::Malformed {
                path: from.to_owned(),
                source,
            })?;
        let faults = contradictions(&document.principals);
        if faults.is_empty() {
            Ok(document)
        } else {
            Err(PrincipalsError::Contradictory {
                path: from.to_owned(),
                faults,
            })
        }
    }

    /// Whose they are.
    pub fn workspaces(&self) -> BTreeSet<WorkspaceId> {
        let workspaces = self.principals.iter().map(|held| &held.workspace);
        workspaces.cloned().collect()
    }

    /// Reads the file. A faulty one is an error; none, or an empty one, is nobody.
    pub fn read(path: &Path) -> Result<Self, PrincipalsError> {
        Ok(Self {
            principals: read(path)?,
        })
    }

    /// As [`Self::read`], with roles and grants as they stand there and not as they count.
    pub fn read_as_written(path: &Path) -> Result<Self, PrincipalsError> {
        Ok(Self {
            principals: written(path)?,
        })
    }
}

/// One token. A principal may have several, so that they can be changed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    pub id: PrincipalId,
    #[serde(rename = "type")]
    pub kind: ActorType,
    pub workspace: WorkspaceId,
    /// What these stand for is granted too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Role>,
    /// Those of the registry, and any others that policies name as approvers.
    pub grants: BTreeSet<String>,
    /// [`token_hash`].
    pub token_hash: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

/// A token of 32 random bytes, as it is sent.
pub fn token(random: [u8; 32]) -> String {
    Digest::from_bytes(random).to_string()
}

/// What the file says of a token.
pub fn token_hash(token: &str) -> Digest {
    Digest::of(token.as_bytes())
}

#[derive(Debug, thiserror::Error)]
pub enum PrincipalsError {
    #[error("cannot read the principals in `{path}`")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("the principals in `{path}` are not as they should be")]
    Malformed {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the principals in `{path}` contradict each other: {}", faults.join("; "))]
    Contradictory { path: String, faults: Vec<String> },
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    #[error("there is no `Authorization` header: send `Authorization: Bearer <token>`")]
    Missing,
    #[error("the `Authorization` header is not one `Bearer <token>`")]
    Malformed,
    #[error("the token is not known")]
    Unknown,
    #[error("the token has expired: ask for a new one")]
    Expired,
    #[error("{0}")]
    Invalid(Invalid),
}

impl Unauthenticated {
    /// Whether there was a token, and not a good one.
    pub fn is_of_token(self) -> bool {
        match self {
            Self::Missing | Self::Malformed => false,
            Self::Unknown | Self::Expired | Self::Invalid(_) => true,
        }
    }
}

impl From<Unauthenticated> for Problem {
    fn from(error: Unauthenticated) -> Self {
        Self::new(Code::Unauthenticated, error.to_string())
    }
}

impl Principal {
    pub fn require(&self, grant: Grant) -> Result<(), Problem> {
        if grant.is_held_by(&self.actor) {
            Ok(())
        } else {
            Err(Problem::missing_grant(grant))
        }
    }

    /// Whether it may ask for `operation` with this input.
    pub fn authorise(
        &self,
        operation: &Operation,
        input: &Map<String, Value>,
    ) -> Result<(), Problem> {
        operation
            .authorise(&self.actor, input)
            .map_err(Problem::missing_grant)
    }
}

/// The principals of the file, read again when it changes, and those of identity providers.
pub struct Principals {
    path: Option<PathBuf>,
    watched: Watched<Vec<Credential>>,
    providers: Option<Providers>,
}

impl Principals {
    /// Reads the file. A faulty one is an error; none, or an empty one, is nobody.
    pub fn load(path: Option<&Path>) -> Result<Self, PrincipalsError> {
        let paths = path.map(Path::to_owned).into_iter().collect();
        let watched = Watched::load("the principals stay", paths, || match path {
            Some(path) => read(path),
            None => Ok(Vec::new()),
        })?;
        Ok(Self {
            path: path.map(Path::to_owned),
            watched,
            providers: None,
        })
    }

    /// As the configuration names them: the file's, and those whose tokens a provider signs. With
    /// neither, everybody is refused, and the log says so.
    pub fn configured(config: &Config) -> anyhow::Result<Self> {
        let providers = config.identity_providers_file.as_deref();
        let principals = Self {
            providers: providers.map(Providers::load).transpose()?,
            ..Self::load(config.principals_file.as_deref())?
        };
        if principals.providers.is_none() {
            warn_of_nobody(config.principals_file.as_deref(), &principals.current());
        }
        Ok(principals)
    }

    /// Those of a document that is no file, and does not change.
    pub fn of(document: Document) -> Self {
        let credentials = document.principals.into_iter();
        let credentials = credentials.map(with_roles).map(without_forbidden);
        Self {
            path: None,
            watched: Watched::fixed(credentials.collect()),
            providers: None,
        }
    }

    /// Whose token the request carries. It may be that a provider's keys are fetched first.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Principal, Unauthenticated> {
        let token = bearer(headers)?;
        let credentials = self.current();
        // What is longer is none of the file's, and is not worth a hash.
        let hash = (token.len() <= identity::TOKEN_BYTES_MAX).then(|| token_hash(token));
        let Some(found) = hash.and_then(|hash| find(&credentials, &hash)) else {
            return self.authenticate_signed(token, now).await;
        };
        if found.not_after.is_some_and(|end| now >= end) {
            return Err(Unauthenticated::Expired);
        }
        Ok(Principal {
            actor: Actor {
                via: None,
                kind: found.kind,
                id: found.id.clone(),
                grants: found.grants.clone(),
            },
            workspace: found.workspace.clone(),
        })
    }

    async fn authenticate_signed(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Principal, Unauthenticated> {
        let providers = self.providers.as_ref();
        let Some(providers) = providers.filter(|_| identity::is_alike(token)) else {
            return Err(Unauthenticated::Unknown);
        };
        let authenticated = providers.authenticate(token, now).await;
        let principal = authenticated.map_err(Unauthenticated::Invalid)?;
        let local = self
            .current()
            .iter()
            .any(|held| held.id == principal.actor.id && held.workspace == principal.workspace);
        if local {
            providers.tell(Invalid::LocalPrincipal, None);
            return Err(Unauthenticated::Invalid(Invalid::LocalPrincipal));
        }
        Ok(principal)
    }

    /// The principal whom the broker has authenticated under this name: with the grants of its
    /// credentials that have not expired, and nobody without one.
    pub fn named(
        &self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
        now: Timestamp,
    ) -> Option<Principal> {
        let credentials = self.current();
        let valid: Vec<_> = credentials
            .iter()
            .filter(|held| held.id == *id && held.workspace == *workspace)
            .filter(|held| held.not_after.is_none_or(|end| now < end))
            .collect();
        let grants = valid.iter().flat_map(|held| &held.grants);
        Some(Principal {
            actor: Actor {
                via: None,
                kind: valid.first()?.kind,
                id: id.clone(),
                grants: grants.cloned().collect(),
            },
            workspace: workspace.clone(),
        })
    }

    /// The workspaces of the file's principals: those that the broker may know.
    pub fn workspaces(&self) -> BTreeSet<WorkspaceId> {
        let credentials = self.current();
        let workspaces = credentials.iter().map(|held| &held.workspace);
        workspaces.cloned().collect()
    }

    /// Who acts when `principal` names `named` as the one who does. With the grant `act-as` that
    /// may be someone else, with the grants that both hold: a name is lent, never a grant. Someone
    /// the file does not know is a user without grants.
    pub fn acting(
        &self,
        principal: &Principal,
        named: Option<&PrincipalId>,
        now: Timestamp,
    ) -> Result<Actor, Problem> {
        let Some(named) = named.filter(|named| **named != principal.actor.id) else {
            return Ok(principal.actor.clone());
        };
        if !Grant::ActAs.is_held_by(&principal.actor) {
            return Err(Problem::new(
                Code::ActorMismatch,
                format!(
                    "the credential is that of `{}`: name no one else, or get the grant `act-as`",
                    principal.actor.id
                ),
            ));
        }
        let credentials = self.current();
        let theirs: Vec<_> = credentials
            .iter()
            .filter(|held| held.id == *named && held.workspace == principal.workspace)
            .collect();
        let shared = theirs
            .iter()
            .filter(|held| held.not_after.is_none_or(|end| now < end))
            .flat_map(|held| held.grants.intersection(&principal.actor.grants));
        Ok(Actor {
            via: Some(principal.actor.id.clone()),
            // Also of one that has expired: an agent does not become a person by it.
            kind: theirs.first().map_or(ActorType::User, |held| held.kind),
            id: named.clone(),
            grants: shared.cloned().collect(),
        })
    }

    fn current(&self) -> Arc<Vec<Credential>> {
        self.watched.current(|_| {
            let Some(path) = &self.path else {
                return Ok(Vec::new());
            };
            let credentials = read(path)?;
            if self.providers.is_none() {
                warn_of_nobody(Some(path), &credentials);
            }
            Ok::<_, PrincipalsError>(credentials)
        })
    }
}

/// Compares with all of them, however soon one fits.
fn find<'a>(credentials: &'a [Credential], hash: &Digest) -> Option<&'a Credential> {
    let mut index = 0_u64;
    let mut found = Choice::from(0);
    for (at, held) in (0_u64..).zip(credentials) {
        let same = held.token_hash.bytes().ct_eq(hash.bytes());
        index.conditional_assign(&at, same);
        found |= same;
    }
    if bool::from(found) {
        credentials.get(usize::try_from(index).ok()?)
    } else {
        None
    }
}

/// The token that a request carries, good or not.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Unauthenticated> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Unauthenticated::Missing)?;
    if values.next().is_some() {
        return Err(Unauthenticated::Malformed);
    }
    let text = value.to_str().map_err(|_| Unauthenticated::Malformed)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_start_matches(' ');
            if token.contains(' ') || token.is_empty() {
                Err(Unauthenticated::Malformed)
            } else if token.len() < TOKEN_CHARS_MIN {
                Err(Unauthenticated::Unknown)
            } else {
                Ok(token)
            }
        }
        Some(_) | None => Err(Unauthenticated::Malformed),
    }
}

fn read(path: &Path) -> Result<Vec<Credential>, PrincipalsError> {
    let credentials = written(path)?.into_iter();
    let credentials: Vec<_> = credentials.map(with_roles).map(without_forbidden).collect();
    tracing::info!(
        file = %path.display(),
        credentials = credentials.len(),
        "principals loaded"
    );
    Ok(credentials)
}

fn written(path: &Path) -> Result<Vec<Credential>, PrincipalsError> {
    let shown = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(PrincipalsError::Unreadable {
                path: shown(),
                source,
            });
        }
    };
    Ok(Document::parse(&text, &shown())?.principals)
}

/// With the grants that its roles stand for.
fn with_roles(mut held: Credential) -> Credential {
    let granted = held.roles.iter().flat_map(|role| role.grants());
    held.grants.extend(granted.map(ToString::to_string));
    held
}

fn contradictions(credentials: &[Credential]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut tokens = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for held in credentials {
        if let Some(other) = tokens.insert(held.token_hash, &held.id) {
            faults.push(format!("`{other}` and `{}` have the same token", held.id));
        }
        let kind = *kinds
            .entry((&held.workspace, &held.id))
            .or_insert(held.kind);
        if kind != held.kind {
            faults.push(format!(
                "`{}` has two types in `{}`",
                held.id, held.workspace
            ));
        }
    }
    faults
}

/// Takes away what a principal of this type may not hold, and says so.
fn without_forbidden(mut held: Credential) -> Credential {
    for grant in Grant::ALL {
        if !grant.may_be_held_by(held.kind) && held.grants.remove(grant.as_str()) {
            tracing::warn!(
                principal = %held.id,
                workspace = %held.workspace,
                "the grant `{grant}` is ignored: no agent may hold it; take it out of the file"
            );
        }
    }
    held
}

fn warn_of_nobody(path: Option<&Path>, credentials: &[Credential]) {
    if credentials.is_empty() {
        let from = path.map_or_else(|| "(no file)".to_owned(), |path| path.display().to_string());
        tracing::error!(
            file = from,
            "no principals are configured: every request is refused; name them in a file and set \
             `{}`",
            names::PRINCIPALS_FILE
        );
    }
}

//! Where a provider's keys come from: a file, or a URL whose answer is kept.
//!
//! A key that is not known is looked for once in a while, however many tokens name one or are signed
//! with one that has no name; and keys that were had are kept when they cannot be had again.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, StatusCode, redirect::Policy};
use tokio::{sync::Mutex as Turn, time::Instant};

use super::{
    Invalid, document,
    keys::{BYTES_MAX, Keys, Unreadable},
    token::Token,
};
use crate::{engine::chain, watched::Watched};

/// A key set is one small answer; a caller waits for it.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    #[error("cannot read `{path}`")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is no key set")]
    Unreadable {
        path: String,
        #[source]
        source: Unreadable,
    },
    #[error("`{path}` holds no certificate authority")]
    Authority {
        path: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
}

pub enum KeySet {
    File { path: PathBuf, keys: Watched<Keys> },
    Url(Arc<Remote>),
}

impl KeySet {
    /// A file has to be there by now. What a URL answers does not: the provider may start later.
    pub fn open(keys: &document::Keys) -> Result<Self, KeySetError> {
        if let Some(url) = &keys.url {
            let remote = Arc::new(Remote::open(url, keys)?);
            let first = Arc::clone(&remote);
            tokio::spawn(async move { first.refresh().await });
            return Ok(Self::Url(remote));
        }
        let path = keys.file.clone().unwrap_or_default();
        let paths = vec![path.clone()];
        let keys = Watched::load("the keys of a provider stay", paths, || read(&path))?;
        Ok(Self::File { path, keys })
    }

    /// Whether the token is signed with one of these keys.
    pub async fn verify(&self, token: &Token<'_>) -> Result<(), Invalid> {
        let id = token.header.key.as_deref();
        let verify =
            |keys: &Keys| keys.verify(id, token.header.algorithm, token.signed, &token.signature);
        let remote = match self {
            Self::File { path, keys } => return verify(&keys.current(|_| read(path))),
            Self::Url(remote) => remote,
        };
        let keys = remote.with(id).await?;
        let verdict = verify(&keys);
        // A token that names no key cannot say that it is signed with a new one.
        if verdict.is_err()
            && id.is_none()
            && let Some(newer) = remote.newer_than(&keys).await
        {
            return verify(&newer);
        }
        verdict
    }
}

fn read(path: &Path) -> Result<Keys, KeySetError> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).map_err(|source| KeySetError::File {
        path: shown(),
        source,
    })?;
    let keys = Keys::parse(&bytes).map_err(|source| KeySetError::Unreadable {
        path: shown(),
        source,
    })?;
    announce(&keys, &shown());
    Ok(keys)
}

fn announce(keys: &Keys, from: &str) {
    for (kid, reason) in keys.faults() {
        tracing::warn!(from, ?kid, "a key cannot be used: {reason}");
    }
    tracing::info!(from, keys = keys.count(), "keys of a provider loaded");
}

/// Keys at a URL.
pub struct Remote {
    url: String,
    /// Who vouches for the server at the URL, where that is said.
    ca_file: Option<PathBuf>,
    /// Made anew when that file has changed.
    client: Watched<reqwest::Client>,
    refetch_after: Duration,
    age_max: Duration,
    state: Mutex<State>,
    /// Held by the one request that is under way.
    turn: Arc<Turn<()>>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<Keys>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// How many times their greatest age keys are used while no newer ones can be had.
const KEPT_TIMES: u32 = 6;

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no usable answer")]
    Http(#[source] reqwest::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is no key set")]
    Unreadable(#[source] Unreadable),
}

impl Remote {
    fn open(url: &str, keys: &document::Keys) -> Result<Self, KeySetError> {
        let ca_file = keys.ca_file.clone();
        let paths = ca_file.clone().into_iter().collect();
        let connect = || client(url, ca_file.as_deref());
        Ok(Self {
            url: url.to_owned(),
            client: Watched::load("who vouches for a provider stays", paths, connect)?,
            ca_file,
            refetch_after: Duration::from_secs(keys.refetch_seconds.into()),
            age_max: Duration::from_secs(keys.max_age_seconds.into()),
            state: Mutex::default(),
            turn: Arc::default(),
        })
    }

    /// The keys, fetched anew if they are old or this one is not among them, and it is time to look
    /// again. A key that was taken back is good for no request once the keys are old, but while the
    /// provider cannot be reached; and then not for ever.
    async fn with(self: &Arc<Self>, id: Option<&str>) -> Result<Arc<Keys>, Invalid> {
        if let Some(keys) = self.younger_than(self.age_max).filter(|keys| keys.has(id)) {
            return Ok(keys);
        }
        self.refresh().await;
        let kept = self.age_max * KEPT_TIMES;
        self.younger_than(kept).ok_or(Invalid::NoKeys)
    }

    /// Keys that were fetched after these, if it is time to look for some.
    async fn newer_than(self: &Arc<Self>, keys: &Arc<Keys>) -> Option<Arc<Keys>> {
        self.refresh().await;
        let newer = self.state().keys.clone();
        newer.filter(|newer| !Arc::ptr_eq(newer, keys))
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<Keys>> {
        let state = self.state();
        let is_young = state.fetched.is_some_and(|at| at.elapsed() < age);
        state.keys.clone().filter(|_| is_young)
    }

    /// Fetches, or waits until another one has. A caller that goes away breaks nothing off.
    async fn refresh(self: &Arc<Self>) {
        let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() else {
            drop(self.turn.lock().await);
            return;
        };
        if !self.is_due() {
            return;
        }
        let this = Arc::clone(self);
        let fetching = tokio::spawn(async move {
            this.renew().await;
            drop(turn);
        });
        let _ = fetching.await;
    }

    fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state
            .tried
            .is_none_or(|at| at.elapsed() >= self.refetch_after);
        if is_due {
            state.tried = Some(Instant::now());
        }
        is_due
    }

    async fn renew(&self) {
        match self.fetch().await {
            Ok(keys) => {
                announce(&keys, &self.url);
                let mut state = self.state();
                state.keys = Some(Arc::new(keys));
                state.fetched = Some(Instant::now());
            }
            Err(error) => tracing::error!(
                from = self.url,
                "the keys of a provider stay as before: {}",
                chain(&error)
            ),
        }
    }

    async fn fetch(&self) -> Result<Keys, FetchError> {
        let connect = |_: &_| client(&self.url, self.ca_file.as_deref());
        let answer = self.client.current(connect).get(&self.url).send().await;
        let mut answer = answer.map_err(FetchError::Http)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(FetchError::Http)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > BYTES_MAX {
                return Err(FetchError::Unreadable(Unreadable::TooLong));
            }
        }
        Keys::parse(&bytes).map_err(FetchError::Unreadable)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(url: &str, ca_file: Option<&Path>) -> Result<reqwest::Client, KeySetError> {
    let mut builder = reqwest::Client::builder()
        .timeout(FETCH_WITHIN)
        .redirect(Policy::none())
        .no_proxy();
    if let Some(path) = ca_file {
        builder = builder.tls_certs_only(authorities(path)?);
    } else if url.starts_with("http:") {
        // A machine may have no authorities, and none is needed.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(KeySetError::Client)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, KeySetError> {
    let shown = || path.display().to_string();
    let pem = fs::read(path).map_err(|source| KeySetError::File {
        path: shown(),
        source,
    })?;
    let refused = |source: Box<dyn Error + Send + Sync>| KeySetError::Authority {
        path: shown(),
        source,
    };
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| refused(error.into()))?;
    if found.is_empty() {
        return Err(refused("it has no certificate".into()));
    }
    Ok(found)
}

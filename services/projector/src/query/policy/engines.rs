//! Bundles as they are loaded, and judging by them: on other threads than the service's one, a few
//! at once.
//!
//! What a bundle is loaded to follows from its bytes, and they from its hash; so an answer is the
//! same whether the bundle was kept, loaded anew, or loaded twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use contracts::{
    bundle,
    canonical::Digest,
    ids::{PrincipalId, WorkspaceId},
    problem::{Code, Problem},
};
use host::principals::Principal;
use policy::engine::Engine;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

/// Questions that are judged at once: each keeps a processor busy, and the services beside this one
/// need some too.
pub const JUDGED_AT_ONCE: usize = 2;

/// Of one principal: its next question waits for its last one before it waits for those of others,
/// so that many of them do not stand before one of someone else's.
pub const JUDGED_OF_ONE: usize = 1;

/// How long a question waits for its turn. One takes milliseconds, where a bundle as large as they
/// may be is loaded first a second or so.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many loaded bundles are kept: people ask about a few at a time.
pub const ENGINES_MAX: usize = 16;

/// Of the texts of all that are kept: eight of the largest. Loaded, one is several times its text,
/// so this many are tens of megabytes.
pub const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A bundle that a verdict was made by.
pub enum Bundle {
    Loaded(Arc<Engine>),
    /// As JSON, if it can be had.
    Recorded {
        hash: Digest,
        json: Option<String>,
    },
}

/// Those who judge.
pub struct Engines {
    loaded: Arc<Mutex<Loaded>>,
    turns: Arc<Semaphore>,
    /// The turns of each principal that asks now.
    of_one: Mutex<BTreeMap<(WorkspaceId, PrincipalId), Weak<Semaphore>>>,
}

/// Held while a question is judged.
struct Turn {
    _of_one: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// The bundles that were used last.
#[derive(Default)]
struct Loaded {
    by_hash: BTreeMap<Digest, Kept>,
    uses: u64,
    bytes: usize,
}

struct Kept {
    engine: Arc<Engine>,
    used: u64,
    bytes: usize,
}

impl Default for Engines {
    fn default() -> Self {
        Self {
            loaded: Arc::default(),
            turns: Arc::new(Semaphore::new(JUDGED_AT_ONCE)),
            of_one: Mutex::default(),
        }
    }
}

impl Engines {
    /// The bundle with this hash, if it is kept.
    pub fn kept(&self, hash: &Digest) -> Option<Arc<Engine>> {
        lock(&self.loaded).used(hash)
    }

    /// What `judge` makes of a bundle; of none where it is not recorded, or no longer loads. A
    /// caller that goes away gives up its turn; what it began runs to its end, and counts until then.
    pub async fn judge<T: Send + 'static>(
        &self,
        principal: &Principal,
        bundle: Option<Bundle>,
        judge: impl FnOnce(Option<&Engine>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turn(principal).await?;
        let loaded = Arc::clone(&self.loaded);
        let judged = spawn_blocking(move || {
            let engine = bundle.and_then(|bundle| engine(&loaded, bundle));
            let judged = judge(engine.as_deref());
            drop(turn);
            judged
        });
        judged.await.map_err(|error| {
            tracing::error!(%error, "a verdict cannot be explained");
            Problem::of(Code::Internal)
        })
    }

    async fn turn(&self, principal: &Principal) -> Result<Turn, Problem> {
        let of_one = permit(&self.turns_of(principal)).await;
        let of_one = of_one.ok_or_else(|| full(JUDGED_OF_ONE, "of one principal"))?;
        let of_all = permit(&self.turns).await;
        let of_all = of_all.ok_or_else(|| full(JUDGED_AT_ONCE, "of all callers"))?;
        Ok(Turn {
            _of_one: of_one,
            _of_all: of_all,
        })
    }

    fn turns_of(&self, principal: &Principal) -> Arc<Semaphore> {
        // Counters are whole after any panic.
        let mut of_one = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        of_one.retain(|_, turns| turns.strong_count() > 0);
        let key = (principal.workspace.clone(), principal.actor.id.clone());
        let known = of_one.get(&key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turns = Arc::new(Semaphore::new(JUDGED_OF_ONE));
            of_one.insert(key, Arc::downgrade(&turns));
            turns
        })
    }
}

async fn permit(of: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let permit = timeout(PATIENCE, Arc::clone(of).acquire_owned()).await;
    permit.ok()?.ok()
}

fn full(limit: usize, whose: &str) -> Problem {
    let verdicts = if limit == 1 { "verdict" } else { "verdicts" };
    let detail = format!("the limit is {limit} {verdicts} explained at once, {whose}: try later");
    Problem::new(Code::RateLimited, detail)
}

fn engine(loaded: &Mutex<Loaded>, bundle: Bundle) -> Option<Arc<Engine>> {
    let (hash, json) = match bundle {
        Bundle::Loaded(engine) => return Some(engine),
        Bundle::Recorded { hash, json } => (hash, json?),
    };
    // Another question may have loaded it meanwhile.
    if let Some(engine) = lock(loaded).used(&hash) {
        return Some(engine);
    }
    let bundle = serde_json::from_str::<bundle::Bundle>(&json)
        .inspect_err(|error| tracing::error!(%error, "a recorded bundle cannot be read"))
        .ok()?;
    // One that no longer loads is explained without its texts.
    let engine = Arc::new(Engine::load(&bundle).ok()?);
    lock(loaded).keep(hash, Arc::clone(&engine), json.len());
    Some(engine)
}

fn lock(loaded: &Mutex<Loaded>) -> MutexGuard<'_, Loaded> {
    // What is kept is whole after any panic: nothing that panics happens to it.
    loaded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loaded {
    fn used(&mut self, hash: &Digest) -> Option<Arc<Engine>> {
        self.uses += 1;
        let kept = self.by_hash.get_mut(hash)?;
        kept.used = self.uses;
        Some(Arc::clone(&kept.engine))
    }

    /// Lets go of those that have not been used for the longest time.
    fn keep(&mut self, hash: Digest, engine: Arc<Engine>, bytes: usize) {
        self.uses += 1;
        let used = self.uses;
        let kept = Kept {
            engine,
            used,
            bytes,
        };
        self.bytes += bytes;
        if let Some(before) = self.by_hash.insert(hash, kept) {
            self.bytes -= before.bytes;
        }
        while self.by_hash.len() > ENGINES_MAX || self.bytes > TEXT_BYTES_MAX {
            let oldest = self.by_hash.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(hash, _)| *hash) else {
                break;
            };
            if let Some(kept) = self.by_hash.remove(&oldest) {
                self.bytes -= kept.bytes;
            }
        }
    }
}

//! The durable inboxes: intents that were published as `CloudEvents` wait on the broker until they are
//! taken, also while no intake runs. A message is acknowledged once what it asks for is stored, or
//! once it is refused and the refusal is kept; what passes is tried again.
//!
//! Each workspace has an inbox of its own, and here a connection of its own: one whose messages end
//! the connection is in no other's way.
//!
//! INVARIANT: the broker lets a principal publish on its own subject and nowhere else, so the
//! subject says who asks. Where the broker asks nobody for a password, nothing is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{
    ids::WorkspaceId,
    problem::{Code, Problem},
    registry::cloud_events::{BATCH, STRUCTURED},
};
use host::{
    engine::chain,
    http::{
        body,
        door::{Caller, Vouched},
        input::invalid,
    },
    metrics::consumption::Consumer,
    trace::is_well_formed,
};
use journal::{
    delivery::{ACK_WAIT, Delivery, Message, Purpose, Unanswered},
    inbox::{Refusal, sender},
    jetstream::{ConnectError, ConnectOptions, Inbox},
    stored::Raw,
};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{
    Intake, cloud_event,
    event::{self, Asked},
};

/// Messages that are worked on at once: of all workspaces, and of one. As many of one wait here.
const AT_ONCE: usize = 64;
const OF_ONE_AT_ONCE: usize = 32;

/// How soon what passes is tried again: at first, and at most.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// How soon a connection that has ended is made anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How soon it is seen that a workspace has become one, and that its inbox was made: nobody tells.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Takes what is published until shutdown, if that is asked for.
pub(crate) async fn run(
    options: Option<ConnectOptions>,
    intake: Arc<Intake>,
) -> anyhow::Result<()> {
    let shutdown = intake.host.shutdown.clone();
    let Some(options) = options else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let held = Arc::new(Held::default());
    let unanswered = {
        let held = Arc::clone(&held);
        Box::new(move || held.unanswered())
    };
    let consumption = &intake.host.metrics.consumption;
    let shared = Arc::new(Shared {
        options,
        counted: consumption.consumer(Purpose::Inbox, unanswered),
        held,
        room: Semaphore::new(AT_ONCE),
        intake,
    });
    // A workspace whose principals have gone is taken from until the end: what waits there is refused
    // with its reason.
    let mut taken = BTreeSet::new();
    let mut taking = JoinSet::new();
    loop {
        for workspace in shared.intake.door.workspaces() {
            if taken.insert(workspace.clone()) {
                taking.spawn(Arc::clone(&shared).take_all(workspace));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep(LOOK_AGAIN_AFTER) => {}
        }
    }
    while let Some(ended) = taking.join_next().await {
        ended?;
    }
    Ok(())
}

/// What all inboxes have together.
struct Shared {
    options: ConnectOptions,
    intake: Arc<Intake>,
    counted: Consumer,
    held: Arc<Held>,
    room: Semaphore,
}

/// What is held of each workspace, to be counted as one.
#[derive(Default)]
struct Held(Mutex<BTreeMap<WorkspaceId, OfOne>>);

struct OfOne {
    unanswered: Unanswered,
    /// As the broker last said.
    pending: u64,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkspaceId, OfOne>> {
        // What is in it is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> usize {
        self.lock().values().map(|held| (held.unanswered)()).sum()
    }

    /// The delivery, with what is pending for all.
    fn with_all_pending(&self, workspace: &WorkspaceId, delivery: Delivery) -> Delivery {
        let mut held = self.lock();
        if let (Some(own), Some(pending)) = (held.get_mut(workspace), delivery.pending) {
            own.pending = pending;
        }
        let pending = held.values().map(|held| held.pending).sum();
        Delivery {
            pending: delivery.pending.map(|_| pending),
            ..delivery
        }
    }
}

impl Shared {
    /// Takes what is published for a workspace until shutdown.
    async fn take_all(self: Arc<Self>, workspace: WorkspaceId) {
        let shutdown = &self.intake.host.shutdown;
        let mut is_missing = false;
        loop {
            let served = self.serve(&workspace).await;
            self.held.lock().remove(&workspace);
            let after = match served {
                Ok(()) if shutdown.is_cancelled() => return,
                Ok(()) => {
                    tracing::error!(%workspace, "the connection for the inbox has ended");
                    AGAIN_AFTER
                }
                Err(error) if is_of_missing(&error) => {
                    // Its principals may be no users of the broker: then none is needed.
                    if !is_missing {
                        tracing::warn!(
                            %workspace,
                            "has no inbox: `controlplane install --principals` makes one"
                        );
                    }
                    is_missing = true;
                    LOOK_AGAIN_AFTER
                }
                Err(error) => {
                    tracing::error!(%workspace, "the inbox is not taken from: {error:#}");
                    AGAIN_AFTER
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(after) => {}
            }
        }
    }

    async fn serve(self: &Arc<Self>, workspace: &WorkspaceId) -> anyhow::Result<()> {
        let intake = &self.intake;
        let inbox = Arc::new(Inbox::open(&self.options, workspace.clone()).await?);
        anyhow::ensure!(
            inbox.has_users(),
            "this broker asks nobody for a password, so a subject does not say who asks"
        );
        let mut losses = inbox.losses();
        take_out_unread(intake, &inbox).await?;
        let mut letters = inbox.letters(ACK_WAIT, OF_ONE_AT_ONCE).await?;
        let of_one = OfOne {
            unanswered: letters.unanswered(),
            pending: 0,
        };
        self.held.lock().insert(workspace.clone(), of_one);
        tracing::info!(%workspace, "takes intents from the inbox");
        let mut working = JoinSet::new();
        let shutdown = &intake.host.shutdown;
        loop {
            let has_room = working.len() < OF_ONE_AT_ONCE;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                ended = losses.next() => {
                    if ended {
                        return Ok(());
                    }
                    take_out_unread(intake, &inbox).await?;
                }
                Some(_) = working.join_next() => {}
                delivery = letters.next(), if has_room => {
                    let delivery = self.held.with_all_pending(workspace, delivery);
                    self.counted.delivered(&delivery);
                    let worker = Worker {
                        shared: Arc::clone(self),
                        inbox: Arc::clone(&inbox),
                    };
                    working.spawn(async move { worker.take(&delivery).await });
                }
            }
        }
        // What is worked on is acknowledged; what is not is given back.
        while working.join_next().await.is_some() {}
        letters.stop().await?;
        inbox.close().await;
        Ok(())
    }
}

fn is_of_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ConnectError::Missing { .. }))
}

/// What no client can read would end the connection at each delivery.
async fn take_out_unread(intake: &Intake, inbox: &Inbox) -> anyhow::Result<()> {
    for unread in inbox.unread().await? {
        let problem = Problem::new(
            Code::InvalidInput,
            "its headers cannot be read: names of visible ASCII, values in UTF-8 without control \
             characters",
        );
        keep(intake, inbox, unread.sequence, &unread.raw, problem).await?;
        inbox.take_out(unread.sequence).await?;
    }
    Ok(())
}

async fn keep(
    intake: &Intake,
    inbox: &Inbox,
    sequence: u64,
    raw: &Raw,
    problem: Problem,
) -> Result<(), journal::Unavailable> {
    // What was sent is not for the log: it is kept where only operators read.
    tracing::warn!(
        subject = raw.subject,
        sequence,
        code = %problem.code,
        "a message of the inbox is refused"
    );
    let refusal = Refusal::of(sequence, raw, problem, intake.host.now());
    inbox.keep(&refusal).await
}

/// How often a message is tried of which nobody knows whose it is: the broker may know a principal
/// a little sooner than intake does. And one that fails without a reason that is known to pass.
const TRIED_UNKNOWN: u64 = 7;
const TRIED_INTERNAL: u64 = 30;

fn may_pass(problem: &Problem, delivered: u64) -> bool {
    if problem.code == Code::Unauthenticated {
        return delivered < TRIED_UNKNOWN;
    }
    if problem.code == Code::Internal {
        return delivered < TRIED_INTERNAL;
    }
    event::is_passing(problem)
}

struct Worker {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
}

impl Worker {
    async fn take(&self, delivery: &Delivery) {
        let Message::Letter { sequence, raw } = delivery.message.as_ref() else {
            return;
        };
        // Never closed.
        let _place = self.shared.room.acquire().await;
        let intake = &self.shared.intake;
        let handle = &delivery.handle;
        let settled = match self.submit(raw).await {
            Ok(()) => handle.ack().await,
            Err(problem) if may_pass(&problem, delivery.delivered) => {
                let times = u32::try_from(delivery.delivered)
                    .unwrap_or(u32::MAX)
                    .min(10);
                let wait = RETRY_AFTER.saturating_mul(1 << times.saturating_sub(1));
                tracing::debug!(code = %problem.code, times, "a message is tried again later");
                handle.retry_later(wait.min(RETRY_AFTER_MAX)).await
            }
            Err(problem) => match keep(intake, &self.inbox, *sequence, raw, problem).await {
                Ok(()) => handle.ack().await,
                Err(error) => {
                    tracing::warn!(reason = chain(&error), "a refusal cannot be kept yet");
                    handle.retry_later(RETRY_AFTER).await
                }
            },
        };
        if let Err(error) = settled {
            // The message comes again, which is harmless.
            tracing::debug!(reason = chain(&error), "an acknowledgement was not sent");
        }
    }

    async fn submit(&self, raw: &Raw) -> Result<(), Problem> {
        let (workspace, principal) = sender(&raw.subject)
            .ok_or_else(|| Problem::new(Code::NotFound, "the subject names no principal"))?;
        let intake = &self.shared.intake;
        let door = &intake.door;
        let vouched = door.named(&workspace, &principal).ok_or_else(|| {
            let detail = format!(
                "`{principal}` of workspace `{workspace}` has no credential that is valid: ask \
                 who administers them"
            );
            Problem::new(Code::Unauthenticated, detail)
        })?;
        let admitted = door
            .admit(&Caller::vouched(Vouched(vouched)))
            .await
            .map_err(|refused| refused.problem().clone())?;
        let event = read(raw)?;
        let asked = Asked {
            traceparent: header(raw, "traceparent")
                .filter(|text| is_well_formed(text))
                .map(str::to_owned),
            is_seen: false,
        };
        event::submit(intake, &admitted.principal, &asked, event).await?;
        Ok(())
    }
}

/// A message without headers is an event in structured mode.
fn read(raw: &Raw) -> Result<cloud_event::CloudEvent, Problem> {
    let kind = header(raw, "content-type").map(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    if raw.payload.len() > body::BYTES_MAX {
        return Err(Problem::of(Code::BodyTooLarge));
    }
    let data = || body::parse(&raw.payload);
    let is_binary = cloud_event::is_binary(raw.headers.iter().map(|(name, _)| name.as_str()));
    match kind.as_deref() {
        Some(BATCH) => Err(Problem::new(
            Code::UnsupportedMediaType,
            "a message holds one event; send a batch over HTTP",
        )),
        Some(STRUCTURED) => event::one(Value::Object(data()?)),
        Some("application/json") | None if is_binary => {
            let pairs = raw.headers.iter();
            let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_bytes()));
            cloud_event::binary(pairs, Value::Object(data()?)).map_err(invalid)
        }
        Some("application/json") | None => event::one(Value::Object(data()?)),
        Some(_) => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("send `Content-Type: {STRUCTURED}` or `application/json`"),
        )),
    }
}

fn header<'a>(raw: &'a Raw, name: &str) -> Option<&'a str> {
    let mut found = raw
        .headers
        .iter()
        .filter(|(held, _)| held.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.as_str())
}

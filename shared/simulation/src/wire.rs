//! One process's connection to the broker: the journal in memory, with everything that can happen
//! to a message and to the process on the way.
//!
//! A process that died goes on running here, and nobody hears of it: each of its calls waits for
//! ever. That is what kill -9 looks like from outside, at exactly the place where it happened.

mod deliveries;

use std::{
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::Envelope,
    ids::Incarnation,
    position::{Position, Positions, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
    time::Timestamp,
};
use journal::{
    Journal, Unavailable,
    append::AppendError,
    delivery::{ConsumerSpec, Deliveries, Message},
    history::{LoadError, Page, Read},
    layout::StreamCount,
    memory::MemoryJournal,
    object::ObjectError,
    request::{Reply, Request, RequestError, Requests},
    stored::Entry,
    tail::{Scope, Tail, TailError},
    timer::Timer,
};
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::deliveries::{Consumed, Followed};
use crate::{
    chance::{Chance, place},
    script::{Instance, Point},
    sea::Sea,
};

/// When a request was sent, told to the worker in a header of its own.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub at: Timestamp,
    /// Whether the sender stood still shortly before.
    pub was_paused: bool,
}

impl Sent {
    const NAME: &str = "Simulated-Sent";

    fn header(self) -> (String, String) {
        let paused = if self.was_paused { "paused" } else { "awake" };
        (
            Self::NAME.to_owned(),
            format!("{} {paused}", self.at.as_millis()),
        )
    }

    pub fn of(headers: &[(String, String)]) -> Self {
        let value = headers.iter().find(|(name, _)| name == Self::NAME);
        let (at, paused) = value
            .and_then(|(_, value)| value.split_once(' '))
            .unwrap_or(("0", "paused"));
        Self {
            at: Timestamp::from_millis(at.parse().unwrap_or(0)),
            was_paused: paused == "paused",
        }
    }
}

/// Who starts processes again.
pub type Supervisor = tokio::sync::mpsc::UnboundedSender<Gone>;

/// A process that is no more.
#[derive(Debug, Clone, Copy)]
pub struct Gone {
    pub who: Instance,
    pub birth: u64,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Killed(Point),
    /// It was told to, or gave up by itself.
    Stopped,
}

/// What is called, as far as a fault cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Append,
    Dispatch,
    Arm,
    Ack,
    Other,
}

pub struct Wire {
    memory: MemoryJournal,
    line: Arc<Line>,
}

/// What all users of the connection share.
pub struct Line {
    pub who: Instance,
    sea: Arc<Sea>,
    memory: MemoryJournal,
    calls: AtomicU64,
    /// Which of the lives of all processes it is.
    birth: u64,
    fate: Mutex<Fate>,
    shutdown: CancellationToken,
    supervisor: Supervisor,
    /// Who it is in the log, once it has begun.
    incarnation: OnceLock<Incarnation>,
}

struct Fate {
    dead: bool,
    trap: Option<Point>,
    paused_until: Option<Instant>,
    lost_answers: u32,
    lost_acks: u32,
}

impl Wire {
    pub fn new(
        who: Instance,
        birth: u64,
        sea: Arc<Sea>,
        memory: MemoryJournal,
        shutdown: CancellationToken,
        supervisor: Supervisor,
    ) -> Self {
        let line = Arc::new(Line {
            who,
            sea,
            memory: memory.clone(),
            calls: AtomicU64::new(0),
            birth,
            fate: Mutex::new(Fate {
                dead: false,
                trap: None,
                paused_until: None,
                lost_answers: 0,
                lost_acks: 0,
            }),
            shutdown,
            supervisor,
            incarnation: OnceLock::new(),
        });
        Self { memory, line }
    }

    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }
}

impl Line {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who it is in the log.
    pub fn lives_as(&self, incarnation: Incarnation) {
        let _ = self.incarnation.set(incarnation);
    }

    /// Tells who keeps count of them that a message has come.
    fn heard(&self, message: &Message) {
        if let (Some(incarnation), Some(wake)) = (self.incarnation.get(), message.id()) {
            self.sea.heard(*incarnation, wake);
        }
    }

    pub fn is_dead(&self) -> bool {
        self.fate().dead
    }

    /// As kill -9 does it. Its tasks end, or wait for ever: nothing that they still do is seen.
    fn die(&self, at: Point) {
        let was_dead = std::mem::replace(&mut self.fate().dead, true);
        self.shutdown.cancel();
        if !was_dead {
            self.gone(End::Killed(at));
        }
    }

    /// Tells the supervisor, who starts another process in its place.
    pub fn gone(&self, end: End) {
        // There is no supervisor any more once the world has ended.
        let _ = self.supervisor.send(Gone {
            who: self.who,
            birth: self.birth,
            end,
        });
    }

    /// It dies where it next comes to `point`.
    pub fn trap(&self, point: Point) {
        match point {
            Point::Now => self.die(point),
            Point::BeforeAppend
            | Point::AfterAppend
            | Point::BeforeDispatch
            | Point::AfterDispatch
            | Point::BeforeArm
            | Point::AfterArm
            | Point::BeforeAck => self.fate().trap = Some(point),
        }
    }

    pub fn disarm(&self) {
        let mut fate = self.fate();
        fate.trap = None;
        fate.lost_answers = 0;
        fate.lost_acks = 0;
    }

    pub fn pause(&self, ms: u64) {
        let mut fate = self.fate();
        let until = Some(Instant::now() + Duration::from_millis(ms));
        fate.paused_until = fate.paused_until.max(until);
    }

    /// Whether it stood still so shortly ago that what it sends may be old.
    pub fn stood_still_lately(&self) -> bool {
        let paused = self
            .fate()
            .paused_until
            .is_some_and(|until| until + Duration::from_secs(3) > Instant::now());
        paused || self.sea.stood_still_lately()
    }

    pub fn lose_answers(&self, count: u32) {
        self.fate().lost_answers = count;
    }

    pub fn lose_acks(&self, count: u32) {
        self.fate().lost_acks = count;
    }

    /// Whether it has just died here.
    fn springs(&self, point: Point) -> bool {
        let springs = self.fate().trap.take_if(|trap| *trap == point).is_some();
        if springs {
            self.die(point);
        }
        springs
    }

    fn place(&self, call: u64) -> [u64; 3] {
        [place(&self.who.to_string()), self.birth, call]
    }

    /// While it stands still, and for ever once it is dead.
    async fn awake(&self) {
        loop {
            let until = {
                let fate = self.fate();
                if fate.dead {
                    None
                } else {
                    Some(fate.paused_until.filter(|until| *until > Instant::now()))
                }
            };
            match until {
                None => pending::<()>().await,
                Some(None) => return,
                Some(Some(until)) => sleep_until(until).await,
            }
        }
    }

    async fn on_its_way(&self, number: u64) {
        if !self.sea.admits() {
            pending::<()>().await;
        }
        let latency = self.sea.latency(self.place(number));
        if latency.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(latency).await;
        }
        self.memory.advance(self.sea.now());
    }

    /// To the broker. The number of the call.
    async fn out(&self, call: Call) -> u64 {
        let number = self.calls.fetch_add(2, Ordering::Relaxed);
        self.awake().await;
        let point = match call {
            Call::Append => Some(Point::BeforeAppend),
            Call::Dispatch => Some(Point::BeforeDispatch),
            Call::Arm => Some(Point::BeforeArm),
            Call::Ack => Some(Point::BeforeAck),
            Call::Other => None,
        };
        if point.is_some_and(|point| self.springs(point)) {
            pending::<()>().await;
        }
        self.on_its_way(number).await;
        number
    }

    /// Back from the broker.
    async fn back(&self, call: Call, number: u64) {
        let point = match call {
            Call::Append => Some(Point::AfterAppend),
            Call::Arm => Some(Point::AfterArm),
            // After a dispatch it dies as soon as the worker has the request.
            Call::Dispatch | Call::Ack | Call::Other => None,
        };
        if point.is_some_and(|point| self.springs(point)) {
            pending::<()>().await;
        }
        self.on_its_way(number + 1).await;
        self.awake().await;
    }

    /// Whether the broker answers.
    fn reached(&self, doing: &str) -> Result<(), Unavailable> {
        if self.sea.is_out() {
            return Err(Unavailable::new(doing, "there is no leader"));
        }
        Ok(())
    }

    /// What is sent while leaders change is stored as if by chance.
    fn is_stored_all_the_same(&self, number: u64) -> bool {
        let [who, birth, call] = self.place(number);
        Chance::at(self.sea.seed, [who, birth, call, 1]).percent(20)
    }

    fn loses_answer(&self) -> bool {
        let mut fate = self.fate();
        let loses = fate.lost_answers > 0;
        fate.lost_answers = fate.lost_answers.saturating_sub(1);
        loses
    }

    fn loses_ack(&self) -> bool {
        if self.sea.is_out() {
            return true;
        }
        let mut fate = self.fate();
        let loses = fate.lost_acks > 0;
        fate.lost_acks = fate.lost_acks.saturating_sub(1);
        loses
    }
}

#[async_trait]
impl Journal for Wire {
    fn stream_count(&self) -> StreamCount {
        self.memory.stream_count()
    }

    fn epoch(&self) -> u64 {
        self.memory.epoch()
    }

    async fn reconnected(&self, epoch: u64) {
        self.memory.reconnected(epoch).await;
    }

    fn is_connected(&self) -> bool {
        !self.line.sea.is_out()
    }

    async fn append(&self, envelope: &Envelope) -> Result<Position, AppendError> {
        let number = self.line.out(Call::Append).await;
        let unknown = || AppendError::Unavailable {
            subject: envelope.subject.to_string(),
            source: Unavailable::new("append an event", "there was no answer"),
        };
        let out = self.line.sea.is_out();
        if out && !self.line.is_stored_all_the_same(number) {
            self.line.back(Call::Other, number).await;
            return Err(unknown());
        }
        if self.line.sea.is_full() {
            self.line.back(Call::Other, number).await;
            return Err(AppendError::Refused {
                subject: envelope.subject.to_string(),
                reason: "there is no room".to_owned(),
            });
        }
        let stored = self.memory.append(envelope).await;
        let call = if stored.is_ok() {
            Call::Append
        } else {
            Call::Other
        };
        self.line.back(call, number).await;
        if out || (stored.is_ok() && self.line.loses_answer()) {
            return Err(unknown());
        }
        stored
    }

    async fn page(&self, aggregate: &AggregateId, after: Option<&Head>) -> Result<Page, LoadError> {
        let number = self.line.out(Call::Other).await;
        self.line.reached("load an aggregate")?;
        let page = self.memory.page(aggregate, after).await;
        self.line.back(Call::Other, number).await;
        page
    }

    async fn load(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError> {
        let number = self.line.out(Call::Other).await;
        if read == Read::Confirmed {
            self.line.reached("load an aggregate")?;
        }
        let loaded = self.memory.load(aggregate, read).await;
        self.line.back(Call::Other, number).await;
        loaded
    }

    async fn head(&self, aggregate: &AggregateId) -> Result<Option<(Position, Head)>, LoadError> {
        let number = self.line.out(Call::Other).await;
        self.line.reached("read a head")?;
        let head = self.memory.head(aggregate).await;
        self.line.back(Call::Other, number).await;
        head
    }

    /// In these worlds nothing is archived, so that it draws no delay from anyone's luck.
    async fn is_archived(&self, aggregate: &AggregateId) -> Result<bool, Unavailable> {
        self.memory.is_archived(aggregate).await
    }

    /// In these worlds there is never too much, so that it draws no delay from anyone's luck.
    async fn waiting(&self) -> Result<u64, Unavailable> {
        self.memory.waiting().await
    }

    async fn last_sequence(&self, stream: StreamId) -> Result<u64, Unavailable> {
        let number = self.line.out(Call::Other).await;
        self.line.reached("ask for the last sequence")?;
        let last = self.memory.last_sequence(stream).await;
        self.line.back(Call::Other, number).await;
        last
    }

    async fn read(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let number = self.line.out(Call::Other).await;
        let read = self.memory.read(stream, after, max_events).await;
        self.line.back(Call::Other, number).await;
        read
    }

    async fn tail(&self, after: &Positions, scope: Scope) -> Result<Box<dyn Tail>, TailError> {
        let number = self.line.out(Call::Other).await;
        self.line.reached("follow")?;
        let tail = self.memory.tail(after, scope).await?;
        self.line.back(Call::Other, number).await;
        Ok(Box::new(Followed::new(tail, self.line())))
    }

    async fn consume(&self, spec: ConsumerSpec) -> Result<Box<dyn Deliveries>, Unavailable> {
        self.line.out(Call::Other).await;
        let deliveries = self.memory.consume(spec).await?;
        Ok(Box::new(Consumed::new(deliveries, self.line())))
    }

    async fn arm(&self, timer: &Timer) -> Result<(), Unavailable> {
        let number = self.line.out(Call::Arm).await;
        self.line.reached("arm a timer")?;
        if self.line.sea.is_full() {
            self.line.back(Call::Other, number).await;
            return Err(Unavailable::new("arm a timer", "there is no room").refused(true));
        }
        self.memory.arm(timer).await?;
        self.line.back(Call::Arm, number).await;
        Ok(())
    }

    async fn put_object(&self, bytes: Bytes) -> Result<Digest, ObjectError> {
        self.line.out(Call::Other).await;
        self.memory.put_object(bytes).await
    }

    async fn get_object(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        self.line.out(Call::Other).await;
        self.memory.get_object(digest).await
    }

    async fn request(&self, mut request: Request) -> Result<Reply, RequestError> {
        let at = self.line.sea.now();
        let number = self.line.out(Call::Dispatch).await;
        let was_paused = self.line.stood_still_lately();
        request.headers.push(Sent { at, was_paused }.header());
        let patience = request.timeout;
        let subject = request.subject.clone();
        let asking = async {
            let asked = self.memory.request(request);
            // It dies once the worker has the request, whatever becomes of it.
            tokio::pin!(asked);
            let answer = std::future::poll_fn(|context| {
                let polled = asked.as_mut().poll(context);
                if polled.is_pending() {
                    self.line.springs(Point::AfterDispatch);
                }
                polled
            })
            .await;
            self.line.back(Call::Other, number).await;
            answer
        };
        if let Ok(answer) = tokio::time::timeout(patience, asking).await {
            return answer;
        }
        self.line.awake().await;
        Err(RequestError::Timeout {
            subject,
            timeout: patience,
        })
    }

    async fn serve(&self, subject: &str, queue: &str) -> Result<Box<dyn Requests>, Unavailable> {
        self.memory.serve(subject, queue).await
    }

    async fn close(&self) {}
}

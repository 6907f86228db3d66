//! The services as processes: started, stopped, killed, and started again by a supervisor.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use axum::Router;
use contracts::{event::Service, time::Timestamp};
use host::{
    clock::Ambient,
    config::{Config, LogFormat, WAITING_MAX},
    engine::Host,
    http::door::{Door, Limits},
    judge::Judge,
    principals::Principals,
};
use journal::{delivery::ACK_WAIT, jetstream::BrokerTls, memory::MemoryJournal};
use tokio::{
    sync::mpsc,
    time::{Duration, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    chance::{Chance, place},
    script::{INSTANCES, Instance},
    sea::Sea,
    shop::THE_SHOP,
    wire::{End, Gone, Line, Supervisor, Wire},
    world::Seen,
};

/// How long a supervisor waits before it starts a process again that was killed, in milliseconds.
const RESTART_MS_MIN: u64 = 200;
const RESTART_MS_MAX: u64 = 2500;

pub struct Processes {
    sea: Arc<Sea>,
    memory: MemoryJournal,
    judge: Arc<Judge>,
    supervisor: Supervisor,
    seen: Arc<Seen>,
    running: Mutex<BTreeMap<Instance, Running>>,
    /// Of the machine that a process runs on: it outlives the process.
    clocks: BTreeMap<Instance, Arc<AtomicI64>>,
    lives: AtomicU64,
}

struct Running {
    birth: u64,
    line: Arc<Line>,
    shutdown: CancellationToken,
    /// Of an intake.
    routes: Option<Router>,
}

impl Processes {
    pub fn new(
        sea: Arc<Sea>,
        memory: MemoryJournal,
        judge: Arc<Judge>,
        seen: Arc<Seen>,
    ) -> Arc<Self> {
        let (supervisor, gone) = mpsc::unbounded_channel();
        let processes = Arc::new(Self {
            sea,
            memory,
            judge,
            supervisor,
            seen,
            running: Mutex::new(BTreeMap::new()),
            clocks: INSTANCES
                .into_iter()
                .map(|who| (who, Arc::new(AtomicI64::new(0))))
                .collect(),
            lives: AtomicU64::new(0),
        });
        tokio::spawn(supervise(Arc::clone(&processes), gone));
        processes
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Instance, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn start_all(&self) {
        for who in INSTANCES {
            self.start(who).await;
        }
    }

    async fn start(&self, who: Instance) {
        let birth = self.lives.fetch_add(1, Ordering::Relaxed);
        let shutdown = CancellationToken::new();
        let wire = Wire::new(
            who,
            birth,
            Arc::clone(&self.sea),
            self.memory.clone(),
            shutdown.clone(),
            self.supervisor.clone(),
        );
        let line = wire.line();
        let offset = self.clocks.get(&who).map(Arc::clone).unwrap_or_default();
        let ambient = Arc::new(Simulated {
            sea: Arc::clone(&self.sea),
            offset,
            place: [place(&who.to_string()), birth],
            drawn: AtomicU64::new(0),
        });
        let host = Arc::new(Host::new(
            who.service,
            Arc::new(wire),
            ambient,
            ACK_WAIT,
            shutdown.clone(),
        ));
        line.lives_as(host.incarnation);
        let started = match who.service {
            Service::Intake => {
                let principals = Principals::of(THE_SHOP.principals.clone());
                let door = Door::new(principals, Limits::default(), Arc::clone(&host.ambient));
                let routes = intake::routes(host, door, intake::OUTCOME_WITHIN, WAITING_MAX);
                Ok(Started::Intake(routes))
            }
            Service::Planner => planner::start(host, config()).await.map(Started::of),
            Service::Verifier => verifier::start_with(host, Arc::clone(&self.judge))
                .await
                .map(Started::of),
            Service::Executor => executor::start(host, config()).await.map(Started::of),
            // It writes nothing but incidents, and is looked at afterwards.
            Service::Projector => return,
        };
        let routes = match started {
            Ok(Started::Intake(routes)) => Some(routes),
            Ok(Started::Engine(task)) => {
                let line = Arc::clone(&line);
                tokio::spawn(async move {
                    // However it ended, another one is started.
                    let _ = task.await;
                    line.gone(End::Stopped);
                });
                None
            }
            Err(_) => {
                line.gone(End::Stopped);
                None
            }
        };
        let running = Running {
            birth,
            line,
            shutdown,
            routes,
        };
        self.running().insert(who, running);
    }

    /// Where an intake is reached, while there is one.
    pub fn routes(&self, via: u8) -> Option<Router> {
        let who = Instance::of(Service::Intake, via);
        let running = self.running();
        let intake = running
            .get(&who)
            .filter(|running| !running.line.is_dead())?;
        intake.routes.clone()
    }

    pub fn line(&self, who: Instance) -> Option<Arc<Line>> {
        let running = self.running();
        running.get(&who).map(|running| Arc::clone(&running.line))
    }

    pub fn stop(&self, who: Instance) {
        let running = self.running();
        let Some(running) = running.get(&who) else {
            return;
        };
        running.shutdown.cancel();
        if who.service == Service::Intake {
            running.line.gone(End::Stopped);
        }
    }

    pub fn step_clock(&self, who: Instance, ms: i64) {
        if let Some(clock) = self.clocks.get(&who) {
            clock.fetch_add(ms, Ordering::Relaxed);
        }
    }

    /// Nothing new goes wrong; who stands still does so to the end of his pause.
    pub fn calm_down(&self) {
        for running in self.running().values() {
            running.line.disarm();
        }
        for clock in self.clocks.values() {
            clock.store(0, Ordering::Relaxed);
        }
    }
}

enum Started {
    Engine(tokio::task::JoinHandle<anyhow::Result<()>>),
    Intake(Router),
}

impl Started {
    fn of(work: host::serve::Work) -> Self {
        Self::Engine(work.task)
    }
}

async fn supervise(processes: Arc<Processes>, mut gone: mpsc::UnboundedReceiver<Gone>) {
    while let Some(Gone { who, birth, end }) = gone.recv().await {
        let is_current = processes
            .running()
            .get(&who)
            .is_some_and(|running| running.birth == birth);
        if !is_current {
            continue;
        }
        if let Some(running) = processes.running().remove(&who) {
            running.shutdown.cancel();
        }
        if let End::Killed(at) = end {
            processes.seen.death(who, at);
        }
        let processes = Arc::clone(&processes);
        tokio::spawn(async move {
            if let End::Killed(_) = end {
                let mut chance = Chance::at(processes.sea.seed, [place("restart"), birth]);
                let ms = chance.between(RESTART_MS_MIN, RESTART_MS_MAX);
                sleep(Duration::from_millis(ms)).await;
            }
            processes.start(who).await;
        });
    }
}

/// What a process is told by its environment; most of it is for what is not simulated.
fn config() -> Config {
    Config {
        nats_url: String::new(),
        nats_user: None,
        nats_password: None,
        nats_tls: BrokerTls::default(),
        nats_api: false,
        streams: journal::layout::StreamCount::ONE,
        durability: journal::broker::Durability::Process,
        ack_wait: ACK_WAIT,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        plaintext: false,
        address_file: None,
        log: String::new(),
        log_format: LogFormat::Text,
        traces: None,
        principals_file: None,
        identity_providers_file: None,
        database_url: None,
        waiting_max: WAITING_MAX,
        archive: host::config::archive::Archive::default(),
    }
}

/// The clock and the chance of one process.
struct Simulated {
    sea: Arc<Sea>,
    /// By how many milliseconds its clock is wrong.
    offset: Arc<AtomicI64>,
    place: [u64; 2],
    drawn: AtomicU64,
}

impl Ambient for Simulated {
    fn now(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed);
        Timestamp::from_millis(self.sea.now().as_millis().saturating_add(offset))
    }

    fn random_bytes(&self) -> [u8; 32] {
        let [who, birth] = self.place;
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        Chance::at(self.sea.seed, [who, birth, drawn]).bytes()
    }
}

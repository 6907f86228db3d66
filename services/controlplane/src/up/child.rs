//! Processes that are kept running, and that never outlive this one.

use std::{
    convert::Infallible,
    fs::{self, File},
    future::pending,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::Command,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::sign::{Sign, log_since};
use crate::{failure::Failure, screen::Screen};

/// Before a child that ended is started again; doubles each time.
const RESTART_AFTER_MIN: Duration = Duration::from_millis(500);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(15);

/// A child that has run for so long starts again at the shortest wait.
const STEADY_AFTER: Duration = Duration::from_mins(1);

/// How long a child that is asked to stop may take before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How long a child may take to be ready: a broker reads its streams first, and a machine may be
/// building something else meanwhile.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// After this, it is said what is waited for.
const PATIENCE_SAID_AFTER: Duration = Duration::from_secs(10);

/// Between two looks whether a child is ready.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);

/// What is shown of the log of a child that did not come up.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// How to start a child, and how it is seen to be ready.
pub struct Recipe {
    pub name: String,
    pub log: PathBuf,
    /// Asked before each start, as an address may be known by then.
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
    pub sign: Sign,
}

/// A child that is watched over.
pub struct Child {
    name: String,
    log: PathBuf,
    screen: Screen,
    life: watch::Receiver<Life>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The present life of a child, or its last one.
#[derive(Debug, Clone, Copy)]
struct Life {
    stage: Stage,
    /// Where its part of the log begins.
    log_from: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Ended,
}

/// All children, the broker's apart: they are started first and stopped last.
pub struct Children {
    screen: Screen,
    hurry: CancellationToken,
    /// Until everything is up, a child that ends is not started again: it has something to say.
    is_up: CancellationToken,
    brokers: Vec<Child>,
    others: Vec<Child>,
    /// What this process does itself, for as long as its children are there to do the work.
    tasks: Vec<JoinHandle<()>>,
    end_tasks: CancellationToken,
}

impl Children {
    pub fn new(screen: Screen, hurry: CancellationToken) -> Self {
        Self {
            screen,
            hurry,
            is_up: CancellationToken::new(),
            brokers: Vec::new(),
            others: Vec::new(),
            tasks: Vec::new(),
            end_tasks: CancellationToken::new(),
        }
    }

    pub fn screen(&self) -> Screen {
        self.screen
    }

    pub fn is_empty(&self) -> bool {
        self.brokers.is_empty() && self.others.is_empty()
    }

    pub fn start_broker(&mut self, recipe: Recipe) -> &Child {
        let child = self.start(recipe);
        pushed(&mut self.brokers, child)
    }

    pub fn start_other(&mut self, recipe: Recipe) -> &Child {
        let child = self.start(recipe);
        pushed(&mut self.others, child)
    }

    /// Ends before any child is stopped.
    pub fn start_task<F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.push(tokio::spawn(task(self.end_tasks.clone())));
    }

    pub fn brokers(&self) -> &[Child] {
        &self.brokers
    }

    pub fn others(&self) -> &[Child] {
        &self.others
    }

    /// From now on a child that ends is started again; one that has ended by now is reported.
    pub fn keep_up(&self) -> Result<(), Failure> {
        self.is_up.cancel();
        let ended = |child: &&Child| child.life.borrow().stage == Stage::Ended;
        match self.brokers.iter().chain(&self.others).find(ended) {
            None => Ok(()),
            Some(child) => Err(child.failure("has ended")),
        }
    }

    pub async fn stop(self) {
        self.end_tasks.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
        for children in [self.others, self.brokers] {
            for child in &children {
                child.stop.cancel();
            }
            for child in children {
                let _ = child.task.await;
            }
        }
    }

    fn start(&self, recipe: Recipe) -> Child {
        let (announce, life) = watch::channel(Life {
            stage: Stage::Starting,
            log_from: 0,
        });
        let stop = CancellationToken::new();
        let watcher = Watcher {
            screen: self.screen,
            stop: stop.clone(),
            hurry: self.hurry.clone(),
            is_up: self.is_up.clone(),
            announce,
        };
        Child {
            name: recipe.name.clone(),
            log: recipe.log.clone(),
            screen: self.screen,
            life,
            stop,
            task: tokio::spawn(watcher.keep(recipe)),
        }
    }
}

fn pushed(children: &mut Vec<Child>, child: Child) -> &Child {
    children.push(child);
    // Just pushed: there is a last one.
    children
        .last()
        .unwrap_or_else(|| unreachable!("a child was pushed"))
}

impl Child {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it is ready, unless it ends before, or takes too long.
    pub async fn ready(&self) -> Result<(), Failure> {
        let mut life = self.life.clone();
        let why = tokio::select! {
            life = life.wait_for(|life| life.stage != Stage::Starting) => match life {
                Ok(life) if life.stage == Stage::Ready => return Ok(()),
                Ok(_) | Err(_) => "has ended before it was ready".to_owned(),
            },
            () = self.patience() => format!("is not ready after {} s", READY_WITHIN.as_secs()),
        };
        Err(self.failure(&why))
    }

    async fn patience(&self) {
        sleep(PATIENCE_SAID_AFTER).await;
        let text = format!(
            "for `{}` to be ready; see {}",
            self.name,
            self.log.display()
        );
        self.screen.note("waiting", &text);
        sleep(READY_WITHIN.saturating_sub(PATIENCE_SAID_AFTER)).await;
    }

    fn failure(&self, why: &str) -> Failure {
        let log_from = self.life.borrow().log_from;
        Failure::Unsuccessful(format!(
            "`{}` {why}; the end of {}:\n{}",
            self.name,
            self.log.display(),
            tail(&self.log, log_from)
        ))
    }
}

struct Watcher {
    screen: Screen,
    stop: CancellationToken,
    hurry: CancellationToken,
    is_up: CancellationToken,
    announce: watch::Sender<Life>,
}

impl Watcher {
    async fn keep(self, recipe: Recipe) {
        let mut wait = RESTART_AFTER_MIN;
        let mut down_since = None;
        loop {
            let begun = Instant::now();
            let log_from = fs::metadata(&recipe.log).map_or(0, |log| log.len());
            self.announce.send_replace(Life {
                stage: Stage::Starting,
                log_from,
            });
            let end = match spawn(&recipe) {
                Ok(mut process) => {
                    let ready = self.say_when_ready(&recipe, log_from, &mut down_since);
                    tokio::select! {
                        end = process.wait() => said(end),
                        never = ready => match never {},
                        () = self.stop.cancelled() => return self.terminate(&mut process).await,
                    }
                }
                Err(error) => format!("cannot be started: {error}"),
            };
            self.announce.send_modify(|life| life.stage = Stage::Ended);
            if !self.is_up.is_cancelled() {
                return;
            }
            down_since.get_or_insert_with(Instant::now);
            if begun.elapsed() > STEADY_AFTER {
                wait = RESTART_AFTER_MIN;
            }
            let text = format!(
                "`{}` ended ({end}) and is started again in {} ms; see {}",
                recipe.name,
                wait.as_millis(),
                recipe.log.display()
            );
            self.screen.note("restart", &text);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stop.cancelled() => return,
            }
            wait = (wait * 2).min(RESTART_AFTER_MAX);
        }
    }

    /// Goes on for as long as the child does.
    async fn say_when_ready(
        &self,
        recipe: &Recipe,
        log_from: u64,
        down_since: &mut Option<Instant>,
    ) -> Infallible {
        let mut wait = LOOK_AGAIN_MIN;
        while !recipe.sign.shows(&recipe.log, log_from).await {
            sleep(wait).await;
            wait = (wait * 2).min(LOOK_AGAIN_MAX);
        }
        self.announce.send_modify(|life| life.stage = Stage::Ready);
        if let Some(since) = down_since.take() {
            let text = format!(
                "`{}` is ready again, {} ms after it ended",
                recipe.name,
                since.elapsed().as_millis()
            );
            self.screen.note("ready", &text);
        }
        pending().await
    }

    async fn terminate(&self, process: &mut tokio::process::Child) {
        signal(process, libc::SIGTERM);
        let ended = tokio::select! {
            ended = timeout(STOP_WITHIN, process.wait()) => ended.is_ok(),
            () = self.hurry.cancelled() => false,
        };
        if !ended {
            // It is reaped too; that it was gone already is as good.
            let _ = process.kill().await;
        }
    }
}

fn said(end: io::Result<ExitStatus>) -> String {
    end.map_or_else(|error| error.to_string(), |status| status.to_string())
}

fn spawn(recipe: &Recipe) -> io::Result<tokio::process::Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&recipe.log)?;
    let mut command = (recipe.command)();
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A Ctrl-C in the terminal is for this process, which stops its children in order.
        .process_group(0)
        .kill_on_drop(true);
    die_with_parent(&mut command);
    command.spawn()
}

/// So that kill -9 of this process leaves nothing behind, where the system can do that. The death
/// that counts is that of the thread that starts the child: see `main`.
#[expect(unsafe_code, reason = "the death signal is set between fork and exec")]
pub fn die_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: prctl and getppid are async-signal-safe and touch no memory of the parent.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // The parent may have died before the line above.
                if u32::try_from(libc::getppid()) == Ok(parent) {
                    Ok(())
                } else {
                    Err(io::Error::other("the parent is gone"))
                }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

#[expect(unsafe_code, reason = "tokio can only kill")]
fn signal(process: &tokio::process::Child, signal: libc::c_int) {
    let pid = process.id().and_then(|pid| libc::pid_t::try_from(pid).ok());
    if let Some(pid) = pid {
        // SAFETY: the child has an id only until it is reaped, so the pid is its own.
        unsafe { libc::kill(pid, signal) };
    }
}

/// The last lines of this life's part of a log.
fn tail(log: &Path, log_from: u64) -> String {
    let length = fs::metadata(log).map_or(0, |log| log.len());
    let from = log_from.max(length.saturating_sub(TAIL_BYTES));
    let text = log_since(log, from).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

//! Processes that are kept running, and that never outlive this one.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::Command,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

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

/// Between two looks whether a child is ready.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(10);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);

/// What is shown of the log of a child that did not come up.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// How to start a child. Asked before each start, as an address may be known by then.
pub struct Recipe {
    pub name: String,
    pub log: PathBuf,
    pub command: Box<dyn Fn() -> Command + Send + Sync>,
}

/// A child that is watched over.
pub struct Child {
    name: String,
    log: PathBuf,
    /// How often it has ended by itself.
    ended: watch::Receiver<u32>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// All children, the broker apart: it is started first and stopped last.
pub struct Children {
    screen: Screen,
    hurry: CancellationToken,
    /// Until everything is up, a child that ends is not started again: it has something to say.
    is_up: CancellationToken,
    broker: Option<Child>,
    others: Vec<Child>,
}

impl Children {
    pub fn new(screen: Screen, hurry: CancellationToken) -> Self {
        Self {
            screen,
            hurry,
            is_up: CancellationToken::new(),
            broker: None,
            others: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.broker.is_none() && self.others.is_empty()
    }

    pub fn start_broker(&mut self, recipe: Recipe) -> &Child {
        let child = self.start(recipe);
        self.broker.insert(child)
    }

    pub fn start_other(&mut self, recipe: Recipe) -> &Child {
        let child = self.start(recipe);
        self.others.push(child);
        // Just pushed: there is a last one.
        self.others
            .last()
            .unwrap_or_else(|| unreachable!("a child was pushed"))
    }

    pub fn others(&self) -> &[Child] {
        &self.others
    }

    /// From now on a child that ends is started again.
    pub fn keep_up(&self) {
        self.is_up.cancel();
    }

    pub async fn stop(self) {
        for child in &self.others {
            child.stop.cancel();
        }
        for child in self.others {
            let _ = child.task.await;
        }
        if let Some(broker) = self.broker {
            broker.stop.cancel();
            let _ = broker.task.await;
        }
    }

    fn start(&self, recipe: Recipe) -> Child {
        let (announce, ended) = watch::channel(0);
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
            ended,
            stop,
            task: tokio::spawn(watcher.keep(recipe)),
        }
    }
}

impl Child {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks until there is something, unless the child ends before, or takes too long.
    pub async fn until<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Option<T>>,
    {
        let mut ended = self.ended.clone();
        let looking = async {
            let mut wait = LOOK_AGAIN_MIN;
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                sleep(wait).await;
                wait = (wait * 2).min(LOOK_AGAIN_MAX);
            }
        };
        let why = tokio::select! {
            found = looking => return Ok(found),
            _ = ended.wait_for(|times| *times > 0) => "has ended before".to_owned(),
            () = sleep(READY_WITHIN) => format!("took longer than {} s", READY_WITHIN.as_secs()),
        };
        Err(Failure::Unsuccessful(format!(
            "`{}` was to {what}, but {why}; the end of {}:\n{}",
            self.name,
            self.log.display(),
            tail(&self.log)
        )))
    }
}

struct Watcher {
    screen: Screen,
    stop: CancellationToken,
    hurry: CancellationToken,
    is_up: CancellationToken,
    announce: watch::Sender<u32>,
}

impl Watcher {
    async fn keep(self, recipe: Recipe) {
        let mut wait = RESTART_AFTER_MIN;
        loop {
            let begun = Instant::now();
            let end = match spawn(&recipe) {
                Ok(mut process) => {
                    let end = tokio::select! {
                        end = process.wait() => end,
                        () = self.stop.cancelled() => return self.terminate(&mut process).await,
                    };
                    end.map_or_else(|error| error.to_string(), |status| status.to_string())
                }
                Err(error) => format!("cannot be started: {error}"),
            };
            self.announce.send_modify(|times| *times += 1);
            if !self.is_up.is_cancelled() {
                return;
            }
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

fn spawn(recipe: &Recipe) -> std::io::Result<tokio::process::Child> {
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
                    Err(std::io::Error::other("the parent is gone"))
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

fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

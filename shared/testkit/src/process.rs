//! A child process under test.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// How long a process may take to say or do what a test waits for. Generous: builds and other
/// tests share the cores.
const PATIENCE: Duration = Duration::from_mins(1);

/// The lines of output that are kept in memory; the file has all.
const LINES_MAX: usize = 20_000;

/// What a service is to say in a test: all of its own, and of its libraries only what is wrong.
pub const SAYS_ALL: &str = "debug,async_nats=warn,sqlx=warn";

/// A running child. Dropped, it is killed.
pub struct Process {
    name: String,
    pid: libc::pid_t,
    log: PathBuf,
    output: watch::Receiver<Vec<String>>,
    /// Locked while a signal is sent, so that the pid cannot be another process by then.
    exit: Arc<(Mutex<Option<ExitStatus>>, Condvar)>,
    exited: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `command`; what it writes goes to `log`, which is appended to.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        let started = start(&mut command, log);
        let (mut child, output) =
            started.unwrap_or_else(|error| panic!("cannot start `{name}`: {error}"));
        let pid = libc::pid_t::try_from(child.id()).unwrap_or_else(|_| panic!("pid out of range"));
        let exit = Arc::new((Mutex::new(None), Condvar::new()));
        let (announce, exited) = watch::channel(None);
        thread::spawn({
            let exit = Arc::clone(&exit);
            move || {
                wait_without_reaping(pid);
                let (exit, ended) = exit.as_ref();
                let mut exit = lock(exit);
                *exit = child.wait().ok();
                announce.send_replace(*exit);
                ended.notify_all();
            }
        });
        Self {
            name: name.to_owned(),
            pid,
            log: log.to_owned(),
            output,
            exit,
            exited,
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn is_running(&self) -> bool {
        lock(&self.exit.0).is_none()
    }

    /// Kill -9, and waits until it is gone.
    pub async fn kill9(&self) {
        self.signal(libc::SIGKILL);
        self.wait(PATIENCE).await;
    }

    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Asks it to stop.
    pub fn term(&self) {
        self.signal(libc::SIGTERM);
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// Waits until it has ended.
    pub async fn wait(&self, deadline: Duration) -> ExitStatus {
        let mut exited = self.exited.clone();
        let status = timeout(deadline, exited.wait_for(Option::is_some)).await;
        match status.ok().and_then(Result::ok).and_then(|status| *status) {
            Some(status) => status,
            None => panic!(
                "`{}` still runs after {deadline:?}\n{}",
                self.name,
                self.tail()
            ),
        }
    }

    /// Waits for a line of output that contains `text`, among all since the start.
    pub async fn line(&self, text: &str) -> String {
        match self.line_or_end(text).await {
            Some(line) => line,
            None => panic!("`{}` has not said `{text}`\n{}", self.name, self.tail()),
        }
    }

    /// As [`Self::line`]; nothing if the process ends or the time is up without it.
    pub async fn line_or_end(&self, text: &str) -> Option<String> {
        let mut output = self.output.clone();
        let found = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let lines = timeout(PATIENCE, output.wait_for(found)).await.ok()?.ok()?;
        lines.iter().find(|line| line.contains(text)).cloned()
    }

    /// Everything it said, one line each.
    pub fn output(&self) -> Vec<String> {
        self.output.borrow().clone()
    }

    fn tail(&self) -> String {
        let output = self.output.borrow();
        let from = output.len().saturating_sub(40);
        let last = output.get(from..).unwrap_or_default().join("\n");
        format!("--- {} ({})\n{last}\n---", self.name, self.log.display())
    }

    #[expect(unsafe_code, reason = "sending a signal needs libc")]
    fn signal(&self, signal: libc::c_int) {
        let exit = lock(&self.exit.0);
        if exit.is_none() {
            // SAFETY: the lock is held and the child is not reaped, so the pid is still its own.
            unsafe { libc::kill(self.pid, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.tail());
        }
        self.signal(libc::SIGKILL);
        // Gone for certain, so that its directory can be removed.
        let (exit, ended) = self.exit.as_ref();
        let patience = Duration::from_secs(5);
        drop(ended.wait_timeout_while(lock(exit), patience, |exit| exit.is_none()));
    }
}

/// A binary of this workspace, built beside the running test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("no test binary: {error}"));
    let path = test.ancestors().nth(2).map(|debug| debug.join(name));
    match path {
        Some(path) if path.is_file() => path,
        _ => panic!("`{name}` is not built; run `cargo build --bin {name}`"),
    }
}

fn start(command: &mut Command, log: &Path) -> io::Result<(Child, watch::Receiver<Vec<String>>)> {
    let (reader, writer) = io::pipe()?;
    let mut file = File::options().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    die_with_parent(command);
    let child = spawn_from_lasting_thread(command);
    // The command holds the pipe's write end; without this its reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = child?;
    let (lines, output) = watch::channel(Vec::new());
    thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            // The file is for people: a full disk shall not fail the test.
            let _ = writeln!(file, "{line}");
            lines.send_modify(|lines| {
                if lines.len() < LINES_MAX {
                    lines.push(line);
                }
            });
        }
    });
    Ok((child, output))
}

/// So that nothing survives a test that is killed.
#[expect(unsafe_code, reason = "the death signal is set between fork and exec")]
fn die_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// The death signal comes when the *thread* that forked ends, and a test's thread ends with the
/// test: so one thread starts all children and never ends.
fn spawn_from_lasting_thread(command: &mut Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<(Command, io::Result<Child>)>);
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, done) in queue {
                let child = command.spawn();
                let _ = done.send((command, child));
            }
        });
        jobs
    });
    let (done, result) = mpsc::channel();
    let taken = std::mem::replace(command, Command::new("true"));
    let gone = |_| io::Error::other("the thread that starts processes is gone");
    spawner
        .send((taken, done))
        .map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
    let (returned, child) = result.recv().map_err(gone)?;
    *command = returned;
    child
}

#[expect(
    unsafe_code,
    reason = "the standard library can only wait and reap at once"
)]
fn wait_without_reaping(pid: libc::pid_t) {
    let Ok(id) = libc::id_t::try_from(pid) else {
        return;
    };
    loop {
        // SAFETY: `info` is a plain out-parameter of the size that waitid expects.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(
                libc::P_PID,
                id,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A control plane in a directory of its own, and commands typed against it.

use std::{
    fs,
    os::fd::{FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    nats::server_binary,
    process::{Process, binary},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

/// How long an orderly end may take: services are given 10 s each.
pub const STOP_WITHIN: Duration = Duration::from_secs(30);

/// One `controlplane up`.
pub struct World {
    // Dropped before the directory it writes to.
    up: Process,
    pub directory: TempDir,
    starts: u32,
}

/// What a command printed, and its exit code.
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    pub async fn up() -> Self {
        let directory = directory();
        let up = start(directory.path(), 0, &[]).await;
        Self {
            up,
            directory,
            starts: 1,
        }
    }

    pub async fn up_with(options: &[&str]) -> Self {
        let directory = directory();
        let up = start(directory.path(), 0, options).await;
        Self {
            up,
            directory,
            starts: 1,
        }
    }

    /// With these variables in its environment.
    pub async fn up_told(variables: &[(&str, &str)]) -> Self {
        let directory = directory();
        let mut command = up_command(directory.path(), &[]);
        command.envs(variables.iter().copied());
        let up = started(directory.path(), 0, command).await;
        Self {
            up,
            directory,
            starts: 1,
        }
    }

    /// Starts again on what is there.
    pub async fn again(&mut self) {
        self.up = start(self.directory.path(), self.starts, &[]).await;
        self.starts += 1;
    }

    /// Kill -9, and waits until its services are gone too.
    pub async fn kill9(&self) {
        let ends: Vec<End> = self
            .processes()
            .into_iter()
            .map(|(pid, _)| End::of(pid))
            .collect();
        self.up.kill9().await;
        for end in ends {
            end.wait().await;
        }
    }

    pub fn process(&self) -> &Process {
        &self.up
    }

    pub fn data(&self) -> PathBuf {
        data_in(self.directory.path())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Types a command.
    pub fn type_in(&self, words: &[&str]) -> Answer {
        let context = self.path("context.json");
        let mut all = vec!["--context", context.to_str().unwrap()];
        all.extend(words);
        type_in(&all)
    }

    /// Types a command that works, and reads its JSON.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        let answer = self.type_in(&all);
        assert_eq!(answer.code, 0, "{words:?}: {}{}", answer.out, answer.err);
        serde_json::from_str(&answer.out).unwrap()
    }

    /// Submits an intent and answers with its execution.
    #[track_caller]
    pub fn submit(&self, words: &[&str]) -> String {
        let mut all = vec!["intent", "submit"];
        all.extend(words);
        self.ask(&all)["executionId"].as_str().unwrap().to_owned()
    }

    /// The processes of this control plane, by the directory they were told.
    pub fn processes(&self) -> Vec<(i32, String)> {
        processes_of(self.directory.path())
    }

    pub fn pid_of(&self, name: &str) -> i32 {
        let found = self.processes();
        let ends = |program: &str| program == name || program.ends_with(&format!("/{name}"));
        let of = found.iter().find(|(_, program)| ends(program));
        of.unwrap_or_else(|| panic!("`{name}` does not run: {found:?}"))
            .0
    }
}

/// Types a command that need not reach a control plane.
pub fn type_in(words: &[&str]) -> Answer {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(binary("controlplane"))
        .args(words)
        .env_remove("CONTROL_PLANE_CONTEXT")
        .output()
        .unwrap();
    Answer {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(binary("controlplane"));
    command
        .args(words)
        .env("CONTROL_PLANE_NATS_SERVER", server_binary());
    command
}

pub fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("control-plane-it-")
        .tempdir()
        .unwrap()
}

pub fn data_in(directory: &Path) -> PathBuf {
    directory.join("data")
}

async fn start(directory: &Path, number: u32, options: &[&str]) -> Process {
    started(directory, number, up_command(directory, options)).await
}

fn up_command(directory: &Path, options: &[&str]) -> Command {
    let data = data_in(directory);
    let mut words = vec!["up", "--json"];
    if !options.contains(&"--listen") {
        words.extend(["--listen", "0"]);
    }
    words.extend(["--data", data.to_str().unwrap()]);
    words.extend(options);
    command(&words)
}

async fn started(directory: &Path, number: u32, command: Command) -> Process {
    let log = directory.join(format!("up-{number}.log"));
    let up = Process::spawn("controlplane up", command, &log);
    up.line("\"topic\":\"up\"").await;
    up
}

/// Every process, of whatever parent, whose command or environment names the directory.
pub fn processes_of(directory: &Path) -> Vec<(i32, String)> {
    let wanted = directory.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let read = |name| fs::read(entry.path().join(name)).unwrap_or_default();
        let (command, environment) = (read("cmdline"), read("environ"));
        let names = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        if names(&command) || names(&environment) {
            let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(program).into_owned()));
        }
    }
    found
}

pub fn kill9(pid: i32) {
    let status = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The end of a process that is not a child of this one.
struct End(AsyncFd<OwnedFd>);

impl End {
    #[expect(
        unsafe_code,
        reason = "the standard library cannot watch another's child"
    )]
    fn of(pid: i32) -> Self {
        // SAFETY: the call takes two integers and gives a descriptor that nobody else owns; it is
        // closed only when it is no longer registered.
        let registered = unsafe {
            let number = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            let descriptor = OwnedFd::from_raw_fd(i32::try_from(number).unwrap());
            AsyncFd::register_with_interest(descriptor, Interest::READABLE)
        };
        Self(registered.unwrap())
    }

    async fn wait(self) {
        timeout(STOP_WITHIN, self.0.readable())
            .await
            .expect("it still runs")
            .unwrap()
            .retain_ready();
    }
}

//! nats-server: found, obtained if need be, and run with one user for each service.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use journal::broker::{ACCOUNT, ServerConfig};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::{
    child::{Children, Recipe, die_with_parent},
    ground::Ground,
    sign::Sign,
};
use crate::{
    context::write_private,
    failure::Failure,
    install::{Heard, Known, Passwords, callers, users},
    screen::Screen,
};

/// The oldest nats-server that can hold the log.
const OLDEST: (u32, u32) = (2, 12);

/// What to do where a nats-server that was named is of no use.
const INSTEAD: &str = "name another one, or leave `--nats-server` out and the pinned one is used";

/// It prints its version at once; a program that does not is another one.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// Obtains a pinned nats-server. Part of this binary, so that it works from anywhere.
const OBTAIN: &str = include_str!("../../../../deploy/get-nats-server");

/// The server's heap is mostly garbage; without a limit it grows far beyond what it needs. Near the limit
/// it looks for garbage all the time, and with a million live events it holds some 800 MiB.
const MEMORY_LIMIT: &str = "2GiB";

/// The one that was named, the one on PATH if it is new enough, or one that is obtained.
pub async fn find(named: Option<&Path>, screen: Screen) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return match version(named.as_os_str()).await {
            Ok(found) if found >= OLDEST => Ok(named.to_owned()),
            Ok((major, minor)) => Err(Failure::Unsuccessful(format!(
                "`{}` is nats-server {major}.{minor}, and 2.12 or newer is needed: {INSTEAD}",
                named.display()
            ))),
            Err(error) => Err(Failure::Unsuccessful(format!(
                "`{}` cannot be run as nats-server ({error}): {INSTEAD}",
                named.display()
            ))),
        };
    }
    let on_path = version(OsStr::new("nats-server")).await;
    if on_path.is_ok_and(|found| found >= OLDEST) {
        return Ok("nats-server".into());
    }
    screen.note(
        "nats-server",
        "none on PATH is 2.12 or newer: using the pinned one, obtained if need be",
    );
    obtain().await
}

/// A broker that runs.
pub struct Broker {
    /// One address or several, separated by commas.
    pub url: String,
    /// Where its users find their passwords; nothing where it asks nobody.
    pub passwords: Option<Passwords>,
    /// Copies that each stream has to have; absent, as the log has them.
    pub replicas: Option<u8>,
    /// Whether it was started here, with a user for each principal.
    pub is_ours: bool,
}

/// Starts it on a free port.
pub async fn start(ground: &Ground<'_>, children: &mut Children) -> Result<Broker, Failure> {
    let (directory, settings) = (ground.directory, &ground.settings);
    let passwords = Passwords(directory.secrets());
    let binary = find(ground.args.nats_server.as_deref(), ground.screen).await?;
    let config_file = directory.broker().join("nats-server.conf");
    let store = directory.broker().join("data");
    let config = config(ground, &passwords, &store)?;
    settle_streams(&store)?;
    write_private(&config_file, config.render().as_bytes())
        .context("cannot write the broker's configuration")?;
    let run = directory.run();
    let recipe = Recipe {
        name: "nats-server".to_owned(),
        log: directory.log("nats-server"),
        sign: Sign::Broker { run: run.clone() },
        command: Box::new({
            let run = run.clone();
            move || command(&binary, &config_file, &run)
        }),
    };
    children.start_broker(recipe).ready().await?;
    let url = own_address(&run)?;
    let (streams, durability) = (settings.streams, settings.durability.as_str());
    let text = format!("{url}, streams {streams}, durability {durability}");
    ground.screen.note("nats-server", &text);
    Ok(Broker {
        url,
        passwords: Some(passwords),
        replicas: Some(1),
        is_ours: true,
    })
}

/// With everybody as a user whom it is to know.
pub fn config(
    ground: &Ground<'_>,
    passwords: &Passwords,
    store: &Path,
) -> Result<ServerConfig, Failure> {
    let (settings, principals) = (&ground.settings, &ground.principals);
    let heard = || Heard::In(settings.workspace.clone());
    let known = Known {
        streams: settings.stream_count()?,
        principals,
        workspace: &settings.workspace,
        serves: &settings.serves,
        events_reader: settings.republish.then(heard),
    };
    Ok(ServerConfig {
        listen: "127.0.0.1:-1".to_owned(),
        data_directory: store.display().to_string(),
        durability: settings.durability.durability(),
        // It listens on this machine only.
        tls: None,
        users: users(passwords, &known)?,
        callers: callers(passwords, principals)?,
    })
}

pub fn command(binary: &Path, config_file: &Path, run: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("-c")
        .arg(config_file)
        .arg("--ports_file_dir")
        .arg(run);
    command.env("GOMEMLIMIT", MEMORY_LIMIT);
    // Started again, it must be where everyone knows it to be.
    if let Some(port) = address(run).and_then(|url| Some(url.rsplit_once(':')?.1.to_owned())) {
        command.args(["-a", "127.0.0.1", "-p", &port]);
    }
    command
}

/// The broker keeps streams in a folder of their account. Those that were made while there was one
/// account for all come to the account of the services.
fn settle_streams(store: &Path) -> anyhow::Result<()> {
    /// As the broker calls an account that no configuration names.
    const UNNAMED: &str = "$G";
    let (unnamed, named) = (
        store.join("jetstream").join(UNNAMED),
        store.join("jetstream").join(ACCOUNT),
    );
    if unnamed.exists() {
        // Both are there where an older version ran in between.
        anyhow::ensure!(
            !named.exists(),
            "streams are in `{}` and in `{}`: keep the folder whose log is the one to go on with",
            unnamed.display(),
            named.display()
        );
        fs::rename(&unnamed, &named).with_context(|| {
            format!(
                "cannot rename `{}` to `{}`",
                unnamed.display(),
                named.display()
            )
        })?;
    }
    Ok(())
}

/// That of a server which is ready.
pub fn own_address(run: &Path) -> Result<String, Failure> {
    let unnamed = || Failure::Unsuccessful(format!("`{}` names no address", run.display()));
    address(run).ok_or_else(unnamed)
}

/// What the server writes once it listens: a file of its own making, by process id.
pub fn address(run: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Ports {
        nats: Vec<String>,
    }
    let entries = fs::read_dir(run).ok()?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut ports = files.filter(|path| path.extension().is_some_and(|name| name == "ports"));
    let read: Ports = serde_json::from_slice(&fs::read(ports.next()?).ok()?).ok()?;
    read.nats.into_iter().next()
}

async fn version(binary: &OsStr) -> io::Result<(u32, u32)> {
    let mut command = Command::new(binary);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(VERSION_WITHIN, command.output()).await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    parsed(&text).ok_or_else(|| io::Error::other("it tells no version"))
}

fn parsed(text: &str) -> Option<(u32, u32)> {
    let version = text.trim().rsplit('v').next()?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

async fn obtain() -> Result<PathBuf, Failure> {
    let mut command = Command::new("python3");
    command
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    die_with_parent(&mut command);
    let mut process = command.spawn().map_err(|error| {
        Failure::Unsuccessful(format!(
            "python3, which obtains nats-server, cannot be run: {error}\ninstall Python 3, or put \
             nats-server 2.12 or newer on PATH"
        ))
    })?;
    if let Some(mut stdin) = process.stdin.take() {
        // What it says about a broken pipe is better than what this would say.
        let _ = stdin.write_all(OBTAIN.as_bytes()).await;
    }
    let output = process
        .wait_with_output()
        .await
        .context("cannot wait for python3")?;
    if output.status.success() {
        Ok(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ))
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Unsuccessful(format!(
            "nats-server cannot be obtained: {}",
            said.trim()
        )))
    }
}

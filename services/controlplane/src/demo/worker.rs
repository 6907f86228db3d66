//! The worker of the demonstration: a Python program that serves skills over NATS, with a broker
//! user that can do nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use contracts::canonical::Digest;
use tokio::process::Command;

use super::script::Script;
use crate::{
    failure::Failure,
    install::WORKER,
    screen::Screen,
    up::{
        Plane,
        child::{Children, Recipe, die_with_parent},
        directory::Directory,
        sign::Sign,
    },
};

/// What the worker logs once it serves.
const READY: &str = "ready: serving";

pub async fn start(
    script: &Script,
    directory: &Directory,
    plane: &Plane,
    screen: Screen,
    children: &mut Children,
) -> Result<(), Failure> {
    let packages = packages(script, directory, screen).await?;
    let mut env = vec![
        ("CP_NATS_URL", plane.context.nats_url.clone()),
        ("CP_WORKSPACE", plane.context.workspace.to_string()),
    ];
    if let Some(passwords) = &plane.passwords {
        env.push(("CP_NATS_USER", WORKER.to_owned()));
        env.push(("CP_NATS_PASSWORD", passwords.of(WORKER)?));
    }
    let program = script.worker_program();
    let recipe = Recipe {
        name: WORKER.to_owned(),
        log: directory.log(WORKER),
        sign: Sign::Logged(READY),
        command: Box::new(move || {
            let mut command = Command::new("python3");
            command
                .arg(&program)
                .env("PYTHONPATH", &packages)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .envs(env.iter().map(|(name, value)| (*name, value)));
            command
        }),
    };
    children.start_other(recipe).ready().await?;
    screen.note(
        "worker",
        &format!("serves {}", script.entry_points().join(", ")),
    );
    Ok(())
}

/// The packages that the worker needs, in a directory of their own. Not a virtual environment:
/// that is one more thing that a machine with Python may lack.
async fn packages(
    script: &Script,
    directory: &Directory,
    screen: Screen,
) -> Result<PathBuf, Failure> {
    let requirements = script.worker_requirements();
    let text = fs::read(&requirements)
        .with_context(|| format!("cannot read `{}`", requirements.display()))?;
    let digest = Digest::of(&text).to_string();
    let target = directory.root().join("python");
    let done = target.join(".installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == digest) {
        return Ok(target);
    }
    screen.note("worker", "getting its Python packages, at pinned hashes");
    if target.exists() {
        fs::remove_dir_all(&target).context("cannot clear the Python packages")?;
    }
    install(&requirements, &target).await?;
    fs::write(&done, digest).context("cannot note that the packages are there")?;
    Ok(target)
}

async fn install(requirements: &Path, target: &Path) -> Result<(), Failure> {
    let mut command = Command::new("python3");
    command
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-deps", "--require-hashes", "--no-input", "--target"])
        .arg(target)
        .arg("--requirement")
        .arg(requirements)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    die_with_parent(&mut command);
    let output = command.output().await.map_err(|error| {
        Failure::Unsuccessful(format!("python3 cannot be run ({error}): install Python 3"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let advice = if said.contains("No module named pip") {
        "install pip (Debian: apt-get install python3-pip)"
    } else {
        "is the Python package index reachable?"
    };
    Err(Failure::Unsuccessful(format!(
        "the worker's Python packages cannot be installed: {advice}\n{}",
        said.trim()
    )))
}

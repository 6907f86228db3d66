//! What the executions do: five steps that say what they are told.

use std::path::PathBuf;

use contracts::{canonical::Digest, manifest::SkillManifest};
use serde_json::{Value, json};
use skills::signature::Validity;
use tokio::process::Command;
use worker::{Call, Limits, Worker};

use crate::{
    api::{Api, Over},
    context::Context,
    failure::Failure,
    install::WORKER,
    skill::{self, signing},
    up::{
        Plane,
        bootstrap::PUBLISHER,
        child::{Children, Recipe},
        directory::Directory,
        sign::Sign,
    },
};

/// Under which name the worker serves.
pub const ENTRY_POINT: &str = "bench-echo";

const SKILL: &str = "bench.echo";

/// What the worker says once it serves.
const READY: &str = "serves the skill";

const STEPS: usize = 5;

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// One after the other
    Sequence,
    /// All at once
    Parallel,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Through {
    /// The executor itself
    Builtin,
    /// A worker process over NATS
    Nats,
}

/// What is submitted, each time.
pub fn body(context: &Context, width: Width, through: Through) -> Value {
    let action = match through {
        Through::Builtin => "core.echo/echo".to_owned(),
        Through::Nats => format!("{SKILL}/echo"),
    };
    let id = |number: usize| format!("step-{number}");
    let steps: Vec<Value> = (1..=STEPS)
        .map(|number| {
            let needs: Vec<String> = match width {
                Width::Sequence if number > 1 => vec![id(number - 1)],
                Width::Sequence | Width::Parallel => Vec::new(),
            };
            let says = format!("this is what step {number} says");
            let inputs = json!({ "message": says });
            json!({ "id": id(number), "uses": action, "needs": needs, "with": inputs })
        })
        .collect();
    json!({
        "workspaceId": context.workspace,
        "text": "Say five things",
        "draft": { "steps": steps },
    })
}

#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    #[arg(long)]
    url: String,
    #[arg(long)]
    workspace: contracts::ids::WorkspaceId,
    #[arg(long)]
    password_file: PathBuf,
}

/// The worker as a child, and its skill.
pub async fn serve(
    directory: &Directory,
    plane: &Plane,
    children: &mut Children,
) -> Result<(), Failure> {
    let context = &plane.context;
    let (url, workspace) = (context.nats_url.clone(), context.workspace.to_string());
    let Some(user) = context.worker.clone() else {
        return Err(Failure::Unsuccessful(
            "the broker knows no worker".to_owned(),
        ));
    };
    let recipe = Recipe {
        name: WORKER.to_owned(),
        log: directory.log(WORKER),
        sign: Sign::Logged(READY),
        command: Box::new(move || {
            let mut command = Command::new(std::env::current_exe().unwrap_or_default());
            command
                .args(["bench", "worker", "--url", &url, "--workspace", &workspace])
                .arg("--password-file")
                .arg(&user.password_file);
            command
        }),
    };
    children.start_other(recipe).ready().await?;
    let manifest: SkillManifest = serde_json::from_value(manifest()).map_err(anyhow::Error::new)?;
    let key = directory.keys().join(format!("{PUBLISHER}.pem"));
    let signed = signing::signed(&manifest, &key, Validity::default())?;
    let admin = Api::new(context, "admin", Over::Http)?;
    skill::install(&admin, signed, artifact()).await?;
    Ok(())
}

/// The worker itself.
pub async fn work(args: WorkerArgs) -> Result<(), Failure> {
    let password = std::fs::read_to_string(&args.password_file).map_err(anyhow::Error::new)?;
    let limits = Limits {
        calls_max: 4096,
        ..Limits::default()
    };
    let worker = Worker::connect(&args.url, WORKER, password.trim_end(), limits).await;
    let worker = worker.map_err(anyhow::Error::new)?;
    let echo = |call: Call| async move { Ok(json!({ "message": call.inputs.get("message") })) };
    crate::screen::put(READY);
    let forever = std::future::pending();
    let served = worker
        .serve(args.workspace.as_str(), ENTRY_POINT, echo, forever)
        .await;
    Ok(served.map_err(anyhow::Error::new)?)
}

fn artifact() -> String {
    format!("sha256:{}", Digest::of(SKILL.as_bytes()))
}

fn manifest() -> Value {
    let message = json!({
        "type": "object",
        "properties": { "message": { "type": "string" } },
        "required": ["message"],
        "additionalProperties": false,
    });
    json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": SKILL, "version": "1.0.0", "entryPoint": format!("nats:{ENTRY_POINT}") },
        "publisher": { "id": PUBLISHER, "provenance": signing::DEVELOPMENT },
        "artifact": {
            "digest": artifact(),
            "files": [{ "path": "worker", "digest": artifact(), "size": SKILL.len() }],
        },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
            "requiredCapabilities": [{ "key": "control-plane.core" }],
        },
        "metadata": {
            "description": "says what it is told",
            "actions": {
                "echo": {
                    "description": "says what it is told",
                    "input": message,
                    "output": message,
                    "effect": "read",
                    "risk": "low",
                },
            },
        },
    })
}

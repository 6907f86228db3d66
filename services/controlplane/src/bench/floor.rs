//! The bare traffic, each part in a process of its own, on a broker of its own with the settings of
//! the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use contracts::ids::ExecutionId;
use host::clock::{Ambient as _, System};
use journal::jetstream::{
    self, ConnectOptions, InstallOptions,
    floor::{Floor, Generated, Part, Pattern},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, stdin},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    Conditions,
    cluster::{Cluster, Servers},
    load::Took,
};
use crate::{
    failure::Failure,
    install::Survives,
    screen::put,
    up::{
        broker as server,
        child::{Children, Recipe, die_with_parent},
        directory::Directory,
        sign::Sign,
    },
};

/// Appends of the raw rate: enough for a second or so, and in flight as deep as helps.
const RAW_APPENDS: usize = 20_000;
const RAW_IN_FLIGHT: usize = 512;

const READY: &str = "ready";

#[derive(Debug, clap::Args)]
pub struct PartArgs {
    #[arg(value_parser = part_of)]
    part: Part,
    url: String,
    pattern: PathBuf,
}

fn part_of(text: &str) -> Result<Part, String> {
    let known = Part::ALL.into_iter().find(|part| part.as_str() == text);
    known.ok_or_else(|| "no such part".to_owned())
}

/// Where the broker keeps what the durable consumers of the bare traffic have acknowledged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerState {
    /// On disk, in as many copies as the stream
    File,
    /// In the memory of one server
    Memory,
}

/// What the first part is told on its standard input, one line each.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Order {
    Generate { number: usize, at_once: usize },
    AppendOnly { number: usize, in_flight: usize },
}

fn new_id() -> ExecutionId {
    System.execution_id()
}

/// One process of the bare traffic.
pub async fn part(args: PartArgs) -> Result<(), Failure> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::Unsuccessful(format!("the bare traffic does not go on: {error}"))
    };
    let pattern = fs::read(&args.pattern).context("cannot read the pattern")?;
    let pattern: Pattern = serde_json::from_slice(&pattern).map_err(anyhow::Error::new)?;
    let floor = Floor::connect(&args.url, args.part, pattern).await;
    let floor = floor.map_err(failed)?;
    if args.part != Part::Intake {
        return floor.serve(args.part, || put(READY)).await.map_err(failed);
    }
    put(READY);
    let mut orders = BufReader::new(stdin()).lines();
    while let Some(line) = orders.next_line().await.map_err(anyhow::Error::new)? {
        let order: Order = serde_json::from_str(&line).map_err(anyhow::Error::new)?;
        let generated = match order {
            Order::Generate { number, at_once } => floor.generate(number, at_once, new_id).await,
            Order::AppendOnly { number, in_flight } => {
                let took = floor.append_only(number, in_flight, new_id).await;
                took.map(|took| Generated {
                    took,
                    ..Generated::default()
                })
            }
        };
        let generated = generated.map_err(failed)?;
        put(&serde_json::to_string(&generated).map_err(anyhow::Error::new)?);
    }
    Ok(())
}

/// All of it.
pub struct Bare {
    // Dropped, it ends.
    _intake: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Bare {
    pub async fn start(
        directory: &Directory,
        conditions: &Conditions,
        pattern: &Pattern,
        children: &mut Children,
    ) -> Result<Self, Failure> {
        let url = start_broker(directory, conditions, children).await?;
        let options = ConnectOptions::new(&url, "floor").streams(conditions.streams);
        let asked = InstallOptions {
            replicas: Some(conditions.servers.number()),
            ..InstallOptions::new(conditions.streams)
        };
        jetstream::install(&options, asked)
            .await
            .map_err(crate::log::refused)?;
        let file = directory.run().join("floor.json");
        let text = serde_json::to_vec(pattern).map_err(anyhow::Error::new)?;
        fs::write(&file, text).context("cannot write the pattern")?;
        for part in Part::ALL {
            if part == Part::Intake || (part == Part::Worker && !pattern.calls) {
                continue;
            }
            let (url, file) = (url.clone(), file.clone());
            let recipe = Recipe {
                name: format!("floor-{}", part.as_str()),
                log: directory.log(&format!("floor-{}", part.as_str())),
                sign: Sign::Logged(READY),
                command: Box::new(move || command(part, &url, &file)),
            };
            children.start_other(recipe).ready().await?;
        }
        let mut intake = command(Part::Intake, &url, &file);
        intake
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        die_with_parent(&mut intake);
        let mut intake = intake.spawn().context("cannot start the bare traffic")?;
        let (Some(orders), Some(answers)) = (intake.stdin.take(), intake.stdout.take()) else {
            return Err(Failure::Unsuccessful("a pipe is missing".to_owned()));
        };
        let mut bare = Self {
            _intake: intake,
            orders,
            answers: BufReader::new(answers).lines(),
        };
        bare.answer().await?;
        Ok(bare)
    }

    pub async fn generate(&mut self, number: usize, at_once: u32) -> Result<Took, Failure> {
        let at_once = at_once as usize;
        let generated = self.ask(Order::Generate { number, at_once }).await?;
        Ok(Took {
            all: generated.took,
            to_end: generated.latencies,
            to_answer: Vec::new(),
        })
    }

    /// Appends a second, with nothing that waits for another.
    pub async fn append_only(&mut self) -> Result<f64, Failure> {
        let order = Order::AppendOnly {
            number: RAW_APPENDS,
            in_flight: RAW_IN_FLIGHT,
        };
        let generated = self.ask(order).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let number = RAW_APPENDS as f64;
        Ok(number / generated.took.max(Duration::from_millis(1)).as_secs_f64())
    }

    async fn ask(&mut self, order: Order) -> Result<Generated, Failure> {
        let mut line = serde_json::to_string(&order).map_err(anyhow::Error::new)?;
        line.push('\n');
        let sent = self.orders.write_all(line.as_bytes()).await;
        sent.context("the bare traffic has ended")?;
        let answer = self.answer().await?;
        Ok(serde_json::from_str(&answer).map_err(anyhow::Error::new)?)
    }

    async fn answer(&mut self) -> Result<String, Failure> {
        let line = self.answers.next_line().await.map_err(anyhow::Error::new)?;
        line.ok_or_else(|| Failure::Unsuccessful("the bare traffic has ended".to_owned()))
    }
}

fn command(part: Part, url: &str, pattern: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command
        .args(["bench", "part", part.as_str(), url])
        .arg(pattern);
    command
}

/// Without users: what they cost is ours.
async fn start_broker(
    directory: &Directory,
    conditions: &Conditions,
    children: &mut Children,
) -> Result<String, Failure> {
    const NAME: &str = "floor-nats-server";
    let root = directory.broker().join("floor");
    let binary = server::find(conditions.nats_server.as_deref(), children.screen()).await?;
    let config = |store: &Path| {
        let sync = match conditions.durability {
            Survives::Process => "",
            Survives::Disk => ", sync_interval: always",
        };
        let store = store.display();
        format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{store}\"{sync} }}\n")
    };
    if conditions.servers == Servers::Three {
        let cluster = Cluster {
            name: NAME,
            root,
            binary,
        };
        let config = |store: &Path| Ok(config(store));
        return cluster.start(directory, config, children).await;
    }
    let run = root.join("run");
    fs::create_dir_all(&run).context("cannot make the broker's directory")?;
    let file = root.join("nats-server.conf");
    fs::write(&file, config(&root.join("data"))).context("cannot write its configuration")?;
    let recipe = Recipe {
        name: NAME.to_owned(),
        log: directory.log(NAME),
        sign: Sign::Broker { run: run.clone() },
        command: Box::new({
            let run = run.clone();
            move || server::command(&binary, &file, &run)
        }),
    };
    children.start_broker(recipe).ready().await?;
    server::own_address(&run)
}

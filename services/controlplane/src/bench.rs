//! `bench`: what an execution takes on this machine, and what the bare traffic of the same messages
//! takes there in the same run, so that every figure can be read as a ratio.
//!
//! The services are those that always run, on a broker of their own; nothing is done for the
//! measurement's sake but that submissions go to intake itself and not through the gateway of `up`,
//! which stands for what a cluster has in its place.
//!
//! * [`load`]: executions submitted, so many at once or so many a second, each until its end
//! * [`plan`]: what they do
//! * [`floor`]: the bare traffic, in processes of its own
//! * [`cluster`]: a broker of three servers
//! * [`usage`]: what processes have used
//! * [`report`]: the figures, [`table`]: in words; [`compare`]: two of them

mod cluster;
mod compare;
mod floor;
mod load;
mod plan;
mod report;
mod table;
mod usage;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use contracts::{
    event::Service,
    facts::ActorType,
    ids::{PrincipalId, WorkspaceId},
    registry::Role,
};
use host::principals::{Credential, Document, token_hash};
use journal::{jetstream::JetStreamJournal, layout::StreamCount, permissions::caller_name};

use self::{
    cluster::Servers,
    floor::{Bare, ConsumerState},
    load::{Load, Pace},
    plan::{Through, Width},
    report::{Report, Round},
    usage::Usage,
};
use crate::{
    api::{Api, Over},
    command::Global,
    context::{Context, Identity, NatsTls, write_private},
    failure::Failure,
    install::{Passwords, Survives, random_text, stream_count},
    log,
    screen::Screen,
    up::{self, Plane, Stop, child::Children, directory::Directory, ground::Ground},
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure the bare traffic only
    Floor(Box<OnlyFloor>),
    /// What is otherwise in the second of two reports that `bench --json` has written
    Compare { before: PathBuf, after: PathBuf },
    /// A process of the bare traffic
    #[command(hide = true)]
    Part(floor::PartArgs),
    /// A process that serves the skill
    #[command(hide = true)]
    Worker(plan::WorkerArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct Run {
    #[command(flatten)]
    conditions: Conditions,
    /// Submit so many a second, however long they take, instead of so many at once
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Events that are in the log before anything is measured, of executions that ran
    #[arg(long, value_name = "EVENTS", default_value_t = 0)]
    prefill: u64,
    /// Leave the bare traffic out
    #[arg(long)]
    no_floor: bool,
    /// Of the bare traffic alone; else as services have theirs, on disk.
    #[arg(skip)]
    consumer_state: Option<ConsumerState>,
}

#[derive(Debug, Clone, clap::Args)]
struct OnlyFloor {
    #[command(flatten)]
    conditions: Conditions,
    /// Where the broker keeps what consumers have acknowledged
    #[arg(long, value_enum, default_value_t = ConsumerState::File)]
    consumer_state: ConsumerState,
}

#[derive(Debug, Clone, clap::Args)]
struct Conditions {
    /// Executions that are measured, all rounds together
    #[arg(short = 'n', long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    executions: u32,
    /// Executions at once
    #[arg(short = 'c', long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: u32,
    /// Into how many rounds they are parted: the services and the bare traffic take turns, and the
    /// middle one of each figure counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Executions before that, which are not measured
    #[arg(long, default_value_t = 300)]
    warm_up: u32,
    /// Five steps, one after the other or at once
    #[arg(long, value_enum, default_value_t = Width::Sequence)]
    plan: Width,
    /// What runs the steps: the executor itself, or a worker process
    #[arg(long, value_enum, default_value_t = Through::Builtin)]
    through: Through,
    /// What an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Survives::Process)]
    durability: Survives,
    /// Of how many nats-servers each broker is: that of the services, and that of the bare traffic
    #[arg(long, value_enum, value_name = "NUMBER", default_value = "1")]
    servers: Servers,
    /// Into how many streams executions are spread
    #[arg(long, default_value = "1", value_parser = stream_count)]
    streams: StreamCount,
    /// A directory on the disk that is to be measured: everything is kept in a new one below it until
    /// the end [default: that of temporary files]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The nats-server to start; else the one on PATH if it is 2.12 or newer, else it is obtained
    #[arg(
        long,
        value_name = "FILE",
        env = "CONTROL_PLANE_NATS_SERVER",
        hide_env_values = true
    )]
    nats_server: Option<PathBuf>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let (run, only_floor) = match args.command {
        None => (args.run, false),
        Some(Command::Floor(only)) => (
            Run {
                conditions: only.conditions,
                rate: None,
                prefill: 0,
                no_floor: false,
                consumer_state: Some(only.consumer_state),
            },
            true,
        ),
        Some(Command::Compare { before, after }) => {
            return compare::run(&before, &after, global.screen());
        }
        Some(Command::Part(args)) => return floor::part(args).await,
        Some(Command::Worker(args)) => return plan::work(args).await,
    };
    let stop = Stop::on_signals()?;
    // Removed when this ends, and never one that a control plane uses.
    let mut temporary = tempfile::Builder::new();
    let temporary = temporary.prefix("control-plane-bench-");
    let temporary = match &run.conditions.data {
        Some(data) => temporary.tempdir_in(data),
        None => temporary.tempdir(),
    };
    let temporary = temporary.context("cannot make a temporary directory")?;
    let directory = Directory::open(&temporary.path().join("data"))?;
    let mut stage = Stage {
        screen: global.screen(),
        directory,
        plane: Children::new(global.screen().aside(), stop.hurry()),
        bare: Children::new(global.screen().aside(), stop.hurry()),
    };
    let measured = stop
        .unless(Box::pin(stage.measure(&run, only_floor, global.over())))
        .await;
    stage.finish().await;
    let report = measured?;
    global.screen().answer(&report, || report.to_string());
    Ok(())
}

/// Where the measurement happens.
struct Stage {
    screen: Screen,
    directory: Directory,
    plane: Children,
    bare: Children,
}

impl Stage {
    async fn measure(
        &mut self,
        run: &Run,
        only_floor: bool,
        over: Over,
    ) -> Result<Report, Failure> {
        let conditions = &run.conditions;
        let screen = self.screen.aside();
        let submitters = self.submitters()?;
        let plane = Box::pin(self.bring_up(conditions)).await?;
        if conditions.through == Through::Nats {
            plan::serve(&self.directory, &plane, &mut self.plane).await?;
        }
        let context = beside_the_gateway(&plane);
        let mut load = Load::new(
            submitters
                .iter()
                .map(|identity| Api::of(&context, identity, over))
                .collect::<Result<_, _>>()?,
            JetStreamJournal::connect(&log::reader(&plane.context)?)
                .await
                .map_err(log::refused)?,
            plan::body(&context, conditions.plan, conditions.through),
        )
        .await?;
        let at_once = Pace::AtOnce(conditions.concurrency as usize);
        screen.note("warm-up", &format!("{} executions", conditions.warm_up));
        let warm_up = conditions.warm_up.max(1) as usize;
        load.run(warm_up, at_once).await?;
        self.prefill(&mut load, run.prefill).await?;
        let mut report = Report::of(run, over, load.stored().await?);
        let mut bare = if run.no_floor {
            None
        } else {
            let pattern = load.pattern(run).await?;
            let bare = Bare::start(&self.directory, conditions, &pattern, &mut self.bare).await?;
            Some(bare)
        };
        if let Some(bare) = &mut bare {
            bare.generate(warm_up, conditions.concurrency).await?;
            report.raw_appends_per_second = Some(bare.append_only().await?);
        }
        let of_one = conditions.executions.div_ceil(conditions.rounds);
        let pace = run.rate.map_or(at_once, Pace::ASecond);
        for number in 1..=conditions.rounds {
            screen.note("round", &format!("{number} of {}", conditions.rounds));
            let mut round = Round::default();
            if !only_floor {
                let before = Usage::now()?;
                let took = load.run(of_one as usize, pace).await?;
                load.caught_up().await?;
                round.services = Some(report::Measured::of(&took, &before, &Usage::now()?));
            }
            if let Some(bare) = &mut bare {
                let before = Usage::now()?;
                let took = bare
                    .generate(of_one as usize, conditions.concurrency)
                    .await?;
                round.floor = Some(report::Measured::of(&took, &before, &Usage::now()?));
            }
            report.rounds.push(round);
        }
        report.settle(load.stored().await?, &Usage::now()?);
        Ok(report)
    }

    async fn bring_up(&mut self, conditions: &Conditions) -> Result<Plane, Failure> {
        let screen = self.screen.aside();
        let args = up_args(conditions, self.directory.root())?;
        match conditions.servers {
            Servers::One => up::start(&self.directory, &args, screen, &mut self.plane).await,
            Servers::Three => {
                let ground = Ground::settle(&self.directory, &args, screen).await?;
                let broker = cluster::start(&ground, &mut self.plane).await?;
                up::start_on(ground, broker, &mut self.plane).await
            }
        }
    }

    /// By running executions, which is the only way to have a log that holds together.
    async fn prefill(&self, load: &mut Load, events: u64) -> Result<(), Failure> {
        const AT_ONCE: usize = 64;
        const SLICE: u64 = 30_000;
        let screen = self.screen.aside();
        loop {
            let stored = load.stored().await?;
            if stored.events >= events {
                break;
            }
            let of_one = load.events_of_one().await?;
            let missing = (events - stored.events).min(SLICE).div_ceil(of_one);
            let number = usize::try_from(missing).unwrap_or(usize::MAX);
            load.run(number, Pace::AtOnce(AT_ONCE)).await?;
            screen.note("prefill", &format!("{} of {events} events", stored.events));
        }
        load.caught_up().await
    }

    /// Several, because one principal may ask for no more than so much a second.
    fn submitters(&self) -> Result<Vec<Identity>, Failure> {
        const SUBMITTERS: usize = 8;
        let workspace = workspace()?;
        let passwords = Passwords(self.directory.secrets());
        let mut document = Document::default();
        let mut submitters = Vec::new();
        for number in 1..=SUBMITTERS {
            let id: PrincipalId = format!("bench-{number}")
                .parse()
                .map_err(anyhow::Error::new)?;
            let token = random_text();
            document.principals.push(Credential {
                id: id.clone(),
                kind: ActorType::Service,
                workspace: workspace.clone(),
                roles: [Role::Submitter].into(),
                grants: BTreeSet::new(),
                token_hash: token_hash(&token),
                not_after: None,
            });
            submitters.push(Identity {
                broker: Some(up::broker_user(&caller_name(&workspace, &id), &passwords)),
                id,
                token,
            });
        }
        let bytes = serde_json::to_vec_pretty(&document).map_err(anyhow::Error::new)?;
        write_private(&self.directory.principals(), &bytes)
            .context("cannot write the principals")?;
        Ok(submitters)
    }

    async fn finish(self) {
        self.bare.stop().await;
        up::finish(&self.directory, self.screen.aside(), self.plane).await;
    }
}

fn workspace() -> Result<WorkspaceId, Failure> {
    Ok("bench".parse().map_err(anyhow::Error::new)?)
}

fn up_args(conditions: &Conditions, data: &Path) -> Result<up::Args, Failure> {
    Ok(up::Args {
        data: data.to_owned(),
        nats_url: None,
        nats_tls: NatsTls::default(),
        nats_passwords: None,
        nats_server: conditions.nats_server.clone(),
        streams: Some(conditions.streams),
        durability: Some(conditions.durability),
        listen: Some(up::ANY_ADDRESS),
        encryption: up::Encryption::default(),
        workspace: Some(workspace()?),
        serves: vec![plan::ENTRY_POINT.to_owned()],
        republish: None,
        trust: Vec::new(),
    })
}

/// The gateway is in this process, which also submits.
fn beside_the_gateway(plane: &Plane) -> Context {
    let at = |service: Service| {
        let metrics = plane.metrics.get(&service)?;
        Some(metrics.trim_end_matches("/metrics").to_owned())
    };
    let mut context = plane.context.clone();
    if let Some(intake) = at(Service::Intake) {
        context.url = intake;
    }
    context.queries_url = at(Service::Projector);
    context
}

//! The simulation as a command.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use host::judge::Judge;
use simulation::{
    draw,
    run::{self, Summary, Worlds},
    script::Script,
    world,
};

/// Lives through seeded histories of the whole control plane, and says where one goes wrong.
///
/// Exit codes: 0 nothing went wrong, 1 something did, 2 wrong usage.
#[derive(Parser)]
#[command(name = "simulation", version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    worlds: Range,
}

#[derive(Args)]
struct Range {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds, one after the other
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// How many worlds at once; as many as there are cores by default
    #[arg(long)]
    threads: Option<usize>,
    /// Compares the rows of the read model for one seed in so many; 0 for none
    #[arg(long, default_value_t = 100)]
    read_model_every: u64,
    /// Says how often each action, state, answer and event occurred
    #[arg(long)]
    coverage: bool,
    /// Fails if an action, a state with a command, or an event never occurred
    #[arg(long)]
    no_holes: bool,
    /// Prints what came of it as JSON
    #[arg(long)]
    json: bool,
    /// Plants a bug, to see that it is found
    #[cfg(feature = "planted-bugs")]
    #[arg(long)]
    plant: Option<contracts::planted::Bug>,
}

#[derive(Subcommand)]
enum Verb {
    /// Prints the script that a seed draws
    Script { seed: u64 },
    /// Plants one bug after the other, and says after how many seeds each is found
    #[cfg(feature = "planted-bugs")]
    Planted {
        /// Only this one
        #[arg(long)]
        bug: Option<contracts::planted::Bug>,
        /// The first seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many worlds at once; as many as there are cores by default
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Tells a script, or a seed, as a story
    Tell {
        /// A seed, or a file with a script
        what: String,
    },
}

fn main() -> ExitCode {
    let Command { verb, worlds } = Command::parse();
    match verb {
        None => many(&worlds),
        Some(Verb::Script { seed }) => {
            print!("{}", draw::script(seed));
            ExitCode::SUCCESS
        }
        #[cfg(feature = "planted-bugs")]
        Some(Verb::Planted { bug, from, threads }) => {
            planted(bug, from, threads.unwrap_or_else(cores))
        }
        Some(Verb::Tell { what }) => match read(&what) {
            Ok(script) => tell(&script),
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::from(2)
            }
        },
    }
}

fn read(what: &str) -> anyhow::Result<Script> {
    use anyhow::Context as _;
    if let Ok(seed) = what.parse() {
        return Ok(draw::script(seed));
    }
    let path = PathBuf::from(what);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("`{what}` is neither a seed nor a file that can be read"))?;
    text.parse()
        .with_context(|| format!("`{what}` is no script"))
}

fn tell(script: &Script) -> ExitCode {
    let outcome = world::run(script, &Arc::new(Judge::default()), true);
    for line in &outcome.transcript {
        println!("{line}");
    }
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("\n{violation}");
            ExitCode::FAILURE
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn many(range: &Range) -> ExitCode {
    let worlds = Worlds {
        from: range.from,
        seeds: range.seeds,
        threads: range.threads.unwrap_or_else(cores),
        read_model_every: range.read_model_every,
    };
    let shows = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if shows && (done.is_multiple_of(100) || done == worlds.seeds) {
            eprint!("\r{done} of {} worlds", worlds.seeds);
            let _ = std::io::stderr().flush();
        }
    };
    let began = tokio::time::Instant::now();
    let mut summary = run::run(worlds, &planting(range), progress);
    let took = began.elapsed();
    if shows {
        eprintln!();
    }
    summary.failure = summary.failure.map(|failure| {
        let judge = Arc::new(Judge::default());
        planting(range)();
        failure.shrunk(&judge)
    });
    if range.json {
        println!("{}", summary.to_json(took));
    } else {
        print(&summary, took, range.coverage);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = range.plant {
            println!(
                "`{bug}` was planted: to run it again, add `--features planted-bugs` and `--plant {bug}`"
            );
        }
    }
    let holes = if range.no_holes {
        summary.coverage.holes()
    } else {
        Vec::new()
    };
    for hole in &holes {
        eprintln!("{hole}");
    }
    if summary.failure.is_none() && holes.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(feature = "planted-bugs")]
fn planting(range: &Range) -> impl Fn() + Sync + use<> {
    let bug = range.plant;
    move || contracts::planted::plant(bug)
}

/// Each bug within the number of seeds that is stated for it.
#[cfg(feature = "planted-bugs")]
fn planted(only: Option<contracts::planted::Bug>, from: u64, threads: usize) -> ExitCode {
    use simulation::planted::{self, Hunt};
    let mut all_found = true;
    for Hunt { bug, within } in planted::HUNTS {
        if only.is_some_and(|only| only != bug) {
            continue;
        }
        let worlds = Worlds {
            from,
            seeds: within,
            threads,
            read_model_every: 0,
        };
        let summary = run::run(worlds, &|| contracts::planted::plant(Some(bug)), |_| {});
        match summary.failure {
            Some(failure) => println!(
                "{bug:<24} found after {:>5} of at most {within:>5} seeds: {}",
                failure.seed - from + 1,
                failure.violation.rule
            ),
            None => {
                all_found = false;
                println!("{bug:<24} NOT FOUND within {within} seeds");
            }
        }
    }
    if all_found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(not(feature = "planted-bugs"))]
fn planting(_range: &Range) -> impl Fn() + Sync + use<> {
    || {}
}

fn print(summary: &Summary, took: Duration, coverage: bool) {
    if let Some(failure) = &summary.failure {
        println!("{failure}");
    }
    if coverage {
        println!("{}", summary.coverage);
    }
    println!(
        "{} worlds with {} events in {:.1} s: {}",
        summary.worlds,
        summary.events,
        took.as_secs_f64(),
        if summary.failure.is_some() {
            "one went wrong"
        } else {
            "nothing went wrong"
        }
    );
}

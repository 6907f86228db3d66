//! The report in words and columns.

use std::fmt::{self, Display, Formatter};

use super::{
    floor::ConsumerState,
    plan::{Through, Width},
    report::{Conditions, Percentiles, Report},
};

/// As they follow each other in an execution.
const PROCESSES: [&str; 7] = [
    "nats-server",
    "intake",
    "planner",
    "verifier",
    "executor",
    "projector",
    "worker",
];

impl Display for Conditions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            executions,
            concurrency,
            rate,
            plan,
            through,
            over,
            durability,
            servers,
            streams,
            consumer_state,
            events_before,
            cores,
            machine_load,
            build,
        } = self;
        let pace = match (concurrency, rate) {
            (_, Some(rate)) => format!("{rate} a second"),
            (Some(concurrency), None) => format!("{concurrency} at once"),
            (None, None) => String::new(),
        };
        let plan = match plan {
            Width::Sequence => "five steps in sequence",
            Width::Parallel => "five steps at once",
        };
        let through = match through {
            Through::Builtin => "the built-in skill",
            Through::Nats => "a worker over NATS",
        };
        let durability = durability.as_str();
        writeln!(
            f,
            "{executions} executions of {plan}, {through}, over {over}, {pace}"
        )?;
        writeln!(
            f,
            "durability {durability}, servers {servers}, streams {streams}, {events_before} events \
             before; {cores} cores, load {machine_load}, {build} build"
        )?;
        match consumer_state {
            Some(ConsumerState::File) => writeln!(f, "consumers have their state on disk"),
            Some(ConsumerState::Memory) => {
                writeln!(f, "consumers have their state in the memory of one server")
            }
            None => Ok(()),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.conditions)?;
        row(
            f,
            "",
            ["services", "bare traffic", "ratio"].map(str::to_owned),
        )?;
        let figures = &self.figures;
        line(
            f,
            "executions a second",
            figures.executions_per_second,
            figures.floor_executions_per_second,
            figures.throughput_ratio,
        )?;
        line(
            f,
            "CPU of an execution, ms",
            figures.cpu_ms_per_execution,
            figures.floor_cpu_ms_per_execution,
            figures.cpu_ratio,
        )?;
        for process in PROCESSES {
            let ours = figures.cpu_ms_by_process.get(process).copied();
            let bare = format!("floor {process}");
            let bare = figures.floor_cpu_ms_by_process.get(&bare).copied();
            both(f, &format!("  {process}"), ours, bare)?;
        }
        let (ours, bare) = (figures.latency_ms, figures.floor_latency_ms);
        percentiles(f, "submission to end, ms", ours, bare)?;
        percentiles(f, "submission to answer, ms", figures.submit_ms, None)?;
        let client = figures.client_cpu_ms_per_execution;
        both(f, "CPU of who submits, ms", client, None)?;
        both(f, "raw appends a second", None, self.raw_appends_per_second)?;
        let some = |figure: f64| Some(figure).filter(|figure| *figure > 0.0);
        both(
            f,
            "events of an execution",
            some(self.events_per_execution),
            None,
        )?;
        let bytes = some(self.stored_bytes_per_execution);
        both(f, "bytes stored of an execution", bytes, None)?;
        for (name, memory) in &self.memory_mib {
            if !name.starts_with("floor ") {
                both(f, &format!("memory of {name}, MiB"), Some(*memory), None)?;
            }
        }
        Ok(())
    }
}

fn percentiles(
    f: &mut Formatter<'_>,
    what: &str,
    ours: Option<Percentiles>,
    bare: Option<Percentiles>,
) -> fmt::Result {
    let each = |it: Option<Percentiles>| match it {
        Some(Percentiles { p50, p95, p99 }) => [Some(p50), Some(p95), Some(p99)],
        None => [None; 3],
    };
    let figures = each(ours).into_iter().zip(each(bare));
    for (name, (ours, bare)) in ["p50", "p95", "p99"].into_iter().zip(figures) {
        both(f, &format!("{what}, {name}"), ours, bare)?;
    }
    Ok(())
}

/// Nothing where neither was measured.
fn both(f: &mut Formatter<'_>, what: &str, ours: Option<f64>, bare: Option<f64>) -> fmt::Result {
    if ours.or(bare).is_none() {
        return Ok(());
    }
    let ratio = ours.zip(bare).map(|(ours, bare)| ours / bare);
    line(f, what, ours, bare, ratio)
}

fn line(
    f: &mut Formatter<'_>,
    what: &str,
    ours: Option<f64>,
    bare: Option<f64>,
    ratio: Option<f64>,
) -> fmt::Result {
    let cell = |figure: Option<f64>| figure.map_or_else(String::new, shown);
    row(f, what, [cell(ours), cell(bare), cell(ratio)])
}

fn row(f: &mut Formatter<'_>, what: &str, cells: [String; 3]) -> fmt::Result {
    let [ours, bare, ratio] = cells;
    let line = format!("{what:<32} {ours:>10} {bare:>13} {ratio:>8}");
    writeln!(f, "{}", line.trim_end())
}

fn shown(figure: f64) -> String {
    if figure >= 100.0 {
        format!("{figure:.0}")
    } else if figure >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.3}")
    }
}

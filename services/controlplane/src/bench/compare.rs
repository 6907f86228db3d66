//! Two reports side by side.

use std::{fs, path::Path};

use serde::Serialize;

use super::report::Report;
use crate::{failure::Failure, screen::Screen};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    figure: &'static str,
    before: f64,
    after: f64,
    ratio: f64,
}

/// What a figure is called, and where it is.
type Named = (&'static str, fn(&Report) -> Option<f64>);

const FIGURES: [Named; 12] = [
    ("executionsPerSecond", |it| it.figures.executions_per_second),
    ("cpuMsPerExecution", |it| it.figures.cpu_ms_per_execution),
    ("latencyMs.p50", |it| Some(it.figures.latency_ms?.p50)),
    ("latencyMs.p99", |it| Some(it.figures.latency_ms?.p99)),
    ("submitMs.p99", |it| Some(it.figures.submit_ms?.p99)),
    ("floorExecutionsPerSecond", |it| {
        it.figures.floor_executions_per_second
    }),
    ("floorCpuMsPerExecution", |it| {
        it.figures.floor_cpu_ms_per_execution
    }),
    ("rawAppendsPerSecond", |it| it.raw_appends_per_second),
    ("throughputRatio", |it| it.figures.throughput_ratio),
    ("cpuRatio", |it| it.figures.cpu_ratio),
    ("latencyRatio", |it| it.figures.latency_ratio),
    ("storedBytesPerExecution", |it| {
        Some(it.stored_bytes_per_execution)
    }),
];

pub fn run(before: &Path, after: &Path, screen: Screen) -> Result<(), Failure> {
    let (old, new) = (read(before)?, read(after)?);
    let compared: Vec<Compared> = FIGURES
        .iter()
        .filter_map(|(figure, of)| {
            let (before, after) = (of(&old)?, of(&new)?);
            Some(Compared {
                figure,
                before,
                after,
                ratio: after / before,
            })
        })
        .collect();
    let differ = conditions(&old) != conditions(&new);
    screen.answer(&compared, || {
        let rows: Vec<Vec<String>> = compared
            .iter()
            .map(|it| {
                vec![
                    it.figure.to_owned(),
                    format!("{:.3}", it.before),
                    format!("{:.3}", it.after),
                    format!("{:.3}", it.ratio),
                ]
            })
            .collect();
        let table = screen.table(&["figure", "before", "after", "after/before"], &rows);
        if differ {
            format!("{table}\nmeasured under other conditions: see both reports")
        } else {
            table
        }
    });
    Ok(())
}

/// Those that were chosen.
fn conditions(report: &Report) -> impl PartialEq {
    let it = &report.conditions;
    let chosen = (it.concurrency, it.rate, it.plan, it.through, it.durability);
    (
        chosen,
        it.over.clone(),
        (it.servers, it.streams, it.consumer_state),
        it.build.clone(),
        it.cores,
    )
}

fn read(file: &Path) -> Result<Report, Failure> {
    let bytes = fs::read(file)
        .map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", file.display())))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::Usage(format!(
            "`{}` is no report of `bench --json`: {error}",
            file.display()
        ))
    })
}

//! The figures, with their conditions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Run,
    floor::ConsumerState,
    load::{Stored, Took},
    plan::{Through, Width},
    usage::{Usage, Used},
};
use crate::{api::Over, install::Survives};

/// What was measured, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub conditions: Conditions,
    #[serde(flatten)]
    pub figures: Figures,
    pub raw_appends_per_second: Option<f64>,
    pub events_per_execution: f64,
    /// In the streams of the log, as the broker counts them.
    pub stored_bytes_per_execution: f64,
    /// Resident at the end, by process.
    pub memory_mib: BTreeMap<String, f64>,
    pub rounds: Vec<Round>,
    #[serde(skip)]
    at_first: Stored,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    pub executions: u32,
    /// At once; nothing where they came so many a second.
    pub concurrency: Option<u32>,
    pub rate: Option<u32>,
    pub plan: Width,
    pub through: Through,
    pub over: String,
    pub durability: Survives,
    /// Of each broker.
    #[serde(default = "one")]
    pub servers: u8,
    pub streams: u8,
    /// Nothing where the services were measured too: consumers have theirs on disk then.
    pub consumer_state: Option<ConsumerState>,
    pub events_before: u64,
    pub cores: usize,
    /// Over one minute, before it began.
    pub machine_load: String,
    /// `release` or `debug`.
    pub build: String,
}

/// What a report of before there was a choice leaves out.
fn one() -> u8 {
    1
}

/// The middle one of all rounds, each for itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    pub executions_per_second: Option<f64>,
    /// Of nats-server and all services; who submits is not in it.
    pub cpu_ms_per_execution: Option<f64>,
    pub cpu_ms_by_process: BTreeMap<String, f64>,
    pub client_cpu_ms_per_execution: Option<f64>,
    /// From the submission to the end.
    pub latency_ms: Option<Percentiles>,
    /// From the submission to the answer, which says that its first event is stored.
    pub submit_ms: Option<Percentiles>,
    pub floor_executions_per_second: Option<f64>,
    pub floor_cpu_ms_per_execution: Option<f64>,
    pub floor_cpu_ms_by_process: BTreeMap<String, f64>,
    pub floor_latency_ms: Option<Percentiles>,
    /// Of the services to the bare traffic, of the same round each.
    pub cpu_ratio: Option<f64>,
    pub throughput_ratio: Option<f64>,
    pub latency_ratio: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Round {
    pub services: Option<Measured>,
    pub floor: Option<Measured>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    pub executions_per_second: f64,
    pub cpu_ms_per_execution: f64,
    pub cpu_ms_by_process: BTreeMap<String, f64>,
    pub client_cpu_ms_per_execution: f64,
    pub latency_ms: Option<Percentiles>,
    pub submit_ms: Option<Percentiles>,
}

impl Percentiles {
    fn of(durations: &[Duration]) -> Option<Self> {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            Some(sorted.get(index)?.as_secs_f64() * 1000.0)
        };
        Some(Self {
            p50: at(50)?,
            p95: at(95)?,
            p99: at(99)?,
        })
    }

    fn middle(of: impl Iterator<Item = Self> + Clone) -> Option<Self> {
        Some(Self {
            p50: middle(of.clone().map(|it| it.p50))?,
            p95: middle(of.clone().map(|it| it.p95))?,
            p99: middle(of.map(|it| it.p99))?,
        })
    }
}

impl Measured {
    /// Only what was used by the processes of the kind that ran more than nothing is told.
    pub fn of(took: &Took, before: &Usage, after: &Usage) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let number = took.to_end.len().max(1) as f64;
        let is_bare = took.to_answer.is_empty();
        let each = after.since(before).into_iter();
        let each = each.filter(|(name, _)| name.starts_with("floor ") == is_bare);
        let cpu_ms_by_process: BTreeMap<_, _> =
            each.map(|(name, cpu)| (name, cpu / number)).collect();
        Self {
            executions_per_second: number / took.all.as_secs_f64(),
            cpu_ms_per_execution: cpu_ms_by_process.values().sum(),
            cpu_ms_by_process,
            client_cpu_ms_per_execution: (after.own.cpu_ms - before.own.cpu_ms) / number,
            latency_ms: Percentiles::of(&took.to_end),
            submit_ms: Percentiles::of(&took.to_answer),
        }
    }
}

impl Report {
    pub fn of(run: &Run, over: Over, at_first: Stored) -> Self {
        let wanted = &run.conditions;
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            conditions: Conditions {
                executions: wanted.executions,
                concurrency: run.rate.is_none().then_some(wanted.concurrency),
                rate: run.rate,
                plan: wanted.plan,
                through: wanted.through,
                over: match over {
                    Over::Http => "http".to_owned(),
                    Over::Nats => "nats".to_owned(),
                },
                durability: wanted.durability,
                servers: wanted.servers.number(),
                streams: wanted.streams.get(),
                consumer_state: run.consumer_state,
                events_before: at_first.events,
                cores: std::thread::available_parallelism().map_or(0, usize::from),
                machine_load: load.split(' ').next().unwrap_or_default().to_owned(),
                build: if cfg!(debug_assertions) {
                    "debug".to_owned()
                } else {
                    "release".to_owned()
                },
            },
            figures: Figures::default(),
            raw_appends_per_second: None,
            events_per_execution: 0.0,
            stored_bytes_per_execution: 0.0,
            memory_mib: BTreeMap::new(),
            rounds: Vec::new(),
            at_first,
        }
    }

    /// Once all rounds are over.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn settle(&mut self, stored: Stored, usage: &Usage) {
        let rounds = self.rounds.len().max(1);
        let of_one = (self.conditions.executions as usize).div_ceil(rounds);
        let number = (of_one * rounds) as f64;
        if self.rounds.iter().any(|round| round.services.is_some()) {
            self.events_per_execution = (stored.events - self.at_first.events) as f64 / number;
            self.stored_bytes_per_execution = (stored.bytes - self.at_first.bytes) as f64 / number;
        }
        let memory = |(name, used): (&String, &Used)| (name.clone(), used.memory_mib);
        self.memory_mib = usage.children.iter().map(memory).collect();
        self.figures = Figures::of(&self.rounds);
    }
}

impl Figures {
    fn of(rounds: &[Round]) -> Self {
        let services = rounds.iter().filter_map(|round| round.services.as_ref());
        let floors = rounds.iter().filter_map(|round| round.floor.as_ref());
        let both = rounds
            .iter()
            .filter_map(|round| Some((round.services.as_ref()?, round.floor.as_ref()?)));
        let cpu = |it: &Measured| it.cpu_ms_per_execution;
        let rate = |it: &Measured| it.executions_per_second;
        Self {
            executions_per_second: middle(services.clone().map(rate)),
            cpu_ms_per_execution: middle(services.clone().map(cpu)),
            cpu_ms_by_process: by_process(&services),
            client_cpu_ms_per_execution: middle(
                services.clone().map(|it| it.client_cpu_ms_per_execution),
            ),
            latency_ms: Percentiles::middle(services.clone().filter_map(|it| it.latency_ms)),
            submit_ms: Percentiles::middle(services.filter_map(|it| it.submit_ms)),
            floor_executions_per_second: middle(floors.clone().map(rate)),
            floor_cpu_ms_per_execution: middle(floors.clone().map(cpu)),
            floor_cpu_ms_by_process: by_process(&floors),
            floor_latency_ms: Percentiles::middle(floors.filter_map(|it| it.latency_ms)),
            cpu_ratio: middle(both.clone().map(|(ours, bare)| cpu(ours) / cpu(bare))),
            throughput_ratio: middle(both.clone().map(|(ours, bare)| rate(ours) / rate(bare))),
            latency_ratio: middle(
                both.filter_map(|(ours, bare)| Some(ours.latency_ms?.p50 / bare.latency_ms?.p50)),
            ),
        }
    }
}

fn by_process<'a>(of: &(impl Iterator<Item = &'a Measured> + Clone)) -> BTreeMap<String, f64> {
    let names = of.clone().flat_map(|it| it.cpu_ms_by_process.keys());
    let names: BTreeSet<&String> = names.collect();
    let figure = |name: &String| {
        let figures = of.clone().filter_map(|it| it.cpu_ms_by_process.get(name));
        middle(figures.copied())
    };
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), figure(name)?)))
        .collect()
}

/// Of an even number, the mean of the two.
fn middle(of: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = of.filter(|it| it.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(f64::midpoint(*sorted.get(low)?, *sorted.get(high)?))
}

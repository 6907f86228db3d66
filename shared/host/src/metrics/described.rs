//! Names of metrics, what they mean, and the table of all of them.

use std::{borrow::Cow, fmt::Write as _};

use contracts::{event::Service, position::StreamId};
use journal::{
    delivery::Message,
    layout::{INBOX, TIMERS},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder},
    metrics::{
        MetricType, TypedMetric,
        counter::Counter,
        family::{Family, MetricConstructor},
        histogram::Histogram,
        info::Info,
    },
    registry::{Metric, Registry, Unit},
};

/// Before every name of ours.
const PREFIX: &str = "control_plane";

/// The label that every series of a process has.
const SERVICE: &str = "service";

/// One metric, as its reader has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// As it is asked for; a histogram's without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// Beside `service`.
    pub labels: &'static [&'static str],
    pub meaning: &'static str,
}

/// The names of a set of labels.
pub trait Labels {
    const NAMES: &'static [&'static str];
}

/// A set of labels whose values are a closed set: nothing that is read at run time is one.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($label:ident: $value:ty),+ }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet,
        )]
        pub struct $name {
            $(pub $label: $value),+
        }

        impl $crate::metrics::described::Labels for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($label)),+];
        }
    };
}
pub(super) use labels;

/// Registers metrics together with what they mean, so that none is without.
pub(super) struct Described {
    registry: Registry,
    all: Vec<Description>,
}

impl Described {
    pub fn new(service: Option<Service>) -> Self {
        let service = service.map(|service| (Cow::from(SERVICE), Cow::from(service.as_str())));
        Self {
            registry: Registry::with_labels(service.into_iter()),
            all: Vec::new(),
        }
    }

    pub fn into_parts(self) -> (Registry, Vec<Description>) {
        (self.registry, self.all)
    }

    /// A metric without labels.
    pub fn plain<M>(&mut self, name: &str, meaning: &'static str, metric: &M)
    where
        M: EncodeMetric + TypedMetric + Clone + Send + Sync + std::fmt::Debug + 'static,
    {
        self.note(named(name), M::TYPE, &[], meaning);
        self.registry.register(named(name), meaning, metric.clone());
    }

    /// Series by label.
    pub fn family<L, M, C>(&mut self, name: &str, meaning: &'static str, family: &Family<L, M, C>)
    where
        L: Labels + EncodeLabelSet + Clone + std::hash::Hash + Eq + Send + Sync + 'static,
        L: std::fmt::Debug,
        M: EncodeMetric + TypedMetric + Send + Sync + std::fmt::Debug + 'static,
        C: MetricConstructor<M> + Clone + Send + Sync + 'static,
    {
        self.note(named(name), M::TYPE, L::NAMES, meaning);
        self.registry.register(named(name), meaning, family.clone());
    }

    /// A time, in seconds, by label. The unit is the end of the name.
    pub fn times<L>(&mut self, name: &str, meaning: &'static str, family: &Times<L>)
    where
        L: Labels + EncodeLabelSet + Clone + std::hash::Hash + Eq + Send + Sync + 'static,
        L: std::fmt::Debug,
    {
        let full = format!("{}_seconds", named(name));
        self.note(full, MetricType::Histogram, L::NAMES, meaning);
        self.registry
            .register_with_unit(named(name), meaning, Unit::Seconds, family.clone());
    }

    /// A time, in seconds, of one kind.
    pub fn time(&mut self, name: &str, meaning: &'static str, histogram: &Histogram) {
        let full = format!("{}_seconds", named(name));
        self.note(full, MetricType::Histogram, &[], meaning);
        self.registry
            .register_with_unit(named(name), meaning, Unit::Seconds, histogram.clone());
    }

    pub fn info<const N: usize>(
        &mut self,
        name: &str,
        labels: &'static [&'static str],
        meaning: &'static str,
        info: Info<[(&'static str, &'static str); N]>,
    ) {
        self.all.push(Description {
            name: format!("{}_info", named(name)),
            kind: "info",
            labels,
            meaning,
        });
        self.registry.register(named(name), meaning, info);
    }

    /// A name that is the same in every program.
    pub fn usual(&mut self, name: &str, meaning: &'static str, metric: impl Metric + TypedMetric) {
        self.note(name.to_owned(), MetricType::Gauge, &[], meaning);
        self.registry.register(name, meaning, metric);
    }

    fn note(
        &mut self,
        name: String,
        kind: MetricType,
        labels: &'static [&'static str],
        meaning: &'static str,
    ) {
        let (name, kind) = match kind {
            MetricType::Counter => (format!("{name}_total"), "counter"),
            MetricType::Gauge => (name, "gauge"),
            MetricType::Histogram => (name, "histogram"),
            MetricType::Info => (name, "info"),
            MetricType::Unknown => (name, "unknown"),
        };
        self.all.push(Description {
            name,
            kind,
            labels,
            meaning,
        });
    }
}

fn named(name: &str) -> String {
    format!("{PREFIX}_{name}")
}

/// Durations by label, in buckets that fit them.
pub type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// How many at once by label, in buckets that fit them.
pub type Sizes<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters by label.
pub type Counts<L> = Family<L, Counter>;

/// The table of `schemas/metrics.md`.
pub fn table(all: &[Description]) -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         What every service says at `GET /metrics`, in the OpenMetrics text format. Each series has \
         the label `service` too. No label holds an id, or anything that a caller sent; so it is \
         served without a credential, as health is, beside the API. What faces the internet passes \
         on `/v1` and nothing else.\n\n\
         Written from the code: `UPDATE_EXPECT=1 cargo test --workspace --features failpoints \
         --test telemetry`.\n\n\
         | name | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for Description {
        name,
        kind,
        labels,
        meaning,
    } in all
    {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        // Writing to a string does not fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {meaning} |");
    }
    text
}

/// A stream of the broker, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Log(StreamId),
    Timers,
    Inbox,
}

impl Stream {
    /// Where a message is from.
    pub fn of(message: &Message) -> Self {
        match message {
            Message::Event { position, .. } => Self::Log(position.stream),
            Message::Timer(_) => Self::Timers,
            Message::Letter { .. } => Self::Inbox,
            Message::Unreadable { position, .. } => {
                position.map_or(Self::Timers, |position| Self::Log(position.stream))
            }
        }
    }
}

impl EncodeLabelValue for Stream {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Log(stream) => encoder.write_str(&stream.name()),
            Self::Timers => encoder.write_str(TIMERS),
            Self::Inbox => encoder.write_str(INBOX),
        }
    }
}

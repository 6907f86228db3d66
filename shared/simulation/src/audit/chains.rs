//! What holds for the events of every aggregate: versions, hashes, times, writers.

use std::collections::BTreeMap;

use contracts::{
    canonical::Digest,
    event::{Event, Service},
    events::planner::RejectionCause,
    record::Recorded,
    subject::AggregateId,
    time::Timestamp,
};

use super::rule::{Check, Rule, ensure};

#[derive(Default)]
pub(super) struct Chains(BTreeMap<AggregateId, Tail>);

struct Tail {
    version: u64,
    hash: Digest,
    time: Timestamp,
}

impl Chains {
    pub fn take(&mut self, recorded: &Recorded) -> Check {
        let aggregate = &recorded.subject.aggregate;
        let name = recorded.event.name();
        let version = recorded.version();
        writer(recorded)?;
        let tail = self.0.get_mut(aggregate);
        let expected = tail.as_ref().map_or(1, |tail| tail.version + 1);
        ensure(version == expected, Rule::Versions, || {
            format!("`{name}` of {aggregate} is version {version}, and {expected} is next")
        })?;
        let before = tail.as_ref().map(|tail| tail.hash);
        let named = recorded.attributes.prev_hash;
        ensure(named == before, Rule::Chain, || {
            format!("version {version} of {aggregate} names {named:?}, not {before:?}")
        })?;
        if let Some(tail) = &tail {
            let (time, last) = (recorded.time(), tail.time);
            ensure(time >= last, Rule::Times, || {
                format!("version {version} of {aggregate} is of {time}, after {last}")
            })?;
        }
        let next = Tail {
            version,
            hash: recorded.hash,
            time: recorded.time(),
        };
        match tail {
            Some(tail) => *tail = next,
            None => drop(self.0.insert(aggregate.clone(), next)),
        }
        Ok(())
    }
}

fn writer(recorded: &Recorded) -> Check {
    let name = recorded.event.name();
    let source = recorded.attributes.source.as_str();
    let writes =
        |service: &Service| source.strip_prefix("/control-plane/") == Some(service.as_str());
    let permitted = if let Event::PlanRejected(event) = &recorded.event {
        // Each of its two writers has its own causes.
        match event.cause {
            RejectionCause::Compile | RejectionCause::DraftTimeout => &[Service::Planner],
            RejectionCause::Policy => &[Service::Verifier],
        }
    } else {
        name.writers()
    };
    ensure(permitted.iter().any(writes), Rule::Writer, || {
        format!("`{name}` was written by `{source}`")
    })
}

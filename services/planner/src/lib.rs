//! The planner: from an intent, or an offered draft, to a compiled plan.
//!
//! It decides nothing itself: `domain::execution::planning` does. Here is which messages wake it
//! and which timers it arms.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::event::Service;
use domain::execution::{Execution, planning, waits};
use host::{
    config::Config,
    engine::{self, Handle, Host},
    serve::Work,
    trouble::Trouble,
    wake::Wake,
};
use journal::{
    delivery::{ConsumerSpec, Purpose},
    timer::Timer,
};
use tokio::time::Instant;

/// Starts the planner.
#[expect(clippy::unused_async, reason = "the signature that every service has")]
pub async fn start(host: Arc<Host>, _config: Config) -> anyhow::Result<Work> {
    let specs = vec![
        ConsumerSpec::of(Service::Planner, Purpose::Drive),
        ConsumerSpec::of(Service::Planner, Purpose::Asked),
        ConsumerSpec::timers(Service::Planner),
    ];
    let task = tokio::spawn(async move {
        engine::run(host, specs, Arc::new(Planner)).await?;
        Ok(())
    });
    Ok(Work {
        routes: axum::Router::new(),
        task,
    })
}

struct Planner;

#[async_trait]
impl Handle for Planner {
    async fn handle(&self, host: &Host, wake: Wake, received: Instant) -> Result<(), Trouble> {
        let timers = |state: &Execution| timers(&wake, state);
        engine::settle::<Execution, _, _>(host, &wake, received, planning::decide, timers).await
    }
}

/// Its own waits, and the intent's deadline: the planner is the first to see it.
fn timers(wake: &Wake, state: &Execution) -> Vec<Timer> {
    let timer = |service, wait: waits::Wait| Timer {
        service,
        aggregate: wake.aggregate.clone(),
        key: wait.kind.key(),
        version: state.version(),
        due: wait.due,
        after_ms: 0,
        wake: None,
        stays: false,
    };
    let own = waits::of_planner(state)
        .into_iter()
        .map(|wait| timer(Service::Planner, wait));
    let deadline = waits::deadline(state).map(|wait| timer(Service::Executor, wait));
    own.chain(deadline).collect()
}

//! The executor: runs the steps of verified plans, each effect under its own key, and every one
//! of them written ahead.
//!
//! It decides nothing itself: `domain::execution` does. Here is who drives an execution, who may
//! dispatch, and when a wake-up is acknowledged (`log.md` §7).
//!
//! * [`fleet`]: one driver per execution that is awake, and how many there may be
//! * [`driver`]: one execution, from a wake-up to rest
//! * [`tracked`], [`held`], [`calls`]: its fold, the deliveries it holds, the attempts it runs
//! * [`dispatch`]: one attempt, from its stored start to what it brought

mod calls;
mod dispatch;
mod driver;
mod fleet;
mod held;
mod tracked;

use std::sync::Arc;

use contracts::event::Service;
use host::{config::Config, engine::Host, serve::Work};
use journal::delivery::{ConsumerSpec, Purpose};

/// Starts the executor.
#[expect(clippy::unused_async, reason = "the signature that every service has")]
pub async fn start(host: Arc<Host>, _config: Config) -> anyhow::Result<Work> {
    let specs = [
        ConsumerSpec::of(Service::Executor, Purpose::Drive),
        ConsumerSpec::of(Service::Executor, Purpose::Asked),
        ConsumerSpec::of(Service::Executor, Purpose::Steps),
        ConsumerSpec::of(Service::Executor, Purpose::Control),
        ConsumerSpec::timers(Service::Executor),
    ];
    let task = tokio::spawn(async move {
        fleet::run(host, specs).await?;
        Ok(())
    });
    Ok(Work {
        routes: axum::Router::new(),
        task,
    })
}

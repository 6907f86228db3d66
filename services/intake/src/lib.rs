//! Intake: what comes from outside becomes events, or a refusal with a code.
//!
//! It decides nothing itself: `domain::execution::intake`, `domain::skill` and `domain::policy`
//! do. Here is who may ask, on which fold it is decided, and what is answered. Nothing is answered
//! before it is stored, and nothing is refused on a fold that was not confirmed.
//!
//! Deliberately absent: queries, which the projector serves; calls to other services. Where the
//! answer is another service's, intake appends the request and follows the aggregate until the
//! outcome stands there.
//!
//! * [`api`]: from an HTTP request to a command, and back
//! * [`commit`]: load, decide, append; again after a conflict
//! * [`outcome`]: waiting for what another service will append
//! * [`intent`], [`plan`], [`execution`], [`skill`], [`policy`]: the commands
//! * [`refusal`]: how rejections and failures are answered

mod api;
mod commit;
mod execution;
mod intent;
mod outcome;
mod plan;
mod policy;
mod refusal;
mod skill;

use std::{sync::Arc, time::Duration};

use axum::Router;
use contracts::{event::Service, registry::Kind};
use host::{
    config::Config,
    engine::Host,
    http::door::{Door, Limits},
    micro,
    principals::Principals,
    serve::Work,
};
use tokio::sync::Semaphore;

/// How long a command waits for another service's outcome before it says that it is pending.
pub const OUTCOME_WITHIN: Duration = Duration::from_secs(10);

/// Outcomes that are waited for at once: each is a consumer on the broker. Others wait for one of
/// these places, and for no longer than an outcome.
const WAITS_MAX: usize = 256;

/// Starts intake.
#[expect(clippy::unused_async, reason = "the signature that every service has")]
pub async fn start(host: Arc<Host>, config: Config) -> anyhow::Result<Work> {
    let principals = Principals::load(config.principals_file.as_deref())?;
    let door = Door::new(principals, Limits::default(), Arc::clone(&host.ambient));
    let routes = routes(Arc::clone(&host), Arc::clone(&door), OUTCOME_WITHIN);
    Ok(Work {
        routes: routes.clone(),
        // Requests are its only work.
        task: tokio::spawn(micro::run(
            config.api_options(Service::Intake),
            host,
            door,
            routes,
            Kind::Command,
        )),
    })
}

/// The commands over HTTP.
pub fn routes(host: Arc<Host>, door: Arc<Door>, outcome_within: Duration) -> Router {
    api::routes(Arc::new(Intake {
        host,
        door,
        outcome_within,
        waits: Semaphore::new(WAITS_MAX),
    }))
}

/// What every command has.
struct Intake {
    host: Arc<Host>,
    door: Arc<Door>,
    outcome_within: Duration,
    waits: Semaphore,
}

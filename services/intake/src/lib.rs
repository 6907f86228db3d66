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
//! * [`backlog`]: how much may wait before no more is taken in
//! * [`commit`]: load, decide, append; again after a conflict
//! * [`outcome`]: waiting for what another service will append
//! * [`event`], [`cloud_event`]: intents that come as `CloudEvents`; [`inbox`]: those that wait
//!   on the broker until they are taken
//! * [`intent`], [`plan`], [`execution`], [`run`], [`step`], [`skill`],
//!   [`policy`]: the commands
//! * [`refusal`]: how rejections and failures are answered

mod api;
mod backlog;
pub mod cloud_event;
mod commit;
mod event;
mod execution;
mod inbox;
mod intent;
mod outcome;
mod plan;
mod policy;
mod refusal;
mod run;
mod skill;
mod step;

use std::{sync::Arc, time::Duration};

use axum::Router;
use contracts::{event::Service, registry::Kind};
use host::{
    config::Config,
    engine::Host,
    http::{
        door::{Door, Limits},
        seen::seen,
    },
    micro,
    principals::Principals,
    serve::Work,
};
use tokio::sync::Semaphore;

use self::backlog::Backlog;

/// How long a command waits for another service's outcome before it says that it is pending.
pub const OUTCOME_WITHIN: Duration = Duration::from_secs(10);

/// Outcomes that are waited for at once: each is a consumer on the broker. Others wait for one of
/// these places, and for no longer than an outcome.
const WAITS_MAX: usize = 256;

/// Starts intake.
#[expect(clippy::unused_async, reason = "the signature that every service has")]
pub async fn start(host: Arc<Host>, config: Config) -> anyhow::Result<Work> {
    let principals = Principals::configured(&config)?;
    let door = Door::new(principals, Limits::default(), Arc::clone(&host.ambient));
    let backlog = Backlog::new(config.waiting_max);
    let intake = Intake::new(
        Arc::clone(&host),
        Arc::clone(&door),
        OUTCOME_WITHIN,
        backlog,
    );
    let routes = served(&intake);
    let options = config.api_options(Service::Intake);
    let requests = micro::run(options.clone(), host, door, routes.clone(), Kind::Command);
    Ok(Work {
        routes,
        task: tokio::spawn(async move {
            tokio::try_join!(requests, inbox::run(options, intake))?;
            Ok(())
        }),
    })
}

/// The commands over HTTP.
pub fn routes(
    host: Arc<Host>,
    door: Arc<Door>,
    outcome_within: Duration,
    waiting_max: u64,
) -> Router {
    let backlog = Backlog::new(waiting_max);
    served(&Intake::new(host, door, outcome_within, backlog))
}

fn served(intake: &Arc<Intake>) -> Router {
    seen(api::routes(Arc::clone(intake)), &intake.host)
}

/// What every command has.
struct Intake {
    host: Arc<Host>,
    door: Arc<Door>,
    outcome_within: Duration,
    waits: Semaphore,
    backlog: Backlog,
}

impl Intake {
    fn new(
        host: Arc<Host>,
        door: Arc<Door>,
        outcome_within: Duration,
        backlog: Backlog,
    ) -> Arc<Self> {
        Arc::new(Self {
            backlog,
            host,
            door,
            outcome_within,
            waits: Semaphore::new(WAITS_MAX),
        })
    }
}

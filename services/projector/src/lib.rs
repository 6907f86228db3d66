//! The projector: the log as a read model in SQL, and the queries on both.
//!
//! Single executions are folded from the log itself; lists come from SQL and say which position
//! they reflect. Deliberately absent: any decision, and any state that the log does not have: the
//! database can be deleted at any time and is built anew.
//!
//! * [`projection`]: from the log to the read model, each event once
//! * [`history`], [`folds`]: whether histories hold together, and what they fold to
//! * [`database`]: the read model in SQLite
//! * [`reached`]: waiting for a position
//! * [`archiver`]: what has left the live window of the log is sealed, and purged
//! * [`api`], [`query`], [`log`], [`answer`]: the queries over HTTP
//! * [`feed`]: live feeds of executions, workspaces and approvals

use std::sync::Arc;

use anyhow::Context as _;
use contracts::{event::Service, registry::Kind};
use host::{
    config::{Config, names},
    engine::Host,
    http::door::{Door, Limits},
    micro,
    principals::Principals,
    serve::Work,
};

use crate::{
    api::Api,
    database::{Database, read::Reader},
    feed::Feeds,
    projection::Projection,
    query::policy::engines::Engines,
    reached::{Reached, Waits},
};

pub mod answer;
pub mod api;
pub mod archiver;
pub mod database;
pub mod feed;
pub mod folds;
pub mod history;
pub mod log;
pub mod projection;
pub mod query;
pub mod reached;

/// Starts the projector.
pub async fn start(host: Arc<Host>, config: Config) -> anyhow::Result<Work> {
    let api_options = config.api_options(Service::Projector);
    let archiver_options = config.archiver_options();
    let principals = Principals::configured(&config)?;
    let url = config.database_url.with_context(|| {
        format!(
            "no database is named: set `{}` to `sqlite://<path>`",
            names::DATABASE_URL
        )
    })?;
    let Database { writer, readers } = Database::open(&url).await?;
    let feeds = Arc::new(Feeds::default());
    let waits = Arc::new(Waits::default());
    let (projection, positions) = Projection::start(
        Arc::clone(&host),
        writer,
        Arc::clone(&feeds),
        Arc::clone(&waits),
    )
    .await?;
    let archiving = archiver::run(Arc::clone(&host), archiver_options, positions.clone());
    let streams = host.journal.streams();
    let door = Door::new(principals, Limits::default(), Arc::clone(&host.ambient));
    let api = Api {
        door: Arc::clone(&door),
        host: Arc::clone(&host),
        reader: Reader::new(readers, streams.clone()),
        reached: Reached::new(positions, streams, waits),
        feeds,
        engines: Engines::default(),
    };
    let routes = api::routes(Arc::new(api));
    let over_nats = micro::run(api_options, host, door, routes.clone(), Kind::Query);
    Ok(Work {
        routes,
        task: tokio::spawn(async move {
            let archiving = async {
                archiving.await;
                Ok(())
            };
            tokio::try_join!(projection.run(), over_nats, archiving)?;
            Ok(())
        }),
    })
}

//! The read model in SQLite: all SQL of the service is in this module and below it.
//!
//! One connection writes, in one transaction per batch; a small pool reads. Which database it is
//! shows nowhere else, so that another one needs no change outside.
//!
//! * [`rows`]: what is stored of an event and of an aggregate
//! * [`write`]: a batch of events with everything that follows from it
//! * [`read`]: what queries look up
//! * [`waiting`]: how many executions wait, and for what

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub mod read;
pub mod rows;
pub mod waiting;
pub mod write;

/// What the writer keeps of the file in memory: 16 MiB, in KiB as SQLite counts what is below zero.
/// Twice as much makes nothing faster.
const WRITER_CACHE: &str = "-16384";

/// Of a file that is new: some seven events, where 4 KiB hold two and waste what is left.
const PAGE_BYTES: u32 = 8192;

/// After so many pages, 32 MiB, the write-ahead log is moved into the file: pages that were written
/// often meanwhile are moved once.
const CHECKPOINT_PAGES: &str = "4096";

/// The version of how rows follow from events. To be raised with each change of that: rows of
/// another version are emptied when a database is opened, and built anew from the log.
const PROJECTION: i64 = 4;

/// All that [`PROJECTION`] is the version of.
const EMPTY: [&str; 9] = [
    "DELETE FROM events",
    "DELETE FROM executions",
    "DELETE FROM execution_skills",
    "DELETE FROM approvals",
    "DELETE FROM approval_names",
    "DELETE FROM skills",
    "DELETE FROM policies",
    "DELETE FROM positions",
    "DELETE FROM projection",
];

/// Queries that are answered at once; each is a thread of its own.
const READERS: u32 = 4;

/// How long a statement waits for another process that holds the file, a backup for example.
const BUSY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "`{0}` is not a database this version can use: set `CONTROL_PLANE_DATABASE_URL` to \
         `sqlite://<path>`"
    )]
    Url(String),
    #[error("cannot create `{}`", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open `{}`", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "cannot bring `{}` to this version's schema: delete it to have it built anew from the log",
        path.display()
    )]
    Migrate {
        path: PathBuf,
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

/// An opened read model.
pub struct Database {
    pub writer: Writer,
    pub readers: SqlitePool,
}

/// The one connection that writes.
pub struct Writer {
    options: SqliteConnectOptions,
    pub connection: SqliteConnection,
}

impl Writer {
    /// In the place of one on which a write failed: after a full disk SQLite has rolled back by
    /// itself, and the connection does not know.
    pub async fn reopen(&mut self) -> Result<(), sqlx::Error> {
        self.connection = self.options.clone().connect().await?;
        Ok(())
    }
}

impl Database {
    /// Creates the file, for its owner only, and brings its schema to this version.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let path = path(url).ok_or_else(|| OpenError::Url(url.to_owned()))?;
        create(&path).map_err(|source| OpenError::Create {
            path: path.clone(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            // A power loss may take the last transactions with their positions; the log has them.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY);
        let opened = |source| OpenError::Open {
            path: path.clone(),
            source,
        };
        let writing = options.clone();
        let writing = writing
            .pragma("cache_size", WRITER_CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let mut writer = writing.connect().await.map_err(opened)?;
        migrations()
            .run(&mut writer)
            .await
            .map_err(|source| OpenError::Migrate {
                path: path.clone(),
                source,
            })?;
        of_this_version(&mut writer).await.map_err(opened)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_with(options.clone().read_only(true))
            .await
            .map_err(opened)?;
        let writer = Writer {
            options: writing,
            connection: writer,
        };
        Ok(Self { writer, readers })
    }
}

/// `sqlite:///var/lib/read.db` is absolute, `sqlite://read.db` is not.
fn path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite://")?;
    (!path.is_empty() && !path.contains('?')).then(|| PathBuf::from(path))
}

/// The files that SQLite puts beside it get the same mode.
fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

fn migrations() -> Migrator {
    let migration = |version, what: &'static str, sql: &'static str| {
        let sql = sql.into_sql_str();
        Migration::new(version, what.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(vec![
        migration(
            1,
            "read model",
            include_str!("../migrations/0001_read_model.sql"),
        ),
        migration(
            2,
            "filters and feeds",
            include_str!("../migrations/0002_filters_and_feeds.sql"),
        ),
        migration(3, "modes", include_str!("../migrations/0003_modes.sql")),
        migration(
            4,
            "sparse feeds",
            include_str!("../migrations/0004_sparse_feeds.sql"),
        ),
        migration(
            5,
            "narrow events",
            include_str!("../migrations/0005_narrow_events.sql"),
        ),
    ])
}

/// Empties what another version of the projection has written, all or nothing.
async fn of_this_version(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM projection")
        .fetch_one(&mut *transaction)
        .await?;
    if found == Some(PROJECTION) {
        return transaction.rollback().await;
    }
    tracing::info!(
        found,
        wanted = PROJECTION,
        "the read model is built anew from the log"
    );
    for delete in EMPTY {
        sqlx::query(delete).execute(&mut *transaction).await?;
    }
    sqlx::query("INSERT INTO projection (version) VALUES (?)")
        .bind(PROJECTION)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

//! What the rows say, and the first that is not as expected.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use contracts::canonical::Digest;
use serde_json::Value;
use sqlx::{Row as _, SqliteConnection, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};

use super::Difference;

/// A table of the read model, its key first.
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
    key: usize,
    select: &'static str,
}

/// The columns of a table are written once, for the statement and for what is said of them.
macro_rules! table {
    ($name:literal, $first_key:literal $(, $key:literal)*; $($column:literal),*) => {
        Table {
            name: $name,
            columns: &[$first_key $(, $key)* $(, $column)*],
            key: [$first_key $(, $key)*].len(),
            select: concat!(
                "SELECT ", $first_key $(, ", ", $key)* $(, ", ", $column)*, " FROM ", $name
            ),
        }
    };
}

pub const EVENTS: Table = table!(
    "events", "stream", "sequence";
    "subject", "workspace", "kind", "aggregate", "version", "event", "time", "hash", "headers",
    "payload", "fault", "status", "requester"
);
pub const EXECUTIONS: Table = table!(
    "executions", "workspace", "id";
    "version", "status", "verdict", "risk_tier", "requires_approval", "waiting", "waits",
    "actor", "channel", "text", "text_folded", "plan_hash", "error_code", "created_at", "updated_at"
);
pub const APPROVALS: Table = table!(
    "approvals", "workspace", "execution", "step";
    "block", "risk_tier", "plan_hash", "inputs_digest", "plan_hash_required", "quorum", "votes",
    "eligible", "reason", "opened_at", "expires_at"
);
pub const SKILLS: Table = table!(
    "skills", "workspace", "key", "skill_version";
    "version", "status", "publisher", "provenance", "manifest_digest", "installed_at"
);
pub const POLICIES: Table = table!(
    "policies", "workspace", "hash";
    "version", "status", "bundle", "findings", "requested_at"
);
pub const POSITIONS: Table = table!("positions", "stream"; "sequence");

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Is(Cell),
    /// JSON that says the same.
    Says(Value),
    /// Of a history that does not hold together: how it stood before is another question.
    Any,
}

pub fn text(text: &(impl ToString + ?Sized)) -> Cell {
    Cell::Text(text.to_string())
}

/// Sequences, versions and instants stay far below 2⁶³.
pub fn integer(number: impl TryInto<i64>) -> Cell {
    Cell::Integer(number.try_into().unwrap_or(i64::MAX))
}

pub fn optional<T>(value: Option<T>, cell: impl FnOnce(T) -> Cell) -> Cell {
    value.map_or(Cell::Null, cell)
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "`{text}`"),
            Self::Blob(bytes) => write!(f, "{} bytes of `{}`", bytes.len(), Digest::of(bytes)),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(cell) => cell.fmt(f),
            Self::Says(value) => write!(f, "`{value}`"),
            Self::Any => f.write_str("anything"),
        }
    }
}

impl From<Cell> for Expected {
    fn from(cell: Cell) -> Self {
        Self::Is(cell)
    }
}

impl Expected {
    fn holds_for(&self, found: &Cell) -> bool {
        match (self, found) {
            (Self::Any, _) => true,
            (Self::Is(expected), found) => expected == found,
            (Self::Says(expected), Cell::Text(found)) => {
                serde_json::from_str::<Value>(found).is_ok_and(|found| found == *expected)
            }
            (Self::Says(_), Cell::Null | Cell::Integer(_) | Cell::Blob(_)) => false,
        }
    }
}

/// The rows of each table, by key.
pub struct Rows {
    pub table: &'static Table,
    pub rows: BTreeMap<Vec<Cell>, Vec<Expected>>,
}

impl Rows {
    pub fn none(table: &'static Table) -> Self {
        Self {
            table,
            rows: BTreeMap::new(),
        }
    }

    pub fn insert<const KEY: usize>(&mut self, key: [Cell; KEY], rest: Vec<Expected>) {
        self.rows.insert(key.into(), rest);
    }
}

/// Whether a process has come as far as to list what is part of the build.
pub async fn has_builtins(connection: &mut SqliteConnection) -> Result<bool, Difference> {
    let found: Option<i64> = sqlx::query_scalar("SELECT version FROM skills WHERE version = 0")
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Every row of every table.
pub async fn compare(
    connection: &mut SqliteConnection,
    expected: &[Rows],
) -> Result<u64, Difference> {
    let mut compared = 0;
    for expected in expected {
        let found = sqlx::query(expected.table.select)
            .fetch_all(&mut *connection)
            .await?;
        compared += found.len() as u64;
        compare_table(expected, &found)?;
    }
    Ok(compared)
}

fn compare_table(expected: &Rows, found: &[SqliteRow]) -> Result<(), Difference> {
    let table = expected.table;
    // A key is primary, so that none can be there twice.
    for row in found {
        let mut key = (0..row.len())
            .map(|index| cell(row, index))
            .collect::<Result<Vec<Cell>, _>>()?;
        let rest = key.split_off(table.key);
        let Some(expected) = expected.rows.get(&key) else {
            return Err(Difference::Invented {
                table: table.name,
                key: named(&key),
            });
        };
        let columns = table.columns.iter().skip(table.key);
        for ((column, expected), found) in columns.zip(expected).zip(&rest) {
            if !expected.holds_for(found) {
                return Err(Difference::Column {
                    table: table.name,
                    key: named(&key),
                    column,
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
        }
    }
    if found.len() < expected.rows.len() {
        let keys = found.iter().map(|row| {
            let key = (0..table.key).map(|index| cell(row, index));
            key.collect::<Result<Vec<Cell>, _>>()
        });
        let keys = keys.collect::<Result<BTreeSet<_>, _>>()?;
        let missing = expected.rows.keys().find(|key| !keys.contains(*key));
        return Err(Difference::Missing {
            table: table.name,
            key: missing.map(|key| named(key)).unwrap_or_default(),
        });
    }
    Ok(())
}

fn cell(row: &SqliteRow, index: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info();
    Ok(match kind.name() {
        "INTEGER" | "BOOLEAN" => Cell::Integer(row.try_get_unchecked(index)?),
        "BLOB" => Cell::Blob(row.try_get_unchecked(index)?),
        _ => Cell::Text(row.try_get_unchecked(index)?),
    })
}

fn named(key: &[Cell]) -> String {
    let parts: Vec<String> = key.iter().map(Cell::to_string).collect();
    parts.join(" ")
}

//! Lists in which much is alike: page by page they hold what they hold whole, each row once,
//! whatever comes in between.

use std::fmt::Write as _;

use contracts::{canonical::Digest, ids::EventId};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use uuid::Uuid;

use super::world::{Caller, READER, World};

/// How many worlds, and rows of each.
const SEEDS: u64 = 6;
const ROWS: usize = 40;

/// How many rows come while a list is read; with those before, one answer still holds all.
const COME: usize = 30;

/// The numbers of one seed: xorshift, so that a failure can be seen again by its seed.
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.below(u64::MAX), self.below(u64::MAX));
        EventId::of(Uuid::from_u64_pair(high, low)).to_string()
    }
}

/// A list, how a row of it comes to be, and what a row is known by.
struct List {
    path: &'static str,
    row: fn(&mut Numbers) -> String,
    known_by: fn(&Value) -> String,
}

const LISTS: [List; 3] = [
    List {
        path: "/v1/executions?",
        row: execution,
        known_by: |item| item["executionId"].to_string(),
    },
    List {
        path: "/v1/approvals?all=true&",
        row: approval,
        known_by: |item| format!("{} {}", item["executionId"], item["stepId"]),
    },
    List {
        path: "/v1/skills?includeDisabled=true&",
        row: skill,
        known_by: |item| {
            format!(
                "{} {} {}",
                item["skillKey"], item["version"], item["publisher"]
            )
        },
    },
];

fn execution(numbers: &mut Numbers) -> String {
    let (id, created) = (numbers.uuid(), 1_000 + numbers.below(4));
    format!(
        "INSERT INTO executions (workspace, id, version, status, waiting, waits, created_at, \
         updated_at) VALUES ('acme', '{id}', 1, 'received', 0, 0, {created}, {created})"
    )
}

fn approval(numbers: &mut Numbers) -> String {
    // Of few executions, each with many steps.
    let execution = Uuid::from_u128(u128::from(numbers.below(3) + 1));
    let step = format!("s{}", numbers.below(1_000));
    let (block, digest) = (numbers.uuid(), Digest::of(b"any"));
    // Long after this test.
    let expires = 4_000_000_000_000 + numbers.below(3);
    format!(
        "INSERT OR IGNORE INTO approvals (workspace, execution, step, block, risk_tier, plan_hash, \
         inputs_digest, plan_hash_required, quorum, votes, eligible, reason, opened_at, \
         expires_at) VALUES ('acme', '{execution}', '{step}', '{block}', 'low', '{digest}', \
         '{digest}', 0, 1, '[]', '[]', '', 1, {expires})"
    )
}

/// One's own and a shared one are twins where all but their workspace is the same.
fn skill(numbers: &mut Numbers) -> String {
    let workspace = numbers.one_of(&["acme", "global"]);
    let key = numbers.one_of(&["acme.a", "acme.b", "acme.c"]);
    let version = numbers.one_of(&[
        "1.0.0",
        "1.0.0-rc.1",
        "1.0.0+one",
        "1.0.0+two",
        "1.9.0",
        "1.10.0",
        "2.0.0",
    ]);
    let status = numbers.one_of(&["installed", "disabled", "requested"]);
    let digest = Digest::of(b"any");
    format!(
        "INSERT OR IGNORE INTO skills (workspace, key, skill_version, version, status, publisher, \
         manifest_digest) VALUES ('{workspace}', '{key}', '{version}', 1, '{status}', \
         '{workspace}', '{digest}')"
    )
}

async fn insert(database: &mut SqliteConnection, list: &List, numbers: &mut Numbers, rows: usize) {
    let mut statements = String::new();
    for _ in 0..rows {
        write!(statements, "{}; ", (list.row)(numbers)).unwrap();
    }
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut *database)
        .await
        .unwrap();
}

/// The rows of an answer, and where it goes on.
async fn part(caller: &Caller, list: &List, query: &str) -> (Vec<String>, Option<String>) {
    let answer = caller.ok(&format!("{}{query}", list.path)).await;
    let items = answer["items"].as_array().unwrap();
    let next = answer["nextCursor"].as_str().map(str::to_owned);
    (items.iter().map(list.known_by).collect(), next)
}

#[tokio::test]
async fn pages_hold_the_whole_list_each_row_once_however_much_is_alike() {
    let world = World::new();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let url = format!("sqlite://{}", world.database().display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    for (seed, list) in (0..SEEDS).flat_map(|seed| LISTS.iter().map(move |list| (seed, list))) {
        let about = format!("seed {seed} of {}", list.path);
        let mut numbers = Numbers::of(seed);
        insert(&mut database, list, &mut numbers, ROWS).await;
        let (whole, none) = part(&caller, list, "limit=500").await;
        assert_eq!(none, None, "{about}: the list is longer than one answer");
        let limit = 1 + numbers.below(5);

        // While nothing comes, it is the same list.
        let mut told = Vec::new();
        let mut query = format!("limit={limit}");
        loop {
            let (rows, next) = part(&caller, list, &query).await;
            told.extend(rows);
            let Some(next) = next else { break };
            query = format!("limit={limit}&cursor={next}");
        }
        assert_eq!(told, whole, "{about}");

        // What comes may be told or not; what was there is, in its order, and nothing twice.
        let (mut told, mut came) = (Vec::new(), 0);
        let mut query = format!("limit={limit}");
        loop {
            let (rows, next) = part(&caller, list, &query).await;
            told.extend(rows);
            let Some(next) = next else { break };
            if came < COME {
                insert(&mut database, list, &mut numbers, 2).await;
                came += 2;
            }
            query = format!("limit={limit}&cursor={next}");
        }
        let mut once = told.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), told.len(), "{about}: a row is told twice");
        told.retain(|row| whole.contains(row));
        assert_eq!(told, whole, "{about}");
    }
    projector.stop().await;
}

//! The queries, one module per aggregate they are about.

pub mod execution;
pub mod policy;
pub mod skill;
pub mod trace;

use contracts::problem::Problem;
use host::http::input::{INVALID_VALUE, one_finding};

/// Items of a list where the caller does not say how many.
const LIMIT: u32 = 50;

/// The most a caller gets at once.
const LIMIT_MAX: u32 = 500;

fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(LIMIT);
    if (1..=LIMIT_MAX).contains(&limit) {
        Ok(limit)
    } else {
        let message = format!("use 1 to {LIMIT_MAX}, and `offset` for what follows");
        Err(one_finding("/limit", INVALID_VALUE, message))
    }
}

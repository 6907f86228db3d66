//! The queries, one module per aggregate they are about.
//!
//! * [`cursor`]: where a list goes on

pub mod approval;
pub mod cursor;
pub mod execution;
pub mod policy;
pub mod skill;
pub mod trace;

use contracts::{plan::Finding, problem::Problem};
use host::http::input::{INVALID_VALUE, finding, invalid};

/// Items of a list where the caller does not say how many.
const LIMIT: u32 = 50;

/// The most a caller gets at once.
const LIMIT_MAX: u32 = 500;

/// Everything that is wrong with an input beside its form.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: &str, code: &str, message: impl Into<String>) {
        self.0.push(finding(path.to_owned(), code, message.into()));
    }

    fn limit(&mut self, asked: Option<u32>) -> u32 {
        let limit = asked.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = format!("use 1 to {LIMIT_MAX}, and `cursor` for what follows");
            self.add("/limit", INVALID_VALUE, message);
        }
        limit
    }

    fn none(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(invalid(self.0))
        }
    }
}

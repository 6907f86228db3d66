//! What a refusal says of the request that it refuses: its trace, and what was asked, where
//! nothing nearer to it has been named. Said in one place, so that no refusal goes without.

use axum::{body::Body, extract::Request, http::header::CONTENT_LENGTH, response::Response};
use contracts::problem::Problem;

use super::traceparent;
use crate::trace::trace_id;

/// Of a path that nothing is at: who asked knows the rest of it.
const PATH_CHARS_MAX: usize = 200;

/// A request, as a refusal tells of it.
pub struct Refusing {
    trace: Option<String>,
    path: String,
}

impl Refusing {
    pub fn of(request: &Request) -> Self {
        let trace = traceparent(request.headers()).and_then(trace_id);
        Self {
            trace: trace.map(str::to_owned),
            path: request.uri().path().chars().take(PATH_CHARS_MAX).collect(),
        }
    }

    pub fn complete(&self, problem: Problem) -> Problem {
        let trace = problem.trace_id.clone().or_else(|| self.trace.clone());
        let instance = problem.instance.clone();
        Problem {
            trace_id: trace,
            instance: instance.or_else(|| Some(self.path.clone())),
            ..problem
        }
    }

    /// The same answer; if it is a refusal that was made in this process, it is complete.
    pub fn told(&self, mut response: Response) -> Response {
        let Some(problem) = response.extensions_mut().remove::<Problem>() else {
            return response;
        };
        let Ok(body) = serde_json::to_vec(&self.complete(problem)) else {
            return response;
        };
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
        response
    }
}

//! HTTP as intake and projector speak it: who is let in, what is read, how a refusal looks.
//!
//! * [`door`]: credentials, and how much one caller may ask at once
//! * [`body`]: JSON that means one thing only
//! * [`input`]: inputs of operations, with every fault named at once
//! * [`refusal`]: what a refusal says of the request
//! * [`published`]: what is served, for who wants to know before asking
//! * [`seen`]: each request in numbers and traces
//! * [`server`], [`tls`]: connections, what one may take, and encryption

pub mod body;
pub mod door;
pub mod input;
pub mod published;
pub mod refusal;
pub mod seen;
pub mod server;
pub mod tls;

use std::time::Duration;

use axum::{
    Json,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use contracts::{
    problem::{Code, MEDIA_TYPE, Problem},
    registry::{OperationName, Resource, routing},
};

use crate::principals::Unauthenticated;

/// The path under which operations are served.
pub use contracts::registry::routing::PREFIX;

/// A request that was not carried out, as a response: `application/problem+json`.
#[derive(Debug)]
pub struct Refused {
    problem: Box<Problem>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    /// Why the credential is not good; nothing where there was none.
    invalid_token: Option<String>,
}

impl Refused {
    /// Tells the caller how long to wait.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Problem::new(
                Code::MethodNotAllowed,
                format!("use one of the methods {allow}"),
            )
            .into()
        }
    }

    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Changes what is said, and nothing else about the answer.
    #[must_use]
    pub fn map(self, change: impl FnOnce(Problem) -> Problem) -> Self {
        Self {
            problem: Box::new(change(*self.problem)),
            ..self
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let passing = matches!(
            problem.code,
            Code::LogUnavailable
                | Code::ServiceUnavailable
                | Code::PositionNotReached
                | Code::RateLimited
        );
        Self {
            retry_after: passing.then_some(Duration::from_secs(1)),
            problem: Box::new(problem),
            allow: None,
            invalid_token: None,
        }
    }
}

impl From<Unauthenticated> for Refused {
    fn from(error: Unauthenticated) -> Self {
        Self {
            invalid_token: error.is_of_token().then(|| error.to_string()),
            ..Problem::from(error).into()
        }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Problem::of(code).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let unauthenticated = self.problem.code == Code::Unauthenticated;
        let mut response = (status, Json(&self.problem)).into_response();
        // For whoever knows the request: see `refusal`.
        response.extensions_mut().insert(*self.problem);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if unauthenticated {
            headers.insert(WWW_AUTHENTICATE, challenge(self.invalid_token.as_deref()));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: never earlier than it is worth trying.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
            );
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// As RFC 6750 has it, section 3.
fn challenge(invalid_token: Option<&str>) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer");
    let Some(reason) = invalid_token else {
        return plain;
    };
    let is_quotable = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    let reason: String = reason.chars().filter(is_quotable).collect();
    let text = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
    HeaderValue::try_from(text).unwrap_or(plain)
}

/// The operation a path names.
pub fn operation(method: &Method, path: &str) -> Result<OperationName, Refused> {
    let name = path.strip_prefix(PREFIX).unwrap_or_default();
    routing::operation(name).ok_or_else(|| nothing_at(method, path))
}

/// For what no route is made for.
#[expect(clippy::unused_async, reason = "the signature of a handler")]
pub async fn fallback(method: Method, uri: Uri) -> Refused {
    tracing::debug!(%method, path = uri.path(), "no such path");
    nothing_at(&method, uri.path())
}

/// Behind one address, a request that the other service would carry out comes here by its method.
fn nothing_at(method: &Method, path: &str) -> Refused {
    let other = routing::resource(path).map(Resource::method);
    if let Some(other) = other.filter(|other| method != *other) {
        return Refused::method_not_allowed(other);
    }
    let shown: String = path.chars().take(100).collect();
    Problem::new(
        Code::NotFound,
        format!("nothing is served here at `{shown}`: operations are at `{PREFIX}<operation>`"),
    )
    .into()
}

/// One header that may be there once.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The caller's `traceparent`, if it is one.
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = single(headers, "traceparent")?.to_str().ok()?;
    crate::trace::is_well_formed(text).then_some(text)
}

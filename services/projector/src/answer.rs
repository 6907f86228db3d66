//! Answers to queries: JSON with a strong `ETag`, so that who has an answer is not sent it again.
//! What is answered depends on who asks: it is kept by the caller only, and never used unasked.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
    },
    response::{IntoResponse as _, Response},
};
use contracts::{
    canonical::Digest,
    problem::{Code, Problem},
};
use serde::Serialize;

/// How the answer was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// The answer, or that the caller has it.
pub fn shown<T: Serialize>(asked: Asked<'_>, answer: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Problem::of(Code::Internal)
    })?;
    let tag = format!("\"{}\"", Digest::of(&body));
    let mut response = if *asked.method == Method::GET && has(asked.headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = HeaderValue::from_static("application/json");
        ([(CONTENT_TYPE, json)], Body::from(body)).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from(AUTHORIZATION));
    Ok(response)
}

/// Whether one of the tags that the caller names is this one, compared weakly, as RFC 9110 has it
/// for `If-None-Match`.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let named = headers.get_all(IF_NONE_MATCH).iter();
    named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

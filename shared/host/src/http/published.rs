//! What anyone may know of the API: what there is, and how to ask for it.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Bytes,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::IntoResponse as _,
    routing::get,
};
use contracts::registry::{asyncapi, catalogue, openapi};
use serde_json::Value;

use super::Refused;

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| text(&openapi::document()));
static ASYNCAPI: LazyLock<Bytes> = LazyLock::new(|| text(&asyncapi::document()));
static CATALOGUE: LazyLock<Bytes> = LazyLock::new(|| text(&catalogue::document()));

/// `GET` of `/openapi.json`, `/asyncapi.json` and `/v1/capabilities`, without a credential.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let serves = |document: &'static LazyLock<Bytes>| {
        get(async move || {
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], Bytes::clone(document)).into_response()
        })
        .fallback(only_get)
    };
    Router::new()
        .route("/openapi.json", serves(&OPENAPI))
        .route("/asyncapi.json", serves(&ASYNCAPI))
        .route("/v1/capabilities", serves(&CATALOGUE))
}

async fn only_get() -> Refused {
    Refused::method_not_allowed("GET")
}

fn text(document: &Value) -> Bytes {
    document.to_string().into()
}

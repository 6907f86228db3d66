//! Commands and queries under one address.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Json, Router, body::Body, extract::Request, http::HeaderMap, response::Response};
use controlplane::up::gateway::{self, Behind};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::world::World;

pub fn client() -> Client {
    // Fails where another test has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().tls_certs_only([]);
    builder.build().unwrap()
}

/// A service that says what it was asked.
async fn service(name: &'static str) -> SocketAddr {
    let routes = Router::new().fallback(async move |headers: HeaderMap, request: Request| {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let asked = format!("{} {}", request.method(), request.uri());
        let answer = Json(json!({ "service": name, "asked": asked, "headers": headers }));
        (
            [("connection", "x-hop"), ("x-hop", "1"), ("x-end", "2")],
            answer,
        )
    });
    listening(routes).await
}

async fn listening(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn gateway(behind: Behind) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(gateway::serve(
        listener,
        None,
        behind,
        CancellationToken::new(),
    ));
    url
}

async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn each_request_goes_to_the_service_that_answers_it() {
    let url = gateway(Behind {
        intake: service("intake").await,
        projector: service("projector").await,
    })
    .await;
    let client = client();
    for (method, path, wanted) in [
        ("POST", "/v1/intent.submit", "intake"),
        ("POST", "/v1/controlPlane.intent.submit", "intake"),
        ("POST", "/v1/intents", "intake"),
        ("POST", "/v1/executions/7/approve", "intake"),
        ("POST", "/v1/nonsense", "intake"),
        ("POST", "/v1/execution.list", "projector"),
        ("POST", "/v1/controlPlane.execution.list", "projector"),
        (
            "GET",
            "/v1/execution.list?limit=3&status=completed",
            "projector",
        ),
        ("GET", "/v1/executions/7/events", "projector"),
        ("GET", "/v1/intents", "projector"),
        ("GET", "/v1/capabilities", "projector"),
        ("GET", "/openapi.json", "projector"),
        ("GET", "/asyncapi.json", "projector"),
        ("DELETE", "/v1/executions/7", "projector"),
    ] {
        let method: Method = method.parse().unwrap();
        let asked = client.request(method.clone(), format!("{url}{path}"));
        let answer: Value = asked.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["service"], wanted, "{method} {path}");
        assert_eq!(answer["asked"], format!("{method} {path}"));
    }
    for path in ["/", "/metrics", "/v1", "/v2/executions", "//v1/executions"] {
        let answer = client.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "NOT_FOUND", "{path}");
    }
}

#[tokio::test]
async fn what_is_said_of_one_connection_stays_on_it() {
    let url = gateway(Behind {
        intake: nowhere().await,
        projector: service("projector").await,
    })
    .await;
    let asked = client()
        .get(format!("{url}/v1/executions"))
        .header("connection", "close, x-secret-hop")
        .header("x-secret-hop", "1")
        .header("te", "trailers")
        .header("traceparent", "as it is")
        .bearer_auth("token");
    let answer = asked.send().await.unwrap();
    assert!(answer.headers().get("x-hop").is_none());
    assert_eq!(answer.headers()["x-end"], "2");
    let answer: Value = answer.json().await.unwrap();
    let got: Vec<(String, String)> = serde_json::from_value(answer["headers"].clone()).unwrap();
    let of = |name: &str| got.iter().find(|(held, _)| held == name);
    assert_eq!(of("traceparent").unwrap().1, "as it is");
    assert_eq!(of("authorization").unwrap().1, "Bearer token");
    for name in ["x-secret-hop", "te", "connection"] {
        assert_eq!(of(name), None);
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_problem_that_says_what_to_do() {
    let url = gateway(Behind {
        intake: nowhere().await,
        projector: service("projector").await,
    })
    .await;
    let client = client();
    let submit = client.post(format!("{url}/v1/intents")).body("{}");
    let answer = submit.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "SERVICE_UNAVAILABLE");

    let list = client.get(format!("{url}/v1/executions")).send().await;
    assert_eq!(list.unwrap().status(), StatusCode::OK);
    let ready = client.get(format!("{url}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(
        ready["reasons"],
        json!({ "intake": "it cannot be reached" })
    );
    let alive = client.get(format!("{url}/healthz")).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}

/// What comes piece by piece is passed on piece by piece, and who goes away is gone behind it too.
#[tokio::test]
async fn a_feed_is_passed_on_as_it_comes() {
    let (pieces, gone) = mpsc::channel::<&str>(1);
    let stream = futures::stream::unfold(gone, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    let body = std::sync::Mutex::new(Some(Body::from_stream(stream)));
    let body = std::sync::Arc::new(body);
    let routes =
        Router::new().fallback(async move || Response::new(body.lock().unwrap().take().unwrap()));
    let url = gateway(Behind {
        intake: nowhere().await,
        projector: listening(routes).await,
    })
    .await;
    let feed = client().get(format!("{url}/v1/executions/7/events"));
    let mut feed = feed.send().await.unwrap();
    for piece in ["one", "two"] {
        pieces.send(piece).await.unwrap();
        assert_eq!(feed.chunk().await.unwrap().unwrap(), piece);
    }
    drop(feed);
    pieces.closed().await;
}

#[tokio::test]
async fn up_has_one_address_for_all() {
    let world = World::up().await;
    let context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
    let url = context["url"].as_str().unwrap();
    let token = context["identities"]["submitter"]["token"]
        .as_str()
        .unwrap();
    let client = client();
    let ask = async |method: &str, path: &str| {
        let input = json!({ "workspaceId": context["workspace"], "text": "Hello" });
        let method: Method = method.parse().unwrap();
        let asked = client.request(method, format!("{url}{path}"));
        asked.bearer_auth(token).json(&input).send().await.unwrap()
    };
    let submitted = ask("POST", "/v1/intents").await;
    assert_eq!(submitted.status(), StatusCode::CREATED);
    let place = submitted.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(ask("GET", &place).await.status(), StatusCode::OK);
    for (method, path, allowed) in [
        ("GET", "/v1/intents", "POST"),
        ("GET", "/v1/intent.submit", "POST"),
        ("POST", "/v1/executions", "GET"),
        ("DELETE", place.as_str(), "GET"),
    ] {
        let refused = ask(method, path).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.headers()["allow"], allowed, "{path}");
    }
    assert_eq!(ask("GET", "/readyz").await.status(), StatusCode::OK);
}

/// A service answers some requests without reading them, and ends the connection.
#[tokio::test]
async fn a_request_that_was_refused_unread_takes_no_other_with_it() {
    let world = World::up().await;
    let context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
    let url = context["url"].as_str().unwrap();
    let client = client();
    for _ in 0..200 {
        for method in [Method::OPTIONS, Method::TRACE, Method::PUT, Method::POST] {
            let refused = client.request(method, format!("{url}/v1/intents"));
            let refused = refused.body("x".repeat(2000)).send().await.unwrap();
            assert!(refused.status().is_client_error(), "{refused:?}");
        }
    }
}

//! Which service answers what.

use std::{collections::BTreeSet, fs, path::Path};

use contracts::registry::{Kind, OperationName, RESOURCES, routing};

/// What puts both services under one address knows which of the operations are queries.
#[test]
fn the_examples_of_an_ingress_name_every_query() {
    let queries: BTreeSet<String> = OperationName::ALL
        .into_iter()
        .filter(|operation| operation.entry().kind == Kind::Query)
        .flat_map(|operation| {
            let short = operation.short();
            [format!("/v1/{short}"), format!("/v1/controlPlane.{short}")]
        })
        .collect();
    for example in ["nginx.conf", "http-route.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../deploy/ingress")
            .join(example);
        let text = fs::read_to_string(file).unwrap();
        let named: BTreeSet<String> = text
            .split_whitespace()
            .filter(|word| word.starts_with("/v1/") && word.contains('.'))
            .map(str::to_owned)
            .collect();
        assert_eq!(named, queries, "deploy/ingress/{example}");
        for path in routing::PUBLISHED {
            assert!(
                text.split_whitespace().any(|word| word == path),
                "deploy/ingress/{example}: {path}"
            );
        }
    }
}

#[test]
fn a_request_is_routed_by_its_operation_and_then_by_its_method() {
    let by = routing::served_by;
    assert_eq!(by("POST", "/v1/intent.submit"), Some(Kind::Command));
    assert_eq!(by("POST", "/v1/execution.list"), Some(Kind::Query));
    assert_eq!(by("POST", "/v1/executions/7/approve"), Some(Kind::Command));
    assert_eq!(by("GET", "/v1/executions/7/approve"), Some(Kind::Query));
    for path in routing::PUBLISHED {
        assert_eq!(by("GET", path), Some(Kind::Query), "{path}");
    }
    for path in ["/", "/v1", "/readyz", "/metrics", "/v10/intents"] {
        assert_eq!(by("GET", path), None, "{path}");
    }
    for resource in &RESOURCES {
        let path = resource.path.replace("{executionId}", "7");
        let found = routing::resource(&path).unwrap();
        assert_eq!(found.path, resource.path);
        let kind = resource.operation.entry().kind;
        assert_eq!(by(resource.method(), &path), Some(kind), "{path}");
    }
}

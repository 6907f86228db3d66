//! The file of identity providers: what it may hold, and that all that is wrong with it is said.

use std::time::Duration;

use expect_test::{expect, expect_file};
use host::{config::names, identity::document::Document};
use serde_json::{Value, json};
use testkit::process::Process;

use crate::{gate::provider, process, world::World};

#[test]
fn the_schema_of_the_file_is_as_committed() {
    let schema = schemars::schema_for!(Document).to_value();
    expect_file!["../../../../schemas/configuration/identity-providers.json"]
        .assert_eq(&format!("{schema:#}\n"));
}

#[test]
fn the_example_that_is_told_is_good() {
    let told = include_str!("../../../../deploy/identity.md");
    let (_, rest) = told.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let document = Document::parse(example.as_bytes()).unwrap();
    assert_eq!(document.providers.len(), 1);
}

fn faults(document: &Value) -> Vec<String> {
    let faults = Document::parse(document.to_string().as_bytes()).err();
    faults
        .unwrap_or_default()
        .iter()
        .map(|fault| format!("{} {}: {}", fault.code, fault.path, fault.message))
        .collect()
}

#[test]
fn every_fault_of_the_file_is_named_with_its_place() {
    let good = provider(
        "kc",
        "https://id.example.com",
        &json!({ "file": "keys.json" }),
    );
    assert_eq!(faults(&json!({ "providers": [good] })), [""; 0]);

    let mut odd = good.clone();
    odd["algorithms"] = json!(["HS256"]);
    odd["clockSkewSeconds"] = json!(301);
    odd["name"] = json!("Key Cloak");
    odd["principal"] = json!("sub");
    odd["secret"] = json!("s3cr3t");
    odd.as_object_mut().unwrap().remove("audiences");
    expect![[r#"
        [
            "INVALID_VALUE /providers/0/algorithms/0: value is not one of \"RS256\", \"PS256\" or 2 other candidates",
            "MISSING_MEMBER /providers/0/audiences: `audiences` is required",
            "INVALID_VALUE /providers/0/clockSkewSeconds: value is greater than the maximum of 300",
            "INVALID_VALUE /providers/0/name: value does not match \"^[a-z0-9][a-z0-9-]{0,31}$\"",
            "INVALID_VALUE /providers/0/principal: value does not match \"^(/([^~/]|~[01])*)+$\"",
            "UNKNOWN_MEMBER /providers/0/secret: there is no such member",
        ]
    "#]].assert_debug_eq(&faults(&json!({ "providers": [odd] })));

    let mut again = good.clone();
    again["keys"] = json!({ "url": "http://id.example.com/keys" });
    again["workspace"] = json!({ "claim": "/workspace", "among": ["acme", "Not One"] });
    again["type"] = json!({ "claim": "/kind" });
    let mut both = provider(
        "other",
        "https://other",
        &json!({ "file": "a", "url": "https://b" }),
    );
    both["workspace"] = json!({ "claim": "/workspace" });
    expect![[r#"
        [
            "INVALID_VALUE /providers/1/name: another provider has this name",
            "INVALID_VALUE /providers/1/issuer: another provider has this issuer",
            "INVALID_VALUE /providers/1/keys/url: use `https:`, or `http:` with an address of this machine; without user, password and fragment",
            "INVALID_VALUE /providers/1/workspace/among/1: name a workspace, or `*` for all but `global`",
            "INVALID_VALUE /providers/1/type: give `constant`, or `claim` and `values`",
            "INVALID_VALUE /providers/2/keys: give `file` or `url`",
            "INVALID_VALUE /providers/2/workspace: give `constant`, or `claim` and `among`",
        ]
    "#]].assert_debug_eq(&faults(&json!({ "providers": [good, again, both] })));

    expect![[r#"
        [
            "WRONG_TYPE /providers: value is not of type \"array\"",
        ]
    "#]]
    .assert_debug_eq(&faults(&json!({ "providers": {} })));
    let twice = br#"{ "providers": [], "providers": [] }"#;
    assert!(Document::parse(twice).is_err());
    assert!(Document::parse(b"{ not json").is_err());
    assert!(Document::parse(&vec![b' '; 2 << 20]).is_err());
}

#[test]
fn keys_come_encrypted_or_from_this_machine() {
    for (url, is_good) in [
        ("https://id.example.com/keys", true),
        ("http://127.0.0.1:8080/keys", true),
        ("http://[::1]/keys", true),
        ("http://localhost/keys", true),
        ("http://id.example.com/keys", false),
        ("http://127.0.0.1.example.com/keys", false),
        ("http://localhost.example.com/keys", false),
        ("https://user:password@id.example.com/keys", false),
        ("ftp://127.0.0.1/keys", false),
        ("file:///etc/keys", false),
        ("keys.json", false),
    ] {
        let document = json!({ "providers": [provider("kc", "i", &json!({ "url": url }))] });
        assert_eq!(faults(&document).is_empty(), is_good, "{url}");
    }
}

#[tokio::test]
async fn with_a_faulty_file_it_does_not_start_and_says_all_that_is_wrong() {
    let world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("providers.json");
    let mut first = provider(
        "kc",
        "https://one",
        &json!({ "file": "/nonexistent/keys.json" }),
    );
    let mut second = first.clone();
    second["name"] = json!("other");
    second["issuer"] = json!("https://two");
    for (document, places) in [
        (
            json!({ "providers": [first, second] }),
            vec![
                "`/providers/0/keys`",
                "`/providers/1/keys`",
                "/nonexistent/keys.json",
            ],
        ),
        (
            {
                first["algorithms"] = json!(["none"]);
                second["clockSkewSeconds"] = json!(-1);
                json!({ "providers": [first, second], "extra": 1 })
            },
            vec![
                "`/extra`",
                "`/providers/0/algorithms/0`",
                "`/providers/1/clockSkewSeconds`",
            ],
        ),
    ] {
        std::fs::write(&file, document.to_string()).unwrap();
        let mut command = process::command(&world, directory.path());
        command.env(names::IDENTITY_PROVIDERS_FILE, &file);
        let process = Process::spawn("intake", command, &directory.path().join("log"));
        assert!(!process.wait(Duration::from_secs(30)).await.success());
        let said = process.line("are not as they should be").await;
        for place in places {
            assert!(said.contains(place), "{place}: {said}");
        }
    }
}

//! Every example of the description is sent to a running system, each on what it needs, and is
//! answered as the description promises.

use std::{collections::BTreeMap, fs, time::Duration};

use contracts::registry::{
    Grant, OperationName,
    examples::{
        self, BLOCK, EXECUTION, INPUTS_DIGEST, INTENT, PERSON, PLAN, PLAN_HASH, SIGNATURE, TOKEN,
        WORKSPACE,
    },
};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, mpsc};
use worker::Call;

use crate::{gateway::client, world::World};

/// One request as the description writes it.
struct Example {
    /// The operation without what tells its ways of asking apart.
    operation: String,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<(String, Value)>,
    responses: Value,
}

impl Example {
    fn name(&self) -> String {
        let kind = self.body.as_ref().map_or("", |(kind, _)| kind);
        format!("{} {} {kind}", self.method, self.path)
    }
}

/// All of a description, those last that change what the others need.
fn examples(document: &Value) -> Vec<Example> {
    let mut examples = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let id = described["operationId"].as_str().unwrap();
            if id.starts_with("service.") {
                continue;
            }
            let mut operation = id.trim_end_matches(".resource");
            operation = operation.trim_end_matches(".query");
            let parameters = described["parameters"].as_array();
            let parameters = parameters.map(Vec::as_slice).unwrap_or_default();
            let bare = || Example {
                operation: operation.to_owned(),
                method: method.clone(),
                path: filled(path, parameters),
                query: texts(parameters, "query"),
                headers: Vec::new(),
                body: None,
                responses: described["responses"].clone(),
            };
            match described.pointer("/requestBody/content") {
                None => {
                    // What does not fit into a query string is asked for with a body.
                    let lacks = |it: &Value| it["required"] == true && it["example"].is_null();
                    if !path.ends_with("/events") && !parameters.iter().any(lacks) {
                        examples.push(bare());
                    }
                }
                Some(content) => {
                    for (kind, media) in content.as_object().unwrap() {
                        let example = media["example"].clone();
                        assert!(
                            !example.is_null(),
                            "{method} {path} has no example as {kind}"
                        );
                        // Attributes in headers go with a body that is not an event itself.
                        let is_event = kind.contains("cloudevents");
                        let headers = if is_event {
                            Vec::new()
                        } else {
                            texts(parameters, "header")
                        };
                        examples.push(Example {
                            headers,
                            body: Some((kind.clone(), example)),
                            ..bare()
                        });
                    }
                }
            }
        }
    }
    let rank = |it: &Example| match it.operation.as_str() {
        "skill.disable" => 1,
        "policy.activate" => 2,
        _ => 0,
    };
    examples.sort_by_key(rank);
    examples
}

/// The examples of parameters in this place; a list is said one by one.
fn texts(parameters: &[Value], place: &str) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for parameter in parameters.iter().filter(|it| it["in"] == place) {
        let name = parameter["name"].as_str().unwrap().to_owned();
        match &parameter["example"] {
            Value::Null => {}
            Value::Array(items) => {
                texts.extend(items.iter().map(|item| (name.clone(), text(item))));
            }
            one @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                texts.push((name, text(one)));
            }
        }
    }
    texts
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn filled(path: &str, parameters: &[Value]) -> String {
    let named = texts(parameters, "path");
    named.iter().fold(path.to_owned(), |path, (name, text)| {
        path.replace(&format!("{{{name}}}"), text)
    })
}

/// A control plane, and someone who may do everything.
struct Desk {
    world: World,
    client: Client,
    url: String,
    token: String,
    document: Value,
    /// Calls of `acme.desk` that have come to its worker, who answers none.
    called: Mutex<mpsc::UnboundedReceiver<Call>>,
}

/// What stands for a value of the running system, and the value.
type Real = BTreeMap<&'static str, String>;

impl Desk {
    async fn open() -> Self {
        let world = World::up_with(&["--serves", "desk"]).await;
        let context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
        let url = context["url"].as_str().unwrap().to_owned();
        let grants = Grant::ALL.map(Grant::as_str);
        let granted = grants.iter().flat_map(|grant| ["--grant", grant]);
        let words: Vec<_> = ["user", "add", PERSON].into_iter().chain(granted).collect();
        let token = world.ask(&words)["token"].as_str().unwrap().to_owned();
        let called = Mutex::new(worker(&world, &context).await);
        let mut desk = Self {
            called,
            client: client(),
            world,
            url,
            token,
            document: Value::Null,
        };
        desk.document = desk.get("/openapi.json").await;
        // Services look at the file of principals once a second.
        for (path, body) in [
            ("/v1/execution.list", json!({})),
            ("/v1/plan.compile", json!({})),
        ] {
            desk.until(async |desk: &Self| {
                let answer = desk.send(&Self::post(path, &body)).await;
                (answer.0 != 401).then_some(())
            })
            .await;
        }
        desk
    }

    async fn get(&self, path: &str) -> Value {
        let asked = self.client.get(format!("{}{path}", self.url));
        let answer = asked.bearer_auth(&self.token).send().await.unwrap();
        answer.json().await.unwrap()
    }

    fn post(path: &str, body: &Value) -> Example {
        Example {
            operation: String::new(),
            method: Method::POST,
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Some(("application/json".to_owned(), body.clone())),
            responses: Value::Null,
        }
    }

    /// Its status, media type and body.
    async fn send(&self, example: &Example) -> (u16, String, Value) {
        let mut url: Url = format!("{}{}", self.url, example.path).parse().unwrap();
        if !example.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&example.query);
        }
        let asked = self.client.request(example.method.clone(), url);
        let mut asked = asked.bearer_auth(&self.token);
        for (name, value) in &example.headers {
            asked = asked.header(name, value);
        }
        if let Some((kind, body)) = &example.body {
            asked = asked.header("content-type", kind).body(body.to_string());
        }
        let answer = asked.send().await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        let kind = kind.split(';').next().unwrap().to_owned();
        (status, kind, answer.json().await.unwrap_or_default())
    }

    async fn until<T>(&self, found: impl AsyncFn(&Self) -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(found) = found(self).await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
        asked.expect("it does not come to stand so")
    }

    /// Someone else asks for an execution, and it comes to stand so.
    async fn asked_for(&self, draft: &str, options: &[&str], status: &str) -> Real {
        let mut words = vec!["--as", "submitter", "intent", "submit", "Say hello"];
        words.extend(["--draft", draft]);
        words.extend(options);
        let submitted = self.world.ask(&words);
        let (execution, intent) = (
            text(&submitted["executionId"]),
            text(&submitted["intentId"]),
        );
        let path = format!("/v1/executions/{execution}");
        let record = self
            .until(async |desk: &Self| {
                let record = desk.get(&path).await["execution"].take();
                (record["status"] == status).then_some(record)
            })
            .await;
        BTreeMap::from([
            (EXECUTION, execution),
            (INTENT, intent),
            (PLAN, text(&record["planId"])),
        ])
    }

    async fn blocked(&self) -> Real {
        let mut real = self
            .asked_for(HELLO, &["--mode", "assist"], "blocked")
            .await;
        let execution = real[EXECUTION].clone();
        let item = self
            .until(async |desk: &Self| {
                let path = format!("/v1/approvals?executionId={execution}");
                desk.get(&path).await["items"].get_mut(0).map(Value::take)
            })
            .await;
        let shown = &item["approval"];
        real.insert(BLOCK, text(&shown["blockId"]));
        real.insert(PLAN_HASH, text(&shown["planHash"]));
        real.insert(INPUTS_DIGEST, text(&shown["inputsDigest"]));
        real
    }

    /// What the example of this operation is about.
    async fn real(&self, operation: &str) -> Real {
        match operation {
            "plan.compile" | "plan.verify" | "execution.start" | "execution.cancel"
            | "execution.get" | "trace.get" | "policy.explain" => {
                self.asked_for(HELLO, &["--start", "manual"], "verified")
                    .await
            }
            "execution.approve" | "execution.reject" => self.blocked().await,
            "execution.pause" | "execution.abort" | "execution.shutdown" => {
                self.asked_for(WAITS, &[], "running").await
            }
            "execution.step.report" => self.called().await,
            "execution.resume" => {
                let real = self.asked_for(WAITS, &[], "running").await;
                let run = format!("{}:1", real[EXECUTION]);
                let pause = json!({ "runId": run, "pausedBy": PERSON });
                let answer = self.send(&Self::post("/v1/execution.pause", &pause)).await;
                assert_eq!(answer.0, 200, "{}", answer.2);
                real
            }
            "execution.retry" => self.asked_for(FAILS, &[], "failed").await,
            _ => Real::new(),
        }
    }

    /// A step that a worker was called for, with the token of the call.
    async fn called(&self) -> Real {
        let mut manifest = examples::input(OperationName::SkillInstall)["manifest"].take();
        manifest["skill"]["key"] = json!("acme.desk");
        manifest["skill"]["entryPoint"] = json!("nats:desk");
        manifest["metadata"]["actions"]["add"]["effect"] = json!("read");
        let file = self.world.directory.path().join("desk.json");
        let signed = self.world.directory.path().join("signed.json");
        fs::write(&file, manifest.to_string()).unwrap();
        let [file, signed] = [&file, &signed].map(|path| path.to_str().unwrap());
        self.world.ask(&["skill", "sign", file, "--out", signed]);
        self.world.ask(&["skill", "install", signed]);
        let mut real = self.asked_for(CALLS, &[], "running").await;
        let called = async { self.called.lock().await.recv().await.unwrap() };
        let call = tokio::time::timeout(Duration::from_secs(30), called).await;
        let call = call.expect("the worker is not called");
        assert_eq!(call.execution_id, real[EXECUTION]);
        real.insert(TOKEN, call.token.unwrap());
        real
    }

    /// Signed by the publisher whom this control plane trusts, and by nobody in a document.
    fn sign(&self, body: &mut Value) {
        if body["manifest"]["signature"]["signature"] == SIGNATURE {
            let file = self.world.directory.path().join("manifest.json");
            fs::write(&file, body["manifest"].to_string()).unwrap();
            body["manifest"] = self.world.ask(&["skill", "sign", file.to_str().unwrap()]);
        }
    }

    /// The answer is one of those that the description has, and a good one.
    async fn holds(&self, mut example: Example) {
        let real = self.real(&example.operation).await;
        example.path = put(&example.path, &real);
        for (_, value) in &mut example.query {
            *value = put(value, &real);
        }
        if let Some((_, body)) = &mut example.body {
            *body = serde_json::from_str(&put(&body.to_string(), &real)).unwrap();
            self.sign(body);
        }
        let (status, kind, body) = self.send(&example).await;
        let name = example.name();
        assert!((200..300).contains(&status), "{name}: {status} {body:#}");
        let content = &example.responses[status.to_string()]["content"];
        let schema = &content[&kind]["schema"];
        assert!(
            !schema.is_null(),
            "{name}: {status} as {kind} is not described"
        );
        let mut whole: Map<String, Value> = schema.as_object().unwrap().clone();
        whole.insert("components".to_owned(), self.document["components"].clone());
        let faults = domain::schema::faults(&whole.into(), &body).unwrap();
        assert!(faults.is_empty(), "{name}: {faults:#?}\n{body:#}");
    }
}

const HELLO: &str =
    r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{"message":"hello"}}]}"#;

const CALLS: &str = r#"{"steps":[{"id":"hello","uses":"acme.desk/add","with":{"text":"hello"}}]}"#;

/// Takes calls and leaves them to be reported by others.
async fn worker(world: &World, context: &Value) -> mpsc::UnboundedReceiver<Call> {
    let password = world.file("secrets/worker.password");
    let url = context["natsUrl"].as_str().unwrap();
    let limits = worker::Limits::default();
    let worker = worker::Worker::connect(url, "worker", password.trim(), limits);
    let worker = worker.await.unwrap();
    let (calls, called) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let take = move |call| {
            let _ = calls.send(call);
            std::future::pending()
        };
        worker
            .serve(WORKSPACE, "desk", take, std::future::pending())
            .await
    });
    called
}

/// Long enough for whatever is done to it.
const WAITS: &str = r#"{"steps":[{"id":"hello","uses":"core.wait/wait","with":{"ms":600000}}]}"#;

/// What the one says is no time that the other could wait for.
const FAILS: &str = r#"{"steps":[
    {"id":"hello","uses":"core.echo/echo","with":{"message":"hello"}},
    {"id":"wait","uses":"core.wait/wait","with":{"ms":{"$from":"/steps/hello/output/with/message"}}}
]}"#;

fn put(text: &str, real: &Real) -> String {
    real.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(name, value)
    })
}

#[tokio::test]
async fn every_example_is_answered_as_it_is_described() {
    let desk = Desk::open().await;
    let examples = examples(&desk.document);
    for name in OperationName::ALL.map(OperationName::short) {
        assert!(examples.iter().any(|it| it.operation == name), "{name}");
    }
    for example in examples {
        desk.holds(example).await;
    }
}

/// A name that stands for nothing is put in nobody's place.
#[test]
fn what_stands_for_real_values_is_in_the_examples() {
    let document = contracts::registry::openapi::document().to_string();
    for name in [
        WORKSPACE,
        PERSON,
        EXECUTION,
        INTENT,
        PLAN,
        BLOCK,
        PLAN_HASH,
        INPUTS_DIGEST,
        TOKEN,
        SIGNATURE,
    ] {
        assert!(document.contains(name), "{name}");
    }
}

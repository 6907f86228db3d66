//! One control plane and all its doors: HTTP, NATS, and the command. Whatever is answered, by
//! whichever door, is held against what is published.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use contracts::{
    event::{EventName, Service},
    ids::{ExecutionId, PrincipalId, WorkspaceId},
    position::Positions,
    registry::OperationName,
    subject::AggregateId,
};
use controlplane::{
    context::{BrokerUser, Context, Identity},
    install::password_file,
    log,
};
use journal::{
    Journal,
    history::Read,
    permissions::{CALLER_INBOX_PREFIX, caller_name, caller_subject},
    tail::Scope,
};
use serde_json::{Value, json};
use testkit::guest::Guest;

use crate::{
    conforming::{check_answer, check_event, check_problem},
    world::{STOP_WITHIN, World, type_in},
};

/// The workspace that `up` makes.
pub const WORKSPACE: &str = "demo";

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The trace of every request that is made here, over HTTP and over NATS.
pub const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
pub const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A way to ask for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    Http,
    Nats,
    Command,
}

impl Door {
    pub const ALL: [Self; 3] = [Self::Http, Self::Nats, Self::Command];
}

/// What was answered. The command tells no headers, and less of a problem.
#[derive(Debug, Clone)]
pub struct Said {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Said {
    pub fn is_answer(&self) -> bool {
        matches!(self.status, 200..300)
    }

    #[track_caller]
    pub fn ok(&self) -> &Value {
        assert!(self.is_answer(), "{self:#?}");
        &self.body
    }

    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        let text = self.ok()[member].as_str();
        text.unwrap_or_else(|| panic!("no `{member}`: {self:#?}"))
            .to_owned()
    }

    #[track_caller]
    pub fn code(&self) -> &str {
        let code = self.body["code"].as_str();
        code.unwrap_or_else(|| panic!("no refusal: {self:#?}"))
    }
}

/// Who asks.
pub struct Person {
    pub workspace: WorkspaceId,
    pub id: PrincipalId,
    pub token: String,
    pub guest: Guest,
}

pub struct Doors {
    pub world: World,
    pub context: Context,
    pub journal: Arc<dyn Journal>,
    people: BTreeMap<(String, String), Person>,
    http: reqwest::Client,
}

/// Someone who is let in beside those that `up` makes.
pub struct Newcomer {
    pub workspace: String,
    pub id: String,
    /// As `user add` has it.
    pub may: &'static [&'static str],
}

impl Doors {
    /// With these people too; the broker knows them from its next start on.
    pub async fn open(options: &[&str], newcomers: &[Newcomer]) -> Self {
        // Fails where another test has done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut world = World::up_with(options).await;
        let mut tokens: BTreeMap<(String, String), String> = BTreeMap::new();
        for Newcomer { workspace, id, may } in newcomers {
            let mut words = vec!["user", "add", id, "--workspace", workspace];
            words.extend(*may);
            let token = world.ask(&words)["token"].as_str().unwrap().to_owned();
            tokens.insert((workspace.clone(), id.clone()), token);
        }
        world.process().term();
        assert!(world.process().wait(STOP_WITHIN).await.success());
        world.again().await;
        let context = Context::read(&world.path("context.json")).unwrap();
        for identity in context.identities.values() {
            let key = (context.workspace.to_string(), identity.id.to_string());
            tokens.insert(key, identity.token.clone());
        }
        let mut people = BTreeMap::new();
        let mut contexts: BTreeMap<String, Context> = BTreeMap::new();
        for ((workspace, id), token) in tokens {
            let key = (workspace.clone(), id.clone());
            let (workspace, id): (WorkspaceId, PrincipalId) =
                (workspace.parse().unwrap(), id.parse().unwrap());
            let user = caller_name(&workspace, &id);
            let password_file = world.path("secrets").join(password_file(&user));
            let password = std::fs::read_to_string(&password_file).unwrap();
            let url = &context.nats_url;
            let password = password.trim_end();
            let guest = Guest::connect(url, &user, password, CALLER_INBOX_PREFIX).await;
            let of_workspace = contexts.entry(key.0.clone()).or_insert_with(|| Context {
                workspace: workspace.clone(),
                identities: BTreeMap::new(),
                ..context.clone()
            });
            let identity = Identity {
                id: id.clone(),
                token: token.clone(),
                broker: Some(BrokerUser {
                    user,
                    password_file,
                }),
            };
            of_workspace.identities.insert(key.1.clone(), identity);
            let person = Person {
                workspace,
                id,
                token,
                guest,
            };
            people.insert(key, person);
        }
        for (workspace, context) in &contexts {
            context.write(&context_of(&world, workspace)).unwrap();
        }
        let journal = log::open(&context).await.unwrap();
        Self {
            world,
            context,
            journal,
            people,
            http: controlplane::api::client().unwrap(),
        }
    }

    pub fn person(&self, workspace: &str, who: &str) -> &Person {
        let key = (workspace.to_owned(), who.to_owned());
        let person = self.people.get(&key);
        person.unwrap_or_else(|| panic!("nobody is `{who}` of `{workspace}`"))
    }

    /// What the metrics of all services are.
    pub async fn metrics(&self) -> String {
        let mut all = String::new();
        for service in Service::ALL {
            let address = self.world.file(&format!("run/{service}.address"));
            let url = format!("http://{}/metrics", address.trim());
            let answer = self.http.get(url).send().await.unwrap();
            all.push_str(&answer.text().await.unwrap());
        }
        all
    }

    /// A connection as the broker's user of this name.
    pub async fn guest(&self, user: &str, inbox: &str) -> Guest {
        let file = self.world.path("secrets").join(password_file(user));
        let password = std::fs::read_to_string(file).unwrap();
        Guest::connect(&self.context.nats_url, user, password.trim_end(), inbox).await
    }

    /// `who` of the workspace that `up` made asks over HTTP.
    pub async fn ask(&self, who: &str, operation: OperationName, input: &Value) -> Said {
        self.through(Door::Http, WORKSPACE, who, operation, input, None)
            .await
    }

    /// Asks through a door, perhaps under an idempotency key.
    pub async fn through(
        &self,
        door: Door,
        workspace: &str,
        who: &str,
        operation: OperationName,
        input: &Value,
        key: Option<&str>,
    ) -> Said {
        let body = serde_json::to_vec(input).unwrap();
        let mut headers = vec![("traceparent", TRACEPARENT)];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        match door {
            Door::Http => {
                self.over_http(workspace, who, operation, &headers, body)
                    .await
            }
            Door::Nats => {
                self.over_nats(workspace, who, operation, &headers, body)
                    .await
            }
            Door::Command => {
                let input = input.to_string();
                let mut words = vec!["ask", operation.short(), &input];
                words.extend(key.iter().flat_map(|key| ["--key", key]));
                self.typed(workspace, who, operation, &words).await
            }
        }
    }

    /// Any bytes, over HTTP.
    pub async fn over_http(
        &self,
        workspace: &str,
        who: &str,
        operation: OperationName,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Said {
        let path = format!("/v1/{}", operation.short());
        let token = &self.person(workspace, who).token;
        let mut request = self
            .http
            .post(format!("{}{path}", self.context.url))
            .bearer_auth(token)
            .body(body);
        let is_typed = headers.iter().any(|(name, _)| *name == "content-type");
        if !is_typed {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let said = sent(request).await;
        check(operation, &said);
        said
    }

    /// What is at a path.
    pub async fn get(&self, workspace: &str, who: &str, path: &str) -> Said {
        let token = &self.person(workspace, who).token;
        let request = self
            .http
            .get(format!("{}{path}", self.context.url))
            .header("traceparent", TRACEPARENT)
            .bearer_auth(token);
        sent(request).await
    }

    /// Any bytes to a path.
    pub async fn post(
        &self,
        workspace: &str,
        who: &str,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Said {
        let token = &self.person(workspace, who).token;
        let request = self
            .http
            .post(format!("{}{path}", self.context.url))
            .header("traceparent", TRACEPARENT)
            .header("content-type", content_type)
            .bearer_auth(token)
            .body(body);
        sent(request).await
    }

    /// A live feed.
    pub async fn feed(&self, workspace: &str, who: &str, path: &str) -> reqwest::Response {
        let token = &self.person(workspace, who).token;
        let request = self
            .http
            .get(format!("{}{path}", self.context.url))
            .header("accept", "text/event-stream")
            .bearer_auth(token);
        request.send().await.unwrap()
    }

    /// Any bytes, over NATS.
    pub async fn over_nats(
        &self,
        workspace: &str,
        who: &str,
        operation: OperationName,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Said {
        let person = self.person(workspace, who);
        let subject = caller_subject(&person.workspace, &person.id, operation.short());
        let reply = person.guest.request(&subject, headers, body).await;
        let reply = reply.unwrap_or_else(|| panic!("nobody answers at `{subject}`"));
        let headers = reply.headers.iter();
        let headers: BTreeMap<String, String> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        let said = Said {
            status: headers["cp-status"].parse().unwrap(),
            body: serde_json::from_slice(&reply.payload).unwrap(),
            headers,
        };
        let told = said.headers.get("nats-service-error-code");
        let expected = (!said.is_answer()).then(|| said.status.to_string());
        assert_eq!(told, expected.as_ref(), "{said:#?}");
        if !said.is_answer() {
            let line = format!("{}: {}", said.code(), said.body["title"].as_str().unwrap());
            assert_eq!(said.headers["nats-service-error"], line);
        }
        check(operation, &said);
        said
    }

    /// Types a command that asks for this operation.
    pub async fn typed(
        &self,
        workspace: &str,
        who: &str,
        operation: OperationName,
        words: &[&str],
    ) -> Said {
        let context = context_of(&self.world, workspace);
        let mut all = vec!["--json".to_owned(), "--context".to_owned()];
        all.push(context.to_str().unwrap().to_owned());
        all.extend(["--as".to_owned(), who.to_owned()]);
        all.extend(words.iter().map(|word| (*word).to_owned()));
        // Who answers may run on this thread.
        let typing = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = all.iter().map(String::as_str).collect();
            type_in(&words)
        });
        let answer = typing.await.unwrap();
        let (text, is_answer) = match answer.code {
            0 => (&answer.out, true),
            1 => (&answer.err, false),
            code => panic!("{words:?} ended with {code}: {}{}", answer.out, answer.err),
        };
        let parsed: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("{words:?} printed no JSON ({error}): {text}"));
        let body = if is_answer {
            check_answer(operation, &parsed);
            parsed
        } else {
            let problem = parsed["problem"].clone();
            assert!(problem.is_object(), "{words:?} was not refused: {text}");
            problem
        };
        let status = if is_answer {
            200
        } else {
            u16::try_from(body["status"].as_u64().unwrap()).unwrap()
        };
        Said {
            status,
            headers: BTreeMap::new(),
            body,
        }
    }

    /// Waits until this has happened to an execution, and gives what the event says.
    pub async fn until(&self, workspace: &str, execution: &str, event: EventName) -> Value {
        let id: ExecutionId = execution.parse().unwrap();
        let aggregate = AggregateId::execution(workspace.parse().unwrap(), id);
        let scope = Scope::Aggregate(aggregate);
        let mut tail = self
            .journal
            .tail(&Positions::beginning(), scope)
            .await
            .unwrap();
        let mut seen = Vec::new();
        let waiting = async {
            loop {
                let recorded = tail.next().await.recorded.unwrap();
                let name = recorded.event.name();
                seen.push(name);
                if name == event {
                    return recorded.event.to_json().unwrap();
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("no `{event}` of {execution}, but {seen:?}"))
    }

    /// What has happened to an execution.
    pub async fn names(&self, workspace: &str, execution: &str) -> Vec<EventName> {
        let id: ExecutionId = execution.parse().unwrap();
        let aggregate = AggregateId::execution(workspace.parse().unwrap(), id);
        let loaded = self
            .journal
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap();
        loaded
            .into_iter()
            .map(|(_, recorded)| recorded.event.name())
            .collect()
    }

    /// Every event in the log, each as published; how many there are of each name.
    pub async fn check_events(&self) -> BTreeMap<EventName, usize> {
        let mut found: BTreeMap<EventName, usize> = BTreeMap::new();
        for stream in self.journal.streams() {
            let end = self.journal.last_sequence(stream).await.unwrap();
            let mut reached = 0;
            while reached < end {
                let entries = self.journal.read(stream, reached, 100).await.unwrap();
                for entry in &entries {
                    *found.entry(check_event(&entry.raw)).or_default() += 1;
                    reached = entry.position.sequence;
                }
            }
        }
        found
    }
}

async fn sent(request: reqwest::RequestBuilder) -> Said {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("an answer is no JSON ({error}): {text}"));
    Said {
        status,
        headers,
        body,
    }
}

#[track_caller]
fn check(operation: OperationName, said: &Said) {
    if said.is_answer() {
        check_answer(operation, &said.body);
    } else {
        check_problem(&said.body);
        assert_eq!(said.headers["content-type"], "application/problem+json");
    }
}

fn context_of(world: &World, workspace: &str) -> std::path::PathBuf {
    world.path(&format!("context-of-{workspace}.json"))
}

/// What is the same of two answers to the same request, asked for two executions: ids by the order
/// in which they first stand there, instants and positions by what they are.
pub fn shape(value: &Value) -> Value {
    let mut ids = Vec::new();
    shaped(value, &mut ids)
}

fn shaped(value: &Value, ids: &mut Vec<String>) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), shaped(value, ids)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| shaped(item, ids)).collect(),
        Value::String(text) => json!(of_text(text, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn of_text(text: &str, ids: &mut Vec<String>) -> String {
    if text.parse::<Positions>().is_ok() && text.starts_with("v1.") {
        return "<position>".to_owned();
    }
    if text.parse::<contracts::time::Timestamp>().is_ok() {
        return "<instant>".to_owned();
    }
    // Ids may stand in a text, as in a path.
    let mut told = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let id = rest
            .get(..36)
            .filter(|id| id.parse::<ExecutionId>().is_ok());
        if let Some(id) = id {
            let known = ids.iter().position(|known| known == id);
            let number = known.unwrap_or_else(|| {
                ids.push(id.to_owned());
                ids.len() - 1
            });
            // Writing to a String cannot fail.
            let _ = write!(told, "<id {number}>");
            rest = &rest[36..];
        } else {
            let first = rest.chars().next().unwrap();
            told.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    told
}

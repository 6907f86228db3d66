//! Services of an operator's own, where every connection is encrypted, and the command that asks
//! them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    authority::{Authority, Certificate},
    nats::{NatsServer, ServerOptions},
    process::{Process, binary},
};

use crate::{
    asking::wait_until,
    world::{Answer, World, directory, type_in},
};

/// An authority, what it issued, and a broker that was configured by the command.
struct Place {
    directory: TempDir,
    ca: PathBuf,
    client: Certificate,
    token: String,
}

impl Place {
    fn new() -> Self {
        let directory = directory();
        let authority = Authority::new();
        let ca = directory.path().join("ca.crt");
        authority.write(&ca);
        let issue = |name: &str| authority.issue(directory.path(), name, &["127.0.0.1"]);
        issue("broker");
        issue("services");
        let principals = directory.path().join("principals.json");
        let added = type_in(&[
            "--json",
            "user",
            "add",
            "sam",
            "--role",
            "submitter",
            "--workspace",
            "demo",
            "--principals",
            principals.to_str().unwrap(),
        ]);
        let added: Value = serde_json::from_str(&added.out).unwrap();
        Self {
            ca,
            client: issue("client"),
            token: added["token"].as_str().unwrap().to_owned(),
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    async fn broker(&self) -> (NatsServer, String) {
        let config = type_in(&[
            "broker-config",
            "--passwords",
            &self.text("passwords"),
            "--store",
            "@DATA@",
            "--principals",
            &self.text("principals.json"),
            "--tls-cert",
            &self.text("broker.crt"),
            "--tls-key",
            &self.text("broker.key"),
            "--tls-client-ca",
            &self.text("ca.crt"),
        ]);
        assert_eq!(config.code, 0, "{}", config.err);
        // Address and port are the test's.
        let config = config.out.replacen("listen: \"127.0.0.1:4222\"\n", "", 1);
        let server = NatsServer::start(ServerOptions {
            config,
            sync_always: false,
        })
        .await;
        let url = server.url().replacen("nats://", "tls://", 1);
        (server, url)
    }

    /// The options with which the command reaches the broker.
    fn nats(&self) -> [String; 6] {
        let shown = |path: &Path| path.to_str().unwrap().to_owned();
        [
            "--nats-ca".to_owned(),
            shown(&self.ca),
            "--nats-cert".to_owned(),
            shown(&self.client.cert),
            "--nats-key".to_owned(),
            shown(&self.client.key),
        ]
    }

    fn install(&self, url: &str, nats: &[String]) -> Answer {
        let password = self.text("passwords/installer.password");
        let mut words = vec![
            "install",
            "--nats-url",
            url,
            "--nats-password-file",
            &password,
        ];
        words.extend(nats.iter().map(String::as_str));
        type_in(&words)
    }

    /// Intake or the projector, by itself.
    async fn service(&self, name: &str, url: &str) -> (Process, SocketAddr) {
        let mut command = Command::new(binary(name));
        let database = format!("sqlite://{}", self.text("read.db"));
        for (setting, value) in [
            ("NATS_URL", url),
            ("NATS_USER", name),
            (
                "NATS_PASSWORD_FILE",
                &self.text(&format!("passwords/{name}.password")),
            ),
            ("NATS_CA_FILE", &self.text("ca.crt")),
            ("NATS_CERT_FILE", &self.text("client.crt")),
            ("NATS_KEY_FILE", &self.text("client.key")),
            ("NATS_API", "on"),
            ("LISTEN", "0.0.0.0:0"),
            ("TLS_CERT_FILE", &self.text("services.crt")),
            ("TLS_KEY_FILE", &self.text("services.key")),
            ("PRINCIPALS_FILE", &self.text("principals.json")),
            ("DATABASE_URL", &database),
        ] {
            command.env(format!("CONTROL_PLANE_{setting}"), value);
        }
        let process = Process::spawn(name, command, &self.path(&format!("{name}.log")));
        process.line("serves operations over NATS").await;
        let line = process.line("running").await;
        let (_, rest) = line.split_once("address=").unwrap();
        let port = rest.split(' ').next().unwrap().rsplit(':').next().unwrap();
        (
            process,
            SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())),
        )
    }

    fn ask(&self, context: &Value, words: &[&str]) -> Answer {
        let file = self.path("context.json");
        fs::write(&file, context.to_string()).unwrap();
        let mut all = vec!["--context", file.to_str().unwrap(), "--as", "sam"];
        all.extend(words);
        type_in(&all)
    }
}

#[tokio::test]
async fn the_command_asks_services_over_https_and_tls() {
    let place = Place::new();
    let (_broker, url) = place.broker().await;
    assert_eq!(
        place.install(&url, &[]).code,
        3,
        "nobody vouches for the broker"
    );
    let installed = place.install(&url, &place.nats());
    assert_eq!(installed.code, 0, "{}", installed.err);
    let (_intake, intake) = place.service("intake", &url).await;
    let (_projector, queries) = place.service("projector", &url).await;

    let mut context = json!({
        "url": format!("https://{intake}"),
        "queriesUrl": format!("https://{queries}"),
        "natsUrl": url,
        "caFile": place.ca,
        "natsTls": {
            "caFile": place.ca, "certFile": place.client.cert, "keyFile": place.client.key,
        },
        "workspace": "demo",
        "streams": 1,
        "identities": { "sam": {
            "id": "sam", "token": place.token,
            "broker": { "user": "demo.sam", "passwordFile": place.path("passwords/demo.sam.password") },
        } },
        "reader": {
            "user": "operator", "passwordFile": place.path("passwords/operator.password"),
        },
    });
    let submitted = place.ask(&context, &["intent", "submit", "Say hello"]);
    assert_eq!(submitted.code, 0, "{}", submitted.err);
    for words in [
        vec!["execution", "list"],
        vec!["--over", "nats", "execution", "list"],
        vec!["events", "export"],
    ] {
        let answer = place.ask(&context, &words);
        assert_eq!(answer.code, 0, "{words:?}: {}", answer.err);
    }

    // Nobody is believed without an authority that vouches for it.
    context["caFile"] = json!(null);
    let refused = place.ask(&context, &["execution", "list"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("caFile"), "{}", refused.err);
    context["caFile"] = json!(place.path("nowhere"));
    let refused = place.ask(&context, &["execution", "list"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("nowhere"), "{}", refused.err);
    context["natsTls"] = json!({});
    let refused = place.ask(&context, &["--over", "nats", "execution", "list"]);
    assert_ne!(refused.code, 0, "{}", refused.out);
}

#[tokio::test]
async fn up_runs_on_a_broker_that_encrypts() {
    let place = Place::new();
    let (_broker, url) = place.broker().await;
    let passwords = place.text("passwords");
    let mut options = vec!["--nats-url", url.as_str(), "--nats-passwords", &passwords];
    let nats = place.nats();
    options.extend(nats.iter().map(String::as_str));
    let world = World::up_with(&options).await;
    let hello = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{"message":"x"}}]}"#;
    let id = world.submit(&["Say hello", "--draft", hello]);
    wait_until(&world, &id, "execution.completed").await;
    let replayed = world.type_in(&["replay", "--all"]);
    assert_eq!(replayed.code, 0, "{}{}", replayed.out, replayed.err);
}

#[tokio::test]
async fn up_serves_other_machines_encrypted_or_not_at_all() {
    let place = Place::new();
    let (cert, key) = (place.text("services.crt"), place.text("services.key"));
    let (data, ca, other) = (
        place.text("data"),
        place.text("ca.crt"),
        place.text("client.key"),
    );
    let refused = type_in(&["up", "--data", &data, "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("--tls-cert"), "{}", refused.err);
    let unfit = [
        "up",
        "--data",
        &data,
        "--tls-cert",
        &cert,
        "--tls-key",
        &other,
    ];
    let refused = type_in(&unfit);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("do not fit together"),
        "{}",
        refused.err
    );

    let everywhere = ["--listen", "0.0.0.0:0", "--tls-ca", &ca];
    let encrypted = ["--tls-cert", &cert, "--tls-key", &key];
    let world = World::up_with(&[&everywhere[..], &encrypted[..]].concat()).await;
    let context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
    let url = context["url"].as_str().unwrap();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let hello = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{"message":"x"}}]}"#;
    let id = world.submit(&["Say hello", "--draft", hello]);
    wait_until(&world, &id, "execution.completed").await;
}

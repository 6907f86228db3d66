//! Intake where connections are encrypted, its own and those to the broker.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use contracts::problem::Code;
use host::{
    config::names,
    http::{
        server::{self, Bounds},
        tls::{Files, Tls},
    },
};
use journal::{
    broker::ServerTls,
    jetstream::{BrokerTls, Caller, ConnectOptions, JetStreamJournal},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use serde_json::json;
use testkit::{
    authority::{Authority, Certificate},
    nats::NatsServer,
    process::Process,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    caller::{self, Answer},
    cases::{echo, intent},
    process::{address, submitted_over_nats},
    world::{WORKSPACE, broker_with, everybody, install_on, token},
};

const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// Whom a caller trusts, and what it shows of itself.
#[derive(Clone)]
struct Client {
    authority: PathBuf,
    own: Option<Certificate>,
}

impl Client {
    fn trusting(authority: &Path) -> Self {
        Self {
            authority: authority.to_owned(),
            own: None,
        }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let certs = CertificateDer::pem_file_iter(&self.authority).unwrap();
        for cert in certs {
            roots.add(cert.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match &self.own {
            None => builder.with_no_client_auth(),
            Some(Certificate { cert, key }) => {
                let chain = CertificateDer::pem_file_iter(cert).unwrap();
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(self.config()))
            .connect(name, stream)
            .await
    }

    /// Nothing where the connection is not made, or goes without an answer.
    async fn ask(&self, address: SocketAddr, head: &str, body: &str) -> Option<Answer> {
        let mut stream = self.connect(address).await.ok()?;
        let length = body.len();
        let text = format!(
            "{head}\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        (!read.is_empty()).then(|| caller::parse(&read))
    }

    async fn health(&self, address: SocketAddr) -> Option<u16> {
        let answer = self.ask(address, "GET /healthz HTTP/1.1", "").await?;
        Some(answer.status)
    }

    async fn until_healthy(&self, address: SocketAddr) {
        let asking = async {
            while self.health(address).await != Some(200) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
        assert!(asked.is_ok(), "it never is");
    }
}

/// Files of one authority.
struct Place {
    directory: tempfile::TempDir,
    authority: Authority,
    ca: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let ca = directory.path().join("ca.crt");
        authority.write(&ca);
        Self {
            directory,
            authority,
            ca,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn issue(&self, name: &str) -> Certificate {
        self.authority.issue(self.directory.path(), name, &HERE)
    }
}

/// A broker that takes encrypted connections from who has a certificate.
async fn broker(place: &Place) -> (NatsServer, String, BrokerTls) {
    let own = place.issue("broker");
    let shown = |path: &Path| path.display().to_string();
    let server = broker_with(Some(ServerTls {
        cert_file: shown(&own.cert),
        key_file: shown(&own.key),
        client_ca_file: Some(shown(&place.ca)),
    }))
    .await;
    let url = server.url().replace("nats://", "tls://");
    let client = place.issue("client");
    let tls = BrokerTls {
        ca_file: Some(place.ca.clone()),
        client: Some((client.cert, client.key)),
    };
    (server, url, tls)
}

fn intake(directory: &Path, settings: &[(&str, &Path)]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_intake"));
    command.env(names::LISTEN, "127.0.0.1:0");
    command.envs(settings.iter().copied());
    Process::spawn("intake", command, &directory.join("log"))
}

#[tokio::test]
async fn from_the_caller_to_the_broker_everything_is_encrypted() {
    let place = Place::new();
    let (_server, url, tls) = broker(&place).await;
    let installer = ConnectOptions::new(&url, "installer")
        .credentials("installer", "installer-password")
        .tls(tls.clone());
    install_on(&installer).await;

    let own = place.issue("intake");
    let (password, principals) = (place.path("password"), place.path("principals.json"));
    std::fs::write(&password, "intake-password").unwrap();
    std::fs::write(&principals, serde_json::to_vec(&everybody()).unwrap()).unwrap();
    let (cert, key) = tls.client.clone().unwrap();
    let process = intake(
        place.directory.path(),
        &[
            (names::NATS_URL, Path::new(&url)),
            (names::NATS_USER, Path::new("intake")),
            (names::NATS_PASSWORD_FILE, &password),
            (names::NATS_CA_FILE, &place.ca),
            (names::NATS_CERT_FILE, &cert),
            (names::NATS_KEY_FILE, &key),
            (names::NATS_API, Path::new("on")),
            (names::TLS_CERT_FILE, &own.cert),
            (names::TLS_KEY_FILE, &own.key),
            (names::PRINCIPALS_FILE, &principals),
        ],
    );
    let address = address(&process).await;

    let client = Client::trusting(&place.ca);
    assert_eq!(client.health(address).await, Some(200));
    let head = |token: &str| {
        format!(
            "POST /v1/intent.submit HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: \
             application/json"
        )
    };
    let body = intent(echo()).to_string();
    let answer = client.ask(address, &head(&token("sam")), &body).await;
    answer.unwrap().ok();
    let refused = client.ask(address, &head(&token("x")), &body).await;
    refused.unwrap().is(Code::Unauthenticated);

    process.line("serves operations over NATS").await;
    let sam = Caller::connect_over(
        &url,
        tls.clone(),
        &WORKSPACE.parse().unwrap(),
        &"sam".parse().unwrap(),
        &format!("{WORKSPACE}.sam-password"),
    )
    .await
    .unwrap();
    assert_eq!(submitted_over_nats(&sam, "key").await, 201);

    // Who does not encrypt gets no answer, and who trusts someone else does not ask.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut read = Vec::new();
    let _ = plain.read_to_end(&mut read).await;
    assert!(!String::from_utf8_lossy(&read).contains("HTTP"), "{read:?}");
    let other = Place::new();
    assert_eq!(Client::trusting(&other.ca).health(address).await, None);
}

#[tokio::test]
async fn a_broker_is_not_trusted_without_its_authority_nor_asked_in_the_clear() {
    let place = Place::new();
    let (server, url, tls) = broker(&place).await;
    let connects = async |url: &str, tls: BrokerTls| {
        let options = ConnectOptions::new(url, "installer")
            .credentials("installer", "installer-password")
            .tls(tls);
        match JetStreamJournal::connect(&options).await {
            // Without streams, it was reached.
            Err(error) => error.to_string().contains("is missing"),
            Ok(_) => true,
        }
    };
    assert!(connects(&url, tls.clone()).await);
    // The address need not say it: a file that is of use for nothing else does.
    assert!(connects(&server.url(), tls.clone()).await);
    let other = Place::new();
    let stranger = BrokerTls {
        ca_file: Some(other.ca.clone()),
        ..tls.clone()
    };
    assert!(!connects(&url, stranger).await);
    let anonymous = BrokerTls {
        client: None,
        ..tls.clone()
    };
    assert!(!connects(&url, anonymous).await);
    let nothing = BrokerTls {
        ca_file: Some(place.path("nowhere")),
        ..tls.clone()
    };
    assert!(!connects(&url, nothing).await);
    let plain = broker_with(None).await;
    assert!(connects(&plain.url(), BrokerTls::default()).await);
    assert!(
        !connects(&plain.url(), tls).await,
        "no password in the clear"
    );
}

#[tokio::test]
async fn a_certificate_changes_without_a_restart() {
    let (old, new) = (Place::new(), Place::new());
    let own = old.issue("own");
    let files = Files {
        cert: own.cert.clone(),
        key: own.key.clone(),
        client_ca: None,
    };
    let address = serve(files, Bounds::default()).await;
    let (with_old, with_new) = (Client::trusting(&old.ca), Client::trusting(&new.ca));
    assert_eq!(with_old.health(address).await, Some(200));
    assert_eq!(with_new.health(address).await, None);

    // While the two do not fit together, the pair before is used.
    let next = new.issue("own");
    std::fs::rename(&next.cert, &own.cert).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(with_old.health(address).await, Some(200));
    std::fs::rename(&next.key, &own.key).unwrap();
    with_new.until_healthy(address).await;
    assert_eq!(with_old.health(address).await, None);
}

#[tokio::test]
async fn where_certificates_are_asked_for_nobody_is_heard_without_one() {
    let (place, other) = (Place::new(), Place::new());
    let own = place.issue("own");
    let files = Files {
        cert: own.cert,
        key: own.key,
        client_ca: Some(place.ca.clone()),
    };
    let address = serve(files, Bounds::default()).await;
    let mut client = Client::trusting(&place.ca);
    assert_eq!(client.health(address).await, None);
    client.own = Some(other.issue("stranger"));
    assert_eq!(client.health(address).await, None);
    client.own = Some(place.issue("client"));
    assert_eq!(client.health(address).await, Some(200));
}

/// Who greets slowly, or not at all, takes no place from others for long.
#[tokio::test]
async fn who_does_not_greet_is_let_go() {
    let place = Place::new();
    let own = place.issue("own");
    let files = Files {
        cert: own.cert,
        key: own.key,
        client_ca: None,
    };
    let bounds = Bounds {
        connections_max: 2,
        handshake_within: Duration::from_millis(300),
        head_within: Duration::from_millis(300),
        ..Bounds::default()
    };
    let address = serve(files, bounds).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&[0x16, 0x03]).await.unwrap();
    // Both places are taken until they are let go.
    let client = Client::trusting(&place.ca);
    assert_eq!(client.health(address).await, Some(200));
    for stream in [&mut silent, &mut slow] {
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
    }
    // Who greets and asks nothing is let go too.
    let mut idle = client.connect(address).await.unwrap();
    let mut read = Vec::new();
    let _ = idle.read_to_end(&mut read).await;
    assert!(
        read.is_empty() || caller::parse(&read).status == 408,
        "{read:?}"
    );
}

async fn serve(files: Files, bounds: Bounds) -> SocketAddr {
    let tls = Arc::new(Tls::load(files).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/healthz", get(async || "well"));
    let shutdown = CancellationToken::new();
    tokio::spawn(server::serve(listener, Some(tls), routes, shutdown, bounds));
    address
}

#[tokio::test]
async fn what_cannot_be_encrypted_is_not_served_and_the_reason_is_said() {
    let place = Place::new();
    let (one, other) = (place.issue("one"), place.issue("other"));
    let (empty, nowhere) = (place.path("empty"), place.path("nowhere"));
    std::fs::write(&empty, "").unwrap();
    let (cert, key, ca) = (
        names::TLS_CERT_FILE,
        names::TLS_KEY_FILE,
        names::TLS_CLIENT_CA_FILE,
    );
    let (listen, plaintext) = (names::LISTEN, names::PLAINTEXT);
    let everywhere = Path::new("0.0.0.0:0");
    let cases: [(&[(&str, &Path)], &str); 12] = [
        (&[(cert, &one.cert)], "`CONTROL_PLANE_TLS_KEY_FILE` is not"),
        (&[(key, &one.key)], "`CONTROL_PLANE_TLS_CERT_FILE` is not"),
        (&[(ca, &place.ca)], "`CONTROL_PLANE_TLS_CERT_FILE` is not"),
        (
            &[(cert, &one.cert), (key, &other.key)],
            "do not fit together",
        ),
        (&[(cert, &one.cert), (key, &nowhere)], "nowhere"),
        (&[(cert, &nowhere), (key, &one.key)], "nowhere"),
        (
            &[(cert, &one.cert), (key, &one.cert)],
            "holds no private key",
        ),
        (&[(cert, &empty), (key, &one.key)], "holds no certificate"),
        (
            &[(cert, &one.cert), (key, &one.key), (ca, &empty)],
            "holds no certificate",
        ),
        (
            &[(names::NATS_CERT_FILE, &one.cert)],
            "`CONTROL_PLANE_NATS_KEY_FILE` is not",
        ),
        (&[(listen, everywhere)], "set `CONTROL_PLANE_TLS_CERT_FILE`"),
        (
            &[(listen, everywhere), (plaintext, Path::new("yes"))],
            "use `allow`",
        ),
    ];
    for (settings, reason) in cases {
        let process = intake(place.directory.path(), settings);
        process.line(reason).await;
        assert!(!process.wait(Duration::from_secs(30)).await.success());
    }
    // Where it is said that something else encrypts, it is served, and the log warns.
    let allowed = [(listen, everywhere), (plaintext, Path::new("allow"))];
    let process = intake(place.directory.path(), &allowed);
    process.line("tokens are taken WITHOUT ENCRYPTION").await;
    let with_tls = [(listen, everywhere), (cert, &*one.cert), (key, &*one.key)];
    let process = intake(place.directory.path(), &with_tls);
    process.line("certificate loaded").await;
    assert!(!json!(process.output()).to_string().contains("WITHOUT"));
}

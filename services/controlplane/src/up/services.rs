//! The five services as children.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use contracts::event::Service;
use host::config::names;
use journal::layout::StreamCount;
use tokio::process::Command;

use super::{
    child::{Children, Recipe},
    directory::Directory,
};
use crate::{api, failure::Failure, install::Passwords, screen::Screen};

/// What the services are told.
pub struct Wanted<'a> {
    pub directory: &'a Directory,
    pub nats_url: &'a str,
    pub streams: StreamCount,
    pub passwords: Option<&'a Passwords>,
    pub intake: SocketAddr,
    pub queries: SocketAddr,
}

pub struct Urls {
    pub intake: String,
    pub queries: String,
}

/// Whether everything is built: the services are binaries of their own, beside this one.
pub fn check_binaries() -> Result<(), Failure> {
    let missing: Vec<_> = Service::ALL
        .into_iter()
        .filter(|service| !binary(*service).is_file())
        .map(Service::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let here = binary(Service::Intake).with_file_name("");
    Err(Failure::Unsuccessful(format!(
        "{} not beside this command in {}: run `cargo build` first, which builds all six, and \
         then `./target/debug/controlplane`",
        match missing.as_slice() {
            [one] => format!("`{one}` is"),
            several => format!("`{}` are", several.join("`, `")),
        },
        here.display()
    )))
}

/// Where to listen: as asked, or at the usual port if it is free, or at any.
pub fn address(
    asked: Option<SocketAddr>,
    usual: u16,
    screen: Screen,
    option: &str,
) -> Result<SocketAddr, Failure> {
    let address = asked.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], usual)));
    match (TcpListener::bind(address), asked) {
        (Ok(_), _) => Ok(address),
        (Err(error), Some(_)) => Err(Failure::Unsuccessful(format!(
            "cannot listen on {address} ({error}): name another address with `{option}`"
        ))),
        (Err(_), None) => {
            screen.note("address", &format!("{address} is taken: using a free port"));
            Ok(SocketAddr::from(([127, 0, 0, 1], 0)))
        }
    }
}

/// Starts all five and waits until each is ready.
pub async fn start(wanted: &Wanted<'_>, children: &mut Children) -> Result<Urls, Failure> {
    let mut waits = Vec::new();
    for service in Service::ALL {
        let file = address_file(wanted.directory, service);
        children.start_other(recipe(wanted, service));
        waits.push((service, file));
    }
    let http = api::client(false)?;
    let mut urls = Urls {
        intake: String::new(),
        queries: String::new(),
    };
    for (service, file) in waits {
        let found = children
            .others()
            .iter()
            .find(|child| child.name() == service.as_str());
        let Some(child) = found else { continue };
        let address = child
            .until("say where it listens", || async {
                fs::read_to_string(&file).ok()
            })
            .await?;
        let url = format!("http://{address}");
        child.until("be ready", || ready(&http, &url)).await?;
        match service {
            Service::Intake => urls.intake = url,
            Service::Projector => urls.queries = url,
            Service::Planner | Service::Verifier | Service::Executor => {}
        }
    }
    Ok(urls)
}

async fn ready(http: &reqwest::Client, url: &str) -> Option<()> {
    let response = http.get(format!("{url}/readyz")).send().await.ok()?;
    response.status().is_success().then_some(())
}

fn recipe(wanted: &Wanted<'_>, service: Service) -> Recipe {
    let mut env: Vec<(&'static str, String)> = vec![
        (names::NATS_URL, wanted.nats_url.to_owned()),
        (names::STREAMS, wanted.streams.get().to_string()),
    ];
    if let Some(passwords) = wanted.passwords {
        env.push((names::NATS_USER, service.to_string()));
        env.push((
            names::NATS_PASSWORD_FILE,
            passwords.file(service.as_str()).display().to_string(),
        ));
    }
    let directory = wanted.directory;
    let principals = (
        names::PRINCIPALS_FILE,
        directory.principals().display().to_string(),
    );
    let listen = match service {
        Service::Intake => {
            env.push(principals);
            wanted.intake
        }
        Service::Projector => {
            env.push(principals);
            let file = directory.read_model();
            env.push((names::DATABASE_URL, format!("sqlite://{}", file.display())));
            wanted.queries
        }
        Service::Planner | Service::Verifier | Service::Executor => {
            SocketAddr::from(([127, 0, 0, 1], 0))
        }
    };
    let address_file = address_file(directory, service);
    env.push((names::ADDRESS_FILE, address_file.display().to_string()));
    Recipe {
        name: service.to_string(),
        log: directory.log(service.as_str()),
        command: Box::new(move || {
            let mut command = Command::new(binary(service));
            // Started again, it must be where everyone knows it to be.
            let listen = fs::read_to_string(&address_file).unwrap_or_else(|_| listen.to_string());
            command
                .env(names::LISTEN, listen)
                .envs(env.iter().map(|(name, value)| (*name, value)));
            command
        }),
    }
}

fn address_file(directory: &Directory, service: Service) -> PathBuf {
    directory.run().join(format!("{service}.address"))
}

fn binary(service: Service) -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name(service.as_str())
}

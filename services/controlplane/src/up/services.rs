//! The five services as children.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use anyhow::Context as _;
use contracts::event::Service;
use host::config::names;
use journal::layout::StreamCount;
use tokio::process::Command;

use super::{
    child::{Children, Recipe},
    directory::Directory,
    sign::Sign,
};
use crate::{api, failure::Failure, install::Passwords, screen::Screen};

/// What the services are told.
pub struct Wanted<'a> {
    pub directory: &'a Directory,
    pub nats_url: &'a str,
    pub streams: StreamCount,
    pub passwords: Option<&'a Passwords>,
    /// Whether each principal is a user of the broker.
    pub knows_callers: bool,
    pub addresses: Addresses,
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

/// Where intake and projector listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    intake: SocketAddr,
    queries: SocketAddr,
}

/// As asked, or at the usual ports if they are free, or at any.
pub fn addresses(
    intake: Option<SocketAddr>,
    queries: Option<SocketAddr>,
    screen: Screen,
) -> Result<Addresses, Failure> {
    // Both are held until both are found, so that they differ.
    let (_held, intake) = address(intake, 8080, screen, "--listen-intake")?;
    let (_held_too, queries) = address(queries, 8081, screen, "--listen-queries")?;
    Ok(Addresses { intake, queries })
}

fn address(
    asked: Option<SocketAddr>,
    usual: u16,
    screen: Screen,
    option: &str,
) -> Result<(Option<TcpListener>, SocketAddr), Failure> {
    let address = asked.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], usual)));
    match (TcpListener::bind(address), asked) {
        (Ok(listener), _) => Ok((Some(listener), address)),
        (Err(error), Some(_)) => Err(Failure::Unsuccessful(format!(
            "cannot listen on {address}: {error}\nname another address with `{option}`"
        ))),
        (Err(_), None) => {
            screen.note("address", &format!("{address} is taken: using a free port"));
            Ok((None, SocketAddr::from(([127, 0, 0, 1], 0))))
        }
    }
}

/// Starts all five and waits until each is ready.
pub async fn start(wanted: &Wanted<'_>, children: &mut Children) -> Result<Urls, Failure> {
    let mut waits = Vec::new();
    let http = api::client(false)?;
    for service in Service::ALL {
        let file = address_file(wanted.directory, service);
        children.start_other(recipe(wanted, service, http.clone()));
        waits.push((service, file));
    }
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
        child.ready().await?;
        let address = fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let url = format!("http://{address}");
        match service {
            Service::Intake => urls.intake = url,
            Service::Projector => urls.queries = url,
            Service::Planner | Service::Verifier | Service::Executor => {}
        }
    }
    Ok(urls)
}

fn recipe(wanted: &Wanted<'_>, service: Service, http: reqwest::Client) -> Recipe {
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
    // Its broker's users are as this command writes them; another broker's are its operator's word.
    let nats_api = if wanted.knows_callers { "on" } else { "off" };
    env.push((names::NATS_API, nats_api.to_owned()));
    let principals = (
        names::PRINCIPALS_FILE,
        directory.principals().display().to_string(),
    );
    let listen = match service {
        Service::Intake => {
            env.push(principals);
            wanted.addresses.intake
        }
        Service::Projector => {
            env.push(principals);
            let file = directory.read_model();
            env.push((names::DATABASE_URL, format!("sqlite://{}", file.display())));
            wanted.addresses.queries
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
        sign: Sign::Service {
            http,
            address: address_file.clone(),
        },
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

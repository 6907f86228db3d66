//! The five services as children.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use contracts::event::Service;
use host::config::{archive, names};
use journal::layout::StreamCount;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    ANY_ADDRESS,
    child::{Children, Recipe},
    directory::Directory,
    gateway::Behind,
    sign::Sign,
};
use crate::{
    api,
    context::NatsTls,
    failure::Failure,
    install::{Passwords, Survives},
};

/// What the services are told.
pub struct Wanted<'a> {
    pub directory: &'a Directory,
    pub nats_url: &'a str,
    pub nats_tls: &'a NatsTls,
    pub streams: StreamCount,
    pub durability: Survives,
    pub passwords: Option<&'a Passwords>,
    /// Whether each principal is a user of the broker.
    pub knows_callers: bool,
}

/// Where the services answer.
pub struct Found {
    /// Commands and queries.
    pub behind: Behind,
    /// All five: each has `/metrics`.
    pub all: BTreeMap<Service, SocketAddr>,
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

/// Starts all five, waits until each is ready, and says where they answer.
pub async fn start(wanted: &Wanted<'_>, children: &mut Children) -> Result<Found, Failure> {
    let mut waits = Vec::new();
    let http = api::client()?;
    for service in Service::ALL {
        let file = address_file(wanted.directory, service);
        children.start_other(recipe(wanted, service, http.clone()));
        waits.push((service, file));
    }
    let mut all = BTreeMap::new();
    let mut behind = Behind {
        intake: ANY_ADDRESS,
        projector: ANY_ADDRESS,
    };
    for (service, file) in waits {
        let found = children
            .others()
            .iter()
            .find(|child| child.name() == service.as_str());
        let Some(child) = found else { continue };
        child.ready().await?;
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let address = text
            .parse()
            .with_context(|| format!("`{}` holds no address", file.display()))?;
        all.insert(service, address);
        match service {
            Service::Intake => behind.intake = address,
            Service::Projector => behind.projector = address,
            Service::Planner | Service::Verifier | Service::Executor => {}
        }
    }
    write_targets(wanted.directory, &all)?;
    Ok(Found { behind, all })
}

/// For the file-based discovery of Prometheus: each service, where it is.
fn write_targets(directory: &Directory, all: &BTreeMap<Service, SocketAddr>) -> anyhow::Result<()> {
    let groups: Vec<Value> = all
        .iter()
        .map(|(service, address)| {
            json!({ "targets": [address], "labels": { "instance": service.as_str() } })
        })
        .collect();
    let file = directory.targets();
    fs::write(&file, serde_json::to_vec_pretty(&groups)?)
        .with_context(|| format!("cannot write `{}`", file.display()))
}

fn recipe(wanted: &Wanted<'_>, service: Service, http: reqwest::Client) -> Recipe {
    let mut env: Vec<(&'static str, String)> = vec![
        (names::NATS_URL, wanted.nats_url.to_owned()),
        (names::STREAMS, wanted.streams.get().to_string()),
        (names::DURABILITY, wanted.durability.as_str().to_owned()),
    ];
    if let Some(passwords) = wanted.passwords {
        env.push((names::NATS_USER, service.to_string()));
        env.push((
            names::NATS_PASSWORD_FILE,
            passwords.file(service.as_str()).display().to_string(),
        ));
    }
    let NatsTls {
        ca_file,
        cert_file,
        key_file,
    } = wanted.nats_tls;
    for (name, file) in [
        (names::NATS_CA_FILE, ca_file),
        (names::NATS_CERT_FILE, cert_file),
        (names::NATS_KEY_FILE, key_file),
    ] {
        env.extend(file.as_ref().map(|file| (name, file.display().to_string())));
    }
    let directory = wanted.directory;
    // Its broker's users are as this command writes them; another broker's are its operator's word.
    let nats_api = if wanted.knows_callers { "on" } else { "off" };
    env.push((names::NATS_API, nats_api.to_owned()));
    let principals = (
        names::PRINCIPALS_FILE,
        directory.principals().display().to_string(),
    );
    match service {
        Service::Intake => env.push(principals),
        Service::Projector => {
            env.push(principals);
            let file = directory.read_model();
            env.push((names::DATABASE_URL, format!("sqlite://{}", file.display())));
            let password = wanted.passwords.map(|known| known.file(archive::USER));
            env.extend(
                password.map(|file| (names::ARCHIVER_PASSWORD_FILE, file.display().to_string())),
            );
        }
        Service::Planner | Service::Verifier | Service::Executor => {}
    }
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
            let listen =
                fs::read_to_string(&address_file).unwrap_or_else(|_| ANY_ADDRESS.to_string());
            command
                // What these are for is done before requests come here.
                .env_remove(names::TLS_CERT_FILE)
                .env_remove(names::TLS_KEY_FILE)
                .env_remove(names::TLS_CLIENT_CA_FILE)
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

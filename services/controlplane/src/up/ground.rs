//! What is settled before anything runs: the settings, who may ask, and where it is answered.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use host::{config::traces::Traces, http::tls::Tls, principals::Document};
use tokio::net::TcpListener;

use super::{
    ANY_ADDRESS, Args,
    directory::{Directory, Settings},
    people, services,
};
use crate::{
    context::{Identity, NatsTls},
    failure::Failure,
    screen::Screen,
};

/// Where a control plane of one machine is found, if nothing else is there.
const USUAL_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub struct Ground<'a> {
    pub directory: &'a Directory,
    pub args: &'a Args,
    pub screen: Screen,
    pub settings: Settings,
    pub nats_tls: NatsTls,
    pub encryption: Option<Arc<Tls>>,
    pub listener: TcpListener,
    pub people: BTreeMap<String, Identity>,
    /// Everybody whom services and broker are to know.
    pub principals: Document,
}

impl<'a> Ground<'a> {
    /// What is wrong with the arguments, or missing, is told here.
    pub async fn settle(
        directory: &'a Directory,
        args: &'a Args,
        screen: Screen,
    ) -> Result<Self, Failure> {
        let (nats_tls, encryption) = (broker_files(args)?, args.encryption.load(args.listen)?);
        let settings = Settings::settle(directory, args)?;
        screen.note("data", &directory.root().display().to_string());
        services::check_binaries()?;
        // The services inherit these settings: what is wrong with them is told once, here.
        if let Some(traces) = Traces::from_env().map_err(anyhow::Error::new)? {
            let text = format!("of every service go to {}", traces.origin());
            screen.note("traces", &text);
        }
        let listener = listener(args.listen, screen).await?;
        let people = people::settle(directory, &settings.workspace)?;
        let principals = Document::read(&directory.principals()).map_err(anyhow::Error::new)?;
        Ok(Self {
            directory,
            args,
            screen,
            settings,
            nats_tls,
            encryption,
            listener,
            people,
            principals,
        })
    }
}

/// What the broker is reached with, if it is another's.
fn broker_files(args: &Args) -> Result<NatsTls, Failure> {
    let files = args.nats_tls.absolute()?;
    if args.nats_url.is_none() && !files.is_default() {
        return Err(Failure::Usage(
            "`--nats-ca`, `--nats-cert` and `--nats-key` are for a broker that is named with \
             `--nats-url`"
                .to_owned(),
        ));
    }
    Ok(files)
}

/// As asked, or at the usual port if it is free, or at any.
async fn listener(asked: Option<SocketAddr>, screen: Screen) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(asked.unwrap_or(USUAL_ADDRESS)).await;
    match (bound, asked) {
        (Ok(listener), _) => Ok(listener),
        (Err(error), Some(address)) => Err(Failure::Unsuccessful(format!(
            "cannot listen on {address}: {error}\nname another address with `--listen`"
        ))),
        (Err(_), None) => {
            let text = format!("{USUAL_ADDRESS} is taken: using a free port");
            screen.note("address", &text);
            let any = TcpListener::bind(ANY_ADDRESS).await;
            Ok(any.context("cannot listen on 127.0.0.1")?)
        }
    }
}

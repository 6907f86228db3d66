//! Three servers of this machine as one broker, each with a copy of every stream.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::net::TcpSocket;

use crate::{
    context::write_private,
    failure::Failure,
    install::Passwords,
    up::{
        ANY_ADDRESS,
        broker::{self, Broker},
        child::{Children, Recipe},
        directory::Directory,
        ground::Ground,
        sign::Sign,
    },
};

/// How many servers a broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Servers {
    /// One process
    #[value(name = "1")]
    One,
    /// A cluster on this machine, with a copy of each stream in every process
    #[value(name = "3")]
    Three,
}

impl Servers {
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// That of the services.
pub async fn start(ground: &Ground<'_>, children: &mut Children) -> Result<Broker, Failure> {
    let passwords = Passwords(ground.directory.secrets());
    let cluster = Cluster {
        name: "nats-server",
        root: ground.directory.broker(),
        binary: broker::find(ground.args.nats_server.as_deref(), ground.screen).await?,
    };
    let config = |store: &Path| Ok(broker::config(ground, &passwords, store)?.render());
    let url = cluster.start(ground.directory, config, children).await?;
    ground.screen.note("nats-server", &url);
    Ok(Broker {
        url,
        passwords: Some(passwords),
        replicas: Some(Servers::Three.number()),
        is_ours: true,
    })
}

pub struct Cluster {
    /// What its processes are called, before their numbers.
    pub name: &'static str,
    /// Each process has a directory of its own below it.
    pub root: PathBuf,
    pub binary: PathBuf,
}

impl Cluster {
    /// Waits until each process knows who leads, and answers with all their addresses. `config` is
    /// told where the data are, and has nothing of clusters.
    pub async fn start(
        self,
        directory: &Directory,
        config: impl Fn(&Path) -> Result<String, Failure>,
        children: &mut Children,
    ) -> Result<String, Failure> {
        let held = hold_ports(Servers::Three.number()).context("no free ports")?;
        let ports: Vec<u16> = held.iter().map(|(_, port)| *port).collect();
        let routes = ports
            .iter()
            .map(|port| format!("\"nats-route://127.0.0.1:{port}\""));
        let routes = routes.collect::<Vec<_>>().join(", ");
        let mut runs = Vec::new();
        for (number, port) in (1..).zip(ports) {
            let own = format!("n{number}");
            let root = self.root.join(&own);
            let run = root.join("run");
            fs::create_dir_all(&run).context("cannot make the broker's directory")?;
            let mut text = config(&root.join("data"))?;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "server_name: {own}\ncluster {{\n  name: bench\n  listen: \"127.0.0.1:{port}\"\n  \
                 routes: [{routes}]\n}}\n"
            );
            let file = root.join("nats-server.conf");
            write_private(&file, text.as_bytes()).context("cannot write its configuration")?;
            let name = format!("{}-{own}", self.name);
            children.start_broker(Recipe {
                log: directory.log(&name),
                name,
                sign: Sign::Clustered { run: run.clone() },
                command: Box::new({
                    let (binary, run) = (self.binary.clone(), run.clone());
                    move || broker::command(&binary, &file, &run)
                }),
            });
            runs.push(run);
        }
        for child in children.brokers() {
            child.ready().await?;
        }
        let urls: Result<Vec<String>, Failure> =
            runs.iter().map(|run| broker::own_address(run)).collect();
        Ok(urls?.join(","))
    }
}

/// Each server has to know the others' ports before any of them listens. Held like this nobody is given
/// one who asks for any, and a server that asks for it by its number listens there all the same.
fn hold_ports(number: u8) -> std::io::Result<Vec<(TcpSocket, u16)>> {
    let hold = |_| {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(ANY_ADDRESS)?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    };
    (0..number).map(hold).collect()
}

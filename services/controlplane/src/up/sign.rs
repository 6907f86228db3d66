//! What shows from outside that a child is ready.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use super::broker;

/// A broker that listens greets at once; one that does not in this time is asked again.
const GREETING_WITHIN: Duration = Duration::from_secs(1);

/// What a server logs that leads a cluster, and what one that follows another.
const LEADERS: [&str; 2] = [
    "Self is new JetStream cluster metadata leader",
    "JetStream cluster new metadata leader",
];

pub enum Sign {
    /// It answers `/readyz` with success, at the address that it has written into the file.
    Service {
        http: reqwest::Client,
        address: PathBuf,
    },
    /// It greets whoever connects; it has written into the directory where it listens.
    Broker { run: PathBuf },
    /// As [`Sign::Broker`], and it has logged who leads the cluster that it is part of.
    Clustered { run: PathBuf },
    /// It has logged this text.
    Logged(&'static str),
}

impl Sign {
    /// Whether it shows by now; of the log, only what comes after `log_from` bytes counts.
    pub async fn shows(&self, log: &Path, log_from: u64) -> bool {
        match self {
            Self::Service { http, address } => {
                let Ok(address) = fs::read_to_string(address) else {
                    return false;
                };
                let answer = http.get(format!("http://{address}/readyz")).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            }
            Self::Broker { run } => greets(run).await,
            Self::Clustered { run } => {
                let leads = |log: String| LEADERS.iter().any(|text| log.contains(text));
                greets(run).await && log_since(log, log_from).is_ok_and(leads)
            }
            Self::Logged(text) => log_since(log, log_from).is_ok_and(|log| log.contains(text)),
        }
    }
}

/// What was logged after so many bytes.
pub fn log_since(log: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn greets(run: &Path) -> bool {
    let Some(url) = broker::address(run) else {
        return false;
    };
    let greeting = async {
        let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).await?;
        stream.read_u8().await
    };
    matches!(timeout(GREETING_WITHIN, greeting).await, Ok(Ok(_)))
}

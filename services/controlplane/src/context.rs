//! Which control plane, and who asks: the file that `up` writes.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{self, Path, PathBuf},
};

use contracts::ids::{PrincipalId, WorkspaceId};
use journal::jetstream::BrokerTls;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Where it is when it is not named.
pub const DEFAULT_FILE: &str = ".control-plane/context.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub struct Context {
    /// Where commands and queries are answered.
    pub url: String,
    /// Where queries are, if they are not at the same address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries_url: Option<String>,
    /// Empty where only HTTP is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nats_url: String,
    /// Who vouches for intake and queries at `https:` (PEM); the machine's authorities where it is
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How the broker is reached at `tls:`.
    #[serde(default, skip_serializing_if = "NatsTls::is_default")]
    pub nats_tls: NatsTls,
    pub workspace: WorkspaceId,
    /// Into how many streams executions are spread.
    pub streams: u8,
    /// By name: `submitter`, `approver`, `admin`.
    pub identities: BTreeMap<String, Identity>,
    /// Who may read the log itself; absent where the broker asks nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<BrokerUser>,
    /// As whom workers serve the workspace's skills; absent where it is another's broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<BrokerUser>,
    /// Where publishers' private keys are, `<publisher>.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub id: PrincipalId,
    pub token: String,
    /// Who it is on NATS; absent where the broker asks nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerUser>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerUser {
    pub user: String,
    pub password_file: PathBuf,
}

/// Files in PEM for connections to the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NatsTls {
    /// Who vouches for the broker; the machine's authorities where it is left out
    #[arg(long = "nats-ca", value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A certificate, for a broker that asks for one
    #[arg(long = "nats-cert", value_name = "FILE", requires = "key_file")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long = "nats-key", value_name = "FILE", requires = "cert_file")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl NatsTls {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub fn absolute(&self) -> Result<Self, Failure> {
        Ok(Self {
            ca_file: absolute(self.ca_file.as_deref())?,
            cert_file: absolute(self.cert_file.as_deref())?,
            key_file: absolute(self.key_file.as_deref())?,
        })
    }

    pub fn options(&self) -> Result<BrokerTls, Failure> {
        let client = match (&self.cert_file, &self.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure::Usage(
                    "`natsTls` of the context has a certificate or a key, and not both".to_owned(),
                ));
            }
        };
        Ok(BrokerTls {
            ca_file: self.ca_file.clone(),
            client,
        })
    }
}

impl Context {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|source| {
            Failure::unreachable(
                format!("cannot read the context `{}`", path.display()),
                format!(
                    "{source}\nstart a control plane with `controlplane up`, or name its context \
                     with `--context`"
                ),
            )
        })?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::Usage(format!(
                "`{}` is not a context ({error}): `controlplane up` writes it anew when it starts",
                path.display()
            ))
        })
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// Who asks: the one that is named, the one who usually asks this, or the only one there is.
    pub fn asking(&self, named: Option<&str>, usually: &str) -> Result<&Identity, Failure> {
        match (named, self.identities.len()) {
            (None, 1) => self.identities.values().next(),
            (_, _) => None,
        }
        .map_or_else(|| self.identity(named.unwrap_or(usually)), Ok)
    }

    pub fn identity(&self, name: &str) -> Result<&Identity, Failure> {
        self.identities.get(name).ok_or_else(|| {
            let known: Vec<_> = self.identities.keys().map(String::as_str).collect();
            Failure::Usage(match known.as_slice() {
                [] => format!("the context has no identity `{name}`, nor any other"),
                known => format!(
                    "the context has no identity `{name}`: use one of {}",
                    known.join(", ")
                ),
            })
        })
    }
}

/// Whoever reads the context may stand elsewhere.
pub fn absolute(file: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let file = file.map(path::absolute).transpose();
    file.map_err(|error| Failure::Usage(format!("not a file: {error}")))
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    // Left by a process that was killed, perhaps with other permissions.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}

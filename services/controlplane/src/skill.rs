//! `skill keygen|sign|install|list|disable`

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    canonical::Digest,
    ids::{SkillKey, SkillVersion},
    manifest::SkillManifest,
    operations::skill::{
        DisableInput, DisableOutput, InstallInput, InstallOutput, ListInput, ListOutput,
    },
    position::Positions,
    registry::OperationName,
    time::Timestamp,
};
use host::clock::{Ambient as _, System};
use serde_json::json;
use skills::{
    key,
    signature::{self, Validity},
};

use crate::{api::Api, command::Global, context::write_private, failure::Failure, screen::put};

/// The provenance that development keys are trusted for.
pub const DEVELOPMENT: &str = "development";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a publisher's key, and print what a trust document needs
    Keygen {
        /// Where the private key goes; nobody else can read the file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a manifest, as its last change
    Sign {
        /// The manifest, signed or not
        manifest: PathBuf,
        /// The private key; the context's key for the manifest's publisher where it is left out
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Where the signed manifest goes; standard output where it is left out
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// After this instant the signature is refused: a courtesy, as whoever holds the manifest can
        /// remove it; to retire a key, use `notAfter` in the trust document
        #[arg(long, value_name = "INSTANT")]
        expires: Option<Timestamp>,
    },
    /// Install a skill from its signed manifest
    Install {
        /// The signed manifest
        manifest: PathBuf,
        /// What the manifest describes: its digest is compared. Where it is left out, the
        /// manifest's own word is sent
        #[arg(long, value_name = "FILE")]
        artifact: Option<PathBuf>,
    },
    /// List the skills of the workspace
    List {
        /// The disabled ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// After leaving out so many
        #[arg(long, default_value_t = 0)]
        offset: u32,
        /// Show nothing older than this position, as an earlier answer names it
        #[arg(long, value_name = "POSITION")]
        at_least: Option<Positions>,
    },
    /// Start nothing more with a skill
    Disable {
        /// Its key, as `skill list` shows it
        skill: SkillKey,
        /// One version; all of them where it is left out
        #[arg(long, value_name = "VERSION", value_parser = version)]
        only: Option<SkillVersion>,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Keygen { out } => keygen(global, &out),
        Command::Sign {
            manifest,
            key,
            out,
            expires,
        } => sign(global, &manifest, key, out.as_deref(), expires),
        Command::Install { manifest, artifact } => {
            let session = global.session("admin")?;
            let manifest = read_manifest(&manifest)?;
            let digest = match artifact {
                Some(artifact) => digest_of(&artifact)?,
                None => manifest.artifact.digest.clone(),
            };
            let output = install(&session.api, manifest, digest).await?;
            let screen = session.screen;
            screen.answer(&output, || {
                format!(
                    "{}  {}@{}",
                    screen.state(output.status.as_str()),
                    output.skill_key,
                    output.version
                )
            });
            Ok(())
        }
        Command::List {
            all,
            limit,
            offset,
            at_least,
        } => {
            let input = ListInput {
                include_disabled: Some(all),
                limit: Some(limit),
                offset: Some(offset),
                at_least,
            };
            list(global, &input).await
        }
        Command::Disable {
            skill,
            only,
            reason,
        } => disable(global, skill, only, reason).await,
    }
}

pub async fn install(
    api: &Api,
    manifest: SkillManifest,
    artifact_digest: String,
) -> Result<InstallOutput, Failure> {
    let malformed = |error| Failure::Usage(format!("the manifest names no skill: {error}"));
    let input = InstallInput {
        skill_key: manifest.skill.key.parse().map_err(malformed)?,
        version: manifest.skill.version.parse().map_err(malformed)?,
        artifact_digest,
        manifest,
        metadata: None,
    };
    api.ask(OperationName::SkillInstall, &input).await
}

pub fn read_manifest(path: &Path) -> Result<SkillManifest, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("`{}` is no manifest: {error}", path.display())))
}

/// As a manifest writes it.
pub fn digest_of(artifact: &Path) -> Result<String, Failure> {
    let bytes = fs::read(artifact).map_err(|error| {
        Failure::Usage(format!(
            "cannot read the artifact `{}`: {error}",
            artifact.display()
        ))
    })?;
    Ok(format!("sha256:{}", Digest::of(&bytes)))
}

/// The trust in every key of a directory, each as the development key of the publisher that its
/// file is named after.
pub fn trust_of(keys: &Path) -> Result<Trust, Failure> {
    let mut publishers = Vec::new();
    let entries = fs::read_dir(keys)
        .map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", keys.display())))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            let publisher = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            publishers.push(trusted(&publisher, &path)?);
        }
    }
    publishers.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(Trust { publishers })
}

/// A publisher whose only key is this one.
pub fn trusted(publisher: &str, key: &Path) -> Result<TrustedPublisher, Failure> {
    let key = read_key(key)?;
    let public_key = key::public_key_text(&key.verifying_key()).map_err(anyhow::Error::new)?;
    Ok(TrustedPublisher {
        id: publisher.to_owned(),
        provenances: [DEVELOPMENT.to_owned()].into(),
        keys: vec![TrustedKey {
            public_key,
            ..TrustedKey::default()
        }],
        ..TrustedPublisher::default()
    })
}

/// A new private key in a file that only its owner may read.
pub fn make_key(path: &Path) -> Result<String, Failure> {
    let key = key::keygen(System.random_bytes());
    let pem = key::private_key_pem(&key).map_err(anyhow::Error::new)?;
    write_private(path, pem.as_bytes())
        .with_context(|| format!("cannot write the key `{}`", path.display()))?;
    Ok(key::public_key_text(&key.verifying_key()).map_err(anyhow::Error::new)?)
}

pub fn signed(
    manifest: &SkillManifest,
    key: &Path,
    validity: Validity,
) -> Result<SkillManifest, Failure> {
    let key = read_key(key)?;
    Ok(signature::sign(manifest, &key, validity).map_err(anyhow::Error::new)?)
}

fn read_key(path: &Path) -> Result<ed25519_dalek::SigningKey, Failure> {
    let pem = fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!("cannot read the key `{}`: {error}", path.display()))
    })?;
    key::private_key_from_pem(&pem)
        .map_err(|error| Failure::Usage(format!("`{}`: {error}", path.display())))
}

fn keygen(global: &Global, out: &Path) -> Result<(), Failure> {
    if out.exists() {
        return Err(Failure::Usage(format!(
            "`{}` is there already: a key is never overwritten",
            out.display()
        )));
    }
    let public_key = make_key(out)?;
    let report = json!({ "privateKeyFile": out, "publicKey": public_key });
    global.screen().answer(&report, || {
        format!(
            "private key  {}\npublic key   {public_key}\ntrust it by adding it to a publisher in \
             the bundle's `trust`, as `{{\"publicKey\": \"…\"}}`",
            out.display()
        )
    });
    Ok(())
}

fn sign(
    global: &Global,
    manifest: &Path,
    key: Option<PathBuf>,
    out: Option<&Path>,
    expires_at: Option<Timestamp>,
) -> Result<(), Failure> {
    let unsigned = read_manifest(manifest)?;
    let key = match key {
        Some(key) => key,
        None => publisher_key(global, &unsigned.publisher.id)?,
    };
    let validity = Validity {
        issued_at: Some(System.now()),
        expires_at,
    };
    let signed = signed(&unsigned, &key, validity)?;
    let text = serde_json::to_string_pretty(&signed).map_err(anyhow::Error::new)?;
    let Some(out) = out else {
        put(&text);
        return Ok(());
    };
    fs::write(out, text + "\n").with_context(|| format!("cannot write `{}`", out.display()))?;
    let report = json!({ "manifest": out, "publisher": signed.publisher.id });
    global.screen().answer(&report, || {
        format!("signed for `{}`: {}", signed.publisher.id, out.display())
    });
    Ok(())
}

fn publisher_key(global: &Global, publisher: &str) -> Result<PathBuf, Failure> {
    let keys = global.context()?.keys.ok_or_else(|| {
        Failure::Usage("the context names no keys: name one with `--key`".to_owned())
    })?;
    // The name comes from a file that anyone may have written.
    let key = Path::new(publisher)
        .file_name()
        .map(|name| keys.join(format!("{}.pem", name.display())));
    match key.filter(|key| key.is_file()) {
        Some(key) => Ok(key),
        None => Err(Failure::Usage(format!(
            "there is no key of the publisher `{publisher}` in `{}`: name one with `--key`",
            keys.display()
        ))),
    }
}

async fn list(global: &Global, input: &ListInput) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let output: ListOutput = session.api.ask(OperationName::SkillList, input).await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let rows: Vec<_> = output
            .items
            .iter()
            .map(|item| {
                vec![
                    item.skill_key.to_string(),
                    item.version.to_string(),
                    item.status.as_str().to_owned(),
                    item.publisher.clone().unwrap_or_default(),
                    item.provenance.clone().unwrap_or_default(),
                    item.installed_at
                        .map(|at| at.to_string())
                        .unwrap_or_default(),
                ]
            })
            .collect();
        let headings = [
            "SKILL",
            "VERSION",
            "STATUS",
            "PUBLISHER",
            "PROVENANCE",
            "INSTALLED",
        ];
        let table = screen.table(&headings, &rows);
        format!(
            "{table}\n{}",
            screen.faint(&format!("{} of {}", rows.len(), output.total))
        )
    });
    Ok(())
}

async fn disable(
    global: &Global,
    skill_key: SkillKey,
    version: Option<SkillVersion>,
    reason: Option<String>,
) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let input = DisableInput {
        skill_key,
        disabled_by: session.api.principal.clone(),
        version,
        reason,
    };
    let output: DisableOutput = session.api.ask(OperationName::SkillDisable, &input).await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let version = output.version.as_ref().map(|version| format!("@{version}"));
        format!(
            "{}  {}{}",
            screen.state(output.status.as_str()),
            output.skill_key,
            version.unwrap_or_default()
        )
    });
    Ok(())
}

fn version(text: &str) -> Result<SkillVersion, String> {
    text.parse()
        .map_err(|error: contracts::ids::InvalidId| error.to_string())
}

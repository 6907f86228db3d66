//! `skill keygen|sign|verify|install|list|disable`

pub mod signing;

use std::{
    fs,
    path::{Path, PathBuf},
};

use contracts::{
    canonical::Digest,
    ids::{SkillKey, SkillVersion},
    manifest::SkillManifest,
    operations::skill::{
        DisableInput, DisableOutput, InstallInput, InstallOutput, ListInput, ListOutput,
        VerifyInput, VerifyOutput,
    },
    position::Positions,
    registry::OperationName,
    time::Timestamp,
};

use crate::{
    api::Api,
    command::Global,
    failure::Failure,
    screen::{Screen, plain},
};

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
    /// Tell everything that an installation would find; nothing is recorded
    Verify(Signed),
    /// Install a skill from its signed manifest
    Install(Signed),
    /// List the skills of the workspace
    List {
        /// The disabled ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// After leaving out so many
        #[arg(long)]
        offset: Option<u32>,
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

#[derive(Debug, clap::Args)]
pub struct Signed {
    /// The signed manifest
    manifest: PathBuf,
    /// What the manifest describes: its digest is compared. Where it is left out, the
    /// manifest's own word is sent
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,
}

impl Signed {
    /// The manifest, and the digest of what it describes.
    fn read(&self) -> Result<(SkillManifest, String), Failure> {
        let manifest = read_manifest(&self.manifest)?;
        let digest = match &self.artifact {
            Some(artifact) => digest_of(artifact)?,
            None => manifest.artifact.digest.clone(),
        };
        Ok((manifest, digest))
    }
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Keygen { out } => signing::keygen(global, &out),
        Command::Sign {
            manifest,
            key,
            out,
            expires,
        } => signing::sign(global, &manifest, key, out.as_deref(), expires),
        Command::Verify(signed) => verify(global, &signed).await,
        Command::Install(signed) => {
            let session = global.session("admin")?;
            let (manifest, digest) = signed.read()?;
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
                offset,
                cursor: None,
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

async fn verify(global: &Global, signed: &Signed) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let (manifest, artifact_digest) = signed.read()?;
    let (skill_key, version) = named(&manifest)?;
    let input = VerifyInput {
        skill_key,
        version,
        artifact_digest,
        manifest,
    };
    let output: VerifyOutput = session.api.ask(OperationName::SkillVerify, &input).await?;
    let screen = session.screen;
    screen.answer(&output, || told(screen, &input, &output));
    if output.verified {
        return Ok(());
    }
    let refused = "it would not be installed".to_owned();
    Err(Failure::Unsuccessful(refused))
}

fn told(screen: Screen, input: &VerifyInput, output: &VerifyOutput) -> String {
    let mut lines = vec![format!("{}@{}", input.skill_key, input.version)];
    for (name, holds) in [
        ("signature", output.signature_verified),
        ("publisher", output.publisher_trusted),
        ("compatibility", output.compatibility_verified),
    ] {
        let holds = match holds {
            Some(true) => screen.good("holds"),
            Some(false) | None => screen.alert("does not hold"),
        };
        lines.push(format!("{name:<14} {holds}"));
    }
    if let Some(digest) = &output.manifest_digest {
        lines.push(format!("{:<14} {digest}", "digest"));
    }
    for issue in output.issues.iter().flatten() {
        lines.push(format!(
            "{}  {}",
            screen.alert(&issue.code),
            plain(&issue.message)
        ));
    }
    lines.join("\n")
}

fn named(manifest: &SkillManifest) -> Result<(SkillKey, SkillVersion), Failure> {
    let malformed = |error| Failure::Usage(format!("the manifest names no skill: {error}"));
    Ok((
        manifest.skill.key.parse().map_err(malformed)?,
        manifest.skill.version.parse().map_err(malformed)?,
    ))
}

pub async fn install(
    api: &Api,
    manifest: SkillManifest,
    artifact_digest: String,
) -> Result<InstallOutput, Failure> {
    let (skill_key, version) = named(&manifest)?;
    let input = InstallInput {
        skill_key,
        version,
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

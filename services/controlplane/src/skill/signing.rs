//! Keys of publishers in files, and what is signed with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    manifest::SkillManifest,
    time::Timestamp,
};
use host::clock::{Ambient as _, System};
use serde_json::json;
use skills::{
    key,
    signature::{self, Validity},
};

use super::read_manifest;
use crate::{command::Global, context::write_private, failure::Failure, screen::put};

/// The provenance that development keys are trusted for.
pub const DEVELOPMENT: &str = "development";

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

pub fn keygen(global: &Global, out: &Path) -> Result<(), Failure> {
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

pub fn sign(
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

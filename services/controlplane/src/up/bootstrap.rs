//! The first policy. A control plane without one denies everything, so `up` activates the bundle
//! that comes with this build, with a trust root for development, and says so.

use std::sync::Arc;

use contracts::bundle::Bundle;
use host::catalogue::Follower;
use journal::jetstream::ConnectOptions;
use tokio::time::Instant;

use super::directory::Directory;
use crate::{
    api::{Api, Over},
    context::Context,
    failure::Failure,
    log, policy,
    screen::Screen,
    skill::signing::{make_key, trusted},
};

/// The publisher that a fresh control plane trusts.
pub const PUBLISHER: &str = "development";

/// Activates the default bundle where none is active. An active one is left as it is, but for
/// the publishers that have to be trusted.
pub async fn policy(
    directory: &Directory,
    context: &Context,
    reader: &ConnectOptions,
    trust: &[String],
    screen: Screen,
) -> Result<(), Failure> {
    let active = active(context, reader).await?;
    let mut wanted: Vec<&str> = trust.iter().map(String::as_str).collect();
    let mut bundle = if let Some(bundle) = &active {
        bundle.clone()
    } else {
        wanted.push(PUBLISHER);
        ::policy::shipped::default_bundle()
    };
    for publisher in wanted {
        let file = directory.keys().join(format!("{publisher}.pem"));
        if !file.exists() {
            make_key(&file)?;
        }
        if add(&mut bundle, publisher, &file)? {
            let text = format!(
                "skills that `{publisher}` signs with {} are accepted (a development trust root)",
                file.display()
            );
            screen.note("trust", &text);
        }
    }
    if active.as_ref() == Some(&bundle) {
        let hash = bundle.hash().map_err(anyhow::Error::new)?;
        screen.note("policy", &format!("bundle {hash} is active"));
        return Ok(());
    }
    let admin = Api::new(context, "admin", Over::Http)?;
    let output = policy::activate(&admin, bundle).await?;
    let text = match active {
        Some(_) => format!(
            "bundle {} is active now: the one before, and this trust",
            output.hash
        ),
        None => format!(
            "no bundle was active; the default one is now, {}",
            output.hash
        ),
    };
    screen.note("policy", &text);
    Ok(())
}

/// Whether the publisher's key was not trusted before.
fn add(bundle: &mut Bundle, publisher: &str, key: &std::path::Path) -> Result<bool, Failure> {
    let trusted = trusted(publisher, key)?;
    let publishers = &mut bundle.trust.publishers;
    let Some(known) = publishers.iter_mut().find(|known| known.id == publisher) else {
        publishers.push(trusted);
        return Ok(true);
    };
    let mut added = false;
    for key in trusted.keys {
        if !known
            .keys
            .iter()
            .any(|other| other.public_key == key.public_key)
        {
            known.keys.push(key);
            added = true;
        }
    }
    for provenance in trusted.provenances {
        added |= known.provenances.insert(provenance);
    }
    Ok(added)
}

async fn active(context: &Context, reader: &ConnectOptions) -> Result<Option<Bundle>, Failure> {
    let journal = log::connect(reader).await?;
    let follower = Follower::new(Arc::clone(&journal));
    let catalogue = follower
        .confirmed_since(Instant::now())
        .await
        .map_err(anyhow::Error::new)?;
    journal.close().await;
    let policy = catalogue.active_policy(&context.workspace);
    Ok(policy.map(|policy| policy.bundle.as_ref().clone()))
}

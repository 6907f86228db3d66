//! Who may ask for what: three principals, made at the first start. Services know the hashes of
//! their tokens only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::Context as _;
use contracts::{facts::ActorType, ids::WorkspaceId, registry::Role};
use host::principals::{Credential, Document, token_hash};

use super::directory::Directory;
use crate::{
    context::{Identity, write_private},
    failure::Failure,
    install::random_text,
};

/// Each is called as its role.
const PEOPLE: [Role; 3] = [Role::Submitter, Role::Approver, Role::Admin];

/// The identities by name. Tokens are kept; principals that were added by hand stay.
pub fn settle(
    directory: &Directory,
    workspace: &WorkspaceId,
) -> Result<BTreeMap<String, Identity>, Failure> {
    let file = directory.credentials();
    let mut identities: BTreeMap<String, Identity> = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("`{}` cannot be read", file.display()))?,
        Err(_) => BTreeMap::new(),
    };
    let known = identities.len();
    for role in PEOPLE {
        if !identities.contains_key(role.as_str()) {
            let identity = Identity {
                id: role.as_str().parse().map_err(anyhow::Error::new)?,
                token: random_text(),
                broker: None,
            };
            identities.insert(role.to_string(), identity);
        }
    }
    if identities.len() > known {
        let bytes = serde_json::to_vec_pretty(&identities).map_err(anyhow::Error::new)?;
        write_private(&file, &bytes)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    if identities.len() > known || !directory.principals().exists() {
        write_principals(directory, workspace, &identities)?;
    }
    Ok(identities)
}

/// What intake and projector read.
fn write_principals(
    directory: &Directory,
    workspace: &WorkspaceId,
    identities: &BTreeMap<String, Identity>,
) -> Result<(), Failure> {
    let credential = |role: Role| {
        let identity = identities.get(role.as_str())?;
        Some(Credential {
            id: identity.id.clone(),
            kind: ActorType::User,
            workspace: workspace.clone(),
            roles: [role].into(),
            grants: BTreeSet::new(),
            token_hash: token_hash(&identity.token),
            not_after: None,
        })
    };
    let mut document =
        Document::read_as_written(&directory.principals()).map_err(anyhow::Error::new)?;
    let is_ours = |held: &Credential| {
        held.workspace == *workspace && PEOPLE.iter().any(|role| role.as_str() == held.id.as_str())
    };
    document.principals.retain(|held| !is_ours(held));
    document
        .principals
        .extend(PEOPLE.into_iter().filter_map(credential));
    let bytes = serde_json::to_vec_pretty(&document).map_err(anyhow::Error::new)?;
    write_private(&directory.principals(), &bytes).context("cannot write the principals")?;
    Ok(())
}

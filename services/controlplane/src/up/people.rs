//! Who may ask for what: three principals, made at the first start. Services know the hashes of
//! their tokens only.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use contracts::{facts::ActorType, ids::WorkspaceId, registry::Grant};
use host::principals::{Credential, Document, token_hash};

use super::directory::Directory;
use crate::{
    context::{Identity, write_private},
    failure::Failure,
    install::random_text,
};

struct Person {
    name: &'static str,
    grants: &'static [Grant],
}

/// Nobody both asks and votes, and who administers does neither for others.
const PEOPLE: [Person; 3] = [
    Person {
        name: "submitter",
        grants: &[
            Grant::IntentSubmit,
            Grant::PlanCompile,
            Grant::PlanDraft,
            Grant::PlanVerify,
            Grant::ExecutionStart,
            Grant::ExecutionCancel,
            Grant::ExecutionRead,
            Grant::TraceRead,
            Grant::PolicyRead,
            Grant::SkillRead,
        ],
    },
    Person {
        name: "approver",
        grants: &[
            Grant::ExecutionApprove,
            Grant::ExecutionRead,
            Grant::TraceRead,
            Grant::TracePayloads,
            Grant::PolicyRead,
            Grant::SkillRead,
        ],
    },
    Person {
        name: "admin",
        grants: &[
            Grant::PlanVerify,
            Grant::ExecutionStart,
            Grant::ExecutionCancel,
            Grant::ExecutionRead,
            Grant::TraceRead,
            Grant::TracePayloads,
            Grant::PolicyActivate,
            Grant::PolicyRead,
            Grant::SkillInstall,
            Grant::SkillDisable,
            Grant::SkillRead,
        ],
    },
];

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
    for person in &PEOPLE {
        if !identities.contains_key(person.name) {
            let identity = Identity {
                id: person.name.parse().map_err(anyhow::Error::new)?,
                token: random_text(),
                broker: None,
            };
            identities.insert(person.name.to_owned(), identity);
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
    let credential = |person: &Person| {
        let identity = identities.get(person.name)?;
        Some(Credential {
            id: identity.id.clone(),
            kind: ActorType::User,
            workspace: workspace.clone(),
            grants: person.grants.iter().map(ToString::to_string).collect(),
            token_hash: token_hash(&identity.token),
            not_after: None,
        })
    };
    let document = Document {
        principals: PEOPLE.iter().filter_map(credential).collect(),
    };
    let bytes = serde_json::to_vec_pretty(&document).map_err(anyhow::Error::new)?;
    write_private(&directory.principals(), &bytes).context("cannot write the principals")?;
    Ok(())
}

//! `user add|list|rotate|revoke`: who may ask for what. Writes the file that intake and projector
//! read, and read again when it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    os::unix::{self, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use contracts::{
    facts::ActorType,
    ids::{PrincipalId, WorkspaceId},
    registry::{Grant, Role},
    time::Timestamp,
};
use host::{
    clock::{Ambient as _, System},
    principals::{Credential, Document, token_hash},
};
use journal::permissions::caller_name;
use serde_json::json;

use crate::{
    command::Global,
    context::{Identity, write_private},
    failure::Failure,
    install::{self, random_text},
    screen::Screen,
    up::directory::CREDENTIALS,
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Let someone in, and print the token: it is shown once
    Add {
        id: PrincipalId,
        #[command(flatten)]
        place: Place,
        /// An agent can hold no vote, whatever its roles say
        #[arg(long = "type", value_enum, default_value_t, value_name = "TYPE")]
        kind: Kind,
        /// What it may do, by who usually does it; may be repeated
        #[arg(long = "role", value_name = "ROLE", required_unless_present = "grants")]
        roles: Vec<Role>,
        /// A grant of its own, such as `act-as`; may be repeated
        #[arg(long = "grant", value_name = "GRANT")]
        grants: Vec<Grant>,
        /// After this instant the token is refused
        #[arg(long, value_name = "INSTANT")]
        expires: Option<Timestamp>,
    },
    /// Who may ask, and for what
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Give a new token; the earlier ones are refused after a while
    Rotate {
        id: PrincipalId,
        #[command(flatten)]
        place: Place,
        /// How many minutes both are good
        #[arg(long, default_value_t = 60, value_name = "MINUTES")]
        overlap: u32,
    },
    /// Refuse all its tokens, within a second
    Revoke {
        id: PrincipalId,
        #[command(flatten)]
        place: Place,
    },
}

/// Which file, and which workspace in it.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The file of principals; the one beside the context where it is left out
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// The context's where it is left out
    #[arg(long)]
    workspace: Option<WorkspaceId>,
}

impl Place {
    fn file(&self, global: &Global) -> PathBuf {
        match &self.principals {
            Some(file) => file.clone(),
            None => global.beside_context("principals.json"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    #[default]
    User,
    Service,
    Agent,
}

impl From<Kind> for ActorType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Service => Self::Service,
            Kind::Agent => Self::Agent,
        }
    }
}

pub fn run(command: Command, global: &Global) -> Result<(), Failure> {
    let screen = global.screen();
    match command {
        Command::Add {
            id,
            place,
            kind,
            roles,
            grants,
            expires,
        } => {
            let mut book = Book::open(&place, global)?;
            if book.own(&id).next().is_some() {
                return Err(Failure::Usage(format!(
                    "`{id}` is there: give it a new token with `user rotate`, or revoke it first"
                )));
            }
            let token = random_text();
            book.document.principals.push(Credential {
                id: id.clone(),
                kind: kind.into(),
                workspace: book.workspace.clone(),
                roles: roles.into_iter().collect(),
                grants: grants.iter().map(ToString::to_string).collect(),
                token_hash: token_hash(&token),
                not_after: expires,
            });
            book.write()?;
            tell(screen, &id, &token);
        }
        Command::List { place } => list(&Book::read(&place, global)?, screen),
        Command::Rotate { id, place, overlap } => {
            let mut book = Book::open(&place, global)?;
            let now = System.now();
            let end = now.plus_ms(u64::from(overlap) * 60_000);
            let Some(mut held) = book.own(&id).next_back().cloned() else {
                return Err(book.unknown(&id));
            };
            if !is_good(&held, now) {
                return Err(Failure::Unsuccessful(format!(
                    "`{id}` has expired: revoke it, and add it anew"
                )));
            }
            let token = random_text();
            held.token_hash = token_hash(&token);
            let workspace = book.workspace.clone();
            let held_before = book.document.principals.iter_mut();
            for before in held_before.filter(|it| it.id == id && it.workspace == workspace) {
                before.not_after = Some(before.not_after.map_or(end, |at| at.min(end)));
            }
            // What has expired long ago is of no use.
            book.document
                .principals
                .retain(|it| it.id != id || it.workspace != workspace || is_good(it, now));
            book.document.principals.push(held);
            book.write()?;
            tell(screen, &id, &token);
            let renewed = renewed(&book, global, &id, &token)?;
            if !screen.is_json() {
                if renewed {
                    screen.line("whoever asks with this context has it already");
                }
                screen.line(&format!(
                    "its password on the broker is as before: to change it, delete `{}` and write \
                     the broker's configuration anew",
                    password_file(&book.workspace, &id)
                ));
            }
        }
        Command::Revoke { id, place } => {
            let mut book = Book::open(&place, global)?;
            if book.own(&id).next().is_none() {
                return Err(book.unknown(&id));
            }
            let workspace = book.workspace.clone();
            book.document
                .principals
                .retain(|it| it.id != id || it.workspace != workspace);
            book.write()?;
            screen.answer(&json!({ "id": id, "revoked": true }), || {
                format!(
                    "the tokens of `{id}` are refused, and over NATS it may ask for nothing; its \
                     broker user stays until the broker's configuration leaves it out, with the \
                     password file `{}`",
                    password_file(&book.workspace, &id)
                )
            });
        }
    }
    Ok(())
}

fn password_file(workspace: &WorkspaceId, id: &PrincipalId) -> String {
    install::password_file(&caller_name(workspace, id))
}

/// Puts a new token where the context has the one before, and where `up` keeps those that it made:
/// it writes the context anew from there. Whether there was one.
fn renewed(book: &Book, global: &Global, id: &PrincipalId, token: &str) -> Result<bool, Failure> {
    if book.file != global.beside_context("principals.json") {
        return Ok(false);
    }
    let renew = |identities: &mut BTreeMap<String, Identity>| {
        let mut renewed = false;
        for identity in identities
            .values_mut()
            .filter(|identity| identity.id == *id)
        {
            token.clone_into(&mut identity.token);
            renewed = true;
        }
        renewed
    };
    let kept = global.beside_context(CREDENTIALS);
    let mut any = false;
    if let Ok(bytes) = fs::read(&kept) {
        let unreadable = || format!("`{}` cannot be read", kept.display());
        let mut identities = serde_json::from_slice(&bytes).with_context(unreadable)?;
        if renew(&mut identities) {
            let bytes = serde_json::to_vec_pretty(&identities).map_err(anyhow::Error::new)?;
            write_private(&kept, &bytes)
                .with_context(|| format!("cannot write `{}`", kept.display()))?;
            any = true;
        }
    }
    // Without it, nothing is up.
    if let Ok(mut context) = global.context()
        && context.workspace == book.workspace
        && renew(&mut context.identities)
    {
        global.write_context(&context)?;
        any = true;
    }
    Ok(any)
}

fn is_good(held: &Credential, now: Timestamp) -> bool {
    held.not_after.is_none_or(|at| at > now)
}

/// The file, in one workspace.
struct Book {
    file: PathBuf,
    workspace: WorkspaceId,
    document: Document,
    /// Held while it is changed: nobody else changes it meanwhile.
    _lock: Option<File>,
}

impl Book {
    /// To change it.
    fn open(place: &Place, global: &Global) -> Result<Self, Failure> {
        let lock = lock(&place.file(global).with_extension("lock"))?;
        Ok(Self {
            _lock: Some(lock),
            ..Self::read(place, global)?
        })
    }

    fn read(place: &Place, global: &Global) -> Result<Self, Failure> {
        let workspace = match &place.workspace {
            Some(workspace) => workspace.clone(),
            None => global.context()?.workspace,
        };
        let file = place.file(global);
        Ok(Self {
            document: Document::read_as_written(&file).map_err(anyhow::Error::new)?,
            file,
            workspace,
            _lock: None,
        })
    }

    fn own(&self, id: &PrincipalId) -> impl DoubleEndedIterator<Item = &Credential> {
        let all = self.document.principals.iter();
        all.filter(move |held| held.id == *id && held.workspace == self.workspace)
    }

    /// The services go on reading it: owner and mode stay.
    fn write(&self) -> Result<(), Failure> {
        let before = fs::metadata(&self.file).ok();
        let bytes = serde_json::to_vec_pretty(&self.document).map_err(anyhow::Error::new)?;
        write_private(&self.file, &bytes)
            .with_context(|| format!("cannot write `{}`", self.file.display()))?;
        if let Some(before) = before {
            let kept = fs::set_permissions(&self.file, before.permissions())
                .and_then(|()| unix::fs::chown(&self.file, Some(before.uid()), Some(before.gid())));
            kept.with_context(|| {
                format!("cannot give `{}` back to its owner", self.file.display())
            })?;
        }
        Ok(())
    }

    fn unknown(&self, id: &PrincipalId) -> Failure {
        let known: BTreeSet<_> = self
            .document
            .principals
            .iter()
            .filter(|held| held.workspace == self.workspace)
            .map(|held| held.id.as_str())
            .collect();
        let known: Vec<_> = known.into_iter().collect();
        Failure::Unsuccessful(format!(
            "workspace `{}` has no `{id}`: it has {}",
            self.workspace,
            if known.is_empty() {
                "nobody".to_owned()
            } else {
                known.join(", ")
            }
        ))
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let shown = path.display();
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open `{shown}`"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Unsuccessful(
            "another command changes the principals: try again".to_owned(),
        )),
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::new(error).context(format!("cannot lock `{shown}`")))?
        }
    }
}

fn tell(screen: Screen, id: &PrincipalId, token: &str) {
    screen.answer(&json!({ "id": id, "token": token }), || {
        format!(
            "token of `{id}`, shown this once:\n{token}\nover NATS it may ask once the broker's \
             configuration names it: `controlplane broker-config --principals`, or `up` again"
        )
    });
}

fn list(book: &Book, screen: Screen) {
    let own = || {
        let all = book.document.principals.iter();
        all.filter(|held| held.workspace == book.workspace)
    };
    let items: Vec<_> = own()
        .map(|held| {
            json!({
                "id": held.id, "type": held.kind, "roles": held.roles, "grants": held.grants,
                "notAfter": held.not_after,
            })
        })
        .collect();
    screen.answer(
        &json!({ "workspace": book.workspace, "items": items }),
        || {
            let rows: Vec<Vec<String>> = own()
                .map(|held| {
                    let roles = held.roles.iter().map(ToString::to_string);
                    let may: Vec<String> = roles.chain(held.grants.iter().cloned()).collect();
                    let kind = match held.kind {
                        ActorType::User => "user",
                        ActorType::Service => "service",
                        ActorType::Agent => "agent",
                    };
                    vec![
                        held.id.to_string(),
                        kind.to_owned(),
                        may.join(", "),
                        held.not_after.map_or_else(String::new, |at| at.to_string()),
                    ]
                })
                .collect();
            screen.table(&["id", "type", "may", "until"], &rows)
        },
    );
}

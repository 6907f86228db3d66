//! `login` and `context`: several control planes, and who one is at each. A context is a file of
//! its owner's; the one that is used is the one that is named, the one of a control plane in this
//! directory, or the one that was chosen last.

use std::{
    fs,
    io::{IsTerminal as _, Read as _, stdin},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use contracts::ids::{PrincipalId, WorkspaceId};

use crate::{
    api::Api,
    command::Global,
    context::{Context, Identity, absolute, write_private},
    failure::Failure,
    screen::Screen,
};

/// Whoever logs in is the only one of that context.
const ME: &str = "me";

#[derive(Debug, clap::Args)]
pub struct Login {
    /// How the context is called from now on
    name: String,
    /// Where the control plane answers
    #[arg(long, value_name = "URL")]
    url: String,
    /// A file that holds the token; it is read from standard input where this is left out
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Who vouches for its certificate (PEM); the machine's authorities where it is left out
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the contexts
    List,
    /// Choose the one that is used where none is named
    Use {
        /// As `login` called it
        name: String,
    },
    /// Forget one, and its token
    Remove {
        /// As `login` called it
        name: String,
    },
}

/// Where contexts are kept.
#[derive(Debug, Clone)]
pub struct Kept(PathBuf);

impl Kept {
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join("contexts").join(format!("{name}.json"))
    }

    /// The name of the one that was chosen last.
    pub fn chosen(&self) -> Option<String> {
        let name = fs::read_to_string(self.0.join("chosen")).ok()?;
        let name = name.trim().to_owned();
        is_name(&name).then_some(name)
    }

    fn choose(&self, name: &str) -> Result<(), Failure> {
        Ok(write_private(&self.0.join("chosen"), name.as_bytes())
            .with_context(|| format!("cannot write in `{}`", self.0.display()))?)
    }

    /// By name; what is no context is left out.
    pub fn all(&self) -> Vec<(String, Context)> {
        let entries = fs::read_dir(self.0.join("contexts")).into_iter().flatten();
        let mut all: Vec<(String, Context)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_stem()?.to_str()?.to_owned();
                Some((name, Context::read(&path).ok()?))
            })
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn existing(&self, name: &str) -> Result<PathBuf, Failure> {
        let file = self.file(name);
        if is_name(name) && file.is_file() {
            return Ok(file);
        }
        let known: Vec<String> = self.all().into_iter().map(|(name, _)| name).collect();
        Err(Failure::Usage(match known.as_slice() {
            [] => format!(
                "there is no context `{name}`, nor any other: `controlplane login` makes one"
            ),
            known => format!(
                "there is no context `{name}`: use one of {}",
                known.join(", ")
            ),
        }))
    }
}

/// Names are files: letters, digits, `-` and `_`.
pub fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Who a token is, as the control plane says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    id: PrincipalId,
    workspace: WorkspaceId,
    grants: Vec<String>,
}

pub async fn login(args: Login, global: &Global) -> Result<(), Failure> {
    if !is_name(&args.name) {
        let what = "a name has up to 64 letters, digits, `-` and `_`";
        return Err(Failure::Usage(format!("`{}`: {what}", args.name)));
    }
    let token = token(args.token_file.as_deref())?;
    let mut context = Context {
        url: args.url.trim_end_matches('/').to_owned(),
        queries_url: None,
        nats_url: String::new(),
        ca_file: absolute(args.ca_file.as_deref())?,
        nats_tls: crate::context::NatsTls::default(),
        // Both are what the answer says.
        workspace: WorkspaceId::global(),
        streams: 1,
        identities: [].into(),
        reader: None,
        worker: None,
        keys: None,
    };
    let me: Me = Api::bare(&context, &token)?.get("/v1/me").await?;
    context.workspace = me.workspace.clone();
    let identity = Identity {
        id: me.id.clone(),
        token,
        broker: None,
    };
    context.identities.insert(ME.to_owned(), identity);
    let kept = global.kept()?;
    let file = kept.file(&args.name);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
    }
    context
        .write(&file)
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    kept.choose(&args.name)?;
    global.screen().answer(&me, || {
        format!(
            "logged in as {} of workspace {}, which may {}\ncontext {} is used from now on",
            me.id,
            me.workspace,
            if me.grants.is_empty() {
                "do nothing".to_owned()
            } else {
                me.grants.join(", ")
            },
            args.name,
        )
    });
    Ok(())
}

/// Not an argument: those are for everyone on the machine to see.
fn token(file: Option<&Path>) -> Result<String, Failure> {
    let text = if let Some(file) = file {
        fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", file.display())))?
    } else {
        if stdin().is_terminal() {
            eprintln!("the token, and then the end of the input (Ctrl-D):");
        }
        let mut text = String::new();
        stdin()
            .take(64 * 1024)
            .read_to_string(&mut text)
            .context("cannot read the token from standard input")?;
        text
    };
    let token = text.trim().to_owned();
    if token.is_empty() {
        return Err(Failure::Usage("the token is empty".to_owned()));
    }
    Ok(token)
}

pub fn run(command: Command, global: &Global) -> Result<(), Failure> {
    let kept = global.kept()?;
    match command {
        Command::List => list(&kept, global.screen()),
        Command::Use { name } => {
            kept.existing(&name)?;
            kept.choose(&name)?;
            let screen = global.screen();
            screen.answer(&json!({ "chosen": name }), || {
                format!("{name} is used from now on")
            });
        }
        Command::Remove { name } => {
            let file = kept.existing(&name)?;
            fs::remove_file(&file)
                .with_context(|| format!("cannot remove `{}`", file.display()))?;
            let screen = global.screen();
            screen.answer(&json!({ "removed": name }), || {
                format!("{name} is forgotten")
            });
        }
    }
    Ok(())
}

fn list(kept: &Kept, screen: Screen) {
    let chosen = kept.chosen();
    let all = kept.all();
    let is_chosen = |name: &str| chosen.as_deref() == Some(name);
    let who = |context: &Context| {
        let ids = context.identities.values();
        ids.map(|it| it.id.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let items: Vec<_> = all
        .iter()
        .map(|(name, context)| {
            json!({
                "name": name, "url": context.url, "workspace": context.workspace,
                "identities": context.identities.values().map(|it| &it.id).collect::<Vec<_>>(),
                "chosen": is_chosen(name),
            })
        })
        .collect();
    screen.answer(&json!({ "items": items }), || {
        if all.is_empty() {
            return "there is no context: `controlplane login` makes one".to_owned();
        }
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|(name, context)| {
                vec![
                    if is_chosen(name) { "*" } else { "" }.to_owned(),
                    name.clone(),
                    context.workspace.to_string(),
                    who(context),
                    context.url.clone(),
                ]
            })
            .collect();
        screen.table(&["", "name", "workspace", "who", "url"], &rows)
    });
}

//! `inbox`: what was published for intake and refused, with the reasons. Read from the broker
//! itself, as the user that can do nothing else.

use contracts::ids::WorkspaceId;
use journal::{
    inbox::{Refusal, sender},
    jetstream::Refusals,
};
use serde_json::{Value, json};

use crate::{
    command::Global,
    failure::Failure,
    log::{reader, refused},
    screen::{Screen, plain, shortened},
};

/// How much of a reason a table shows; `--json` has all of it.
const REASON_CHARS: usize = 90;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what was refused, the oldest first; with `--json`, what was sent too
    Refused {
        /// Begin after this number, as a list before ended
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Whose inbox [default: the context's workspace]
        #[arg(long)]
        workspace: Option<WorkspaceId>,
    },
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    let Command::Refused {
        after,
        limit,
        workspace,
    } = command;
    let context = global.context()?;
    let workspace = workspace.unwrap_or_else(|| context.workspace.clone());
    let refusals = Refusals::open(&reader(&context)?).await.map_err(refused)?;
    let found = refusals.of(&workspace, after, usize::from(limit)).await;
    let found = found.map_err(|error| Failure::unreachable("cannot read the inbox", error))?;
    refusals.close().await;
    tell(global.screen(), &found);
    Ok(())
}

fn tell(screen: Screen, found: &[(u64, Refusal)]) {
    let items: Vec<Value> = found
        .iter()
        .map(|(number, refusal)| json!({ "number": number, "refusal": refusal }))
        .collect();
    screen.answer(&json!({ "items": items }), || {
        if found.is_empty() {
            return "nothing was refused".to_owned();
        }
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|(number, refusal)| {
                let problem = &refusal.problem;
                let by = sender(&refusal.subject);
                let reason = match problem.findings.first() {
                    Some(first) => format!("{}: {}", first.path, first.message),
                    None => problem.detail.clone(),
                };
                vec![
                    number.to_string(),
                    refusal.refused_at.to_string(),
                    by.map_or_else(String::new, |(_, principal)| principal.to_string()),
                    problem.code.to_string(),
                    shortened(&plain(&reason), REASON_CHARS),
                ]
            })
            .collect();
        screen.table(&["number", "refused at", "by", "code", "why"], &rows)
    });
}

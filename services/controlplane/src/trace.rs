//! `trace get`

use std::fmt::Write as _;

use contracts::{
    ids::ExecutionId,
    operations::trace::{GetInput, GetOutput, TraceEntry},
    position::Positions,
    registry::OperationName,
};
use serde_json::Value;

use crate::{
    api::Api,
    command::Global,
    failure::Failure,
    screen::{Screen, pretty},
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show everything that happened to an execution, in order
    Get {
        /// Its id
        execution: ExecutionId,
        /// With what each event says, which holds personal data
        #[arg(long)]
        payloads: bool,
        /// Show nothing older than this position, as an earlier answer names it
        #[arg(long, value_name = "POSITION")]
        at_least: Option<Positions>,
    },
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    let Command::Get {
        execution,
        payloads,
        at_least,
    } = command;
    let session = global.session("admin")?;
    let output = entries(&session.api, execution, payloads, at_least).await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let mut text = table(screen, &output.entries);
        if payloads {
            for entry in &output.entries {
                let payload = entry.payload.clone().unwrap_or_default();
                let version = entry.version.unwrap_or_default();
                let event = screen.bold(entry.event.as_deref().unwrap_or_default());
                let shown = pretty(&Value::Object(payload), "  ");
                // Writing to a String cannot fail.
                let _ = write!(text, "\n\n{version} {event}\n{shown}");
            }
        }
        text
    });
    Ok(())
}

pub async fn entries(
    api: &Api,
    execution_id: ExecutionId,
    include_payloads: bool,
    at_least: Option<Positions>,
) -> Result<GetOutput, Failure> {
    let input = GetInput {
        execution_id,
        include_payloads: include_payloads.then_some(true),
        at_least,
    };
    api.ask(OperationName::TraceGet, &input).await
}

/// One row an event.
pub fn table(screen: Screen, entries: &[TraceEntry]) -> String {
    let begun = entries.first().map(|entry| entry.timestamp);
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let after = begun.map_or(0, |begun| entry.timestamp.since_ms(begun));
            let hash = entry.hash.map(|hash| hash.to_string()).unwrap_or_default();
            vec![
                entry
                    .version
                    .map(|version| version.to_string())
                    .unwrap_or_default(),
                format!("+{after} ms"),
                entry
                    .event
                    .clone()
                    .unwrap_or_else(|| entry.stage.as_str().to_owned()),
                entry
                    .step_id
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                entry.status.as_str().to_owned(),
                entry
                    .actor_id
                    .as_ref()
                    .map(ToString::to_string)
                    .or_else(|| entry.service.clone())
                    .unwrap_or_default(),
                hash.get(..12).unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    screen.table(
        &["#", "AFTER", "EVENT", "STEP", "STATUS", "BY", "HASH"],
        &rows,
    )
}

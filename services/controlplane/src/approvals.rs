//! `approvals`: what waits for votes.

use contracts::{
    ids::ExecutionId,
    operations::approval::{ApprovalSummary, ListInput, ListOutput},
    position::Positions,
    registry::OperationName,
};

use crate::{
    command::{Global, Session},
    failure::Failure,
};

/// Items of one answer: the most the server gives at once.
const PAGE: u32 = 500;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this execution
    #[arg(long, value_name = "EXECUTION")]
    execution: Option<ExecutionId>,
    /// Also what waits for the votes of others
    #[arg(long)]
    all: bool,
    /// Show nothing older than this position, as an earlier answer names it
    #[arg(long, value_name = "POSITION")]
    at_least: Option<Positions>,
}

/// All of them; with `--json`, an answer a line.
pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let session = global.session("approver")?;
    let mut input = ListInput {
        all: Some(args.all),
        execution_id: args.execution,
        limit: Some(PAGE),
        cursor: None,
        at_least: args.at_least,
    };
    loop {
        let asked = session.api.ask(OperationName::ApprovalList, &input);
        let output: ListOutput = asked.await?;
        session.screen.answer(&output, || told(&session, &output));
        let Some(next) = output.next_cursor else {
            return Ok(());
        };
        input.cursor = Some(next);
        input.at_least = output.position;
    }
}

fn told(session: &Session, output: &ListOutput) -> String {
    let screen = session.screen;
    if output.items.is_empty() {
        return screen.faint("nothing waits for a vote");
    }
    let row = |item: &ApprovalSummary| {
        let votes = format!("{} of {}", item.approval.votes.len(), item.approval.quorum);
        vec![
            item.execution_id.to_string(),
            item.step_id.to_string(),
            item.risk_tier.as_str().to_owned(),
            votes,
            item.approval.expires_at.to_string(),
            item.actor_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            item.approval.reason.clone(),
        ]
    };
    let rows: Vec<_> = output.items.iter().map(row).collect();
    let headings = [
        "EXECUTION",
        "STEP",
        "RISK",
        "VOTES",
        "UNTIL",
        "ASKED BY",
        "REASON",
    ];
    let table = screen.table(&headings, &rows);
    let vote = format!("{} execution approve <execution> <step>", session.typed);
    format!("{table}\n{}", screen.faint(&vote))
}

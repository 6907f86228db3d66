//! `execution get|start|cancel`; votes and watching are in `vote` and `watch`.
//!
//! * [`list`]: `execution list`
//! * [`run`]: what is asked of a run

pub mod list;
mod run;

use contracts::{
    ids::{ExecutionId, StepId},
    operations::execution::{
        CancelInput, CancelOutput, ExecutionRecord, GetInput, GetOutput, OpenApproval, StartInput,
        StartOutput, StepSummary,
    },
    plan::Mode,
    position::Positions,
    registry::OperationName,
};
use serde_json::json;

use crate::{
    api::Api,
    command::Global,
    failure::{Failure, found},
    screen::{Screen, count, plain},
    vote, watch,
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show one execution
    Get {
        /// Its id, as `intent submit` and `execution list` show it
        execution: ExecutionId,
        /// Show nothing older than this position, as an earlier answer names it
        #[arg(long, value_name = "POSITION")]
        at_least: Option<Positions>,
    },
    /// List executions, the newest first
    List(Box<list::Args>),
    /// Show what waits for a vote, and vote for it
    Approve(vote::Approve),
    /// Show what waits for a vote, and vote against it, which ends the run
    Reject(vote::Reject),
    /// Start what was submitted with `--start manual` and is verified
    Start {
        /// Its id
        execution: ExecutionId,
        /// May tighten what the intent asked for, never loosen it
        #[arg(long, value_parser = mode)]
        mode: Option<Mode>,
    },
    /// Start nothing more; what is in flight still ends
    Cancel {
        /// Its id
        execution: ExecutionId,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Start nothing more until it is resumed; what is in flight still ends
    Pause {
        /// Its id
        execution: ExecutionId,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a paused execution go on
    Resume {
        /// Its id
        execution: ExecutionId,
    },
    /// Let a failed execution go on from what it had not done
    Retry {
        /// Its id
        execution: ExecutionId,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Follow an execution until it ends
    Watch {
        /// Its id
        execution: ExecutionId,
    },
}

pub async fn run(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Get {
            execution,
            at_least,
        } => {
            let session = global.session("admin")?;
            let output = record(&session.api, execution, at_least).await?;
            let screen = session.screen;
            screen.answer(&output, || shown(screen, &output.execution));
            Ok(())
        }
        Command::List(args) => list::run(*args, global).await,
        Command::Approve(approve) => vote::approve(approve, global).await,
        Command::Reject(reject) => vote::reject(reject, global).await,
        Command::Start { execution, mode } => start(global, execution, mode).await,
        Command::Cancel { execution, reason } => cancel(global, execution, reason).await,
        Command::Pause { execution, reason } => run::pause(global, execution, reason).await,
        Command::Resume { execution } => run::resume(global, execution).await,
        Command::Retry { execution, reason } => run::retry(global, execution, reason).await,
        Command::Watch { execution } => {
            let session = global.session("admin")?;
            watch::follow(&session, execution).await
        }
    }
}

pub async fn record(
    api: &Api,
    execution_id: ExecutionId,
    at_least: Option<Positions>,
) -> Result<GetOutput, Failure> {
    let input = GetInput {
        execution_id,
        at_least,
    };
    api.ask(OperationName::ExecutionGet, &input).await
}

async fn start(
    global: &Global,
    execution_id: ExecutionId,
    mode: Option<Mode>,
) -> Result<(), Failure> {
    let session = global.session("submitter")?;
    let execution = record(&session.api, execution_id, None).await?.execution;
    let Some(plan_id) = execution.plan_id else {
        return Err(Failure::Unsuccessful(format!(
            "there is no plan to start: the execution is {}",
            execution.status
        )));
    };
    let input = StartInput {
        execution_id,
        plan_id,
        mode,
    };
    let output: StartOutput = session
        .api
        .ask(OperationName::ExecutionStart, &input)
        .await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let status = screen.state(output.status.as_str());
        format!("started  run {}  {status}", output.run_id)
    });
    Ok(())
}

async fn cancel(
    global: &Global,
    execution_id: ExecutionId,
    reason: Option<String>,
) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let input = CancelInput {
        execution_id,
        cancelled_by: session.api.principal.clone(),
        reason,
    };
    let output: CancelOutput = session
        .api
        .ask(OperationName::ExecutionCancel, &input)
        .await?;
    let screen = session.screen;
    screen.answer(&output, || {
        format!(
            "cancel requested  {execution_id}  {}",
            screen.state(output.status.as_str())
        )
    });
    Ok(())
}

/// One execution in words.
pub fn shown(screen: Screen, record: &ExecutionRecord) -> String {
    let mut lines = Vec::new();
    let mut say = |topic: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("{} {text}", screen.bold(&format!("{topic:<11}"))));
        }
    };
    say("execution", record.execution_id.to_string());
    say("status", screen.state(record.status.as_str()));
    say(
        "asked",
        record.text.as_deref().map(plain).unwrap_or_default(),
    );
    if let Some(actor) = &record.actor {
        let channel = record
            .channel_key
            .as_deref()
            .map(|key| format!(" through {}", plain(key)));
        say("by", format!("{}{}", actor.id, channel.unwrap_or_default()));
    }
    say("created", record.created_at.to_string());
    say("updated", record.updated_at.to_string());
    if let Some(hash) = &record.plan_hash {
        say("plan", hash.to_string());
    }
    if let Some(verdict) = record.verdict {
        let tier = record.risk_tier.map_or("", |tier| tier.as_str());
        say(
            "verdict",
            format!(
                "{}, risk {}",
                screen.state(verdict.as_str()),
                screen.state(tier)
            ),
        );
    }
    if let Some(failure) = &record.failure {
        let message = failure
            .message
            .as_deref()
            .map(|text| format!(": {}", plain(text)));
        let text = format!("{}{}", plain(&failure.code), message.unwrap_or_default());
        say("failure", screen.alert(&text));
    }
    for finding in found(record.findings.iter().flatten()) {
        say("finding", finding);
    }
    let steps = record.steps.as_deref().unwrap_or_default();
    if !steps.is_empty() {
        lines.push(String::new());
        lines.push(steps_table(screen, steps));
        for (step, approval) in open_approvals(steps) {
            lines.push(String::new());
            lines.push(format!(
                "{} {}",
                screen.waiting(&format!("`{step}` waits for a vote:")),
                plain(&approval.reason)
            ));
            lines.push(terms(approval));
        }
    }
    lines.join("\n")
}

fn steps_table(screen: Screen, steps: &[StepSummary]) -> String {
    let rows: Vec<_> = steps
        .iter()
        .map(|step| {
            vec![
                step.id.to_string(),
                format!("{}@{}/{}", step.uses.key, step.uses.version, step.action),
                step.status.as_str().to_owned(),
                step.attempts.to_string(),
                step.verdict
                    .map_or("", |verdict| verdict.as_str())
                    .to_owned(),
                step.tier.map_or("", |tier| tier.as_str()).to_owned(),
                step.error_code.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let headings = [
        "STEP", "USES", "STATUS", "ATTEMPTS", "VERDICT", "RISK", "ERROR",
    ];
    screen.table(&headings, &rows)
}

/// The steps that wait for votes.
pub fn open_approvals(steps: &[StepSummary]) -> impl Iterator<Item = (&StepId, &OpenApproval)> {
    steps
        .iter()
        .filter_map(|step| Some((&step.id, step.approval.as_ref()?)))
}

/// Who may vote, how many must, and until when.
pub fn terms(approval: &OpenApproval) -> String {
    let eligible: Vec<_> = approval
        .eligible
        .iter()
        .map(|eligible| match eligible {
            contracts::facts::Eligible::Grant(grant) => format!("whoever holds `{grant}`"),
            contracts::facts::Eligible::Principal(id) => id.to_string(),
        })
        .collect();
    format!(
        "  {} of {} so far; may vote: {}, but not who asked; until {}",
        approval.votes.len(),
        count(approval.quorum.into(), "vote"),
        eligible.join(", "),
        approval.expires_at
    )
}

fn mode(text: &str) -> Result<Mode, String> {
    serde_json::from_value(json!(text)).map_err(|_| "use autonomous, assist or observe".to_owned())
}

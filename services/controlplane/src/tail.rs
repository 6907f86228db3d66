//! `events tail`: what happens in a workspace, as it happens.

use contracts::{ids::ExecutionId, plan::Status, position::Positions, registry::FeedName};

use crate::{
    command::Global,
    execution::list::status,
    failure::Failure,
    feed::{CloudEvent, Feed},
    screen::{Screen, plain},
    watch,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these events, such as `execution.completed`, or all that begin so: `execution.step.*`;
    /// may be repeated
    #[arg(long = "type", value_name = "EVENT", value_delimiter = ',', value_parser = kind)]
    types: Vec<String>,
    /// Only what happens to this execution
    #[arg(long, value_name = "EXECUTION")]
    execution: Option<ExecutionId>,
    /// Only events after which their execution stands so; may be repeated
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<Status>,
    /// Begin after this position, as an earlier answer names it, and not now; `v1` is before
    /// everything
    #[arg(long, value_name = "POSITION")]
    after: Option<Positions>,
    /// What changes what there is to vote on, and nothing else
    #[arg(long, conflicts_with_all = ["types", "execution", "status"])]
    approvals: bool,
}

/// Until Ctrl-C. Opened again where it was whenever it breaks.
pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let usually = if args.approvals { "approver" } else { "admin" };
    let session = global.session(usually)?;
    let mut feed = Feed::endless(&session.api, args.path());
    let screen = session.screen;
    while let Some(event) = feed.next().await? {
        screen.answer(&event, || line(screen, &event));
    }
    Ok(())
}

impl Args {
    /// Nothing in it needs to be encoded: see [`kind`].
    fn path(&self) -> String {
        let mut asked: Vec<String> = Vec::new();
        if !self.types.is_empty() {
            asked.push(format!("type={}", self.types.join(",")));
        }
        if let Some(execution) = &self.execution {
            asked.push(format!("executionId={execution}"));
        }
        if !self.status.is_empty() {
            let words: Vec<_> = self.status.iter().map(|status| status.as_str()).collect();
            asked.push(format!("status={}", words.join(",")));
        }
        if let Some(after) = &self.after {
            asked.push(format!("after={after}"));
        }
        let feed = if self.approvals {
            FeedName::Approvals
        } else {
            FeedName::Workspace
        };
        format!("{}?{}", feed.entry().path, asked.join("&"))
    }
}

/// An event in one line: when, of what, which.
fn line(screen: Screen, event: &CloudEvent) -> String {
    let of = event.others.get("correlationid");
    let of = of.and_then(serde_json::Value::as_str).unwrap_or_default();
    format!(
        "{}  {}  {}",
        screen.faint(&event.time.to_string()),
        plain(of),
        watch::named(screen, event)
    )
}

/// The characters of a name or a prefix. Which names there are is the server's to say.
fn kind(text: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '*');
    if !text.is_empty() && text.chars().all(known) {
        Ok(text.to_owned())
    } else {
        Err("use an event's name, such as plan.compiled, or its beginning and `*`".to_owned())
    }
}

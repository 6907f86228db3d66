//! `execution list`: what people look for, in pages.

use contracts::{
    ids::{PrincipalId, SkillKey},
    operations::{
        execution::{ExecutionSummary, ListInput, ListOutput, WaitingFor},
        several::Several,
    },
    plan::{Mode, RiskTier, Status, Verdict},
    position::Positions,
    registry::OperationName,
    time::Timestamp,
};
use host::clock::{Ambient as _, System};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{api::Api, command::Global, failure::Failure, screen::Screen};

/// Executions of one answer where all are asked for: the most the server gives at once.
const PAGE: u32 = 500;

const STATUSES: &str = "use received, awaiting_draft, drafted, compiled, verified, running, \
                        blocked, paused, stopping, completed, failed, rejected or corrupt";

/// Which executions. Those are listed that fit all filters, and one value of each.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those that stand so, such as `blocked`; may be repeated
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<Status>,
    /// Only those with this verdict: autonomous, assist or blocked; may be repeated
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = verdict)]
    verdict: Vec<Verdict>,
    /// Only those of this risk: low, medium, high or blocked; may be repeated
    #[arg(long, value_name = "TIER", value_delimiter = ',', value_parser = tier)]
    tier: Vec<RiskTier>,
    /// Only those whose plan uses this skill
    #[arg(long, value_name = "KEY")]
    skill: Option<SkillKey>,
    /// Only what this principal has asked for
    #[arg(long, value_name = "PRINCIPAL")]
    actor: Option<PrincipalId>,
    /// Only what came through this channel, as the intent named it
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Only those that wait for this: draft, start, approval, resume, retry, completion or time;
    /// may be repeated
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = waiting)]
    waiting_for: Vec<WaitingFor>,
    /// Only those that are driven so: autonomous, assist or observe; may be repeated
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_parser = super::mode)]
    mode: Vec<Mode>,
    /// Only those whose text has these words in it, in any case
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Only those created at or after this: an instant, or how long ago, such as 90m, 24h or 7d
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: Option<Timestamp>,
    /// Only those created before this: an instant, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<Timestamp>,
    /// At most so many
    #[arg(long, default_value_t = 20, conflicts_with = "all")]
    limit: u32,
    /// After leaving out so many
    #[arg(long, conflicts_with = "all")]
    offset: Option<u32>,
    /// All of them; with `--json`, an answer a line
    #[arg(long)]
    all: bool,
    /// Show nothing older than this position, as an earlier answer names it
    #[arg(long, value_name = "POSITION")]
    at_least: Option<Positions>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let (all, screen) = (args.all, session.screen);
    let mut input = args.input();
    let mut shown = 0;
    loop {
        let output = ask(&session.api, &input).await?;
        shown += output.items.len();
        let next = output.next_cursor.clone().filter(|_| all);
        screen.answer(&output, || table(screen, &output.items));
        let Some(next) = next else {
            let told = format!("{shown} of {}", output.total);
            screen.line(&screen.faint(&told));
            return Ok(());
        };
        input.cursor = Some(next);
        // What was told is not older than this, and neither is what follows.
        input.at_least = output.position;
    }
}

async fn ask(api: &Api, input: &ListInput) -> Result<ListOutput, Failure> {
    api.ask(OperationName::ExecutionList, input).await
}

impl Args {
    fn input(self) -> ListInput {
        ListInput {
            workspace_id: None,
            status: None,
            statuses: Several::of(self.status),
            limit: Some(if self.all { PAGE } else { self.limit }),
            offset: self.offset,
            cursor: None,
            verdict: Several::of(self.verdict),
            risk_tier: Several::of(self.tier),
            skill_key: self.skill,
            actor_id: self.actor,
            channel_key: self.channel,
            waiting_for: Several::of(self.waiting_for),
            mode: Several::of(self.mode),
            text: self.text,
            created_from: self.since,
            created_to: self.until,
            updated_from: None,
            updated_to: None,
            at_least: self.at_least,
        }
    }
}

fn table(screen: Screen, items: &[ExecutionSummary]) -> String {
    let row = |item: &ExecutionSummary| {
        let waits = item.waiting_for.iter().flatten();
        let waits: Vec<_> = waits.map(|wait| wait.as_str()).collect();
        vec![
            item.execution_id.to_string(),
            item.status.as_str().to_owned(),
            item.mode.map_or("", Mode::as_str).to_owned(),
            item.risk_tier.map_or("", |tier| tier.as_str()).to_owned(),
            item.updated_at.to_string(),
            waits.join(", "),
            item.error_code.clone().unwrap_or_default(),
            item.text.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    let headings = [
        "EXECUTION",
        "STATUS",
        "MODE",
        "RISK",
        "UPDATED",
        "WAITS FOR",
        "ERROR",
        "TEXT",
    ];
    screen.table(&headings, &rows)
}

fn word<T: DeserializeOwned>(text: &str, known: &str) -> Result<T, String> {
    serde_json::from_value(json!(text)).map_err(|_| known.to_owned())
}

pub fn status(text: &str) -> Result<Status, String> {
    word(text, STATUSES)
}

fn verdict(text: &str) -> Result<Verdict, String> {
    word(text, "use autonomous, assist or blocked")
}

fn tier(text: &str) -> Result<RiskTier, String> {
    word(text, "use low, medium, high or blocked")
}

fn waiting(text: &str) -> Result<WaitingFor, String> {
    let known = WaitingFor::ALL.map(WaitingFor::as_str).join(", ");
    word(text, &format!("use one of {known}"))
}

/// An instant as it is, or so long before now.
fn instant(text: &str) -> Result<Timestamp, String> {
    ago(text, System.now())
        .or_else(|| text.parse().ok())
        .ok_or_else(|| {
            "use an instant such as 2026-01-31T09:00:00Z, or how long ago, such as 90m, 24h or 7d"
                .to_owned()
        })
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let ms = number.checked_mul(seconds)?.checked_mul(1000)?;
    (ms >= 0).then(|| Timestamp::from_millis(now.as_millis().saturating_sub(ms)))
}

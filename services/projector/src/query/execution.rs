//! `controlPlane.execution.get` and `.list`

use contracts::{
    operations::{
        execution::{ExecutionSummary, GetInput, GetOutput, ListInput, ListOutput},
        several::Several,
    },
    problem::{Code, Problem},
    registry::OperationName,
    time::Timestamp,
};
use domain::record;
use host::{http::input::INVALID_VALUE, principals::Principal};

use super::{Findings, cursor::List};
use crate::{
    api::{Api, unreadable},
    database::read::executions::{From, Span, Wanted},
    log,
};

/// Of words to search for: more than anyone types, and a scan stays cheap.
const TEXT_CHARS_MAX: usize = 200;

pub async fn get(api: &Api, principal: &Principal, input: GetInput) -> Result<GetOutput, Problem> {
    let at_least = input.at_least.as_ref();
    let history = log::execution(
        &api.host,
        &api.reached,
        principal,
        input.execution_id,
        at_least,
    )
    .await?;
    // A history without a legal beginning has nothing that could be shown.
    let execution =
        record::of(&history.events).ok_or_else(|| Problem::of(Code::ExecutionCorrupt))?;
    Ok(GetOutput {
        execution,
        position: Some(history.position),
    })
}

pub async fn list(
    api: &Api,
    principal: &Principal,
    input: ListInput,
) -> Result<ListOutput, Problem> {
    if input
        .workspace_id
        .as_ref()
        .is_some_and(|named| *named != principal.workspace)
    {
        return Err(Problem::of(Code::WorkspaceMismatch));
    }
    let pages = List::of(OperationName::ExecutionList, &principal.workspace, &input);
    let mut findings = Findings::default();
    let limit = findings.limit(input.limit);
    let from = from(&pages, &input, &mut findings);
    if let Some(text) = &input.text
        && !(1..=TEXT_CHARS_MAX).contains(&text.chars().count())
    {
        let message = format!("use 1 to {TEXT_CHARS_MAX} characters");
        findings.add("/text", INVALID_VALUE, message);
    }
    findings.none()?;
    let at_least = input.at_least.clone();
    let wanted = wanted(principal, input);
    api.reached.at_least(at_least.as_ref()).await?;
    let found = api.reader.executions(&wanted, from, limit).await;
    let page = found.map_err(|error| unreadable(&error))?;
    let last = page.items.last().filter(|_| page.more);
    Ok(ListOutput {
        next_cursor: last.and_then(key).map(|key| pages.after(&key)),
        items: page.items,
        total: page.total,
        position: Some(page.position),
    })
}

fn wanted(principal: &Principal, input: ListInput) -> Wanted {
    Wanted {
        workspace: principal.workspace.clone(),
        statuses: {
            let more = input.statuses.iter().flat_map(Several::iter);
            input.status.iter().chain(more).copied().collect()
        },
        verdicts: all(input.verdict.as_ref()),
        tiers: all(input.risk_tier.as_ref()),
        waits: all(input.waiting_for.as_ref()),
        modes: all(input.mode.as_ref()),
        skill: input.skill_key,
        actor: input.actor_id,
        channel: input.channel_key,
        text: input.text,
        created: Span {
            from: input.created_from,
            to: input.created_to,
        },
        updated: Span {
            from: input.updated_from,
            to: input.updated_to,
        },
    }
}

fn all<T: Ord + Copy>(values: Option<&Several<T>>) -> Vec<T> {
    values
        .into_iter()
        .flat_map(Several::iter)
        .copied()
        .collect()
}

fn from(list: &List, input: &ListInput, findings: &mut Findings) -> From {
    if input.cursor.is_some() && input.offset.is_some() {
        findings.add(
            "/offset",
            INVALID_VALUE,
            "a cursor says where the list goes on: leave one of the two",
        );
    }
    let after = list.read(input.cursor.as_deref(), after, findings);
    after.unwrap_or(From::Offset(input.offset.unwrap_or(0)))
}

/// What the list is ordered by.
fn key(item: &ExecutionSummary) -> Option<String> {
    let created = item.created_at?.as_millis();
    Some(format!("{created} {}", item.execution_id))
}

fn after(key: &str) -> Option<From> {
    let (created, id) = key.split_once(' ')?;
    Some(From::After {
        created: Timestamp::from_millis(created.parse().ok()?),
        id: id.parse().ok()?,
    })
}

//! `controlPlane.approval.list`

use contracts::{
    operations::approval::{ApprovalSummary, ListInput, ListOutput},
    problem::Problem,
    registry::{Grant, OperationName},
    time::Timestamp,
};
use host::principals::Principal;

use super::{Findings, cursor::List};
use crate::{
    api::{Api, unreadable},
    database::read::approvals::{After, Wanted},
};

/// Who may not vote at all is shown what waits only where all is asked for.
pub async fn list(
    api: &Api,
    principal: &Principal,
    input: ListInput,
) -> Result<ListOutput, Problem> {
    let pages = List::of(OperationName::ApprovalList, &principal.workspace, &input);
    let mut findings = Findings::default();
    let limit = findings.limit(input.limit);
    let after = pages.read(input.cursor.as_deref(), after, &mut findings);
    findings.none()?;
    api.reached.at_least(input.at_least.as_ref()).await?;
    let votes = Grant::ExecutionApprove.is_held_by(&principal.actor);
    let wanted = Wanted {
        workspace: principal.workspace.clone(),
        execution: input.execution_id,
        voter: votes.then(|| principal.actor.clone()),
        all: input.all == Some(true),
        now: api.host.now(),
    };
    let found = api.reader.approvals(&wanted, after.as_ref(), limit).await;
    let page = found.map_err(|error| unreadable(&error))?;
    let last = page.items.last().filter(|_| page.more);
    Ok(ListOutput {
        next_cursor: last.map(|last| pages.after(&key(last))),
        items: page.items,
        total: page.total,
        position: Some(page.position),
    })
}

fn key(item: &ApprovalSummary) -> String {
    let expires = item.approval.expires_at.as_millis();
    format!("{expires} {} {}", item.execution_id, item.step_id)
}

fn after(key: &str) -> Option<After> {
    let mut parts = key.splitn(3, ' ');
    Some(After {
        expires: Timestamp::from_millis(parts.next()?.parse().ok()?),
        execution: parts.next()?.parse().ok()?,
        step: parts.next()?.parse().ok()?,
    })
}

//! `controlPlane.execution.get` and `.list`

use contracts::{
    operations::execution::{GetInput, GetOutput, ListInput, ListOutput},
    problem::{Code, Problem},
};
use domain::record;
use host::principals::Principal;

use super::limit;
use crate::{
    api::{Api, unreadable},
    database::read::Wanted,
    log,
};

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
        .is_some_and(|named| named != principal.workspace)
    {
        return Err(Problem::of(Code::WorkspaceMismatch));
    }
    let wanted = Wanted {
        workspace: principal.workspace.clone(),
        status: input.status,
        limit: limit(input.limit)?,
        offset: input.offset.unwrap_or(0),
    };
    api.reached.at_least(input.at_least.as_ref()).await?;
    let page = api
        .reader
        .executions(&wanted)
        .await
        .map_err(|error| unreadable(&error))?;
    Ok(ListOutput {
        items: page.items,
        total: page.total,
        position: Some(page.position),
    })
}

//! `controlPlane.trace.get`

use contracts::{
    operations::trace::{GetInput, GetOutput},
    problem::Problem,
};
use domain::trace::{Payloads, entries};
use host::principals::Principal;

use crate::{api::Api, log};

/// Payloads are shown to whoever holds the grant for them, which was asked before.
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
    let payloads = if input.include_payloads == Some(true) {
        Payloads::Whole
    } else {
        Payloads::Masked
    };
    Ok(GetOutput {
        execution_id: input.execution_id,
        entries: entries(&history.events, payloads),
        position: Some(history.position),
    })
}

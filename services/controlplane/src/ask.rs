//! `ask`: any operation by its name, with its input as it is sent. For programs, and for what has
//! no command of its own.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use contracts::registry::{OperationName, Role, routing};
use serde_json::Value;

use crate::{command::Global, failure::Failure, intent::object_given};

/// Who there is where `up` made the context; the first who may is the one who asks.
const PEOPLE: [Role; 3] = [Role::Admin, Role::Submitter, Role::Approver];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name, such as `plan.verify`; `contracts openapi` lists them all
    #[arg(value_parser = operations(), hide_possible_values = true)]
    operation: OperationName,
    /// Its input: a file, `-` for standard input, or the JSON itself
    #[arg(value_name = "FILE|JSON", default_value = "{}")]
    input: String,
    /// An idempotency key: the same request under the same key is carried out once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let session = global.session(usually(args.operation).as_str())?;
    let input = object_given(&args.input, "the input")?;
    let asked = session
        .api
        .ask_once(args.operation, &input, args.key.as_deref());
    let output: Value = asked.await?;
    session.screen.answer(&output, || format!("{output:#}"));
    Ok(())
}

fn usually(operation: OperationName) -> Role {
    let may = |role: &Role| role.grants().contains(&operation.entry().grant);
    PEOPLE.into_iter().find(may).unwrap_or(Role::Admin)
}

/// By their names, so that they are completed, and the nearest is told of one that is misspelt.
fn operations() -> impl TypedValueParser<Value = OperationName> {
    let names = OperationName::ALL
        .into_iter()
        .map(|operation| PossibleValue::new(operation.short()).alias(operation.entry().key));
    PossibleValuesParser::new(names)
        .try_map(|name| routing::operation(&name).ok_or("no operation is called so"))
}

//! The queries over HTTP.
//!
//! | path | operation |
//! | --- | --- |
//! | `GET`, `POST /v1/<query>` | every query of the registry |
//! | `GET` of a resource | the queries of `registry::RESOURCES` |
//! | `GET /v1/executions/{id}/events` | the live feed |

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Path, RawPathParams, State,
        rejection::{PathRejection, RawPathParamsRejection},
    },
    http::{HeaderValue, Method, Uri, header::CACHE_CONTROL},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use contracts::{
    ids::ExecutionId,
    problem::{Code, Problem},
    registry::{Kind, Operation, OperationName, RESOURCES},
};
use host::{
    engine::{Host, chain},
    http::{
        PREFIX, Refused,
        door::{Caller, Door},
        fallback,
        input::{self, INVALID_VALUE, one_finding},
        operation, published,
    },
    principals::Principal,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    database::read::{ReadError, Reader},
    feed::{self, Feeds},
    query::{self, policy::Engines},
    reached::Reached,
};

/// What queries are answered from.
pub struct Api {
    pub host: Arc<Host>,
    pub door: Arc<Door>,
    pub reader: Reader,
    pub reached: Reached,
    pub feeds: Arc<Feeds>,
    pub engines: Engines,
}

type Input = Map<String, Value>;

pub fn routes(api: Arc<Api>) -> Router {
    let queries = RESOURCES
        .iter()
        .filter(|resource| resource.operation.entry().kind == Kind::Query);
    let resources = queries.fold(Router::new(), |router, resource| {
        let serve = async |State(api): State<Arc<Api>>, ids: Ids, uri: Uri, caller: Caller| {
            at_resource(&api, resource.operation, ids, &uri, &caller).await
        };
        router.route(resource.path, get(serve).fallback(only_get))
    });
    resources
        .route(
            "/v1/executions/{executionId}/events",
            get(events).fallback(only_get),
        )
        .route("/v1/{operation}", any(named))
        .merge(published::routes())
        .fallback(fallback)
        .with_state(api)
}

type Ids = Result<RawPathParams, RawPathParamsRejection>;

async fn only_get() -> Refused {
    Refused::method_not_allowed("GET")
}

/// A query by the name of its operation, with its input as a body or as a query string.
async fn named(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
    caller: Caller,
    body: Body,
) -> Result<Response, Refused> {
    let mut admitted = api.door.admit(&caller).await?;
    let name = operation(&method, uri.path())?;
    if name.entry().kind == Kind::Command && method != Method::POST {
        return Err(Refused::method_not_allowed("POST"));
    }
    let input = match method {
        Method::GET => input::from_query(name.entry(), &uri)?,
        Method::POST => admitted.object(&caller.headers, body).await?,
        _ => return Err(Refused::method_not_allowed("GET, POST")),
    };
    answer(&api, &admitted.principal, name, input).await
}

/// What stands in the path is a member of the input.
async fn at_resource(
    api: &Api,
    name: OperationName,
    ids: Ids,
    uri: &Uri,
    caller: &Caller,
) -> Result<Response, Refused> {
    let admitted = api.door.admit(caller).await?;
    let mut input = input::from_query(name.entry(), uri)?;
    let unreadable = |error: RawPathParamsRejection| {
        one_finding("/executionId", INVALID_VALUE, error.to_string())
    };
    for (member, id) in &ids.map_err(unreadable)? {
        input.insert(member.to_owned(), id.into());
    }
    answer(api, &admitted.principal, name, input).await
}

async fn events(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Response, Refused> {
    let admitted = api.door.admit(&caller).await?;
    feed::watch(
        &api,
        &admitted.principal,
        execution_id(id)?,
        &caller.headers,
    )
    .await
}

fn execution_id(id: Result<Path<String>, PathRejection>) -> Result<ExecutionId, Problem> {
    let refused = |message| one_finding("/executionId", INVALID_VALUE, message);
    let Path(text) = id.map_err(|error| refused(error.body_text()))?;
    text.parse()
        .map_err(|error: contracts::ids::InvalidId| refused(error.to_string()))
}

async fn answer(
    api: &Api,
    principal: &Principal,
    name: OperationName,
    input: Input,
) -> Result<Response, Refused> {
    let entry = name.entry();
    match name {
        OperationName::ExecutionGet => {
            let input = permitted(principal, entry, input)?;
            Ok(shown(query::execution::get(api, principal, input).await?))
        }
        OperationName::ExecutionList => {
            let input = permitted(principal, entry, input)?;
            Ok(shown(query::execution::list(api, principal, input).await?))
        }
        OperationName::TraceGet => {
            let input = permitted(principal, entry, input)?;
            Ok(shown(query::trace::get(api, principal, input).await?))
        }
        OperationName::PolicyExplain => {
            let input = permitted(principal, entry, input)?;
            Ok(shown(query::policy::explain(api, principal, input).await?))
        }
        OperationName::SkillList => {
            let input = permitted(principal, entry, input)?;
            Ok(shown(query::skill::list(api, principal, input).await?))
        }
        OperationName::SkillVerify => {
            let input = permitted(principal, entry, input)?;
            Ok(shown(query::skill::verify(api, principal, &input).await?))
        }
        OperationName::IntentSubmit
        | OperationName::PlanCompile
        | OperationName::PlanVerify
        | OperationName::ExecutionStart
        | OperationName::ExecutionApprove
        | OperationName::ExecutionReject
        | OperationName::ExecutionCancel
        | OperationName::ExecutionPause
        | OperationName::ExecutionResume
        | OperationName::ExecutionRetry
        | OperationName::ExecutionAbort
        | OperationName::ExecutionShutdown
        | OperationName::StepReport
        | OperationName::SkillInstall
        | OperationName::SkillDisable
        | OperationName::PolicyActivate => Err(Problem::new(
            Code::NotFound,
            format!(
                "`{}` is a command: intake serves it at `{PREFIX}`",
                entry.key
            ),
        )
        .into()),
    }
}

/// Who may not ask hears nothing about what was asked.
fn permitted<T: DeserializeOwned>(
    principal: &Principal,
    operation: &Operation,
    input: Input,
) -> Result<T, Problem> {
    principal.authorise(operation, &input)?;
    input::parse(operation, input)
}

fn shown<T: Serialize>(answer: T) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    ([(CACHE_CONTROL, no_store)], Json(answer)).into_response()
}

/// The read model cannot be asked.
pub fn unreadable(error: &ReadError) -> Problem {
    if error.is_busy() {
        return Problem::new(
            Code::RateLimited,
            "the read model is asked more than it can answer: try again later",
        );
    }
    tracing::error!(reason = chain(error), "a query failed");
    Problem::of(Code::Internal)
}

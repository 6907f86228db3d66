//! The queries over HTTP.
//!
//! | path | operation |
//! | --- | --- |
//! | `GET`, `POST /v1/<query>` | every query of the registry |
//! | `GET` of a resource | the queries of `registry::RESOURCES` |
//! | `GET` of a feed | the live feeds of `registry::FeedName` |
//!
//! Answers carry a strong `ETag`: who has it already is told so by 304. An answer depends on who
//! asks, so nobody but the caller may keep it, and he asks again before he uses it.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{RawPathParams, State, rejection::RawPathParamsRejection},
    http::{Method, Uri},
    response::Response,
    routing::{any, get},
};
use contracts::{
    ids::ExecutionId,
    problem::{Code, Problem},
    registry::{FeedName, Kind, Operation, OperationName, RESOURCES},
};
use host::{
    engine::{Host, chain},
    http::{
        PREFIX, Refused,
        door::{Caller, Door},
        fallback,
        input::{self, INVALID_VALUE, one_finding},
        operation, published,
        seen::{About, seen},
    },
    principals::Principal,
    telemetry,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tracing::Instrument as _;

use crate::{
    answer::{Asked, shown},
    database::read::{ReadError, Reader},
    feed::{self, Feeds},
    query::{self, policy::engines::Engines},
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
    let with_feeds = FeedName::ALL.into_iter().fold(resources, |router, feed| {
        let serve = async move |State(api): State<Arc<Api>>, ids: Ids, uri: Uri, caller: Caller| {
            live(&api, feed, ids, &uri, &caller).await
        };
        router.route(feed.entry().path, get(serve).fallback(only_get))
    });
    let host = Arc::clone(&api.host);
    let routes = with_feeds
        .route("/v1/me", get(me).fallback(only_get))
        .route("/v1/{operation}", any(named))
        .merge(published::routes())
        .fallback(fallback)
        .with_state(api);
    seen(routes, &host)
}

type Ids = Result<RawPathParams, RawPathParamsRejection>;

async fn only_get() -> Refused {
    Refused::method_not_allowed("GET")
}

/// Who the credential says that one is.
async fn me(State(api): State<Arc<Api>>, caller: Caller) -> Result<Response, Refused> {
    let Principal { actor, workspace } = &api.door.admit(&caller).await?.principal;
    let me = json!({
        "id": actor.id, "type": actor.kind, "workspace": workspace, "grants": actor.grants,
    });
    let asked = Asked {
        method: &Method::GET,
        headers: &caller.headers,
    };
    Ok(shown(asked, &me)?)
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
    let asked = Asked {
        method: &method,
        headers: &caller.headers,
    };
    told(&api, &admitted.principal, name, input, asked).await
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
    for (member, id) in &ids.map_err(|error| unreadable_path(&error))? {
        input.insert(member.to_owned(), id.into());
    }
    let asked = Asked {
        method: &Method::GET,
        headers: &caller.headers,
    };
    told(api, &admitted.principal, name, input, asked).await
}

/// The answer; what is said meanwhile says what was asked, and of which execution.
async fn told(
    api: &Api,
    principal: &Principal,
    name: OperationName,
    input: Input,
    asked: Asked<'_>,
) -> Result<Response, Refused> {
    let about = input.get("executionId").and_then(Value::as_str);
    let about: Option<ExecutionId> = about.and_then(|id| id.parse().ok());
    let answering = async {
        if let Some(execution) = about {
            telemetry::is_about(&execution.to_string());
        }
        answer(api, principal, name, input, asked).await
    };
    let answered = answering.instrument(telemetry::asked(name.entry().key));
    let mut response = answered.await.map_err(|refused| named_in(refused, about))?;
    if let Some(execution) = about {
        let began = None;
        response.extensions_mut().insert(About { execution, began });
    }
    Ok(response)
}

/// A refusal says which execution it is about, where one was named.
fn named_in(refused: Refused, about: Option<ExecutionId>) -> Refused {
    match about {
        Some(about) => refused.map(|problem| problem.with_instance(path_of(about))),
        None => refused,
    }
}

fn path_of(execution: ExecutionId) -> String {
    format!("/v1/executions/{execution}")
}

fn unreadable_path(error: &RawPathParamsRejection) -> Problem {
    one_finding("/executionId", INVALID_VALUE, error.to_string())
}

async fn live(
    api: &Api,
    name: FeedName,
    ids: Ids,
    uri: &Uri,
    caller: &Caller,
) -> Result<Response, Refused> {
    let admitted = api.door.admit(caller).await?;
    let (principal, headers) = (&admitted.principal, &caller.headers);
    let feed = name.entry();
    // Who may not ask hears nothing about what was asked.
    principal.require(feed.grant)?;
    let mut asked = feed::asked::Asked::of(feed, uri)?;
    let after = asked.after(headers);
    match name {
        FeedName::Execution => {
            asked.end()?;
            let ids = ids.map_err(|error| unreadable_path(&error))?;
            let id = execution_id(&ids)?;
            let watched = feed::execution::watch(api, principal, id, after, headers).await;
            watched.map_err(|refused| named_in(refused, Some(id)))
        }
        FeedName::Workspace => {
            let filter = asked.filter(principal);
            asked.end()?;
            feed::workspace::watch(api, principal, feed, filter, after, headers).await
        }
        FeedName::Approvals => {
            asked.end()?;
            let filter = feed::asked::of_approvals(principal);
            feed::workspace::watch(api, principal, feed, filter, after, headers).await
        }
    }
}

fn execution_id(ids: &RawPathParams) -> Result<ExecutionId, Problem> {
    let id = ids.iter().next().map_or("", |(_, id)| id);
    id.parse().map_err(|error: contracts::ids::InvalidId| {
        one_finding("/executionId", INVALID_VALUE, error.to_string())
    })
}

async fn answer(
    api: &Api,
    principal: &Principal,
    name: OperationName,
    input: Input,
    asked: Asked<'_>,
) -> Result<Response, Refused> {
    let entry = name.entry();
    Ok(match name {
        OperationName::ExecutionGet => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::execution::get(api, principal, input).await?)?
        }
        OperationName::ExecutionList => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::execution::list(api, principal, input).await?)?
        }
        OperationName::TraceGet => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::trace::get(api, principal, input).await?)?
        }
        OperationName::PolicyExplain => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::policy::explain(api, principal, input).await?)?
        }
        OperationName::SkillList => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::skill::list(api, principal, input).await?)?
        }
        OperationName::SkillVerify => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::skill::verify(api, principal, &input).await?)?
        }
        OperationName::ApprovalList => {
            let input = permitted(principal, entry, input)?;
            shown(asked, &query::approval::list(api, principal, input).await?)?
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
        | OperationName::PolicyActivate => {
            return Err(Problem::new(
                Code::NotFound,
                format!(
                    "`{}` is a command: intake serves it at `{PREFIX}`",
                    entry.key
                ),
            )
            .into());
        }
    })
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

//! From an HTTP request to a command, and back: `POST /v1/<operation>`, and events at
//! `POST /v1/events`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, LOCATION},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use contracts::{
    facts::Actor,
    ids::{ExecutionId, PrincipalId, RunId},
    problem::{Code, Problem},
    registry::{OperationName, RESOURCES, cloud_events},
};
use host::{
    http::{
        self, Refused,
        door::Caller,
        input::{self, INVALID_VALUE, one_finding},
        seen::{self, About},
    },
    principals::Principal,
    telemetry,
    trace::span::Context,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{Intake, event, execution, intent, plan, policy, run, skill, step};

pub(crate) fn routes(intake: Arc<Intake>) -> Router {
    let commands = RESOURCES
        .iter()
        .filter(|resource| !is_query(resource.operation));
    let resources = commands.fold(Router::new(), |router, resource| {
        let serve = async |State(intake): State<Arc<Intake>>, ids: Ids, request| {
            let ids = ids.map_err(|error| {
                one_finding(
                    "",
                    INVALID_VALUE,
                    format!("the path cannot be read: {error}"),
                )
            })?;
            let named = ids.iter().map(|(name, id)| (name.to_owned(), id.into()));
            carry_out(&intake, resource.operation, named.collect(), request).await
        };
        router.route(resource.path, any(serve))
    });
    resources
        .route(cloud_events::PATH, any(event::take))
        .route("/v1/{operation}", any(answer))
        .merge(http::published::routes())
        .with_state(intake)
        .fallback(http::fallback)
}

type Ids = Result<RawPathParams, RawPathParamsRejection>;

/// A command's caller, and what was sent beside the input.
pub(crate) struct Call<'a> {
    pub intake: &'a Intake,
    pub operation: OperationName,
    pub principal: &'a Principal,
    pub headers: &'a HeaderMap,
    /// The span that what follows hangs from, in the caller's trace.
    pub traceparent: Option<String>,
    /// Whether it has a span itself, so that it is the root of a trace that it begins.
    pub is_seen: bool,
    pub received: Instant,
}

impl Call<'_> {
    /// Who acts, where the input names someone.
    pub fn acting(&self, named: Option<&PrincipalId>) -> Result<Actor, Problem> {
        self.intake.door.acting(self.principal, named)
    }

    pub fn actor(&self) -> &Actor {
        &self.principal.actor
    }

    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }
}

async fn answer(State(intake): State<Arc<Intake>>, request: Request) -> Result<Response, Refused> {
    let operation = http::operation(request.method(), request.uri().path())?;
    carry_out(&intake, operation, Map::new(), request).await
}

/// `named` are the members of the input that stand in the path.
async fn carry_out(
    intake: &Intake,
    operation: OperationName,
    named: Map<String, Value>,
    request: Request,
) -> Result<Response, Refused> {
    let received = Instant::now();
    if is_query(operation) {
        // By whatever method, it is asked elsewhere.
        let key = operation.entry().key;
        let detail = format!("`{key}` is a query: ask the projector");
        return Err(Problem::new(Code::NotFound, detail).into());
    }
    if request.method() != Method::POST {
        return Err(Refused::method_not_allowed("POST"));
    }
    let (parts, body) = request.into_parts();
    let mut admitted = intake.door.admit(&Caller::of(&parts)).await?;
    let mut input = admitted.object(&parts.headers, body).await?;
    for (member, value) in named {
        let other = input.insert(member.clone(), value.clone());
        if other.is_some_and(|other| other != value) {
            let message = "the path names another one: leave it out".to_owned();
            return Err(one_finding(&format!("/{member}"), INVALID_VALUE, message).into());
        }
    }
    let call = Call {
        intake,
        operation,
        principal: &admitted.principal,
        headers: &parts.headers,
        traceparent: seen::passed_on(&parts.extensions, &parts.headers),
        is_seen: true,
        received,
    };
    let about = execution(&input);
    let asked = async {
        telemetry::belongs_to(call.traceparent());
        if let Some(execution) = about {
            telemetry::is_about(&execution.to_string());
        }
        let answered = command(&call, operation, input).await;
        if let Err(problem) = &answered {
            // What is wrong with an input repeats parts of it, which are not for the log.
            let is_quoting = problem.code == Code::InvalidInput;
            tracing::debug!(
                principal = %admitted.principal.actor.id,
                code = %problem.code,
                detail = (!is_quoting).then_some(problem.detail.as_str()),
                "refused"
            );
        }
        answered
    };
    let answered = asked
        .instrument(telemetry::asked(operation.entry().key))
        .await;
    answered
        .map(|mut response| {
            if let Some(execution) = about {
                let began = None;
                response.extensions_mut().insert(About { execution, began });
            }
            response
        })
        .map_err(|problem| match about {
            Some(about) => problem.with_instance(path_of(about)).into(),
            None => problem.into(),
        })
}

async fn command(
    call: &Call<'_>,
    operation: OperationName,
    input: Map<String, Value>,
) -> Result<Response, Problem> {
    call.principal.authorise(operation.entry(), &input)?;
    match operation {
        OperationName::IntentSubmit => {
            let submitted =
                intent::submit(call, parse(operation, input)?, intent::once(call)?).await?;
            Ok(created(&submitted))
        }
        OperationName::PlanCompile => done(plan::compile(call, parse(operation, input)?).await),
        OperationName::PlanVerify => done(plan::verify(call, parse(operation, input)?).await),
        OperationName::ExecutionStart => {
            done(execution::start(call, parse(operation, input)?).await)
        }
        OperationName::ExecutionApprove => {
            done(execution::approve(call, parse(operation, input)?).await)
        }
        OperationName::ExecutionReject => {
            done(execution::reject(call, parse(operation, input)?).await)
        }
        OperationName::ExecutionCancel => {
            done(execution::cancel(call, parse(operation, input)?).await)
        }
        OperationName::ExecutionPause => done(run::pause(call, parse(operation, input)?).await),
        OperationName::ExecutionResume => done(run::resume(call, parse(operation, input)?).await),
        OperationName::ExecutionRetry => done(run::retry(call, parse(operation, input)?).await),
        OperationName::ExecutionAbort => done(run::abort(call, parse(operation, input)?).await),
        OperationName::ExecutionShutdown => {
            done(run::shutdown(call, parse(operation, input)?).await)
        }
        OperationName::StepReport => done(step::report(call, parse(operation, input)?).await),
        OperationName::SkillInstall => done(skill::install(call, parse(operation, input)?).await),
        OperationName::SkillDisable => done(skill::disable(call, parse(operation, input)?).await),
        OperationName::PolicyActivate => {
            done(policy::activate(call, parse(operation, input)?).await)
        }
        OperationName::ExecutionGet
        | OperationName::ExecutionList
        | OperationName::TraceGet
        | OperationName::PolicyExplain
        | OperationName::SkillList
        | OperationName::SkillVerify
        | OperationName::ApprovalList => Err(Problem::of(Code::NotFound)),
    }
}

fn is_query(operation: OperationName) -> bool {
    operation.entry().kind == contracts::registry::Kind::Query
}

pub(crate) fn parse<T: DeserializeOwned>(
    operation: OperationName,
    input: Map<String, Value>,
) -> Result<T, Problem> {
    input::parse(operation.entry(), input)
}

fn done<T: Serialize>(output: Result<T, Problem>) -> Result<Response, Problem> {
    output.map(|output| respond(StatusCode::OK, &output))
}

/// A repeated submission is answered as the first one was, but for the status.
pub(crate) fn created(submitted: &intent::Submitted) -> Response {
    let status = if submitted.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = respond(status, &submitted.output);
    let execution = submitted.output.execution_id;
    let began = submitted.began.as_deref().and_then(Context::parse);
    response.extensions_mut().insert(About { execution, began });
    let path = path_of(execution);
    if let Ok(location) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn respond<T: Serialize>(status: StatusCode, output: &T) -> Response {
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (status, no_store, Json(output)).into_response()
}

fn path_of(execution: ExecutionId) -> String {
    format!("/v1/executions/{execution}")
}

/// What a command is about, where the input names it.
fn execution(input: &Map<String, Value>) -> Option<ExecutionId> {
    if let Some(id) = input.get("executionId") {
        return id.as_str()?.parse().ok();
    }
    let run: RunId = input.get("runId")?.as_str()?.parse().ok()?;
    Some(run.execution)
}

//! The inputs of operations: JSON, or a query string.

use contracts::{
    operations::{approval, execution, intent, plan, policy, skill, step, trace},
    registry::{OperationName, routing},
};
use host::http::{body, input};
use serde_json::{Map, Value};

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a body", "a query string"];

/// The name of an operation in the first line, and then a body, or a query string after `?`.
pub fn holds(bytes: &[u8]) -> Reached {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (name, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let name = std::str::from_utf8(name).ok();
    let Some(operation) = name.and_then(routing::operation) else {
        return Reached::new();
    };
    let is_query = rest.starts_with(b"?");
    let sent = if is_query {
        let query = std::str::from_utf8(rest).ok();
        let uri = query.and_then(|query| format!("/v1/x{query}").parse().ok());
        uri.and_then(|uri| input::from_query(operation.entry(), &uri).ok())
    } else {
        body::parse(rest).ok()
    };
    let is_accepted = sent.is_some_and(|sent| accepted_is_valid(operation, &sent));
    let kind = if is_query { "a query string" } else { "a body" };
    Reached::from_iter(is_accepted.then_some(kind))
}

/// What is accepted fits the schema that is published; what is not is told why. Whether it is.
fn accepted_is_valid(operation: OperationName, sent: &Map<String, Value>) -> bool {
    let entry = operation.entry();
    let parsed = parsed(operation, sent.clone());
    match &parsed {
        Ok(()) => {
            let schema = entry.input().to_value();
            let faults = domain::schema::faults(&schema, &Value::Object(sent.clone())).unwrap();
            assert!(
                faults.is_empty(),
                "`{}` takes what its schema does not: {faults:?}",
                entry.key
            );
        }
        Err(problem) => assert!(!problem.findings.is_empty(), "refused without a reason"),
    }
    parsed.is_ok()
}

fn parsed(
    operation: OperationName,
    sent: Map<String, Value>,
) -> Result<(), contracts::problem::Problem> {
    macro_rules! each {
        ($($name:ident: $input:ty,)+) => {
            match operation {
                $(OperationName::$name => input::parse::<$input>(operation.entry(), sent).map(drop),)+
            }
        };
    }
    each! {
        IntentSubmit: intent::SubmitInput,
        PlanCompile: plan::CompileInput,
        PlanVerify: plan::VerifyInput,
        ExecutionStart: execution::StartInput,
        ExecutionApprove: execution::ApproveInput,
        ExecutionReject: execution::RejectInput,
        ExecutionCancel: execution::CancelInput,
        ExecutionPause: execution::PauseInput,
        ExecutionResume: execution::ResumeInput,
        ExecutionRetry: execution::RetryInput,
        ExecutionAbort: execution::AbortInput,
        ExecutionShutdown: execution::ShutdownInput,
        StepReport: step::ReportInput,
        SkillInstall: skill::InstallInput,
        SkillDisable: skill::DisableInput,
        ExecutionGet: execution::GetInput,
        ExecutionList: execution::ListInput,
        TraceGet: trace::GetInput,
        PolicyExplain: policy::ExplainInput,
        SkillList: skill::ListInput,
        SkillVerify: skill::VerifyInput,
        ApprovalList: approval::ListInput,
        PolicyActivate: policy::ActivateInput,
    }
}

//! `controlPlane.policy.activate`: the only way a policy changes.

use contracts::{
    canonical::Digest,
    operations::policy::{ActivateInput, ActivateOutput, BundleStatus},
    plan::Finding,
    problem::{Code, Problem},
    subject::AggregateId,
};
use domain::policy::{self, Answer, Policy};
use host::http::input::{INVALID_VALUE, one_finding};

use crate::{api::Call, commit::History, outcome::Outcome};

pub(crate) async fn activate(
    call: &Call<'_>,
    input: ActivateInput,
) -> Result<ActivateOutput, Problem> {
    let by = call.acting(input.activated_by.as_ref())?;
    let hash = input.bundle.hash().map_err(|error| {
        let path = format!("/bundle{}", error.path);
        one_finding(&path, INVALID_VALUE, error.to_string())
    })?;
    let aggregate = AggregateId::policy(call.principal.workspace.clone());
    let done = call
        .carry_out::<Policy, _>(&aggregate, |history, now| {
            let asked = policy::request_activation(&history.state, &input.bundle, &by, now);
            asked
                .map(|(events, _)| events)
                .map_err(|error| one_finding("/bundle", INVALID_VALUE, error.to_string()))
        })
        .await?;
    let mut history = done.history;
    call.outcome(&mut history, &aggregate, |history| answered(history, hash))
        .await
}

fn answered(history: &History<Policy>, hash: Digest) -> Outcome<ActivateOutput> {
    let request = history.state.requests.get(&hash)?;
    match request.answer.as_ref()? {
        Answer::Activated(activated) => Some(Ok(ActivateOutput {
            hash,
            status: BundleStatus::Activated,
            findings: activated.findings.clone(),
            activated_at: activated.activated_at,
            position: Some(history.position()),
        })),
        Answer::Refused(refused) => {
            let findings = refused.findings.iter().map(|found| Finding {
                path: found.path.clone(),
                code: found.code.clone(),
                message: found.message.clone(),
            });
            Some(Err(Problem::of(Code::PolicyRefused)
                .with_findings(findings.collect())
                .with_position(history.position())))
        }
    }
}

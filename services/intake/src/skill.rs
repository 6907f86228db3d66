//! `controlPlane.skill.install` and `controlPlane.skill.disable`.

use contracts::{
    canonical::Digest,
    ids::InstallationId,
    manifest::VerificationReport,
    operations::skill::{DisableInput, DisableOutput, InstallInput, InstallOutput, SkillStatus},
    problem::{Code, Problem},
    subject::AggregateId,
    time::Timestamp,
};
use domain::skill::{self, Answer, Install, Installation, Skill, Standing};

use crate::{
    api::Call,
    commit::History,
    outcome::Outcome,
    refusal::{Rejected, finding},
};

pub(crate) async fn install(
    call: &Call<'_>,
    input: InstallInput,
) -> Result<InstallOutput, Problem> {
    let aggregate = AggregateId::skill(call.principal.workspace.clone(), &input.skill_key);
    let install = Install {
        key: input.skill_key,
        version: input.version,
        artifact_digest: input.artifact_digest,
        manifest: input.manifest,
        by: call.actor().clone(),
    };
    let done = call
        .carry_out::<Skill, _>(&aggregate, |history, now| {
            let asked = skill::request_install(&history.state, &install, now);
            asked.map(|(events, _)| events).map_err(Rejected::problem)
        })
        .await?;
    let mut history = done.history;
    let id = asked(&history.state, &install).ok_or_else(|| {
        Problem::new(
            Code::Internal,
            "the request is stored, and its fold does not show it",
        )
    })?;
    call.outcome(&mut history, &aggregate, |history| checked(history, id))
        .await
}

/// The installation that a request leads to: deciding again on what is stored appends nothing, and
/// names it.
fn asked(skill: &Skill, install: &Install) -> Option<InstallationId> {
    let (events, id) = skill::request_install(skill, install, Timestamp::from_millis(0)).ok()?;
    events.is_empty().then_some(id)
}

fn checked(history: &History<Skill>, id: InstallationId) -> Outcome<InstallOutput> {
    let Installation {
        request, answer, ..
    } = history.state.installations.get(&id)?;
    match answer.as_ref()? {
        Answer::Installed(installed) => Some(Ok(InstallOutput {
            installation_id: id,
            skill_key: request.skill_key.clone(),
            version: request.version.clone(),
            verified: installed.report.verified,
            status: SkillStatus::Installed,
            installed_at: installed.installed_at,
            signature_verified: Some(installed.report.signature_verified),
            publisher_trusted: Some(installed.report.publisher_trusted),
            compatibility_verified: Some(installed.report.compatibility_verified),
            manifest_digest: installed.manifest_digest,
            provenance: installed.provenance.clone(),
            issues: Some(installed.report.issues.clone()),
            position: Some(history.position()),
        })),
        Answer::Rejected(rejected) => {
            let problem = refused(&rejected.report, &rejected.trust_digest);
            Some(Err(problem.with_position(history.position())))
        }
    }
}

/// Coded as its first issue is; the findings have all.
fn refused(report: &VerificationReport, trust: &Digest) -> Problem {
    let first = report.issues.first();
    let code = first
        .and_then(|issue| issue.code.parse::<Code>().ok())
        .unwrap_or(Code::ManifestInvalid);
    let detail = match first {
        Some(issue) => format!(
            "{} (checked against the trust document `{trust}`)",
            issue.message
        ),
        None => code.advice().to_owned(),
    };
    let findings = report
        .issues
        .iter()
        .map(|issue| finding(&issue.code, &issue.message));
    Problem::new(code, detail).with_findings(findings.collect())
}

pub(crate) async fn disable(
    call: &Call<'_>,
    input: DisableInput,
) -> Result<DisableOutput, Problem> {
    let aggregate = AggregateId::skill(call.principal.workspace.clone(), &input.skill_key);
    let by = call.acting(Some(&input.disabled_by))?;
    let (version, reason) = (input.version.as_ref(), input.reason.as_deref());
    let done = call
        .carry_out::<Skill, _>(&aggregate, |history, now| {
            skill::disable(&history.state, &input.skill_key, version, &by, reason, now)
                .map_err(Rejected::problem)
        })
        .await?;
    let installed = done.history.state.installed.iter();
    let disabled_at = installed
        .filter(|(installed, _)| version.is_none_or(|named| named.as_str() == *installed))
        .filter_map(|(_, standing)| disabled_at(standing))
        .max();
    Ok(DisableOutput {
        skill_key: input.skill_key,
        status: SkillStatus::Disabled,
        disabled_at: disabled_at.ok_or_else(|| {
            Problem::new(
                Code::Internal,
                "the skill is disabled, and its fold does not show it",
            )
        })?,
        version: input.version,
        position: Some(done.history.position()),
    })
}

fn disabled_at(standing: &Standing) -> Option<Timestamp> {
    standing
        .disabled
        .as_ref()
        .map(|disabled| disabled.disabled_at)
}

//! The verifier: verdicts on plans and steps, and the answers to installations and activations.
//!
//! It decides nothing itself: `host::judge` does, which replay uses too. Here is which messages
//! wake it.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{event::Service, subject::AggregateKind};
use domain::{execution::Execution, policy::Policy, skill::Skill};
use host::{
    config::Config,
    engine::{self, Handle, Host},
    judge::Judge,
    serve::Work,
    trouble::Trouble,
    wake::Wake,
};
use journal::delivery::{ConsumerSpec, Purpose};
use tokio::time::Instant;

/// Starts the verifier.
pub async fn start(host: Arc<Host>, _config: Config) -> anyhow::Result<Work> {
    start_with(host, Arc::default()).await
}

/// Starts the verifier with bundles that may be loaded already.
#[expect(clippy::unused_async, reason = "the signature that every service has")]
pub async fn start_with(host: Arc<Host>, judge: Arc<Judge>) -> anyhow::Result<Work> {
    let specs = vec![
        ConsumerSpec::of(Service::Verifier, Purpose::Drive),
        ConsumerSpec::of(Service::Verifier, Purpose::Asked),
        ConsumerSpec::of(Service::Verifier, Purpose::Steps),
        ConsumerSpec::of(Service::Verifier, Purpose::Control),
        // It waits for nothing itself; what only a newer binary can judge comes back so.
        ConsumerSpec::timers(Service::Verifier),
    ];
    let verifier = Arc::new(Verifier { judge });
    let task = tokio::spawn(async move {
        engine::run(host, specs, verifier).await?;
        Ok(())
    });
    Ok(Work {
        routes: axum::Router::new(),
        task,
    })
}

struct Verifier {
    judge: Arc<Judge>,
}

#[async_trait]
impl Handle for Verifier {
    async fn handle(&self, host: &Host, wake: Wake, received: Instant) -> Result<(), Trouble> {
        let judge = &self.judge;
        let workspace = wake.aggregate.workspace();
        match wake.aggregate.kind() {
            AggregateKind::Execution => {
                let decide =
                    |state: &Execution, catalogue: &_, now| judge.execution(state, catalogue, now);
                engine::settle(host, &wake, received, decide, |_| Vec::new()).await
            }
            AggregateKind::Skill => {
                let decide = |state: &Skill, catalogue: &_, now| {
                    judge.skill(workspace, state, catalogue, now)
                };
                engine::settle(host, &wake, received, decide, |_| Vec::new()).await
            }
            AggregateKind::Policy => {
                let decide = |state: &Policy, _: &_, now| judge.policy(state, now);
                engine::settle(host, &wake, received, decide, |_| Vec::new()).await
            }
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {
                Err(Trouble::Poison {
                    code: "POISON_MESSAGE",
                    cause: format!("`{}` does not wake the verifier", wake.aggregate),
                })
            }
        }
    }
}

//! Waiting for what another service will append: a short-lived reader of one aggregate.

use contracts::{
    problem::{Code, Problem},
    subject::AggregateId,
};
use host::{
    aggregate::{Aggregate, known},
    engine::chain,
};
use journal::tail::Scope;

use crate::{api::Call, commit::History};

/// What a history says of a request: nothing yet, or the answer.
pub(crate) type Outcome<T> = Option<Result<T, Problem>>;

impl Call<'_> {
    /// Follows the aggregate until `outcome` is known, or the time is up. Decided after each
    /// event, so that a state that soon passes is not missed.
    pub async fn outcome<A, T>(
        &self,
        history: &mut History<A>,
        aggregate: &AggregateId,
        outcome: impl Fn(&History<A>) -> Outcome<T>,
    ) -> Result<T, Problem>
    where
        A: Aggregate,
    {
        if let Some(known) = outcome(history) {
            return known;
        }
        let recorded = history.position();
        let pending = || Problem::of(Code::OutcomePending).with_position(recorded.clone());
        let until = self.received + self.intake.outcome_within;
        let following = follow(self, history, aggregate, outcome);
        let stopped = self.intake.host.shutdown.cancelled();
        let known = tokio::select! {
            biased;
            // What was asked is recorded; a stop does not wait for what comes of it.
            () = stopped => None,
            known = tokio::time::timeout_at(until, following) => known.ok().flatten(),
        };
        known.unwrap_or_else(|| Err(pending()))
    }
}

/// Nothing where the aggregate cannot be followed: the request stands all the same.
async fn follow<A: Aggregate, T>(
    call: &Call<'_>,
    history: &mut History<A>,
    aggregate: &AggregateId,
    outcome: impl Fn(&History<A>) -> Outcome<T>,
) -> Outcome<T> {
    let _place = call.intake.waits.acquire().await.ok()?;
    let scope = Scope::Aggregate(aggregate.clone());
    let mut tail = match call.intake.journal().tail(&history.position(), scope).await {
        Ok(tail) => tail,
        Err(error) => {
            tracing::warn!(reason = chain(&error), %aggregate, "cannot wait for an outcome");
            return None;
        }
    };
    loop {
        let entry = tail.next().await;
        match entry.recorded {
            // What newer rules decided is not for this binary to tell.
            Ok(recorded) if known(&recorded).is_err() => return None,
            Ok(recorded) => history.push(entry.position, recorded),
            Err(error) => {
                let subject = entry.raw.subject;
                tracing::warn!(reason = chain(&error), subject, "cannot see an outcome");
                return None;
            }
        }
        if let Some(known) = outcome(history) {
            return Some(known);
        }
    }
}

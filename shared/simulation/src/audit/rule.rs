//! What must hold, and how it is told that it does not.

use contracts::{ids::ExecutionId, time::Timestamp};

/// A rule of the design, as it can be broken. Displayed as what must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rule {
    /// `log.md` §2: compare-and-set by version.
    #[error("every version of an aggregate is stored once, and none is left out")]
    Versions,
    /// `log.md` §4: `ce-prevhash`.
    #[error("every event names the hash of the version before it")]
    Chain,
    /// `log.md` §4: the later of the clock and the previous event's time.
    #[error("the times of an aggregate's events never run backwards")]
    Times,
    /// `design.md` §3: who appends what.
    #[error("every event is written by the service whose event it is")]
    Writer,
    /// `design.md` §3: the states of an execution and its steps, at most five drafts among them.
    #[error("an event stands only where its state lets it")]
    OutOfTurn,
    /// `design.md` §3: what terminal means, and after which codes a retry is legal.
    #[error("nothing follows the end of an execution but a retry, and that only where it may")]
    AfterTheEnd,
    /// `design.md` §3: Stopping starts nothing new, be it a sibling or a takeover.
    #[error("nothing new begins after an execution was told to stop")]
    AfterAStop,
    /// `design.md` §3: Paused.
    #[error("nothing new begins while a run is paused")]
    WhilePaused,
    /// `design.md` §3: `runId` is `<executionId>:<n>`, and a step's events are of the run under way.
    #[error("what happens to a step belongs to the run that is under way")]
    OtherRun,
    /// `design.md` §4: the hash is that of the plan's bytes, the id that of execution and hash.
    #[error("a plan has the hash and the id that are recorded for it")]
    PlanHash,
    /// `design.md` §3 and §5: a run needs a verdict that is not blocked, and is in a mode that is
    /// no looser than the intent's.
    #[error("a run begins only on a verdict that permits it, in a mode that was asked for")]
    StartUnpermitted,
    /// `design.md` §3: attempts count on across runs.
    #[error("the attempts of a step count one by one, over all its runs")]
    AttemptNumbers,
    /// `log.md` §7: one attempt of a step at a time.
    #[error(
        "a step is started only while no attempt of it is under way, and what it needs is done"
    )]
    StartUnready,
    /// `design.md` §7: retries come after their backoff.
    #[error("a step is not tried again before the instant that its failure recorded")]
    StartEarly,
    /// `log.md` §7: `step.started` is caused by the wake-up being driven; otherwise nobody could take
    /// it over. Checked once [`super::Auditor::delivered`] tells who received what.
    #[error("what is started names a wake-up that its owner received")]
    StartUncaused,
    /// `log.md` §7: a takeover is of an attempt that is under way.
    #[error("only an attempt that is under way, and that is a process's, is taken over")]
    TakeoverOfNothing,
    /// `log.md` §7: holding any delivery of the wake-up in an attempt's `causationid` gives the
    /// right to take it over. Checked once [`super::Auditor::delivered`] tells who received what.
    #[error("only who received the wake-up of an attempt takes it over from another process")]
    TakeoverByForeignWake,
    /// `log.md` §7: what a process is at work on it does not take over from itself.
    #[error("a process does not take over from itself what it has dispatched")]
    TakeoverFromItself,
    /// `design.md` §4: the key of a step's effect.
    #[error("the attempts of a step share one idempotency key, and no other step has it")]
    IdempotencyKey,
    /// `design.md` §4: pins, and inputs that were checked against the plan.
    #[error("what is started and sent is what the plan says")]
    OtherThanPlanned,
    /// `design.md` §3: inputs from outputs, or another bundle, are judged again before the start.
    #[error("a step starts only on a verdict on its inputs under the policy that it names")]
    Unjudged,
    /// `design.md` §3: only an answer to the last proposal counts.
    #[error("a second verdict answers the last proposal of its step, with its inputs")]
    JudgedUnasked,
    /// `design.md` §5: neither question permitted.
    #[error("a step that policy blocks never starts")]
    StartBlocked,
    /// `design.md` §3 and §5: quorum, eligible voters, the same rule, tier, inputs and plan.
    #[error("a step that needs people starts only when enough of them approved exactly that")]
    StartUnapproved,
    /// `design.md` §5: that is code.
    #[error("high risk is never autonomous")]
    HighAlone,
    /// `design.md` §5: the declared effect and risk are the least that a step's tier may be.
    #[error("a step is judged at least as risky as what it declares")]
    TierTooLow,
    /// `design.md` §5: the plan's verdict is its strictest step's.
    #[error("a plan is judged as strictly as its strictest step")]
    VerdictNotStrictest,
    /// `design.md` §3: a step waits for whom its verdict asks for, on its inputs, and so long.
    #[error("a block asks for what the verdict asks for")]
    BlockUnlikeVerdict,
    /// `design.md` §3: when a vote counts. Whether it does is decided under the version guard, so
    /// there is no race by which one that does not could be stored.
    #[error("a vote is stored only where it counts")]
    VoteCannotCount,
    /// `design.md` §3: at most one recorded end per key, and the first success counts.
    #[error("a step is completed at most once, and not after it has failed for good")]
    OneEnd,
    /// `log.md` §7: write-ahead.
    #[error("what ends was started")]
    EndWithoutStart,
    /// `log.md` §7: a failure counts only for the attempt that is under way.
    #[error("an attempt that another one has followed does not fail")]
    SupersededFailure,
    /// `design.md` §7 and `log.md` §7: retries, and takeovers that are none.
    #[error(
        "a retryable failure is tried again exactly while tries are left, takeovers not counted"
    )]
    Tries,
    /// `design.md` §3: the codes of `execution.failed`.
    #[error("an execution stops and fails for the reason that its history gives")]
    Reason,
    /// `design.md` §3: Stopping waits for the ends of what is in flight; completed means done.
    #[error(
        "an execution ends only when nothing of it is under way, and completes only when all is done"
    )]
    EndedUnderWay,
    /// `log.md` §6: facts are confirmed after the message was received, or at most half a second
    /// before the decision.
    #[error("what is decided on the catalogue is decided on a fresh one")]
    StaleFacts,
    /// `log.md` §6: what a history names has been seen by whoever decides on it. On older facts the
    /// executor would ask for a verdict under a policy that the verifier has left behind, for as
    /// long as its facts are shared.
    #[error("nothing is decided on an older catalogue than the history before it names")]
    FactsBackwards,
    /// `design.md` §3: the position of the facts is in the event.
    #[error("a verdict names the policy and the trust that its position of the catalogue has")]
    OtherPolicy,
    /// `design.md` §4: compilation resolves to what can be run.
    #[error("a plan is compiled, and a step started, only with skills that are enabled")]
    SkillDisabled,
    /// `log.md` §6 and §7: at the dispatch the facts of the start still hold, or did a moment ago.
    #[error("nothing is dispatched on a policy or a skill that changed well before")]
    StaleDispatch,
    /// `log.md` §7: a process dispatches only after its own `step.started` is stored.
    #[error("nothing is dispatched before its start is stored")]
    DispatchWithoutStart,
    /// `log.md` §7: no one else may dispatch it.
    #[error("nothing is dispatched whose attempt has ended or was taken over")]
    DispatchSuperseded,
    /// `log.md` §7: once per attempt, but where the worker said that it is still at it.
    #[error("an attempt is dispatched once")]
    DispatchedTwice,
    /// `design.md` §1: no effect without its stored start.
    #[error("no effect happens that was not dispatched")]
    EffectUnasked,
    /// `log.md` §7: one effect per key unless an outcome was unknown.
    #[error("an effect happens once, unless what became of an earlier attempt was unknown")]
    EffectTwice,
    /// `design.md` §3: `not_done` is said only where the effect has certainly not happened.
    #[error("what is recorded as not done has not happened")]
    DoneAfterAll,
    /// `design.md` §3: completed means that the effect is done.
    #[error("what is recorded as completed has happened")]
    CompletedWithoutEffect,
    /// `design.md` §1: nothing is answered before the event that says so is stored.
    #[error("what was answered is in the log")]
    AnsweredUnstored,
    /// `design.md` §3: a cancel that was accepted is the reason of the end.
    #[error("what was cancelled ends as cancelled")]
    CancelLost,
    /// `design.md` §1: nothing parks silently.
    #[error("once the faults have stopped everything ends")]
    NeverEnded,
    /// `design.md` §3: a deadline acts in every state that is not terminal.
    #[error("nothing is begun once the deadline of the intent has passed")]
    AfterTheDeadline,
    /// `log.md` §7: if `timeoutAt` has passed, a takeover is a failure first.
    #[error("an attempt is taken over before its time is out, and then it fails")]
    TakeoverTooLate,
    /// Where every clock is right, nothing is given up before its time.
    #[error("what is given up because its time is over was given all of it")]
    GivenUpEarly,
    /// `design.md` §1: every execution that has not ended has a wake-up that will come.
    #[error("whatever waits has a message pending for it, or the timer armed that it waits for")]
    Parked,
    /// Everything ends within a bounded time once nothing goes wrong any more.
    #[error("once the faults have stopped everything comes to rest in time")]
    Stuck,
    /// `design.md` §4: another body under a key is a conflict.
    #[error("a key that was used means the same request for ever")]
    KeyReused,
    /// `log.md` §4: what is stored can be read.
    #[error("everything that is stored or sent can be read")]
    Unreadable,
    /// `design.md` §8: replay re-derives every decision.
    #[error("every decision is derived again from what is stored")]
    Replay,
    /// `design.md` §8: SQL rows are a fold of the log.
    #[error("the read model says what the log says")]
    ReadModel,
    /// `design.md` §3: incidents are for what cannot be processed, and nothing here is.
    #[error("nothing happens that an operator has to look at")]
    Incident,
}

/// The first thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub execution: Option<ExecutionId>,
    /// With versions and values.
    pub detail: String,
    pub at: Timestamp,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, but {}", self.rule, self.detail)?;
        if let Some(execution) = self.execution {
            write!(f, " (execution {execution})")?;
        }
        write!(f, " at {}", self.at)
    }
}

/// A rule that is broken, and by what.
#[derive(Debug)]
pub(super) struct Fault {
    pub rule: Rule,
    pub detail: String,
}

pub(super) type Check<T = ()> = Result<T, Fault>;

pub(super) fn ensure(holds: bool, rule: Rule, detail: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        broken(rule, detail())
    }
}

pub(super) fn broken<T>(rule: Rule, detail: impl Into<String>) -> Check<T> {
    Err(Fault {
        rule,
        detail: detail.into(),
    })
}

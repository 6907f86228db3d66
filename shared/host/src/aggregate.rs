//! Loading one aggregate: its fold, and where its events stand.

use contracts::{
    events::RULES,
    planted::{self, Bug},
    position::Position,
    record::{Head, Recorded},
    subject::AggregateId,
};
use domain::{execution::Execution, policy::Policy, skill::Skill};
use journal::{
    Journal, Unavailable,
    history::{LoadError, Read},
};

/// The fold of one aggregate's events.
pub trait Aggregate: Sized + Send {
    fn empty() -> Self;
    #[must_use]
    fn evolve(self, recorded: &Recorded) -> Self;
    fn head(&self) -> Option<&Head>;
    /// Why nothing may follow, if the history does not hold together.
    fn corruption(&self) -> Option<String>;

    /// The latest position of the catalogue that one of its events was decided on.
    fn catalogue(&self) -> u64 {
        0
    }

    /// The trace its events belong to, where the first of them names one.
    fn traceparent(&self) -> Option<&str> {
        None
    }

    fn version(&self) -> u64 {
        self.head().map_or(0, |head| head.version)
    }
}

impl Aggregate for Execution {
    fn empty() -> Self {
        Self::NeverReceived
    }

    fn evolve(self, recorded: &Recorded) -> Self {
        Self::evolve(self, recorded)
    }

    fn head(&self) -> Option<&Head> {
        Self::head(self)
    }

    fn corruption(&self) -> Option<String> {
        match self {
            Self::Corrupt(corruption) => Some(corruption.to_string()),
            Self::NeverReceived | Self::Known(_) => None,
        }
    }

    fn catalogue(&self) -> u64 {
        self.known().map_or(0, |known| known.catalogue)
    }

    fn traceparent(&self) -> Option<&str> {
        self.known()?.traceparent.as_deref()
    }
}

impl Aggregate for Skill {
    fn empty() -> Self {
        Self::default()
    }

    fn evolve(self, recorded: &Recorded) -> Self {
        Self::evolve(self, recorded)
    }

    fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    fn corruption(&self) -> Option<String> {
        None
    }
}

impl Aggregate for Policy {
    fn empty() -> Self {
        Self::default()
    }

    fn evolve(self, recorded: &Recorded) -> Self {
        Self::evolve(self, recorded)
    }

    fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    fn corruption(&self) -> Option<String> {
        None
    }
}

/// A fold, and the position of its last event.
#[derive(Debug, Clone)]
pub struct Loaded<A> {
    pub state: A,
    pub position: Option<Position>,
}

/// The fold up to at least `version`: a replica that lags behind it is not believed.
pub async fn load<A: Aggregate>(
    journal: &dyn Journal,
    aggregate: &AggregateId,
    version: u64,
) -> Result<Loaded<A>, LoadError> {
    let near = fold(journal.load(aggregate, Read::Nearest).await?)?;
    if version > 0 && reached(&near) >= version {
        return Ok(near);
    }
    if planted::is(Bug::StaleNothing) {
        // What was delivered is stored everywhere.
        return Ok(near);
    }
    let loaded = confirmed(journal, aggregate).await?;
    if reached(&loaded) < version {
        // What was delivered is stored; a leader that does not have it has not caught up.
        let doing = format!("load `{aggregate}` up to version {version}");
        return Err(Unavailable::new(doing, "the leader is behind what was delivered").into());
    }
    Ok(loaded)
}

/// The fold up to the head that the leader has.
pub async fn confirmed<A: Aggregate>(
    journal: &dyn Journal,
    aggregate: &AggregateId,
) -> Result<Loaded<A>, LoadError> {
    fold(journal.load(aggregate, Read::Confirmed).await?)
}

/// What was decided by newer rules than this binary's cannot be gone on from.
pub fn known(recorded: &Recorded) -> Result<(), LoadError> {
    if recorded.event.rules() > RULES {
        let subject = recorded.subject.to_string();
        return Err(LoadError::Newer { subject });
    }
    Ok(())
}

fn fold<A: Aggregate>(events: Vec<(Position, Recorded)>) -> Result<Loaded<A>, LoadError> {
    let mut loaded = Loaded {
        state: A::empty(),
        position: None,
    };
    for (position, recorded) in events {
        known(&recorded)?;
        loaded = Loaded {
            state: loaded.state.evolve(&recorded),
            position: Some(position),
        };
    }
    Ok(loaded)
}

fn reached<A: Aggregate>(loaded: &Loaded<A>) -> u64 {
    match loaded.state.corruption() {
        // Nothing more would be folded.
        Some(_) => u64::MAX,
        None => loaded.state.version(),
    }
}

//! What the deciders of this binary make of one recorded event.

use contracts::{
    event::Event,
    events::{RULES, planner::RejectionCause},
    record::Recorded,
};
use domain::{catalogue::Catalogue, compile::COMPILER_VERSION, execution::intake::Decision};
use host::judge::Judge;
use policy::ENGINE_VERSION;

use super::{
    moment::Moment,
    past::{NoCatalogue, Past},
    report::What,
};

pub(super) enum Derived {
    /// What planner, verifier or executor decide in this state.
    Decision(Event),
    /// What is recorded of this input from outside.
    Input(What, Event),
    /// It comes from outside, and no decider looks at it before it is stored.
    Taken,
    /// Nothing would be stored.
    Nothing(What, String),
    NotRederived(String),
}

/// What a decision is made of beside the state.
pub(super) struct Memory<'a> {
    pub judge: &'a Judge,
    pub past: &'a mut Past,
    pub moment: Moment,
    /// The position of the catalogue that its history names: what follows is decided on no older
    /// one.
    pub least: u64,
}

/// What a decision may be, where not all that it depends on is recorded.
pub(super) struct Found {
    /// The recorded event, where it is one of the possible ones.
    pub same: Option<Event>,
    pub likeliest: Option<Event>,
}

impl Memory<'_> {
    /// Tries the catalogue that the decision names, or else those around its time, until one
    /// gives the recorded event. `possible` gives what may be decided on one, the likeliest first.
    pub fn find(
        &mut self,
        catalogue: Option<u64>,
        recorded: &Recorded,
        possible: impl Fn(&Judge, &Catalogue) -> Vec<Event>,
    ) -> Result<Found, NoCatalogue> {
        let mut found = Found {
            same: None,
            likeliest: None,
        };
        if let Some(sequence) = catalogue {
            let fold = self.past.at(sequence)?;
            self.past.fits(sequence, self.moment)?;
            let least = self.least;
            if sequence < least {
                return Err(NoCatalogue::Backwards { sequence, least });
            }
            found.add(possible(self.judge, &fold), recorded);
            return Ok(found);
        }
        for count in self.past.around(self.moment) {
            let fold = self.past.of(count);
            found.add(possible(self.judge, &fold), recorded);
            if found.same.is_some() {
                break;
            }
        }
        Ok(found)
    }

    /// The decision that `possible` gives.
    pub fn decided(
        &mut self,
        catalogue: Option<u64>,
        recorded: &Recorded,
        possible: impl Fn(&Judge, &Catalogue) -> Vec<Event>,
    ) -> Derived {
        match self.find(catalogue, recorded, possible) {
            Ok(found) => found.decision(),
            Err(error) => error.into(),
        }
    }
}

impl Found {
    fn add(&mut self, possible: Vec<Event>, recorded: &Recorded) {
        for event in possible {
            if event == recorded.event {
                self.same = Some(event);
                return;
            }
            self.likeliest.get_or_insert(event);
        }
    }

    fn decision(self) -> Derived {
        match self.same.or(self.likeliest) {
            Some(event) => Derived::Decision(event),
            None => Derived::nothing_decided(),
        }
    }
}

impl Derived {
    pub fn nothing_decided() -> Self {
        Self::Nothing(
            What::Decision,
            "nothing is decided in this state at this time".to_owned(),
        )
    }

    /// An input that intake's decider has to admit.
    pub fn admitted(what: What, decision: Decision) -> Self {
        match decision {
            Ok(events) => Self::first(what, events),
            Err(rejection) => {
                let code = rejection.code();
                Self::Nothing(what, format!("it is refused with `{code}`: {rejection}"))
            }
        }
    }

    pub fn first(what: What, events: Vec<Event>) -> Self {
        match events.into_iter().next() {
            Some(event) => Self::Input(what, event),
            None => Self::Nothing(what, "it was asked for and done before".to_owned()),
        }
    }
}

impl From<NoCatalogue> for Derived {
    fn from(error: NoCatalogue) -> Self {
        match error {
            NoCatalogue::BeyondEnd { .. }
            | NoCatalogue::Outdated { .. }
            | NoCatalogue::Backwards { .. }
            | NoCatalogue::Later { .. } => Self::Nothing(What::Catalogue, error.to_string()),
            NoCatalogue::Unknown(_) => Self::NotRederived(error.to_string()),
        }
    }
}

/// By what this event was decided that this binary does not have.
pub(super) fn decided_by_others(event: &Event) -> Option<String> {
    if event.rules() != RULES {
        let rules = event.rules();
        return Some(format!(
            "it was decided by rules {rules}, and this binary has {RULES}"
        ));
    }
    let compiler = compiler_version(event).filter(|version| *version != COMPILER_VERSION);
    if let Some(version) = compiler {
        return Some(format!(
            "it was compiled by compiler {version}, and this binary has {COMPILER_VERSION}"
        ));
    }
    let engine = engine_version(event).filter(|version| *version != ENGINE_VERSION)?;
    Some(format!(
        "it was judged by engine `{engine}`, and this binary has `{ENGINE_VERSION}`"
    ))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only a compiled plan names the compiler's version"
)]
fn compiler_version(event: &Event) -> Option<u32> {
    match event {
        Event::PlanCompiled(event) => Some(event.compiler_version),
        _ => None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only verdicts name the engine's version"
)]
fn engine_version(event: &Event) -> Option<&str> {
    match event {
        Event::PlanVerified(event) => Some(&event.engine_version),
        Event::StepJudged(event) => Some(&event.engine_version),
        Event::PolicyActivated(event) => Some(&event.engine_version),
        Event::PolicyRefused(event) => Some(&event.engine_version),
        _ => None,
    }
}

/// Whether the planner or the verifier rejects a plan for this cause.
pub(super) fn is_planners(cause: RejectionCause) -> bool {
    match cause {
        RejectionCause::Compile | RejectionCause::DraftTimeout => true,
        RejectionCause::Policy => false,
    }
}

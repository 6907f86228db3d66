//! What walks along the log find, each thing with where it was found: several walks make one
//! report, the same whoever walked where.

use contracts::subject::AggregateId;

use super::{
    Check,
    report::{
        Change, Difference, LISTED_MAX, NotRederived, Place, Report, Summary, Unfinished, What,
    },
};

#[derive(Default)]
pub(super) struct Findings {
    pub summary: Summary,
    /// The how manieth message of the log is looked at.
    number: u64,
    differences: Vec<(u64, Difference)>,
    not_rederived: Vec<(u64, NotRederived)>,
    unfinished: Vec<(AggregateId, Unfinished)>,
}

impl Findings {
    /// What is found from now on is found at this message, which is after those before.
    pub fn at(&mut self, number: u64) {
        self.number = number;
    }

    pub fn differs(
        &mut self,
        place: Place,
        what: What,
        message: impl Into<String>,
        changes: Vec<Change>,
    ) {
        self.summary.differences += 1;
        if self.differences.len() < LISTED_MAX {
            let difference = Difference {
                place,
                what,
                message: message.into(),
                changes,
            };
            self.differences.push((self.number, difference));
        }
    }

    pub fn not_rederived(&mut self, place: Place, reason: impl Into<String>) {
        self.summary.not_rederived += 1;
        if self.not_rederived.len() < LISTED_MAX {
            let reason = reason.into();
            let not_rederived = NotRederived { place, reason };
            self.not_rederived.push((self.number, not_rederived));
        }
    }

    /// They come in the order of their aggregates.
    pub fn unfinished(&mut self, aggregate: &AggregateId, version: u64, status: String) {
        self.summary.unfinished += 1;
        if self.unfinished.len() < LISTED_MAX {
            let unfinished = Unfinished {
                workspace: aggregate.workspace().clone(),
                execution: aggregate.id().to_owned(),
                version,
                status,
            };
            self.unfinished.push((aggregate.clone(), unfinished));
        }
    }

    /// Of walks along different aggregates.
    pub fn report(walks: impl IntoIterator<Item = Self>, check: Check) -> Report {
        let mut all = Self::default();
        for walk in walks {
            all.summary += walk.summary;
            all.differences.extend(walk.differences);
            all.not_rederived.extend(walk.not_rederived);
            all.unfinished.extend(walk.unfinished);
        }
        Report {
            summary: all.summary,
            decisions_rederived: check == Check::Everything,
            differences: in_order(all.differences),
            not_rederived: in_order(all.not_rederived),
            unfinished: in_order(all.unfinished),
        }
    }
}

/// Each walk has the first ones that it found, so the first of all are among them.
fn in_order<K: Ord, T>(mut found: Vec<(K, T)>) -> Vec<T> {
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.truncate(LISTED_MAX);
    found.into_iter().map(|(_, found)| found).collect()
}

//! An export of the log that can be changed, and sealed again as if it had been written so.

use std::{collections::BTreeMap, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    event::{Event, EventName},
    subject::{AggregateId, Subject},
};
use controlplane::{
    export::{self, Header, Line},
    replay::{self, Report, Selection, Source},
};
use journal::Journal;
use serde_json::Value;
use tempfile::TempDir;

#[derive(Clone)]
pub struct Copy {
    pub header: Header,
    pub lines: Vec<Line>,
}

/// A file that is gone with the test.
pub struct Written {
    _directory: TempDir,
    pub path: PathBuf,
}

impl Copy {
    pub async fn of(journal: &dyn Journal) -> Self {
        let mut written = Vec::new();
        export::run(journal, &mut written).await.unwrap();
        let text = String::from_utf8(written).unwrap();
        let mut lines = text.lines();
        Self {
            header: serde_json::from_str(lines.next().unwrap()).unwrap(),
            lines: lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }

    /// Changes what the first such event of an aggregate says, and gives its version.
    #[track_caller]
    pub fn change(
        &mut self,
        aggregate: &AggregateId,
        name: EventName,
        change: impl FnOnce(&mut Value),
    ) -> u64 {
        let line = self.line(aggregate, name);
        let payload = STANDARD.decode(&line.payload).unwrap();
        let mut json = Event::decode(name, &payload).unwrap().to_json().unwrap();
        let before = json.clone();
        change(&mut json);
        assert_ne!(json, before, "nothing was changed");
        let event = Event::from_json(name, json).unwrap();
        line.payload = STANDARD.encode(event.encode().unwrap());
        subject(line).version
    }

    #[track_caller]
    pub fn line(&mut self, aggregate: &AggregateId, name: EventName) -> &mut Line {
        self.lines
            .iter_mut()
            .find(|line| {
                let subject = subject(line);
                subject.aggregate == *aggregate && subject.event == name
            })
            .unwrap_or_else(|| panic!("{aggregate} has no `{name}`"))
    }

    /// Chains every event to what now stands before it.
    pub fn reseal(&mut self) {
        let mut hashes = BTreeMap::new();
        for line in &mut self.lines {
            let aggregate = subject(line).aggregate;
            if let Some(hash) = hashes.get(&aggregate) {
                let header = line
                    .headers
                    .iter_mut()
                    .find(|(name, _)| name == "ce-prevhash");
                header.unwrap().1 = ToString::to_string(hash);
            }
            let envelope = line.clone().entry().unwrap().raw.envelope().unwrap();
            hashes.insert(aggregate, envelope.hash());
        }
    }

    /// As exports were that did not hold the broker's times.
    pub fn without_stored_times(&self) -> Self {
        let mut copy = self.clone();
        for line in &mut copy.lines {
            line.stored_at = None;
        }
        copy
    }

    pub fn text(&self) -> String {
        let mut text = serde_json::to_string(&self.header).unwrap() + "\n";
        for line in &self.lines {
            text += &serde_json::to_string(line).unwrap();
            text += "\n";
        }
        text
    }

    pub fn write(&self) -> Written {
        written(&self.text())
    }

    pub async fn replay(&self) -> Report {
        let file = self.write();
        let source = Source::File(file.path.clone());
        replay::run(source, &Selection::All).await.unwrap()
    }
}

pub fn written(text: &str) -> Written {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    std::fs::write(&path, text).unwrap();
    Written {
        _directory: directory,
        path,
    }
}

pub fn subject(line: &Line) -> Subject {
    line.subject.parse().unwrap()
}

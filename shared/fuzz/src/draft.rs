//! Drafts of plans, compiled on the skills that every build has.

use contracts::{canonical, events::planner::PlanSource, plan::Plan};
use domain::{
    catalogue::Catalogue,
    compile::{Compiled, Refused, Source, compile},
};
use host::http::body;
use serde_json::Value;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a plan"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(members) = body::parse(bytes) else {
        return Reached::new();
    };
    let draft = Value::Object(members);
    match compiled(&draft) {
        Ok(found) => {
            assert_eq!(found.plan.hash(), Ok(found.hash));
            let plan = serde_json::to_value(&found.plan).unwrap();
            assert_eq!(serde_json::from_value::<Plan>(plan).unwrap(), found.plan);
            let named = found.plan.steps.iter().map(|step| &step.uses);
            assert!(named.clone().all(|pin| found.pins.contains(pin)));
            assert!(found.plan.steps.is_sorted_by(|a, b| a.id < b.id));
            let written = canonical::to_bytes(&draft).expect("what is in a plan is exact");
            let again = serde_json::from_slice(&written).unwrap();
            assert_eq!(compiled(&again).unwrap().hash, found.hash);
            Reached::from(["a plan"])
        }
        Err(refused) => {
            assert!(!refused.findings.is_empty(), "refused without a reason");
            assert!(refused.findings.is_sorted(), "{:?}", refused.findings);
            assert_eq!(compiled(&draft), Err(refused));
            Reached::new()
        }
    }
}

fn compiled(draft: &Value) -> Result<Compiled, Refused> {
    let source = Source::Draft {
        draft,
        origin: PlanSource::Intent,
    };
    compile(source, &"acme".parse().unwrap(), &Catalogue::empty())
}

//! Risks that words carry.
//!
//! Text is folded first, so that case, accents, look-alike letters, digits for letters, invisible
//! characters and spaced-out letters make no difference, and then searched for phrases of a data
//! file. What cannot be folded away honestly, such as hidden characters, is a signal of its own.
//! A list of phrases is a net, not a wall: what holds when it misses is that no text can raise
//! what a step may do.

mod fold;
mod hidden;
mod phrases;

use std::collections::BTreeSet;

use contracts::facts::TextSignal;
use serde_json::Value;

use phrases::PHRASES;

/// Of one text.
pub fn of_text(text: &str) -> BTreeSet<TextSignal> {
    let mut signals = PHRASES.search(&fold::words(text, PHRASES.vocabulary()));
    if hidden::is_in(text) {
        signals.insert(TextSignal::HiddenText);
    }
    signals
}

/// Of every text in a document, names of members included. References (`$from`, `$secret`) are no
/// text where the plan has them, which is at the same place in `planned`: an output that is bound
/// may hold what only looks like one.
pub fn of_value(value: &Value, planned: &Value) -> BTreeSet<TextSignal> {
    let mut signals = BTreeSet::new();
    // Not recursive: an output may be nested as deeply as its worker likes.
    let mut rest = vec![(value, Some(planned))];
    while let Some((value, planned)) = rest.pop() {
        match value {
            Value::String(text) => signals.extend(of_text(text)),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                rest.extend(
                    items.map(|(index, item)| (item, planned.and_then(|it| it.get(index)))),
                );
            }
            Value::Object(_) if is_reference(value) && planned == Some(value) => {}
            Value::Object(members) => {
                for (name, member) in members {
                    signals.extend(of_text(name));
                    rest.push((member, planned.and_then(|it| it.get(name))));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    signals
}

/// One text for each phrase that is searched for, with the signal it stands for: what a test
/// needs to show that no line of the data file is dead.
pub fn examples() -> Vec<(TextSignal, String)> {
    PHRASES.examples()
}

pub(crate) fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|members| {
        members.len() == 1
            && members
                .iter()
                .all(|(name, to)| matches!(name.as_str(), "$from" | "$secret") && to.is_string())
    })
}

//! The table as a page for people, and as JSON for programs.

use std::fmt::Write as _;

use contracts::{plan::Status, problem::Code, registry::OperationName};
use serde_json::{Value, json};

use super::asks::Answer;

/// Answers of one operation: one column for each way to ask, one line for each state.
pub struct Section {
    pub operation: OperationName,
    pub ways: Vec<&'static str>,
    pub lines: Vec<(&'static str, Vec<Answer>)>,
}

const HEAD: &str = "\
# What each command is answered, in each state of an execution

Each section is one command; each row is one or more states of an execution that answer alike, and
each column is one way to give the command: in that state it *appends the event that is named*,
gives the *same answer* again and appends nothing, *waits* for what a service is about to record
and appends nothing, or is *refused* with an HTTP status and a code. A dash means that nobody can
ask this here: there is no such mode, no earlier draft, no earlier vote, no plan to name.

Where nothing is refused the status is 200 (201 for the submission that made the execution). A
command whose answer is another service's (`plan.compile`, `plan.verify`, `execution.start`)
answers with what that service records, also after it appended; if that takes more than ten
seconds, 504 `OUTCOME_PENDING`. Whatever is sent twice is appended once: after an event was
appended, the same command finds the same answer, waits, or is refused.

`a` is the step that is voted on, `b` comes after it. “Stopping” means that nothing new starts and
the end is about to be recorded. The requester is who submitted the intent; who may vote is what
policy said of the step.

Not in the table, because they do not look at the state: what is wrong with the request itself or
with the credential (400, 401, 403 `FORBIDDEN`, `ACTOR_MISMATCH`, `WORKSPACE_MISMATCH`, 413, 415,
429); 409 `POLICY_NOT_ACTIVE` for a `plan.verify` that names a bundle that is not the active one;
503 `LOG_UNAVAILABLE`. An execution of another workspace is answered as if there were none. A
submission without an `Idempotency-Key` is always a new execution.

This file is written from the deciders and fails the tests where it differs:
`UPDATE_EXPECT=1 cargo test --test domain`. `answers.json` beside it is the same for programs, with
every state spelt out.

## The states

With the status that `execution.get` shows for each.

| state | status |
| --- | --- |
";

/// A row of more states than this is not spelt out, once in each section.
const ALIKE_MAX: usize = 10;

pub fn markdown(states: &[(&str, Option<Status>)], sections: &[Section]) -> String {
    let mut page = HEAD.to_owned();
    for (state, shown) in states {
        let shown = shown.map_or("none".to_owned(), |status| format!("`{status}`"));
        writeln!(page, "| {state} | {shown} |").unwrap();
    }
    for section in sections {
        let key = section.operation.entry().key;
        writeln!(page, "\n## `{key}`\n\n{}\n", about(section.operation)).unwrap();
        writeln!(page, "| state | {} |", section.ways.join(" | ")).unwrap();
        writeln!(page, "|{}", " --- |".repeat(section.ways.len() + 1)).unwrap();
        let mut rows = alike(&section.lines);
        let largest = (0..rows.len())
            .max_by_key(|row| rows[*row].0.len())
            .unwrap();
        if rows[largest].0.len() > ALIKE_MAX {
            let (_, answers) = rows.remove(largest);
            rows.push((vec!["*every other state*"], answers));
        }
        for (states, answers) in rows {
            let cells: Vec<_> = answers.iter().map(cell).collect();
            writeln!(page, "| {} | {} |", states.join("<br>"), cells.join(" | ")).unwrap();
        }
    }
    page
}

fn about(operation: OperationName) -> &'static str {
    match operation {
        OperationName::IntentSubmit => {
            "An intent becomes an execution. Under an `Idempotency-Key` the same request finds the \
             execution that it made, however far that has come."
        }
        OperationName::PlanCompile => {
            "Without a draft it asks for the plan. With one it offers a draft, which is legal only \
             while one is awaited; who offers one a moment before it is asked for waits for that."
        }
        OperationName::PlanVerify => {
            "The plan is judged again, under the policy that is active now, as long as it has not \
             started."
        }
        OperationName::ExecutionStart => {
            "A start by hand. A mode may be stricter than the intent's, never looser; starting twice \
             is the same run, also after its end."
        }
        OperationName::ExecutionApprove => {
            "A vote for a blocked step. A voter who names the plan's hash, the inputs' digest or the \
             block votes on just that, and of high risk the hash has to be named."
        }
        OperationName::ExecutionReject => {
            "A vote against a blocked step; one ends the run. Who approved may still reject until \
             enough others have approved."
        }
        OperationName::ExecutionCancel => {
            "Nothing new starts, and the execution ends as cancelled. What stops or has ended for \
             another reason is not made a cancelled one."
        }
        OperationName::ExecutionPause => {
            "Nothing new is started in the run; what is under way ends, votes count, and deadlines \
             are kept."
        }
        OperationName::ExecutionResume => "A paused run goes on.",
        OperationName::ExecutionRetry => {
            "A failed run goes on from what it had not done, as the next run. What people or policy \
             have decided is not tried again."
        }
        OperationName::ExecutionAbort | OperationName::ExecutionShutdown => {
            "As a cancellation, by the run."
        }
        OperationName::StepReport => {
            "What became of a step that is completed later, or that its worker has not answered for \
             yet. The token of the call says of which attempt; a success counts of any, a failure of \
             the last one, and the first report counts."
        }
        other => panic!("{other:?} is no command to an execution"),
    }
}

/// States with the same answers, together, in the order of the first of them.
fn alike<'a>(lines: &'a [(&'static str, Vec<Answer>)]) -> Vec<(Vec<&'static str>, &'a [Answer])> {
    let mut groups: Vec<(Vec<&'static str>, &[Answer], Vec<String>)> = Vec::new();
    for (state, answers) in lines {
        let cells: Vec<_> = answers.iter().map(cell).collect();
        match groups.iter_mut().find(|(_, _, other)| *other == cells) {
            Some((states, ..)) => states.push(state),
            None => groups.push((vec![state], answers, cells)),
        }
    }
    groups
        .into_iter()
        .map(|(states, answers, _)| (states, answers))
        .collect()
}

fn cell(answer: &Answer) -> String {
    match answer {
        Answer::Appends(events) => {
            let names: Vec<_> = events
                .iter()
                .map(|event| format!("**`{}`**", event.name()))
                .collect();
            names.join(", ")
        }
        Answer::Same => "same answer".to_owned(),
        Answer::Waits(service) => format!("waits for the {}", service.as_str()),
        Answer::Refused(rejection) => {
            let code = code(rejection.code());
            format!("{} `{code}`", code.http())
        }
        Answer::NoSuchThing => "–".to_owned(),
    }
}

pub fn code(text: &str) -> Code {
    text.parse()
        .expect("every rejection has a code that can be answered")
}

/// One line for each answer that a way to ask has, with the states that have it.
pub fn json(sections: &[Section]) -> String {
    let mut ways = Vec::new();
    for section in sections {
        for (index, how) in section.ways.iter().enumerate() {
            let mut answers: Vec<(Value, Vec<&str>)> = Vec::new();
            for (state, cells) in &section.lines {
                let Some(answer) = value(&cells[index]) else {
                    continue;
                };
                match answers.iter_mut().find(|(other, _)| *other == answer) {
                    Some((_, states)) => states.push(state),
                    None => answers.push((answer, vec![state])),
                }
            }
            let lines: Vec<_> = answers
                .into_iter()
                .map(|(answer, states)| json!({ "answer": answer, "states": states }).to_string())
                .collect();
            let operation = json!(section.operation.entry().key);
            let how = json!(how);
            ways.push(format!(
                "{{\"operation\":{operation},\"how\":{how},\"answers\":[\n{}\n]}}",
                lines.join(",\n")
            ));
        }
    }
    format!("[\n{}\n]\n", ways.join(",\n"))
}

fn value(answer: &Answer) -> Option<Value> {
    match answer {
        Answer::Appends(events) => {
            let names: Vec<_> = events
                .iter()
                .map(|event| event.name().to_string())
                .collect();
            Some(json!({ "appends": names }))
        }
        Answer::Same => Some(json!("same")),
        Answer::Waits(service) => Some(json!({ "waitsFor": service.as_str() })),
        Answer::Refused(rejection) => {
            let code = code(rejection.code());
            Some(json!({ "refused": code, "status": code.http() }))
        }
        Answer::NoSuchThing => None,
    }
}

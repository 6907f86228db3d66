//! The skills' workers: they do what they are asked, or not, or late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use contracts::{
    canonical::Digest,
    ids::{ActionName, ExecutionId, SkillKey, SkillVersion, StepId},
};
use journal::{
    Journal as _,
    memory::MemoryJournal,
    request::{Incoming, Reply},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::{
    audit::Dispatch,
    chance::{Chance, place},
    people::{People, Report},
    script::{Script, Workers},
    shop::{LATER, MAIL, SHOP},
    wire::Sent,
    world::Seen,
};

/// What a request says, as far as a worker looks at it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    execution_id: ExecutionId,
    step_id: StepId,
    skill: SkillKey,
    version: SkillVersion,
    action: ActionName,
    attempt: u32,
    idempotency_key: Digest,
    inputs: Value,
}

/// What a worker does about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Does it, and answers after so many milliseconds.
    Does(u64),
    /// Does it, and never says so.
    DoesInSilence,
    /// Neither does it nor answers.
    Ignores,
    FailsForNow,
    FailsForGood,
    /// Does it, and answers what nobody can read.
    Garbles,
    /// Does it, and answers what its schema does not allow.
    Misfits,
    /// Says that it will be done later, does it after so many milliseconds, and reports it.
    Accepts(u64),
    /// Says so, and reports that it was not done.
    AcceptsInVain(u64),
    /// Says so, and is never heard of again.
    Forgets,
    /// Does it and reports it before it has answered.
    ReportsFirst,
}

/// What a worker that remembers knows of a key.
#[derive(Debug, Clone)]
enum Known {
    AtIt,
    /// It has said that it will be done later.
    Accepted,
    Done(Value),
}

/// The header with which the call is completed later.
const TOKEN: &str = "Cp-Token";

/// Within which what was accepted is to be reported, in milliseconds.
const ACCEPTED_MS: u64 = 12_000;

/// Serves the shop, which does what it is asked each time, and the mail, which remembers keys.
pub async fn serve(memory: &MemoryJournal, script: &Script, people: &Arc<People>) {
    for (name, remembers) in [(SHOP, false), (MAIL, true)] {
        let subject = format!("cp.skill.sim.{name}");
        let Ok(mut requests) = memory.serve(&subject, name).await else {
            continue;
        };
        let worker = Arc::new(Worker {
            seed: script.seed,
            moody: script.workers == Workers::Moody,
            remembers,
            known: Mutex::new(BTreeMap::new()),
            seen: Arc::clone(&people.seen),
            people: Arc::clone(people),
        });
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                tokio::spawn(Arc::clone(&worker).answer(request));
            }
        });
    }
}

struct Worker {
    seed: u64,
    moody: bool,
    /// Whether it does what one key asks only once.
    remembers: bool,
    known: Mutex<BTreeMap<Digest, Known>>,
    seen: Arc<Seen>,
    people: Arc<People>,
}

impl Worker {
    async fn answer(self: Arc<Self>, request: Incoming) {
        let Ok(asked) = serde_json::from_slice::<Asked>(&request.payload) else {
            self.seen.unreadable(&request.subject);
            return;
        };
        let Sent { at, was_paused } = Sent::of(&request.headers);
        let dispatch = Dispatch {
            execution: asked.execution_id,
            step: &asked.step_id,
            key: asked.idempotency_key,
            attempt: asked.attempt,
            skill: &asked.skill,
            version: &asked.version,
            action: &asked.action,
            inputs: &asked.inputs,
            was_paused,
        };
        self.seen.dispatched(at, &dispatch);
        if self.remembers {
            let known = {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let found = known.get(&asked.idempotency_key).cloned();
                if found.is_none() {
                    known.insert(asked.idempotency_key, Known::AtIt);
                }
                found
            };
            match known {
                None => {}
                Some(Known::Accepted) => return respond(request, &accepted()).await,
                Some(Known::AtIt) => {
                    self.seen.in_progress(&asked.idempotency_key, asked.attempt);
                    return respond(request, &json!({ "inProgress": {} })).await;
                }
                Some(Known::Done(output)) => {
                    return respond(request, &json!({ "output": output })).await;
                }
            }
        }
        self.answers(&asked, request).await;
    }

    /// As it feels like.
    async fn answers(&self, asked: &Asked, request: Incoming) {
        let mood = self.mood(asked);
        self.seen.mood(&format!("{mood:?}"));
        match mood {
            Mood::Does(after) => {
                // Half of it before the effect, half of it before the answer.
                sleep(Duration::from_millis(after / 2)).await;
                let output = self.does(asked);
                sleep(Duration::from_millis(after - after / 2)).await;
                respond(request, &json!({ "output": output })).await;
            }
            Mood::DoesInSilence => {
                self.does(asked);
                drop_later(request).await;
            }
            Mood::Ignores => {
                self.forgets(asked);
                drop_later(request).await;
            }
            Mood::FailsForNow => {
                self.forgets(asked);
                respond(
                    request,
                    &json!({ "error": { "code": "BUSY", "retryable": true } }),
                )
                .await;
            }
            Mood::FailsForGood => {
                self.forgets(asked);
                respond(
                    request,
                    &json!({ "error": { "code": "NO_SUCH_THING", "retryable": false } }),
                )
                .await;
            }
            Mood::Garbles => {
                self.does(asked);
                respond_bytes(request, b"\x00not json".to_vec()).await;
            }
            Mood::Misfits => {
                self.does(asked);
                respond(request, &json!({ "output": { "ref": 17 } })).await;
            }
            Mood::Accepts(after) => {
                let token = self.accepts(asked, request).await;
                sleep(Duration::from_millis(after)).await;
                let output = self.does(asked);
                self.reports(asked, token, Some(output)).await;
            }
            Mood::AcceptsInVain(after) => {
                let token = self.accepts(asked, request).await;
                sleep(Duration::from_millis(after)).await;
                self.forgets(asked);
                self.reports(asked, token, None).await;
            }
            Mood::Forgets => {
                self.forgets(asked);
                respond(request, &accepted()).await;
            }
            Mood::ReportsFirst => {
                let token = token(&request);
                let output = self.does(asked);
                self.reports(asked, token, Some(output)).await;
                respond(request, &accepted()).await;
            }
        }
    }

    /// Answers with the token that the report needs.
    async fn accepts(&self, asked: &Asked, request: Incoming) -> String {
        if self.remembers {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(asked.idempotency_key, Known::Accepted);
        }
        let token = token(&request);
        respond(request, &accepted()).await;
        token
    }

    async fn reports(&self, asked: &Asked, token: String, output: Option<Value>) {
        let report = Report {
            execution: asked.execution_id,
            step: asked.step_id.clone(),
            token,
            output,
            retryable: place(asked.step_id.as_str()).is_multiple_of(2),
        };
        let asking = self.seen.asking();
        let via = 1 + u8::from(asked.attempt.is_multiple_of(2));
        self.people.report(&report, via).await;
        // As one does who did not hear the answer.
        self.people.report(&report, 3 - via).await;
        drop(asking);
    }

    fn does(&self, asked: &Asked) -> Value {
        self.seen.effect(
            asked.idempotency_key,
            asked.attempt,
            asked.execution_id,
            &asked.step_id,
        );
        let output = output(asked);
        if self.remembers {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(asked.idempotency_key, Known::Done(output.clone()));
        }
        output
    }

    fn forgets(&self, asked: &Asked) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&asked.idempotency_key);
    }

    fn mood(&self, asked: &Asked) -> Mood {
        if !self.moody {
            return if asked.step_id.as_str() == LATER {
                Mood::Accepts(5000)
            } else {
                Mood::Does(4)
            };
        }
        // By what is asked, so that it stays the same while a history is made shorter.
        let what = place(&asked.inputs.to_string()) ^ place(asked.step_id.as_str());
        let mut chance = Chance::at(self.seed, [place("mood"), what, u64::from(asked.attempt)]);
        if asked.step_id.as_str() == "flaky" && chance.percent(50) {
            return Mood::FailsForNow;
        }
        if asked.step_id.as_str() == LATER {
            return match chance.below(10) {
                0..6 => Mood::Accepts(chance.pick(&[0, 300, 4000, 11_900, 14_000], 300)),
                6..8 => Mood::AcceptsInVain(chance.pick(&[0, 300, 4000], 300)),
                8 => Mood::Forgets,
                _ => Mood::ReportsFirst,
            };
        }
        match chance.below(100) {
            0..56 => Mood::Does(chance.between(0, 40)),
            56..68 => Mood::Does(chance.between(200, 2600)),
            68 => Mood::Accepts(chance.between(200, 9000)),
            69 => Mood::AcceptsInVain(chance.between(200, 2600)),
            70..78 => Mood::Does(chance.between(2800, 7000)),
            78..81 => Mood::DoesInSilence,
            81..84 => Mood::Ignores,
            84..94 => Mood::FailsForNow,
            94..96 => Mood::FailsForGood,
            96..98 => Mood::Garbles,
            _ => Mood::Misfits,
        }
    }
}

fn accepted() -> Value {
    json!({ "accepted": { "expiresAfterMs": ACCEPTED_MS } })
}

fn token(request: &Incoming) -> String {
    let found = request.headers.iter().find(|(name, _)| name == TOKEN);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn output(asked: &Asked) -> Value {
    match asked.action.as_str() {
        "look" => {
            let text = asked.inputs.get("text").cloned().unwrap_or(Value::Null);
            let minor = match place(&text.to_string()) % 3 {
                0 => 400,
                1 => 9_000,
                _ => 80_000,
            };
            json!({ "text": text, "paid": { "minor": minor, "currency": "EUR" } })
        }
        _ => json!({ "ref": format!("{}-{}", asked.step_id, asked.attempt) }),
    }
}

async fn respond(request: Incoming, answer: &Value) {
    respond_bytes(request, answer.to_string().into_bytes()).await;
}

async fn respond_bytes(request: Incoming, bytes: Vec<u8>) {
    // Who asked may be gone.
    let _ = request
        .respond(Reply {
            headers: Vec::new(),
            payload: bytes.into(),
        })
        .await;
}

/// Dropped at once it would look like an answer.
async fn drop_later(request: Incoming) {
    sleep(Duration::from_mins(1)).await;
    drop(request);
}

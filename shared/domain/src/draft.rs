//! A draft as someone wrote it: read leniently enough that all its faults are found at once.

use std::collections::BTreeMap;

use contracts::{
    ids::{ActionName, SkillKey, SkillVersion, StepId},
    plan::{Finding, RetryPolicy},
};
use serde_json::{Map, Value};

use crate::schema::join;

/// The most steps a plan may have: each has a verdict and facts in one event.
pub const STEPS_MAX: usize = 256;
/// The most attempts, and the longest time in milliseconds, that a draft may ask for.
pub const ATTEMPTS_MAX: u32 = 100;
pub const TIMEOUT_MS_MAX: u64 = 15 * 60 * 1000;
pub const BACKOFF_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// A step whose form is right; whether what it names exists is the compiler's question.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftStep {
    /// JSON pointer to it.
    pub path: String,
    pub id: StepId,
    /// Nothing where it cannot be read, so that the steps that need this one are still checked.
    pub uses: Option<Uses>,
    /// With the pointer to each.
    pub needs: Vec<(String, StepId)>,
    pub with: Value,
    pub retry: Option<RetryPolicy>,
    pub timeout_ms: Option<u64>,
}

/// `skill.key/action`, or `skill.key@version/action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses {
    pub key: SkillKey,
    pub version: Option<SkillVersion>,
    pub action: ActionName,
}

/// The most findings that are told of one draft, and the most characters of a path or a message:
/// they are stored and shown, and a draft can have as many faults as it has bytes.
pub const FINDINGS_MAX: usize = 200;
const TEXT_CHARS_MAX: usize = 500;

/// Collects findings under a path, in the order in which they are met, which is the draft's.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(&mut self, path: impl Into<String>, code: &str, message: impl Into<String>) {
        if self.0.len() > FINDINGS_MAX {
            return;
        }
        if self.0.len() == FINDINGS_MAX {
            self.0.push(Finding {
                path: String::new(),
                code: "TOO_MANY_FINDINGS".to_owned(),
                message: format!("only the first {FINDINGS_MAX} faults are told"),
            });
            return;
        }
        self.0.push(Finding {
            path: short(path.into()),
            code: code.to_owned(),
            message: short(message.into()),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorted, each once.
    pub fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

fn short(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Members of a step that are part of the language and not yet of this build: refused, never
/// ignored.
const LATER: [&str; 3] = ["when", "compensate", "forEach"];

/// The steps whose form is right; what is wrong with the others is in `findings`.
pub fn read(draft: &Value, findings: &mut Findings) -> Vec<DraftStep> {
    let Value::Object(members) = draft else {
        findings.add("", "DRAFT_INVALID", "a draft is an object with `steps`");
        return Vec::new();
    };
    for key in members.keys().filter(|key| *key != "steps") {
        findings.add(
            join("", key),
            "UNKNOWN_MEMBER",
            format!("`{key}` is not a member of a draft: it has `steps` only"),
        );
    }
    let steps = match members.get("steps") {
        Some(Value::Array(steps)) if !steps.is_empty() => steps,
        _ => {
            findings.add(
                "/steps",
                "STEPS_MISSING",
                "a draft has at least one step in `steps`",
            );
            return Vec::new();
        }
    };
    if steps.len() > STEPS_MAX {
        findings.add(
            "/steps",
            "TOO_MANY_STEPS",
            format!("{} steps; at most {STEPS_MAX} are taken", steps.len()),
        );
        return Vec::new();
    }
    let read = steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| read_step(&format!("/steps/{index}"), step, findings));
    let read: Vec<DraftStep> = read.collect();
    refuse_duplicates(&read, findings);
    read
}

fn refuse_duplicates(steps: &[DraftStep], findings: &mut Findings) {
    let mut first: BTreeMap<&StepId, &str> = BTreeMap::new();
    for step in steps {
        if let Some(earlier) = first.get(&step.id) {
            findings.add(
                format!("{}/id", step.path),
                "STEP_ID_DUPLICATE",
                format!(
                    "`{}` is also the id of {earlier}: give each step its own",
                    step.id
                ),
            );
        } else {
            first.insert(&step.id, &step.path);
        }
    }
}

fn read_step(path: &str, step: &Value, findings: &mut Findings) -> Option<DraftStep> {
    let Value::Object(members) = step else {
        findings.add(
            path,
            "STEP_INVALID",
            "a step is an object with `id` and `uses`",
        );
        return None;
    };
    for key in members.keys() {
        match key.as_str() {
            "id" | "uses" | "needs" | "with" | "retry" | "timeoutMs" => {}
            later if LATER.contains(&later) => findings.add(
                join(path, key),
                "NOT_SUPPORTED_YET",
                format!("`{key}` is not supported by this version: leave it out"),
            ),
            _ => findings.add(
                join(path, key),
                "UNKNOWN_MEMBER",
                format!("`{key}` is not a member of a step: it has `id`, `uses`, `needs`, `with`, `retry`, `timeoutMs`"),
            ),
        }
    }
    let id = read_id(path, members, findings);
    let uses = read_uses(path, members, findings);
    let needs = read_needs(path, members, findings);
    let retry = read_retry(path, members, findings);
    let timeout_ms = read_timeout(path, members, findings);
    let with = members
        .get("with")
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::new()));
    Some(DraftStep {
        path: path.to_owned(),
        id: id?,
        uses,
        needs,
        with,
        retry,
        timeout_ms,
    })
}

fn read_id(path: &str, step: &Map<String, Value>, findings: &mut Findings) -> Option<StepId> {
    let path = format!("{path}/id");
    let Some(Value::String(text)) = step.get("id") else {
        findings.add(
            path,
            "STEP_ID_INVALID",
            "each step has an `id` of letters, digits, `_` and `-`",
        );
        return None;
    };
    match text.parse() {
        Ok(id) => Some(id),
        Err(error) => {
            findings.add(path, "STEP_ID_INVALID", format!("{error}"));
            None
        }
    }
}

fn read_uses(path: &str, step: &Map<String, Value>, findings: &mut Findings) -> Option<Uses> {
    let path = format!("{path}/uses");
    let parsed = step.get("uses").and_then(Value::as_str).and_then(|text| {
        let (skill, action) = text.rsplit_once('/')?;
        let (key, version) = match skill.split_once('@') {
            Some((key, version)) => (key, Some(version.parse().ok()?)),
            None => (skill, None),
        };
        Some(Uses {
            key: key.parse().ok()?,
            version,
            action: action.parse().ok()?,
        })
    });
    if parsed.is_none() {
        findings.add(
            path,
            "USES_INVALID",
            "`uses` names a skill and its action: `skill.key/action` or `skill.key@1.0.0/action`",
        );
    }
    parsed
}

fn read_needs(
    path: &str,
    step: &Map<String, Value>,
    findings: &mut Findings,
) -> Vec<(String, StepId)> {
    let path = format!("{path}/needs");
    let items = match step.get("needs") {
        None => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => {
            findings.add(path, "NEEDS_INVALID", "`needs` is a list of step ids");
            return Vec::new();
        }
    };
    let mut needs = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}/{index}");
        match item.as_str().map(str::parse) {
            Some(Ok(id)) => needs.push((path, id)),
            Some(Err(_)) | None => findings.add(path, "NEEDS_INVALID", "not a step id"),
        }
    }
    needs
}

fn read_retry(
    path: &str,
    step: &Map<String, Value>,
    findings: &mut Findings,
) -> Option<RetryPolicy> {
    let value = step.get("retry")?;
    let path = format!("{path}/retry");
    let policy = match serde_json::from_value::<RetryPolicy>(value.clone()) {
        Ok(policy) => policy,
        Err(error) => {
            findings.add(
                path,
                "RETRY_INVALID",
                format!("`retry` has `maxAttempts`, `backoffMs` and `backoffMsMax`, whole numbers: {error}"),
            );
            return None;
        }
    };
    let fits = (1..=ATTEMPTS_MAX).contains(&policy.max_attempts)
        && policy.backoff_ms <= policy.backoff_ms_max
        && policy.backoff_ms_max <= BACKOFF_MS_MAX;
    if !fits {
        findings.add(
            path,
            "RETRY_INVALID",
            format!("`maxAttempts` is 1 to {ATTEMPTS_MAX}, `backoffMs` at most `backoffMsMax`, and that at most {BACKOFF_MS_MAX}"),
        );
        return None;
    }
    Some(policy)
}

fn read_timeout(path: &str, step: &Map<String, Value>, findings: &mut Findings) -> Option<u64> {
    let value = step.get("timeoutMs")?;
    let timeout = value
        .as_u64()
        .filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms));
    if timeout.is_none() {
        findings.add(
            format!("{path}/timeoutMs"),
            "TIMEOUT_INVALID",
            format!("`timeoutMs` is a whole number from 1 to {TIMEOUT_MS_MAX}"),
        );
    }
    timeout
}

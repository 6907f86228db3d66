//! What the manifest itself says.

use std::collections::BTreeSet;

use contracts::manifest::{ActionDefinition, ArtifactFile, Playbook, SkillManifest};
use serde_json::Value;

use super::Request;
use crate::{
    canonical,
    entry_point::{self, is_reserved},
    fault::Fault,
    schema,
};

const SCHEMA_VERSION: &str = "1.0.0";

/// Long enough for a URL with a commit in it; these texts are compared and shown, never read.
const TEXT_CHARS_MAX: usize = 512;

/// A shorter phrase occurs by chance in texts that mean something else.
const PHRASE_CHARS_MIN: usize = 3;

pub(super) fn schema_version(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    if manifest.schema_version != SCHEMA_VERSION {
        faults.push(Fault::SchemaVersion(
            manifest.schema_version.chars().take(40).collect(),
        ));
    }
}

pub(super) fn identity(request: &Request<'_>, faults: &mut Vec<Fault>) {
    let skill = &request.manifest.skill;
    for (member, asked, found) in [
        ("skill.key", request.skill_key.as_str(), &skill.key),
        ("skill.version", request.version.as_str(), &skill.version),
    ] {
        if asked != found {
            faults.push(Fault::NotAsRequested {
                member,
                asked: asked.to_owned(),
                found: found.chars().take(200).collect(),
            });
        }
    }
}

pub(super) fn reserved_key(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    if is_reserved(&manifest.skill.key) {
        faults.push(Fault::ReservedKey(manifest.skill.key.clone()));
    }
}

pub(super) fn entry_point(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    if let Err(error) = entry_point::check(&manifest.skill.entry_point, &manifest.skill.key) {
        faults.push(error.into());
    }
}

pub(super) fn publisher(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    text("publisher.id", &manifest.publisher.id, faults);
    text(
        "publisher.provenance",
        &manifest.publisher.provenance,
        faults,
    );
}

pub(super) fn artifact(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    text("artifact.digest", &manifest.artifact.digest, faults);
    let mut seen = BTreeSet::new();
    for file in manifest.artifact.files.given().into_iter().flatten() {
        if let Some(problem) = file_problem(file, &mut seen) {
            faults.push(Fault::ArtifactFile {
                path: file.path.chars().take(200).collect(),
                problem,
            });
        }
    }
}

fn file_problem<'a>(file: &'a ArtifactFile, seen: &mut BTreeSet<&'a str>) -> Option<&'static str> {
    let inside = |part: &str| !matches!(part, "" | "." | "..");
    if !file.path.split('/').all(inside) || file.path.contains(['\\', '\0']) {
        return Some("its path must stay inside the artifact, without `..` or a leading `/`");
    }
    if file.digest.is_empty() {
        return Some("its digest is empty");
    }
    if file.size < 0 {
        return Some("its size is negative");
    }
    (!seen.insert(&file.path)).then_some("it is listed twice")
}

pub(super) fn canonical_form(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    if let Err(error) = canonical::canonical_bytes(manifest) {
        faults.push(error.into());
    }
}

pub(super) fn artifact_digest(request: &Request<'_>, faults: &mut Vec<Fault>) {
    let signed = &request.manifest.artifact.digest;
    if request.artifact_digest != signed {
        faults.push(Fault::ArtifactDigest {
            found: request.artifact_digest.chars().take(200).collect(),
            signed: signed.chars().take(200).collect(),
        });
    }
}

pub(super) fn metadata(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    match manifest.skill_metadata() {
        Err(error) => faults.push(Fault::Metadata(
            error.to_string().chars().take(300).collect(),
        )),
        Ok(metadata) => {
            for (name, definition) in &metadata.actions {
                action(&format!("metadata/actions/{name}"), definition, faults);
            }
            for (name, definition) in &metadata.playbooks {
                text(&format!("metadata/playbooks/{name}"), name, faults);
                playbook(&format!("metadata/playbooks/{name}"), definition, faults);
            }
        }
    }
}

fn action(path: &str, action: &ActionDefinition, faults: &mut Vec<Fault>) {
    json_schema(format!("{path}/input"), &action.input, faults);
    json_schema(format!("{path}/output"), &action.output, faults);
    if let Some(amount) = &action.amount {
        json_pointer(format!("{path}/amount/minor"), &amount.minor, faults);
        json_pointer(format!("{path}/amount/currency"), &amount.currency, faults);
    }
    let retry = action.retry.unwrap_or_default();
    for (member, holds, expected) in [
        (
            "timeoutMs",
            action.timeout_ms != Some(0),
            "at least 1 millisecond",
        ),
        (
            "retry/maxAttempts",
            retry.max_attempts > 0,
            "at least 1, which means no retry",
        ),
        (
            "retry/backoffMsMax",
            retry.backoff_ms_max >= retry.backoff_ms,
            "at least `backoffMs`",
        ),
    ] {
        if !holds {
            faults.push(Fault::Limit {
                path: format!("{path}/{member}"),
                expected,
            });
        }
    }
}

fn playbook(path: &str, playbook: &Playbook, faults: &mut Vec<Fault>) {
    json_schema(format!("{path}/params"), &playbook.params, faults);
    for (index, phrase) in playbook.phrases.iter().enumerate() {
        if phrase.chars().filter(|c| !c.is_whitespace()).count() < PHRASE_CHARS_MIN {
            faults.push(Fault::Phrase {
                path: format!("{path}/phrases/{index}"),
                min: PHRASE_CHARS_MIN,
            });
        }
    }
    let steps = playbook.draft.get("steps").and_then(Value::as_array);
    if steps.is_none_or(Vec::is_empty) {
        faults.push(Fault::PlaybookDraft {
            path: format!("{path}/draft"),
        });
    }
}

fn json_schema(path: String, schema: &Value, faults: &mut Vec<Fault>) {
    if let Err(source) = schema::compile(schema) {
        faults.push(Fault::Schema { path, source });
    }
}

fn json_pointer(path: String, pointer: &str, faults: &mut Vec<Fault>) {
    if !is_json_pointer(pointer) {
        faults.push(Fault::Pointer {
            path,
            pointer: pointer.chars().take(200).collect(),
        });
    }
}

/// RFC 6901, section 3.
fn is_json_pointer(text: &str) -> bool {
    let escapes = || {
        text.split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']))
    };
    (text.is_empty() || text.starts_with('/')) && escapes()
}

fn text(member: &str, value: &str, faults: &mut Vec<Fault>) {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control();
    if value.is_empty() || value.chars().count() > TEXT_CHARS_MAX || !value.chars().all(allowed) {
        faults.push(Fault::Text {
            member: member.chars().take(200).collect(),
            max: TEXT_CHARS_MAX,
        });
    }
}

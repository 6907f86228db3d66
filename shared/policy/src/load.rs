//! From a bundle to an engine, with every fault at once.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    CedarSchemaError, Entities, Policy, PolicyId, PolicySet, Schema, SchemaError, ValidationError,
    ValidationMode, Validator,
};
use contracts::{
    bundle::{Bundle, BundleFinding},
    canonical::Digest,
    facts::{Actor, ActorType, Amount, FACTS_VERSION, Facts, PlanFlow, StepFacts, TextSignal},
    ids::Pin,
    manifest::{DeclaredRisk, Effect},
    plan::Mode,
};
use miette::Diagnostic;

use crate::{
    annotations::Annotations,
    dependence,
    engine::{Engine, LoadedPolicy},
    fault::{Fault, policy_path},
    nesting,
    request::{Inputs, Question, Vocabulary},
    shipped,
    slices::Slices,
    trust,
};

/// Policies are walked one by one where they are not sliced apart.
const POLICIES_MAX: usize = 1_000;

/// All policy texts together: an order of magnitude above what a person reviews.
const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// The largest integer that every reader of JSON takes for the same.
const INTEGER_MAX: i64 = 1 << 53;

/// A policy with the place it was found at.
struct Found<'b> {
    file: &'b str,
    /// `line 3: `.
    at: String,
    /// What it is called; its place where it has no usable `@id`.
    id: String,
    policy: Policy,
    annotations: Annotations,
}

pub fn engine(bundle: &Bundle) -> Result<Engine, Vec<BundleFinding>> {
    // What is too large is not looked into.
    if let Some(finding) = size(bundle) {
        return Err(vec![finding]);
    }
    let mut findings = thresholds(bundle);
    findings.extend(trust::findings(&bundle.trust));
    let schema = schema(bundle)
        .map_err(|finding| findings.push(finding))
        .ok();
    let found = policies(bundle, &mut findings);
    if let Some(schema) = &schema {
        findings.extend(validation(&found, bundle, schema));
    }
    let (Some(schema), true) = (schema, findings.is_empty()) else {
        return Err(in_order(findings));
    };
    assemble(bundle, found, &schema).map_err(|fault| vec![fault.at("/schema")])
}

fn in_order(mut findings: Vec<BundleFinding>) -> Vec<BundleFinding> {
    findings.sort();
    findings.dedup();
    findings
}

fn size(bundle: &Bundle) -> Option<BundleFinding> {
    let bytes = bundle.policies.values().map(String::len).sum();
    let max = POLICY_BYTES_MAX;
    (bytes > max).then(|| Fault::TooLarge { bytes, max }.at("/policies"))
}

fn thresholds(bundle: &Bundle) -> Vec<BundleFinding> {
    let mut findings = Vec::new();
    for (name, value) in &bundle.thresholds {
        let path = format!("/thresholds/{}", name.replace('~', "~0").replace('/', "~1"));
        if !is_identifier(name) {
            let name = name.clone();
            findings.push(Fault::ThresholdName { name }.at(&*path));
        }
        if !(-INTEGER_MAX..=INTEGER_MAX).contains(value) {
            findings.push(Fault::ThresholdRange { value: *value }.at(path));
        }
    }
    findings
}

fn is_identifier(name: &str) -> bool {
    const KEYWORDS: [&str; 10] = [
        "true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar",
    ];
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !KEYWORDS.contains(&name)
}

fn schema(bundle: &Bundle) -> Result<Schema, BundleFinding> {
    let text = if bundle.schema.is_empty() {
        shipped::SCHEMA
    } else {
        &bundle.schema
    };
    if let Err(error) = nesting::of_schema(text) {
        let error = error.to_string();
        return Err(Fault::Schema { error }.at("/schema"));
    }
    let usable = bundle
        .thresholds
        .iter()
        .filter(|(name, _)| is_identifier(name))
        .map(|(name, value)| (name.clone(), *value))
        .collect();
    let declared = shipped::thresholds_schema(&usable);
    match Schema::from_cedarschema_str(&format!("{text}\n{declared}")) {
        // Warnings are about names that shadow others, such as those of Cedar's own types.
        Ok((schema, warnings)) => match warnings.map(|warning| warning.to_string()).min() {
            None => Ok(schema),
            Some(error) => Err(Fault::Schema { error }.at("/schema")),
        },
        Err(error) => {
            let error = schema_error(&error, text);
            Err(Fault::Schema { error }.at("/schema"))
        }
    }
}

/// Findings are recorded, so they come out the same each time. Cedar names what it meets first in
/// a hash map: what it names is sorted, or left out where it is one of several.
fn schema_error(error: &CedarSchemaError, text: &str) -> String {
    match error {
        CedarSchemaError::Schema(
            SchemaError::TypeNotDefined(_)
            | SchemaError::ActionNotDefined(_)
            | SchemaError::UndeclaredEntityTypes(_),
        ) => {
            let said = error.to_string();
            let Some((what, names)) = said.split_once(": ") else {
                return said;
            };
            let mut names: Vec<&str> = names.split(", ").collect();
            names.sort_unstable();
            format!("{what}: {}", names.join(", "))
        }
        CedarSchemaError::Schema(_) => {
            "a declaration is repeated, goes in a circle, takes a name of Cedar's own, or has a type \
             that may not stand there"
                .to_owned()
        }
        CedarSchemaError::Parse(_) | CedarSchemaError::Io(_) | _ => {
            format!("{}{error}", place(error, text))
        }
    }
}

fn policies<'b>(bundle: &'b Bundle, findings: &mut Vec<BundleFinding>) -> Vec<Found<'b>> {
    let mut all = Vec::new();
    let mut ids: BTreeMap<String, &str> = BTreeMap::new();
    for (file, text) in &bundle.policies {
        let path = policy_path(file);
        if let Err(error) = nesting::of_policies(text) {
            let (at, error) = (String::new(), error.to_string());
            findings.push(Fault::Syntax { at, error }.at(&*path));
            continue;
        }
        let set = match text.parse::<PolicySet>() {
            Ok(set) => set,
            Err(errors) => {
                findings.extend(errors.iter().map(|error| {
                    let at = place(error, text);
                    let error = with_help(error);
                    Fault::Syntax { at, error }.at(&*path)
                }));
                continue;
            }
        };
        for template in set.templates() {
            let policy = template
                .annotation("id")
                .map_or_else(|| template.id().to_string(), str::to_owned);
            let at = String::new();
            findings.push(Fault::Template { at, policy }.at(&*path));
        }
        let mut searched = 0;
        for policy in in_text_order(&set) {
            let at = place_of(policy, text, &mut searched);
            let id = match id(policy, &at, file, &ids) {
                Ok(id) => {
                    ids.insert(id.clone(), file);
                    id
                }
                Err(fault) => {
                    findings.push(fault.at(&*path));
                    format!("{file}#{}", policy.id())
                }
            };
            let (annotations, faults) = Annotations::parse(policy, &id, &at);
            findings.extend(faults.iter().map(|fault| fault.at(&*path)));
            all.push(Found {
                file,
                at,
                policy: policy.new_id(PolicyId::new(&id)),
                id,
                annotations,
            });
        }
    }
    if all.len() > POLICIES_MAX {
        let (count, max) = (all.len(), POLICIES_MAX);
        findings.push(Fault::TooManyPolicies { count, max }.at("/policies"));
    }
    all
}

/// Cedar numbers the policies of a text.
fn in_text_order(set: &PolicySet) -> Vec<&Policy> {
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| {
        let id: &str = policy.id().as_ref();
        id.trim_start_matches("policy").parse::<usize>().ok()
    });
    policies
}

fn id(
    policy: &Policy,
    at: &str,
    file: &str,
    before: &BTreeMap<String, &str>,
) -> Result<String, Fault> {
    let at = at.to_owned();
    let Some(id) = policy.annotation("id") else {
        return Err(Fault::IdMissing { at });
    };
    let well_formed = (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !well_formed {
        let id = id.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(Fault::IdMalformed { at, id });
    }
    match before.get(id) {
        None => Ok(id.to_owned()),
        Some(other) => Err(Fault::IdDuplicate {
            at,
            id: id.to_owned(),
            file: if *other == file {
                "this file".to_owned()
            } else {
                format!("`{other}`")
            },
        }),
    }
}

fn validation(found: &[Found], bundle: &Bundle, schema: &Schema) -> Vec<BundleFinding> {
    let set = match PolicySet::from_policies(found.iter().map(|found| found.policy.clone())) {
        Ok(set) => set,
        Err(error) => {
            let (at, error) = (String::new(), error.to_string());
            return vec![Fault::Validation { at, error }.at("/policies")];
        }
    };
    let by_id: BTreeMap<&str, &Found> = found
        .iter()
        .map(|found| (found.id.as_str(), found))
        .collect();
    let located = |id: &PolicyId, fault: &dyn Diagnostic| {
        let id: &str = id.as_ref();
        let Some(found) = by_id.get(id) else {
            return ("/policies".to_owned(), String::new());
        };
        let text = bundle.policies.get(found.file).map_or("", String::as_str);
        let place = place(fault, text);
        let at = if place.is_empty() {
            found.at.clone()
        } else {
            place
        };
        (policy_path(found.file), at)
    };
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let invalid: BTreeSet<&PolicyId> = result
        .validation_errors()
        .map(ValidationError::policy_id)
        .collect();
    let mut findings: Vec<BundleFinding> = result
        .validation_errors()
        .map(|error| {
            let (path, at) = located(error.policy_id(), error);
            let error = with_help(error);
            Fault::Validation { at, error }.at(path)
        })
        .collect();
    // What an invalid policy seems to do says nothing more.
    let misleading = result
        .validation_warnings()
        .filter(|warning| !invalid.contains(warning.policy_id()));
    findings.extend(misleading.map(|warning| {
        let (path, at) = located(warning.policy_id(), warning);
        let warning = with_help(warning);
        Fault::Misleading { at, warning }.at(path)
    }));
    findings
}

/// `line 3: `, or nothing where the diagnostic has no place.
fn place(diagnostic: &dyn Diagnostic, text: &str) -> String {
    diagnostic
        .labels()
        .and_then(|mut labels| labels.next())
        .map(|label| line(text, label.offset()))
        .unwrap_or_default()
}

/// Where a policy stands; `searched` is where the one before it ended.
fn place_of(policy: &Policy, text: &str, searched: &mut usize) -> String {
    let Some(policy) = policy.to_cedar() else {
        return String::new();
    };
    match text.get(*searched..).and_then(|rest| rest.find(&policy)) {
        Some(offset) => {
            let at = line(text, *searched + offset);
            *searched += offset + policy.len();
            at
        }
        None => String::new(),
    }
}

fn line(text: &str, offset: usize) -> String {
    let before = text.as_bytes().iter().take(offset);
    let number = before.filter(|b| **b == b'\n').count() + 1;
    format!("line {number}: ")
}

/// Without Cedar's guesses at what was meant, which are not the same each time.
fn with_help(diagnostic: &dyn Diagnostic) -> String {
    match diagnostic.help().map(|help| help.to_string()) {
        Some(help) if !help.starts_with("did you mean") => format!("{diagnostic}; {help}"),
        Some(_) | None => diagnostic.to_string(),
    }
}

fn assemble(bundle: &Bundle, found: Vec<Found>, schema: &Schema) -> Result<Engine, Fault> {
    let vocabulary = Vocabulary::new().map_err(|error| unfit(&error))?;
    probe(&vocabulary, bundle, schema)?;
    let actions: Entities = schema.action_entities().map_err(|error| unfit(&error))?;
    let slices = |question| {
        let policies = found.iter().map(|found| &found.policy);
        Slices::new(policies, question, &vocabulary, &actions).map_err(|error| unfit(&error))
    };
    let autonomous = slices(Question::RunAutonomous)?;
    let assisted = slices(Question::RunAssisted)?;
    Ok(Engine {
        vocabulary: vocabulary.with_actions(actions),
        thresholds: bundle.thresholds.clone(),
        autonomous,
        assisted,
        publishers: bundle
            .trust
            .publishers
            .iter()
            .map(|publisher| publisher.id.clone())
            .collect(),
        policies: found
            .into_iter()
            .map(|found| {
                let policy = LoadedPolicy {
                    file: found.file.to_owned(),
                    text: found.policy.to_cedar().unwrap_or_default(),
                    effect: found.policy.effect(),
                    annotations: found.annotations,
                    reads: dependence::of(&found.policy),
                };
                (found.id, policy)
            })
            .collect(),
    })
}

/// Requests are not checked against the schema one by one: they all have the shape of these.
fn probe(vocabulary: &Vocabulary, bundle: &Bundle, schema: &Schema) -> Result<(), Fault> {
    let pin: Pin = format!("probe@1.0.0#{}", Digest::of(b"probe"))
        .parse()
        .map_err(|error| unfit(&error))?;
    for kind in [ActorType::User, ActorType::Service, ActorType::Agent] {
        for full in [false, true] {
            let (facts, step) = sample(kind, full, &pin).map_err(|error| unfit(&error))?;
            let situation = vocabulary
                .situation(&facts, &step, &bundle.thresholds, Some(schema))
                .map_err(|error| unfit(&error))?;
            for question in [Question::RunAutonomous, Question::RunAssisted] {
                vocabulary
                    .context(&situation, &Inputs::of(&step))
                    .and_then(|context| {
                        vocabulary.request(&situation, question, context, Some(schema))
                    })
                    .map_err(|error| unfit(&error))?;
            }
        }
    }
    Ok(())
}

fn unfit(error: &dyn std::fmt::Display) -> Fault {
    Fault::SchemaUnsuitable {
        error: error.to_string(),
    }
}

/// Facts with as little or as much in them as there can be.
fn sample(
    kind: ActorType,
    full: bool,
    pin: &Pin,
) -> Result<(Facts, StepFacts), contracts::ids::InvalidId> {
    let some = |text: &str| BTreeSet::from_iter(full.then(|| text.to_owned()));
    let signals: BTreeSet<TextSignal> = if full {
        [
            TextSignal::InstructionOverride,
            TextSignal::SecretRequest,
            TextSignal::ControlBypass,
            TextSignal::HiddenText,
        ]
        .into()
    } else {
        BTreeSet::new()
    };
    let facts = Facts {
        version: FACTS_VERSION,
        actor: Actor {
            via: None,
            kind,
            id: "probe".parse()?,
            grants: some("probe"),
        },
        channel: full.then(|| "probe".to_owned()),
        mode: Mode::Autonomous,
        signals: signals.clone(),
        flow: PlanFlow::default(),
        steps: BTreeMap::new(),
    };
    let step = StepFacts {
        uses: pin.clone(),
        action: "probe".parse()?,
        publisher: "probe".to_owned(),
        effect: Effect::Read,
        declared_risk: DeclaredRisk::Low,
        labels: some("probe"),
        uses_secrets: full,
        inputs_known: true,
        amount: full.then(|| Amount {
            minor: 1,
            currency: "EUR".to_owned(),
        }),
        signals,
    };
    Ok((facts, step))
}

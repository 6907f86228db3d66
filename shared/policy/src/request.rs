//! Facts as Cedar sees them: who asks, of which action of which skill, in which context.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, Request,
    RestrictedExpression as Value, Schema,
};
use contracts::{
    facts::{Actor, ActorType, Facts, PlanFlow, StepFacts, TextSignal},
    ids::{ActionName, SkillKey},
    manifest::{DeclaredRisk, Effect},
};

/// The two questions that are asked of every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    RunAutonomous,
    RunAssisted,
}

/// A request that cannot be put, because the bundle's schema or the facts do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the question cannot be put: {0}")]
pub struct Unaskable(String);

impl Unaskable {
    pub fn new(error: &dyn std::error::Error) -> Self {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            said = format!("{said}: {error}");
            source = error.source();
        }
        Self(said)
    }
}

/// The names of everything a request is made of, parsed once.
#[derive(Debug)]
pub struct Vocabulary {
    user: EntityTypeName,
    service: EntityTypeName,
    agent: EntityTypeName,
    skill: EntityTypeName,
    skill_action: EntityTypeName,
    effect: EntityTypeName,
    risk: EntityTypeName,
    signal: EntityTypeName,
    mode: EntityTypeName,
    run_autonomous: EntityUid,
    run_assisted: EntityUid,
    /// With their groups, so that `action in Action::"run"` holds.
    actions: Vec<Entity>,
}

/// One step, ready to be asked about.
pub struct Situation {
    principal: EntityUid,
    resource: EntityUid,
    entities: Entities,
    /// The context's members but those about inputs.
    settled: Vec<(String, Value)>,
}

/// The part of the context that may change when inputs become known.
pub struct Inputs<'a> {
    pub amount: Option<(i64, &'a str)>,
    pub signals: BTreeSet<TextSignal>,
    pub uses_secrets: bool,
}

impl<'a> Inputs<'a> {
    pub fn of(step: &'a StepFacts) -> Self {
        Self {
            amount: step
                .amount
                .as_ref()
                .map(|amount| (amount.minor, amount.currency.as_str())),
            signals: step.signals.clone(),
            uses_secrets: step.uses_secrets,
        }
    }
}

/// The id of the resource.
pub fn resource_id(skill: &SkillKey, action: &ActionName) -> String {
    format!("{skill}/{action}")
}

impl Vocabulary {
    pub fn new() -> Result<Self, Unaskable> {
        Self::parse().map_err(|error| Unaskable::new(&*error))
    }

    fn parse() -> Result<Self, Box<ParseErrors>> {
        let action: EntityTypeName = "Action".parse()?;
        let uid = |id: &str| EntityUid::from_type_name_and_id(action.clone(), EntityId::new(id));
        Ok(Self {
            user: "User".parse()?,
            service: "Service".parse()?,
            agent: "Agent".parse()?,
            skill: "Skill".parse()?,
            skill_action: "SkillAction".parse()?,
            effect: "Effect".parse()?,
            risk: "Risk".parse()?,
            signal: "Signal".parse()?,
            mode: "Mode".parse()?,
            run_autonomous: uid("runAutonomous"),
            run_assisted: uid("runAssisted"),
            actions: Vec::new(),
        })
    }

    /// Takes in the schema's hierarchy of actions.
    #[must_use]
    pub fn with_actions(self, actions: Entities) -> Self {
        Self {
            actions: actions.into_iter().collect(),
            ..self
        }
    }

    pub fn action(&self, question: Question) -> &EntityUid {
        match question {
            Question::RunAutonomous => &self.run_autonomous,
            Question::RunAssisted => &self.run_assisted,
        }
    }

    pub fn is_skill(&self, uid: &EntityUid) -> bool {
        *uid.type_name() == self.skill
    }

    pub fn is_skill_action(&self, uid: &EntityUid) -> bool {
        *uid.type_name() == self.skill_action
    }

    pub fn situation(
        &self,
        facts: &Facts,
        step: &StepFacts,
        thresholds: &BTreeMap<String, i64>,
        schema: Option<&Schema>,
    ) -> Result<Situation, Unaskable> {
        let (principal, requester) = self.requester(&facts.actor)?;
        let (resource, skill_action) = self.skill_action(step)?;
        let skill = Entity::with_uid(uid(&self.skill, step.uses.key.as_str()));
        // Cedar adds the actions of a schema by itself.
        let actions = self.actions.iter().filter(|_| schema.is_none()).cloned();
        let entities = [requester, skill_action, skill].into_iter().chain(actions);
        let entities =
            Entities::from_entities(entities, schema).map_err(|error| Unaskable::new(&error))?;
        let thresholds = thresholds
            .iter()
            .map(|(name, value)| (name.clone(), Value::new_long(*value)));
        let mut settled = vec![
            pair("mode", one_of(&self.mode, facts.mode.as_str())),
            pair("flow", flow(facts.flow)?),
            pair("intentSignals", self.signals(&facts.signals)),
            pair("thresholds", record(thresholds)?),
        ];
        if let Some(channel) = &facts.channel {
            settled.push(pair("channel", text(channel)));
        }
        Ok(Situation {
            principal,
            resource,
            entities,
            settled,
        })
    }

    pub fn context(&self, situation: &Situation, inputs: &Inputs) -> Result<Context, Unaskable> {
        let mut members = situation.settled.clone();
        members.push(pair("inputSignals", self.signals(&inputs.signals)));
        members.push(pair("usesSecrets", Value::new_bool(inputs.uses_secrets)));
        if let Some((minor, currency)) = inputs.amount {
            let amount = record([
                pair("minor", Value::new_long(minor)),
                pair("currency", text(currency)),
            ])?;
            members.push(pair("amount", amount));
        }
        Context::from_pairs(members).map_err(|error| Unaskable::new(&error))
    }

    pub fn request(
        &self,
        situation: &Situation,
        question: Question,
        context: Context,
        schema: Option<&Schema>,
    ) -> Result<Request, Unaskable> {
        Request::new(
            situation.principal.clone(),
            self.action(question).clone(),
            situation.resource.clone(),
            context,
            schema,
        )
        .map_err(|error| Unaskable::new(&error))
    }

    fn requester(&self, actor: &Actor) -> Result<(EntityUid, Entity), Unaskable> {
        let kind = match actor.kind {
            ActorType::User => &self.user,
            ActorType::Service => &self.service,
            ActorType::Agent => &self.agent,
        };
        let uid = uid(kind, actor.id.as_str());
        let attributes = [pair("grants", texts(&actor.grants))];
        Ok((uid.clone(), entity(uid, attributes, [])?))
    }

    fn skill_action(&self, step: &StepFacts) -> Result<(EntityUid, Entity), Unaskable> {
        let id = resource_id(&step.uses.key, &step.action);
        let uid_of_action = uid(&self.skill_action, &id);
        let attributes = [
            pair("skill", text(step.uses.key.as_str())),
            pair("name", text(step.action.as_str())),
            pair("version", text(step.uses.version.as_str())),
            pair("publisher", text(&step.publisher)),
            pair("effect", one_of(&self.effect, effect(step.effect))),
            pair("declaredRisk", one_of(&self.risk, risk(step.declared_risk))),
            pair("labels", texts(&step.labels)),
        ];
        let skill = uid(&self.skill, step.uses.key.as_str());
        let entity = entity(uid_of_action.clone(), attributes, [skill])?;
        Ok((uid_of_action, entity))
    }

    fn signals(&self, signals: &BTreeSet<TextSignal>) -> Value {
        Value::new_set(
            signals
                .iter()
                .map(|found| one_of(&self.signal, signal(*found))),
        )
    }
}

impl Situation {
    pub fn entities(&self) -> &Entities {
        &self.entities
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (String, Value)>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, Unaskable> {
    Entity::new_with_tags(uid, attributes, parents, []).map_err(|error| Unaskable::new(&error))
}

fn pair(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn texts(texts: &BTreeSet<String>) -> Value {
    Value::new_set(texts.iter().map(|item| text(item)))
}

fn one_of(kind: &EntityTypeName, id: &str) -> Value {
    Value::new_entity_uid(uid(kind, id))
}

fn record(members: impl IntoIterator<Item = (String, Value)>) -> Result<Value, Unaskable> {
    Value::new_record(members).map_err(|error| Unaskable::new(&error))
}

fn flow(flow: PlanFlow) -> Result<Value, Unaskable> {
    record([
        pair("readsSecrets", Value::new_bool(flow.reads_secrets)),
        pair(
            "readsPersonalData",
            Value::new_bool(flow.reads_personal_data),
        ),
        pair("sendsOutside", Value::new_bool(flow.sends_outside)),
        pair("movesMoney", Value::new_bool(flow.moves_money)),
        pair(
            "sensitiveDataLeaves",
            Value::new_bool(flow.sensitive_data_leaves),
        ),
    ])
}

pub const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::External => "external",
        Effect::Money => "money",
        Effect::Irreversible => "irreversible",
    }
}

pub const fn risk(risk: DeclaredRisk) -> &'static str {
    match risk {
        DeclaredRisk::Low => "low",
        DeclaredRisk::Medium => "medium",
        DeclaredRisk::High => "high",
    }
}

const fn signal(signal: TextSignal) -> &'static str {
    match signal {
        TextSignal::InstructionOverride => "instruction_override",
        TextSignal::SecretRequest => "secret_request",
        TextSignal::ControlBypass => "control_bypass",
        TextSignal::HiddenText => "hidden_text",
    }
}

//! Policies by what they can apply to, so that a question walks only those: Cedar evaluates every
//! policy it is given.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityUid, Policy, PolicySet, ResourceConstraint,
};
use contracts::ids::{ActionName, SkillKey};

use crate::request::{Question, Unaskable, Vocabulary, resource_id};

/// The policies of one question.
#[derive(Debug)]
pub struct Slices {
    general: Slice,
    by_skill: BTreeMap<String, Slice>,
    /// By `<skill key>/<action>`.
    by_action: BTreeMap<String, Slice>,
}

#[derive(Debug)]
pub struct Slice {
    pub all: PolicySet,
    pub permits: PolicySet,
}

/// What a policy's scope says of the resource.
enum Reach {
    Any,
    Skill(String),
    Action(String),
}

impl Slices {
    /// `actions` is the schema's hierarchy of actions.
    pub fn new<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        question: Question,
        vocabulary: &Vocabulary,
        actions: &Entities,
    ) -> Result<Self, Unaskable> {
        let asked = vocabulary.action(question);
        let policies: Vec<(Reach, &Policy)> = policies
            .filter(|policy| concerns(policy, asked, actions))
            .map(|policy| (reach(policy, vocabulary), policy))
            .collect();
        let mut skills = BTreeSet::new();
        let mut actions = BTreeSet::new();
        for (reach, _) in &policies {
            match reach {
                Reach::Any => {}
                Reach::Skill(skill) => {
                    skills.insert(skill.as_str());
                }
                Reach::Action(action) => {
                    actions.insert(action.as_str());
                }
            }
        }
        let slice = |skill: Option<&str>, action: Option<&str>| {
            Slice::new(policies.iter().filter_map(|(reach, policy)| {
                let reaches = match reach {
                    Reach::Any => true,
                    Reach::Skill(id) => Some(id.as_str()) == skill,
                    Reach::Action(id) => Some(id.as_str()) == action,
                };
                reaches.then_some(*policy)
            }))
        };
        Ok(Self {
            general: slice(None, None)?,
            by_skill: skills
                .into_iter()
                .map(|skill| Ok((skill.to_owned(), slice(Some(skill), None)?)))
                .collect::<Result<_, Unaskable>>()?,
            by_action: actions
                .into_iter()
                .map(|action| {
                    // A skill's key has no slash.
                    let skill = action.split('/').next();
                    Ok((action.to_owned(), slice(skill, Some(action))?))
                })
                .collect::<Result<_, Unaskable>>()?,
        })
    }

    pub fn of(&self, skill: &SkillKey, action: &ActionName) -> &Slice {
        self.by_action
            .get(&resource_id(skill, action))
            .or_else(|| self.by_skill.get(skill.as_str()))
            .unwrap_or(&self.general)
    }
}

impl Slice {
    fn new<'p>(policies: impl Iterator<Item = &'p Policy>) -> Result<Self, Unaskable> {
        let mut slice = Self {
            all: PolicySet::new(),
            permits: PolicySet::new(),
        };
        for policy in policies {
            add(&mut slice.all, policy)?;
            if policy.effect() == Effect::Permit {
                add(&mut slice.permits, policy)?;
            }
        }
        Ok(slice)
    }
}

fn add(set: &mut PolicySet, policy: &Policy) -> Result<(), Unaskable> {
    set.add(policy.clone())
        .map_err(|error| Unaskable::new(&error))
}

fn concerns(policy: &Policy, asked: &EntityUid, actions: &Entities) -> bool {
    let reaches = |uid: &EntityUid| uid == asked || actions.is_ancestor_of(uid, asked);
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == *asked,
        ActionConstraint::In(uids) => uids.iter().any(reaches),
    }
}

fn reach(policy: &Policy, vocabulary: &Vocabulary) -> Reach {
    match policy.resource_constraint() {
        ResourceConstraint::Eq(uid)
        | ResourceConstraint::In(uid)
        | ResourceConstraint::IsIn(_, uid) => {
            let id: &str = uid.id().as_ref();
            if vocabulary.is_skill_action(&uid) {
                Reach::Action(id.to_owned())
            } else if vocabulary.is_skill(&uid) {
                Reach::Skill(id.to_owned())
            } else {
                Reach::Any
            }
        }
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Reach::Any,
    }
}

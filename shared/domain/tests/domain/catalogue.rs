//! What decisions read beside their aggregate, and the aggregates that it is folded from.

use contracts::{
    event::{Event, Service},
    ids::SkillVersion,
    manifest::{VerificationIssue, VerificationReport},
    record::{Cause, Recorded, seal},
    subject::AggregateId,
};
use domain::{
    catalogue::{Catalogue, EntryPoint},
    policy::{self, Policy},
    skill::{self, Checked, Install, Rejection, Skill},
};

use super::kit::{Shop, at, policy as hash_of, shop, who, workspace};

#[test]
fn what_is_built_in_needs_no_installation() {
    let catalogue = Catalogue::empty();
    for key in ["core.echo", "core.wait"] {
        let skill = catalogue
            .resolve(&workspace(), &key.parse().unwrap(), None)
            .unwrap();
        assert!(matches!(skill.entry_point, EntryPoint::Builtin(_)));
    }
    assert_eq!(catalogue.policy_version(&workspace()), None);
}

#[test]
fn an_activated_policy_is_the_active_one_until_the_next() {
    let mut shop = Shop::empty();
    for name in ["one", "two", "one"] {
        shop.activate(name);
        assert_eq!(
            shop.catalogue.policy_version(&workspace()),
            Some(hash_of(name))
        );
    }
    let other = "other".parse().unwrap();
    assert_eq!(shop.catalogue.policy_version(&other), None);
}

#[test]
fn a_disabled_version_is_known_and_not_chosen() {
    let mut shop = Shop::empty();
    shop.install("ops", "1.0.0", &shop::ops());
    shop.install("ops", "1.1.0", &shop::ops());
    let key = "ops".parse().unwrap();
    let pin = shop
        .catalogue
        .resolve(&workspace(), &key, None)
        .unwrap()
        .pin
        .clone();
    shop.disable("ops", Some("1.1.0"));
    assert!(!shop.catalogue.skill(&workspace(), &pin).unwrap().enabled);
    let chosen = shop.catalogue.resolve(&workspace(), &key, None).unwrap();
    assert_eq!(chosen.pin.version.as_str(), "1.0.0");
    shop.disable("ops", None);
    assert!(shop.catalogue.resolve(&workspace(), &key, None).is_none());
}

#[test]
fn a_pin_of_other_content_is_not_there() {
    let mut shop = Shop::empty();
    shop.install("ops", "1.0.0", &shop::ops());
    let key = "ops".parse().unwrap();
    let mut pin = shop
        .catalogue
        .resolve(&workspace(), &key, None)
        .unwrap()
        .pin
        .clone();
    pin.digest = hash_of("other");
    assert!(shop.catalogue.skill(&workspace(), &pin).is_none());
}

#[test]
fn an_answer_without_its_request_changes_nothing() {
    let mut shop = Shop::empty();
    shop.activate("base");
    let aggregate = AggregateId::policy(workspace());
    let bundle = shop::bundle("never asked for");
    let (_, hash) =
        policy::request_activation(&Policy::default(), &bundle, &who("ann"), at(0)).unwrap();
    let activated = contracts::events::verifier::PolicyActivated {
        hash,
        findings: Vec::new(),
        engine_version: "test".to_owned(),
        activated_at: at(0),
        rules: contracts::events::RULES,
    };
    shop.append(&aggregate, activated.into(), Service::Verifier);
    assert_eq!(
        shop.catalogue.policy_version(&workspace()),
        Some(hash_of("base"))
    );
}

#[test]
fn an_entry_point_is_one_plain_name() {
    for text in ["nats:refunds", "nats:a-b_9", "builtin:echo", "builtin:wait"] {
        assert_eq!(text.parse::<EntryPoint>().unwrap().to_string(), text);
    }
    for text in [
        "nats:",
        "nats:a.b",
        "nats:*",
        "nats:>",
        "nats:A",
        "https:x",
        "builtin:rm",
        "x",
    ] {
        assert!(text.parse::<EntryPoint>().is_err(), "{text}");
    }
}

/// The history of one skill.
#[derive(Default)]
struct Shelf {
    skill: Skill,
    log: Vec<Recorded>,
}

impl Shelf {
    fn store(&mut self, events: Vec<Event>) {
        let aggregate = AggregateId::skill(workspace(), &"ops".parse().unwrap());
        for event in events {
            let head = self.log.last().map(Recorded::head);
            let cause = Cause::default();
            let (_, recorded) = seal(
                &aggregate,
                head.as_ref(),
                event,
                Service::Intake,
                &cause,
                at(0),
            )
            .unwrap();
            self.skill = std::mem::take(&mut self.skill).evolve(&recorded);
            self.log.push(recorded);
        }
    }

    fn ask(&mut self, install: &Install) -> usize {
        let (events, _) = skill::request_install(&self.skill, install, at(0)).unwrap();
        let number = events.len();
        self.store(events);
        number
    }

    fn answer(&mut self, verified: bool) -> usize {
        let requests: Vec<_> = self.skill.unanswered().cloned().collect();
        let mut number = 0;
        for request in requests {
            let events = skill::answer(&self.skill, &request, checked(verified), at(0));
            number += events.len();
            self.store(events);
            // The same question again has its answer.
            assert!(skill::answer(&self.skill, &request, checked(verified), at(0)).is_empty());
        }
        number
    }

    fn disable(&mut self, version: Option<&str>) -> Result<usize, Rejection> {
        let version: Option<SkillVersion> = version.map(|version| version.parse().unwrap());
        let key = "ops".parse().unwrap();
        let events = skill::disable(
            &self.skill,
            &key,
            version.as_ref(),
            &who("ann"),
            None,
            at(0),
        )?;
        let number = events.len();
        self.store(events);
        Ok(number)
    }
}

fn install(version: &str, description: &str) -> Install {
    let mut metadata = shop::ops();
    metadata["description"] = serde_json::json!(description);
    Install {
        key: "ops".parse().unwrap(),
        version: version.parse().unwrap(),
        artifact_digest: "sha256:00".to_owned(),
        manifest: shop::manifest("ops", version, &metadata),
        by: who("ann"),
    }
}

fn checked(verified: bool) -> Checked {
    let issue = VerificationIssue {
        code: "SIGNATURE_INVALID".to_owned(),
        message: "it is not".to_owned(),
    };
    Checked {
        report: VerificationReport {
            verified,
            signature_verified: verified,
            publisher_trusted: verified,
            compatibility_verified: true,
            issues: if verified { Vec::new() } else { vec![issue] },
        },
        manifest_digest: Some(hash_of("manifest")),
        trust_digest: hash_of("trust"),
        catalogue: 1,
    }
}

#[test]
fn a_skill_is_asked_for_once_and_answered_once() {
    let mut shelf = Shelf::default();
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 1);
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 0);
    assert_eq!(shelf.answer(true), 1);
    assert_eq!(shelf.answer(true), 0);
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 0);
}

#[test]
fn a_version_never_changes_its_content() {
    let mut shelf = Shelf::default();
    shelf.ask(&install("1.0.0", "first"));
    shelf.answer(true);
    let refused = skill::request_install(&shelf.skill, &install("1.0.0", "second"), at(0));
    assert_eq!(refused.unwrap_err().code(), "SKILL_VERSION_CONFLICT");
    assert_eq!(shelf.ask(&install("1.0.1", "second")), 1);
}

#[test]
fn what_was_rejected_may_be_asked_for_again() {
    let mut shelf = Shelf::default();
    shelf.ask(&install("1.0.0", "first"));
    assert_eq!(shelf.answer(false), 1);
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 1);
    assert_eq!(shelf.answer(true), 1);
    assert_eq!(shelf.skill.installations.len(), 2);
}

#[test]
fn a_skill_is_disabled_once_and_installed_again_by_its_own_content() {
    let mut shelf = Shelf::default();
    assert_eq!(shelf.disable(None).unwrap_err().code(), "SKILL_NOT_FOUND");
    shelf.ask(&install("1.0.0", "first"));
    shelf.answer(true);
    assert_eq!(
        shelf.disable(Some("2.0.0")).unwrap_err().code(),
        "SKILL_NOT_FOUND"
    );
    assert_eq!(shelf.disable(Some("1.0.0")).unwrap(), 1);
    assert_eq!(shelf.disable(None).unwrap(), 0);
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 1);
    assert_eq!(shelf.answer(true), 1);
    assert_eq!(shelf.disable(None).unwrap(), 1);
}

#[test]
fn while_a_version_is_asked_for_it_is_not_asked_for_with_other_content() {
    let mut shelf = Shelf::default();
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 1);
    let refused = skill::request_install(&shelf.skill, &install("1.0.0", "second"), at(0));
    assert_eq!(refused.unwrap_err().code(), "SKILL_VERSION_CONFLICT");
    assert_eq!(shelf.answer(false), 1);
    assert_eq!(shelf.ask(&install("1.0.0", "second")), 1);
}

#[test]
fn requests_for_several_versions_are_all_answered() {
    let mut shelf = Shelf::default();
    shelf.ask(&install("1.0.0", "first"));
    shelf.ask(&install("1.1.0", "second"));
    assert_eq!(shelf.answer(true), 2);
    assert_eq!(shelf.answer(true), 0);
}

#[test]
fn a_policy_is_asked_for_once_and_answered_once() {
    let aggregate = AggregateId::policy(workspace());
    let mut policy = Policy::default();
    let mut head = None;
    let mut store = |policy: &mut Policy, event: Event| {
        let cause = Cause::default();
        let (_, recorded) = seal(
            &aggregate,
            head.as_ref(),
            event,
            Service::Intake,
            &cause,
            at(0),
        )
        .unwrap();
        head = Some(recorded.head());
        *policy = std::mem::take(policy).evolve(&recorded);
    };
    let bundle = shop::bundle("base");
    let ask = |policy: &Policy| {
        policy::request_activation(policy, &bundle, &who("ann"), at(0))
            .unwrap()
            .0
    };
    let event = ask(&policy).remove(0);
    store(&mut policy, event);
    assert!(ask(&policy).is_empty());
    let request = policy.unanswered()[0].event.clone();
    store(
        &mut policy,
        policy::answer(&request, Vec::new(), "test", at(0)),
    );
    assert!(policy.unanswered().is_empty());
    assert_eq!(policy.active, Some(hash_of("base")));
    assert!(ask(&policy).is_empty());
    // Another one is asked for and not answered yet: the last word is for the first again.
    let other = shop::bundle("other");
    let (events, _) = policy::request_activation(&policy, &other, &who("ann"), at(0)).unwrap();
    for event in events {
        store(&mut policy, event);
    }
    let event = ask(&policy).remove(0);
    store(&mut policy, event);
    let waiting: Vec<_> = policy.unanswered().iter().map(|it| it.event.hash).collect();
    assert_eq!(waiting, [hash_of("other"), hash_of("base")]);
}

#[test]
fn the_same_content_with_another_artifact_or_signature_is_another_question() {
    let mut shelf = Shelf::default();
    shelf.ask(&install("1.0.0", "first"));
    shelf.answer(true);
    let mut other = install("1.0.0", "first");
    other.artifact_digest = "b".repeat(64);
    assert_eq!(shelf.ask(&other), 1);
    assert_eq!(shelf.answer(false), 1);
    // What stands still stands.
    assert_eq!(shelf.ask(&install("1.0.0", "first")), 0);
    assert!(shelf.skill.installed["1.0.0"].disabled.is_none());
}

#[test]
fn what_is_disabled_while_it_is_asked_for_is_installed_disabled() {
    let mut shelf = Shelf::default();
    shelf.ask(&install("1.0.0", "first"));
    shelf.answer(true);
    shelf.ask(&install("1.1.0", "second"));
    assert_eq!(shelf.disable(None).unwrap(), 1);
    assert_eq!(shelf.answer(true), 1);
    assert!(shelf.skill.installed["1.1.0"].disabled.is_some());
    let mut catalogue = Catalogue::empty();
    for (sequence, recorded) in (1..).zip(&shelf.log) {
        catalogue.apply(sequence, recorded);
    }
    let key = "ops".parse().unwrap();
    let owner = workspace();
    let mut versions = catalogue.versions(&owner, &key);
    assert!(versions.all(|skill| !skill.enabled));
}

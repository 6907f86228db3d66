//! Identifiers and instants: what is malformed is refused where it is parsed.

use std::{fmt::Display, str::FromStr};

use contracts::{
    canonical::Digest,
    ids::{
        ActionName, ExecutionId, Pin, PlanId, PrincipalId, RunId, SkillKey, SkillVersion, StepId,
        WorkspaceId,
    },
    time::Timestamp,
};
use proptest::prelude::*;

const UUID: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192";
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[track_caller]
fn takes<T: FromStr + Display>(texts: &[&str]) {
    for text in texts {
        let Ok(parsed) = text.parse::<T>() else {
            panic!("`{text}` is refused");
        };
        assert_eq!(parsed.to_string(), *text);
    }
}

#[track_caller]
fn refuses<T: FromStr>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "`{text}` is taken");
    }
}

#[test]
fn a_uuid_has_one_spelling() {
    takes::<ExecutionId>(&[UUID, "00000000-0000-0000-0000-000000000000"]);
    refuses::<ExecutionId>(&[
        "",
        "0198F3A0-7C1E-7D2A-9B3C-4D5E6F708192",
        "0198f3a07c1e7d2a9b3c4d5e6f708192",
        "{0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192}",
        "urn:uuid:0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192",
        "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192 ",
        "0198f3a0-7c1e-7d2a-9b3c-4d5e6f70819g",
    ]);
}

#[test]
fn a_workspace_is_one_subject_token() {
    takes::<WorkspaceId>(&["acme", "a", "0-9", "global", &"a".repeat(63)]);
    refuses::<WorkspaceId>(&[
        "",
        "Acme",
        "a.b",
        "a*",
        ">",
        "a b",
        "a_b",
        "é",
        &"a".repeat(64),
    ]);
}

#[test]
fn names_hold_what_they_say() {
    takes::<StepId>(&["refund", "Step_1-b", &"s".repeat(64)]);
    refuses::<StepId>(&["", "a.b", "a/b", "a b", "é", "a\n", &"s".repeat(65)]);
    takes::<PrincipalId>(&["ada", "ada@example.org", "svc:planner+1", &"p".repeat(128)]);
    refuses::<PrincipalId>(&["", "ada lovelace", "a/b", "a\u{0}", "é", &"p".repeat(129)]);
    takes::<SkillKey>(&["core.echo", "support:desk", "klär"]);
    refuses::<SkillKey>(&[
        "",
        "a/b",
        "a@1",
        "a#b",
        "a b",
        "a\tb",
        "a\u{7f}",
        "a\u{feff}",
        &"k".repeat(201),
    ]);
    takes::<ActionName>(&["refund", "order.look-up_2"]);
    refuses::<ActionName>(&["", "a/b", "a b", "a@b", &"a".repeat(65)]);
    takes::<SkillVersion>(&["1.4.0", "1.0.0-rc.1+build.5"]);
    refuses::<SkillVersion>(&["", "1", "1.4", "v1.4.0", "1.4.0.0", "01.0.0", "1.4.0 "]);
}

#[test]
fn a_run_counts_from_one() {
    takes::<RunId>(&[&format!("{UUID}:1"), &format!("{UUID}:4294967295")]);
    let refused = ["0", "01", "+1", "-1", "", "1:1", "4294967296", " 1", "1 "];
    for number in refused {
        refuses::<RunId>(&[&format!("{UUID}:{number}")]);
    }
    refuses::<RunId>(&["", UUID, ":1", "x:1"]);
}

#[test]
fn a_pin_names_key_version_and_content() {
    takes::<Pin>(&[&format!("support.desk@1.4.0#{DIGEST}")]);
    refuses::<Pin>(&[
        "",
        "support.desk@1.4.0",
        "support.desk@1.4.0#",
        &format!("support.desk@1.4#{DIGEST}"),
        &format!("@1.4.0#{DIGEST}"),
        &format!("a@b@1.4.0#{DIGEST}"),
        &format!("a@1.4.0#{DIGEST}#"),
        &format!("a/b@1.4.0#{DIGEST}"),
    ]);
}

#[test]
fn a_digest_is_64_lower_case_digits() {
    takes::<Digest>(&[DIGEST]);
    refuses::<Digest>(&[
        "",
        &DIGEST[1..],
        &DIGEST.to_uppercase(),
        &format!("{DIGEST}00"),
        &"g".repeat(64),
        &"é".repeat(32),
    ]);
}

#[test]
fn json_is_parsed_as_strictly_as_text() {
    assert!(serde_json::from_str::<StepId>(r#""refund""#).is_ok());
    assert!(serde_json::from_str::<StepId>(r#""a b""#).is_err());
    assert!(serde_json::from_str::<StepId>("1").is_err());
    assert!(serde_json::from_str::<ExecutionId>(r#""x""#).is_err());
}

#[test]
fn a_refusal_is_short_and_printable() {
    let hostile = "\u{1b}[31m".repeat(1000);
    let message = hostile.parse::<ExecutionId>().unwrap_err().to_string();
    assert!(
        message.len() < 200 && !message.contains('\u{1b}'),
        "{message}"
    );
}

#[test]
fn a_plan_id_is_of_its_execution_and_its_hash() {
    let execution: ExecutionId = UUID.parse().unwrap();
    let hash: Digest = DIGEST.parse().unwrap();
    // UUIDv5: SHA-1 of the execution's 16 bytes and the hash's 32.
    assert_eq!(
        PlanId::derive(execution, &hash).to_string(),
        "9da1d29b-0850-5fd2-a55b-3ab1e6140ced"
    );
}

#[test]
fn an_instant_has_three_decimals_and_is_in_utc() {
    let written = |text: &str| text.parse::<Timestamp>().map(|at| at.to_string());
    assert_eq!(
        written("2026-01-02T03:04:05.678Z").unwrap(),
        "2026-01-02T03:04:05.678Z"
    );
    assert_eq!(
        written("2026-01-02T05:04:05+02:00").unwrap(),
        "2026-01-02T03:04:05.000Z"
    );
    assert_eq!(
        written("1969-12-31T23:59:59.9999Z").unwrap(),
        "1969-12-31T23:59:59.999Z"
    );
    refuses::<Timestamp>(&[
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-13-02T03:04:05Z",
        "now",
    ]);
    refuses::<Timestamp>(&["0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999-00:01"]);
}

proptest! {
    #![proptest_config(super::properties())]

    #[test]
    fn instants_read_back_and_sort_as_their_texts(a in any::<i64>(), b in any::<i64>()) {
        let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
        prop_assert_eq!(a.to_string().parse::<Timestamp>(), Ok(a));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn later_by_is_undone_by_since(at in 0_i64..4_000_000_000_000, ms in 0_u64..1_000_000_000) {
        let at = Timestamp::from_millis(at);
        prop_assert_eq!(at.plus_ms(ms).since_ms(at), ms);
        prop_assert_eq!(at.since_ms(at.plus_ms(ms)), 0);
    }
}

/// People approve a skill by its name as they see it.
#[test]
fn a_skill_key_holds_nothing_that_cannot_be_seen() {
    takes::<SkillKey>(&["orders.refund", "заказ", "注文.返金", "naïve"]);
    refuses::<SkillKey>(&[
        "orders\u{ad}.refund",
        "orders\u{200b}.refund",
        "orders\u{200d}.refund",
        "orders\u{202e}.refund",
        "orders\u{2066}.refund",
        "orders\u{feff}.refund",
        "orders\u{e0041}.refund",
        "orders\u{85}.refund",
        "orders\u{a0}.refund",
    ]);
}

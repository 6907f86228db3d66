//! Who must agree, where several policies decide.

use expect_test::expect;
use serde_json::json;

use crate::verdicts::check_policies;

#[test]
fn the_strictest_approval_rule_counts() {
    check_policies(
        r#"
@id("a") @quorum("2") @approvers("grant:finance, principal:alice, principal:bob") @expires("48h")
permit (principal, action == Action::"runAssisted", resource);
@id("b") @approvers("principal:bob, principal:alice, principal:carol") @expires("2h")
permit (principal, action == Action::"runAssisted", resource);
@id("c") @quorum("1") permit (principal, action == Action::"runAssisted", resource);"#,
        &[("a", "notes/add", json!({}))],
        expect![[r#"
            assist low, requires approval
              a: assist low [2 of principal:alice|principal:bob in 2 h] by a, b, c
                policy `a` permits it
                policy `b` permits it
                policy `c` permits it
        "#]],
    );
}

#[test]
fn approvers_with_nobody_in_common_block() {
    check_policies(
        r#"
@id("a") @approvers("grant:finance") permit (principal, action == Action::"runAssisted", resource);
@id("b") @approvers("grant:legal") permit (principal, action == Action::"runAssisted", resource);"#,
        &[("a", "notes/add", json!({}))],
        expect![[r#"
            blocked low
              a: blocked low by a, b
                policy `a` permits it
                policy `b` permits it
                the deciding policies name approvers that have nobody in common; let their `@approvers` overlap
        "#]],
    );
}

#[test]
fn the_requester_is_no_approver() {
    // `sam` asks.
    check_policies(
        r#"@id("a") @quorum("2") @approvers("principal:sam, principal:alice")
permit (principal, action == Action::"runAssisted", resource);"#,
        &[("a", "notes/add", json!({}))],
        expect![[r#"
            blocked low
              a: blocked low by a
                policy `a` permits it
                2 approvals are needed, but only 1 of the named approvers may vote, the requester not counted
        "#]],
    );
}

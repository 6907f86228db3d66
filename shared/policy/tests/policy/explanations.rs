use expect_test::expect;
use policy::{explain::explain, judge::judge_plan};
use serde_json::json;

use crate::world::{facts, plan, shipped};

#[test]
fn a_verdict_is_explained_from_what_is_recorded() {
    let with = json!({ "amount": { "minor": 90_000, "currency": "EUR" } });
    let plan = plan(&[("pay", "refunds/refund", with)]);
    let facts = facts("Please refund order A-1", &plan);
    let engine = shipped();
    let judged = judge_plan(Some(&engine), &facts, &plan);
    let explanation = explain(Some(&engine), &facts, &judged.steps);
    expect![[r#"
        {
          "actor": {
            "type": "user",
            "id": "sam",
            "grants": [
              "intent.submit"
            ]
          },
          "channel": "chat",
          "mode": "autonomous",
          "signals": [],
          "flow": {
            "readsSecrets": false,
            "readsPersonalData": false,
            "sendsOutside": false,
            "movesMoney": true,
            "sensitiveDataLeaves": false
          },
          "steps": {
            "pay": {
              "verdict": {
                "verdict": "assist",
                "tier": "high",
                "reasons": [
                  "the amount is above `large_amount_minor`, or not known",
                  "moving money needs a human's approval"
                ],
                "policyIds": [
                  "large-amounts-are-high-risk",
                  "money-needs-a-human"
                ],
                "approval": {
                  "quorum": 1,
                  "eligible": [
                    {
                      "grant": "execution.approve"
                    }
                  ],
                  "expiresAfterMs": 86400000,
                  "planHashRequired": true
                },
                "dynamic": false
              },
              "facts": {
                "uses": "refunds@1.0.0#4fdc1db8ceef1064f9b8aa6f7c60cdc425279dfd79974613b473511d74c91f3d",
                "action": "refund",
                "publisher": "acme",
                "effect": "money",
                "declaredRisk": "medium",
                "labels": [],
                "usesSecrets": false,
                "inputsKnown": true,
                "amount": {
                  "minor": 90000,
                  "currency": "EUR"
                },
                "signals": []
              },
              "tier": [
                {
                  "tier": "high",
                  "because": "policy `large-amounts-are-high-risk` says so"
                },
                {
                  "tier": "medium",
                  "because": "its effect is `money`"
                },
                {
                  "tier": "medium",
                  "because": "its publisher declares the risk `medium`"
                }
              ],
              "policies": [
                {
                  "id": "large-amounts-are-high-risk",
                  "policy": {
                    "file": "effects.cedar",
                    "effect": "forbid",
                    "annotations": {
                      "reason": "the amount is above `large_amount_minor`, or not known",
                      "risk": "high"
                    },
                    "text": "@id(\"large-amounts-are-high-risk\")\n@reason(\"the amount is above `large_amount_minor`, or not known\")\n@risk(\"high\")\nforbid (principal, action == Action::\"runAutonomous\", resource)\nwhen { resource.effect == Effect::\"money\" || resource.labels.contains(\"money\") }\nunless { context has amount && context.amount.minor <= context.thresholds.large_amount_minor };"
                  }
                },
                {
                  "id": "money-needs-a-human",
                  "policy": {
                    "file": "effects.cedar",
                    "effect": "permit",
                    "annotations": {
                      "reason": "moving money needs a human's approval"
                    },
                    "text": "@id(\"money-needs-a-human\")\n@reason(\"moving money needs a human's approval\")\npermit (principal, action == Action::\"runAssisted\", resource)\nwhen { resource.effect == Effect::\"money\" || resource.labels.contains(\"money\") };"
                  }
                }
              ],
              "considered": [
                "control-bypass-is-blocked",
                "hidden-text-is-blocked",
                "high-risk-needs-another-human",
                "instruction-override-is-blocked",
                "irreversible-effects-need-another-human",
                "labels-need-a-human",
                "large-amounts-are-high-risk",
                "low-risk-writes-run-by-themselves",
                "money-needs-a-human",
                "other-writes-need-a-human",
                "outside-effects-need-a-human",
                "reads-run-by-themselves",
                "secret-request-is-blocked",
                "sensitive-data-leaves-only-by-a-human"
              ]
            }
          }
        }"#]].assert_eq(&serde_json::to_string_pretty(&explanation).unwrap());
}

#[test]
fn a_policy_of_another_bundle_is_named_without_its_text() {
    let plan = plan(&[("look", "orders/lookup", json!({}))]);
    let facts = facts("look", &plan);
    let judged = judge_plan(Some(&shipped()), &facts, &plan);
    let explanation = explain(None, &facts, &judged.steps);
    let step = explanation.steps.into_values().next().unwrap();
    assert_eq!(step.policies[0].id, "reads-run-by-themselves");
    assert_eq!(step.policies[0].policy, None);
}

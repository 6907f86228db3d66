"""What the load needs installed: a policy, and two skills, signed."""

import json
import time

from fleet import WORKERS

PUBLISHER = "chaos"

# Beside the policies that come with the build: who is asked here has to answer soon.
POLICY = """
@id("soon")
@reason("it is of no use later")
@expires("8s")
permit (principal, action == Action::"runAssisted", resource)
when { resource.labels.contains("soon") };
"""

ACTIONS = {
    "read": ("read", "low"),
    "note": ("write", "low"),
    "pay": ("money", "medium"),
    "erase": ("irreversible", "high"),
    "hurry": ("external", "medium"),
}


def manifest(key, entry):
    actions = {
        name: {"input": {"type": "object"}, "output": {"type": "object", "properties": {
                   "key": {"type": "string"}}}, "effect": effect, "risk": risk}
        for name, (effect, risk) in ACTIONS.items()
    }  # fmt: skip
    actions["pay"]["amount"] = {"minor": "/minor", "currency": "/currency"}
    actions["hurry"]["labels"] = ["soon"]
    return {
        "schemaVersion": "1.0.0",
        "skill": {"key": key, "version": "1.0.0", "entryPoint": f"nats:{entry}"},
        "publisher": {"id": PUBLISHER, "provenance": "development"},
        "artifact": {"digest": "a" * 64},
        "compatibility": {
            "contractsSpec": {"minVersion": "1.0.0"},
            "controlPlaneFeature": {"minVersion": "1.0.0"},
        },
        "metadata": {"actions": actions},
    }


def install(fleet):
    """As an operator does it: a key, a bundle that trusts it, and what it has signed."""
    root = fleet.root
    fleet.controlplane("skill", "keygen", "--out", str(root / "keys" / f"{PUBLISHER}.pem"))
    bundle = root / "policy"
    fleet.controlplane("policy", "default", "--write", str(bundle))
    (bundle / "soon.cedar").write_text(POLICY)
    patiently(fleet, "policy", "activate", str(bundle))
    for entry in sorted(set(WORKERS.values())):
        key = entry.replace("-", ".", 1)
        unsigned, signed = root / f"{key}.json", root / f"{key}.signed.json"
        unsigned.write_text(json.dumps(manifest(key, entry)))
        fleet.controlplane("skill", "sign", str(unsigned), "--out", str(signed))
        patiently(fleet, "skill", "install", str(signed))


def patiently(fleet, *words):
    """On three servers, leaders are still being elected."""
    for _ in range(10):
        run = fleet.controlplane(*words, check=False)
        if run.returncode == 0:
            return
        time.sleep(1)
    fleet.controlplane(*words)

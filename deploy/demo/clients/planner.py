"""An outside planner: drafts a plan for every intent that comes without one. Its draft is compiled and
judged like anybody's; all it needs is the role `planner`. Here it follows one rule: what is asked for
is echoed. Python alone is enough."""

import json
import os
import time
import urllib.error
from urllib.request import Request, urlopen

URL = os.environ["CONTROL_PLANE_URL"]
HEADERS = {"Authorization": "Bearer " + os.environ["CONTROL_PLANE_TOKEN"], "Content-Type": "application/json"}


def ask(path, body=None, **headers):
    send = None if body is None else json.dumps(body).encode()
    return urlopen(Request(URL + path, send, HEADERS | headers), timeout=60)


def draft_for(text):
    return {"steps": [{"id": "say", "uses": "core.echo/echo", "with": {"message": text}}]}


def answer(execution):
    asked = json.load(ask(f"/v1/executions/{execution}"))["execution"]
    offer = {
        "executionId": execution,
        "intentId": asked["intentId"],
        "plannerModel": "echo-rule-1",
        "draft": draft_for(asked["text"]),
    }
    try:
        plan = json.load(ask("/v1/plan.compile", offer))
        print("drafted", execution, plan["deterministicHash"], flush=True)
    except urllib.error.HTTPError as refused:
        if refused.code in (401, 429) or refused.code >= 500:
            raise
        # Such as: it was cancelled meanwhile, or another planner was first.
        print("refused", execution, refused.read().decode(), flush=True)


waiting = json.load(ask("/v1/executions?waitingFor=draft"))
for item in waiting["items"]:
    answer(item["executionId"])
# From the position of that list on, so nothing is left out between the two.
position = waiting["position"]
while True:
    try:
        with ask("/v1/events?type=plan.draft.requested", **{"Last-Event-ID": position}) as told:
            print("ready", flush=True)
            told_at = position
            for line in told:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    told_at = value
                elif name == "data":
                    answer(json.loads(value)["data"]["executionId"])
                elif not name:
                    # Only now: what could not be answered is told again.
                    position = told_at
    except OSError as ended:
        print("from the last position on again:", getattr(ended, "url", ""), ended, flush=True)
    time.sleep(1)

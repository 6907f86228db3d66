"""Asks for something, follows it to its end, and prints what happened. Python alone is enough."""

import json
import os
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ["CONTROL_PLANE_URL"]
HEADERS = {"Authorization": "Bearer " + os.environ["CONTROL_PLANE_TOKEN"], "Content-Type": "application/json"}


def ask(path, body=None, **headers):
    send = None if body is None else json.dumps(body).encode()
    try:
        return urlopen(Request(URL + path, send, HEADERS | headers), timeout=60)
    except HTTPError as refused:
        raise SystemExit(f"{path}: {refused.read().decode()}") from None  # says what is wrong, and what to do


draft = {"steps": [{"id": "say", "uses": "core.echo/echo", "with": {"message": "hello"}}]}
intent = {"workspaceId": "demo", "text": "Say hello from Python", "draft": draft}
# The same request again under the same key, after a lost answer say, is the same execution.
execution = json.load(ask("/v1/intents", intent, **{"Idempotency-Key": str(uuid.uuid4())}))["executionId"]
print("execution", execution)
for line in ask(f"/v1/executions/{execution}/events"):  # tells the past too, and ends with the execution
    if line.startswith(b"data:"):
        print("event", json.loads(line[5:])["type"])
print("status", json.load(ask(f"/v1/executions/{execution}"))["execution"]["status"])
print("trace", json.dumps(json.load(ask(f"/v1/executions/{execution}/trace")), indent=2))

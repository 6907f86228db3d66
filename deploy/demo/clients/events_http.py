"""Asks for something by a CloudEvent over HTTP: structured, binary, and again. All is one execution."""

import json
import os
import sys
from urllib.request import Request, urlopen

from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

URL = os.environ["CONTROL_PLANE_URL"] + "/v1/events"
TOKEN = {"Authorization": "Bearer " + os.environ["CONTROL_PLANE_TOKEN"]}

order = sys.argv[1]
draft = {"steps": [{"id": "say", "uses": "core.echo/echo", "with": {"message": order}}]}
event = CloudEvent(
    # `source` and `id` say what is the same event.
    {"id": order, "source": "/shop", "type": "controlPlane.intent.submit", "datacontenttype": "application/json"},
    {"workspaceId": "demo", "text": f"Say {order}", "draft": draft},
)
for encode in (to_structured, to_binary, to_structured, to_binary):
    message = encode(event, JSONFormat())
    with urlopen(Request(URL, message.body, message.headers | TOKEN), timeout=30) as answer:
        print(encode.__name__, "execution", json.load(answer)["executionId"])

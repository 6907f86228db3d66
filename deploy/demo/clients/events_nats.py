"""Asks for something by a CloudEvent in the durable inbox: structured, binary, and again. All is one
execution. What the broker acknowledges waits there until it is taken, whoever runs meanwhile."""

import asyncio
import os
import sys
from pathlib import Path

import nats
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

# `<workspace>.<principal>`: the broker lets it publish to its own inbox and nowhere else.
USER = os.environ["CONTROL_PLANE_NATS_USER"]


async def main(order):
    broker = await nats.connect(
        os.environ["CONTROL_PLANE_NATS_URL"],
        user=USER,
        password=Path(os.environ["CONTROL_PLANE_NATS_PASSWORD_FILE"]).read_text().strip(),
    )
    draft = {"steps": [{"id": "say", "uses": "core.echo/echo", "with": {"message": order}}]}
    event = CloudEvent(
        {"id": order, "source": "/shop", "type": "controlPlane.intent.submit", "datacontenttype": "application/json"},
        {"workspaceId": "demo", "text": f"Say {order}", "draft": draft},
    )
    for encode in (to_structured, to_binary, to_structured, to_binary):
        # NATS has the same two modes, with the headers of HTTP.
        message = encode(event, JSONFormat())
        kept = await broker.jetstream().publish(f"cp.inbox.{USER}", message.body, headers=message.headers)
        print(encode.__name__, "is kept in", kept.stream, "as", kept.seq)
    await broker.close()


asyncio.run(main(sys.argv[1]))

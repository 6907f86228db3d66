"""An executor of your own: takes a step, says at once that it will be done later, lets your system do
it, and reports what became of it. `desk` is where your system goes; here a person would close a ticket
within a second."""

import asyncio
import json
import os
import time
import urllib.error
from pathlib import Path
from urllib.request import Request, urlopen

import nats

URL = os.environ["CONTROL_PLANE_URL"]
HEADERS = {"Authorization": "Bearer " + os.environ["CONTROL_PLANE_TOKEN"], "Content-Type": "application/json"}
ACCEPTED = json.dumps({"accepted": {"expiresAfterMs": 3_600_000}}).encode()

# By idempotency key: a repeated call is the same work. Yours is kept in a database.
tickets = {}


async def desk(key, inputs):
    await asyncio.sleep(1)
    return {"ticket": f"t-{key[:8]}", "closed": True}


def report(call, token, output):
    outcome = {
        "executionId": call["executionId"],
        "stepId": call["stepId"],
        "token": token,
        "outcome": "completed",
        "output": output,
    }
    request = Request(URL + "/v1/execution.step.report", json.dumps(outcome).encode(), HEADERS)
    for pause in [0, 1, 2, 4, 8, 16]:
        time.sleep(pause)
        try:
            urlopen(request, timeout=30)
            return print("reported", call["executionId"], call["stepId"], flush=True)
        except urllib.error.HTTPError as refused:
            print("refused", refused.read().decode(), flush=True)
            # What passes is sent again: the same report twice is one.
            if refused.code not in (401, 429) and refused.code < 500:
                return
        except urllib.error.URLError as unreachable:
            print("unreachable", unreachable, flush=True)


async def work(call, token):
    key = call["idempotencyKey"]
    if key not in tickets:
        tickets[key] = asyncio.create_task(desk(key, call["inputs"]))
    # Each attempt has a token of its own.
    await asyncio.to_thread(report, call, token, await tickets[key])


async def main():
    at_work = set()

    async def take(message):
        # Only the executor calls; the broker would deliver what a stream holds, too.
        if not message.reply.startswith("_INBOX_executor."):
            return
        call = json.loads(message.data)
        print("accepted", call["executionId"], call["stepId"], flush=True)
        await message.respond(ACCEPTED)
        task = asyncio.create_task(work(call, message.headers["Cp-Token"]))
        at_work.add(task)
        task.add_done_callback(at_work.discard)

    broker = await nats.connect(
        os.environ["CONTROL_PLANE_NATS_URL"],
        user="worker",
        password=Path(os.environ["WORKER_PASSWORD_FILE"]).read_text().strip(),
        max_reconnect_attempts=-1,
    )
    await broker.subscribe("cp.skill.demo.desk", queue="desk", cb=take)
    await broker.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

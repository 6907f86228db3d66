#!/usr/bin/env python3
"""A naive worker: it acts on every call, remembers nothing, and answers as the call's inputs say.

Each call goes into an append-only ledger before it is acted on, so that what was really
dispatched can be counted, whatever becomes of this process.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time

import nats

# Where the executor wants its answers.
CALLER_INBOX = "_INBOX_executor."
HUGE_BYTES = 10 * 1024 * 1024
# Above what an event holds itself, below what is taken as an answer.
BIG_CHARS = 400 * 1024
# Later than any step of the load waits.
LATE_S = 4.0


class Worker:
    def __init__(self, client, ledger):
        self.client = client
        self.ledger = ledger
        self.calls = set()

    async def take(self, message):
        if not message.reply.startswith(CALLER_INBOX):
            return
        request = json.loads(message.data)
        # The last one counts for every attempt after it.
        hows = request["inputs"].get("how") or ["ok"]
        how = hows[min(request["attempt"], len(hows)) - 1]
        self.note(request, dispatched=how)
        call = asyncio.create_task(self.answer(message, request, how))
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    def note(self, request, **what):
        line = {
            "at": round(time.time(), 3),
            "key": request["idempotencyKey"],
            "attempt": request["attempt"],
            "execution": request["executionId"],
            "step": request["stepId"],
            **what,
        }
        # One write, so that a kill leaves a whole line or none.
        os.write(self.ledger, (json.dumps(line) + "\n").encode())

    async def answer(self, message, request, how):
        await asyncio.sleep(request["inputs"].get("ms", 20) / 1000)
        # Which of several answers it was shows in what is stored.
        output = {"key": request["idempotencyKey"], "attempt": request["attempt"], "answer": 1}
        match how:
            case "ok":
                await self.say(message, {"output": output})
            case "twice":
                await self.say(message, {"output": output})
                await self.say(message, {"output": {**output, "answer": 2}})
            case "late":
                await asyncio.sleep(LATE_S)
                await self.say(message, {"output": output})
            case "never":
                pass
            case "error":
                error = {"code": "BUSY", "message": "not now", "retryable": True}
                await self.say(message, {"error": error})
            case "refuse":
                await self.say(message, {"error": {"code": "NO", "message": "not ever"}})
            case "garbage":
                await self.client.publish(message.reply, b"\xff\xfe{{{ not JSON")
            case "wrong":
                await self.say(message, {"output": ["not", "an", "object"]})
            case "big":
                await self.say(message, {"output": {**output, "text": "x" * BIG_CHARS}})
            case "huge":
                # The broker closes the connection of who sends more than it takes.
                self.client._max_payload = 2 * HUGE_BYTES
                await self.say(message, {"output": {**output, "text": "x" * HUGE_BYTES}})
            case _:
                raise ValueError(f"no way to answer is called {how}")
        self.note(request, answered=how)

    async def say(self, message, answer):
        await self.client.publish(message.reply, json.dumps(answer).encode())


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", required=True)
    parser.add_argument("--ledger", required=True)
    options = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def told(error):
        print(f"connection: {error}", file=sys.stderr, flush=True)

    client = await nats.connect(
        os.environ["CP_NATS_URL"].split(","),
        user=os.environ["CP_NATS_USER"],
        password=os.environ["CP_NATS_PASSWORD"],
        name=options.serve,
        error_cb=told,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        connect_timeout=5,
        ping_interval=5,
        # What could not be sent while the broker was away is of no use later.
        pending_size=4 * HUGE_BYTES,
    )
    ledger = os.open(options.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    worker = Worker(client, ledger)
    subject = f"cp.skill.{os.environ['CP_WORKSPACE']}.{options.serve}"
    await client.subscribe(subject, queue="worker", cb=worker.take)
    await client.flush()
    print(f"ready: serving {options.serve}", file=sys.stderr, flush=True)
    await stop.wait()
    await client.close()


asyncio.run(main())

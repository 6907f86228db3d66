#!/usr/bin/env python3
"""Serves the demo's four skills over NATS, on a small shop that lives in memory.

A worker needs one thing from a client library: answering requests. Each call is a JSON request on
`cp.skill.<workspace>.<entry point>`; the answer is {"output": …}, {"error": {…}} or, while a call
with the same key is still being worked on, {"inProgress": true}.
"""

import argparse
import asyncio
import functools
import inspect
import json
import logging
import os
import signal
import sys
import time
from collections import OrderedDict

import nats

log = logging.getLogger("worker")

# Calls at work at once; more wait in the subscription.
CALLS_MAX = 64
# Answers kept for repeated keys. A key comes again within minutes of its first call or never.
ANSWERS_MAX = 10_000


class Failure(Exception):
    """An effect that did not happen."""

    def __init__(self, code, message, retryable=False):
        super().__init__(message)
        self.answer = {"code": code, "message": message, "retryable": retryable}


class Shop:
    """Orders, refunds, sent mail and accounts, from the same start each time."""

    def __init__(self):
        self.accounts = {
            "c-17": {"name": "Ada Marsh", "email": "ada@example.com"},
            "c-23": {"name": "Ben Okoye", "email": "ben@example.com"},
        }
        self.orders = {
            "1001": {"customer": "c-17", "item": "desk lamp", "paid": 4900, "status": "delivered"},
            "1002": {"customer": "c-23", "item": "kettle", "paid": 3550, "status": "shipped"},
            "1003": {"customer": "c-17", "item": "bookshelf", "paid": 18900, "status": "delivered"},
        }
        self.refunds = []
        self.outbox = []

    def order(self, number):
        if number not in self.orders:
            raise Failure("ORDER_NOT_FOUND", f"there is no order {number}")
        return self.orders[number]

    def refunded(self, number):
        return sum(amount for order, amount in self.refunds if order == number)

    def lookup(self, orderId):
        order = self.order(orderId)
        account = self.accounts.get(order["customer"])
        if account is None:
            raise Failure("ACCOUNT_NOT_FOUND", f"the customer of order {orderId} has no account")
        return {
            "orderId": orderId,
            "item": order["item"],
            "status": order["status"],
            "currency": "EUR",
            "paidMinor": order["paid"],
            "refundedMinor": self.refunded(orderId),
            "customer": {"id": order["customer"], **account},
        }

    def refund(self, orderId, amountMinor, currency, reason):
        left = self.order(orderId)["paid"] - self.refunded(orderId)
        if currency != "EUR":
            raise Failure("CURRENCY_MISMATCH", f"order {orderId} was paid in EUR, not {currency}")
        if amountMinor > left:
            raise Failure("REFUND_TOO_LARGE", f"only {left} of order {orderId} can be refunded")
        self.refunds.append((orderId, amountMinor))
        return {
            "refundId": f"r-{len(self.refunds)}",
            "orderId": orderId,
            "amountMinor": amountMinor,
            "currency": currency,
            "notice": f"We refunded {amountMinor / 100:.2f} {currency} for order {orderId}: {reason}",
        }

    def send(self, to, subject, body):
        self.outbox.append((to, subject, body))
        return {"messageId": f"m-{len(self.outbox)}", "to": to}

    def delete(self, customerId, reason):
        if self.accounts.pop(customerId, None) is None:
            raise Failure("ACCOUNT_NOT_FOUND", f"there is no account {customerId}")
        return {"customerId": customerId, "deleted": True}


class Worker:
    def __init__(self, workspace, caller_inbox, dedup, count_file, delay_ms):
        shop = Shop()
        # Entry point: (skill, its actions).
        self.skills = {
            "support-orders": ("support.orders", {"lookup": shop.lookup}),
            "support-refunds": ("support.refunds", {"refund": shop.refund}),
            "support-mail": ("support.mail", {"send": shop.send}),
            "support-accounts": ("support.accounts", {"delete": shop.delete}),
        }
        self.workspace = workspace
        self.caller_inbox = caller_inbox
        self.dedup = dedup
        self.count_file = count_file
        self.delay_ms = delay_ms
        # By idempotency key: the answer of a success, None while it is being worked on.
        self.answers = OrderedDict()
        self.slots = asyncio.Semaphore(CALLS_MAX)
        self.calls = set()

    async def serve(self, client):
        # A queue group: several workers share the calls.
        subjects = [f"cp.skill.{self.workspace}.{name}" for name in self.skills]
        return [
            await client.subscribe(subject, queue="worker", cb=functools.partial(self.take, subject))
            for subject in subjects
        ]

    async def take(self, subject, message):
        # The broker delivers what a stream holds to any subject, if a consumer asks for it: under
        # the subject it was stored at, to be acknowledged. Only the executor calls.
        if message.subject != subject or not message.reply.startswith(self.caller_inbox):
            log.warning(
                "refused on %s: not a call of the executor, but %s for %s",
                subject, message.subject, message.reply or "nobody",
            )  # fmt: skip
            return
        # The client awaits this before it delivers the next message, so a full worker stops reading.
        await self.slots.acquire()
        call = asyncio.create_task(self.answer(message))
        self.calls.add(call)
        call.add_done_callback(self.done)

    def done(self, call):
        self.calls.discard(call)
        self.slots.release()
        if not call.cancelled() and (error := call.exception()):
            # Nothing was answered: the caller times out, which is the truth about this effect.
            log.error("call broke off: %r", error, exc_info=error)

    async def answer(self, message):
        started = time.monotonic()
        request = {}
        try:
            request = read(message, self.workspace)
            reply = await self.once(message.subject.rsplit(".", 1)[-1], request)
        except Failure as failure:
            reply = {"error": failure.answer}
        await message.respond(json.dumps(reply).encode())
        log.info(
            "%s/%s %s key=%.12s attempt=%s execution=%s %.0fms",
            request.get("skill", "?"), request.get("action", "?"), outcome(reply),
            request.get("idempotencyKey", "?"), request.get("attempt", "?"),
            request.get("executionId", "?"), (time.monotonic() - started) * 1000,
        )  # fmt: skip

    async def once(self, name, request):
        """Acts, or answers a repeated key from memory: with a success only, never a failure."""
        if not self.dedup:
            return {"output": await self.act(name, request)}
        key = request["idempotencyKey"]
        if key in self.answers:
            output = self.answers[key]
            return {"inProgress": True} if output is None else {"output": output}
        self.answers[key] = None
        try:
            output = await self.act(name, request)
        except BaseException:
            del self.answers[key]
            raise
        self.answers[key] = output
        self.forget()
        return {"output": output}

    def forget(self):
        while len(self.answers) > ANSWERS_MAX:
            oldest = next(iter(self.answers))
            if self.answers[oldest] is None:
                # At most CALLS_MAX of these: it gets its answer soon.
                self.answers.move_to_end(oldest)
            else:
                del self.answers[oldest]

    async def act(self, name, request):
        skill, actions = self.skills[name]
        action = actions.get(request["action"])
        if request["skill"] != skill or action is None:
            raise Failure("UNKNOWN_ACTION", f"{name} has no {request['skill']}/{request['action']}")
        try:
            inputs = inspect.signature(action).bind(**request["inputs"])
        except TypeError as error:
            raise Failure("INVALID_INPUTS", str(error)) from error
        self.count(request)
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)
        return action(*inputs.args, **inputs.kwargs)

    def count(self, request):
        if self.count_file:
            members = ("idempotencyKey", "skill", "action", "executionId", "stepId", "attempt")
            line = {member: request.get(member) for member in members}
            line["atWork"] = len(self.calls)
            self.count_file.write(json.dumps(line) + "\n")
            self.count_file.flush()


def read(message, workspace):
    try:
        request = json.loads(message.data)
        texts = [request[member] for member in ("idempotencyKey", "skill", "action", "workspace")]
        inputs = request["inputs"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure("INVALID_REQUEST", f"not a skill call: {error!r}") from error
    if not all(isinstance(text, str) for text in texts) or not isinstance(inputs, dict):
        raise Failure("INVALID_REQUEST", "not a skill call: a member has the wrong type")
    if request["workspace"] != workspace:
        raise Failure("INVALID_REQUEST", f"this worker serves the workspace {workspace}")
    if (message.headers or {}).get("Idempotency-Key", texts[0]) != texts[0]:
        raise Failure("INVALID_REQUEST", "header and body name different idempotency keys")
    return request


def outcome(reply):
    if "output" in reply:
        return "ok"
    return reply["error"]["code"] if "error" in reply else "in progress"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    env = os.environ.get
    parser.add_argument("--url", default=env("CP_NATS_URL", "nats://127.0.0.1:4222"))
    parser.add_argument("--user", default=env("CP_NATS_USER"))
    parser.add_argument(
        "--password",
        default=env("CP_NATS_PASSWORD"),
        help="better given as CP_NATS_PASSWORD, where other users of this machine cannot see it",
    )
    parser.add_argument("--workspace", default=env("CP_WORKSPACE", "demo"))
    parser.add_argument(
        "--caller-inbox",
        metavar="PREFIX",
        default=env("CP_CALLER_INBOX", "_INBOX_executor."),
        help="where calls want their answers; others are refused",
    )
    parser.add_argument("--count-file", metavar="FILE", help="append one JSON line per real call")
    parser.add_argument("--no-dedup", action="store_true", help="act on every call")
    parser.add_argument("--delay-ms", type=int, default=0, metavar="N", help="how long each call takes")
    return parser.parse_args()


async def connect(options):
    said = None

    async def on_error(error):
        # The client tries again for ever; say each reason once.
        nonlocal said
        if str(error) != said:
            said = str(error)
            log.warning("connection: %s", said)

    return await nats.connect(
        options.url,
        user=options.user,
        password=options.password,
        name="demo-worker",
        error_cb=on_error,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
    )


async def main():
    options = arguments()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())

    connecting = asyncio.create_task(connect(options))
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        return
    client = await connecting

    count_file = open(options.count_file, "a", encoding="utf-8") if options.count_file else None
    worker = Worker(
        options.workspace, options.caller_inbox, not options.no_dedup, count_file, options.delay_ms
    )
    subscriptions = await worker.serve(client)
    await client.flush()
    log.info("ready: serving %s of workspace %s", ", ".join(worker.skills), options.workspace)

    await stopping
    for subscription in subscriptions:
        await subscription.drain()
    await asyncio.gather(*worker.calls, return_exceptions=True)
    await client.drain()
    log.info("stopped")


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname).1s worker: %(message)s")
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # the worker says it itself
    asyncio.run(main())

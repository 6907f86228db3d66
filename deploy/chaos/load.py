"""The load: intents of many kinds, and the people and platforms that go with them."""

import json
import random
import threading
import time
import uuid
from collections import Counter
from datetime import datetime, timezone

from client import Client
from fleet import SUBMITTERS, WORKSPACE

# Between two tries of a request, and of opening a feed.
AGAIN_AFTER_S = (0.3, 1.5)
ENDS = {"execution.completed", "execution.failed"}

RETRY = {"maxAttempts": 8, "backoffMs": 100, "backoffMsMax": 1000}
# Longer than the time after which work is taken over, or it has failed by then instead.
TIMEOUT_MS = 30_000
# For what is answered late or never.
TIMEOUT_MS_SHORT = 2500

# How often each kind of intent comes, out of a hundred.
KINDS = {
    "sequence": 16, "wide": 10, "approve": 12, "reject": 5, "expire": 4, "cancel_blocked": 3,
    "cancel": 4, "wait": 8, "retry": 8, "misbehave": 12, "rude": 3, "deadline": 4, "manual": 5,
    "drafted": 3, "observe": 2, "faulty": 1,
}  # fmt: skip


def work(step, needs=(), action="read", how=("ok",), skill="chaos.work", ms=20, timeout=TIMEOUT_MS, **inputs):
    return {
        "id": step, "uses": f"{skill}/{action}", "needs": list(needs),
        "with": {"how": list(how), "ms": ms, **inputs}, "timeoutMs": timeout, "retry": RETRY,
    }  # fmt: skip


def wait(step, ms, needs=()):
    return {"id": step, "uses": "core.wait/wait", "needs": list(needs), "with": {"ms": ms}}


class Plan:
    """What one client will do, drawn before anything happens."""

    def __init__(self, seed, number):
        self.rng = rng = random.Random(f"{seed}/{number}")
        self.number = number
        self.who = SUBMITTERS[number % len(SUBMITTERS)]
        self.kind = rng.choices(list(KINDS), KINDS.values())[0]
        self.key = str(uuid.UUID(int=rng.getrandbits(128))) if rng.random() < 0.6 else None
        self.repeats = self.key is not None and rng.random() < 0.3
        self.conflicts = self.key is not None and rng.random() < 0.15
        self.turn = rng.randrange(2)
        self.pause = rng.uniform(0, 3)
        self.vote = None
        self.cancels_at = None
        self.with_draft = True
        self.start = "auto"
        self.mode = "autonomous"
        self.deadline_s = None
        self.steps = getattr(self, self.kind)()

    def ms(self):
        """How long a call takes: mostly not long, and sometimes until something happens to it."""
        return self.rng.randint(5, 300) if self.rng.random() < 0.5 else self.rng.randint(1000, 6000)

    def sequence(self):
        count = self.rng.randint(2, 4)
        ids = [f"s{number}" for number in range(count)]
        return [
            work(step, ids[number - 1 : number] if number else (), ms=self.ms())
            for number, step in enumerate(ids)
        ]

    def wide(self):
        ids = [f"w{number}" for number in range(self.rng.randint(3, 6))]
        first = work("first")
        sides = [work(step, ["first"], action="note", ms=self.ms()) for step in ids]
        last = work("last", ids)
        # Its inputs are known only then, so it is judged a second time.
        last["with"]["seen"] = {"$from": f"/steps/{ids[0]}/output/key"}
        return [first, *sides, last]

    def approve(self):
        self.vote = "approve"
        effect = self.rng.choice([{"action": "pay", "minor": 700, "currency": "EUR"}, {"action": "erase"}])
        return [work("look"), work("act", ["look"], ms=self.ms(), **effect), work("tell", ["act"])]

    def reject(self):
        self.vote = "reject"
        return [work("act", action=self.rng.choice(["pay", "erase"]))]

    def expire(self):
        return [work("side"), work("act", action="hurry")]

    def cancel_blocked(self):
        self.cancels_at = "execution.step.blocked"
        return [work("act", action="pay")]

    def cancel(self):
        self.cancels_at = "execution.started"
        self.pause = self.rng.uniform(0, 0.8)
        return [work("slow", ms=900), wait("pause", 5000), work("after", ["pause", "slow"])]

    def wait(self):
        short = wait("short", self.rng.randint(200, 1800))
        long = wait("long", self.rng.randint(2200, 9000), ["short"])
        return [short, long, work("after", ["long"])]

    def retry(self):
        # Attempts count takeovers too, so a takeover may spare a failure, and adds none.
        errors = ["error"] * self.rng.randint(1, 4)
        return [work("again", how=[*errors, "ok"]), work("after", ["again"])]

    def misbehave(self):
        how = self.rng.choice(["twice", "late", "never", "garbage", "wrong", "big", "refuse"])
        timeout = TIMEOUT_MS_SHORT if how in ("late", "never") else TIMEOUT_MS
        return [work("odd", how=[how, "ok"], timeout=timeout), work("after", ["odd"])]

    def rude(self):
        return [work("rude", skill="chaos.rude", how=["huge", "ok"], timeout=TIMEOUT_MS_SHORT), work("after", ["rude"])]

    def deadline(self):
        self.deadline_s = self.rng.uniform(3, 8)
        return [work("first"), wait("long", self.rng.choice([1000, 15_000]), ["first"])]

    def manual(self):
        self.start = "manual"
        return [work("first"), work("second", ["first"], action="note", ms=self.ms())]

    def drafted(self):
        self.with_draft = False
        return [work("first"), work("second", ["first"])]

    def observe(self):
        self.mode = "observe"
        return [work("never-run", action="erase")]

    def faulty(self):
        return [work("one", ["nowhere"]), work("one", action="no-such")]

    def body(self):
        body = {
            "workspaceId": WORKSPACE, "text": f"chaos {self.number}: {self.kind}",
            "start": self.start, "mode": self.mode,
        }  # fmt: skip
        if self.with_draft:
            body["draft"] = {"steps": self.steps}
        if self.deadline_s:
            due = datetime.fromtimestamp(time.time() + self.deadline_s, timezone.utc)
            body["deadlineAt"] = due.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return body


class Book:
    """What clients were told: the promises that the log is held to."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.submitted = {}  # by execution: the plan's number
        self.by_number = {}  # the executions that a plan was answered with
        self.commands = []  # acknowledged votes, cancels, starts, drafts
        self.feeds = {}  # by execution: versions in the order they came
        self.answers = Counter()
        self.broken = []
        self.unanswered = set()
        self.followed = set()  # executions whose feed was read to its end

    def note(self, operation, number, answer, execution=None, **more):
        told = {
            "at": round(time.time(), 3), "operation": operation, "number": number,
            "status": answer.status, "code": answer.code, "execution": execution, **more,
        }  # fmt: skip
        with self.lock:
            outcome = str(answer.status) if answer.is_done else str(answer.code)
            self.answers[operation, outcome] += 1
            self.file.write(json.dumps(told) + "\n")
            if not answer.is_done:
                return
            if operation == "intent.submit":
                self.submitted[execution] = number
                self.by_number.setdefault(number, set()).add(execution)
            else:
                self.commands.append(told)

    def breaks(self, text):
        with self.lock:
            self.broken.append(text)

    def close(self):
        self.file.close()


class Story(threading.Thread):
    """One client, from its intent to the end of its execution."""

    def __init__(self, plan, client, book, over):
        super().__init__(daemon=True)
        self.plan = plan
        self.client = client
        self.book = book
        self.over = over
        self.turn = plan.turn

    def run(self):
        plan = self.plan
        body = plan.body()
        answer = self.submit(body)
        if answer is None or not answer.is_done:
            return
        self.execution = answer.body["executionId"]
        self.intent = answer.body["intentId"]
        if plan.repeats:
            self.submit(body)
        if plan.conflicts:
            self.conflict(body)
        self.follow()

    def submit(self, body):
        """With a key: again until it is answered. Without: once, since again would be another."""
        while not self.over.is_set():
            answer = self.ask("intent.submit", body, key=self.plan.key)
            execution = answer.body.get("executionId")
            self.book.note("intent.submit", self.plan.number, answer, execution)
            if not answer.may_do_better:
                return answer
            # Whatever is said to the next one, this one may still be stored.
            self.book.unanswered.add(self.plan.number)
            if self.plan.key is None:
                return None
            self.pause()
        return None

    def conflict(self, body):
        other = {**body, "text": body["text"] + ", and more"}
        answer = self.ask("intent.submit", other, key=self.plan.key)
        if answer.is_done:
            self.book.breaks(f"plan {self.plan.number}: another body under the same key was accepted")
        with self.book.lock:
            self.book.answers["another body", str(answer.code)] += 1

    def ask(self, operation, body, who=None, key=None):
        self.turn += 1
        return self.client.command(who or self.plan.who, operation, body, self.turn, key)

    def pause(self):
        self.over.wait(self.plan.rng.uniform(*AGAIN_AFTER_S))

    def follow(self):
        """What was seen of the execution goes on where it stopped, whoever serves it."""
        after = None
        versions = self.book.feeds.setdefault(self.execution, [])
        while not self.over.is_set():
            self.turn += 1
            for item in self.client.feed(self.plan.who, self.execution, after, self.turn):
                if item is None:
                    self.book.followed.add(self.execution)
                    return
                after, event = item
                versions.append(int(event["aggregateversion"]))
                name = event["type"].removeprefix("controlPlane.")
                self.react(name, event["data"])
                if name in ENDS or (name == "plan.rejected" and event["data"].get("final")):
                    self.book.followed.add(self.execution)
                    return
                if self.over.is_set():
                    return
            self.pause()

    def react(self, name, data):
        plan = self.plan
        execution = {"executionId": self.execution}
        if plan.cancels_at == name:
            time.sleep(plan.pause)
            self.until_answered("execution.cancel", {**execution, "cancelledBy": plan.who})
        elif name == "execution.step.blocked" and plan.vote:
            time.sleep(plan.pause)
            self.cast(data)
        elif name == "plan.verified" and plan.start == "manual":
            self.until_answered("execution.start", {**execution, "planId": data["planId"]})
        elif name == "plan.draft.requested":
            draft = {"intentId": self.intent, "draft": {"steps": plan.steps}, "plannerModel": "chaos"}
            self.until_answered("plan.compile", {**execution, **draft})

    def cast(self, blocked):
        ballot = {
            "executionId": self.execution, "stepId": blocked["stepId"], "blockId": blocked["blockId"],
            "planHash": blocked["planHash"], "inputsDigest": blocked["inputsDigest"],
        }  # fmt: skip
        if self.plan.vote == "approve":
            self.until_answered("execution.approve", {**ballot, "approvedBy": "approver"}, "approver")
        else:
            reason = {"rejectedBy": "approver", "reason": "it is only a drill"}
            self.until_answered("execution.reject", {**ballot, **reason}, "approver")

    def until_answered(self, operation, body, who=None):
        """A command says the same however often it is sent."""
        while not self.over.is_set():
            answer = self.ask(operation, body, who)
            step = body.get("stepId")
            self.book.note(operation, self.plan.number, answer, self.execution, step=step)
            if not answer.may_do_better:
                return
            self.pause()


class Load:
    def __init__(self, options, fleet, root):
        self.options = options
        self.client = Client(fleet)
        self.book = Book(root / "answers.jsonl")
        self.over = threading.Event()
        self.stories = []

    def run(self, until):
        """Submits at random instants, so many a second in the long run."""
        rng = random.Random(f"{self.options.seed}/arrivals")
        next_at = time.time()
        number = 0
        while (next_at := next_at + rng.expovariate(self.options.load)) < until:
            time.sleep(max(0, next_at - time.time()))
            story = Story(Plan(self.options.seed, number), self.client, self.book, self.over)
            story.start()
            self.stories.append(story)
            number += 1
        self.stories = [story for story in self.stories if story.is_alive()]
        return number

    def finish(self):
        self.over.set()
        for story in self.stories:
            story.join(timeout=30)
        self.book.close()

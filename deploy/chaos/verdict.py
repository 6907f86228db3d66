"""What the log, the ledger and the clients' answers come to: figures, and what must hold.

Each check is a function from the evidence to its violations, in words; none means that it holds.
"""

import bisect
import json
import re
from collections import Counter, defaultdict

from history import instant
from load import Plan

# Bounds of the histograms, in seconds.
BUCKETS = (0.5, 1, 2, 3, 5, 8, 12, 16, 20, 30, 60)
# Beyond `ack_wait`: 15 s and 5 s are the 20 s within which an execution goes on.
TAKEOVER_MARGIN_S = 5
# Beyond `ack_wait`: a process that starts without its broker gives up after so long.
ENDS_WITHIN_S = 20
GAVE_UP = 1
NETWORK = {"cut", "cut-broker", "hole", "delay"}
ASSISTED = {"pay", "erase", "hurry"}
STATUS = {"execution.completed": "completed", "execution.failed": "failed", "plan.rejected": "rejected"}


class Takeover:
    """`began` and `at` are instants of this machine, or nothing where only stepped clocks tell."""

    def __init__(self, event, before, began, at):
        self.event = event
        self.before = before
        # What was paused before it called may call after it was taken over.
        self.began = before.at if began is not None and at is not None and began > at else began
        self.at = at
        self.fault = None
        self.since_fault_s = None
        self.is_undisturbed = False

    @property
    def is_timed(self):
        return self.began is not None and self.at is not None

    @property
    def took_s(self):
        return self.at - self.began

    def told(self, told_from):
        """For the report."""
        return {
            "execution": self.event.execution,
            "step": self.event.step,
            "attempt": self.event.payload["attempt"],
            "fault": self.fault,
            "undisturbed": self.is_undisturbed,
            "began": round(self.began - told_from, 1) if self.is_timed else None,
            "tookS": round(self.took_s, 1) if self.is_timed else None,
            "sinceFaultS": round(self.since_fault_s, 1) if self.since_fault_s is not None else None,
        }


class Evidence:
    def __init__(self, options, executions, incidents, ledger_directory, book, records, fleet, ended_at):
        self.options = options
        self.ended_at = ended_at
        self.executions = executions
        self.incidents = incidents
        self.book = book
        self.records = records
        self.plans = {}
        self.lives = {}
        for process in fleet.of_role("executor"):
            for life in process.incarnations():
                self.lives[life["incarnation"]] = (process.name, life)
        self.panics = [
            f"{process.name}: see {process.log}"
            for process in fleet.processes.values()
            if b"panicked at" in process.log.read_bytes()
        ]
        # What the end of the run itself ends is wanted.
        self.ended_by_themselves = [
            (process, life) for process in fleet.processes.values() for life in process.lives
            if life.get("expected") is False
        ]  # fmt: skip
        self.brokers = set(fleet.broker_names)
        self.executors = {process.name for process in fleet.of_role("executor")}
        self.dispatched = defaultdict(list)
        self.answered = set()
        for path in sorted(ledger_directory.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                note = json.loads(line)
                if "dispatched" in note:
                    self.dispatched[note["key"]].append(note)
                else:
                    self.answered.add((note["key"], note["attempt"]))
        # By key: its starts, and by execution: its plan's number.
        self.starts = defaultdict(list)
        self.numbers = {}
        for execution, events in executions.items():
            text = events[0].payload.get("text", "")
            if found := re.match(r"chaos (\d+):", text):
                self.numbers[execution] = int(found[1])
            for event in events:
                if event.name == "execution.step.started":
                    self.starts[event.payload["idempotencyKey"]].append(event)
        self.misdated = {
            execution for execution, events in executions.items() if events[-1].at > ended_at
        }
        self.takeovers = [
            self.explained(Takeover(event, before, self.instant(before), self.instant(event)))
            for starts in self.starts.values()
            for before, event in zip(starts, starts[1:], strict=False)
            if event.payload.get("takeover")
        ]

    def plan(self, number):
        if number not in self.plans:
            self.plans[number] = Plan(self.options.seed, number)
        return self.plans[number]

    def instant(self, start):
        """When the call of a start came: the ledger's clock is never stepped."""
        attempt = start.payload["attempt"]
        for note in self.dispatched.get(start.payload["idempotencyKey"], []):
            if note["attempt"] == attempt:
                return note["at"]
        return None if start.execution in self.misdated else start.at

    def explained(self, takeover):
        """With the fault that hindered the owner of the attempt, a broker, or who took over."""
        if not takeover.is_timed:
            takeover.fault = "not timed"
            return takeover
        name, life = self.lives.get(takeover.before.payload["owner"], (None, None))
        if life and "ended" in life and takeover.began <= life["ended"] <= takeover.at:
            takeover.fault = "death"
            takeover.since_fault_s = takeover.at - life["ended"]
            # Its next life too: the work may have been given to it, and been lost on the way.
            takeover.is_undisturbed = not any(
                not (name in record["hinders"] and record["began"] <= life["ended"] <= record["ended"])
                for record in self.faults_of(self.brokers | self.executors, life["ended"], takeover.at)
            )
            return takeover
        margin = self.options.ack_wait_ms / 1000
        for record in self.faults_of(self.brokers | {name}, takeover.began - margin, takeover.at):
            takeover.fault = record["fault"]
            takeover.since_fault_s = takeover.at - max(takeover.began, record["began"])
            # What hit the owner itself explains more than what hit a broker.
            if name in record["hinders"]:
                break
        if takeover.fault is None:
            # Who was cut off holds a wake-up that another was given meanwhile, and comes too late.
            taker, _ = self.lives.get(takeover.event.payload["owner"], (None, None))
            for record in self.faults_of({taker}, takeover.began - margin, takeover.at):
                takeover.fault = f"{record['fault']} of the taker"
        return takeover

    def faults_of(self, names, began, ended):
        return [
            record for record in self.records
            if record["began"] <= ended and felt_until(record) >= began and names & set(record["hinders"])
        ]  # fmt: skip


def felt_until(record):
    """What is sent while a network is away is sent again after at most as long as it was away."""
    lasted = record["ended"] - record["began"] if record["fault"] in NETWORK else 0
    return record["ended"] + lasted


def end_of(events):
    return next((event for event in events if event.is_end), None)


def code_of(end):
    """Why it ended so, if there is a reason."""
    return end.payload.get("errorCode") or end.payload.get("cause")


# What must hold


def lost(evidence):
    """Every submission that was acknowledged is in the log."""
    for execution, number in evidence.book.submitted.items():
        if execution not in evidence.executions:
            yield f"plan {number} was answered with {execution}, which is not in the log"


def one_each(evidence):
    """One key is one execution, whatever was asked how often; nothing came from nowhere."""
    stored = defaultdict(set)
    for execution, number in evidence.numbers.items():
        stored[number].add(execution)
    for number, executions in stored.items():
        answered = evidence.book.by_number.get(number, set())
        if len(executions) > 1 or len(answered) > 1:
            yield f"plan {number} became several executions: {sorted(executions | answered)}"
        # A try that nobody answered may be stored later than a refusal of the next one.
        if not answered and number not in evidence.book.unanswered:
            yield f"plan {number} was refused and is in the log: {sorted(executions)}"
    yield from evidence.book.broken


def commands_kept(evidence):
    """Every acknowledged vote, start, draft and cancel is in the log."""
    names = {
        "execution.approve": "execution.approved", "execution.reject": "execution.rejected",
        "execution.cancel": "execution.cancel.requested", "execution.start": "execution.started",
        "plan.compile": "plan.drafted",
    }  # fmt: skip
    for told in evidence.book.commands:
        events = evidence.executions.get(told["execution"], [])
        step = told.get("step")
        name = names[told["operation"]]
        if not any(event.name == name and step in (None, event.step) for event in events):
            yield f"{told['operation']} of {told['execution']} was acknowledged and is not in the log"


def whole(evidence):
    """Versions without a hole."""
    for execution, events in evidence.executions.items():
        if [event.version for event in events] != list(range(1, len(events) + 1)):
            yield f"{execution}: versions {[event.version for event in events]}"


def one_end(evidence):
    """At most one recorded end per step key, one end per execution, and nothing after it."""
    for execution, events in evidence.executions.items():
        completed = Counter(event.step for event in events if event.name == "execution.step.completed")
        for step, count in completed.items():
            if count > 1:
                yield f"{execution}: `{step}` completed {count} times"
        ends = [index for index, event in enumerate(events) if event.is_end]
        if ends and ends != [len(events) - 1]:
            yield f"{execution}: events after its end: {[str(event) for event in events[ends[0]:]]}"


def all_ended(evidence):
    """Nothing is stuck: by the deadline everything had ended, and every client had seen it."""
    if evidence.still_open is None:
        yield "the read model did not say what was open at the deadline"
    for execution, item in (evidence.still_open or {}).items():
        yield f"{execution} was {item['status']} at the deadline"
    if evidence.at_work:
        yield f"{evidence.at_work} clients still waited at the deadline"
    for execution, events in evidence.executions.items():
        if end_of(events) is None:
            yield f"{execution} stands at: {events[-1]} ({len(events)} events)"


def none_ahead(evidence):
    """No execution waits for an instant that only a stepped clock had."""
    for execution in sorted(evidence.ahead):
        events = evidence.executions[execution]
        shown = [str(event) for event in events if event.name.startswith("execution.step.")][-2:]
        yield f"{execution} did not go on after a clock was stepped back; its last steps: {shown}"


def none_left(evidence):
    """What had to be cancelled as nobody went on with it was waiting for its client indeed."""
    for execution in sorted(evidence.left):
        events = evidence.executions[execution]
        intent, names = events[0].payload, {event.name for event in events}
        waits_for_a_start = intent.get("start") == "manual" and "execution.start.requested" not in names
        waits_for_a_draft = intent.get("draft") is None and "plan.drafted" not in names
        if not (waits_for_a_start or waits_for_a_draft):
            yield f"{execution} did not go on by itself: {[str(event) for event in events]}"


def dispatches_stored(evidence):
    """Each call has its stored start, and none was made twice for one attempt."""
    for key, notes in evidence.dispatched.items():
        started = {event.payload["attempt"] for event in evidence.starts.get(key, [])}
        for attempt, count in Counter(note["attempt"] for note in notes).items():
            where = f"{notes[0]['execution']}/{notes[0]['step']}#{attempt}"
            if attempt not in started:
                yield f"{where} was called and its start is not in the log"
            if count > 1:
                yield f"{where} was called {count} times"


def retries_stored(evidence):
    """Each attempt after the first is a takeover, or follows a failure that says it is tried again."""
    for execution, events in evidence.executions.items():
        again = set()
        for event in events:
            if event.name == "execution.step.failed" and event.payload.get("nextAttemptAt"):
                again.add((event.step, event.payload["attempt"] + 1))
            if event.name != "execution.step.started":
                continue
            attempt = event.payload["attempt"]
            if attempt > 1 and not event.payload.get("takeover") and (event.step, attempt) not in again:
                yield f"{execution}: no reason for {event}"


def takeovers_explained(evidence):
    """A takeover follows a fault that hit the owner of the attempt, a broker, or who takes over."""
    for takeover in evidence.takeovers:
        if takeover.fault is None:
            yield (
                f"{takeover.event.execution}: {takeover.event}, {takeover.took_s:.1f} s after "
                f"#{takeover.before.payload['attempt']} at {takeover.began - evidence.told_from:.1f} s"
            )


def takeovers_soon(evidence):
    """Where nothing hinders the others, the work of a killed process goes on after `ack_wait`."""
    within = evidence.options.ack_wait_ms / 1000 + TAKEOVER_MARGIN_S
    for takeover in evidence.takeovers:
        if takeover.is_undisturbed and takeover.since_fault_s > within:
            yield f"{takeover.event.execution}: {takeover.event}, {takeover.since_fault_s:.1f} s after its death"


def answers_true(evidence):
    """What is stored as an output is what was answered first, to a call of this very step."""
    for execution, events in evidence.executions.items():
        keys = {event.step: event.payload["idempotencyKey"]
                for event in events if event.name == "execution.step.started"}  # fmt: skip
        for event in events:
            if event.name != "execution.step.completed" or event.payload["output"].get("answer") is None:
                continue
            output = event.payload["output"]
            called = {note["attempt"] for note in evidence.dispatched.get(output["key"], [])}
            if output["answer"] != 1 or output["key"] != keys[event.step] or output["attempt"] not in called:
                yield f"{execution}: {event} holds an answer to something else"


def approvals_heeded(evidence):
    """Nothing that needs a human was called before one had approved it, or after one had not."""
    for execution, number in evidence.numbers.items():
        actions = {step["id"]: step["uses"].rpartition("/")[2] for step in evidence.plan(number).steps}
        approved, refused = set(), False
        for event in evidence.executions[execution]:
            if event.name == "execution.approved":
                approved.add(event.step)
            refused |= event.name == "execution.rejected"
            starts = event.name == "execution.step.started" and actions[event.step] in ASSISTED
            if starts and (event.step not in approved or refused):
                yield f"{execution}: {event} without an approval"


def feeds_whole(evidence):
    """Each live feed, through every reconnection, had each event once and in order, to the end."""
    for execution, versions in evidence.book.feeds.items():
        is_complete = execution in evidence.book.followed
        count = len(evidence.executions.get(execution, [])) if is_complete else len(versions)
        if versions != list(range(1, count + 1)):
            yield f"{execution}: {versions} of {count}"


def read_models_equal(evidence):
    """Both read models say of every execution what the log says, and the same in every member."""
    for projector, rows in evidence.read_models.items():
        for execution, events in evidence.executions.items():
            end = end_of(events)
            row = rows.get(execution)
            if row is None:
                yield f"{projector}: {execution} is not listed"
                continue
            said = {
                "status": row["status"], "text": row.get("text"), "errorCode": row.get("errorCode"),
                "createdAt": instant(row["createdAt"]), "updatedAt": instant(row["updatedAt"]),
            }  # fmt: skip
            stored = {
                "status": STATUS[end.name] if end else row["status"],
                "text": events[0].payload.get("text"),
                "errorCode": code_of(end) if end else row.get("errorCode"),
                "createdAt": events[0].at, "updatedAt": events[-1].at,
            }  # fmt: skip
            for member, value in stored.items():
                if said[member] != value:
                    yield f"{projector}: {member} of {execution} is {said[member]}, not {value}"
        for execution in rows.keys() - evidence.executions.keys():
            yield f"{projector}: {execution} is not in the log"
    first, *others = evidence.read_models.items()
    for projector, rows in others:
        for execution in first[1].keys() & rows.keys():
            if rows[execution] != first[1][execution]:
                yield f"{execution}: {first[0]} says {first[1][execution]}, {projector} {rows[execution]}"


def ends_explained(evidence):
    """A service or a worker ends by itself only by giving up, and only where a fault hindered it, or
    a broker, a little before. A broker never does."""
    for process, life in evidence.ended_by_themselves:
        hindered = evidence.brokers | {process.name}
        since = life["ended"] - evidence.options.ack_wait_ms / 1000 - ENDS_WITHIN_S
        gave_up = process.role != "broker" and life["code"] == GAVE_UP
        if not gave_up or not evidence.faults_of(hindered, since, life["ended"]):
            at = life["ended"] - evidence.told_from
            yield f"{process.name} ended with {life['code']} at {at:.1f} s: see {process.log}"


def all_back(evidence):
    """Every service came back by itself once faults had stopped."""
    yield from evidence.absent


def all_tried(evidence):
    """Each kind of fault came, something was submitted, and no part of this script failed."""
    done = {record["fault"] for record in evidence.records}
    for name in evidence.kinds:
        if name not in done:
            yield f"`{name}` did not come: give it more minutes"
    if not evidence.book.submitted:
        yield "nothing was submitted"
    yield from evidence.crashes


def no_incidents(evidence):
    """Nothing was poison, corrupt or forked."""
    for event in evidence.incidents:
        yield f"{event.name} {event.payload.get('code')}: {event.payload.get('cause')}"


def no_panics(evidence):
    """No process panicked."""
    yield from evidence.panics


def replays(evidence):
    """Everything is decided again as it is recorded."""
    if evidence.replay.returncode != 0:
        yield f"`controlplane replay --all` exits {evidence.replay.returncode}: {evidence.replay.stdout[-2000:]}"


CHECKS = (
    lost, one_each, commands_kept, whole, one_end, all_ended, none_ahead, none_left, dispatches_stored,
    retries_stored, takeovers_explained, takeovers_soon, answers_true, approvals_heeded, feeds_whole, read_models_equal,
    ends_explained, all_back, all_tried, no_incidents, no_panics, replays,
)  # fmt: skip


def judge(evidence):
    return {check.__name__: list(check(evidence)) for check in CHECKS}


# Figures


def histogram(seconds):
    counts = [0] * (len(BUCKETS) + 1)
    for each in seconds:
        counts[bisect.bisect_left(BUCKETS, each)] += 1
    labels = [f"<= {bound:g} s" for bound in BUCKETS] + [f"> {BUCKETS[-1]:g} s"]
    return dict(zip(labels, counts, strict=True))


def figures(evidence):
    finished, codes = Counter(), Counter()
    for events in evidence.executions.values():
        end = end_of(events)
        finished[STATUS[end.name] if end else "waiting"] += 1
        if end and (code := code_of(end)):
            codes[code] += 1
    per_key = Counter(len(notes) for notes in evidence.dispatched.values())
    extra, overtaken = Counter(), 0
    for key, notes in evidence.dispatched.items():
        starts = {event.payload["attempt"]: event for event in evidence.starts.get(key, [])}
        for note in notes:
            start = starts.get(note["attempt"])
            if start is not None and note["attempt"] > 1:
                extra["takeover" if start.payload.get("takeover") else "retry"] += 1
            later = starts.get(note["attempt"] + 1)
            if later is not None and later.payload.get("takeover") and note["at"] > later.at:
                overtaken += 1
    timed = [each for each in evidence.takeovers if each.is_timed]
    deaths = [each.since_fault_s for each in timed if each.fault == "death"]
    pauses = [each.since_fault_s for each in timed if each.fault == "pause-executor"]
    return {
        "submitted": len(evidence.book.submitted),
        "stored": len(evidence.executions),
        "storedUnacknowledged": len(evidence.executions.keys() - evidence.book.submitted.keys()),
        "finished": dict(finished),
        "failureCodes": dict(codes),
        "events": sum(map(len, evidence.executions.values())),
        "faults": dict(Counter(record["fault"] for record in evidence.records)),
        "keys": len(evidence.dispatched),
        "dispatches": sum(map(len, evidence.dispatched.values())),
        "keysByDispatches": {str(count): keys for count, keys in sorted(per_key.items())},
        "dispatchesBeyondOne": dict(extra),
        "dispatchesAfterTakeover": overtaken,
        "answersCutOff": sum(
            (key, note["attempt"]) not in evidence.answered
            for key, notes in evidence.dispatched.items()
            for note in notes
        ),
        "takeovers": len(evidence.takeovers),
        "takeoversNotTimed": len(evidence.takeovers) - len(timed),
        "takeoversFromUnhindered": sum(str(each.fault).endswith("of the taker") for each in evidence.takeovers),
        "takeoversByFault": dict(Counter(str(each.fault) for each in evidence.takeovers)),
        "takeoverSinceStart": histogram(each.took_s for each in timed),
        "takeoverSinceDeath": histogram(deaths),
        "takeoverSincePause": histogram(pauses),
        "takeoverSinceDeathUndisturbed": histogram(
            each.since_fault_s for each in timed if each.is_undisturbed
        ),
        "takeoverSinceDeathMaxS": round(max(deaths, default=0), 1),
        "takeoverSincePauseMaxS": round(max(pauses, default=0), 1),
        "answers": {f"{operation} {outcome}": count
                    for (operation, outcome), count in sorted(evidence.book.answers.items())},
    }  # fmt: skip

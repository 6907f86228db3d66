#!/usr/bin/env python3
"""Real faults on real processes, and what became of every promise.

Starts brokers, two instances of each service, and workers, as an operator would; submits a mixed
load; kills, pauses, cuts off, delays, fills and misdates them at instants drawn from a seed. Then
faults stop, everything has to end, and the log, a ledger of real calls and what clients were
answered are held against each other. Exit code 0: everything holds; 1: something does not; 2: it
could not be done.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import disk
import fleet as fleets
import faults
import history
import network as networks
import report as reports
import skills
import verdict
from chronicle import Chronicle
from load import Load

HERE = Path(__file__).resolve().parent

# The short form: every kind of fault once, on a machine that does other things too.
SHORT = {"servers": 1, "minutes": 1.9, "load": 2.5, "ack_wait_ms": 3000, "gap": 5.0, "disk_mib": 768}
LONG = {"servers": 1, "minutes": 30.0, "load": 3.0, "ack_wait_ms": 15_000, "gap": 9.0, "disk_mib": 1024}

# How long everything may take to end once faults have stopped.
QUIET_S = 90
# An event that is so far in the future was timed by a clock that was stepped. What has not ended
# by then waits for its instant.
AHEAD_S = 300
AHEAD_AFTER_S = 60
# What waits for its client and has not gone on by then has none.
LEFT_AFTER_S = 30
OPEN_STATUSES = ("received", "awaiting_draft", "drafted", "compiled", "verified", "running",
                 "blocked", "paused", "stopping")  # fmt: skip


def arguments():
    first, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest + "\nFaults: " + ", ".join(faults.kinds()) + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--servers", type=int, choices=(1, 3), help="brokers (default: 1)")
    add("--minutes", type=float, metavar="M", help="of faults (default: 30)")
    add("--seed", type=int, metavar="S", help="of load and faults (default: drawn)")
    add("--load", type=float, metavar="R", help="submits a second (default: 3)")
    add("--gap", type=float, metavar="S", help="seconds between two faults, on average (default: 9)")
    add("--faults", metavar="A,B", help="only these kinds (default: all that this machine can do)")
    add("--short", action="store_true", help="every kind once, in under four minutes in all")
    add("--keep", type=Path, metavar="DIR", help="keep logs, ledger, answers and the exported log there")
    add("--json", type=Path, metavar="FILE", help="write the report there")
    add("--binaries", type=Path, metavar="DIR", default=HERE.parent.parent / "target" / "debug",
        help="where the services are (default: target/debug)")  # fmt: skip
    add("--nats-server", type=Path, metavar="FILE", help="default: as deploy/get-nats-server obtains it")
    add("--ack-wait-ms", type=int, metavar="MS",
        help="after which work is taken over (default: 15000, as in production)")  # fmt: skip
    add("--durability", choices=("process", "disk"), default="process",
        help="whether brokers fsync what they acknowledge (default: %(default)s)")  # fmt: skip
    add("--streams", type=int, default=1, metavar="N", help="streams of executions (default: %(default)s)")
    add("--disk-mib", type=int, metavar="N", help="size of a broker's disk (default: 1024)")
    add("--log", default="debug,async_nats=warn", metavar="FILTER", help="what services log")
    options = parser.parse_args()
    for name, value in (SHORT if options.short else LONG).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    options.binaries = options.binaries.resolve()
    return options


def chosen(options, impossible, chronicle):
    """The kinds that are done. One that was asked for by name has to be possible."""
    known = faults.kinds()
    if options.faults is None:
        for name, reason in impossible.items():
            chronicle.tell("cannot", f"{name}: {reason}")
        return [name for name in known if name not in impossible]
    asked = options.faults.split(",")
    for name in asked:
        if name not in known:
            raise networks.Impossible(f"no fault is called `{name}`: use {', '.join(known)}")
        if name in impossible:
            raise networks.Impossible(f"{name}: {impossible[name]}")
    return asked


class Run:
    """Everything that has to be put away again, in whatever way it ends."""

    def __init__(self, options, root):
        self.options = options
        self.root = root
        self.chronicle = Chronicle()
        self.fleet = None
        self.relay = None
        self.network = None
        self.ahead = set()
        self.left = set()
        self.crashes = []
        self.absent = []
        self.cancelled = set()

    def close(self):
        for part in (self.fleet, self.relay, self.network):
            if part is not None:
                part.close()

    def start(self):
        options, chronicle = self.options, self.chronicle
        chronicle.tell("seed", str(options.seed))
        for name in (*fleets.SERVICES, "controlplane"):
            if not (options.binaries / name).is_file():
                raise networks.Impossible(
                    f"no `{name}` in {options.binaries}: cargo build --workspace --bins --features failpoints"
                )
        brokers = [f"n{number}" for number in range(1, options.servers + 1)]
        self.network, reason = networks.make([*fleets.HOSTS, "w", *brokers])
        impossible = faults.impossible(self.network, reason, options.binaries)
        names = chosen(options, impossible, chronicle)
        how = "netem" if self.network.has_netem else "the relay, as this kernel has no netem"
        self.how = f"{self.network.kind}, delays by {how}"
        chronicle.tell("network", self.how)

        self.fleet = fleet = fleets.Fleet(options, self.network, self.root, chronicle)
        if "disk-full" in names:
            for name in brokers:
                fleet.disks[name] = disk.Disk(self.root / "brokers" / name, options.disk_mib)
        fleet.start_brokers(fleets.nats_server(options.nats_server))
        clients = {name: ports["client"] for name, ports in fleet.brokers.items()}
        self.relay = networks.Relay(self.network, [*fleets.HOSTS, "w"], clients)
        fleet.start_services(self.relay)
        fleet.write_context()
        skills.install(fleet)
        fleet.start_workers()
        chronicle.tell("up", f"{options.servers} broker(s), two of each service, {len(fleets.WORKERS)} workers")
        self.impossible = impossible if options.faults is None else {}
        self.kinds = names
        seconds = options.minutes * 60
        self.schedule = faults.Schedule(names, fleet, self.relay, options.seed, seconds, options.gap)

    def storm(self):
        """Load and faults beside each other."""
        self.load = Load(self.options, self.fleet, self.root)
        self.began_at = time.time()
        until = self.began_at + self.options.minutes * 60
        threading.excepthook = self.crashed
        submitting = threading.Thread(target=self.load.run, args=[until], daemon=True)
        submitting.start()
        self.faults = faults.Storm(self.schedule, self.fleet, self.chronicle)
        self.faults.run(until)
        submitting.join()
        self.calm_at = time.time()

    def crashed(self, failure):
        """A part of the script that ended by a mistake of its own did not look at what it should."""
        self.crashes.append(f"{failure.thread.name}: {failure.exc_type.__name__}: {failure.exc_value}")
        threading.__excepthook__(failure)

    def calm(self):
        """Faults have stopped: everything has to come back, and to end."""
        self.chronicle.tell("calm", "no more faults; open approvals are voted on, everything has to end")
        for process in self.fleet.of_role(*fleets.SERVICES):
            try:
                self.fleet.until(lambda process=process: self.fleet.is_ready(process), f"{process.name} to be ready")
            except networks.Impossible as reason:
                self.absent.append(str(reason))
        ready = "every service is ready" if not self.absent else f"{len(self.absent)} did not come back"
        self.chronicle.tell("calm", f"{ready}, {time.time() - self.calm_at:.1f} s after the last fault")
        deadline = self.calm_at + QUIET_S
        while time.time() < deadline:
            self.vote()
            still_open = self.open_executions()
            self.settle(still_open or {})
            at_work = sum(story.is_alive() for story in self.load.stories)
            if still_open == {} and at_work == 0:
                break
            time.sleep(1)
        self.ended_at = time.time()
        self.still_open, self.at_work = still_open, at_work
        left = "?" if still_open is None else len(still_open)
        text = f"{left} open, {at_work} clients at work, {self.ended_at - self.calm_at:.1f} s after the last fault"
        self.chronicle.tell("ended", text)
        self.load.finish()

    def open_executions(self):
        """Those that have not ended, as they are listed; nothing where the read model does not say."""
        found = {}
        for status in OPEN_STATUSES:
            answer = self.load.client.query("admin", f"/v1/executions?status={status}&limit=100", turn=0)
            if not answer.is_done:
                return None
            found |= {item["executionId"]: item for item in answer.body["items"]}
        return found

    def settle(self, still_open):
        """Cancels what nobody goes on with, and what waits for an instant that is an hour away."""
        for execution, item in still_open.items():
            if execution in self.cancelled:
                continue
            is_ahead = history.instant(item["updatedAt"]) > time.time() + AHEAD_S
            if is_ahead and time.time() > self.calm_at + AHEAD_AFTER_S:
                self.ahead.add(execution)
                self.cancel(execution, "its last event is of the future")
            elif item["status"] in ("verified", "awaiting_draft") and time.time() > self.calm_at + LEFT_AFTER_S:
                # Its client had no answer, or was refused by who had another time: it waits for
                # days, as it should.
                self.left.add(execution)
                self.cancel(execution, "nobody goes on with it")

    def cancel(self, execution, why):
        body = {"executionId": execution, "cancelledBy": "admin", "reason": why}
        if self.load.client.command("admin", "execution.cancel", body, turn=0).is_done:
            self.cancelled.add(execution)
            self.chronicle.tell("cancelled", f"{execution}: {why}")

    def vote(self):
        """For whatever waits, as someone who has looked at it."""
        client = self.load.client
        listed = client.query("approver", "/v1/executions?status=blocked&limit=100", turn=0)
        for item in listed.body.get("items", []):
            shown = client.query("approver", f"/v1/executions/{item['executionId']}", turn=0)
            for step in shown.body.get("execution", {}).get("steps", []):
                if approval := step.get("approval"):
                    ballot = {
                        "executionId": item["executionId"], "stepId": step["id"],
                        "approvedBy": "approver", "blockId": approval["blockId"],
                        "planHash": approval["planHash"], "inputsDigest": approval["inputsDigest"],
                    }  # fmt: skip
                    client.command("approver", "execution.approve", ballot, turn=0)

    def judge(self):
        export = self.root / "log.jsonl"
        self.fleet.controlplane("events", "export", "--output", str(export))
        executions, incidents = history.read(export)
        evidence = verdict.Evidence(
            self.options, executions, incidents, self.root / "ledger", self.load.book,
            self.faults.records, self.fleet, self.ended_at,
        )  # fmt: skip
        evidence.told_from = self.chronicle.began
        evidence.ahead = self.ahead
        evidence.left = self.left
        evidence.still_open, evidence.at_work = self.still_open, self.at_work
        evidence.crashes, evidence.absent = self.crashes, self.absent
        evidence.kinds = [name for name in self.kinds if name not in self.impossible]
        evidence.replay = self.fleet.controlplane("replay", "--all", check=False)
        evidence.read_models = {f"projector-{host}": self.listed(turn) for turn, host in enumerate(fleets.HOSTS)}
        checks = verdict.judge(evidence)
        return {
            "holds": not any(checks.values()),
            "seed": self.options.seed,
            "servers": self.options.servers,
            "network": self.how,
            "ackWaitMs": self.options.ack_wait_ms,
            "faultSeconds": round(self.calm_at - self.began_at, 1),
            "quietSeconds": round(self.ended_at - self.calm_at, 1),
            "kinds": self.kinds,
            "impossible": self.impossible,
            "endedByThemselves": len(evidence.ended_by_themselves),
            "figures": verdict.figures(evidence),
            "takeovers": [each.told(self.chronicle.began) for each in evidence.takeovers],
            "checks": checks,
            "chronicle": self.chronicle.lines,
        }

    def listed(self, turn):
        """Every execution, as one read model lists it."""
        rows, page = {}, 100
        while True:
            path = f"/v1/executions?limit={page}&offset={len(rows)}"
            answer = self.load.client.query("admin", path, turn)
            items = answer.body.get("items", [])
            rows |= {item["executionId"]: item for item in items}
            if len(items) < page:
                return rows


def interrupted(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        if any(options.keep.iterdir()):
            sys.exit(f"`{options.keep}` is not empty: name a new directory with `--keep`")
    root = (options.keep or Path(tempfile.mkdtemp(prefix="control-plane-chaos-"))).resolve()
    run = Run(options, root)
    try:
        run.start()
        run.storm()
        run.calm()
        report = run.judge()
    except networks.Impossible as reason:
        print(f"cannot: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: putting everything away", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run.close()
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(reports.table(report))
    return 0 if report["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""The faults: what each does, what it takes, and when they come.

The whole schedule is drawn from the seed before anything runs. What cannot be done when its time
comes, because its target is hindered already, waits until it is not.
"""

import heapq
import random
import signal
import threading
import time
from pathlib import Path

import disk
from fleet import HOSTS, SERVICES
from network import Loopback

CLOCK_STEP_MS = 3_600_000

# Twice in every round: what takeovers come from.
TWICE = ("kill-executor", "pause-executor")

# Of the mean time between two faults.
GAP_SPREAD = (0.4, 1.6)


class Fault:
    """One kind. `begin` and `end` do it; between them lie the seconds that `lasts` draws."""

    # How long, as factors of the time after which work is taken over, or in seconds.
    seconds = (0.3, 5.0)
    takeovers = None
    # Whether it hinders a broker: one at a time, or three servers have no majority.
    of_broker = False

    def __init__(self, fleet, relay, rng):
        self.fleet = fleet
        self.relay = relay
        self.rng = rng

    def lasts(self):
        if self.takeovers:
            ack_wait = self.fleet.options.ack_wait_ms / 1000
            return self.rng.uniform(*self.takeovers) * ack_wait
        return self.rng.uniform(*self.seconds)

    def target(self):
        """What it will hit, drawn now; a broker is chosen when its time comes."""
        raise NotImplementedError

    def hinders(self, target):
        """Names of the processes that it keeps from working."""
        return [target]


class Kill(Fault):
    """kill -9, and a start some seconds later."""

    def __init__(self, role, *given):
        super().__init__(*given)
        self.role = role

    def target(self):
        return self.rng.choice([process.name for process in self.fleet.of_role(self.role)])

    def begin(self, target):
        self.fleet.processes[target].down(signal.SIGKILL)

    def end(self, target):
        self.fleet.processes[target].up()


class KillBroker(Kill):
    of_broker = True


class Pause(Fault):
    """SIGSTOP until its work was taken over, then SIGCONT."""

    takeovers = (1.3, 2.2)

    def target(self):
        return self.rng.choice([process.name for process in self.fleet.of_role("executor")])

    def begin(self, target):
        self.fleet.processes[target].send(signal.SIGSTOP)

    def end(self, target):
        self.fleet.processes[target].send(signal.SIGCONT)


class PauseLeader(Pause):
    """The same for the broker that leads the stream of executions."""

    of_broker = True

    def target(self):
        return None

    def choose(self):
        return self.fleet.leader()


class Cut(Fault):
    """The wire of a host: nothing comes or goes, and nobody is told."""

    takeovers = (0.3, 2.0)

    def target(self):
        return self.rng.choice(HOSTS)

    def hinders(self, target):
        return [f"{service}-{target}" for service in SERVICES]

    def begin(self, target):
        self.fleet.network.cut(target)

    def end(self, target):
        self.fleet.network.join(target)


class CutBroker(Cut):
    """The wire of a broker: it hears neither services nor its peers."""

    of_broker = True

    def target(self):
        return self.rng.choice(self.fleet.broker_names)

    def hinders(self, target):
        return [target]


class Hole(Cut):
    """What services of a host and the brokers send each other does not come; callers still reach
    the services."""

    def begin(self, target):
        self.relay.set(source=target, hole=True)

    def end(self, target):
        self.relay.set(source=target)


class Delay(Cut):
    """Everything between services of a host and the brokers is late."""

    takeovers = None
    seconds = (4.0, 12.0)

    def begin(self, target):
        ms = self.rng.randint(40, 400)
        if self.fleet.network.has_netem:
            self.fleet.network.delay(target, ms)
        else:
            self.relay.set(source=target, delay_ms=ms)
        return f"{ms} ms each way"

    def end(self, target):
        if self.fleet.network.has_netem:
            self.fleet.network.delay(target, 0)
        else:
            self.relay.set(source=target)


class DiskFull(Fault):
    """A broker's disk is filled to the last byte, then freed. The broker keeps streams in their
    write error until it is started again, so it is, as an operator would."""

    of_broker = True
    seconds = (2.0, 8.0)

    def target(self):
        return self.rng.choice(self.fleet.broker_names)

    def begin(self, target):
        self.fleet.disks[target].fill()

    def end(self, target):
        self.fleet.disks[target].free()
        broker = self.fleet.processes[target]
        broker.down(signal.SIGTERM)
        broker.up()
        return "freed, and the broker started again"


class Clock(Fault):
    """The wall clock of one service is stepped, and back again later."""

    takeovers = (0.5, 1.5)

    def __init__(self, step_ms, *given):
        super().__init__(*given)
        self.step_ms = step_ms

    def target(self):
        return f"{self.rng.choice(SERVICES)}-{self.rng.choice(HOSTS)}"

    def begin(self, target):
        self.fleet.step_clock(target, self.step_ms)

    def end(self, target):
        self.fleet.step_clock(target, 0)


def kinds():
    """By name, how each is made; in the order of the help."""
    made = {f"kill-{service}": lambda *given, role=service: Kill(role, *given) for service in SERVICES}
    return {
        **made,
        "kill-worker": lambda *given: Kill("worker", *given),
        "kill-broker": lambda *given: KillBroker("broker", *given),
        "pause-executor": Pause,
        "pause-leader": PauseLeader,
        "cut": Cut,
        "cut-broker": CutBroker,
        "hole": Hole,
        "delay": Delay,
        "disk-full": DiskFull,
        "clock-forward": lambda *given: Clock(CLOCK_STEP_MS, *given),
        "clock-back": lambda *given: Clock(-CLOCK_STEP_MS, *given),
    }


def impossible(network, network_reason, binaries):
    """The kinds that this machine cannot do, each with why."""
    found = {}
    if isinstance(network, Loopback):
        for name in ("cut", "cut-broker"):
            found[name] = f"no network namespaces: {network_reason}"
    if reason := disk.why_not():
        found["disk-full"] = reason
    if b"CONTROL_PLANE_CLOCK_OFFSET_FILE" not in Path(binaries / "executor").read_bytes():
        for name in ("clock-forward", "clock-back"):
            found[name] = "the binaries were built without `--features failpoints`"
    return found


class Schedule:
    """Which fault comes when, each kind at least once if there is time."""

    def __init__(self, names, fleet, relay, seed, seconds, gap_s):
        rng = random.Random(f"{seed}/faults")
        made = {name: make(fleet, relay, rng) for name, make in kinds().items() if name in names}
        self.entries = []
        at = 0.5
        round_of = []
        while at < seconds:
            if not round_of:
                names = [*made, *(name for name in TWICE if name in made)]
                round_of = rng.sample(names, len(names))
            name = round_of.pop()
            fault = made[name]
            self.entries.append((at, name, fault, fault.target(), fault.lasts()))
            at += gap_s * rng.uniform(*GAP_SPREAD)


class Storm:
    """Carries a schedule out."""

    def __init__(self, schedule, fleet, chronicle):
        self.schedule = schedule
        self.fleet = fleet
        self.chronicle = chronicle
        self.open = []  # a heap of (end, number, name, fault, target, record)
        self.records = []
        self.stop = threading.Event()

    def run(self, until):
        began = time.time()
        for number, (at, name, fault, target, lasts) in enumerate(self.schedule.entries):
            if not self.pass_time(min(began + at, until)):
                break
            target = fault.choose() if target is None else target
            while self.open and self.is_hindered(fault, target) and time.time() < until:
                self.pass_time(min(self.open[0][0], until))
            if time.time() >= until:
                break
            self.begin(number, name, fault, target, min(lasts, until - time.time()))
        self.pass_time(until)
        self.end_all()

    def is_hindered(self, fault, target):
        """Whether an open fault hits the same process, or a broker too: three have a majority
        without one, not without two."""
        if fault.of_broker and any(opened[3].of_broker for opened in self.open):
            return True
        hindered = {process for opened in self.open for process in opened[5]["hinders"]}
        return bool(hindered & set(fault.hinders(target)))

    def pass_time(self, until):
        """Ends what is over meanwhile. False if it is to stop."""
        while True:
            due = min(until, self.open[0][0]) if self.open else until
            if self.stop.wait(max(0, due - time.time())):
                return False
            if self.open and self.open[0][0] <= time.time():
                self.end(heapq.heappop(self.open))
            elif time.time() >= until:
                return True

    def begin(self, number, name, fault, target, lasts):
        begun = time.time()
        record = {"fault": name, "target": target, "hinders": fault.hinders(target), "began": begun}
        said = fault.begin(target)
        text = f"{target}, for {lasts:.1f} s" + (f": {said}" if said else "")
        self.chronicle.tell(name, text, target=target)
        self.records.append(record)
        heapq.heappush(self.open, (time.time() + lasts, number, name, fault, target, record))

    def end(self, opened):
        _, _, name, fault, target, record = opened
        said = fault.end(target)
        record["ended"] = time.time()
        lasted = record["ended"] - record["began"]
        text = f"{target}, after {lasted:.1f} s" + (f": {said}" if said else "")
        self.chronicle.tell(f"{name} ends", text, target=target)

    def end_all(self):
        while self.open:
            self.end(heapq.heappop(self.open))

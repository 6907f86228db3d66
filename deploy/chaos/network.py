"""Where processes run, and the wires between them.

With root and iproute2 each place is a network namespace behind one bridge, as hosts are behind a
switch; without, all places are this machine's loopback. In both, services reach the brokers
through the relay where the kernel has no netem.
"""

import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Set aside for benchmarks of networks (RFC 2544): nobody's real addresses.
NETWORK = "198.18"
SPACES = Path("/run/netns")


class Impossible(Exception):
    """What this machine cannot do, and why."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Place:
    """Somewhere to run processes: an address, and a command in front of theirs."""

    def __init__(self, name, address, space=None):
        self.name = name
        self.address = address
        self.space = space

    def command(self, words):
        return ["nsenter", f"--net={SPACES / self.space}", *words] if self.space else words

    def port(self, usual):
        """The usual one where the place has an address of its own."""
        return usual if self.space else free_port()


class Loopback:
    """Every place is 127.0.0.1."""

    kind = "loopback"

    def __init__(self, names):
        self.places = {name: Place(name, "127.0.0.1") for name in names}
        self.hub = Place("hub", "127.0.0.1")
        self.has_netem = False

    def close(self):
        pass


class Namespaces:
    """Each place has a namespace of its own, wired to a bridge in that of the hub."""

    kind = "namespaces"

    def __init__(self, names):
        self.places = {}
        self.prefix = f"cpchaos-{os.getpid()}-"
        self.root_wire = f"cpc{os.getpid()}"
        subnet = f"{NETWORK}.{free_subnet()}"
        try:
            self.hub = Place("hub", f"{subnet}.254", self.prefix + "hub")
            self.add_space(self.hub)
            self.ip("-n", self.hub.space, "link", "add", "br0", "type", "bridge")
            self.ip("-n", self.hub.space, "addr", "add", f"{self.hub.address}/24", "dev", "br0")
            self.ip("-n", self.hub.space, "link", "set", "br0", "up")
            for number, name in enumerate(names, 1):
                place = Place(name, f"{subnet}.{number}", self.prefix + name)
                self.places[name] = place
                self.add_space(place)
                self.ip("link", "add", self.wire(name), "netns", self.hub.space,
                        "type", "veth", "peer", "name", "eth0", "netns", place.space)  # fmt: skip
                self.plug(self.wire(name))
                self.ip("-n", place.space, "addr", "add", f"{place.address}/24", "dev", "eth0")
                self.ip("-n", place.space, "link", "set", "eth0", "up")
            # This process asks the services from outside of all of them.
            self.ip("link", "add", self.root_wire, "type", "veth",
                    "peer", "name", "outside", "netns", self.hub.space)  # fmt: skip
            self.plug("outside")
            self.ip("addr", "add", f"{subnet}.253/24", "dev", self.root_wire)
            self.ip("link", "set", self.root_wire, "up")
            self.has_netem = self.try_netem()
        except BaseException:
            self.close()
            raise

    def add_space(self, place):
        self.ip("netns", "add", place.space)
        self.ip("-n", place.space, "link", "set", "lo", "up")

    def plug(self, wire):
        self.ip("-n", self.hub.space, "link", "set", wire, "master", "br0", "up")

    def wire(self, name):
        return f"w-{name}"

    def try_netem(self):
        wire = self.wire(next(iter(self.places)))
        netem = ("qdisc", "add", "dev", wire, "root", "netem", "delay", "1ms")
        if shutil.which("tc") is None or self.tc(*netem) != 0:
            return False
        self.tc("qdisc", "del", "dev", wire, "root")
        return True

    def cut(self, name):
        self.ip("-n", self.hub.space, "link", "set", self.wire(name), "down")

    def join(self, name):
        self.ip("-n", self.hub.space, "link", "set", self.wire(name), "up")

    def delay(self, name, ms):
        """On what goes to the place; what comes from it is as fast as ever."""
        wire = ("dev", self.wire(name), "root")
        self.tc("qdisc", "del", *wire)
        if ms:
            self.tc("qdisc", "add", *wire, "netem", "delay", f"{2 * ms}ms", f"{ms // 2}ms")

    def ip(self, *words):
        run = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise Impossible(f"`ip {' '.join(words)}`: {run.stderr.strip()}")

    def tc(self, *words):
        command = self.hub.command(["tc", *words])
        return subprocess.run(command, capture_output=True, check=False).returncode

    def close(self):
        remove_spaces(self.prefix)
        run = ["ip", "link", "del", self.root_wire]
        subprocess.run(run, capture_output=True, check=False)


def remove_spaces(prefix):
    # The wires go with the namespaces they end in.
    for path in glob.glob(str(SPACES / (prefix + "*"))):
        command = ["ip", "netns", "del", os.path.basename(path)]
        subprocess.run(command, capture_output=True, check=False)


def remove_left_behind():
    """What a run left that was killed before it could clean up."""
    for path in SPACES.glob("cpchaos-*"):
        owner = path.name.split("-")[1]
        if not Path("/proc", owner).exists():
            remove_spaces(f"cpchaos-{owner}-")


def free_subnet():
    taken = subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True, check=False).stdout
    numbers = [(os.getpid() + step) % 256 for step in range(256)]
    return next(number for number in numbers if f"{NETWORK}.{number}." not in taken)


def make(names):
    """Namespaces where they can be made; else loopback, and why."""
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            return Loopback(names), f"`{tool}` is not installed"
    if os.geteuid() != 0:
        return Loopback(names), "network namespaces need root"
    remove_left_behind()
    try:
        return Namespaces(names), None
    except Impossible as reason:
        return Loopback(names), str(reason)


class Relay:
    """The relay's process, and what it was told."""

    def __init__(self, network, sources, brokers):
        """`brokers`: by name, their host and port."""
        self.lock = threading.Lock()
        self.ports = {
            (source, broker): network.hub.port(20_000 + number)
            for number, (source, broker) in enumerate(
                (source, broker) for source in sources for broker in brokers
            )
        }
        self.address = network.hub.address
        routes = [
            {"source": source, "target": broker, "listen": [self.address, port],
             "connect": brokers[broker]}
            for (source, broker), port in self.ports.items()
        ]  # fmt: skip
        command = network.hub.command([sys.executable, str(HERE / "relay.py")])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.tell(routes)
        if self.process.stdout.readline() != "ready\n":
            raise Impossible("the relay does not start")

    def tell(self, what):
        with self.lock:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()

    def set(self, source="*", target="*", delay_ms=0, hole=False):
        self.tell({"from": source, "to": target, "delayMs": delay_ms, "hole": hole})

    def route(self, source, broker):
        return self.address, self.ports[source, broker]

    def close(self):
        # It ends with its input, also when this process is killed.
        self.process.stdin.close()
        self.process.wait()

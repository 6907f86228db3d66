"""The processes: brokers, two instances of each service, workers; kept running as an init system
would, killed and paused as faults have it."""

import ctypes
import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from network import HERE, Impossible

SERVICES = ("intake", "planner", "verifier", "executor", "projector")
HOSTS = ("a", "b")
WORKSPACE = "demo"
WORKERS = {"worker-1": "chaos-work", "worker-2": "chaos-work", "rude": "chaos-rude"}

# As `RestartSec` of a unit: what ends by itself comes again after so long.
RESTART_AFTER_S = 1.0
# A debug build on a machine that does other things too.
READY_WITHIN_S = 60

SUBMITTERS = tuple(f"submitter-{number}" for number in range(1, 5))
GRANTS = {
    **{
        name: ["intent.submit", "plan.compile", "plan.draft", "plan.verify", "execution.start",
               "execution.cancel", "execution.read", "trace.read", "trace.payloads"]
        for name in SUBMITTERS
    },
    "approver": ["execution.approve", "execution.read", "trace.read", "trace.payloads"],
    "admin": ["execution.cancel", "execution.read", "trace.read", "policy.activate", "policy.read",
              "skill.install", "skill.read"],
}  # fmt: skip

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One supervised process. Each start is a life."""

    def __init__(self, name, role, place, command, env, log, chronicle):
        self.name = name
        self.role = role
        self.place = place
        self.command = command
        self.env = env
        self.log = log
        self.chronicle = chronicle
        self.lives = []
        self.changed = threading.Condition()
        self.wanted = True
        self.closing = False
        self.child = None
        # The thread that forks lives as long as the child: the death signal is the thread's.
        self.thread = threading.Thread(target=self.keep, daemon=True)
        self.thread.start()

    def keep(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.wanted or self.closing)
                if self.closing:
                    return
                life = self.start()
            code = self.child.wait()
            with self.changed:
                self.child = None
                life["ended"] = time.time()
                life["code"] = code
                life["expected"] = not self.wanted
                self.changed.notify_all()
                if self.closing:
                    return
                if self.wanted:
                    text = f"{self.name} ended by itself ({code}): {self.last_line()}"
                    self.chronicle.tell("ended", text, process=self.name)
                    self.changed.wait_for(lambda: self.closing, timeout=RESTART_AFTER_S)

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.place.command(self.command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.env}, start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
            life = {"pid": self.child.pid, "began": time.time(), "logFrom": log.tell()}
        self.lives.append(life)
        self.changed.notify_all()
        return life

    def last_line(self):
        with open(self.log, "rb") as log:
            log.seek(max(0, os.path.getsize(self.log) - 2000))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def send(self, number):
        # Not reaped while the condition is held, so the pid is still its own.
        with self.changed:
            if self.child is not None and self.child.returncode is None:
                os.kill(self.child.pid, number)

    def down(self, number=signal.SIGKILL):
        """Ends it, and waits until it is gone; it stays away."""
        with self.changed:
            self.wanted = False
        self.send(number)
        with self.changed:
            if not self.changed.wait_for(lambda: self.child is None, timeout=20):
                self.child.kill()
                self.changed.wait_for(lambda: self.child is None)

    def up(self):
        with self.changed:
            self.wanted = True
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.closing = True
            self.wanted = False
            self.changed.notify_all()
        self.send(signal.SIGKILL)
        self.thread.join()

    def incarnations(self):
        """Each life with the id it gave itself."""
        with open(self.log, "rb") as log:
            text = log.read()
        ends = [life["logFrom"] for life in self.lives[1:]] + [len(text)]
        for life, end in zip(self.lives, ends, strict=True):
            part = text[life["logFrom"] : end]
            found = part.partition(b"incarnation=")[2].split()
            yield {**life, "incarnation": found[0].decode() if found else None}


class Fleet:
    def __init__(self, options, network, root, chronicle):
        self.options = options
        self.network = network
        self.root = root
        self.chronicle = chronicle
        self.passwords = root / "passwords"
        self.processes = {}
        self.disks = {}
        self.identities = {name: {"id": name, "token": secrets.token_hex(32)} for name in GRANTS}
        self.broker_names = [f"n{number}" for number in range(1, options.servers + 1)]
        for directory in ("logs", "run", "keys", "brokers", "ledger"):
            (root / directory).mkdir()
        self.packages = python_packages()

    def binary(self, name):
        return str(self.options.binaries / name)

    def controlplane(self, *words, check=True):
        run = subprocess.run(
            [self.binary("controlplane"), "--context", str(self.root / "context.json"), *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and run.returncode != 0:
            raise Impossible(f"`controlplane {words[0]}` failed: {run.stderr}{run.stdout}")
        return run

    def add(self, name, role, place, command, env=None):
        log = self.root / "logs" / f"{name}.log"
        process = Process(name, role, place, command, env or {}, log, self.chronicle)
        self.processes[name] = process
        return process

    def of_role(self, *roles):
        return [process for process in self.processes.values() if process.role in roles]

    # Brokers

    def start_brokers(self, nats_server):
        places = {name: self.network.places[name] for name in self.broker_names}
        self.brokers = {
            name: {kind: (place.address, place.port(usual)) for kind, usual in
                   (("client", 4222), ("cluster", 6222), ("monitor", 8222))}
            for name, place in places.items()
        }  # fmt: skip
        for name, place in places.items():
            config = self.root / "brokers" / f"{name}.conf"
            config.touch(mode=0o600)
            config.write_text(self.broker_config(name))
            command = [str(nats_server), "-c", str(config)]
            self.add(name, "broker", place, command, {"GOMEMLIMIT": "512MiB"})
        self.direct_url = ",".join(f"nats://{join(ports['client'])}" for ports in self.brokers.values())
        for name in self.broker_names:
            self.until(lambda name=name: self.monitor(name, "/healthz")[0] == 200, f"{name} to be ready")
        self.controlplane(
            "install", "--nats-url", self.direct_url, "--streams", str(self.options.streams),
            "--nats-password-file", str(self.passwords / "installer.password"),
            "--replicas", str(self.options.servers), "--durability", self.options.durability,
        )  # fmt: skip

    def broker_config(self, name):
        ports = self.brokers[name]
        store = self.root / "brokers" / name
        serves = [word for entry in sorted(set(WORKERS.values())) for word in ("--serves", entry)]
        config = self.controlplane(
            "broker-config", "--passwords", str(self.passwords), "--listen", join(ports["client"]),
            "--store", str(store), "--streams", str(self.options.streams),
            "--durability", self.options.durability, "--workspace", WORKSPACE, *serves,
        ).stdout  # fmt: skip
        config += f"server_name: {name}\nhttp: \"{join(ports['monitor'])}\"\n"
        if len(self.brokers) > 1:
            routes = ", ".join(f'"nats-route://{join(other["cluster"])}"' for other in self.brokers.values())
            # Not advertised: clients would go round the relay.
            config += (
                f'cluster {{ name: chaos, listen: "{join(ports["cluster"])}", '
                f"routes: [{routes}], no_advertise: true }}\n"
            )
        return config

    def monitor(self, name, path):
        """Status and JSON of a broker's monitoring; nothing where it does not answer."""
        host, port = self.brokers[name]["monitor"]
        return get(host, port, path)

    def leader(self):
        """The broker that leads the first stream of executions, as those that answer see it."""
        for name in self.broker_names:
            status, body = self.monitor(name, "/jsz?accounts=true&streams=true")
            if status != 200:
                continue
            for account in body.get("account_details") or []:
                for stream in account.get("stream_detail") or []:
                    leader = (stream.get("cluster") or {}).get("leader")
                    if stream["name"] == "CONTROL_PLANE_00" and leader in self.brokers:
                        return leader
        return self.broker_names[0]

    # Services

    def start_services(self, relay):
        self.relay = relay
        principals = [
            {"id": identity["id"], "type": "user", "workspace": WORKSPACE, "grants": sorted(GRANTS[name]),
             "tokenHash": hashlib.sha256(identity["token"].encode()).hexdigest()}
            for name, identity in self.identities.items()
        ]  # fmt: skip
        (self.root / "principals.json").write_text(json.dumps({"principals": principals}))
        self.listens = {}
        for host in HOSTS:
            place = self.network.places[host]
            url = self.url_from(host)
            for number, service in enumerate(SERVICES):
                self.start_service(service, host, place, url, place.port(8081 + number))
        for process in self.of_role(*SERVICES):
            self.until(lambda process=process: self.is_ready(process), f"{process.name} to be ready")

    def start_service(self, service, host, place, url, port):
        name = f"{service}-{host}"
        self.listens[name] = (place.address, port)
        env = {
            "CONTROL_PLANE_NATS_URL": url,
            "CONTROL_PLANE_NATS_USER": service,
            "CONTROL_PLANE_NATS_PASSWORD_FILE": str(self.passwords / f"{service}.password"),
            "CONTROL_PLANE_STREAMS": str(self.options.streams),
            "CONTROL_PLANE_DURABILITY": self.options.durability,
            "CONTROL_PLANE_ACK_WAIT_MS": str(self.options.ack_wait_ms),
            "CONTROL_PLANE_LISTEN": join((place.address, port)),
            # The hosts are namespaces of this machine.
            "CONTROL_PLANE_PLAINTEXT": "allow",
            "CONTROL_PLANE_LOG": self.options.log,
            "CONTROL_PLANE_CLOCK_OFFSET_FILE": str(self.clock_file(name)),
            "CONTROL_PLANE_PRINCIPALS_FILE": str(self.root / "principals.json"),
            "CONTROL_PLANE_DATABASE_URL": f"sqlite://{self.root / 'run' / name}.sqlite",
        }
        self.add(name, service, place, [self.binary(service)], env)

    def url_from(self, host):
        return ",".join(f"nats://{join(self.relay.route(host, name))}" for name in self.broker_names)

    def clock_file(self, name):
        return self.root / "run" / f"{name}.clock"

    def step_clock(self, name, ms):
        part = self.clock_file(name).with_suffix(".part")
        part.write_text(str(ms))
        part.rename(self.clock_file(name))

    def is_ready(self, process):
        return get(*self.listens[process.name], "/readyz")[0] == 200

    def write_context(self):
        listens = self.listens
        context = {
            "url": f"http://{join(listens['intake-a'])}",
            "queriesUrl": f"http://{join(listens['projector-a'])}",
            "natsUrl": self.direct_url,
            "workspace": WORKSPACE,
            "streams": self.options.streams,
            "identities": self.identities,
            "reader": {"user": "operator", "passwordFile": str(self.passwords / "operator.password")},
            "keys": str(self.root / "keys"),
        }
        (self.root / "context.json").write_text(json.dumps(context, indent=2))

    # Workers

    def start_workers(self):
        place = self.network.places["w"]
        env = {
            "PYTHONPATH": str(self.packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CP_NATS_URL": self.url_from("w"),
            "CP_NATS_USER": "worker",
            "CP_NATS_PASSWORD": (self.passwords / "worker.password").read_text().strip(),
            "CP_WORKSPACE": WORKSPACE,
        }
        for name, entry in WORKERS.items():
            command = [
                sys.executable, str(HERE / "worker.py"), "--serve", entry,
                "--ledger", str(self.root / "ledger" / f"{name}.jsonl"),
            ]  # fmt: skip
            process = self.add(name, "worker", place, command, env)
            log = process.log
            self.until(lambda log=log: log.exists() and "ready: serving" in log.read_text(), f"{name} to serve")

    # All

    def until(self, holds, what, within=READY_WITHIN_S):
        deadline = time.monotonic() + within
        while not holds():
            if time.monotonic() > deadline:
                raise Impossible(f"waited {within} s for {what}; see {self.root / 'logs'}")
            time.sleep(0.1)

    def close(self):
        for process in self.processes.values():
            process.close()
        for disk in self.disks.values():
            disk.close()


def join(address):
    return f"{address[0]}:{address[1]}"


def get(host, port, path, timeout=2):
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else None
    except (OSError, http.client.HTTPException, ValueError):
        return None, None
    finally:
        connection.close()


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "control-plane"


def python_packages():
    """What the worker imports, at the hashes that the demo's worker pins."""
    requirements = HERE.parent / "demo" / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    target = cache() / f"python-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that whoever looks sees all or nothing.
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        packages = Path(scratch) / "packages"
        run = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--require-hashes", "--no-input", "--target", str(packages),
             "--requirement", str(requirements)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode != 0:
            raise Impossible(f"the worker's Python packages cannot be installed: {run.stderr.strip()}")
        try:
            packages.rename(target)
        except OSError:
            shutil.rmtree(packages)
    return target


def nats_server(given):
    """The one given, the one that the environment names, or the pinned one."""
    given = given or os.environ.get("CONTROL_PLANE_NATS_SERVER")
    if given:
        return given
    run = subprocess.run(
        [sys.executable, str(HERE.parent / "get-nats-server")], stdout=subprocess.PIPE, text=True, check=False
    )
    if run.returncode != 0:
        raise Impossible("nats-server cannot be obtained")
    return run.stdout.strip()

#!/usr/bin/env python3
"""Runs the scripts of this folder, and the commands of its README and of deploy/adoption.

Starts `controlplane up` on free ports, in a temporary folder, and installs there what the scripts
import, at the versions and hashes that are pinned here. On the pages, blocks of `sh` are run, one
after the other in one shell; a block of `text` after one holds lines that it has to print, in this
order, where `…` stands for anything; blocks of `shell` are for the reader. Ends only what it started.
Exit code 0: all of it works; 1: something does not.
"""

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ADOPTION = [ROOT / "deploy" / "adoption" / f"{name}.md" for name in ("README", "observe", "advise", "gate", "execute")]
# Pages that are read one after the other, in one shell.
SESSIONS = [[HERE / "README.md"], ADOPTION]
# For `up`, and for each script and page; a machine that does other things too is slow.
WITHIN_S = 60
NODE_AT_LEAST = 20
BINARIES = ("controlplane", "intake", "planner", "verifier", "executor", "projector")


class Failed(Exception):
    """Something does not work, said for people."""


def expect(holds, what, output=""):
    if not holds:
        raise Failed(f"{what}\n{output}".rstrip())


class Processes:
    """Each in a session of its own, so that its children end with it."""

    def __init__(self):
        self.started = []

    def start(self, command, log, **options):
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                **options,
            )  # fmt: skip
        self.started.append(process)
        return process

    def until(self, process, log, text):
        deadline = time.monotonic() + WITHIN_S
        while text not in log.read_text():
            if process.poll() is not None:
                self.forget(process)
                raise Failed(f"{log.stem} has ended before it was ready\n{log.read_text()}".rstrip())
            expect(time.monotonic() < deadline, f"{log.stem} is not ready within {WITHIN_S} s", log.read_text())
            time.sleep(0.1)

    def wait(self, process, within_s):
        """For its end, and gives its exit code."""
        process.wait(within_s)
        self.forget(process)
        return process.returncode

    def forget(self, process):
        """With what is left of its group: the number of one that has ended is soon another's."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.started.remove(process)

    def close(self):
        # The control plane is the first that started, and the last that ends.
        for process in reversed(self.started.copy()):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            self.forget(process)


def environment(binaries, root):
    """What a check runs its commands in: its own binaries, and nothing that someone has logged in to."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CONTROL_PLANE_")}
    if server := os.environ.get("CONTROL_PLANE_NATS_SERVER"):
        env["CONTROL_PLANE_NATS_SERVER"] = server
    return env | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(root / "config"),
        "PYTHONUNBUFFERED": "1",
    }


class Check:
    def __init__(self, binaries, root):
        self.root = root
        self.binaries = binaries
        self.processes = Processes()
        self.env = environment(binaries, root) | {
            "PYTHONPATH": str(root / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, command, **env):
        try:
            done = subprocess.run(
                command, cwd=self.root, env=self.env | env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=WITHIN_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            logs = "".join(f"{log.name}:\n{log.read_text()}" for log in sorted(self.root.glob("*.log")))
            raise Failed(f"{' '.join(map(str, command))} takes more than {WITHIN_S} s\n{logs}") from None
        expect(done.returncode == 0, f"{' '.join(map(str, command))} ends with {done.returncode}", done.stdout + done.stderr)
        return done.stdout

    def start(self):
        for name in BINARIES:
            expect((self.binaries / name).is_file(), f"no `{name}` in {self.binaries}: cargo build --workspace --bins")
        # As the pages have it: the folder they are read in holds `deploy`, and gets `.control-plane`.
        (self.root / "deploy").symlink_to(ROOT / "deploy")
        log = self.root / "up.log"
        command = ["controlplane", "up", "--listen", "127.0.0.1:0", "--serves", "desk"]
        up = self.processes.start(command, log, cwd=self.root, env=self.env)
        self.install()
        self.processes.until(up, log, "Ctrl-C stops it.")
        self.context = json.loads((self.root / ".control-plane" / "context.json").read_text())
        self.submitter = self.context["identities"]["submitter"]
        broker = self.submitter["broker"]
        self.asks = {
            "CONTROL_PLANE_URL": self.context["url"],
            "CONTROL_PLANE_TOKEN": self.submitter["token"],
            "CONTROL_PLANE_NATS_URL": self.context["natsUrl"],
            "CONTROL_PLANE_NATS_USER": broker["user"],
            "CONTROL_PLANE_NATS_PASSWORD_FILE": broker["passwordFile"],
        }

    def install(self):
        self.run([
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
            "--require-hashes", "--target", str(self.root / "python"), "--requirement", str(HERE / "requirements.txt"),
        ])  # fmt: skip
        self.node = node()
        if self.node:
            for name in ("package.json", "package-lock.json", *(path.name for path in HERE.glob("*.mjs"))):
                shutil.copy(HERE / name, self.root / name)
            self.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"])

    def client(self, name, *arguments):
        if name.endswith(".mjs"):
            return self.run(["node", name, *arguments], **self.asks)
        return self.run([sys.executable, str(HERE / name), *arguments], **self.asks)

    def scripts(self, stem):
        return [f"{stem}.py", *([f"{stem}.mjs"] if self.node else [])]

    def query(self, path, token, body=None):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.context["url"] + path, body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def executions(self, text):
        return self.query(f"/v1/executions?text={text}", self.submitter["token"])["items"]

    def lets_in(self, token):
        """Whether both know the token: who answers queries, and who takes commands (this one is refused)."""
        return all(self.status(path, token, body) != 401 for path, body in [("/v1/executions", None), ("/v1/plan.compile", b"{}")])

    def status(self, path, token, body):
        try:
            self.query(path, token, body)
        except urllib.error.HTTPError as refused:
            return refused.code
        return 200

    def ended(self, execution):
        """Follows it to its end, and gives what was told."""
        return self.run(["controlplane", "execution", "watch", execution])

    # What is checked

    def submits(self):
        for name in self.scripts("submit"):
            output = self.client(name)
            head, found, trace = output.partition("\ntrace ")
            expect(found and "\nstatus completed" in head, f"{name} does not end in `completed`", output)
            expect("event controlPlane.execution.completed" in head, f"{name} is not told of the end", output)
            expect(json.loads(trace)["entries"], f"{name} gets an empty trace", output)

    def events_over_http(self):
        """The same event, in both modes, twice, from both languages, is one execution."""
        outputs = "".join(self.client(name, "order-http") for name in self.scripts("events_http"))
        named = re.findall(r"execution (\S+)", outputs)
        expect(len(named) == 4 * len(self.scripts("events_http")), "not every event is answered", outputs)
        expect(len(set(named)) == 1, "the same event is more than one execution", outputs)
        self.is_one("order-http")

    def events_over_nats(self):
        outputs = "".join(self.client(name, "order-nats") for name in self.scripts("events_nats"))
        sent = 4 * len(self.scripts("events_nats"))
        expect(outputs.count(" is kept in ") == sent, "not every event is acknowledged", outputs)
        self.until(lambda: self.executions("order-nats"), "an event of the inbox is not taken")
        self.is_one("order-nats")
        refused = self.run(["controlplane", "inbox", "refused"])
        expect("nothing was refused" in refused, "the inbox has refused something", refused)

    def still_one(self):
        """By now whatever was in the inbox has long been taken."""
        for text in ("order-http", "order-nats"):
            self.is_one(text)

    def is_one(self, text):
        found = self.executions(text)
        expect(len(found) == 1, f"`{text}` is {len(found)} executions and not one", json.dumps(found, indent=2))
        told = self.ended(found[0]["executionId"])
        expect("execution.completed" in told, f"`{text}` is not completed", told)

    def until(self, holds, otherwise):
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            expect(time.monotonic() < deadline, f"{otherwise} within {WITHIN_S} s")
            time.sleep(0.1)

    def outside_planner(self):
        added = self.run(["controlplane", "--json", "user", "add", "planner-1", "--role", "planner", "--type", "agent"])
        token = json.loads(added)["token"]
        # Services read the file of principals again within a second.
        self.until(lambda: self.lets_in(token), "who was added is not let in")
        # One asks before the planner is there, and one while it listens.
        before = self.submit("Nobody has a playbook for this")
        log = self.root / "planner.log"
        env = self.env | self.asks | {"CONTROL_PLANE_TOKEN": token}
        planner = self.processes.start([sys.executable, str(HERE / "planner.py")], log, env=env)
        self.processes.until(planner, log, "ready")
        for execution in (before, self.submit("Nor for that")):
            told = self.ended(execution)
            expect("execution.completed" in told, "the plan of the outside planner is not executed", told + log.read_text())
            expect("by planner-1" in told, "the plan is not the outside planner's", told)

    def submit(self, text):
        return json.loads(self.run(["controlplane", "--json", "intent", "submit", text]))["executionId"]

    def pages(self):
        for number, session in enumerate(SESSIONS):
            self.session(session, self.root / f"pages-{number}.log")

    def session(self, pages, log):
        """One shell for all of them, as a reader has it; each block is set apart by a mark."""
        mark = secrets.token_hex(8)
        blocks = [block for page in pages for block in blocks_of(page)]
        script = "set -eu\n" + "".join(f"{commands}echo {mark}\n" for _, commands, _ in blocks)
        shell = self.processes.start(["bash", "-c", script], log, cwd=self.root, env=self.env)
        try:
            code = self.processes.wait(shell, WITHIN_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"the pages take more than {WITHIN_S} s\n{log.read_text()}") from None
        outputs = log.read_text().split(f"{mark}\n")
        for (place, commands, wanted), output in zip(blocks, outputs):
            missing = missing_of(wanted, output)
            expect(missing is None, f"{place}: this line is not printed: {missing}", commands + "\n" + output)
        expect(code == 0, f"{blocks[min(len(outputs), len(blocks)) - 1][0]} fails", outputs[-1])


def blocks_of(page):
    """(place, commands, lines that have to be printed) of each block that is run."""
    found = []
    for fence in re.finditer(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        kind, body = fence.groups()
        if kind == "sh":
            line = page.read_text()[: fence.start()].count("\n") + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", body, []))
        elif kind == "text":
            found[-1][2].extend(body.splitlines())
    return found


def missing_of(wanted, output):
    """The first of the wanted lines that is not there after those before it."""
    lines = iter(output.splitlines())
    for line in wanted:
        pattern = ".*".join(map(re.escape, line.split("…")))
        pattern = re.sub(r"(?:\\ )+", r"\\s+", pattern)
        if not any(re.fullmatch(pattern, printed.rstrip()) for printed in lines):
            return line
    return None


def node(what="the Node scripts"):
    """Whether there is a Node that these can do with."""
    if not shutil.which("node") or not shutil.which("npm"):
        print(f"left out: {what}, as there is no node and npm here")
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < NODE_AT_LEAST:
        print(f"left out: {what}, as node is {version.strip()} and older than {NODE_AT_LEAST}")
        return False
    return True


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=Path, metavar="DIR", default=ROOT / "target" / "debug",
        help="where `controlplane` and the services are (default: target/debug)")  # fmt: skip
    options = parser.parse_args()
    options.binaries = options.binaries.resolve()
    return options


def main():
    options = arguments()
    began = time.monotonic()
    # So that whatever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="clients-") as root:
        check = Check(options.binaries, Path(root).resolve())
        try:
            for name, part in [
                ("a control plane is up", check.start),
                ("scripts submit, follow and print a trace", check.submits),
                ("the same CloudEvent over HTTP is one execution", check.events_over_http),
                ("the same CloudEvent in the inbox is one execution", check.events_over_nats),
                ("what an outside planner drafts is executed", check.outside_planner),
                ("the pages do what they say", check.pages),
                ("and each event is one execution still", check.still_one),
            ]:
                part()
                print(f"{time.monotonic() - began:5.1f} s  {name}", flush=True)
        except (Failed, OSError) as failed:
            print(f"failed: {failed}", file=sys.stderr)
            return 1
        finally:
            check.processes.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

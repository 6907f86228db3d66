#!/usr/bin/env python3
"""Holds what is published against what answers, with the tools of those who publish the formats.

Starts `controlplane up` on free ports, in a temporary folder, and sends what its `/openapi.json`
and a seed make up, as an administrator and as someone who may submit: no answer may be a server's
error (what is not there for now is none, where the document says that this is answered), have a
status or a media type that the document does not name, or a body that does not fit. Feeds are left
out, as they do not end. `/asyncapi.json` is held against the parser of AsyncAPI, where there is a
Node. What is needed is installed in the temporary folder, at the versions and hashes that are
pinned here. Ends only what it started. Exit code 0: all of it holds; 1: something does not.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "demo" / "clients"))
sys.dont_write_bytecode = True

from check import BINARIES, Failed, Processes, environment, expect, node  # noqa: E402

# Those without which a document would be no promise. What it leaves out, such as that a body
# without a member is refused, is what `status_code_conformance` and the project's own tests are for.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# Each with the phases of the short form: the one that may submit gets further, and what a value of
# every kind in every place does is much the same for both.
IDENTITIES = {"submitter": "examples,coverage,fuzzing,stateful", "admin": "examples,fuzzing,stateful"}
# For each operation: a minute or two for all, or what a night has.
EXAMPLES, EXAMPLES_LONG = 15, 500
WITHIN_S, WITHIN_LONG_S = 240, 4 * 3600
INSTALLED_WITHIN_S = 300


class Check:
    def __init__(self, options, root):
        self.options = options
        self.root = root
        self.processes = Processes()
        self.env = environment(options.binaries, root)

    def run(self, command, within_s):
        """Its output, also of what takes too long and is ended."""
        log = self.root / "run.log"
        process = self.processes.start(list(map(str, command)), log, cwd=self.root, env=self.env)
        shown = Path(command[0]).name
        try:
            code = self.processes.wait(process, within_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{shown} takes more than {within_s} s\n{log.read_text()}") from None
        expect(code == 0, f"{shown} ends with {code}", log.read_text())
        return log.read_text()

    def start(self):
        for name in BINARIES:
            binary = self.options.binaries / name
            expect(binary.is_file(), f"no `{name}` in {binary.parent}: cargo build --workspace --bins")
        log = self.root / "up.log"
        command = ["controlplane", "up", "--listen", "127.0.0.1:0"]
        up = self.processes.start(command, log, cwd=self.root, env=self.env)
        self.install()
        self.processes.until(up, log, "Ctrl-C stops it.")
        self.context = json.loads((self.root / ".control-plane" / "context.json").read_text())
        for name in ("openapi", "asyncapi"):
            with urllib.request.urlopen(f"{self.context['url']}/{name}.json", timeout=30) as answer:
                (self.root / f"{name}.json").write_bytes(answer.read())

    def install(self):
        venv = self.root / "venv"
        self.run([sys.executable, "-m", "venv", venv], INSTALLED_WITHIN_S)
        self.run([
            venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--require-hashes", "--requirement", HERE / "requirements.txt",
        ], INSTALLED_WITHIN_S)  # fmt: skip
        self.schemathesis = venv / "bin" / "schemathesis"
        self.node = node("the parser of AsyncAPI")
        if self.node:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, self.root / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            self.run(command, INSTALLED_WITHIN_S)

    # What is checked

    def openapi(self, identity):
        long = self.options.long
        output = self.run([
            self.schemathesis, "--no-color", "--config-file", HERE / "schemathesis.toml",
            "run", self.root / "openapi.json", "--url", self.context["url"],
            "--header", f"Authorization: Bearer {self.context['identities'][identity]['token']}",
            "--checks", CHECKS, "--exclude-path-regex", r".*/events$", "--seed", self.options.seed,
            "--max-examples", self.options.examples, "--warnings", "off", "--generation-database", "none",
            "--phases", IDENTITIES["submitter" if long else identity],
        ], WITHIN_LONG_S if long else WITHIN_S)  # fmt: skip
        cases = [line.strip() for line in output.splitlines() if " generated, " in line]
        expect(cases, "schemathesis does not say what it has sent", output)
        print(f"         as {identity}: {cases[0]}")

    def asyncapi(self):
        """Whether it was looked at."""
        if self.node:
            output = self.run(["node", HERE / "asyncapi.mjs", self.root / "asyncapi.json", self.root], 60)
            expect("error: " not in output, "the AsyncAPI document is faulty", output)
            print("        ", output.strip().replace("\n", "\n         "))
        return self.node


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=Path, metavar="DIR", default=ROOT / "target" / "debug",
        help="where `controlplane` and the services are (default: target/debug)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=11, help="of what is sent (default: 11)")
    parser.add_argument("--long", action="store_true", help=f"{EXAMPLES_LONG} examples of each operation, for hours")
    parser.add_argument("--examples", type=int, metavar="N", help=f"of each operation (default: {EXAMPLES})")
    options = parser.parse_args()
    options.binaries = options.binaries.resolve()
    options.examples = options.examples or (EXAMPLES_LONG if options.long else EXAMPLES)
    return options


def main():
    options = arguments()
    began = time.monotonic()
    # So that whatever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="published-") as root:
        check = Check(options, Path(root).resolve())
        parts = [("a control plane is up", check.start)]
        for identity in IDENTITIES:
            part = lambda identity=identity: check.openapi(identity)  # noqa: E731
            parts.append((f"OpenAPI holds for who asks as {identity}", part))
        parts.append(("AsyncAPI is what its parser reads", check.asyncapi))
        try:
            for name, part in parts:
                said = "left out: " if part() is False else ""
                print(f"{time.monotonic() - began:5.1f} s  {said}{name}", flush=True)
        except (Failed, OSError) as failed:
            print(f"failed: {failed}", file=sys.stderr)
            long = " --long" if options.long else ""
            again = f"python3 deploy/check/published.py --seed {options.seed} --examples {options.examples}{long}"
            print(f"to see it again: {again}", file=sys.stderr)
            return 1
        finally:
            check.processes.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

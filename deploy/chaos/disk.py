"""A small disk for a broker's store, which can be filled and freed."""

import errno
import os
import subprocess
import tempfile
from pathlib import Path

from network import Impossible

BALLAST_STEP_BYTES = 1 << 20
# What a mount says it is from, before the process id of the run it belongs to.
OWNER = "cpchaos-"


class Disk:
    """A tmpfs: it outlives any process, as a disk does."""

    def __init__(self, path, size_mib):
        self.path = path
        self.ballast = path / "ballast"
        path.mkdir()
        run = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", f"{OWNER}{os.getpid()}", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode != 0:
            path.rmdir()
            raise Impossible(run.stderr.strip())

    def fill(self):
        """Until nothing more fits, not even a byte."""
        with open(self.ballast, "ab", buffering=0) as ballast:
            step = BALLAST_STEP_BYTES
            while step:
                try:
                    ballast.write(bytes(step))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def free(self):
        self.ballast.unlink(missing_ok=True)

    def used_mib(self):
        usage = os.statvfs(self.path)
        return (usage.f_blocks - usage.f_bfree) * usage.f_frsize >> 20

    def close(self):
        command = ["umount", "--lazy", str(self.path)]
        subprocess.run(command, capture_output=True, check=False)


def why_not():
    """Why no small disk can be mounted here; nothing where it can."""
    if os.geteuid() != 0:
        return "mounting a small disk needs root"
    unmount_left_behind()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            Disk(Path(scratch) / "disk", 1).close()
        except (Impossible, OSError) as reason:
            return f"no small disk can be mounted: {reason}"
    return None


def unmount_left_behind():
    """What a run left that was killed before it could clean up."""
    for line in Path("/proc/mounts").read_text().splitlines():
        source, path, *_ = line.split()
        if source.startswith(OWNER) and not Path("/proc", source.removeprefix(OWNER)).exists():
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)

"""Run a command under User-Mode Linux with DAMON, on the host's root; see uml/init.py."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

UML = Path(__file__).parent / "uml"
RECIPE = ("damon.config", "damon.patch")
VERSION = re.compile(r"6\.12\.\d+-isotherm")


class GuestError(Exception):
    """The guest cannot be built, did not boot, or ended without telling a status."""


@dataclass(frozen=True)
class Result:
    """Of the command: returncode, stdout with stderr, and seconds of wall time with the boot."""

    returncode: int
    output: str
    seconds: float


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    recipe = hashlib.sha256(b"".join((UML / name).read_bytes() for name in RECIPE))
    return Path(base) / "isotherm" / "uml" / recipe.hexdigest()[:16]


def find_kernel():
    """Return the kernel of this recipe or of ISOTHERM_UML_KERNEL, None if there is none."""
    given = os.environ.get("ISOTHERM_UML_KERNEL")
    path = Path(given) if given else cache_folder() / "linux"
    if not path.exists():
        return None
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return path if given or VERSION.match(version.stdout) else None


def kernel(*, log=None):
    """Return a kernel, built if need be (minutes); raises `GuestError`."""
    found = find_kernel()
    if found is None:
        path = cache_folder() / "linux"
        done = subprocess.run([UML / "build.sh", path], stdout=log, stderr=log, check=False)
        found = find_kernel()
        if done.returncode or found is None:
            raise GuestError(f"build.sh ended with status {done.returncode}: no kernel at {path}")
    return found


def run(
    command, *, cwd=None, env=None, memory_mib=1024, zram_mib=0, timeout_s=300, real_time=False
):
    """
    Run `command` (a list) in a fresh guest of one CPU.

    Its time moves only while all sleep, so that sleeping costs nothing and the host's load changes
    nothing, unless `real_time`. A process that computes is not interrupted then.

    Raises `GuestError` with the guest's console if there is no exit status.
    """
    path = find_kernel()
    if path is None:
        raise GuestError("no kernel: run `make test-vm`, which builds it")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="isotherm-guest.") as job:
        folder = Path(job)
        environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        environment |= {"ISOTHERM_IN_GUEST": "uml", "TERM": "dumb", **(env or {})}
        (folder / "job.json").write_text(
            json.dumps(
                {
                    "command": [os.fspath(word) for word in command],
                    "cwd": os.fspath(cwd or Path.cwd()),
                    "env": environment,
                    "zram_mib": zram_mib,
                }
            )
        )
        (folder / "stdout").touch()
        init = folder / "init"
        init.write_text(f"#!{sys.executable}\n" + (UML / "init.py").read_text())
        init.chmod(0o755)
        console = boot(path, folder, memory_mib, timeout_s, real_time=real_time)
        output = (folder / "stdout").read_text(errors="replace")
        status = folder / "status"
        if not status.exists():
            raise GuestError(f"the guest told no status\n{output}\n{console}")
        return Result(int(status.read_text()), output, time.monotonic() - begun)


def boot(path, folder, memory_mib, timeout_s, *, real_time):
    """Boot, wait until the guest is off, and return its console."""
    arguments = [
        str(path),
        f"mem={memory_mib}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={folder}/init",
        f"JOB={folder}",
        "con=null",
        "con0=null,fd:1",
        "quiet",
        *([] if real_time else ["time-travel=inf-cpu"]),
    ]
    # The kernel and its processes on one CPU: hand-overs across CPUs cost five times as much.
    cpu = sorted(os.sched_getaffinity(0))[os.getpid() % len(os.sched_getaffinity(0))]
    console = folder / "console"
    with console.open("wb") as out:
        # A session of its own: what the guest runs are processes of the host, which must not stay.
        guest = subprocess.Popen(
            ["taskset", "-c", str(cpu), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            guest.wait(timeout_s)
        except subprocess.TimeoutExpired:
            stdout = (folder / "stdout").read_text(errors="replace")
            text = console.read_text(errors="replace")
            raise GuestError(
                f"the guest did not end within {timeout_s} s\n{stdout}{text}"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()
    return console.read_text(errors="replace")


def main():
    if sys.argv[1:] == ["--build"]:
        print(kernel())
        return 0
    done = run(sys.argv[1:])
    sys.stdout.write(done.output)
    print(f"[guest: {done.seconds:.2f} s]", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())

"""What all guests share: a job goes in by a folder, output and exit status come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


class GuestError(Exception):
    """The guest cannot be built, did not boot, or ended without telling a status."""


@dataclass(frozen=True)
class Result:
    """Of the command: returncode, stdout with stderr, and seconds of wall time with the boot."""

    returncode: int
    output: str
    seconds: float


def failures(output):
    """What the pytest of a guest says failed, one line for each, or the end of what it wrote."""
    lines = output.splitlines()
    told = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return "\n".join(told or lines[-20:])


def cache_folder(name):
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "isotherm" / name


def run(boot: Callable, command, *, kind, cwd=None, env=None, zram_mib=0, modules=None):
    """
    Run `command` (a list) in the guest that `boot(folder)` boots, and return its `Result`.

    boot: waits until the guest is off and returns its console; it shares `folder` with the guest
    as /.job, whose `init` (see init.py) is to be the guest's first process. modules: folder of the
    guest kernel's modules. Raises `GuestError` with the console if there is no exit status.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="isotherm-guest.") as job:
        folder = Path(job)
        environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        environment |= {"ISOTHERM_IN_GUEST": kind, "TERM": "dumb", **(env or {})}
        (folder / "job.json").write_text(
            json.dumps(
                {
                    "command": [os.fspath(word) for word in command],
                    "cwd": os.fspath(cwd or Path.cwd()),
                    "env": environment,
                    "zram_mib": zram_mib,
                    "modules": os.fspath(modules) if modules else None,
                }
            )
        )
        (folder / "stdout").touch()
        init = folder / "init"
        init.write_text(f"#!{sys.executable}\n" + (HERE / "init.py").read_text())
        init.chmod(0o755)
        console = boot(folder)
        output = (folder / "stdout").read_text(errors="replace")
        status = folder / "status"
        if not status.exists():
            raise GuestError(f"the guest told no status\n{output}\n{console}")
        return Result(int(status.read_text()), output, time.monotonic() - begun)


def wait_for(arguments, folder, timeout_s):
    """Run the guest's own program until it ends, and return what it wrote: its console."""
    console = folder / "console"
    with console.open("wb") as out:
        # A session of its own: what the guest runs are processes of the host, which must not stay.
        guest = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
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

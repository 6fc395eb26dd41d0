"""
What `isotherm record -G` says of a service that restarts and forks, beside what the kernel says.

Each service runs in a cgroup of its own and does in the middle what it does in its life: gunicorn
and nginx reload, Redis saves in the background, PostgreSQL is asked by new backends. `resident` is
the group's in proportion, beside the sum of its members' Pss (smaps_rollup); `once` what it maps
with each page counted once, beside the different frames in its page tables (pagemap). A JVM is
stopped in the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import common
import programs
import truth_services as services
import truth_witness as witness
from common import MIB

from isotherm.kernel import cgroupfs
from isotherm.kernel.smaps import proportional_bytes

NAME = "isotherm-groups"
_NO_MEMORY = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")
_ZERO_PAGE = 1 << 24


class Service(NamedTuple):
    """A service: its first process, and what it is asked to do in the middle."""

    pid: int
    change: Callable[[], object]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=sorted(SERVICES))


@contextmanager
def gunicorn() -> Iterator[Service]:
    with services.gunicorn() as (pid, _):
        yield Service(pid, lambda: os.kill(server_of(pid), signal.SIGHUP))


def server_of(pid: int) -> int:
    """The gunicorn below the program that started it: the one that has workers."""
    children = [one for one in witness.processes(pid) if one != pid]
    return children[0] if children and b"uv" in Path(f"/proc/{pid}/comm").read_bytes() else pid


@contextmanager
def nginx() -> Iterator[Service]:
    with services.nginx(200, 64 << 10) as (pid, _):
        yield Service(pid, lambda: os.kill(pid, signal.SIGHUP))


@contextmanager
def redis() -> Iterator[Service]:
    with programs.redis(100_000, 5_000) as one:
        save = ["redis-cli", "-s", one.path, "bgsave"]
        yield Service(one.pid, lambda: subprocess.run(save, check=True, **services.QUIET))


@contextmanager
def postgres() -> Iterator[Service]:
    with services.postgres("64MB", 4) as one:

        def again() -> None:
            one.rest()
            one.go()

        yield Service(one.pid, again)


@contextmanager
def java() -> Iterator[Service]:
    # Its heap grows for long: it stands still from the middle on, so that all see the same.
    with services.java(100_000, 5_000) as (pid, _):
        yield Service(pid, lambda: os.kill(pid, signal.SIGSTOP))


SERVICES = {one.__name__: one for one in (gunicorn, nginx, redis, postgres, java)}


@contextmanager
def cgroup(pid: int) -> Iterator[Path]:
    """A cgroup with a process and all below it; they are let go at the end."""
    mount = cgroupfs.hierarchies()[0].mount
    folder = mount / NAME
    folder.mkdir()
    try:
        move(folder, lambda: witness.processes(pid))
        yield folder
    finally:
        move(mount, lambda: members(folder))
        folder.rmdir()


def move(folder: Path, pids: Callable[[], list[int]]) -> None:
    """Move until nobody new is found: they fork meanwhile."""
    moved: set[int] = set()
    while fresh := set(pids()) - moved:
        moved |= fresh
        for pid in fresh:
            with suppress(OSError):
                (folder / "cgroup.procs").write_text(str(pid))


def members(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "cgroup.procs").read_text().split()]


def kernels(pids: list[int]) -> tuple[int, int]:
    """The sum of Pss, and the bytes of different frames, of processes."""
    proportional, found = 0, set()
    for pid in pids:
        with suppress(Exception):
            proportional += proportional_bytes(pid)
        for name in {one.name for one in witness.mappings(pid)} - {*_NO_MEMORY}:
            found |= witness.frames([pid], name) if name else set()
        found |= witness.frames([pid], "")
    special = witness.frames(pids, "[v")
    words = witness.flags(found)
    used = [f for f, word in words.items() if not word & _ZERO_PAGE and f not in special]
    return proportional, len(used) * 4096


def measure(name: str, seconds: float, backend: str) -> dict[str, Any]:
    with SERVICES[name]() as service, cgroup(service.pid) as folder:
        with tempfile.TemporaryDirectory() as scratch:
            path = f"{scratch}/x.isotherm"
            words = ["-G", f"/{NAME}", "--wait", "--backend", backend, "-o", path]
            record = [sys.executable, "-m", "isotherm", "record", *words]
            before = set(members(folder))
            with subprocess.Popen([*record, "-d", f"{seconds}s"], stderr=subprocess.DEVNULL):
                time.sleep(seconds / 2)
                service.change()
                time.sleep(seconds / 2 - 1)
                pids = members(folder)
                proportional, distinct = kernels(pids)
            report = [sys.executable, "-m", "isotherm", "report", path, "--format", "json"]
            found = json.loads(subprocess.run(report, check=True, capture_output=True).stdout)
        (group,) = found["groups"]
        once = (group["once"] or {"resident_bytes": 0})["resident_bytes"]
        return {
            "service": name,
            "members": len(pids),
            "new": len(set(pids) - before),
            "resident MiB": group["resident_bytes"] / MIB,
            "Pss MiB": proportional / MIB,
            "off %": 100 * (group["resident_bytes"] / proportional - 1),
            "once MiB": once / MIB,
            "frames MiB": distinct / MIB,
            "once off %": 100 * (once / distinct - 1),
            "unknown MiB": (group["unseen_bytes"] + group["uncovered_bytes"]) / MIB,
        }


def main() -> None:
    args = common.arguments(__doc__ or "", options)
    if args.quick:
        args.seconds = 8.0
    rows = []
    for name in [args.only] if args.only else SERVICES:
        common.progress(name)
        rows.append(measure(name, args.seconds, args.backend))
        common.table(rows[-1:])
    common.table(rows, title=f"services in a cgroup, recorded for {args.seconds:g} s")
    common.write("groups", args, {"rows": rows})


if __name__ == "__main__":
    main()

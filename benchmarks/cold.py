"""
What `isotherm cold` says would go and come back, beside what `isotherm apply` then does.

Swap is made here, on zram or in a file, and removed. Root; nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import truth_services as services
from common import MIB
from eval_workloads import WORKLOADS
from programs import ended
from scheme_setup import (
    Apply,
    Swap,
    orderly_end,
    own_group,
    own_swap,
    rollup,
    thp,
    tree,
    tree_faults,
)

PROGRAMS = ("redis", "postgres", "python")

#: It rests while less than this share of what is resident changes in a third of the time to wait.
_RESTS, _MOST_WAITS = 0.01, 12


@dataclass(frozen=True)
class Times:
    """In seconds: how long to watch for what was not used for `idle`, to wait, to measure."""

    watch: int
    idle: int
    warm: float
    measure: float


FULL, QUICK = Times(60, 20, 45, 30), Times(16, 5, 14, 8)


@dataclass(frozen=True)
class Tree:
    """A process and its children."""

    name: str
    pid: int

    def resident(self) -> int:
        """Bytes in memory, each counted once; without shared memory, which grows with the load."""
        facts = map(rollup, tree(self.pid))
        return sum(of["Pss_Anon"] + of["Pss_File"] for of in facts)

    def faults(self) -> int:
        return tree_faults(self.pid)


#: Sessions that made a table of their own, which their memory holds, and wait.
SESSIONS = 4
SESSION = """
set temp_buffers = '{mib}MB';
create temp table mine as select i, repeat('x', 200) from generate_series(1, {rows}) i;
select count(*) from mine;
select pg_sleep(100000);
"""


def postgres(stack: ExitStack, *, quick: bool) -> Tree:
    """PostgreSQL under a paced load, beside which some sessions wait."""
    size, rows = ("64MB", 30_000) if quick else ("256MB", 150_000)
    one = stack.enter_context(services.postgres(size, 3 if quick else 15, rate=200))
    text = SESSION.format(mib=16 if quick else 64, rows=rows)
    for _ in range(SESSIONS):
        command = [str(one.programs / "psql"), "-h", str(one.folder), "-c", text, "postgres"]
        stack.enter_context(
            ended(
                subprocess.Popen(
                    command, user=services.POSTGRES_USER, cwd=one.folder, **services.QUIET
                )
            )
        )
    return Tree("postgres", one.pid)


def said(pid: int, times: Times) -> dict[str, Any]:
    """What it says of the age, in JSON."""
    command = [sys.executable, "-m", "isotherm", "cold", str(pid), "--format", "json"]
    command += ["-d", f"{times.watch}s", "--idle", f"{times.idle}s", "--sample-compression"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    document = json.loads(found.stdout)
    return {**document["ages"][0], "compression": document["compression"]}


def at_rest(tree: Tree, times: Times) -> None:
    """Wait until no more goes out than comes back, on a busy machine for longer."""
    time.sleep(times.warm)
    for _ in range(_MOST_WAITS):
        before = tree.resident()
        time.sleep(times.warm / 3)
        if abs(tree.resident() - before) < _RESTS * before:
            return


def beside(program: Tree, times: Times, swap: Swap) -> dict[str, Any]:
    """Ask, do what was said, and measure what came of it."""
    time.sleep(times.idle)
    age = said(program.pid, times)
    before = program.resident()
    with Apply(age["scheme"], program.pid) as scheme:
        at_rest(program, times)
        steady, faults, sizes = time.monotonic(), program.faults(), []
        while (now := time.monotonic()) < steady + times.measure:
            sizes.append(program.resident())
            time.sleep(1)
        rate = (program.faults() - faults) / (now - steady)
        resident = statistics.mean(sizes)
        kept = swap.compressed()
        scheme.end()
    swap.bring_back(program.pid)
    freed, meant = before - resident, age["could_free_bytes"]
    share = age["compression"]["lz4_share"]
    taken = kept["memory for them"] / kept["swapped bytes"] if kept.get("swapped bytes") else None
    return {
        "program": program.name,
        "scheme": age["scheme"],
        "said MiB": meant / MIB,
        "freed MiB": freed / MIB,
        "off %": 100 * (freed / meant - 1) if meant else None,
        "target": "<=15",
        "said refaults/s": age["refaults_per_s"],
        "earlier": age["earlier_refaults_per_s"],
        "refaults/s": rate,
        "said left": share,
        "left on zram": taken,
    }


def begin(stack: ExitStack, name: str, group: Path | None, *, quick: bool) -> Tree | None:
    """Start a program by its name; None if it is not installed."""
    if why := WORKLOADS[name].why_not():
        common.progress(f"{name} is left out: {why}")
        return None
    common.progress(f"{name}: starts")
    if name == "postgres":
        return postgres(stack, quick=quick)
    program = stack.enter_context(WORKLOADS[name].start(quick, group))
    return Tree(name, program.pid)


def cold(args: Any) -> dict[str, Any]:
    """All programs; swap of its own, on zram where that can be had."""
    times, rows = QUICK if args.quick else FULL, []
    with ExitStack() as outer:
        swap = outer.enter_context(own_swap(4096))
        outer.enter_context(thp("madvise"))
        group = outer.enter_context(own_group())
        for name in args.programs:
            with ExitStack() as stack:
                program = begin(stack, name, group, quick=args.quick)
                if program is None:
                    continue
                common.progress(f"{name}: watched, then done")
                rows.append(beside(program, times, swap))
        kind = swap.kind
    common.table(rows, title=f"cold: what is said and what is done, swap on {kind}")
    return {"swap": kind, "rows": rows}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS, help=" ".join(PROGRAMS)
    )


def main() -> None:
    args = common.arguments(__doc__, _options)
    with orderly_end():
        results = cold(args)
    common.write("cold", args, results)


if __name__ == "__main__":
    main()

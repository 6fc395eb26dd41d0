"""What `isotherm cold` says would go and come back, beside what `isotherm apply` then does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from common import MIB
from scheme_programs import Program
from scheme_setup import Apply, Swap, Watch, major_faults, own_group, own_swap, rollup, thp

#: Starts a program by its name; None if it is not installed.
Start = Callable[[ExitStack, str, Path | None], Program | None]

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


def said(pid: int, times: Times) -> dict[str, Any]:
    """What it says of the age, in JSON."""
    command = [sys.executable, "-m", "isotherm", "cold", str(pid), "--format", "json"]
    command += ["-d", f"{times.watch}s", "--idle", f"{times.idle}s", "--sample-compression"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    document = json.loads(found.stdout)
    return {**document["ages"][0], "compression": document["compression"]}


def at_rest(pid: int, times: Times) -> None:
    """Wait until no more goes out than comes back, on a busy machine for longer."""
    time.sleep(times.warm)
    for _ in range(_MOST_WAITS):
        before = rollup(pid)["Rss"]
        time.sleep(times.warm / 3)
        if abs(rollup(pid)["Rss"] - before) < _RESTS * before:
            return


def beside(program: Program, times: Times, swap: Swap) -> dict[str, Any]:
    """Ask, do what was said, and measure what came of it."""
    time.sleep(times.idle)
    age = said(program.pid, times)
    before = rollup(program.pid)["Rss"]
    with Apply(age["scheme"], program.pid) as scheme, Watch(program.pid) as watch:
        at_rest(program.pid, times)
        steady, faults = time.monotonic(), major_faults(program.pid)
        time.sleep(times.measure)
        rate = (major_faults(program.pid) - faults) / (time.monotonic() - steady)
        resident = watch.mean_since(steady) or rollup(program.pid)["Rss"]
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
        "refaults/s": rate,
        "said left": share,
        "left on zram": taken,
    }


def cold(args: Any, start: Start) -> dict[str, Any]:
    """All programs; swap of its own, on zram where that can be had."""
    times, rows = QUICK if args.quick else FULL, []
    with ExitStack() as outer:
        swap = outer.enter_context(own_swap(4096))
        outer.enter_context(thp("madvise"))
        group = outer.enter_context(own_group())
        for name in args.programs:
            with ExitStack() as stack:
                program = start(stack, name, group)
                if program is None:
                    continue
                common.progress(f"{name}: watched, then done")
                rows.append(beside(program, times, swap))
        kind = swap.kind
    common.table(rows, title=f"cold: what is said and what is done, swap on {kind}")
    return {"swap": kind, "rows": rows}

"""What a report says could be freed, and what `isotherm apply` then frees: part of truth.py."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import common
import truth_said
from common import MIB
from scheme_setup import Apply, own_swap, rollup
from truth_costs import verdict
from truth_programs import Subject, chosen
from truth_said import Said

#: Of these, unless others are named: of one process and several, anonymous and of a file.
PROGRAMS = ("eighth", "prefork", "stacks", "file", "moving", "redis", "sqlite", "postgres")
SWAP_MIB = 4096
#: Actions may go on for a while: they are at their end when this long nothing more went out.
QUIET_S = 10.0


def resident(subject: Subject) -> int:
    """Bytes in memory, shared memory counted once."""
    total = 0
    for pid in subject.pids():
        with suppress(OSError, KeyError):
            total += rollup(pid)["Pss"]
    return total


def age_of(said: Said) -> int:
    """The idle age, in ns, that `could_free_bytes` is for."""
    named = said.document.get("could_free_age_ns")
    return int(named) if named is not None else max(said.idle, default=0)


def applied(subject: Subject, age_ns: int, at_most_s: float) -> int:
    """Bytes that went out of memory under `pageout` of what is idle for so long."""
    scheme = f"pageout access=0%..100% every=1s filter=idle:{age_ns / 1e9:g}s"
    before = least = resident(subject)
    with Apply(scheme, subject.pid) as apply:
        begun = changed = time.monotonic()
        while time.monotonic() < begun + at_most_s:
            time.sleep(1.0)
            now = resident(subject)
            if now < least - MIB // 4:
                least, changed = now, time.monotonic()
            old = time.monotonic() > begun + 1.5 * age_ns / 1e9 + QUIET_S
            if old and time.monotonic() > changed + QUIET_S:
                break
        apply.end()
    return before - min(least, resident(subject))


def one(subject: Subject, *, quick: bool, options: list[str]) -> dict[str, Any]:
    time.sleep(2.0)
    before = resident(subject)
    said = truth_said.record(subject.pid, 8.0 if quick else 40.0, options).said
    if said is None or said.could_free is None:
        return {"program": subject.name, "resident MiB": before / MIB}
    freed = applied(subject, age_of(said), 60.0 if quick else 180.0)
    return {
        "program": subject.name,
        "resident MiB": before / MIB,
        "said resident": said.resident / MIB,
        "idle for s": age_of(said) / 1e9,
        "could free MiB": said.could_free / MIB,
        "freed MiB": freed / MIB,
        "error %": 100 * abs(said.could_free - freed) / max(freed, MIB),
    }


def free(args: Any) -> dict[str, Any]:
    """On programs in turn, with swap of its own."""
    rows = []
    with own_swap(SWAP_MIB):
        for program in chosen(args.only or PROGRAMS, args.quick):
            common.progress(f"free: {program.name}")
            with program.start(args.quick) as subject:
                rows.append(one(subject, quick=args.quick, options=args.options.split()))
    common.table(rows, title="could be freed, as a report says it, and freed by apply")
    errors = [row["error %"] for row in rows if "error %" in row]
    worst = max(errors, default=None)
    figure = verdict("could free against apply, worst error", worst, 5, "%")
    return {"free": rows, "verdicts": [figure]}

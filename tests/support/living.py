"""Moments for the live view: programs whose use is known, and whose names are hostile."""

from array import array
from dataclasses import replace

from isotherm.live.chronicle import Chronicle
from isotherm.live.stage import Stage
from isotherm.model.target import Mapping, Target, Unobservable
from support.snapshots import HEAP, MIB, STACK, T0, S, page_use, snapshot, use_row

#: It sets a window's title, is in colour, breaks the line, and reads from right to left.
HOSTILE = "\x1b]0;owned\x07[red]x[/red]\n\u202egnp"

DB = Target(1, "database", 101, 300 * MIB, 240 * MIB, group="unit db.service")
WORKER = Target(2, "db-worker", 102, 90 * MIB, 60 * MIB, group="unit db.service")
WEB = Target(3, "web", 103, 50 * MIB, 40 * MIB, group="unit web.service")
EVIL = Target(4, HOSTILE, 104, 30 * MIB, 20 * MIB)
LATE = Target(5, "late", 105, 20 * MIB, 10 * MIB)

MAPS = {
    1: (
        Mapping(HEAP, HEAP + 256 * MIB, "rw-p", "[heap]"),
        Mapping(STACK, STACK + 4 * MIB, "rw-p", HOSTILE),
    ),
    4: (Mapping(HEAP, HEAP + 20 * MIB, "rw-p", HOSTILE),),
}


def known(seconds):
    """What a map of pages knows after so long."""
    watched = seconds * S
    asked = {"watched_ns": watched}
    return page_use(
        use_row({0.05: 20 * MIB, 0.7: 10 * MIB, seconds - 1: 200 * MIB}, target=0, **asked),
        use_row({0.05: 2 * MIB}, target=0, what=HOSTILE, uncovered=8 * MIB, **asked),
        use_row({0.05: 6 * MIB, seconds - 1: 54 * MIB}, target=1, what="", **asked),
        use_row({}, target=2, what="/dev/shm/x", kind="shmem", unseen=40 * MIB, **asked),
        use_row({0.05: MIB, seconds - 1: 19 * MIB}, target=3, what=HOSTILE, **asked),
        watched_ns=watched,
    )


def window(second):
    """The window of a second: the heap's hot 32 MiB move half way of a minute."""
    hot = HEAP + (32 if second % 60 < 30 else 160) * MIB
    rows = [
        (0, HEAP, hot, 0, second, 0),
        (0, hot, hot + 32 * MIB, 20, second % 30, 0),
        (0, hot + 32 * MIB, HEAP + 256 * MIB, 0, second, 0),
        (0, STACK, STACK + 4 * MIB, 5, second, 4 * MIB),
        (1, HEAP, HEAP + 6 * MIB, 12, second, 0),
        (1, HEAP + 6 * MIB, HEAP + 60 * MIB, 0, second, 0),
        (3, HEAP, HEAP + MIB, 8, second, 0),
        (3, HEAP + MIB, HEAP + 20 * MIB, 0, second, 0),
    ]
    made = snapshot(
        second,
        rows,
        targets=(DB, WORKER, WEB, EVIL, LATE),
        unobservable=(Unobservable(3, HEAP, HEAP + 40 * MIB, "shared"),),
        mappings=MAPS if second == 0 else None,
    )
    heats = array("d", [row[3] / 20 for row in rows])
    return replace(
        made,
        columns=replace(made.columns, share=heats),
        start_ns=T0 + second * S,
        end_ns=T0 + (second + 1) * S,
        sample_us=50_000,
        aggr_us=1_000_000,
        page_use=known(second + 2) if second % 2 else None,
    )


def stage(seconds=45, *, head=("isotherm top", "10:42:07", "sim", "cost 0.8% CPU 45.0M"), **asked):
    """A stage after so many seconds."""
    chronicle = Chronicle()
    for second in range(seconds):
        chronicle.take(window(second))
    return Stage(chronicle, lambda moment: head, **asked)

"""
Where the kernel's results come from: aggregation windows, from a tracepoint or from sysfs.

The tracepoint damon_aggregated tells every window, as it was before anything was reset. The files
of tried_regions tell the windows in which they are asked for, through a scheme that matches
everything and does nothing.
"""

from __future__ import annotations

import errno
import re
import select
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from isotherm.errors import IsothermError
from isotherm.kernel.damon.context import KdamondFiles
from isotherm.kernel.tracefs import TraceInstance, has_event
from isotherm.model.scheme import Action, Scheme
from isotherm.model.scheme_state import TriedRegion
from isotherm.model.snapshot import Columns

AGGREGATED = "damon/damon_aggregated"
BEFORE_APPLY = "damon/damos_before_apply"
#: Matches everything and does nothing: what it was tried on are all regions.
EVERYTHING = Scheme(Action.STAT, name="everything")

#: target, start, end, nr_accesses, age
Row = tuple[int, int, int, int, int]


@dataclass(slots=True)
class Window:
    """
    Regions of one window, in target and address order.

    end_ns: of CLOCK_MONOTONIC; tried: of each scheme, what it was tried on since the window
    before, None where that is not told.
    """

    rows: list[Row]
    end_ns: int
    tried: dict[int, list[TriedRegion]] = field(default_factory=dict)


def columns_of(window: Window, targets: int) -> Columns:
    """Return the regions of a window, of the first so many targets."""
    rows = [row for row in window.rows if row[0] < targets]
    target, start, end, accesses, age = zip(*rows, strict=True) if rows else ((),) * 5
    return Columns(
        array("I", target),
        array("Q", start),
        array("Q", end),
        array("I", accesses),
        array("I", age),
        array("Q", [0]) * len(rows),
    )


class Source(Protocol):
    """A way to get windows."""

    name: str

    @property
    def behind(self) -> bool:
        """Whether a further window is there already."""

    def start(self, thread: int) -> None:
        """Begin; the kdamond runs as kernel thread `thread`."""

    def begin(self, targets: int, schemes: int) -> None:
        """
        Forget what came so far: there are so many targets and schemes from now on.

        `EVERYTHING` is not counted.
        """

    def wait(self, seconds: float) -> Window | None:
        """Return the next window; None if none ended within about `seconds`."""

    def close(self) -> None:
        """Give back what is held."""


class TriedRegions:
    """Windows from sysfs. Asking waits for the end of the window, in the kernel."""

    name = "tried_regions"
    behind = False

    def __init__(self, kdamond: KdamondFiles) -> None:
        self._kdamond = kdamond
        self._schemes = 0

    def start(self, thread: int) -> None:
        del thread

    def begin(self, targets: int, schemes: int) -> None:
        del targets
        self._schemes = schemes
        self._kdamond.require_tried_regions(schemes)

    def wait(self, seconds: float) -> Window | None:
        """Return the window that ends next; None if nothing was told, as while watermarks rest."""
        try:
            self._kdamond.command("update_schemes_tried_regions")
        except IsothermError as err:
            # It ended, or watermarks came to rest while we waited.
            if _errno(err) in (errno.EINVAL, errno.ECANCELED):
                return None
            raise
        end_ns = time.monotonic_ns()
        found = self._kdamond.tried_regions(self._schemes)
        if not found:
            time.sleep(min(seconds, 0.1))
            return None
        tried = {index: self._kdamond.tried_regions(index) for index in range(self._schemes)}
        rows = [
            (target, region.start, region.end, region.nr_accesses, region.age)
            for target, region in _by_target(found)
        ]
        return Window(rows, end_ns, tried)

    def close(self) -> None:
        pass


def _errno(err: IsothermError) -> int | None:
    return err.__cause__.errno if isinstance(err.__cause__, OSError) else None


def _by_target(regions: list[TriedRegion]) -> list[tuple[int, TriedRegion]]:
    """Number the targets: where addresses start anew, the next one begins."""
    found, target, before = [], 0, 0
    for region in regions:
        if region.start < before:
            target += 1
        before = region.end
        found.append((target, region))
    return found


_EVENT = re.compile(
    rb" (\d+)\.(\d{6}): damon_aggregated: "
    rb"target_id=(\d+) nr_regions=(\d+) (\d+)-(\d+): (\d+) (\d+)"
)
_TRIED = re.compile(
    rb": damos_before_apply: ctx_idx=\d+ scheme_idx=(\d+) target_idx=(\d+) "
    rb"nr_regions=\d+ (\d+)-(\d+): (\d+) (\d+)"
)


class Assembler:
    """
    Windows from lines of the tracepoints; `begin` with the number of targets.

    A window is whole when the last target's regions are all there. A target without regions tells
    nothing: then the next window's begin ends this one, and which is last is learned. Windows
    with gaps are left out.
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._tried: dict[int, list[TriedRegion]] = {}
        self._expected: dict[int, int] = {}
        self._end_ns = 0
        self._targets: int | None = 1
        self._last_target = 0

    def begin(self, targets: int) -> None:
        """Start anew, maybe in the middle of a window."""
        self.forget()
        self._targets, self._last_target = targets, targets - 1

    def take(self, line: bytes) -> Window | None:
        """Take a line; return the window that it completes."""
        if match := _TRIED.search(line):
            scheme, target, start, end, accesses, age = map(int, match.groups())
            region = TriedRegion(target, start, end, accesses, age, 0, 0)
            self._tried.setdefault(scheme, []).append(region)
            return None
        match = _EVENT.search(line)
        if match is None:
            return None
        seconds, micros, target, count, start, end, accesses, age = map(int, match.groups())
        finished = None
        if self._rows and (target, start) <= self._rows[-1][:2]:
            self._last_target = self._rows[-1][0]
            finished = self._finish()
        self._rows.append((target, start, end, accesses, age))
        self._expected[target] = count
        self._end_ns = (seconds * 1_000_000 + micros) * 1000
        if finished is None and target == self._last_target and self._is_whole():
            finished = self._finish()
        return finished

    def forget(self) -> None:
        """Drop a window that was begun: events of it were lost."""
        self._rows, self._tried, self._expected = [], {}, {}

    def _is_whole(self) -> bool:
        return len(self._rows) == sum(self._expected.values())

    def _finish(self) -> Window | None:
        # Of the first window, the first targets may have been missed.
        from_begin = self._targets is None or len(self._expected) == self._targets
        self._targets = None
        whole = from_begin and self._is_whole()
        window = Window(self._rows, self._end_ns, self._tried) if whole else None
        self.forget()
        return window


class Tracepoint:
    """Windows from the tracepoint, through a trace instance of our own."""

    name = "tracepoint"

    def __init__(self, root: Path, instance: TraceInstance) -> None:
        self._root, self._instance = root, instance
        self._assembler = Assembler()
        self._ready: list[Window] = []
        self._poll = select.poll()
        self._poll.register(instance.fd, select.POLLIN)

    @property
    def behind(self) -> bool:
        self._read()
        return bool(self._ready)

    def start(self, thread: int) -> None:
        for event in (BEFORE_APPLY, AGGREGATED):
            if has_event(self._root, event):
                self._instance.enable(event, pid=thread)

    def begin(self, targets: int, schemes: int) -> None:
        del schemes
        self._read()
        self._ready.clear()
        self._assembler.begin(targets)

    def wait(self, seconds: float) -> Window | None:
        deadline = time.monotonic() + seconds
        while not self._ready:
            self._read()
            left = deadline - time.monotonic()
            if self._ready or left <= 0:
                break
            self._poll.poll(1 + int(left * 1000))
        return self._ready.pop(0) if self._ready else None

    def close(self) -> None:
        self._instance.close()

    def _read(self) -> None:
        lost = self._instance.lost
        for line in self._instance.lines():
            if self._instance.lost != lost:
                lost = self._instance.lost
                self._assembler.forget()
            window = self._assembler.take(line)
            if window is not None:
                self._ready.append(window)

"""
The backend `kdamond`: the kernel's own DAMON does the monitoring, with the Monitor's face.

The kernel looks at memory, keeps regions and applies schemes; here a context is written to sysfs,
windows become snapshots, and everything is put back at the end (`claim`).

What is not known from the kernel: how many samples were checked (regions are told as they were
merged, not as they were sampled) and how late, and what an action did to a single region.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

from isotherm.backends.kdamond.results import SchemeResults
from isotherm.backends.kdamond.windows import (
    AGGREGATED,
    EVERYTHING,
    Source,
    Tracepoint,
    TriedRegions,
    Window,
    columns_of,
)
from isotherm.clock import Clock, SystemClock
from isotherm.core.look import TargetRanges
from isotherm.errors import BadValueError, IsothermError, NotSupportedError, TargetGoneError
from isotherm.kernel import procfs, tracefs
from isotherm.kernel.damon.claim import Claim
from isotherm.kernel.damon.context import Context, DamonTarget
from isotherm.kernel.damon.files import DamonFiles
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Action, Scheme, Watermarks
from isotherm.model.scheme_state import SchemeState
from isotherm.model.scope import Operations
from isotherm.model.snapshot import Cost, Snapshot
from isotherm.model.target import Mapping
from isotherm.schemes.engine import Event
from isotherm.targets.target_set import TargetSet

SourceName = Literal["auto", "tracepoint", "tried_regions"]
#: DAMON's own number of ranges of a process (damon-spec 1.7).
_DAMON_RANGES = 3
#: How long a wait lasts at most, for a stop or commit to be noticed.
_PATIENCE_S = 0.1


GUARD_REFUSED = "the kernel's schemes cannot be held back by a guard"


class Kdamond:
    """
    Monitors through a kdamond of the kernel; use as a context manager, or `close` it.

    watched: who, and by its scope how: vaddr follows address maps; fvaddr and paddr stay within
    the ranges that it tells, addresses of a target or physical ones; stays the caller's. source:
    of windows, by default the tracepoint where there is one. dry_run: schemes only count what they
    would be tried on; observe: called for every region that a scheme was tried on (`results`).
    files, tracing (root of tracefs) and folder (of state files): where, by default the machine's
    own.

    Raises `NotSupportedError` where DAMON is in use or lacks something, `NotPermittedError`
    without root, and as `DamonFiles` does.
    """

    name: ClassVar[str] = "kdamond"

    def __init__(
        self,
        watched: TargetSet,
        attrs: Attrs | None = None,
        schemes: Sequence[Scheme] = (),
        *,
        source: SourceName = "auto",
        dry_run: bool = False,
        observe: Callable[[Event], None] | None = None,
        files: DamonFiles | None = None,
        tracing: Path | None = None,
        folder: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._watched = watched
        self._clock = clock or SystemClock()
        self._operations: Operations = watched.scope.operations
        self._attrs = attrs or Attrs()
        self._schemes = tuple(schemes)
        self._dry_run = dry_run
        self._now: dict[int, TargetRanges] = {}
        self._committed: tuple[TargetRanges, ...] = ()
        self._mappings: dict[int, Sequence[Mapping]] = {}
        self._pending: deque[tuple[Attrs | None, tuple[Scheme, ...] | None]] = deque()
        self._states: tuple[SchemeState, ...] = ()
        self._stopping = self._closed = self._doubtful = False
        self._index = self._cpu_ns = 0
        self._next_look_ns = 0
        self._thread: int | None = None
        self._claim = Claim(files or DamonFiles(), folder)
        self._kdamond = self._claim.kdamond
        refreshed = self._kdamond.refreshes
        self._results = SchemeResults(self._kdamond, self._clock, observe, refreshed=refreshed)
        try:
            self._require_operations()
            self._source = self._open_source(source, tracing or tracefs.find_root())
        except BaseException:
            self._claim.release()
            raise

    def _require_operations(self) -> None:
        available = self._kdamond.available_operations()
        if available and self._operations not in available:
            raise NotSupportedError(
                f"the kernel's DAMON has no {self._operations} operations, only "
                f"{', '.join(available)}",
                hint="let isotherm do the work itself: --backend bpf",
            )

    def _open_source(self, wish: SourceName, root: Path | None) -> Source:
        traced = root is not None and tracefs.has_event(root, AGGREGATED)
        if root is not None and traced and wish != "tried_regions":
            name = f"isotherm.{os.getpid()}.{self._kdamond.index}"
            self._claim.state.note("folder", path=str(root / "instances" / name))
            return Tracepoint(root, tracefs.TraceInstance(root, name))
        if wish == "tracepoint":
            raise NotSupportedError(
                "the tracepoint damon_aggregated cannot be used here",
                hint="mount tracefs at /sys/kernel/tracing, or use tried_regions",
            )
        return TriedRegions(self._kdamond)

    @property
    def source(self) -> str:
        """Where windows come from: "tracepoint" or "tried_regions"."""
        return self._source.name

    @property
    def index(self) -> int:
        """The number of the kdamond in sysfs."""
        return self._kdamond.index

    # The backend's face.

    @property
    def attrs(self) -> Attrs:
        """The attributes in force; the kernel's interval tuning changes them."""
        return self._attrs

    @property
    def profile(self) -> None:
        """None: the rules are the running kernel's own."""
        return

    @property
    def targets(self) -> tuple[TargetRanges, ...]:
        """The targets with their address maps, in the order of `Region.target`."""
        if not self._committed:
            return tuple(self._watched.targets(_DAMON_RANGES))
        return tuple(self._now.get(found.target.id, found) for found in self._committed)

    def snapshots(self, until_ns: int | None = None) -> Iterator[Snapshot]:
        """
        Monitor, and give a snapshot of each window that is told, until `stop` or no target lives.

        until_ns: when to end, by the clock's monotonic time; a window that is over within a
        twentieth of its length is still given. `TargetGoneError` if there is no target at the
        start.
        """
        self._start()
        while not self._stopping:
            self._commit_pending()
            window = self._source.wait(min(_PATIENCE_S, self._attrs.aggr_us / 1e6))
            if self._stopping:
                return
            if window is None:
                if self._is_late(until_ns) or not self._goes_on() or not self._look():
                    return
                continue
            self._doubtful = False
            snapshot = self._snapshot(window)
            if snapshot is None:
                return
            given_ns = time.thread_time_ns()
            yield snapshot
            self._cpu_ns += time.thread_time_ns() - given_ns
            if self._is_late(until_ns) or not self._look():
                return

    def _is_late(self, until_ns: int | None) -> bool:
        grace_ns = self._attrs.aggr_us * 1000 // 20
        return until_ns is not None and self._clock.now_ns() >= until_ns + grace_ns

    def why_not(self, scheme: Scheme) -> str:
        """Nothing is known beforehand: what the kernel cannot do it refuses."""
        del scheme
        return ""

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Nothing is known beforehand."""
        del scheme
        return []

    @property
    def stretches(self) -> bool:
        """False: the kernel keeps the intervals that it was told."""
        return False

    def commit(self, attrs: Attrs | None = None, schemes: Sequence[Scheme] | None = None) -> None:
        """Change attributes, schemes, or both, while monitoring; may be called anywhere."""
        self._pending.append((attrs, None if schemes is None else tuple(schemes)))

    def charge(self, snapshot: Snapshot, thread_cpu_ns: int) -> None:
        """Do nothing: the work is the kernel's."""
        del snapshot, thread_cpu_ns

    def throttle(self, share: float) -> None:
        """Refuse: the kernel's schemes cannot be held back."""
        del share
        raise NotSupportedError(GUARD_REFUSED)

    def scheme_states(self) -> tuple[SchemeState, ...]:
        """Return what the kernel told last."""
        return self._states

    def alive(self) -> bool:
        """Tell whether any target still exists."""
        return self._watched.alive()

    def stop(self) -> None:
        """End monitoring soon."""
        self._stopping = True

    def close(self) -> None:
        """Stop the kdamond and give everything back."""
        self._stopping = True
        if self._closed:
            return
        self._closed = True
        try:
            self._source.close()
        finally:
            self._claim.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What the kernel is told.

    def _start(self) -> None:
        self._update_targets()
        if not self._now:
            raise TargetGoneError("no target is left to monitor")
        self._committed = self._put()
        self._begin()
        self._kdamond.command("on")
        self._thread = self._kdamond.pid
        self._claim.runs_as(self._thread)
        if self._thread is not None:
            self._source.start(self._thread)
        self._cpu_ns = self._cpu_used_ns()

    def _goes_on(self) -> bool:
        """
        Tell whether the kdamond runs; one that a commit has ended is started again.

        Linux up to 6.13 waits for the end of a window before it takes a commit, and ends if one of
        the processes has ended meanwhile.
        """
        if self._kdamond.running:
            return True
        if not self._doubtful or not self._watched.targets(_DAMON_RANGES):
            return False
        self._committed, self._doubtful = (), False
        self._start()
        return True

    def _put(self) -> tuple[TargetRanges, ...]:
        """Write the context, for `on` or `commit`; return the targets that it will have."""
        targets = self._targets_to_put()
        self._claim.watches([one.pid for one in targets if one.pid is not None])
        needs_results = self._kdamond.refreshes and (self._schemes or self._attrs.goal)
        context = Context(
            self._operations,
            self._attrs,
            tuple(targets),
            self._kernel_schemes(),
            refresh_ms=max(1, self._attrs.aggr_us // 1000) if needs_results else 0,
        )
        self._kdamond.put(context)
        return tuple(self._now.values())

    def _targets_to_put(self) -> list[DamonTarget]:
        """
        Return the targets in the kernel's order: it knows them by their position.

        Those that ended keep theirs, marked, where the kernel can remove targets.
        """
        found = dict(self._now)
        if self._committed and self._kdamond.removes_targets:
            found = {one.target.id: one for one in self._committed} | found
        fixed = self._operations != "vaddr"
        return [
            DamonTarget(one.target.pid, one.ranges if fixed else ())
            if target_id in self._now
            # The kernel wants a pid that lives, and does not look at it.
            else DamonTarget(os.getpid(), obsolete=True)
            for target_id, one in found.items()
        ]

    def _begin(self) -> None:
        """Take what comes from now on by what the kernel was told."""
        self._source.begin(len(self._committed), len(self._schemes))
        self._results.begin(self._schemes)

    def _kernel_schemes(self) -> tuple[Scheme, ...]:
        schemes = self._schemes
        if self._dry_run:
            schemes = tuple(
                replace(one, action=Action.STAT, target_nid=None, destinations=())
                for one in schemes
            )
        if not isinstance(self._source, TriedRegions):
            return schemes
        # A scheme without watermarks keeps monitoring awake when those of the others rest.
        marks = {scheme.watermarks for scheme in self._schemes}
        rest = marks.pop() if len(marks) == 1 else Watermarks()
        return (*schemes, replace(EVERYTHING, watermarks=rest))

    def _commit_pending(self) -> None:
        while self._pending:
            attrs, schemes = self._pending.popleft()
            self._attrs = self._attrs if attrs is None else attrs
            self._schemes = self._schemes if schemes is None else schemes
            self._recommit()

    def _recommit(self) -> None:
        while True:
            committed = self._put()
            try:
                self._kdamond.command("commit")
                break
            except BadValueError:
                known = self._now.keys()
                self._update_targets()
                if not self._now or not self._kdamond.running:
                    return
                if known <= self._now.keys():
                    raise
                # A target ended just now: the kernel took nothing.
        self._committed, self._doubtful = committed, True
        self._begin()

    # Who is watched.

    def _look(self) -> bool:
        """
        Look after the targets, once per update interval; what changed is committed.

        False if none lives: the kernel goes on as long as a zombie is left.
        """
        if self._clock.now_ns() < self._next_look_ns:
            return True
        self._update_targets()
        known = {found.target.id for found in self._committed}
        new, gone = self._now.keys() - known, known - self._now.keys()
        if self._now and (new or (gone and self._kdamond.removes_targets)):
            self._recommit()
        return bool(self._now)

    def _update_targets(self) -> None:
        self._next_look_ns = self._clock.now_ns() + self._attrs.update_us * 1000
        self._now = {found.target.id: found for found in self._watched.targets(_DAMON_RANGES)}

    # What the kernel tells.

    def _snapshot(self, window: Window) -> Snapshot | None:
        """Return the snapshot of a window; None if the kdamond ended under our eyes."""
        try:
            states = self._results.take(window.tried, behind=self._source.behind)
            self._states = states
            self._read_tuned()
        except IsothermError:
            if self._kdamond.running:
                raise
            return None
        before, self._cpu_ns = self._cpu_ns, self._cpu_used_ns()
        end_ns = self._clock.wall_ns() - (time.monotonic_ns() - window.end_ns)
        attrs = self._attrs
        mappings = {target_id: found.told for target_id, found in self._now.items()}
        changed, self._mappings = mappings != self._mappings, mappings
        snapshot = Snapshot(
            index=self._index,
            start_ns=end_ns - attrs.aggr_us * 1000,
            end_ns=end_ns,
            sample_us=attrs.sample_us,
            aggr_us=attrs.aggr_us,
            targets=tuple(found.target for found in self.targets),
            columns=columns_of(window, len(self._committed)),
            unobservable=tuple(u for found in self._now.values() for u in found.unobservable),
            cost=Cost(
                cpu_ns=max(0, self._cpu_ns - before),
                ticks=attrs.samples_per_aggr,
                checks=None,
                cleared=None,
                late_ns=None,
            ),
            mappings=mappings if changed else None,
            schemes=states,
            monotonic_ns=window.end_ns,
        )
        self._index += 1
        return snapshot

    def _read_tuned(self) -> None:
        if self._attrs.goal is None or not self._attrs.goal.aggrs:
            return
        if not self._kdamond.refreshes:
            self._kdamond.command("update_tuned_intervals")
        sample_us, aggr_us = self._kdamond.intervals()
        self._attrs = replace(self._attrs, sample_us=sample_us, aggr_us=aggr_us)

    def _cpu_used_ns(self) -> int:
        """CPU time of the kernel's thread and of ours; the first is 0 where it is not told."""
        used = None if self._thread is None else procfs.thread_cpu_ns(self._thread)
        return (used or 0) + time.thread_time_ns()

"""
A kdamond that somebody else runs, looked at through the tracepoint damon_aggregated.

Nothing of DAMON is written: not its sysfs, not its modules' parameters. What is made is a trace
instance of our own, which is removed at the end, by the next isotherm if need be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from isotherm.backends.kdamond.windows import AGGREGATED, Tracepoint, Window, columns_of
from isotherm.clock import Clock, SystemClock
from isotherm.core.look import TargetRanges
from isotherm.errors import (
    BadValueError,
    IsothermError,
    NotSupportedError,
    TargetGoneError,
    quoted,
)
from isotherm.kernel import procfs, tracefs, undo
from isotherm.kernel.damon.running import Running, running
from isotherm.kernel.privilege import root_hint
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Cost, Snapshot
from isotherm.model.target import Mapping, Target

_PURPOSE = "attach"
_PATIENCE_S = 0.1
#: Address maps of the targets are read again so often.
_UPDATE_NS = 1_000_000_000
_READ_ONLY = "it is somebody else's kdamond: it is looked at, and nothing is changed"


def chosen(wish: str, found: Sequence[Running] | None = None) -> Running:
    """
    Return the kdamond that is meant.

    wish: "kdamond.0", "0", "damon_stat", or "" for the only one. Raises `BadValueError` where
    that is not one, `NotSupportedError` where none runs.
    """
    at_work = running() if found is None else tuple(found)
    names = ", ".join(one.name for one in at_work)
    if not at_work:
        raise NotSupportedError(
            "no kdamond runs here that could be attached to",
            hint="`isotherm doctor` lists them" if os.geteuid() == 0 else root_hint(),
        )
    meant = [one for one in at_work if wish in ("", one.name, one.name.removeprefix("kdamond."))]
    if not meant:
        raise BadValueError(f"no kdamond {quoted(wish)} runs", hint=f"there are {names}")
    if len(meant) > 1:
        raise BadValueError(f"{len(meant)} kdamonds run", hint=f"say which: {names}")
    return meant[0]


class Attached:
    """
    The windows of a running kdamond, as a `core.backend.Backend` that changes nothing.

    kdamond: which; tracing: root of tracefs, folder: of state files, by default the machine's own.
    Raises `NotSupportedError` without the tracepoint (Linux before 5.15) or tracefs,
    `NotPermittedError` without root.
    """

    name: ClassVar[str] = "attached"

    def __init__(
        self,
        kdamond: Running,
        *,
        tracing: Path | None = None,
        folder: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        root = tracing or tracefs.find_root()
        if root is None or not tracefs.has_event(root, AGGREGATED):
            raise NotSupportedError(
                "the tracepoint damon_aggregated cannot be used here",
                hint="mount tracefs at /sys/kernel/tracing; it needs root, and Linux 5.15",
            )
        self.kdamond = kdamond
        self._clock = clock or SystemClock()
        self._attrs = Attrs(
            sample_us=kdamond.sample_us, aggr_us=max(kdamond.sample_us, kdamond.aggr_us)
        )
        self._index = self._cpu_ns = 0
        self._looked_ns = -_UPDATE_NS
        self._stopping = self._closed = False
        self._now: tuple[TargetRanges, ...] = ()
        self._mappings: dict[int, Sequence[Mapping]] = {}
        name = f"isotherm.{os.getpid()}.attach"
        self._state = undo.StateFile(_PURPOSE, {}, folder or undo.state_folder())
        try:
            self._state.note("folder", path=str(root / "instances" / name))
            self._source = Tracepoint(root, tracefs.TraceInstance(root, name))
        except BaseException:
            self._state.undo_all()
            raise
        self._look()

    @property
    def attrs(self) -> Attrs:
        """The intervals, as the kdamond was told."""
        return self._attrs

    @property
    def profile(self) -> None:
        """None: the rules are the running kernel's own."""
        return

    @property
    def targets(self) -> tuple[TargetRanges, ...]:
        """The targets, in the order of `Region.target`."""
        return self._now

    @property
    def stretches(self) -> bool:
        """False: its intervals are not ours."""
        return False

    def why_not(self, scheme: Scheme) -> str:
        """Say that nothing can be done through it."""
        del scheme
        return _READ_ONLY

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Nothing can be done, so nothing is to be feared."""
        del scheme
        return []

    def commit(self, attrs: Attrs | None = None, schemes: Sequence[Scheme] | None = None) -> None:
        """Refuse to change anything."""
        del attrs, schemes
        raise NotSupportedError(_READ_ONLY)

    def charge(self, snapshot: Snapshot, thread_cpu_ns: int) -> None:
        """Do nothing: the work is the kernel's."""
        del snapshot, thread_cpu_ns

    def throttle(self, share: float) -> None:
        """Refuse to change anything."""
        del share
        raise NotSupportedError(_READ_ONLY)

    def scheme_states(self) -> tuple[SchemeState, ...]:
        """Nothing is known of its schemes."""
        return ()

    def alive(self) -> bool:
        """Tell whether the kdamond runs."""
        try:
            return procfs.stat(self.kdamond.thread).is_kernel_thread
        except TargetGoneError:
            return False

    def snapshots(self, until_ns: int | None = None) -> Iterator[Snapshot]:
        """Give a snapshot of each window that is told, until `stop` or the kdamond ends."""
        self._source.start(self.kdamond.thread)
        self._source.begin(max(1, len(self._now)), 0)
        self._cpu_ns = time.thread_time_ns()
        while not self._stopping:
            window = self._source.wait(_PATIENCE_S)
            if self._stopping:
                return
            if window is not None:
                self._look()
                yield self._snapshot(window)
            elif not self.alive():
                return
            if until_ns is not None and self._clock.now_ns() >= until_ns:
                return

    def stop(self) -> None:
        """End soon."""
        self._stopping = True

    def close(self) -> None:
        """Remove the trace instance; the kdamond runs on."""
        self._stopping = True
        if not self._closed:
            self._closed = True
            try:
                self._source.close()
            finally:
                self._state.undo_all()

    def _look(self) -> None:
        """Read who the targets are, and their address maps, once per update interval."""
        if self._clock.now_ns() - self._looked_ns < _UPDATE_NS:
            return
        self._looked_ns = self._clock.now_ns()
        pids = self.kdamond.pids
        if not pids or self.kdamond.operations == "paddr":
            self._now = (TargetRanges(Target(0, "physical memory"), ()),)
            return
        self._now = tuple(_target(i, pid) for i, pid in enumerate(pids))

    def _snapshot(self, window: Window) -> Snapshot:
        end_ns = self._clock.wall_ns() - (time.monotonic_ns() - window.end_ns)
        before, self._cpu_ns = self._cpu_ns, time.thread_time_ns()
        fresh = {
            found.target.id: found.mappings
            for found in self._now
            if found.mappings and self._mappings.get(found.target.id) != found.mappings
        }
        self._mappings |= fresh
        snapshot = Snapshot(
            index=self._index,
            start_ns=end_ns - self._attrs.aggr_us * 1000,
            end_ns=end_ns,
            sample_us=self._attrs.sample_us,
            aggr_us=self._attrs.aggr_us,
            targets=tuple(found.target for found in self._now),
            columns=columns_of(window, len(self._now)),
            cost=Cost(
                cpu_ns=max(0, self._cpu_ns - before), checks=None, cleared=None, late_ns=None
            ),
            mappings=fresh or None,
            monotonic_ns=window.end_ns,
        )
        self._index += 1
        return snapshot


def _target(index: int, pid: int) -> TargetRanges:
    """Return a process that a kdamond watches, as far as it lives and may be read."""
    name, mappings = f"process {pid}", tuple[Mapping, ...]()
    sizes: tuple[int | None, int | None] = (None, None)
    with suppress(IsothermError):
        name = procfs.stat(pid).name
        statm = procfs.statm(pid)
        sizes = statm.mapped_bytes, statm.resident_bytes
        mappings = procfs.maps(pid)
    return TargetRanges(Target(index, name, pid, *sizes), (), mappings)

"""
Whole groups give back what they do not use: `memory.reclaim` of cgroup v2, in a thread of its own.

How much a group has that was surely not used comes from the map of pages; which pages go is for
the kernel to say, the coldest first. Each group has its guard. A dry run only tells.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from isotherm.agent.openmetrics import Family, Labels, Sample, plain
from isotherm.agent.pressure import group_guard
from isotherm.agent.sums import GroupSum
from isotherm.errors import NotSupportedError
from isotherm.kernel import cgroupfs
from isotherm.kernel.meminfo import meminfo
from isotherm.model.page_use import PageUse
from isotherm.session.guard import Guard
from isotherm.units import format_size

#: Between two turns; written at a time, so that a group that resists is left soon.
TURN_S = 1.0
_CHUNK = 4 << 20
#: For a group that gives back nothing, until it is asked again.
_RESIST_S = 60.0
#: What was known so long ago says nothing of what is idle now.
_STALE_S = 300.0


def swap_free() -> int:
    """Return the bytes that are free in swap space."""
    return meminfo().get("SwapFree", 0)


@dataclass(frozen=True, slots=True)
class Reclaim:
    """
    Which groups are asked for what.

    cgroup: their path, may hold wildcards; idle_ns: not used for so long; rate: bytes a second,
    for each group; guard: as of `pressure.group_guard`.
    """

    cgroup: str
    idle_ns: int
    rate: int
    guard: str


@dataclass(slots=True)
class Given:
    """
    What came of a group: bytes that it was asked for, and that it gave.

    idle: bytes that were surely not used, by what was known last; left: of them, for which it was
    not asked yet; why_not: why it is asked for nothing at present.
    """

    rule: Reclaim
    folder: Path
    guard: Guard
    idle: int = 0
    left: int = 0
    asked: int = 0
    given: int = 0
    why_not: str = ""
    resists_until: float = field(default=0.0)

    @property
    def harm(self) -> str:
        """What its guard calls harm."""
        return self.guard.sensor.describe()


class GroupReclaim:
    """
    Asks groups, a turn each second; `start` the thread, and `close` it.

    rules: the first that fits a group holds; apply: really; folder_of: where the memory
    controller has a cgroup, None where it has not; swap: bytes that are free there. `learn` is
    called by whoever knows sums.
    """

    def __init__(
        self,
        rules: tuple[Reclaim, ...],
        *,
        apply: bool,
        folder_of: Callable[[str], Path | None] = cgroupfs.memory_group,
        now: Callable[[], float] = time.monotonic,
        swap: Callable[[], int] = swap_free,
    ) -> None:
        self._rules, self._apply = rules, apply
        self._folder_of, self._now, self._swap = folder_of, now, swap
        self._lock = threading.Lock()
        self._groups: dict[str, Given] = {}
        self._learned = now()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="isotherm-reclaim", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own: the kernel may take its time."""
        if self._rules:
            self._thread.start()

    def close(self) -> None:
        """End after what is being written."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def learn(self, sums: Mapping[Labels, GroupSum], use: PageUse) -> None:
        """Take what is known of groups; those that are not among them are not asked any more."""
        idle = {}
        for group in sums.values():
            rule = self._rule(group.path)
            if rule is not None and rule.idle_ns in use.windows_ns:
                idle[group.path] = surely_idle(group, use.windows_ns.index(rule.idle_ns))
        with self._lock:
            self._learned = self._now()
            self._groups = {path: given for path, given in self._groups.items() if path in idle}
            for path, size in idle.items():
                given = self._groups.get(path) or self._begun(path)
                if given is not None:
                    given.idle = given.left = size
                    self._groups[path] = given

    def told(self) -> dict[str, Given]:
        """Return what came of each group, by its path."""
        with self._lock:
            return dict(self._groups)

    def lines(self) -> list[str]:
        """Return a line for each group: what it was asked for, what it gave, or why nothing."""
        return [
            f"{path}: idle {format_size(given.idle)}, asked for {format_size(given.asked)}, "
            f"gave {format_size(given.given)}{given.why_not and f' ({given.why_not})'}; "
            f"harm is: {given.harm}"
            for path, given in self.told().items()
        ]

    def turn(self, seconds: float) -> None:
        """Ask each group for what it may be asked for in so many seconds."""
        for given in self.told().values():
            if self._end.is_set():
                return
            given.guard.look((), int(self._now() * 1e9))
            given.why_not = self._why_not(given)
            if given.why_not:
                continue
            size = int(min(given.left, given.rule.rate * seconds * given.guard.share))
            if size:
                self._ask(given, size)

    def _why_not(self, given: Given) -> str:
        if self._now() - self._learned > _STALE_S:
            return "what is known of it is too old"
        if not given.guard.share:
            return f"held back: {given.harm}"
        if not self._swap() or _number(given.folder / "memory.swap.max") == 0:
            return "no swap space: caches would go, and not what is idle"
        if not self._apply:
            return "a dry run"
        return "it resists" if self._now() < given.resists_until else ""

    def _ask(self, given: Given, size: int) -> None:
        while size > 0 and not self._end.is_set():
            part = min(size, _CHUNK)
            before = _number(given.folder / "memory.current") or 0
            try:
                _write(given.folder / "memory.reclaim", part)
            except OSError as err:
                given.resists_until = self._now() + _RESIST_S
                if err.errno != errno.EAGAIN:
                    given.why_not = f"memory.reclaim: {err.strerror}"
                    return
                size = 0  # less went than was asked for
            given.asked += part
            given.left = max(0, given.left - part)
            after = _number(given.folder / "memory.current")
            given.given += 0 if after is None else max(0, before - after)
            size -= part

    def _run(self) -> None:
        last = self._now()
        while not self._end.wait(TURN_S):
            now = self._now()
            self.turn(min(now - last, 2 * TURN_S))
            last = now

    def _rule(self, path: str) -> Reclaim | None:
        fitting = (rule for rule in self._rules if path and fnmatchcase(path, rule.cgroup))
        return next(fitting, None)

    def _begun(self, path: str) -> Given | None:
        rule, folder = self._rule(path), self._folder_of(path)
        if rule is None or folder is None:
            return None
        return Given(rule, folder, group_guard(folder, rule.guard))


def check_here() -> None:
    """Raise `NotSupportedError` where no cgroup can be asked."""
    found = [one for one in cgroupfs.hierarchies() if one.unified and "memory" in one.controllers]
    if not found:
        raise NotSupportedError(
            "groups cannot be asked for memory here: the memory controller is not of cgroup v2",
            hint="take apply or reclaim out of the configuration",
        )


def surely_idle(group: GroupSum, window: int) -> int:
    """Return the bytes of a group alone, surely not used for the window of this number."""
    return 0 if group.row is None else group.row.idle_own[window]


def _write(path: Path, size: int) -> None:
    """Ask a cgroup for so many bytes; nothing is made where there is no such file."""
    opened = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(opened, b"%d" % size)
    finally:
        os.close(opened)


def _number(path: Path) -> int | None:
    """Return the number that a file of a cgroup has, None for "max" and where there is none."""
    with suppress(OSError, ValueError):
        return int(path.read_text("ascii"))
    return None


def reclaim_families(told: Mapping[str, Given], *, dry_run: bool) -> Iterator[Family]:
    """Return what came of groups that give back what they do not use."""
    names = [((("cgroup", plain(path)),), given) for path, given in told.items()]
    yield Family("isotherm_reclaim_idle_bytes", "gauge", "bytes",
                 "Memory of the group alone that was surely not used for the time of its rule.",
                 [Sample("", name, given.idle) for name, given in names])  # fmt: skip
    yield Family("isotherm_reclaim_asked_bytes", "counter", "bytes",
                 "Memory that the group was asked for by memory.reclaim.",
                 [Sample("_total", name, given.asked) for name, given in names])  # fmt: skip
    yield Family("isotherm_reclaim_given_bytes", "counter", "bytes",
                 "By how much memory.current became less by that.",
                 [Sample("_total", name, given.given) for name, given in names])  # fmt: skip
    yield Family("isotherm_reclaim_share_ratio", "gauge", "ratio",
                 "Share of its quota that the guard of the group leaves.",
                 [Sample("", name, given.guard.share) for name, given in names])  # fmt: skip
    yield Family("isotherm_reclaim_dry_run", "gauge", "",
                 "1: groups are not asked for anything.",
                 [Sample("", (), int(dry_run))] if told else [])  # fmt: skip

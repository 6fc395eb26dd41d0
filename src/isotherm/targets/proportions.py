"""What is resident of processes in proportion (Pss), as often as that is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from isotherm.errors import IsothermError
from isotherm.kernel.smaps import proportional_bytes
from isotherm.model.ranges import PAGE
from isotherm.targets.processes import Process

#: Share of a CPU for it, and CPU time that may be used before any was earned.
_CPU_SHARE, _CREDIT_NS = 0.001, 20_000_000
#: What a first read is expected to cost at most, per page (60 ms per GiB) and anyway.
_PAGE_NS, _LEAST_NS = 230, 100_000
#: A read is not repeated sooner, nor much sooner than later where as good as nothing came or went.
_AGAIN_NS, _LATER_NS = 5_000_000_000, 30_000_000_000
_CHANGE = 64


class _Read(NamedTuple):
    """When it was read, what came out (None: it may not be), what it cost, and of how much."""

    at_ns: int
    found: int | None
    cost_ns: int
    resident: int

    def stands(self, now_ns: int, resident: int) -> bool:
        """Tell whether it need not be read again."""
        same = abs(resident - self.resident) * _CHANGE <= self.resident
        return now_ns - self.at_ns < (_LATER_NS if same else _AGAIN_NS)


_NEVER = _Read(-_LATER_NS, None, 0, 0)


class Proportions:
    """
    Reads smaps_rollup, which walks all page tables, of the process that waits longest.

    It keeps to a thousandth of a CPU together, a few small processes at the start excepted: the
    figure of a large process comes late, if at all. now_ns: a clock; cpu_ns: one of CPU time.
    """

    def __init__(
        self,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._now_ns, self._cpu_ns = now_ns, cpu_ns
        self._credit_ns = float(_CREDIT_NS)
        self._earned_ns = now_ns()
        #: CPU time so far of all reads.
        self.spent_ns = 0
        self._members: set[int] = set()
        self._read: dict[int, _Read] = {}

    def of(self, members: Sequence[tuple[Process, int | None]]) -> dict[int, int | None]:
        """
        Return the proportional bytes of processes as last read, by target id; None if unknown.

        members: the living, with their resident bytes.
        """
        now_ns = self._now_ns()
        self._credit_ns += (now_ns - self._earned_ns) * _CPU_SHARE
        self._earned_ns = now_ns
        ids = {process.target_id for process, _ in members}
        if ids != self._members:
            # Who came or went may share what others have.
            self._members = ids
            self._read = {
                key: read._replace(resident=0) for key, read in self._read.items() if key in ids
            }
        for process, resident in sorted(members, key=self._waits_since):
            before = self._read.get(process.target_id, _NEVER)
            expected_ns = before.cost_ns or _LEAST_NS + (resident or 0) // PAGE * _PAGE_NS
            if before.stands(now_ns, resident or 0) or expected_ns > self._credit_ns:
                continue
            begun_ns = self._cpu_ns()
            try:
                found = proportional_bytes(process.tid)
            except IsothermError:
                found = None
            spent_ns = max(1, self._cpu_ns() - begun_ns)
            self._credit_ns -= spent_ns
            self.spent_ns += spent_ns
            self._read[process.target_id] = _Read(now_ns, found, spent_ns, resident or 0)
        return {key: read.found for key, read in self._read.items()}

    def _waits_since(self, member: tuple[Process, int | None]) -> int:
        return self._read.get(member[0].target_id, _NEVER).at_ns

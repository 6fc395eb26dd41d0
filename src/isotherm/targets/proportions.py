"""What is resident of processes in proportion (Pss), as often as that is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from isotherm.errors import IsothermError
from isotherm.kernel.smaps import proportional_bytes
from isotherm.model.ranges import PAGE
from isotherm.targets.processes import Process

#: Share of a CPU for it, and CPU time that may be used before any was earned.
_CPU_SHARE, _CREDIT_NS = 0.001, 20_000_000
#: What a first read is expected to cost at most, per page (60 ms per GiB) and anyway.
_PAGE_NS, _LEAST_NS = 230, 100_000
#: A read is not repeated sooner.
_AGAIN_NS = 5_000_000_000


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
        #: By target id: when it was read, what came out (None: it may not be read), what it cost.
        self._read: dict[int, tuple[int, int | None, int]] = {}

    def of(self, members: Sequence[tuple[Process, int | None]]) -> dict[int, int | None]:
        """
        Return the proportional bytes of processes as last read, by target id; None if unknown.

        members: the living, with their resident bytes.
        """
        now_ns = self._now_ns()
        self._credit_ns += (now_ns - self._earned_ns) * _CPU_SHARE
        self._earned_ns = now_ns
        ids = {process.target_id for process, _ in members}
        self._read = {key: read for key, read in self._read.items() if key in ids}
        for process, resident in sorted(members, key=self._waits_since):
            at_ns, _, cost_ns = self._read.get(process.target_id, (-_AGAIN_NS, None, 0))
            expected_ns = cost_ns or _LEAST_NS + (resident or 0) // PAGE * _PAGE_NS
            if now_ns - at_ns < _AGAIN_NS or expected_ns > self._credit_ns:
                continue
            begun_ns = self._cpu_ns()
            try:
                found = proportional_bytes(process.tid)
            except IsothermError:
                found = None
            spent_ns = max(1, self._cpu_ns() - begun_ns)
            self._credit_ns -= spent_ns
            self._read[process.target_id] = now_ns, found, spent_ns
        return {key: found for key, (_, found, _) in self._read.items()}

    def _waits_since(self, member: tuple[Process, int | None]) -> int:
        return self._read.get(member[0].target_id, (-_AGAIN_NS, None, 0))[0]

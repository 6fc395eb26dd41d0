"""Time as a parameter: the same loop runs on the machine's clock or on a simulated one."""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What the monitor needs of time. Times are nanoseconds on a monotonic scale."""

    def now_ns(self) -> int:
        """Return the time, monotonic, in nanoseconds."""

    def wall_ns(self) -> int:
        """Return the time of day, in nanoseconds since 1970."""

    def sleep_until(self, deadline_ns: int) -> int:
        """Sleep until `deadline_ns` and return how late it became, in nanoseconds."""


class CpuClock(Protocol):
    """A clock that knows of CPU time as well, as a simulation does: not this thread's own."""

    def cpu_ns(self) -> int:
        """Return the CPU time that was spent, in nanoseconds."""


def cpu_ns_of(clock: Clock | CpuClock) -> int:
    """Return the CPU time spent so far by who works by this clock, in nanoseconds."""
    # Asked many times a window: `isinstance` of a protocol takes longer than what is measured.
    own: Callable[[], int] | None = getattr(clock, "cpu_ns", None)
    return time.thread_time_ns() if own is None else own()


class SystemClock:
    """The machine's CLOCK_MONOTONIC."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def sleep_until(self, deadline_ns: int) -> int:
        left = deadline_ns - time.monotonic_ns()
        if left > 0:
            time.sleep(left / 1e9)
        return max(0, time.monotonic_ns() - deadline_ns)


class VirtualClock:
    """A clock that jumps: a simulated hour passes in no time."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        return self._now

    def wall_ns(self) -> int:
        return self._now

    def sleep_until(self, deadline_ns: int) -> int:
        self._now = max(self._now, deadline_ns)
        return 0

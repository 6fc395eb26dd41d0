import time

import pytest

from isotherm.clock import SystemClock, VirtualClock, cpu_ns_of
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops


class Idle(Ops):
    """Memory that nobody touches."""

    def ranges(self):
        return [(0, 1 << 30)]

    def prepare(self, addresses):
        self._nr = len(addresses)

    def check(self):
        return bytes(self._nr)


def burn(cpu_ns):
    until = time.thread_time_ns() + cpu_ns
    while time.thread_time_ns() < until:
        pass


@pytest.mark.parametrize("native", [False, True])
def test_what_the_reader_does_is_not_a_cost_of_monitoring(native):
    burnt_ns = 300_000_000
    costs = []
    with Monitor(Idle(), clock=VirtualClock(), seed=1, native=native) as monitor:
        for snapshot in monitor.snapshots():
            costs.append(snapshot.cost.cpu_ns)
            if len(costs) == 2:
                break
            burn(burnt_ns)
    assert 0 < costs[1] < burnt_ns


def test_a_clock_without_cpu_time_stands_for_this_thread():
    class Bare:
        def now_ns(self):
            return 5

        def wall_ns(self):
            return 5

        def sleep_until(self, deadline_ns):
            return 0

    before = time.thread_time_ns()
    assert before <= cpu_ns_of(Bare()) <= time.thread_time_ns()
    assert cpu_ns_of(SystemClock()) >= before

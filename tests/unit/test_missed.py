"""What is told of the memory of processes that nobody had a look at."""

import os
import subprocess
import sys

import pytest

from isotherm.core.look import Census, Look, TargetRanges
from isotherm.core.map_beside import MapBeside
from isotherm.model.page_use import FREED, MISSED
from isotherm.model.target import Target
from isotherm.targets.missed import census
from isotherm.targets.processes import ProcessSet
from isotherm.targets.target_set import ProcessTargets
from support.snapshots import page_use, use_row
from support.waiting import wait_for

MIB = 1 << 20
SIZE = 16 * MIB
#: Has 16 MiB, and forks children that have them too: as many as it is told, until it is told more.
HOLDING = f"""
import os, sys, time
memory = bytearray(b"x" * {SIZE})
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        if not os.fork():
            sys.stdin.close()
            time.sleep(600)
    print("forked", flush=True)
"""


@pytest.fixture
def parent():
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        process.stdout.readline()
        yield process
        os.killpg(process.pid, 9)


@pytest.fixture
def targets(parent):
    targets = ProcessTargets([parent.pid])
    yield targets
    targets.close()


def present(targets):
    return [process for process, _ in targets.living(64)]


def fork(parent, nr):
    parent.stdin.write(f"{nr}\n")
    parent.stdin.flush()
    parent.stdout.readline()


def test_memory_that_was_forked_is_counted_once(parent, targets):
    known = present(targets)
    assert targets.census(known, frozenset()) == Census()
    fork(parent, 3)
    found = targets.census(known, frozenset())
    assert (found.ended, found.processes) == (frozenset(), 3)
    assert {place for place, _, _ in found.missed} == {0}
    (anon,) = [size for _, kind, size in found.missed if kind == "anon"]
    # Three of four who share it; each has some pages of its own.
    assert 0.75 * SIZE <= anon <= 0.75 * SIZE + 4 * MIB


def test_what_is_too_dear_to_be_divided_is_estimated(parent, targets, monkeypatch):
    monkeypatch.setattr("isotherm.targets.missed._DIVIDING_NS", 0)
    known = present(targets)
    fork(parent, 3)
    found = targets.census(known, frozenset())
    total = sum(size for _, _, size in found.missed)
    assert 0.75 * SIZE <= total <= 0.75 * SIZE + 12 * MIB


def test_who_is_looked_at_is_not_missed(parent, targets):
    fork(parent, 2)
    known = present(targets)
    assert len(known) == 3
    assert targets.census(known, frozenset()) == Census()
    executed = targets.census(known, {1})
    assert executed.processes == 1
    assert {place for place, _, _ in executed.missed} == {1}
    os.kill(known[2].pid, 9)
    wait_for(lambda: targets.census(known, frozenset()).ended == {2})


def test_nobody_is_missed_where_nobody_is_left():
    assert census([], [], frozenset(), frozenset()) == Census()


SHORT = """
import os, sys, time
print("ready", flush=True)
for line in sys.stdin:
    nr, seconds = line.split()
    for _ in range(int(nr)):
        if not os.fork():
            sys.stdin.close()
            time.sleep(float(seconds))
            os._exit(0)
    if not float(seconds):
        for _ in range(int(nr)):
            os.wait()
    print("forked", flush=True)
"""


@pytest.fixture
def forking():
    with subprocess.Popen(
        [sys.executable, "-c", SHORT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        process.stdout.readline()
        yield process
        os.killpg(process.pid, 9)


def test_where_many_die_young_who_is_new_is_taken_when_it_has_lived_for_a_while(forking):
    processes = ProcessSet([forking.pid])
    try:
        fork(forking, "8 600")
        young = [process.pid for process in processes.refresh()[1:]]
        assert len(young) == 8
        for pid in young:
            os.kill(pid, 9)
        wait_for(lambda: len(processes.ended()) == 8)
        fork(forking, "3 600")
        assert len(processes.refresh()) == 1
        assert len(processes.newcomers()) == 3
        assert len(processes.refresh()) == 4
        assert processes.newcomers() == []
        # They live: so others will.
        fork(forking, "1 600")
        wait_for(lambda: len(processes.refresh()) == 5)
    finally:
        processes.close()


class Peopled(Look):
    """A look that tells a census."""

    has_processes = True

    def __init__(self, found):
        self.found = found

    def prepare(self, addresses):
        raise NotImplementedError

    def check(self):
        raise NotImplementedError

    def census(self, executed):
        return self.found


class Known:
    """A map that knows this."""

    def __init__(self, use, executed=frozenset()):
        self.use, self.gone = use, executed
        self.all_seen = True
        self.own_ns, self.limit = 0, None

    def covered(self):
        return self.all_seen

    def update(self, targets):
        pass

    def spent_ns(self):
        return self.own_ns

    def set_limit(self, share):
        self.limit = share

    def take(self):
        return self.use

    def executed(self):
        return self.gone


class Clock:
    def __init__(self):
        self.now, self.spent = 10**9, 0

    def now_ns(self):
        return self.now

    def cpu_ns(self):
        self.spent += 10**6
        return self.spent


@pytest.mark.parametrize("executed", [frozenset(), frozenset({1})])
def test_what_was_missed_is_unknown_and_who_is_no_more_has_nothing(executed):
    use = page_use(use_row({0: MIB}), use_row({0: MIB}, target=1), use_row({9: MIB}, target=2))
    look = Peopled(Census(frozenset({2}), 3, ((0, "anon", 5 * MIB), (0, "file", MIB))))
    told = MapBeside(Known(use, executed), look, Clock(), 0.01).take(last=False)
    assert (told.missed, told.missed_bytes, told.uncovered) == (3, 6 * MIB, 6 * MIB)
    assert told.resident == (8 - len(executed)) * MIB
    there = [row.target for row in told.rows if row.what not in (MISSED, FREED)]
    assert there == [0, 1][: 2 - len(executed)]
    # What it used it used, though nothing of it is in memory.
    (left,) = [row for row in told.rows if row.what == FREED]
    assert (left.target, left.resident, left.used[-1]) == (2, 0, MIB)
    assert not any(left.idle)
    for window in range(len(told.windows_ns)):
        high = sum(row.used_high[window] for row in told.rows)
        assert high == sum(row.used[window] for row in told.rows) + 6 * MIB


def test_where_nobody_has_memory_nothing_is_told():
    use = page_use(use_row({0: MIB}))
    look = Peopled(Census(frozenset({0})))
    assert MapBeside(Known(use), look, Clock(), 0.01).take(last=False) is None


def test_what_it_costs_is_spread_over_time():
    """A millisecond is a tenth of all that may be spent for one second, at 1 %."""
    clock = Clock()
    beside = MapBeside(Known(page_use(use_row({0: MIB}))), Peopled(Census()), clock, 0.01)
    assert beside.take(last=False) is not None
    clock.now += 999_000_000
    assert beside.take(last=False) is None
    clock.now += 1_000_000
    assert beside.take(last=False) is not None


def test_what_all_else_leaves_of_the_share_is_the_maps():
    known = Known(page_use(use_row({0: MIB})))
    beside = MapBeside(known, Peopled(Census()), Clock(), 0.01)
    for _ in range(20):  # of 12 ms a second 4 are the map's own
        known.own_ns += 4_000_000
        beside.charge(12_000_000, 1_000_000_000)
    assert known.limit == pytest.approx(0.01 - 0.008, rel=0.1)
    for _ in range(40):
        beside.charge(20_000_000, 1_000_000_000)
    assert known.limit == 0


def test_looking_for_targets_is_put_off_where_it_is_dear():
    clock = Clock()
    beside = MapBeside(Known(page_use(use_row({0: MIB}))), Peopled(Census()), clock, 0.01)
    targets = [TargetRanges(Target(0, "p", 1), ())]
    beside.update(targets, 10**6)
    assert beside.ticks_to_update(5000) == 0  # the first one says nothing
    clock.now += 10**9
    beside.update(targets, 4_000_000)
    # 4 ms and the one that the map took: a quarter of 1 % pays for them in two seconds.
    assert beside.ticks_to_update(100_000) == 20


def test_when_all_was_looked_at_once_that_is_told_whatever_looking_who_is_there_costs():
    clock, known = Clock(), Known(page_use(use_row({0: MIB})))
    known.all_seen = False
    beside = MapBeside(known, Peopled(Census()), clock, 0.001)  # ten seconds for a millisecond
    assert beside.take(last=False) is not None
    clock.now += 1_900_000_000
    assert beside.take(last=False) is None
    known.all_seen = True
    assert beside.take(last=False) is not None
    clock.now += 9_000_000_000
    assert beside.take(last=False) is None

"""Whose memory map is read: everybody's, or in turns as can be paid."""

import subprocess
from types import SimpleNamespace

from isotherm.core.look import TargetRanges
from isotherm.model.target import Group, Target
from isotherm.targets import sizes
from isotherm.targets.sizes import Sizes
from isotherm.targets.target_set import ProcessTargets
from isotherm.targets.turns import Turns


class Spent:
    """A clock, and one of CPU time."""

    def __init__(self):
        self.now = self.cpu = 0

    def turns(self):
        return Turns(lambda: self.now, lambda: self.cpu)


def members(count):
    return [SimpleNamespace(target_id=i) for i in range(count)]


def look(turns, spent, who, each_ns):
    chosen = turns.begin(who)
    spent.cpu += each_ns * len(chosen)
    turns.end()
    spent.now += 1_000_000_000
    return chosen


def test_a_few_are_all_looked_at_each_time():
    spent = Spent()
    turns = spent.turns()
    for _ in range(50):
        assert look(turns, spent, members(8), 1_000_000) == set(range(8))


def test_many_in_turns_nobody_twice_before_all_others():
    spent, who = Spent(), members(500)
    turns = spent.turns()
    assert look(turns, spent, who, 60_000) == set(range(500))  # all are new
    rounds = [look(turns, spent, who, 60_000) for _ in range(40)]
    assert all(8 <= len(chosen) <= 100 for chosen in rounds)
    in_order = [one for chosen in rounds for one in sorted(chosen)]
    assert sorted(in_order[:500]) == list(range(500))
    # A fifth of a percent of the time, but for what is looked at in any case.
    assert sum(map(len, rounds)) * 60_000 < 0.002 * 41_000_000_000


def test_newcomers_do_not_wait():
    spent, who = Spent(), members(500)
    turns = spent.turns()
    look(turns, spent, who, 60_000)
    assert 500 in look(turns, spent, [*who, SimpleNamespace(target_id=500)], 60_000)


def test_sizes_of_many_are_told_now_and_then_and_groups_at_once(monkeypatch):
    now = [0]
    monkeypatch.setattr(sizes.time, "monotonic_ns", lambda: now[0])
    told = Sizes()
    living = [
        SimpleNamespace(target_id=i, tid=2**30, group=Group("cgroup", "/a")) for i in range(100)
    ]

    def known(resident):
        return {i: TargetRanges(Target(i, "x", i, 9, resident), ()) for i in range(100)}

    now[0] += 20_000_000_000
    assert told.told(living, known(1))[7].target.resident_bytes == 1
    now[0] += 1_000_000_000
    assert told.told(living, known(2))[7].target.resident_bytes == 1
    living[7].group = Group("cgroup", "/b")
    assert told.told(living, known(3))[7].target.group == "cgroup /b"
    now[0] += 10_000_000_000
    assert told.told(living, known(4))[7].target.resident_bytes == 4
    assert told.told(living[:8], known(5))[7].target.resident_bytes == 5  # few


def test_a_map_that_was_not_read_again_is_the_one_before():
    with subprocess.Popen(["sleep", "600"]) as child:
        targets = ProcessTargets([child.pid])
        try:
            (first,) = targets.targets(16)
            (second,) = targets.targets(16)
            assert second.mappings is first.mappings
            (other,) = targets.targets(1)
            assert len(other.ranges) == 1 < len(first.ranges)
        finally:
            targets.close()
            child.kill()

"""What is told of targets, and when."""

from types import SimpleNamespace

from isotherm.core.look import TargetRanges
from isotherm.model.ranges import Range
from isotherm.model.target import Group, Target
from isotherm.targets import sizes
from isotherm.targets.sizes import Sizes


def test_sizes_of_many_are_told_now_and_then_and_groups_at_once(monkeypatch):
    now = [0]
    monkeypatch.setattr(sizes.time, "monotonic_ns", lambda: now[0])
    told = Sizes()
    living = [
        SimpleNamespace(target_id=i, tid=2**30, group=Group("cgroup", "/a")) for i in range(100)
    ]

    def after(resident, nr=100):
        read = [(living[i], TargetRanges(Target(i, "x", i, 9, resident), ())) for i in range(nr)]
        return told.told(read)[7][1].target

    now[0] += 20_000_000_000
    assert after(1).resident_bytes == 1
    now[0] += 1_000_000_000
    assert after(2).resident_bytes == 1
    living[7].group = Group("cgroup", "/b")
    assert after(3).group == "cgroup /b"
    now[0] += 10_000_000_000
    assert after(4).resident_bytes == 4
    assert after(5, 8).resident_bytes == 5  # few


def test_what_is_as_it_was_is_the_same_list_so_that_nobody_looks_through_it(monkeypatch):
    now = [20_000_000_000]
    monkeypatch.setattr(sizes.time, "monotonic_ns", lambda: now[0])
    told = Sizes()
    group = Group("cgroup", "/a")
    living = [
        (
            SimpleNamespace(target_id=i, tid=2**30, group=group),
            TargetRanges(Target(i, "x", i, 9, 1), ()),
        )
        for i in range(100)
    ]
    before = told.told(living)
    for step_ns in (1_000_000_000, 20_000_000_000):
        now[0] += step_ns
        assert told.told(list(living)) is before
    process, read = living[7]
    living[7] = process, TargetRanges(read.target, (Range(0, 4096),))
    now[0] += 1_000_000_000
    after = told.told(living)
    assert after is not before
    assert after[7][1].ranges == (Range(0, 4096),)
    assert len(told.told(living[1:])) == 99

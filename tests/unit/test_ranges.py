import ctypes
import itertools
import mmap
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.model.ranges import Range
from isotherm.model.target import Mapping
from isotherm.targets.maps import target_ranges
from isotherm.targets.processes import ProcessSet
from isotherm.targets.ranges import coalesce, why_unobservable
from support.waiting import wait_for


@st.composite
def areas(draw):
    at, found = 0, []
    for gap, size in draw(
        st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=30)
    ):
        at += gap
        found.append(Range(at, at + size))
        at += size
    return found


def three_regions(vmas):
    """__damon_va_three_regions() of Linux 6.18, without the alignment."""
    first = second = (0, 0)
    for before, after in itertools.pairwise(vmas):
        gap = (before.end, after.start)
        if gap[1] - gap[0] > second[1] - second[0]:
            second = gap
            if second[1] - second[0] > first[1] - first[0]:
                first, second = second, first
    if not second[1] - second[0]:
        return None
    low, high = sorted([first, second])
    return (Range(vmas[0].start, low[0]), Range(low[1], high[0]), Range(high[1], vmas[-1].end))


@given(areas())
def test_three_ranges_are_damons(vmas):
    want = three_regions(vmas)
    if want is not None:
        assert coalesce(vmas, 3) == want


@given(areas(), st.integers(1, 40))
def test_coalesce_covers_everything_and_keeps_the_largest_gaps(vmas, most):
    got = coalesce(vmas, most)
    assert len(got) <= most
    covered = [any(r.start <= v.start and v.end <= r.end for r in got) for v in vmas]
    assert all(covered)
    gaps = sorted(b.start - a.end for a, b in itertools.pairwise(vmas))
    kept = sorted(b.start - a.end for a, b in itertools.pairwise(got))
    assert kept == [gap for gap in gaps if gap][len([g for g in gaps if g]) - len(kept) :]
    assert len(kept) == min(most - 1, len([g for g in gaps if g]))


def test_what_cannot_be_seen_is_bridged_last():
    vmas = [Range(0, 1), Range(3, 4), Range(100, 101)]
    hidden = [(1, 2, "device memory")]
    assert coalesce(vmas, 2) == (Range(0, 4), Range(100, 101))
    assert coalesce(vmas, 2, hidden) == (Range(0, 1), Range(3, 101))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/dev/nvidia0", "device memory"),
        ("/dev/shm/x", None),
        ("/dev/zero (deleted)", None),
        ("/anon_hugepage (deleted)", "hugetlb pages"),
        ("anon_inode:[perf_event]", "kernel memory"),
        ("[heap]", None),
        ("", None),
    ],
)
def test_why_unobservable(name, reason):
    assert why_unobservable(Mapping(0, 4096, "rw-s", name), "00:00") == reason


def test_an_unchanged_map_is_not_worked_through_again():
    # A child that sleeps: our own map may change at any allocation.
    with subprocess.Popen(["sleep", "60"]) as child:
        wait_for_exec(child)
        processes = ProcessSet([child.pid], follow_children=False)
        (process,) = processes.members
        before, again = target_ranges(process), target_ranges(process)
        assert before is not None
        assert again is not None
        assert again.ranges is before.ranges
        assert not any(m.name == "[vdso]" and inside(before.ranges, m) for m in before.mappings)
        processes.close()
        child.kill()


def wait_for_exec(child):
    """Popen returns after exec; the loader goes on mapping until the program sleeps."""
    wait_for(lambda: "nanosleep" in Path(f"/proc/{child.pid}/wchan").read_text())


def test_our_own_ranges_follow_the_map():
    processes = ProcessSet([os.getpid()], follow_children=False)
    (process,) = processes.members
    before = target_ranges(process)
    assert before is not None
    with mmap.mmap(-1, 97 << 20) as area:
        area[0] = 1
        after = target_ranges(process)
        assert after is not None
        at = ctypes.addressof(ctypes.c_char.from_buffer(area))
        assert any(r.start <= at and at + (97 << 20) <= r.end for r in after.ranges)
    processes.close()


def inside(ranges, mapping):
    return any(r.start <= mapping.start < r.end for r in ranges)

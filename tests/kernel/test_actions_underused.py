"""Huge pages that hold little: found by what they hold, split, and not made huge again at once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import THP, acting, huge_kib, make_old, present, scheme
from action_kit import settings as settings  # noqa: PLC0414 - a fixture
from bpf_kit import HUGE, PAGE, Child
from memory_kit import entries, pagemap

from isotherm._core import Survey
from isotherm.backends.clear_refs.look import ClearRefsLook
from isotherm.core.act import Done
from isotherm.kernel.pages.pagemap import Fact, opened
from isotherm.model.scheme import Action, Filter, FilterType
from support.looks import Composed

pytestmark = pytest.mark.kernel

#: Pages written of each block, and whether 80 % of it are zeros then: at most 102 may be written.
WRITTEN = {1: True, 97: True, 102: True, 103: False, 311: False, 512: False}
SPARSE = [index for index, sparse in enumerate(WRITTEN.values()) if sparse]
GIVES_BACK = (THP / "shrink_underused").exists()


def underused(low, high=1000):
    return Filter(FilterType.UNDERUSED, False, False, (low, high))


STAT = scheme(Action.STAT, underused(800))
SPLIT = scheme(Action.NOHUGEPAGE, underused(800))


@pytest.fixture
def child():
    child = Child()
    yield child
    child.close()


def make(child, written=tuple(WRITTEN)):
    """Huge pages of which so many pages hold something, in their midst."""
    at = child.make(f"memory.huge({len(written) * HUGE})")
    for index, nr in enumerate(written):
        first = at + index * HUGE + (512 - nr) // 2 * PAGE
        child.run(f"kit.write({first}, {nr * PAGE})")
    if huge_kib(child.pid, at) < len(written) * 2048:
        pytest.skip("the memory did not become huge pages")
    return at


def zero_frames(pid, at, nr):
    """Of how many pages the frame is the kernel's own of zeros, by /proc/kpageflags."""
    return sum(
        entries("/proc/kpageflags", frame, 1)[0] >> 24 & 1
        for there, _, frame in pagemap(at, nr, pid)
        if there
    )


def young_blocks(walker, pid, at, nr):
    survey = Survey(walker)
    with opened(pid) as descriptor:
        survey.read(descriptor, 0, at, at + nr * HUGE, 0)
    facts = memoryview(survey.facts()).cast("H")[::512]
    survey.close()
    return sum(bool(one & Fact.YOUNG) for one in facts)


def test_a_look_at_what_huge_pages_hold_changes_nothing_of_them(child):
    nr, size = len(WRITTEN), len(WRITTEN) * HUGE
    at = make(child)
    with acting(child) as (ops, act):
        make_old(child.pid, (at, size))
        assert act(STAT, at, size) == Done(passed_bytes=len(SPARSE) * HUGE)
        assert young_blocks(ops.look.walker, child.pid, at, nr) == 0
        assert act(scheme(Action.STAT, underused(0, 0)), at, size).passed_bytes == HUGE
        assert huge_kib(child.pid, at) == nr * 2048


def test_what_is_underused_is_split_and_its_zeros_are_given_back(child):
    size = len(WRITTEN) * HUGE
    at = make(child)
    hold = child.run(f"result = hash(kit.ctypes.string_at({at}, {size}))")
    with acting(child) as (_, act):
        assert act(SPLIT, at, size) == Done(len(SPARSE) * HUGE, len(SPARSE) * HUGE)
        assert huge_kib(child.pid, at) == (len(WRITTEN) - len(SPARSE)) * 2048
        assert act(SPLIT, at, size) == Done()
    assert child.run(f"result = hash(kit.ctypes.string_at({at}, {size}))") == hold
    for index, nr in enumerate(WRITTEN):
        gone = 512 - nr if GIVES_BACK and index in SPARSE else 0
        assert zero_frames(child.pid, at + index * HUGE, 512) == gone


def test_a_dry_run_tells_and_splits_nothing(child):
    at = make(child, (1, 512))
    with acting(child) as (ops, _):
        done = ops.act(SPLIT, 0, at, at + 2 * HUGE, filtered=True, dry=True)
        assert done == Done(applied_bytes=HUGE, passed_bytes=HUGE)
    assert huge_kib(child.pid, at) == 2 * 2048


def test_small_pages_are_not_underused(child):
    at = child.make(f"memory.small({2 * HUGE})")
    child.run(f"kit.write({at}, {HUGE})")
    with acting(child) as (_, act):
        assert act(STAT, at, 2 * HUGE) == Done()
        assert act(SPLIT, at, 2 * HUGE) == Done()


@pytest.mark.skipif(not GIVES_BACK, reason="split pages of zeros stay in memory before Linux 6.12")
def test_what_was_split_is_made_huge_again_only_once_it_is_dense(child, setting):
    setting(THP / "enabled", "madvise")
    at = make(child, (1, 1))
    collapse = scheme(Action.COLLAPSE)
    with acting(child) as (_, act):
        assert act(SPLIT, at, 2 * HUGE).applied_bytes == 2 * HUGE
        child.run(f"kit.write({at}, {480 * PAGE}); kit.write({at + HUGE}, {440 * PAGE})")
        # As long as it is remembered that these were split.
        assert act(collapse, at, 2 * HUGE) == Done()
    with acting(child) as (_, act):
        assert act(collapse, at, 2 * HUGE).applied_bytes == HUGE
    assert huge_kib(child.pid, at) == 2048
    assert zero_frames(child.pid, at + HUGE, 512) > 0


def test_no_accessed_bits_are_needed(child):
    at = make(child, (1, 512, 97))
    with_clear_refs = Composed([child.pid], ClearRefsLook)
    try:
        with_clear_refs.targets()
        if why := with_clear_refs.why_not(SPLIT):
            pytest.skip(why)
        done = with_clear_refs.act(SPLIT, 0, at, at + 3 * HUGE, filtered=True)
        assert done == Done(2 * HUGE, 2 * HUGE)
    finally:
        with_clear_refs.close()
    assert huge_kib(child.pid, at) == 2048


def test_memory_that_went_is_forgotten(child):
    """Another huge page at the same place, even in the same frames, is looked at anew."""
    at = make(child, (512,))
    with acting(child) as (_, act):
        assert act(SPLIT, at, HUGE) == Done()
        child.run(f"kit.check(kit.libc.madvise({at}, {HUGE}, 4))")
        assert act(SPLIT, at, HUGE) == Done()
        child.run(f"kit.write({at + 97 * PAGE})")
        assert present(child.pid, at, 512) == list(range(512))
        assert act(SPLIT, at, HUGE).applied_bytes == HUGE

"""The filter of idle pages: page-exact between pages in use, and never too early."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from bpf_kit import PAGE, Child, cleared, watching
from memory_kit import pagemap

from isotherm.core.look import Check
from isotherm.model.scheme import Action, Filter, FilterType, Scheme

pytestmark = pytest.mark.kernel

PAGES, STEP = 1531, 7  # prime; every 7th page is in use
IDLE_US = 300_000


def idle(microseconds=IDLE_US):
    return Filter(FilterType.IDLE, False, False, (microseconds, 2**64 - 1))


@pytest.fixture
def child():
    child = Child()
    yield child
    child.close()


def damon_runs():
    states = Path("/sys/kernel/mm/damon/admin/kdamonds").glob("*/state")
    return any(state.read_text() == "on\n" for state in states)


def used(start):
    return [start + page * PAGE for page in range(0, PAGES, STEP)]


def use(child, start):
    child.run(f"[kit.touch(a) for a in range({start}, {start + PAGES * PAGE}, {STEP * PAGE})]")


def act(ops, scheme, start, **options):
    return ops.act(scheme, 0, start, start + PAGES * PAGE, filtered=True, **options)


def present(child, start):
    return {
        start + page * PAGE
        for page, (here, _, _) in enumerate(pagemap(start, PAGES, child.pid))
        if here
    }


@pytest.mark.usefixtures("swap")
def test_only_pages_that_were_idle_so_long_go_out(child):
    start = child.make(f"memory.small({PAGES} * 4096)")
    child.run(f"kit.write({start}, {PAGES * PAGE})")
    scheme = Scheme(Action.PAGEOUT, filters=(idle(),))
    with watching(child.pid) as ops:
        assert act(ops, scheme, start).applied_bytes == 0  # nothing is known yet
        assert act(ops, scheme, start).applied_bytes == 0  # too early
        assert len(present(child, start)) == PAGES
        time.sleep(IDLE_US / 1e6)
        use(child, start)
        dry = act(ops, scheme, start, dry=True)
        gone = PAGES - len(used(start))
        assert dry.applied_bytes == gone * PAGE
        assert len(present(child, start)) == PAGES
        time.sleep(IDLE_US / 1e6)
        use(child, start)
        assert act(ops, scheme, start).applied_bytes == gone * PAGE
        assert present(child, start) == set(used(start))
        # A look began the next time of idleness; what was not used since goes as well.
        time.sleep(IDLE_US / 1e6)
        assert act(ops, scheme, start).applied_bytes == len(used(start)) * PAGE
        assert present(child, start) == set()


@pytest.mark.usefixtures("swap")
def test_memory_that_is_mapped_anew_is_not_idle(child):
    start = child.make(f"memory.small({PAGES} * 4096)")
    child.run(f"kit.write({start}, {PAGES * PAGE})")
    scheme = Scheme(Action.PAGEOUT, filters=(idle(),))
    with watching(child.pid) as ops:
        act(ops, scheme, start)
        time.sleep(IDLE_US / 1e6)
        child.run(
            f"kit.check(kit.libc.mmap({start}, {PAGES} * 4096, 3, "
            f"kit.PRIVATE | kit.ANON | 0x10, -1, 0)); kit.write({start}, {PAGES * PAGE})"
        )
        away = act(ops, scheme, start).applied_bytes // PAGE
        # The kernel's own DAMON, where it runs, clears some pages at once, a few times a second.
        assert away <= (PAGES // 50 if damon_runs() else 0)
        assert len(present(child, start)) == PAGES - away


def test_it_counts_what_is_idle(child):
    start = child.make(f"memory.small({PAGES} * 4096)")
    child.run(f"kit.write({start}, {PAGES * PAGE})")
    scheme = Scheme(Action.STAT, filters=(idle(),))
    with watching(child.pid) as ops:
        assert act(ops, scheme, start).passed_bytes == 0
        time.sleep(IDLE_US / 1e6)
        use(child, start)
        passed = act(ops, scheme, start).passed_bytes
    assert passed == (PAGES - len(used(start))) * PAGE


def test_pages_that_the_monitor_cleared_are_not_idle(child):
    start = child.make(f"memory.small({PAGES} * 4096)")
    child.run(f"kit.write({start}, {PAGES * PAGE})")
    scheme = Scheme(Action.STAT, filters=(idle(),))
    with watching(child.pid) as ops:
        act(ops, scheme, start)
        time.sleep(IDLE_US / 1e6)
        use(child, start)
        assert Check.MISSED not in cleared(ops, used(start))
        passed = act(ops, scheme, start).passed_bytes
        assert passed == (PAGES - len(used(start))) * PAGE
        # But not for ever: nobody used them since.
        time.sleep(IDLE_US / 1e6)
        act(ops, scheme, start)
        time.sleep(IDLE_US / 1e6)
        assert act(ops, scheme, start).passed_bytes == PAGES * PAGE

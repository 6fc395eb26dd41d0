"""Every action but paging out, done to a child and seen by an independent witness."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import (
    ACTIVE,
    THP,
    acting,
    allow,
    huge_kib,
    make_old,
    page_flags,
    present,
    reject,
    scheme,
    settings,  # noqa: F401 - a fixture
    swap,  # noqa: F401 - a fixture
)
from bpf_kit import HUGE, PAGE, Child, look, vmstat
from memory_kit import pagemap

from isotherm.actions.treat import HUGE_STAYS
from isotherm.backends.clear_refs.look import ClearRefsLook
from isotherm.core.act import Done
from isotherm.core.look import Check
from isotherm.model.scheme import Action, Destination
from support.looks import Composed

pytestmark = pytest.mark.kernel

PAGES, SOME = 97, (5, 7, 23, 41, 89)
SIZE = PAGES * PAGE


@pytest.fixture
def child():
    started = Child()
    yield started
    started.close()


def small(child, nr=PAGES):
    at = child.make(f"memory.small({nr * PAGE})")
    child.run(f"kit.write({at}, {nr * PAGE})")
    return at


def huge(child, nr):
    at = child.make(f"memory.huge({nr * HUGE})")
    child.run(f"kit.write({at}, {nr * HUGE})")
    if huge_kib(child.pid, at) < nr * 2048:
        pytest.skip("the memory did not become huge pages")
    return at


@pytest.mark.parametrize("action", [Action.COLD, Action.LRU_DEPRIO])
def test_cold_clears_accessed_bits(child, action):
    at = small(child)
    with acting(child) as (ops, act):
        done = act(scheme(action), at + 11 * PAGE, 31 * PAGE)
        assert done == Done(applied_bytes=31 * PAGE)
        found = look(ops, [at + 12 * PAGE, at + 40 * PAGE])
        assert found == [Check.IDLE, Check.IDLE]
    flags = page_flags(child.pid, at, PAGES)
    assert not [flag for flag in flags[11:42] if flag & ACTIVE]


def test_cold_keeps_huge_pages_whole(child):
    at = huge(child, 3)
    splits = vmstat("thp_split")
    with acting(child) as (_, act):
        assert act(scheme(Action.COLD), at + PAGE, 3 * HUGE - 2 * PAGE).applied_bytes == 3 * HUGE
    assert vmstat("thp_split") == splits


def test_lru_prio_activates(child):
    at = small(child, 997)
    make_old(child.pid, (at, 997 * PAGE))
    with acting(child) as (ops, act):
        done = act(scheme(Action.LRU_PRIO), at, 499 * PAGE)
        flags = page_flags(child.pid, at, 997)
        active = [i for i, flag in enumerate(flags) if flag & ACTIVE]
        assert active == list(range(499))
        assert done == Done(applied_bytes=499 * PAGE)
        # Not by an access of the target's.
        assert look(ops, [at + 13 * PAGE]) == [Check.IDLE]
        assert act(scheme(Action.LRU_PRIO), at, 499 * PAGE) == Done()
        inactive = scheme(Action.STAT, reject("active"))
        assert act(inactive, at, 997 * PAGE).passed_bytes == (997 - 499) * PAGE


def test_lru_prio_says_that_huge_pages_stay(child):
    at = huge(child, 3)
    make_old(child.pid, (at, 3 * HUGE))
    with acting(child) as (ops, act):
        done = act(scheme(Action.LRU_PRIO), at, 3 * HUGE)
        assert done.applied_bytes == 0
        assert list(done.errors) == [HUGE_STAYS]
        assert look(ops, [at]) == [Check.IDLE]


@pytest.mark.usefixtures("swap")
def test_willneed_brings_back_what_was_swapped_out(child):
    at = small(child)
    make_old(child.pid, (at, SIZE))
    with acting(child) as (_, act):
        act(scheme(Action.PAGEOUT), at, SIZE)
        assert present(child.pid, at, PAGES) == []
        done = act(scheme(Action.WILLNEED), at + 11 * PAGE, 31 * PAGE)
        assert done == Done(applied_bytes=31 * PAGE)
    assert present(child.pid, at, PAGES) == list(range(11, 42))


def test_willneed_reads_a_file_ahead_and_no_untouched_memory(child, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(PAGE) * PAGES)
    at = child.make(f"memory.file(__import__('pathlib').Path({str(file)!r}), {SIZE}, kit.PRIVATE)")
    empty = child.make(f"memory.small({SIZE})")
    with acting(child) as (_, act):
        before = len(present(child.pid, at, PAGES))
        done = act(scheme(Action.WILLNEED), at, SIZE)
        assert done.applied_bytes == (PAGES - before) * PAGE
        assert act(scheme(Action.WILLNEED), empty, SIZE) == Done()
    assert len(present(child.pid, at, PAGES)) == PAGES
    assert present(child.pid, empty, PAGES) == []


@pytest.fixture
def only_on_advice(setting):
    """Memory without advice is neither made huge when it is touched nor by khugepaged."""
    setting(THP / "enabled", "madvise")


@pytest.mark.usefixtures("only_on_advice")
@pytest.mark.parametrize("action", [Action.COLLAPSE, Action.HUGEPAGE])
def test_collapse_makes_young_dense_blocks_huge(child, action):
    blocks = 5
    at = child.make(f"memory.map({blocks * HUGE})")
    child.run(f"kit.write({at}, {3 * HUGE})")
    # Of the fourth too few pages: its memory would more than double.
    child.run(f"kit.write({at + 3 * HUGE}, {255 * PAGE})")
    child.run(f"kit.write({at + 4 * HUGE}, {256 * PAGE})")
    make_old(child.pid, (at, 2 * HUGE))
    child.run(f"kit.touch({at + HUGE + 77 * PAGE})")
    assert huge_kib(child.pid, at) == 0
    with acting(child) as (_, act):
        done = act(scheme(action), at, blocks * HUGE)
    # Not the first one, which is old, nor the fourth.
    assert huge_kib(child.pid, at) == 3 * 2048
    assert done == Done(applied_bytes=3 * HUGE)
    assert present(child.pid, at, 512) == list(range(512))
    assert len(present(child.pid, at + 3 * HUGE, 512)) == 255


def test_collapse_is_refused_where_huge_pages_are_not_wanted(child):
    at = child.make(f"memory.small({3 * HUGE})")
    child.run(f"kit.write({at}, {3 * HUGE})")
    with acting(child) as (_, act):
        done = act(scheme(Action.COLLAPSE), at, 3 * HUGE)
    assert done.applied_bytes == 0
    assert [(why.split(" (")[0], nr) for why, nr in done.errors.items()] == [
        ("huge pages are not wanted there", 3)
    ]


@pytest.mark.usefixtures("only_on_advice")
def test_collapse_leaves_alone_what_is_not_of_this_process_alone(child):
    at = child.make(f"memory.map({HUGE})")
    child.run(f"kit.write({at}, {HUGE})")
    child.run("fork = os.fork() or __import__('time').sleep(100)")
    with acting(child) as (_, act):
        assert act(scheme(Action.COLLAPSE), at, HUGE) == Done()
        child.run("os.kill(fork, 9); os.wait()")
        child.run(f"kit.touch({at})")
        assert act(scheme(Action.COLLAPSE), at, HUGE).applied_bytes == HUGE


def test_nohugepage_splits_and_gives_unused_memory_back(child):
    at = child.make(f"memory.huge({4 * HUGE})")
    child.run(f"kit.write({at}, {3 * HUGE}, {HUGE}); kit.write({at + 3 * HUGE}, {HUGE})")
    if huge_kib(child.pid, at) < 4 * 2048:
        pytest.skip("the memory did not become huge pages")
    with acting(child) as (_, act):
        done = act(scheme(Action.NOHUGEPAGE), at + HUGE, 3 * HUGE)
        assert done == Done(applied_bytes=3 * HUGE)
        assert huge_kib(child.pid, at) == 2048
    zero = {frame for _, _, frame in pagemap(at + HUGE + PAGE, 511, child.pid)}
    if len(zero) > 1:
        pytest.skip("this kernel keeps unused parts of split huge pages (before 6.12)")
    assert child.run(f"result = kit.ctypes.string_at({at + HUGE}, 2) == b'x\\0'") == "True"
    assert child.run(f"result = sum(kit.ctypes.string_at({at + 3 * HUGE}, {HUGE}))") == "61440"


def test_own_actions_are_called_with_what_passes(child):
    at = small(child)
    make_old(child.pid, (at, SIZE))
    child.run("; ".join(f"kit.touch({at + i * PAGE})" for i in SOME))
    calls = []

    def own(target, start, end):
        calls.append((target, start, end))
        return end - start - 1

    with acting(child) as (_, act):
        assert act(scheme(Action.STAT, own=own), at, SIZE) == Done(applied_bytes=SIZE - 1)
        assert calls == [(0, at, at + SIZE)]
        calls.clear()
        done = act(scheme(Action.STAT, allow("young"), own=own), at, SIZE)
        assert calls == [(0, at + i * PAGE, at + (i + 1) * PAGE) for i in SOME]
        assert done == Done(len(SOME) * (PAGE - 1), len(SOME) * PAGE)


@pytest.mark.parametrize("filters", [(), (reject("young", matching=False),)])
def test_what_an_own_action_raises_is_not_hidden(child, filters):
    at = small(child)

    def own(target, start, end):
        raise PermissionError("by the user's own code")

    with acting(child) as (_, act), pytest.raises(PermissionError, match="own code"):
        act(scheme(Action.STAT, *filters, own=own), at, SIZE)


def test_stat_counts_what_passes_each_filter(child):
    at = small(child)
    big = huge(child, 2)
    make_old(child.pid, (at, SIZE))
    child.run("; ".join(f"kit.touch({at + i * PAGE})" for i in SOME))
    child.run(f"kit.check(kit.libc.madvise({at + 89 * PAGE}, {8 * PAGE}, 4))")
    young, left = len(SOME) - 1, PAGES - 8
    with acting(child) as (_, act):

        def passed(*filters, where=at, size=SIZE):
            done = act(scheme(Action.STAT, *filters), where, size)
            assert done.applied_bytes == 0
            return done.passed_bytes // PAGE

        assert act(scheme(Action.STAT), at, SIZE) == Done()
        assert passed(reject("young")) == left - young
        assert passed(allow("young")) == young
        assert passed(allow("anon")) == left
        assert passed(allow("anon", matching=False)) == 0
        assert passed(reject("unmapped")) == left
        assert (
            passed(allow("hugepage_size", bounds=(HUGE, HUGE)), where=big, size=2 * HUGE) == 1024
        )
        assert passed(allow("hugepage_size", bounds=(HUGE, HUGE))) == 0
        assert passed(reject("young"), allow("anon", matching=False)) == 0
        assert passed(allow("young"), reject("anon")) == young


def test_memcg_filter_knows_who_pays(child):
    group = Path("/sys/fs/cgroup/memory/isotherm-test")
    if not group.parent.is_dir():
        group = Path("/sys/fs/cgroup/isotherm-test")
    try:
        group.mkdir()
    except OSError as err:
        pytest.skip(f"no cgroup can be made: {err}")
    try:
        before = small(child)
        (group / "cgroup.procs").write_text(str(child.pid))
        at = small(child, 23)
        only = scheme(Action.STAT, allow("memcg", memcg="/isotherm-test"))
        with acting(child) as (_, act):
            assert act(only, at, 23 * PAGE).passed_bytes == 23 * PAGE
            assert act(only, before, SIZE).passed_bytes == 0
    finally:
        child.close()
        while (group / "cgroup.procs").read_text():
            pass
        group.rmdir()


def test_what_is_impossible_is_said_with_what_would_help(child):
    with acting(child) as (ops, _):
        one = ops.why_not(scheme(Action.MIGRATE_COLD, target_nid=0))
        if len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) == 1:
            assert "one memory node" in one
        nowhere = scheme(Action.MIGRATE_HOT, destinations=(Destination(999),))
        assert ops.why_not(nowhere)
        gone = scheme(Action.STAT, allow("memcg", memcg="/no/such/group"))
        assert "no memory cgroup" in ops.why_not(gone)
        hits = scheme(Action.STAT, allow("probe_hits_wsum", bounds=(1, 2)))
        assert "probes" in ops.why_not(hits)


def test_a_guest_is_refused_unless_forced(child):
    at = small(child)
    with acting(child) as (ops, act):
        ops.present[0].kvm = True
        assert list(act(scheme(Action.COLD), at, SIZE).errors) == [
            "runs a virtual machine: what its guest uses cannot be seen"
        ]
    with acting(child, force_guests=True) as (ops, act):
        ops.present[0].kvm = True
        assert act(scheme(Action.COLD), at, SIZE).applied_bytes == SIZE


def test_clear_refs_acts_where_no_accessed_bit_is_needed(child):
    at = small(child)
    ops = Composed([child.pid], ClearRefsLook)
    try:
        ops.targets()
        assert "accessed bits" in ops.why_not(scheme(Action.PAGEOUT))
        assert "accessed bits" in ops.why_not(scheme(Action.STAT, reject("young")))
        assert "page tables" in ops.why_not(scheme(Action.COLLAPSE))
        assert ops.why_not(scheme(Action.COLD)) == ""
        assert ops.act(scheme(Action.COLD), 0, at, at + SIZE, filtered=True) == Done(SIZE)
    finally:
        ops.close()


_UNPRIVILEGED = """
import os
from isotherm.model.scheme import Action, Scheme
from isotherm.actions.actor import Actor
os.setgid(65534); os.setuid(65534)
print(Actor(look_again=False).why_not(Scheme(Action.COLD)))
"""


def test_without_privileges_it_says_what_is_missing():
    said = subprocess.run(
        [sys.executable, "-c", _UNPRIVILEGED], capture_output=True, text=True, check=True
    ).stdout
    assert "CAP_SYS_NICE and CAP_SYS_PTRACE" in said

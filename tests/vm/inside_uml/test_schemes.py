"""What the kernel's schemes do, by independent witnesses: pagemap, vmstat, the workload."""

import pytest
from kit import (
    ATTRS,
    MIB,
    PAGE,
    cold_bytes,
    cold_of,
    hot_of,
    kdamond,
    nothing_left,
    resident,
    running,
    until,
    vmstat,
    windows,
)

from isotherm.errors import NotSupportedError
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Filter,
    FilterType,
    Goal,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
)

COLD = Pattern(access=Access(0, 0), age=Age(1_000_000))
HOT = Pattern(access=Access(30, None))
ALL = Pattern()


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


def applied(nbytes):
    """Whether the first scheme was applied to more than that."""
    return lambda snapshot: snapshot.schemes[0].stats.sz_applied > nbytes


@pytest.mark.parametrize("source", ["tracepoint", "tried_regions"])
def test_pageout_leaves_just_the_hot_part_resident(source):
    with running() as work:
        scheme = Scheme(Action.PAGEOUT, COLD)
        with kdamond(work, (scheme,), source=source) as backend:
            seen = []

            def done(_):
                # A piece of the hot part that went by chance is back with the next touch.
                seen.append((resident(work.pid, hot_of(work)), cold_bytes(work)))
                return seen[-1][0] == 7 * MIB and seen[-1][1] < 1 * MIB

            state = until(done, backend.snapshots(), least_s=12).schemes[0]
        hot, cold = seen[-1]
    print(
        f"pageout by {source}: {hot / MIB:.1f} MiB hot, {cold / MIB:.2f} MiB cold; {state.stats}"
    )
    assert hot == 7 * MIB
    assert cold < 1 * MIB
    assert state.stats.sz_applied >= 40 * MIB
    assert state.stats.nr_tried >= state.stats.nr_applied > 0


def test_what_is_tried_comes_along():
    with running() as work, kdamond(work, (Scheme(Action.PAGEOUT, COLD),)) as backend:
        (area,), tried = work.areas, []

        def tried_bytes():
            return sum(one.size for one in tried if area.start <= one.start < area.end)

        def taken():
            for snapshot in backend.snapshots():
                tried.extend(snapshot.schemes[0].tried)
                yield snapshot

        until(lambda _: tried_bytes() > 40 * MIB, taken(), least_s=8)
        assert tried_bytes() > 40 * MIB
    assert {region.nr_accesses for region in tried} == {0}


def test_a_size_quota_is_kept():
    """Linux 6.12 has no quota in force in the first interval: judged from the second on."""
    quota = Quota(size_bytes=2 * MIB, reset_ms=1000)
    with running() as work:
        pattern = Pattern(access=Access(0, 0), age=Age(2_000_000))
        with kdamond(work, (Scheme(Action.PAGEOUT, pattern, quota=quota),)) as backend:
            snapshots = windows(backend, 60)
    applied = [(one.end_ns, one.schemes[0].stats.sz_tried) for one in snapshots]
    seconds = [
        later - before
        for (begin, before) in applied
        for (end, later) in applied
        if abs(end - begin - 1_000_000_000) < 50_000_000
    ]
    state = snapshots[-1].schemes[0]
    print(f"quota 2 MiB/s: at most {max(seconds) / MIB:.2f} MiB in a second; {state.stats}")
    assert 0 < max(seconds) <= 4 * MIB  # two intervals overlap any second
    spent_s = (snapshots[-1].end_ns - snapshots[0].start_ns) / 1e9
    assert state.stats.sz_tried <= (spent_s + 1) * 2 * MIB
    assert state.stats.qt_exceeds > 0
    assert state.effective_bytes == 2 * MIB


def test_a_goal_of_our_own_tunes_the_quota():
    """The quota grows as long as the goal is not met, by the value that Python tells."""
    goal = Goal(Metric.OWN, 1000, read=lambda: 1)
    quota = Quota(reset_ms=200, goals=(goal,))
    with running() as work, kdamond(work, (Scheme(Action.STAT, ALL, quota=quota),)) as backend:
        found = [one.schemes[0] for one in windows(backend, 50)]
    print(f"goal: effective bytes {[state.effective_bytes for state in found[::10]]}")
    assert found[-1].effective_bytes > 1000 * max(1, found[5].effective_bytes)
    assert found[-1].score == pytest.approx(0.001)


def test_memory_pressure_is_a_goal():
    quota = Quota(size_bytes=8 * MIB, reset_ms=200, goals=(Goal(Metric.SOME_MEM_PSI_US, 1000),))
    scheme = Scheme(Action.PAGEOUT, COLD, quota=quota)
    with running() as work, kdamond(work, (scheme,)) as backend:
        effective = []

        def done(snapshot):
            effective.append(snapshot.schemes[0].effective_bytes)
            return max(effective) > 0 and snapshot.schemes[0].stats.sz_tried > 0

        last = until(done, backend.snapshots()).schemes[0]
    print(f"psi: effective bytes {effective[::10]}")
    assert max(effective) > 0
    assert last.stats.sz_tried > 0


def test_an_address_filter_keeps_the_rest():
    with running() as work:
        below, above = cold_of(work)
        only = Filter(FilterType.ADDR, matching=False, bounds=(below.start, below.end))
        with kdamond(work, (Scheme(Action.PAGEOUT, COLD, filters=(only,)),)) as backend:
            until(
                lambda _: resident(work.pid, below) < below.size / 4,
                backend.snapshots(),
                least_s=12,
            )
        assert resident(work.pid, above) == above.size
        assert resident(work.pid, below) < below.size / 4


def test_what_watermarks_let_rest_is_told():
    """Another scheme keeps the monitor awake; what the kernel counts is the witness."""
    resting = Scheme(
        Action.STAT, COLD, watermarks=Watermarks("free_mem_rate", 200_000, 300, 200, 100)
    )
    with running() as work, kdamond(work, (resting, Scheme(Action.STAT, COLD))) as backend:
        last, awake = until(
            lambda one: one.schemes[1].stats.nr_tried > 0, backend.snapshots(), least_s=4
        ).schemes
    print(f"resting {last.stats.nr_tried}, awake {awake.stats.nr_tried} tries")
    assert (last.active, awake.active) == (False, True)
    assert last.stats.nr_tried == 0 < awake.stats.nr_tried


def test_watermarks_are_observed():
    """The guest's memory is mostly free: above the high mark the scheme rests."""
    resting = Watermarks("free_mem_rate", 200_000, 300, 200, 100)
    awake = Watermarks("free_mem_rate", 200_000, 1000, 999, 0)
    with running() as work:
        before = cold_bytes(work)
        with kdamond(work, (Scheme(Action.PAGEOUT, COLD, watermarks=resting),)) as backend:
            # With all schemes at rest no window comes: a second one keeps monitoring awake.
            backend._schemes += (Scheme(Action.STAT),)
            snapshots = backend.snapshots()
            for _ in range(30):
                state = next(snapshots).schemes[0]
            assert state.stats.nr_tried == 0
            assert cold_bytes(work) == before
            backend.commit(ATTRS, (Scheme(Action.PAGEOUT, COLD, watermarks=awake),))
            state = until(lambda _: cold_bytes(work) < 1 * MIB, snapshots).schemes[0]
        assert state.stats.sz_applied > 30 * MIB
        assert cold_bytes(work) < 1 * MIB


def test_cold_and_willneed():
    """Cold memory moves to the inactive list; willneed brings back what was paged out."""
    with running() as work:
        with kdamond(work, (Scheme(Action.COLD, COLD),)) as backend:
            state = until(applied(30 * MIB), backend.snapshots()).schemes[0]
        assert state.stats.sz_applied > 30 * MIB
        with kdamond(work, (Scheme(Action.PAGEOUT, COLD),)) as backend:
            until(lambda _: cold_bytes(work) < 1 * MIB, backend.snapshots())
        assert cold_bytes(work) < 1 * MIB
        swapped_in = vmstat("pswpin")

        def read_back():
            return (vmstat("pswpin") - swapped_in) * PAGE

        with kdamond(work, (Scheme(Action.WILLNEED, Pattern()),)) as backend:
            state = until(
                lambda one: applied(40 * MIB)(one) and read_back() > 35 * MIB, backend.snapshots()
            ).schemes[0]
        back = read_back()
    print(f"willneed: {back / MIB:.1f} MiB read back; {state.stats}")
    assert back > 35 * MIB
    assert state.stats.sz_applied > 40 * MIB


def test_what_this_kernel_lacks_is_told():
    refused = pytest.raises(NotSupportedError, match=r"action collapse: Linux 7\.2")
    scheme = Scheme(Action.COLLAPSE, HOT)
    with running() as work, kdamond(work, (scheme,)) as backend, refused:
        windows(backend, 1)

"""What the kernel's DAMON finds, against what the workload does."""

from statistics import fmean

import pytest
from kit import (
    ATTRS,
    MIB,
    PAGE,
    cold_of,
    found_in,
    frames,
    hot_of,
    kdamond,
    memory,
    nothing_left,
    running,
    span,
    until,
    windows,
)

from isotherm.analysis.accuracy import judge, predicted, summarize
from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.backends.kdamond.windows import EVERYTHING
from isotherm.demo.spec import moving
from isotherm.kernel.damon.context import KdamondFiles
from isotherm.kernel.damon.files import DamonFiles
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.targets.physical import PhysicalMemory
from isotherm.targets.sources import PidSource

SOURCES = ("tracepoint", "tried_regions")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("operations", ["vaddr", "fvaddr"])
def test_the_hot_area_is_found(operations, source):
    with running() as work:
        ranges = work.areas if operations == "fvaddr" else ()
        with kdamond(work, operations=operations, ranges=ranges, source=source) as backend:
            assert backend.source == source
            found = windows(backend, 80)
        recall, precision = found_in(found, work)
    print(f"{operations} by {source}: recall {recall:.3f}, precision {precision:.3f}")
    assert recall > 0.95
    assert precision > 0.9
    assert nothing_left()


def test_physical_memory_shows_the_frames_of_the_hot_area():
    with running() as work:
        hot = set(frames(work.pid, hot_of(work)))
        cold = {frame for part in cold_of(work) for frame in frames(work.pid, part)}
        attrs = Attrs(10_000, 200_000, 1_000_000, 100, 1000)
        used, all_memory = span(work), memory()
        assert all_memory.start <= used.start < used.end <= all_memory.end
        around = Range(max(0, used.start - 128 * MIB), min(all_memory.end, used.end + 128 * MIB))
        with Kdamond(PhysicalMemory([around]), attrs) as backend:
            found = windows(backend, 160)[80:]
        shares = []
        for snapshot in found:
            claimed = {
                frame
                for part in predicted(snapshot)
                for frame in range(part.start // PAGE, part.end // PAGE)
            }
            # Other processes and the kernel use memory too: judged by the workload's frames.
            right, wrong = len(claimed & hot), len(claimed & cold)
            shares.append((right / len(hot), right / max(1, right + wrong)))
    recall, precision = (fmean(column) for column in zip(*shares, strict=True))
    print(f"paddr: recall {recall:.3f}, precision {precision:.3f}")
    assert recall > 0.9
    assert precision > 0.9


def test_a_moving_hot_area_is_followed():
    with running(moving(8 * MIB, nbytes=48 * MIB, steps=5, seconds=50)) as work:
        with kdamond(work) as backend:
            snapshots = windows(backend, 245)
        summary = summarize(judge(snapshots, work.truth, settle=0.5))
    print(f"moving: {summary}")
    assert summary.windows > 90
    assert summary.f1 > 0.9
    assert summary.recall_at_k > 0.9


def test_the_sources_agree():
    """Both tell the same window of one kdamond: the same regions, counts and ages."""
    with running() as work, kdamond(work, (EVERYTHING,), source="tracepoint") as backend:
        kernel = KdamondFiles(DamonFiles(), backend.index)
        snapshots = backend.snapshots()
        equal = compared = 0
        for _ in range(20):
            next(snapshots)
            kernel.command("update_schemes_tried_regions")
            shown = [tuple(region)[1:5] for region in kernel.tried_regions(0)]
            bounds = [region[:2] for region in shown]
            # The window that was waited for is among those that came meanwhile.
            for snapshot in (next(snapshots), next(snapshots)):
                told = [tuple(region)[1:5] for region in snapshot.regions]
                if [region[:2] for region in told] == bounds:
                    compared += 1
                    equal += told == shown
                    tried = [tuple(region)[1:5] for region in snapshot.schemes[0].tried]
                    assert tried == shown
                    break
    print(f"sources: {equal} of {compared} windows equal in regions, counts and ages")
    assert compared >= 18
    assert equal >= 0.9 * compared


def test_attributes_are_committed_online():
    with running() as work, kdamond(work, source="tracepoint") as backend:
        snapshots = backend.snapshots()
        for _ in range(3):
            before = next(snapshots)
        backend.commit(Attrs(20_000, 1_000_000, 1_000_000, 10, 50))
        for _ in range(4):
            after = next(snapshots)
        span_ns = after.end_ns - before.end_ns
    assert (before.aggr_us, after.aggr_us) == (200_000, 1_000_000)
    assert after.max_nr_accesses == 50
    assert 3_000_000_000 < span_ns < 5_000_000_000
    assert len(after.columns) <= 50


def test_two_kdamonds_at_once():
    with running() as first, running() as second:
        with kdamond(first) as one, kdamond(second) as two:
            pairs = list(zip(windows_of(one, 40), windows_of(two, 40), strict=True))
            assert {one.index, two.index} == {0, 1}
        for found, work in zip(zip(*pairs, strict=True), (first, second), strict=True):
            assert {snapshot.targets[0].pid for snapshot in found} == {work.pid}
            recall, precision = found_in(found, work)
            assert recall > 0.9
            assert precision > 0.9
    assert nothing_left()


def windows_of(backend, count):
    for number, snapshot in enumerate(backend.snapshots(), 1):
        yield snapshot
        if number == count:
            return


def test_it_ends_with_its_target():
    with running() as work, kdamond(work) as backend:
        snapshots = backend.snapshots()
        next(snapshots)
        work.close()
        assert len(list(snapshots)) < 10
    assert nothing_left()


def test_children_are_followed():
    with running() as first, kdamond(first, attrs=ATTRS) as backend:
        watched = backend._watched
        snapshots = backend.snapshots()
        next(snapshots)
        with running() as second:
            watched._processes._admit(second.pid, PidSource([second.pid]), None)
            both = {0, 1}
            snapshot = until(lambda one: {of.target for of in one.regions} == both, snapshots)
            assert [target.pid for target in snapshot.targets] == [first.pid, second.pid]
            assert {region.target for region in snapshot.regions} == both

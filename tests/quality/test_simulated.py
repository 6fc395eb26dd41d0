"""
The monitor against worlds whose truth is exact: N seeds, a required rate.

The bounds come from two sources that are not this code: the kernel's own algorithm run on perfect
access bits (64 GiB spans), and the figures that are this project's targets (16 spots, F1 0.95).
Everything is simulated, so the results are the same on every machine.
"""

import statistics
from dataclasses import dataclass

import pytest

from isotherm.analysis.accuracy import Score, score
from isotherm.backends.sim import workloads
from isotherm.backends.sim.ops import SimOps
from isotherm.clock import VirtualClock
from isotherm.core.monitor import Monitor
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range

SECOND = 1_000_000_000
GIB, MIB = 1 << 30, 1 << 20
SEEDS = range(8)
#: The kernel's own bounds, for what is compared with the kernel's figures.
KERNEL = Attrs(min_nr_regions=10)


@dataclass
class Run:
    rows: list[tuple[float, Score]]

    def found_s(self):
        """End of the first window with F1 above 0.9, None if there is none."""
        return next((at for at, one in self.rows if one.f1 > 0.9), None)

    def last_quarter(self, what):
        rows = self.rows[-len(self.rows) // 4 :]
        return statistics.fmean(getattr(one, what) or 0.0 for _, one in rows)


def run(world, seconds, seed, attrs=KERNEL, **options):
    clock = VirtualClock()
    space = world.spaces[0]
    areas = [Range(area.start, area.end) for area in space.areas]
    rows = []
    ops = SimOps(world, clock, **options)
    with Monitor(ops, attrs, clock=clock, seed=seed) as monitor:
        for snapshot in monitor.snapshots():
            truth = space.truth(snapshot.start_ns, snapshot.end_ns)
            rows.append((snapshot.end_ns / SECOND, score(snapshot, truth, areas)))
            if snapshot.end_ns >= seconds * SECOND:
                monitor.stop()
    return Run(rows)


def rate(values, condition):
    return sum(map(condition, values)) / len(values)


def test_the_same_seed_gives_the_same_run():
    world = workloads.fixed(GIB, ((100 * MIB, 50 * MIB),))
    first, again, other = (run(world, 2, seed).rows for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_64_mib_in_64_gib_as_the_kernel_finds_it():
    """The kernel's algorithm: found in 1.0 to 2.9 s, recall 0.96, precision 1.0."""
    world = workloads.fixed(64 * GIB, ((21 * GIB, 64 * MIB),))
    runs = [run(world, 10, seed) for seed in SEEDS]
    found = [one.found_s() for one in runs]
    assert rate(found, lambda at: at is not None and at < 6) >= 0.75, found
    settled = [one for one in runs if one.found_s() is not None]
    recall = statistics.fmean(one.last_quarter("recall") for one in settled)
    precision = statistics.fmean(one.last_quarter("precision") for one in settled)
    assert recall > 0.9, recall
    assert precision > 0.98, precision


def test_a_gib_in_64_gib_is_found_within_a_second():
    """The kernel's algorithm: 0.4 to 0.7 s."""
    world = workloads.fixed(64 * GIB, ((21 * GIB, GIB),))
    found = [run(world, 3, seed).found_s() for seed in SEEDS]
    assert rate(found, lambda at: at is not None and at <= 1.2) >= 0.85, found


def test_small_scattered_chunks_are_missed_as_the_kernel_misses_them():
    """60 chunks of 4 MiB in 64 GiB: recall 1 to 3 %. Far more would be another algorithm."""
    recalls = [
        run(workloads.scattered(64 * GIB, 60, 4 * MIB, seed=seed), 10, seed).last_quarter("recall")
        for seed in SEEDS
    ]
    assert 0.0 < statistics.fmean(recalls) < 0.05, recalls


@pytest.mark.parametrize(("spots", "seconds"), [(1, 6), (16, 6)])
def test_spots_are_found_with_enough_regions(spots, seconds):
    """4 MiB each in 4 GiB, at least 100 regions: F1 0.95 is the target, 0.995 was measured."""
    attrs = Attrs(min_nr_regions=100)
    f1 = [
        run(workloads.scattered(4 * GIB, spots, 4 * MIB, seed=s), seconds, s, attrs).last_quarter(
            "f1"
        )
        for s in range(4)
    ]
    assert rate(f1, lambda value: value >= 0.95) == 1, f1


def test_a_hot_area_that_moves_is_followed():
    """Three places for three seconds each; found again within a second after each move."""
    refound = []
    for seed in SEEDS:
        rows = run(workloads.moving(GIB, 64 * MIB, 3 * SECOND, 3, seed=seed), 9, seed).rows
        for begin in (3, 6):
            found = [at for at, one in rows if at > begin + 0.05 and one.f1 > 0.9]
            refound.append(found[0] - begin if found else 99)
    assert rate(refound, lambda seconds: seconds <= 1.5) >= 0.85, refound


def test_a_small_budget_of_clears_costs_little_accuracy():
    """
    3 clears a tick, 600 a second, for a hot area that would take some 6 a tick.

    With imputation F1 was 0.97 with a tenth of the clears; here it must stay above 0.95.
    """
    world = workloads.fixed(4 * GIB, ((GIB, 700 * MIB),))
    for options in ({}, {"clears_per_tick": 3}):
        f1 = [run(world, 6, seed, **options).last_quarter("f1") for seed in SEEDS]
        assert rate(f1, lambda value: value >= 0.95) >= 0.85, (options, f1)


def test_an_idle_world_shows_nothing():
    """Stale bits from the creation of the pages must not count as accesses."""
    world = workloads.fixed(GIB, ())
    for seed in SEEDS:
        assert all(one.predicted == 0 for _, one in run(world, 1, seed).rows)

"""
The kernel's DAMON and isotherm's own monitor on one program, one after the other.

Both by the rules of 6.12, each held against what the program really does. isotherm runs with
clears as it likes, and told to take no more of the CPU than the kernel's DAMON did; both with
several seeds, which the kernel takes none of. How far they agree with each other is told: two
estimates of the same truth may each err a little, in different places. The guest's clock counts
instructions: costs are counts, and the host's load changes nothing. A check was seen to cost the
kernel 1.8 to 3.2 us from boot to boot, so ratios are told as well. The whole of isotherm's thread
is counted, Python too.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
from kit import MIB, by_kernel, kdamond, running

from isotherm.analysis.accuracy import predicted, score
from isotherm.demo.spec import fixed
from isotherm.model.attrs import Attrs
from support.looks import Composed

pytestmark = by_kernel
SETTLE, WINDOWS = 30, 20
SAMPLES = 20
SEEDS = (1, 2)
AREA = 96 * MIB


@dataclass
class Run:
    """The last windows, nanoseconds of instructions they took of the monitor, and their time."""

    snapshots: list
    cpu_ns: int
    reader_ns: int
    wall_ns: int

    @property
    def per_interval_us(self):
        return self.cpu_ns / (WINDOWS * SAMPLES) / 1000

    @property
    def checks(self):
        return sum(len(one.columns) for one in self.snapshots) * SAMPLES

    def truth(self, work):
        """R@k against what the workload really does, mean."""
        hot = work.truth.phases[0].hot
        return fmean(score(one, hot, work.truth.areas).recall_at_k for one in self.snapshots)


def kdamond_cpu_ns():
    (thread,) = (
        entry
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (entry / "comm").read_text().startswith("kdamond.")
    )
    return int((thread / "schedstat").read_text().split()[0])


def measured(snapshots, cpu_ns):
    for _ in range(SETTLE):
        next(snapshots)
    wall, cpu, own = time.monotonic_ns(), cpu_ns(), time.thread_time_ns()
    found = [next(snapshots) for _ in range(WINDOWS)]
    cpu, own = cpu_ns() - cpu, time.thread_time_ns() - own
    return Run(found, cpu, own, time.monotonic_ns() - wall)


def of_kernel(work, attrs):
    with kdamond(work, attrs=attrs, source="tracepoint") as backend:
        return measured(backend.snapshots(), kdamond_cpu_ns)


def of_isotherm(work, attrs, overhead):
    """A run with each seed."""
    runs = []
    for seed in SEEDS:
        with (
            Composed([work.pid], overhead=overhead) as composed,
            composed.monitor(attrs, seed=seed, profile="6.12") as monitor,
        ):
            runs.append(measured(monitor.snapshots(), time.thread_time_ns))
    return runs


def agreement(ours, theirs, areas):
    """R@k of our windows against what the kernel calls hot, mean; 0 if it calls nothing hot."""
    shares = [
        score(our, predicted(their), areas).recall_at_k
        for our, their in zip(ours.snapshots, theirs.snapshots, strict=True)
        if predicted(their)
    ]
    return fmean(shares or [0.0])


def told(name, run, theirs, work):
    cleared, missed, checks = (
        sum(getattr(one.cost, what) for one in run.snapshots)
        for what in ("cleared", "missed", "checks")
    )
    agreed = agreement(run, theirs, work.truth.areas)
    print(
        f"  bpf, {name}: R@k of the truth {run.truth(work):.3f}, of the kernel {agreed:.3f}; "
        f"{run.per_interval_us:.0f} us per sampling interval: "
        f"{run.per_interval_us / theirs.per_interval_us:.2f} times the kernel's; "
        f"{run.cpu_ns / checks:.0f} ns per check; {checks} checks, {cleared} cleared, "
        f"{missed} missed"
    )
    return checks


@pytest.mark.parametrize("hot_mib", [8, 48])
@pytest.mark.parametrize("bounds", [(1000, 1000), (10, 1000)])
def test_side_by_side(bounds, hot_mib):
    attrs = Attrs(5_000, 100_000, 1_000_000, *bounds)
    with running(fixed([(24 * MIB, hot_mib * MIB)], nbytes=AREA, seconds=100_000)) as work:
        theirs = of_kernel(work, attrs)
        share = theirs.cpu_ns / theirs.wall_ns
        print(
            f"{os.uname().release}, {bounds[0]}..{bounds[1]} regions, {hot_mib} of 96 MiB hot:\n  "
            f"kernel: R@k of the truth {theirs.truth(work):.3f}; {theirs.per_interval_us:.0f} us "
            f"per sampling interval, {100 * share:.1f} % of the CPU "
            f"(reading its windows: {100 * theirs.reader_ns / theirs.wall_ns:.1f} % more)"
        )
        found = {"kernel": theirs.truth(work)}
        for name, overhead in (("unlimited", 1.0), ("as the kernel", share)):
            runs = of_isotherm(work, attrs, overhead)
            found[name] = fmean(run.truth(work) for run in runs)
            for run in runs:
                checks = told(name, run, theirs, work)
                # As many regions as asked: the kernel's checks are known too.
                assert bounds[0] != bounds[1] or checks == run.checks
        if bounds[0] == bounds[1]:
            print(f"  kernel: {theirs.cpu_ns / theirs.checks:.0f} ns per check")
    # A single run: the kernel takes no seed, and was seen to err in one boot more than in another.
    assert found.pop("kernel") >= 0.8
    assert min(found.values()) >= 0.9, found

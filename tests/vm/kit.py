"""Workloads, kdamonds and witnesses for the tests in the guest."""

import os
import subprocess
import sys
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from isotherm.analysis.accuracy import score
from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.demo.runner import Workload
from isotherm.demo.spec import fixed
from isotherm.kernel.damon.files import ROOT as KDAMONDS
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.scope import Scope
from isotherm.session.applying import Applying
from isotherm.session.options import Options
from isotherm.targets.physical import system_ram
from isotherm.targets.target_set import ProcessTargets

MIB, PAGE = 1 << 20, 4096
#: Debian 12's own kernel has none.
WITHOUT_DAMON = "this kernel has no DAMON"
by_kernel = pytest.mark.skipif(not KDAMONDS.exists(), reason=WITHOUT_DAMON)
ATTRS = Attrs(10_000, 200_000, 1_000_000, 10, 200)
#: Of a guest's time: what takes longer is not going to be done.
LONGEST_S = 120


@contextmanager
def running(spec=None):
    """A workload at work: 48 MiB with 7 MiB hot at +23 MiB, unless told otherwise."""
    spec = spec or fixed([(23 * MIB, 7 * MIB)], nbytes=48 * MIB, seconds=100_000)
    with Workload(spec) as work:
        work.go()
        yield work


def kdamond(work, schemes=(), attrs=ATTRS, ranges=(), operations="vaddr", **options):
    targets = ProcessTargets([work.pid], scope=Scope(operations, tuple(ranges)))
    return Kdamond(targets, attrs, schemes, **options)


def windows(backend, count):
    """Run for `count` windows; all snapshots."""
    return list(islice(backend.snapshots(), count))


def until(done, snapshots, least_s=0):
    """
    Take snapshots for at least so many seconds and until `done` of one; return the one after it.

    Ends after LONGEST_S whatever holds: what did not come about is for the test to judge. How many
    windows something takes is a matter of chance, and in some guests of how busy they are. What
    the last one counts covers what `done` looked at.
    """
    begun = None
    for snapshot in snapshots:
        begun = snapshot.start_ns if begun is None else begun
        spent_s = (snapshot.end_ns - begun) / 1e9
        if spent_s > LONGEST_S or (spent_s >= least_s and done(snapshot)):
            return next(snapshots)
    raise AssertionError("monitoring ended before what was waited for")


def apply(work, done, *schemes, least_s=0, backend="bpf", **options):
    """Apply schemes as `until` says, and return what came of it."""
    options |= {"schemes": schemes, "pid": work.pid, "backend": backend}
    with Applying(Options.of(**options)) as applying:
        until(done, iter(applying.session.snapshots()), least_s)
        return applying.result()


def hot_of(work):
    (hot,) = work.truth.phases[0].hot
    return hot


def judged(snapshot, work, phase=0):
    return score(snapshot, work.truth.phases[phase].hot, work.truth.areas)


def found_in(snapshots, work):
    """(recall, precision), each the mean of the second half: one window may err by chance."""
    scores = [judged(one, work) for one in snapshots[len(snapshots) // 2 :]]
    return fmean(one.recall for one in scores), fmean(one.precision for one in scores)


def pagemap(pid, area):
    """Entries of /proc/PID/pagemap of a range."""
    with Path(f"/proc/{pid}/pagemap").open("rb") as file:
        file.seek(area.start // PAGE * 8)
        data = file.read((area.end - area.start) // PAGE * 8)
    return memoryview(data).cast("Q").tolist()


def resident(pid, area):
    """Bytes of a range that are in memory."""
    return sum(entry >> 63 for entry in pagemap(pid, area)) * PAGE


def frames(pid, area):
    return [entry & ((1 << 55) - 1) for entry in pagemap(pid, area) if entry >> 63]


def cold_of(work):
    """The parts of the area before and after the hot one."""
    (area,), hot = work.areas, hot_of(work)
    return Range(area.start, hot.start), Range(hot.end, area.end)


def cold_bytes(work):
    return sum(resident(work.pid, part) for part in cold_of(work))


def vmstat(name):
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    raise KeyError(name)


def spans(work, gap=MIB):
    """The physical memory of a workload: ranges with holes of less than `gap` bytes."""
    found = []
    for frame in sorted(frames(work.pid, work.areas[0])):
        if found and frame * PAGE - found[-1][1] < gap:
            found[-1][1] = (frame + 1) * PAGE
        else:
            found.append([frame * PAGE, (frame + 1) * PAGE])
    return [Range(start, end) for start, end in found]


def span(*works):
    """The physical memory between the first and the last frame of workloads."""
    found = [frame for work in works for frame in frames(work.pid, work.areas[0])]
    return Range(min(found) * PAGE, (max(found) + 1) * PAGE)


def memory():
    """
    The physical addresses of the guest.

    Far more than it has memory, in User-Mode Linux: memory begins after the kernel's own program,
    which the host puts somewhere else at each boot.
    """
    ram = system_ram()
    return Range(ram[0].start, ram[-1].end)


def usable_bytes():
    """Memory that processes may have."""
    return os.sysconf("SC_PHYS_PAGES") * PAGE


def nothing_left():
    """Whether DAMON and tracefs are as they were at boot."""
    instances = Path("/sys/kernel/tracing/instances")
    return (KDAMONDS / "nr_kdamonds").read_text().strip() == "0" and not list(instances.iterdir())


def command(*words, status=0):
    """Run `isotherm` with these words; it must end with `status`."""
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done

"""fvaddr with bpf: given ranges of a process, and nothing else of it."""

import os
import subprocess
import sys
from statistics import median

import pytest

import isotherm
from isotherm.demo.runner import Workload
from isotherm.demo.spec import fixed

pytestmark = pytest.mark.kernel

MIB = 1 << 20


@pytest.fixture
def work():
    """64 MiB, of which 8 MiB at +16 MiB are hot."""
    with Workload(fixed([(16 * MIB, 8 * MIB)], nbytes=64 * MIB, seconds=1000)) as workload:
        workload.go()
        yield workload


def test_the_ranges_are_monitored_and_what_is_hot_in_them_is_found(work, tmp_path):
    (area,) = work.areas
    ranges = [(area.start + 20 * MIB, area.start + 32 * MIB), (area.end - MIB, area.end)]
    path = tmp_path / "one.isotherm"
    words = [word for start, end in ranges for word in ("--range", f"{start:#x}-{end:#x}")]
    command = [sys.executable, "-m", "isotherm", "record", "-p", str(work.pid), "-d", "4s"]
    subprocess.run(
        [*command, "--ops", "fvaddr", *words, "--backend", "bpf", "-o", path],
        check=True,
        capture_output=True,
    )
    recording = isotherm.open(path)
    assert recording.info["operations"] == "fvaddr"
    snapshots = list(recording)
    for snapshot in snapshots:
        regions = sorted((region.start, region.end) for region in snapshot.regions)
        assert (regions[0][0], regions[-1][1]) == (ranges[0][0], ranges[-1][1])
        assert sum(end - start for start, end in regions) == snapshot.monitored_bytes == 13 * MIB
    # 4 of the 8 hot MiB lie in the first range, at its begin; one window may err by chance.
    later = snapshots[len(snapshots) // 2 :]
    hot = [[one for one in each.regions if (one.nr_accesses or 0) > 10] for each in later]
    assert median(sum(one.size for one in each) for each in hot) == pytest.approx(4 * MIB, abs=MIB)
    ends = [max((one.end for one in each), default=0) for each in hot]
    assert ranges[0][0] < median(ends) <= ranges[0][0] + 5 * MIB


def test_addresses_that_no_process_has():
    with pytest.raises(isotherm.BadValueError, match="addresses of processes end at"):
        isotherm.monitor(
            pid=os.getpid(), backend="bpf", operations="fvaddr", ranges=[(1 << 48, 1 << 49)]
        )

"""The commands over fixed ranges of a process, and over physical memory."""

import json
import re
from collections import Counter
from statistics import median

import pytest
from kit import (
    MIB,
    PAGE,
    cold_bytes,
    command,
    frames,
    hot_of,
    nothing_left,
    running,
    span,
    usable_bytes,
)

import isotherm

FAST = ("--aggr", "200ms", "--sample", "10ms")


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


def written(one):
    return f"{one.start:#x}-{one.end:#x}"


@pytest.mark.parametrize(
    "words", [("--ops", "paddr"), ("-a", "--ops", "paddr", "--backend", "kdamond")]
)
def test_record_and_report_of_the_whole_machine(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with running() as work:
        done = command("record", *words, "-d", "6s", *FAST)
        used = span(work)
    print(done.stderr)
    assert "recording physical memory, backend kdamond" in done.stderr
    path = tmp_path / "physical_memory.isotherm"
    recording = isotherm.open(path)
    assert recording.info["operations"] == "paddr"
    assert recording.info["profile"] is None
    snapshots = list(recording)
    assert len(snapshots) > 20
    for snapshot in snapshots:
        (target,) = snapshot.targets
        assert (target.title, target.pid) == ("physical memory", None)
        # What the kernel has for itself is a part of it, and as large as chance wants it.
        assert snapshot.monitored_bytes > usable_bytes()
        assert snapshot.regions[0].start <= used.start < used.end <= snapshot.regions[-1].end
    # In a gibibyte, one window may find nothing.
    assert any(region.nr_accesses for one in snapshots for region in one.regions)

    summary = command("report", path).stdout
    print(summary)
    assert summary.startswith("physical memory   ")
    assert re.search(r"System RAM +\d\.\d GiB", summary)
    assert "working set" in summary
    assert "mapped" not in summary
    assert "suggestion" not in summary
    for view in ("heatmap", "regions", "wss", "info"):
        assert command("report", path, view).stdout
    found = json.loads(command("report", path, "regions", "--format", "json").stdout)
    assert found["targets"] == [{"id": 0, "name": "physical memory", "pid": None}]
    assert {region["what"] for region in found["regions"]} == {"System RAM"}
    heat = command("report", path, "heatmap").stdout
    assert re.match(r"physical memory   \d\.\d GiB   heat by address", heat)


def test_a_range_of_physical_memory_shows_the_frames_of_the_hot_area(tmp_path):
    path = tmp_path / "one.isotherm"
    with running() as work:
        hot, around = set(frames(work.pid, hot_of(work))), span(work)
        words = ("--regions", "50..500", "-d", "10s", "-o", path)
        command("record", "--ops", "paddr", "--range", written(around), *FAST, *words)
    snapshots = list(isotherm.open(path))
    assert {snapshot.monitored_bytes for snapshot in snapshots} == {around.size}
    # A region is where its borders were drawn by chance, a little aside in this window or that.
    later = snapshots[len(snapshots) // 2 :]
    sampled = Counter()
    for snapshot in later:
        for region in snapshot.regions:
            for frame in range(region.start // PAGE, region.end // PAGE):
                sampled[frame in hot] += region.nr_accesses
    of_hot = sampled[True] / len(hot) / len(later)
    of_others = sampled[False] / (around.size // PAGE - len(hot)) / len(later)
    print(f"accesses a window: {of_hot:.2f} of a hot frame, {of_others:.2f} of another")
    assert of_hot > 3 * of_others
    command("report", path)


def test_ranges_of_a_process(tmp_path):
    path = tmp_path / "one.isotherm"
    with running() as work:
        hot = hot_of(work)
        half = (hot.start + hot.end) // 2
        around = type(hot)(half - half % PAGE, hot.end + 8 * MIB)
        words = ("-p", work.pid, "--ops", "fvaddr", "--range", written(around))
        done = command("record", *words, "-d", "8s", *FAST, "-o", path)
    assert "backend kdamond" in done.stderr
    recording = isotherm.open(path)
    assert recording.info["operations"] == "fvaddr"
    snapshots = list(recording)
    assert {snapshot.monitored_bytes for snapshot in snapshots} == {around.size}
    # Of the second half: one window may err by chance.
    found = median(
        sum(region.size for region in one.regions if (region.nr_accesses or 0) > 10)
        for one in snapshots[len(snapshots) // 2 :]
    )
    print(f"hot {found / MIB:.2f} MiB of {around.size / MIB:.2f}")
    assert found == pytest.approx(hot.end - around.start, abs=MIB)
    assert "anonymous" in command("report", path).stdout


def test_ranges_without_the_kernel(tmp_path):
    """With the page_idle bitmap; profiles are for such backends only."""
    path = tmp_path / "one.isotherm"
    with running() as work:
        (area,) = work.areas
        words = ("-p", work.pid, "--ops", "fvaddr", "--range", written(area), "-d", "3s")
        done = command("record", *words, "--profile", "6.12", "-o", path)
        assert "backend idle" in done.stderr
        refused = command("record", *words, "--profile", "7.2", "--backend", "kdamond", status=2)
    assert "takes no profile" in refused.stderr
    recording = isotherm.open(path)
    assert recording.info["profile"] == "6.12"
    for snapshot in recording:
        assert snapshot.monitored_bytes == area.size


def test_schemes_on_physical_memory():
    with running() as work:
        before = cold_bytes(work)
        words = ("--range", written(span(work)), "--regions", "50..500", "-d", "30s", *FAST)
        scheme = "pageout access=0% age=1s.."
        done = command("apply", scheme, "--ops", "paddr", *words, "--format", "json")
        after = cold_bytes(work)
    result = json.loads(done.stdout)
    (row,) = result["schemes"]
    print(f"cold {before / MIB:.1f} -> {after / MIB:.1f} MiB; {row}")
    assert "applying to physical memory, backend kdamond" in done.stderr
    assert row["sz_applied"] > 20 * MIB
    assert after < before / 2
    assert {one["mapping"] for one in result["mappings"]} == {"System RAM"}


def test_physical_memory_wants_the_kernel():
    done = command("record", "--ops", "paddr", "-d", "1s", "--backend", "idle", status=4)
    assert "it monitors processes, and physical memory was asked for" in done.stderr
    done = command("record", "--ops", "paddr", "-d", "1s", "--profile", "7.2", status=4)
    assert "monitored by the kernel's own DAMON only" in done.stderr
    assert "profile 7.2 was asked for" in done.stderr

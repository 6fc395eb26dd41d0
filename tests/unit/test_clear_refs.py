import os
import random
import signal
import threading
import time
from array import array
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

import isotherm
from isotherm.analysis.wss import working_set
from isotherm.backends.clear_refs.look import ClearRefsLook
from isotherm.backends.clear_refs.regions import MappingRegions
from isotherm.backends.clear_refs.smaps_map import SmapsMap
from isotherm.core.look import Check, Samples
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec
from isotherm.kernel.smaps import smaps
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import meets
from isotherm.recording.reader import open_recording
from isotherm.recording.sink import RecordingSink
from support.looks import Composed

PAGE = 4096

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="no /proc/PID/clear_refs here"
)


def samples(addresses):
    count = len(addresses)
    return Samples(
        array("Q", sorted(addresses)), array("I", bytes(4 * count)), array("I", bytes(4 * count))
    )


@pytest.fixture
def workload():
    """Three areas of 977 pages: all used, 239 pages used, nothing used."""
    size = 977 * PAGE
    spec = Spec(
        areas=tuple(Area(name, size) for name in ("hot", "partly", "idle")),
        phases=(Phase(60_000_000, (Hot("hot", 0, size), Hot("partly", 17 * PAGE, 239 * PAGE))),),
    )
    with Workload(spec) as running:
        running.go()
        yield running


def opened(workload):
    ops = Composed([workload.pid], ClearRefsLook)
    targets = ops.targets()
    assert len(targets) == 1
    return ops, targets[0]


def referenced_pages(pid, areas):
    """The witness: of each area, pages whose accessed bit is set."""
    entries = smaps(pid)
    return [
        sum(e.referenced_bytes for e in entries if a.start <= e.mapping.start < a.end) // PAGE
        for a in areas
    ]


@contextmanager
def standing(pid):
    """No page is used in here: the accessed bits can only go out."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def sweep_anew(workload):
    """
    Let the workload use all that it uses, so that accessed bits show it.

    Clearing them flushes no TLB, and a page whose translation stays there is used without a trace;
    clearing the soft-dirty bits does flush.
    """
    Path(f"/proc/{workload.pid}/clear_refs").write_text("4")
    begun = workload.sweeps
    while workload.sweeps < begun + 4:  # two ranges: each from its begin to its end
        time.sleep(0.001)


def test_samples_of_a_mapping_answer_alike_and_in_its_share_over_time(workload):
    ops, _ = opened(workload)
    areas, used = workload.truth.areas, (977, 239, 0)
    rng = random.Random(5)
    rounds, shares = 20, []
    hits = [0, 0, 0]
    for _ in range(rounds):
        drawn = sorted(rng.randrange(a.start, a.end) for a in areas for _ in range(100))
        ops.prepare(samples(drawn))
        sweep_anew(workload)
        with standing(workload.pid):
            before = referenced_pages(workload.pid, areas)
            results = list(ops.check())
            after = referenced_pages(workload.pid, areas)
        found = [at for at, one in zip(drawn, results, strict=True) if one == Check.ACCESSED]
        counts = [sum(a.start <= at < a.end for at in found) for a in areas]
        assert set(counts) <= {0, 100}
        hits = [hit + (count == 100) for hit, count in zip(hits, counts, strict=True)]
        # Between the two looks only somebody else, like the kernel's own DAMON, clears bits.
        for most, least, true in zip(before, after, used, strict=True):
            assert least <= most <= true
        shares.append(
            [(least / 977, most / 977) for most, least in zip(before, after, strict=True)]
        )
    ops.close()
    for hit, told in zip(hits, zip(*shares, strict=True), strict=True):
        assert sum(least for least, _ in told) - 1 <= hit <= sum(most for _, most in told) + 1
    assert ops.cleared() >= (rounds - 1) * 1000


def test_addresses_without_a_mapping_are_idle(workload):
    ops, target = opened(workload)
    holes = [target.mappings[0].start - PAGE, target.mappings[-1].end]
    ops.prepare(samples(holes))
    assert list(ops.check()) == [Check.IDLE, Check.IDLE]
    ops.close()


def test_the_target_may_vanish_in_the_middle(workload):
    ops, target = opened(workload)
    ops.prepare(samples([target.mappings[0].start]))
    workload.close()
    assert not ops.alive()
    assert list(ops.check()) == [Check.IDLE]
    ops.prepare(samples([target.mappings[0].start]))
    assert list(ops.check()) == [Check.IDLE]
    assert ops.targets() == []
    ops.close()


def test_recommended_intervals_grow_with_the_target(workload, monkeypatch):
    ops = Composed([workload.pid], ClearRefsLook)  # known before the first look
    attrs = ops.recommended_attrs
    assert (attrs.sample_us, attrs.aggr_us) == (50_000, 5_000_000)
    monkeypatch.setattr(
        "isotherm.backends.clear_refs.look._resident_bytes", lambda _process: 10 << 30
    )
    assert ops.recommended_attrs.aggr_us == 12_000_000  # 10 GiB x 59 ms / 5 % of a CPU
    ops.close()


ATTRS = Attrs(sample_us=5_000, aggr_us=500_000, update_us=500_000)


@contextmanager
def monitored(workload, attrs=ATTRS):
    """The backend's own monitor and map, of a workload whose TLB is flushed all the time."""
    ended = threading.Event()

    def flush():
        while not ended.wait(0.02):
            Path(f"/proc/{workload.pid}/clear_refs").write_text("4")

    with Composed([workload.pid], ClearRefsLook) as ops:
        page_map = SmapsMap(ops.epochs)
        monitor = ops.monitor(attrs, policy=MappingRegions, page_map=page_map)
        flusher = threading.Thread(target=flush)
        flusher.start()
        try:
            yield monitor, page_map
        finally:
            ended.set()
            flusher.join()


def regions_in(snapshot, area):
    return [region for region in snapshot.regions if meets(region, area.start, area.end)]


def test_regions_are_mappings_with_the_share_that_was_used(workload):
    areas = workload.truth.areas
    with monitored(workload) as (monitor, _):
        for snapshot in islice(monitor.snapshots(), 4):
            assert snapshot.shares
            found = [regions_in(snapshot, area) for area in areas]
            assert [[(r.start, r.end) for r in regions] for regions in found] == [
                [(area.start, area.end)] for area in areas
            ]
            hot, partly, idle = (regions[0].nr_accesses for regions in found)
            assert 85 <= hot <= 100
            assert 20 <= partly <= 25  # 239 of 977
            assert idle == 0
            mine = sum(region.size for regions in found for region in regions)
            rest = sum(r.size for r in snapshot.regions if r.nr_accesses) - mine
            most = (977 + 239 + 10) * PAGE + max(0, rest)
            assert snapshot.working_set_bytes == working_set(snapshot) <= most
        assert regions_in(snapshot, areas[2])[0].age == 4


def test_the_map_says_what_smaps_says(workload):
    with monitored(workload) as (monitor, page_map):
        snapshots = list(islice(monitor.snapshots(), 3))
        with standing(workload.pid):
            before = smaps(workload.pid)
            use = page_map.sum()
            after = smaps(workload.pid)
    assert snapshots[0].page_use is not None
    assert use.windows_ns[-1] == use.watched_ns >= 1_500_000_000
    assert use.windows_ns[0] == 1_000_000_000
    assert not use.exact
    rows = {(row.what, row.kind): row for row in use.rows}
    for (title, kind), row in rows.items():
        assert row.used_low[-1] <= row.used[-1] <= row.used_high[-1] <= row.resident
        assert row.idle[-1] == row.resident - row.used_high[-1]
        assert row.idle_own[-1] <= row.idle[-1]
        own = [[e for e in told if e.mapping.title == title] for told in (before, after)]
        if kind == "anon":
            assert row.resident == sum(e.pss_bytes for e in own[0])
            # No more than that only where somebody else, like the kernel's DAMON, clears bits.
            assert row.used[-1] >= sum(e.referenced_bytes for e in own[1])
    anon = [row for row in use.rows if row.kind == "anon"]
    assert sum(row.used[-1] for row in anon) >= 1000 * PAGE
    never = (977 + 977 - 239) * PAGE
    assert sum(row.resident - row.used[-1] for row in anon) >= never
    assert sum(row.idle_own[-1] for row in anon) >= never


def test_a_mapping_that_comes_into_use_shows_which_one_does_not_any_more():
    """Long before the epoch would have been over: that there was a change is seen at once."""
    size = 977 * PAGE
    phases = tuple(Phase(60_000_000, (Hot(name, 0, size),)) for name in ("one", "two"))
    spec = Spec(areas=tuple(Area(name, size) for name in ("one", "two")), phases=phases)
    with Workload(spec) as running:
        areas = running.go().areas
        with monitored(running) as (monitor, _):
            for snapshot in islice(monitor.snapshots(), 8):
                one, two = (regions_in(snapshot, area)[0].nr_accesses for area in areas)
                if snapshot.index == 1:
                    assert one >= 85
                    assert two == 0
                    running.next_phase()
            assert one == 0
            assert two >= 85


def test_a_session_and_its_recording_say_what_the_figures_mean(workload, tmp_path):
    path = tmp_path / "r.isotherm"
    sink, taken = RecordingSink(path), []
    with isotherm.monitor(pid=workload.pid, backend="clear-refs", aggr="500ms") as session:
        assert session.choice.whole_mappings
        sink.open(session)
        for snapshot in session.snapshots("2s"):
            sink.take(snapshot)
            taken.append(snapshot)
        sink.close()
    assert taken[-1].page_use is not None
    recording = open_recording(path)
    assert recording.info["whole_mappings"] is True
    assert [snapshot.shares for snapshot in recording] == [True] * len(taken)

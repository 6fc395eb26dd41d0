import os
import random
import signal
import statistics
import time
from array import array
from contextlib import contextmanager
from pathlib import Path

import pytest

from isotherm.backends.clear_refs import ClearRefsLook
from isotherm.core.look import Check, Samples
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec
from isotherm.kernel.smaps import smaps
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


def test_a_mapping_is_accessed_in_the_share_of_its_pages(workload):
    ops, target = opened(workload)
    areas, used = workload.truth.areas, (977, 239, 0)
    assert target.target.resident_bytes >= 3 * 977 * PAGE
    rng = random.Random(5)
    shares = []
    for _ in range(10):
        drawn = sorted(rng.randrange(a.start, a.end) for a in areas for _ in range(100))
        ops.prepare(samples(drawn))
        sweep_anew(workload)
        with standing(workload.pid):
            before = referenced_pages(workload.pid, areas)
            results = list(ops.check())
            after = referenced_pages(workload.pid, areas)
        found = [at for at, one in zip(drawn, results, strict=True) if one == Check.ACCESSED]
        hits = [sum(a.start <= at < a.end for at in found) for a in areas]
        # Between the two looks only somebody else, like the kernel's own DAMON, clears bits.
        for hit, most, least, true in zip(hits, before, after, used, strict=True):
            assert least <= most <= true
            assert 100 * least // 977 <= hit <= -(-100 * most // 977)
        shares.append(hits)
    ops.close()
    for seen, true in zip(zip(*shares, strict=True), used, strict=True):
        share = 100 * true / 977
        assert 0.85 * share <= statistics.fmean(seen) <= share + 1
    assert ops.cleared() >= 10 * 1000


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
    assert (attrs.sample_us, attrs.aggr_us) == (1_000_000, 5_000_000)
    monkeypatch.setattr("isotherm.backends.clear_refs._resident_bytes", lambda _process: 10 << 30)
    assert ops.recommended_attrs.sample_us == 12_000_000  # 10 GiB x 59 ms / 5 % of a CPU
    ops.close()

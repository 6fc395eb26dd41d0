import os
import random
import statistics
from array import array

import pytest

from isotherm.backends.clear_refs import ClearRefsOps
from isotherm.core.look import Check, Samples
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec
from isotherm.targets.processes import ProcessSet

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
    ops = ClearRefsOps(ProcessSet([workload.pid]))
    targets = ops.targets()
    assert len(targets) == 1
    return ops, targets[0]


def test_a_mapping_is_accessed_in_the_share_of_its_pages(workload):
    import time

    ops, target = opened(workload)
    areas = dict(zip(("hot", "partly", "idle"), workload.truth.areas, strict=True))
    assert target.target.resident_bytes >= 3 * 977 * PAGE
    rng = random.Random(5)
    shares = {name: [] for name in areas}
    for _ in range(10):
        drawn = {
            name: sorted(rng.randrange(a.start, a.end) for _ in range(100))
            for name, a in areas.items()
        }
        order = sorted(areas, key=lambda name: areas[name].start)
        batch = samples([address for name in order for address in drawn[name]])
        ops.prepare(batch)
        time.sleep(0.1)
        results = list(ops.check())
        for index, name in enumerate(order):
            shares[name].append(results[100 * index : 100 * (index + 1)].count(Check.ACCESSED))
    ops.close()
    # Writing clear_refs flushes no TLB, so a page may be used and not say so; the kernel's own
    # DAMON, where it runs, clears bits too. Both only ever lower what is seen.
    for name, share in (("hot", 100), ("partly", 100 * 239 / 977)):
        assert 0.85 * share <= statistics.fmean(shares[name]) <= share + 5
    assert statistics.fmean(shares["idle"]) == pytest.approx(0, abs=1)
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
    ops = ClearRefsOps(ProcessSet([workload.pid]))  # known before the first look
    attrs = ops.recommended_attrs
    assert (attrs.sample_us, attrs.aggr_us) == (1_000_000, 5_000_000)
    monkeypatch.setattr("isotherm.backends.clear_refs._resident_bytes", lambda _process: 10 << 30)
    assert ops.recommended_attrs.sample_us == 12_000_000  # 10 GiB x 59 ms / 5 % of a CPU
    ops.close()

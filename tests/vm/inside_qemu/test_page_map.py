"""The map of pages beside the regions: on 6.1 without kfuncs, on 6.12, and with page_idle."""

import os
from pathlib import Path

import pytest
from kit import MIB, PAGE, by_kernel, frames, running, vmstat
from large import large_folios
from shared import Sharers

import isotherm
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec

SERIES = os.uname().release
HAS_BITMAP = Path("/sys/kernel/mm/page_idle/bitmap").exists()
S = 1_000_000_000
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
#: A guest is ten times as slow as its host, and 1 % of it too little to be told anything.
OVERHEAD = 0.1
#: What an interpreter has in memory beside the area, and uses of it.
BESIDE, BESIDE_USED = 16 * MIB, MIB
#: The pages faulted in last are on no list of the kernel's yet, and the bitmap passes them by.
NEARLY = 0.97
#: 24 MiB: 5 of them are used in the first 3 s, 3 others from then on.
SCHEDULE = Spec(
    (Area("main", 24 * MIB),),
    (
        Phase(3_000_000, (Hot("main", 0, 5 * MIB, 20_000),)),
        Phase(100_000_000_000, (Hot("main", 11 * MIB, 3 * MIB, 20_000),)),
    ),
)


@pytest.fixture(autouse=True)
def _huge_pages_where_advised():
    """What an interpreter uses of a huge page of its own would count as 2 MiB."""
    if not THP.exists():
        yield
        return
    THP.write_text("madvise")
    yield
    THP.write_text("always")


def uses(pids, watched_s, each=lambda _: None, enough=lambda _: True):
    """
    What is known when it was watched for so long and, by the time, `enough`; and when that was.

    What a guest needs before it begins to watch is as long as its host is busy. `each` is called
    with every snapshot.
    """
    with isotherm.monitor(pid=pids, backend="bpf", seed=1, overhead=OVERHEAD) as session:
        for snapshot in session.snapshots(60):
            each(snapshot)
            use = snapshot.page_use
            if use and use.watched_ns >= watched_s * S and enough(snapshot.end_ns):
                return use, snapshot.end_ns
    raise AssertionError(f"not watched for {watched_s} s in a minute")


def summed(use, kind, field, ns):
    """Bytes of a kind by a field of the rows, for the length of time `ns`."""
    place = use.windows_ns.index(ns)
    return sum(getattr(row, field)[place] for row in use.rows if row.kind == kind)


def resident(use, kind):
    return sum(row.resident for row in use.rows if row.kind == kind)


def test_the_curve_and_idle_ages_of_a_known_schedule():
    with Workload(SCHEDULE) as work:
        # When all is opened, which takes seconds here.
        begin = [work.go]

        def in_second(end_ns):
            return end_ns - work.truth.phases[1].start_ns

        use, end_ns = uses(
            work.pid, 8, lambda _: begin and begin.pop()(), lambda at: in_second(at) > 5 * S
        )
        second_ns = in_second(end_ns)
    curve = {ns: summed(use, "anon", "used", ns) for ns in use.windows_ns}
    idle = {ns: summed(use, "anon", "idle", ns) for ns in use.windows_ns}
    for ns in use.windows_ns:
        print(
            f"{SERIES}: {ns / S:4.1f} s: {curve[ns] / MIB:.2f} used, {idle[ns] / MIB:.2f} MiB idle"
        )
    beside = resident(use, "anon") - 24 * MIB
    assert use.uncovered < MIB // 4
    assert 0 < beside < BESIDE
    for ns in (one for one in use.windows_ns if 2 * S <= one <= second_ns // 2):
        assert 3 * MIB * NEARLY <= curve[ns] <= 3 * MIB + BESIDE_USED
        assert 21 * MIB * NEARLY <= idle[ns] <= 21 * MIB + beside
    for ns in (one for one in use.windows_ns if one < 2 * S):
        assert summed(use, "anon", "used_low", ns) <= 3 * MIB + BESIDE_USED
        assert summed(use, "anon", "used_high", ns) >= 3 * MIB * NEARLY
    assert 8 * MIB * NEARLY <= curve[use.watched_ns] <= 8 * MIB + 2 * BESIDE_USED


@by_kernel  # Debian's kernel without DAMON has no folios of this size either
def test_folios_of_64_kib_stay_whole():
    splits = [vmstat("thp_split_page"), vmstat("thp_split_pmd")]
    spec = Spec(
        (Area("main", 24 * MIB, "thp"),),
        (Phase(100_000_000_000, (Hot("main", 5 * MIB, 3 * MIB, 20_000),)),),
    )
    with large_folios(64), running(spec) as work:
        before = heads(work)
        assert before == 24 * 16
        use, _ = uses(work.pid, 2)
        assert heads(work) == before
    assert [vmstat("thp_split_page"), vmstat("thp_split_pmd")] == splits
    best = summed(use, "anon", "used", S)
    print(f"{SERIES}, 64 KiB: used {best / MIB:.1f} MiB")
    assert 3 * MIB * NEARLY <= best <= 3 * MIB + BESIDE_USED


class Proportional:
    """
    Bytes that processes have, by the kernel's own Pss, before and after the last sum of the map.

    They change in between: what this process writes, as in collecting garbage, is not the
    children's as well any more.
    """

    def __init__(self, pids):
        self._pids = pids
        self.around = []
        self._last = self._now()

    def take(self, snapshot):
        now = self._now()
        if snapshot.page_use is not None:
            self.around = [self._last, now]
        self._last = now

    def _now(self):
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._pids]
        words = [line.split() for text in texts for line in text.splitlines()]
        return sum(int(one[1]) * 1024 for one in words if one[0] == "Pss:")


def heads(work):
    """How many large folios the area has."""
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        count = 0
        for frame in frames(work.pid, work.areas[0]):
            file.seek(frame * 8)
            count += int.from_bytes(file.read(8), "little") >> 15 & 1
    return count


@pytest.mark.parametrize("kind", ["shared", "forked"])
def test_memory_of_two_processes_is_counted_once_and_seen(kind):
    pages = 8 * MIB // PAGE
    row = "shmem" if kind == "shared" else "anon"
    with Sharers(pages * PAGE, 2, kind, leave=True) as sharers:
        sharers.touch(0, 0, 512, every_s=0.1)
        sharers.touch(1, 256, 768, every_s=0.1)
        known = Proportional(sharers.pids)
        use, _ = uses(sharers.pids, 3, known.take)
    beside = 0 if kind == "shared" else 2 * BESIDE_USED
    best = summed(use, row, "used", S)
    unseen = sum(one.unseen for one in use.rows if one.kind == row)
    print(
        f"{SERIES}, {kind}: resident {resident(use, row) / MIB:.2f}, used {best / MIB:.2f}, "
        f"unseen {unseen / MIB:.2f} MiB, by {use.shared_by!r}, held {use.held_ns / 1e6:.1f} ms"
    )
    # Shared memory once: in proportion to all who map it, as the kernel has it.
    assert 0.98 * min(known.around) <= use.resident <= 1.02 * max(known.around)
    assert summed(use, row, "used_low", S) <= 3 * MIB + beside
    # Without the bitmap there is a look at all who map it every second or two.
    assert summed(use, row, "used_high", S if HAS_BITMAP else 2 * S) >= 3 * MIB * NEARLY
    if HAS_BITMAP:
        assert use.shared_by == "page_idle"
        assert unseen < MIB // 4
        assert 3 * MIB * NEARLY <= best <= 3 * MIB + beside
        assert summed(use, row, "idle", S) >= 5 * MIB - MIB // 4

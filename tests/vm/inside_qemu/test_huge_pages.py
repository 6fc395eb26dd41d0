"""Huge pages for hot memory: by the kernel's DAMON with khugepaged, and by isotherm at once."""

from pathlib import Path

import pytest
from kit import MIB, apply, by_kernel, kdamond, nothing_left, running, until
from large import join_free_memory

from isotherm.demo.spec import fixed
from isotherm.model.scheme import Access, Action, Age, Pattern, Scheme

# Aged: at first a region holds more than is hot.
HOT = Pattern(access=Access(60, None), age=Age(1_000_000))
COLD = Pattern(access=Access(0, 0), age=Age(1_000_000))
ALL = Pattern()
HUGE = 2 * MIB
THP = Path("/sys/kernel/mm/transparent_hugepage")


def sixteen_hot(pages="4k"):
    """64 MiB, of which 16 MiB from +24 MiB on are hot: 8 huge pages."""
    return fixed([(24 * MIB, 16 * MIB)], nbytes=64 * MIB, seconds=100_000, pages=pages)


def huge_and_flags(work):
    """(bytes of huge pages, bytes of mappings with "hg", with "nh") in the workload's area."""
    huge, advised, refused, _ = huge_flags_and_room(work)
    return huge, advised, refused


def huge_flags_and_room(work):
    """The same, and the bytes of whole huge pages that lie within mappings with "hg"."""
    (area,) = work.areas
    huge = advised = refused = room = size = start = end = 0
    inside = False
    for line in Path(f"/proc/{work.pid}/smaps").read_text().splitlines():
        head = line.split()
        if "-" in head[0] and not head[0].endswith(":"):
            start, end = (int(one, 16) for one in head[0].split("-"))
            inside, size = area.start <= start and end <= area.end, end - start
        elif inside and head[0] == "AnonHugePages:":
            huge += int(head[1]) * 1024
        elif inside and head[0] == "VmFlags:":
            advised += size * ("hg" in head)
            refused += size * ("nh" in head)
            whole = end // HUGE * HUGE - -(-start // HUGE) * HUGE
            room += max(0, whole) * ("hg" in head)
    return huge, advised, refused, room


@pytest.fixture(autouse=True)
def _room():
    join_free_memory()


@by_kernel
def test_the_kernels_damon_advises_huge_pages_for_the_hot_part_and_against_for_all():
    # It would sleep for a minute where there is no huge page to be had at once.
    for pause in ("scan_sleep_millisecs", "alloc_sleep_millisecs"):
        (THP / "khugepaged" / pause).write_text("100")
    with running(sixteen_hot()) as work:
        assert huge_and_flags(work) == (0, 0, 64 * MIB)
        with kdamond(work, (Scheme(Action.HUGEPAGE, HOT),)) as backend:
            # khugepaged takes its time for what is advised.
            seen = []

            def done(_):
                seen.append(huge_flags_and_room(work))
                huge, advised, _, room = seen[-1]
                return advised >= 14 * MIB and huge >= room

            stats = until(done, backend.snapshots(), least_s=12).schemes[0].stats
        huge, advised, _, room = seen[-1]
        print(f"kdamond, hugepage: {huge / MIB:.0f} MiB huge, {advised / MIB:.1f} MiB advised")
        assert stats.sz_applied >= advised
        # Where a piece of it begins or ends is for DAMON to say: all that has room is huge.
        assert room <= huge <= 20 * MIB
        assert room >= advised / 2
        assert 14 * MIB <= advised <= 24 * MIB
        with kdamond(work, (Scheme(Action.NOHUGEPAGE, ALL),)) as backend:
            until(lambda _: huge_and_flags(work)[1:] == (0, 64 * MIB), backend.snapshots())
        _, advised, refused = huge_and_flags(work)
        print(f"kdamond, nohugepage: {advised / MIB:.1f} MiB advised, {refused / MIB:.1f} refused")
        assert advised == 0
        assert refused == 64 * MIB
    assert nothing_left()


def applied(work, scheme, enough):
    """The state of a scheme when `enough` is huge, and what is done wrongly would be seen."""
    result = apply(work, lambda _: enough(huge_and_flags(work)[0]), scheme, least_s=20)
    return result.states[0]


def test_isotherm_makes_the_hot_part_huge():
    (THP / "enabled").write_text("never")
    with running(sixteen_hot("thp")) as work:
        (THP / "enabled").write_text("madvise")
        assert huge_and_flags(work) == (0, 64 * MIB, 0)
        state = applied(work, Scheme(Action.COLLAPSE, HOT), lambda huge: huge >= 14 * MIB)
        huge, _, _ = huge_and_flags(work)
    print(f"bpf, collapse: {huge / MIB:.0f} MiB huge; {state.stats}")
    assert 14 * MIB <= huge <= 20 * MIB
    assert state.stats.sz_applied == huge


def test_isotherm_makes_the_cold_part_small():
    with running(sixteen_hot("thp")) as work:
        before, _, _ = huge_and_flags(work)
        state = applied(work, Scheme(Action.NOHUGEPAGE, COLD), lambda huge: huge <= 20 * MIB)
        after, _, _ = huge_and_flags(work)
    print(f"bpf, nohugepage: {before / MIB:.0f} -> {after / MIB:.0f} MiB huge; {state.stats}")
    assert before == 64 * MIB
    # A huge page at a border belongs to the region that has its middle.
    assert 14 * MIB <= after <= 20 * MIB
    assert state.stats.sz_applied == before - after

"""Heat by mapping and idle time, by hand."""

from __future__ import annotations

from dataclasses import replace

from isotherm.analysis.hotness import UNKNOWN, Heat, by_mapping, total
from isotherm.analysis.idleness import headline_ns, idle_ages
from isotherm.analysis.suggestion import suggest
from isotherm.analysis.summary import summarize
from isotherm.model.target import Mapping, Unobservable
from support.snapshots import MIB, phases, snapshot


def test_the_phases_by_mapping():
    snapshots = phases()
    rows = by_mapping(snapshots[-1], snapshots[0].mappings, long_idle_ns=1_000_000_000)
    quarter = MIB // 4
    assert rows == [
        Heat("[heap]", 64 * MIB, 8 * MIB, 0, 56 * MIB, 0, 56 * MIB, 56 * MIB),
        Heat("anonymous", 20 * MIB, 0, 0, 16 * MIB, 4 * MIB, 16 * MIB, 16 * MIB),
        Heat("[stack]", MIB, 0, 3 * quarter, 0, quarter, 0),
    ]
    assert total(rows).size == 85 * MIB


def test_idle_long_waits_for_its_time():
    snapshots = phases()
    (heap, *_) = by_mapping(snapshots[-1], snapshots[0].mappings, long_idle_ns=5_900_000_001)
    assert heap.idle_long == 0
    (heap, *_) = by_mapping(snapshots[-1], snapshots[0].mappings, long_idle_ns=5_900_000_000)
    assert heap.idle_long == 56 * MIB


def test_of_a_whole_mapping_the_share_that_was_used_is_hot():
    one = replace(snapshot(0, [(0, 0, 1000, 5, 30, 0)]), shares=True)
    maps = {0: (Mapping(0, 1000, "rw-p", "a"),)}
    most = one.max_nr_accesses
    assert by_mapping(one, maps) == [Heat("a", 1000, 5000 // most, 0, 1000 - 5000 // most)]
    assert one.working_set_bytes == 5000 // most < 1000


def test_holes_between_mappings_belong_to_nobody():
    one = snapshot(0, [(0, 0, 1000, 10, 0, 0)])
    maps = {0: (Mapping(600, 700, "r--p", "b"), Mapping(100, 200, "r--p", "a"))}
    assert by_mapping(one, maps) == [Heat("a", 100, 100), Heat("b", 100, 100)]


def test_without_a_map_nothing_is_lost():
    one = snapshot(0, [(0, 0, 1000, 10, 0, 0), (0, 1000, 1500, 9, 0, 100)])
    assert by_mapping(one, {}) == [Heat(UNKNOWN, 1500, 1000, 400, 0, 100)]


def test_unobservable_is_neither_hot_nor_cold():
    one = snapshot(
        0,
        [(0, 0, 1000, 0, 900, 1000), (0, 1000, 2000, 20, 0, 1000)],
        unobservable=(Unobservable(0, 5000, 6000, "hugetlb"),),
    )
    assert by_mapping(one, {}) == [Heat(UNKNOWN, 3000, unobservable=3000)]
    assert sum(size for _, size in idle_ages(one)) == 0


def test_what_is_mostly_unobservable_is_neither_hot_nor_cold():
    rows = [(0, 0, 1000, 20, 0, 501), (0, 1000, 2000, 0, 99, 501), (0, 2000, 3000, 0, 99, 500)]
    one = snapshot(0, rows)
    assert by_mapping(one, {}) == [Heat(UNKNOWN, 3000, 0, 0, 500, 2500, 0, 0)]
    assert sum(size for _, size in idle_ages(one)) == 500


def test_nothing_is_promised_of_what_schemes_leave_alone():
    made = phases()
    assert suggest(summarize(made)).what == "[heap]"
    for entries in made[0].mappings.values():
        assert all(mapping.permissions == "rw-p" for mapping in entries)
    shared = {
        id_: tuple(replace(mapping, permissions="rw-s") for mapping in entries)
        for id_, entries in made[0].mappings.items()
    }
    summary = summarize([replace(made[0], mappings=shared), *made[1:]])
    assert summary.what[0].idle_long == 56 * MIB
    assert summary.what[0].idle_own == 0
    assert suggest(summary) is None


def test_idle_ages():
    rows = [
        (0, 0, 100, 0, 9, 0),
        (0, 100, 300, 0, 10, 0),
        (0, 300, 600, 1, 99, 0),
        (0, 600, 1000, 0, 31, 50),
    ]
    bounds = (1_000_000_000, 3_000_000_000)
    assert idle_ages(snapshot(0, rows), bounds) == [
        (0, 100),
        (1_000_000_000, 200),
        (3_000_000_000, 350),
    ]


def test_the_headline_is_an_idle_time_that_memory_can_have_reached():
    # What was idle all the time has an age of 9.5 s in a recording of 10.1 s with 36 windows.
    assert headline_ns(10_100_000_000) == 5_000_000_000
    assert headline_ns(12_000_000_000) == 10_000_000_000
    assert headline_ns(3_600_000_000_000) == 10_000_000_000
    assert headline_ns(1_000_000) == 100_000_000


def rows_of(window):
    columns = (getattr(window.columns, name) for name in type(window.columns).__slots__)
    return zip(*(column for column in columns if column is not None), strict=True)


def test_summary_of_ten_seconds_knows_what_was_idle():
    # 10.1 s, of which it took half a second to find the regions
    late = [
        snapshot(
            window.index,
            [(*row[:4], max(0, row[4] - 5), row[5]) for row in rows_of(window)],
            targets=window.targets,
            mappings=window.mappings,
        )
        for window in phases(101)
    ]
    summary = summarize(late)
    assert summary.idle_after_ns == 5_000_000_000
    assert summary.what[0].idle_long == 56 * MIB
    assert (summary.watched_ns, summary.aggr_us) == (10_100_000_000, (100_000, 100_000))


def test_summary_of_the_phases():
    summary = summarize(phases())
    assert (summary.snapshots, summary.lost_snapshots, summary.regions) == (60, 0, 300)
    assert summary.duration_ns == 6_000_000_000
    assert summary.idle_after_ns == 5_000_000_000
    assert summary.cost == 60 * 500_000 / 6e9
    assert summary.what[0].idle_long == 56 * MIB


def test_summary_counts_what_is_missing_and_keeps_the_last_regions():
    made = phases()
    summary = summarize([*made[2:10], *made[15:20], snapshot(20)])
    assert summary.lost_snapshots == 7
    assert summary.last is not None
    assert summary.last.index == 19


def test_summary_of_nothing():
    summary = summarize([])
    assert summary.last is None
    assert (summary.what, summary.cost, summary.idle_ages()) == ([], 0.0, [])

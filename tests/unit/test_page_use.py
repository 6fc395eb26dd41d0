"""Working sets and idle ages by pages, with sums that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isotherm.analysis.could_free import could_free, idle_age_ns
from isotherm.analysis.page_use import (
    Idle,
    Used,
    by_kind,
    by_mapping,
    by_node,
    by_target,
    curve,
    idle_ages,
    within,
)
from isotherm.analysis.suggestion import Suggestion, suggest
from isotherm.analysis.summary import summarize
from isotherm.analysis.use_windows import UseCollector, equal_windows, window_use
from isotherm.errors import BadValueError
from isotherm.model.page_use import GroupUse, groups_since, never_seen
from isotherm.model.target import Mapping, Target
from isotherm.schemefile.files import load
from support.snapshots import MIB, T0, WINDOW_NS, S, page_use, phases, snapshot, use_row

HEAP_ROW = use_row({0.05: 8 * MIB, 0.7: 2 * MIB, 4: 6 * MIB, 25: 40 * MIB}, node=1)
FILE_ROW = use_row({0.05: MIB, 12: 20 * MIB}, what="/lib/x.so", kind="file")
COW_ROW = use_row({12: 3 * MIB}, what="/lib/x.so", uncovered=MIB)
SHARED_ROW = use_row({12: 5 * MIB}, what="/dev/shm/x", kind="shmem", unseen=10 * MIB, own=False)
USE = page_use(HEAP_ROW, FILE_ROW, COW_ROW, SHARED_ROW._replace(target=1))
RESIDENT = (56 + 21 + 4 + 15) * MIB


def test_the_curve_is_what_was_used_within_each_time():
    points = {point.window_ns: point for point in curve(USE)}
    assert list(points) == list(USE.windows_ns)
    share = 1 - 1 / 96
    assert points[S // 10] == Used(S // 10, 9 * MIB, 9 * MIB, 20 * MIB, share)
    assert points[S] == Used(S, 11 * MIB, 11 * MIB, 22 * MIB, share)
    assert points[10 * S] == Used(10 * S, 17 * MIB, 17 * MIB, 28 * MIB, share)
    assert points[30 * S] == Used(30 * S, 85 * MIB, 85 * MIB, RESIDENT, share)
    assert 60 * S not in points


def test_a_length_that_was_not_measured_lies_between_those_that_were():
    points = (Used(S, 100, 90, 110, 0.5), Used(4 * S, 200, 100, 400, 1.0))
    assert within(points, 2 * S) == Used(2 * S, 150, 95, 255, 1.0)
    assert within(points, S) == points[0]
    # What is beyond is not invented: the length says so.
    assert within(points, S // 10) == points[0]
    assert within(points, 60 * S) == points[1]


def test_idle_ages_and_what_is_recent_and_unknown_are_all_that_is_resident():
    ages = idle_ages(USE)
    assert (ages.recent_bytes, ages.unknown_bytes) == (9 * MIB, 11 * MIB)
    found = {idle.age_ns: idle for idle in ages.ages}
    assert found[S] == Idle(S, 74 * MIB, 0, 74 * MIB, 74 * MIB)
    assert found[10 * S] == Idle(10 * S, 68 * MIB, 28 * MIB, 68 * MIB, 68 * MIB)
    assert found[20 * S] == Idle(20 * S, *(4 * (40 * MIB,)))
    assert found[30 * S] == Idle(30 * S, 0, 0, 0, 0)
    assert sum(idle.only_bytes for idle in ages.ages) == RESIDENT - 20 * MIB


def test_what_was_used_and_not_armed_since_is_idle_as_much_as_the_curve_says():
    """Of 8 MiB found used within 4 s nobody knows when it was the last time."""
    row = use_row({4: 8 * MIB, 25: 40 * MIB})
    used = tuple(max(n, 2 * MIB) for n in row.used)
    low = tuple(max(n, MIB) for n in row.used_low)
    idle = tuple(min(n, 40 * MIB) for n in row.idle)
    use = page_use(row._replace(used=used, used_low=low, idle=idle, idle_own=idle))
    found = {idle.age_ns: idle for idle in idle_ages(use).ages}
    assert found[S] == Idle(S, 46 * MIB, 0, 40 * MIB, 47 * MIB)
    assert found[20 * S].bytes == found[20 * S].low_bytes == 40 * MIB
    for point in curve(use):
        assert found[point.window_ns].bytes + point.bytes == use.resident


def test_breakdowns():
    parts = [(part.name, part.kind, part.row.resident) for part in by_mapping(USE)]
    assert parts == [
        ("[heap]", "anon", 56 * MIB),
        ("/lib/x.so", "file", 21 * MIB),
        ("/dev/shm/x", "shmem", 15 * MIB),
        ("/lib/x.so", "anon", 4 * MIB),
    ]
    assert [(part.name, part.unknown) for part in by_kind(USE)] == [
        ("anon", MIB),
        ("file", 0),
        ("shmem", 10 * MIB),
    ]
    assert [(node, part.row.resident) for node, part in by_node(USE)] == [
        (0, 40 * MIB),
        (1, 56 * MIB),
    ]
    assert [(target, part.row.resident) for target, part in by_target(USE)] == [
        (0, 81 * MIB),
        (1, 15 * MIB),
    ]
    untold = page_use(HEAP_ROW._replace(node=None))
    assert [(node, part.name) for node, part in by_node(untold)] == [(None, "unknown")]


def test_what_could_be_freed_is_idle_and_nobody_elses():
    found = could_free(USE, None)
    assert (found.age_ns, found.file_bytes, found.swap_bytes) == (10 * S, 20 * MIB, 43 * MIB)
    assert (found.bytes, found.lacking_bytes) == (63 * MIB, 0)


@pytest.mark.parametrize(
    ("swap", "freed", "lacking"),
    [(0, 20, 43), (13 * MIB, 33, 30), (43 * MIB, 63, 0), (1 << 40, 63, 0)],
)
def test_anonymous_memory_needs_swap_space(swap, freed, lacking):
    found = could_free(USE, swap)
    assert (found.bytes, found.lacking_bytes) == (freed * MIB, lacking * MIB)


@pytest.mark.parametrize(
    ("watched", "age"),
    [(30 * S, 10 * S), (11 * S, 5 * S), (2 * S, S), (S, S // 2), (S // 10, None)],
)
def test_nobody_speaks_of_an_age_that_memory_cannot_have_reached(watched, age):
    use = page_use(use_row({0: MIB, watched / S: MIB}, watched_ns=watched), watched_ns=watched)
    assert idle_age_ns(use) == age
    assert (could_free(use, None) is None) == (age is None)


def stream(*uses):
    """A window of 100 ms for each use; None is one without."""
    return [replace(snapshot(i), page_use=use) for i, use in enumerate(uses)]


def early(used, watched=2 * S, **changes):
    return page_use(use_row({0.2: used}, watched_ns=watched, **changes), watched_ns=watched)


def test_percentiles_are_over_windows_of_one_length():
    uses = [early(n * MIB) for n in (1, 2, 3, 4)]
    found = equal_windows(stream(uses[2], None, uses[0], uses[3], uses[1]), S)
    assert (found.window_ns, len(found), found.left_out) == (S, 4, 0)
    assert found.ends_ns[0] == T0 + WINDOW_NS
    assert found.percentiles(0, 25, 26, 50, 75, 100) == tuple(n * MIB for n in (1, 1, 2, 2, 3, 4))
    assert found.mean == 2.5 * MIB


def test_windows_that_cannot_have_been_reached_are_left_out():
    found = equal_windows(stream(early(9 * MIB, S // 2), early(MIB), early(2 * MIB)), S)
    assert [used.bytes for used in found.used] == [MIB, 2 * MIB]
    nothing = equal_windows(stream(early(MIB)), 3 * S)
    assert len(nothing) == 0
    with pytest.raises(BadValueError, match="no window"):
        nothing.percentiles(50)
    with pytest.raises(BadValueError, match=r"0\.\.100"):
        found.percentiles(101)


def test_windows_of_which_little_had_been_looked_at_are_not_counted():
    found = equal_windows(stream(early(MIB, uncovered=MIB), early(4 * MIB), early(5 * MIB)), S)
    assert [used.bytes for used in found.used] == [4 * MIB, 5 * MIB]
    assert found.left_out == 1


def test_the_working_set_of_any_window():
    made = stream(early(MIB, S), None, early(3 * MIB, 4 * S), None, early(5 * MIB, 8 * S))
    third = T0 + 3 * WINDOW_NS
    found = window_use(made, third - S, third + WINDOW_NS)
    assert found.end_ns == third
    assert found.used.window_ns == S + WINDOW_NS
    assert found.used.bytes == 3 * MIB
    # Longer than anybody watched: what is said is how long it is.
    found = window_use(made, T0 - 60 * S, T0 + 9 * S)
    assert found.used.window_ns == 8 * S
    assert (found.start_ns, found.end_ns) == (T0 + 5 * WINDOW_NS - 8 * S, T0 + 5 * WINDOW_NS)


def test_a_window_before_anything_was_known():
    made = stream(None, None, early(MIB))
    with pytest.raises(BadValueError, match="no map of pages") as caught:
        window_use(made, T0, T0 + WINDOW_NS)
    assert caught.value.hint == "the first one was 200ms later"
    with pytest.raises(BadValueError, match="no map of pages"):
        UseCollector().window(0, 1)
    with pytest.raises(BadValueError, match="after it begins"):
        UseCollector().window(1, 1)


def with_use(use, **options):
    *others, last = phases(120)
    return summarize([*others, replace(last, page_use=use)], **options)


def test_a_summary_takes_its_figures_from_pages_where_it_can():
    summary = with_use(USE)
    assert summary.resident_bytes == RESIDENT
    assert (summary.idle_after_ns, summary.idle_bytes) == (10 * S, 68 * MIB)
    assert dict(summary.idle_ages())[20 * S] == 40 * MIB
    assert summary.could_free.bytes == 63 * MIB
    assert summary.equal_use.percentiles(50) == (11 * MIB,)
    assert summary.equal_use.window_ns == S
    assert [target.name for target in summary.use_targets] == ["app", "helper"]


def test_shared_memory_is_left_alone_by_schemes():
    """Even where nobody else maps it: what is promised is what is done."""
    shared = use_row({12: 20 * MIB}, what="shared anonymous", kind="shmem")
    *others, last = phases(120)
    maps = {7: (Mapping(0, 32 * MIB, "rw-s", "/dev/zero"),), 9: ()}
    made = [*others, replace(last, mappings=maps, page_use=page_use(HEAP_ROW, shared))]
    summary = summarize(made)
    assert summary.could_free.file_bytes == 0
    assert summary.could_free.swap_bytes == 40 * MIB
    assert suggest(summary).what == "[heap]"
    twice = {7: (*maps[7], Mapping(64 * MIB, 96 * MIB, "r--p", "/dev/zero"))}
    assert summarize([*made, replace(made[-1], mappings=twice)]).could_free.swap_bytes == 60 * MIB


def test_pages_of_shared_files_can_be_freed_where_they_are_told_apart():
    file = use_row({12: 20 * MIB}, what="/x", kind="file")
    *others, last = phases(120)
    maps = {7: (Mapping(0, 32 * MIB, "rw-s", "/x"),), 9: ()}
    use = page_use(HEAP_ROW, file)
    for exact, freed in ((True, 20 * MIB), (False, 0)):
        made = replace(last, mappings=maps, page_use=replace(use, exact=exact))
        assert summarize([*others, made]).could_free.file_bytes == freed


def test_what_is_suggested_is_what_pages_say():
    advice = suggest(with_use(USE, swap_free_bytes=1 << 40))
    assert advice == Suggestion("[heap]", "pageout filter=idle:10s", 40 * MIB, 0)
    assert load(advice.scheme).schemes[0].ops_filters
    assert suggest(with_use(USE, swap_free_bytes=0)) == replace(
        advice, bytes=0, with_swap=40 * MIB
    )
    assert suggest(with_use(page_use(SHARED_ROW))) is None


def test_of_regions_no_more_is_idle_than_is_resident():
    """72 MiB of regions are idle in 70 MiB of memory, of which 8.8 MiB are in use."""
    summary = summarize(phases(120))
    assert summary.use is None
    assert summary.idle_bytes == summary.resident_bytes == 70 * MIB
    assert summary.idle_ages() == [(S, 70 * MIB), (3 * S, 70 * MIB), (10 * S, 70 * MIB)]
    little = [
        replace(one, targets=tuple(replace(t, resident_bytes=MIB) for t in one.targets))
        for one in phases(120)
    ]
    assert summarize(little).idle_bytes == 2 * MIB
    assert suggest(summarize(little)) is None


def test_shared_memory_counts_once_where_targets_say_how_much_it_is():
    shared = tuple(Target(i, "a", i, 9 * MIB, 8 * MIB, 4 * MIB) for i in (1, 2))
    rows = [(0, 0, MIB, 0, 99, 0)]
    assert summarize([snapshot(0, rows, targets=shared)]).resident_bytes == 8 * MIB
    untold = (shared[0], replace(shared[1], proportional_bytes=None))
    assert summarize([snapshot(0, rows, targets=untold)]).resident_bytes == 16 * MIB


def test_of_regions_anonymous_memory_needs_swap_as_well():
    advice = suggest(summarize(phases(120), swap_free_bytes=0))
    assert (advice.what, advice.bytes, advice.with_swap) == ("[heap]", 0, 56 * MIB)
    advice = suggest(summarize(phases(120), swap_free_bytes=50 * MIB))
    assert (advice.bytes, advice.with_swap) == (50 * MIB, 6 * MIB)


def test_what_groups_have_when_somebody_came_or_ended_since():
    whole = GroupUse("unit web.service", *use_row({0.2: 6 * MIB, 20: 30 * MIB})[4:11])
    here, gone = use_row({0.2: MIB, 20: 2 * MIB}), use_row({20: 40 * MIB}, target=1)
    titles = ["unit web.service", "unit web.service", ""]
    came = never_seen(0, "anon", 5 * MIB, len(whole.used))
    (more,) = groups_since([whole], titles, [here], [came])
    assert more.resident == (36 - 3 + 5) * MIB
    assert (more.unseen, more.uncovered) == (0, 5 * MIB)
    at = page_use().windows_ns.index(10 * S)
    figures = more.used_low[at], more.used[at], more.used_high[at], more.idle[at]
    assert figures == (5 * MIB, 5 * MIB, 10 * MIB, 28 * MIB)
    # Memory that they shared was taken off for each of them: never less than nothing.
    assert groups_since([whole], titles, [gone], []) == ()
    assert groups_since([whole], titles, [], [came._replace(target=2)]) == (whole,)

"""Whatever a map of pages says: parts are the whole, and nothing is more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isotherm.analysis.could_free import could_free
from isotherm.analysis.page_use import (
    by_group,
    by_kind,
    by_mapping,
    by_node,
    by_target,
    covered,
    curve,
    idle_ages,
    within,
)
from isotherm.analysis.tree import tree
from isotherm.analysis.usage import WINDOWS_NS, usage_by_pages
from isotherm.model.target import Target
from support.page_uses import page_uses, u64


@given(page_uses(3))
def test_at_least_at_best_and_at_most_are_in_order(use):
    points = curve(use)
    assert [point.window_ns for point in points] == list(use.windows_ns)
    for point in points:
        assert point.low_bytes <= point.bytes <= point.high_bytes <= use.resident
    assert 0 <= covered(use) <= 1


@given(page_uses(3))
def test_idle_recent_and_unknown_are_what_is_resident(use):
    ages = idle_ages(use)
    only = [idle.only_bytes for idle in ages.ages]
    assert min([ages.recent_bytes, ages.unknown_bytes, *only]) >= 0
    assert ages.recent_bytes + ages.unknown_bytes + sum(only) == use.resident
    sizes = [idle.bytes for idle in ages.ages]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == [sum(only[i:]) for i in range(len(only))]


@given(page_uses(3))
def test_parts_are_the_whole(use):
    whole = [part.row for part in by_mapping(use)]
    breakdowns = [
        whole,
        [part.row for part in by_kind(use)],
        [part.row for _, part in by_node(use)],
        [part.row for _, part in by_target(use)],
    ]
    for rows in breakdowns:
        assert sum(row.resident for row in rows) == use.resident
        assert sum(row.unseen for row in rows) == use.unseen
        assert sum(row.uncovered for row in rows) == use.uncovered
        for i, point in enumerate(curve(use)):
            assert sum(row.used[i] for row in rows) == point.bytes


@given(page_uses(3))
def test_every_view_of_one_moment_has_the_same_idle_memory(use):
    targets = [Target(i, f"app{i}", i + 1, group=f"group {i % 2}") for i in range(3)]
    whole = [idle.bytes for idle in idle_ages(use).ages]
    for parts in (by_mapping(use), by_kind(use), by_group(use, targets)):
        assert [sum(part.idle[i] for part in parts) for i in range(len(whole))] == whole
    if whole:
        found = tree(use, targets, 10 * 10**9)
        assert sum(node.idle[found.place] for node in found.groups) == whole[found.place]
    usage = usage_by_pages(use, targets, 0)
    for at, ns in enumerate(WINDOWS_NS):
        told = [size for age, size in zip(use.windows_ns, whole, strict=True) if age == ns]
        assert not use.rows or [usage.total.idle[at]] == (told or [None])
        known = [figures.idle[at] for figures in usage.targets.values()]
        assert not told or not known or sum(known) == told[0]


@given(page_uses(3), st.none() | u64)
def test_no_more_could_be_freed_than_is_idle(use, swap):
    found = could_free(use, swap)
    if found is not None:
        at = use.windows_ns.index(found.age_ns)
        assert found.bytes >= 0
        assert found.bytes + found.lacking_bytes == sum(row.idle_own[at] for row in use.rows)


@given(page_uses(3), st.integers(1, 2**63))
def test_a_window_between_two_lengths_is_between_their_sizes(use, window_ns):
    points = curve(use)
    if not points:
        return
    found = within(points, window_ns)
    assert points[0].window_ns <= found.window_ns <= points[-1].window_ns
    sizes = [point.bytes for point in points]
    assert min(sizes) <= found.bytes <= max(sizes)

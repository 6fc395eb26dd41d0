"""Working set sizes, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isotherm.analysis.wss import WorkingSets, working_set, working_sets
from isotherm.errors import BadValueError
from support.snapshots import MIB, phases, snapshot

ROWS = [
    (0, 0, 100, 20, 0, 0),
    (0, 100, 150, 1, 0, 10),
    (0, 150, 1000, 0, 9, 0),
    (0, 1000, 1500, 20, 0, 500),
]


@pytest.mark.parametrize(
    ("least", "expected"), [(0, 140), (5, 140), (5.1, 100), (50, 100), (100, 100)]
)
def test_only_what_was_seen_and_accessed_counts(least, expected):
    assert working_set(snapshot(0, ROWS), least) == expected


def test_no_threshold_agrees_with_the_snapshot():
    for one in [snapshot(0, ROWS), *phases(4)]:
        assert working_set(one) == one.working_set_bytes


def test_percentiles_are_nearest_rank():
    sets = WorkingSets((0,) * 4, (30, 10, 40, 20), (1,) * 4, (0,) * 4)
    assert sets.percentiles(0, 25, 26, 50, 75, 100) == (10, 10, 20, 20, 30, 40)
    assert sets.mean == 25


def test_a_long_window_weighs_more():
    sets = WorkingSets((0, 0), (10, 99), (9, 1), (0, 0))
    assert sets.percentiles(50, 90, 91) == (10, 10, 99)


def test_windows_without_regions_are_no_small_working_sets():
    sets = working_sets([snapshot(0), snapshot(1, ROWS), snapshot(2)])
    assert sets.sizes == (140,)
    assert sets.unobservable == (510,)


def test_the_phases():
    # 8 MiB hot, and the observable three quarters of the warm stack.
    assert set(working_sets(phases()).sizes) == {8 * MIB + MIB * 3 // 4}
    assert set(working_sets(phases(), 50).sizes) == {8 * MIB}


def test_weights_are_the_windows():
    one = replace(snapshot(0, ROWS), end_ns=snapshot(0).start_ns)
    assert working_sets([one]).weights == (1,)


def test_nothing_has_no_percentiles():
    with pytest.raises(BadValueError, match="no regions"):
        working_sets([]).percentiles(50)
    with pytest.raises(BadValueError, match=r"0\.\.100"):
        working_sets(phases(1)).percentiles(101)
    with pytest.raises(BadValueError, match="impossible"):
        working_sets([], 150)


def test_only_windows_of_like_length_are_compared():
    """Most of the time was spent in windows of 10 to 11; the size of others is another thing."""
    sets = WorkingSets((0, 1, 2, 3, 4), (50, 51, 99, 52, 1), (10, 11, 12, 10, 1), (0,) * 5)
    assert sets.alike() == WorkingSets((0, 1, 3), (50, 51, 52), (10, 11, 10), (0,) * 3)
    assert WorkingSets((), (), (), ()).alike() == WorkingSets((), (), (), ())


def test_regions_of_which_most_could_not_be_observed_have_no_rate():
    rows = [(0, 0, 100, 20, 0, 50), (0, 100, 200, 20, 0, 51)]
    one = snapshot(0, rows)
    assert [region.nr_accesses for region in one.regions] == [20, None]
    assert one.working_set_bytes == working_set(one) == 50

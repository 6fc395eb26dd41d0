from array import array

import pytest

from isotherm.analysis.accuracy import (
    HotPhase,
    Truth,
    judge,
    score,
    summarize,
)
from isotherm.model.ranges import Range
from isotherm.model.snapshot import Columns, Snapshot
from isotherm.model.target import Target

MIB = 1 << 20
SECOND = 1_000_000_000
AREA = (Range(0, 100 * MIB),)


def snapshot(*regions, index=0, unobservable=(), targets=None, start_ns=0, end_ns=SECOND // 10):
    """Regions are (start, end, nr_accesses) in MiB; 20 samples a window."""
    columns = Columns(
        array("I", targets or [0] * len(regions)),
        array("Q", [start * MIB for start, _, _ in regions]),
        array("Q", [end * MIB for _, end, _ in regions]),
        array("I", [count for _, _, count in regions]),
        array("I", [0] * len(regions)),
        array("Q", list(unobservable) or [0] * len(regions)),
    )
    return Snapshot(index, start_ns, end_ns, 5000, 100_000, (Target(0, "w"),), columns)


def hot(*ranges):
    return [Range(start * MIB, end * MIB) for start, end in ranges]


def test_perfect_estimate():
    one = score(snapshot((0, 10, 0), (10, 30, 20), (30, 100, 1)), hot((10, 30)), AREA)
    assert (one.precision, one.recall, one.f1) == (1, 1, 1)
    assert (one.recall_at_k, one.working_set_ratio) == (1, 1)


def test_half_right():
    one = score(snapshot((0, 20, 20), (20, 100, 0)), hot((10, 40)), AREA)
    assert one.precision == 0.5
    assert one.recall == pytest.approx(1 / 3)
    assert one.f1 == pytest.approx(0.4)
    assert one.working_set_ratio == pytest.approx(2 / 3)


def test_threshold_is_a_fifth_of_the_possible_by_default():
    below, at = snapshot((0, 10, 3)), snapshot((0, 10, 4))
    assert score(below, hot((0, 10)), AREA).predicted == 0
    assert score(at, hot((0, 10)), AREA).predicted == 10 * MIB
    assert score(below, hot((0, 10)), AREA, hot_share=0.1).predicted == 10 * MIB


def test_recall_at_k_needs_no_threshold():
    one = score(snapshot((0, 10, 3), (10, 20, 1), (20, 30, 2)), hot((0, 10)), AREA)
    assert (one.predicted, one.recall_at_k) == (0, 1)


def test_recall_at_k_splits_ties_in_proportion():
    one = score(snapshot((0, 10, 9), (10, 30, 5), (30, 100, 0)), hot((0, 20)), AREA)
    # 10 MiB at rank one, then half of the 20 MiB at rank two, half of which are hot.
    assert one.recall_at_k == pytest.approx(15 / 20)


def test_recall_at_k_takes_nothing_without_accesses():
    assert score(snapshot((0, 100, 0)), hot((0, 100)), AREA).recall_at_k == 0


def test_estimates_outside_the_areas_are_not_judged():
    one = score(snapshot((0, 10, 20), (200, 300, 20)), hot((0, 10)), AREA)
    assert (one.precision, one.recall_at_k) == (1, 1)


def test_unobservable_regions_predict_nothing():
    blind = snapshot((0, 10, 20), unobservable=[10 * MIB])
    assert score(blind, hot((0, 10)), AREA).predicted == 0


def test_other_targets_are_not_judged():
    one = score(snapshot((0, 10, 20), (50, 60, 20), targets=[0, 1]), hot((0, 10)), AREA)
    assert one.precision == 1


def test_nothing_hot_and_nothing_predicted_is_right_but_has_no_shares():
    one = score(snapshot((0, 100, 0)), [], AREA)
    assert one.f1 == 1
    assert one.precision is None
    assert one.recall is None
    assert one.recall_at_k is None
    assert one.working_set_ratio is None


def two_phases():
    return Truth(
        (
            HotPhase(0, SECOND, tuple(hot((0, 10)))),
            HotPhase(SECOND, 2 * SECOND, tuple(hot((50, 60)))),
        ),
        AREA,
    )


def run(*found):
    """A snapshot each 100 ms; `found` names the estimate: a MiB address of 10 MiB, or None."""
    return [
        snapshot(
            *([(place, place + 10, 20)] if place is not None else [(0, 100, 0)]),
            index=number,
            start_ns=number * SECOND // 10,
            end_ns=(number + 1) * SECOND // 10,
        )
        for number, place in enumerate(found)
    ]


def test_found_and_found_again():
    first, second = judge(run(None, None, *[0] * 8, 0, 0, 0, *[50] * 7), two_phases())
    assert first.found_ns == 300_000_000
    assert second.found_ns == 400_000_000
    summary = summarize([first, second])
    assert summary.first_found_ns == 300_000_000
    assert summary.refound_ns == (400_000_000,)
    # Windows that end in the first quarter of a phase do not count: 8 of 10 do.
    assert summary.windows == 16
    assert summary.f1 == pytest.approx(15 / 16)
    assert summary.f1_worst == 0


def test_windows_across_a_change_are_not_judged():
    across = snapshot((0, 100, 0), start_ns=SECOND - 1, end_ns=SECOND + 1)
    assert two_phases().phase_of(across) is None
    assert summarize(judge([across], two_phases())).windows == 0


def test_never_found():
    summary = summarize(judge(run(*[None] * 20), two_phases()))
    assert summary.first_found_ns is None
    assert summary.refound_ns == (None,)
    assert summary.f1 == 0
    assert summary.working_set_ratio == 0


def test_nothing_scored_is_unknown():
    summary = summarize(judge([], two_phases()))
    assert (summary.f1, summary.f1_worst, summary.recall_at_k) == (None, None, None)

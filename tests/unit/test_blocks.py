"""Passes over whole recordings by the block say what they say window by window."""

from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import Snapshot, _core
from isotherm import open as open_recording
from isotherm.analysis.extent import extent
from isotherm.analysis.heatmap import Heatmap, heatmap
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.summary import summarize
from isotherm.analysis.wss import working_sets
from isotherm.errors import BadValueError
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Columns, Cost
from isotherm.model.target import Target, Unobservable
from isotherm.recording.blocks import Rows
from isotherm.recording.writer import RecordingWriter
from support.snapshots import MIB, columns, page_use, phases, snapshot, use_row

PAGE = 4096
numbers = st.sampled_from([0, 1, 5, 20, 21, 1000])


@st.composite
def windows(draw: st.DrawFn) -> list[Snapshot]:
    """Windows with everything that changes from one to the next."""
    targets = tuple(Target(n * 3, f"t{n}", n) for n in range(draw(st.integers(1, 3))))
    gaps: tuple[Unobservable, ...] = ()
    found, at_ns = [], 1_000
    told = draw(st.booleans())
    layout: list[tuple[int, int, int]] = []
    for index in range(draw(st.integers(1, 12))):
        if not layout or draw(st.integers(0, 3)) == 0:
            layout = []
            for target in range(len(targets)):
                end = draw(st.integers(0, 50)) * PAGE
                for _ in range(draw(st.integers(0, 4))):
                    start = end + draw(st.sampled_from([0, 0, 0, 1, 30])) * PAGE
                    end = start + draw(st.integers(1, 20)) * PAGE
                    layout.append((target, start, end))
        rows = [
            (t, a, b, draw(numbers), draw(numbers), draw(st.sampled_from([0, 0, PAGE, b - a])))
            for t, a, b in layout
        ]
        if draw(st.integers(0, 5)) == 0:
            first = draw(st.integers(0, 90)) * PAGE
            gaps = (Unobservable(0, first, first + 3 * PAGE, "shared"),)
        made = columns(rows)
        if draw(st.integers(0, 4)) == 0:
            made = replace(made, used=array("Q", [PAGE] * len(rows)))
        if rows and draw(st.integers(0, 9)) == 0:
            rates = array("d", [draw(st.sampled_from([0.0, 0.1, 1e6]))] * len(rows))
            made = replace(made, rate=rates, low=rates, high=rates)
        if told:
            heats = [draw(st.sampled_from([0.0, 0.02, 1.0])) for _ in rows]
            made = replace(made, share=array("d", heats))
        length = draw(st.sampled_from([1, 100, 1000]))
        use = None
        if draw(st.integers(0, 6)) == 0:
            use = page_use(use_row({0.2: MIB, 20: MIB}), watched_ns=30 * 10**9)
        found.append(
            Snapshot(
                index=index * draw(st.integers(1, 2)) + (found[-1].index + 1 if found else 0),
                start_ns=at_ns,
                end_ns=at_ns + length,
                sample_us=draw(st.sampled_from([1, 5, 7])),
                aggr_us=draw(st.sampled_from([20, 100])),
                targets=targets[: draw(st.sampled_from([len(targets)] * 5 + [len(targets)]))],
                columns=made,
                unobservable=gaps,
                cost=Cost(1, 2, draw(st.sampled_from([3, 3, 3, None])), 4, None, None),
                mappings={} if draw(st.integers(0, 6)) == 0 else None,
                schemes=(SchemeState("s", "stat"),) if draw(st.integers(0, 6)) == 0 else (),
                monotonic_ns=draw(st.sampled_from([None, 7])),
                page_use=use,
            )
        )
        at_ns += length + draw(st.sampled_from([0, 0, 50]))
    return found


def written(path: Path, snapshots: list[Snapshot], **info: object) -> AnalysedRecording:
    # Of more than one block.
    with RecordingWriter(path, info, flush_every_s=1.5e-6, force=True) as writer:
        for one in snapshots:
            writer.write(one)
    return open_recording(path)


def alike(one: Heatmap, other: Heatmap) -> bool:
    assert (one.row_ranges, one.segments, one.target) == (
        other.row_ranges, other.segments, other.target
    )  # fmt: skip
    assert (one.start_ns, one.end_ns) == (other.start_ns, other.end_ns)
    rows = [(*grid.heat, *grid.unobservable, *grid.peak) for grid in (one, other)]
    for mine, yours in zip(*rows, strict=True):
        for a, b in zip(mine, yours, strict=True):
            assert (a is None) == (b is None)
            assert a is None or a == pytest.approx(b, rel=1e-9, abs=1e-12)
    return True


@given(windows(), st.booleans(), st.sampled_from([0, 3, 50]))
@settings(max_examples=80, deadline=None)
def test_both_ways_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, made: list[Snapshot], shares: bool, least: float
) -> None:
    recording = written(tmp_path_factory.mktemp("b") / "x", made, whole_mappings=shares)
    made = [replace(one, shares=shares) for one in made]
    by_blocks = list(recording.by_blocks())
    assert recording.damage is None
    rated = any(one.columns.rate is not None for one in made)
    assert rated or all(isinstance(part, Rows) for part in by_blocks)
    assert [
        one for part in by_blocks for one in (part if isinstance(part, Rows) else [part])
    ] == made
    assert working_sets(recording.by_blocks(), least) == working_sets(made, least)
    slow, fast = summarize(made), summarize(recording.by_blocks())
    assert slow.where.ranges == fast.where.ranges
    assert slow.where.targets == fast.where.targets
    assert slow.where.heat == pytest.approx(fast.where.heat)
    assert replace(slow, where=fast.where) == fast
    try:
        expected = heatmap(made, 7, 9)
    except BadValueError as err:
        with pytest.raises(BadValueError, match=err.message[:20]):
            recording.heatmap(7, 9)
        return
    assert alike(expected, recording.heatmap(7, 9))
    if slow.last is not None:
        summary, line = recording.summary_and_heat(5)
        free = summary.swap_free_bytes
        assert replace(slow, where=summary.where, swap_free_bytes=free) == summary
        assert line is not None
        assert alike(heatmap(made, 1, 5), line)


def test_a_grid_that_was_drawn_for_the_wrong_extent_is_drawn_again(tmp_path: Path) -> None:
    # Of 100 blocks nine are looked at; only one of the others has the higher addresses.
    made = [
        snapshot(i, [(0, PAGE, 9 * PAGE, 5, 1, 0), *([(0, MIB, 2 * MIB, 20, 1, 0)] * (i == 17))])
        for i in range(100)
    ]
    recording = written(tmp_path / "x", made)
    assert extent(recording.samples(9)).ranges != extent(made).ranges
    assert alike(heatmap(made, 5, 8), recording.heatmap(5, 8))


def test_damage_in_a_block_costs_what_follows_and_not_what_stands_before(tmp_path: Path) -> None:
    made = phases(30)
    bad = columns([(0, 8192, 4096, 1, 1, 0)])
    made[20] = replace(made[20], columns=bad)
    with RecordingWriter(tmp_path / "x", {}, flush_every_s=3600) as writer:
        for one in made:
            writer.write(one)
    recording = open_recording(tmp_path / "x")
    slow = list(recording.readable())
    damage = recording.damage
    assert len(slow) == 20
    assert damage is not None
    found = list(recording.by_blocks())
    assert found == slow
    assert recording.damage is not None
    assert recording.damage.message == damage.message
    assert recording.summary().snapshots == 20
    assert recording.damage is not None


def scan(columns_: Columns, rows: int = 1) -> _core.Scan:
    offsets = array("i", [0] * rows + [len(columns_)])
    times = array("Q", [1] * rows)
    ns = array("q", [1] * rows)
    c = columns_
    return _core.Scan(
        rows,
        offsets,
        c.target,
        c.start,
        c.end,
        c.nr_accesses,
        c.unobservable,
        times,
        times,
        ns,
        ns,
    )


def test_the_core_believes_no_length() -> None:
    made = columns([(0, 1, 2, 3, 4, 5)])
    good = scan(made)
    assert good.check(0, 1, 1) is None
    for low, high in ((0, 2), (-1, 1), (1, 0)):
        with pytest.raises(ValueError, match="no such rows"):
            good.check(low, high, 1)
    with pytest.raises(ValueError, match="too short"):
        scan(replace(made, end=array("Q")))
    with pytest.raises(ValueError, match="make no sense"):
        good.runs(0, 1, 0)
    c = made
    ns = array("q", [1, 1])
    for offsets in ([0, 2, 1], [-1, 0, 1], [0, 0, 2], [0, 1]):
        with pytest.raises(ValueError, match="too short"):
            _core.Scan(
                2, array("i", offsets), c.target, c.start, c.end, c.nr_accesses,
                c.unobservable, ns, ns, ns, ns,
            )  # fmt: skip
    empty, cells = array("Q"), array("d", [0.0])
    rows = array("Q", [1]), array("Q", [2])
    one = [array("d", [0.0]) for _ in range(3)]
    good.heat(0, 1, 0, empty, empty, *rows, cells, *one, 1, 0, 5)
    with pytest.raises(ValueError, match="grid"):
        good.heat(0, 1, 0, empty, empty, *rows, cells, cells, cells, array("d"), 1, 0, 5)


def test_what_is_wrong_is_found_wherever_it_stands() -> None:
    right = [(0, 1, 2, 0, 0, 0), (0, 2, 4, 0, 0, 0), (1, 1, 3, 0, 0, 0), (1, 9, 10, 0, 0, 0)]
    assert scan(columns(right)).check(0, 1, 2) is None
    for wrong, told in (
        ((0, 4, 4), "ends before it begins"),
        ((0, 9, 3), "ends before it begins"),
        ((1, 0, 20), "overlap"),
        ((2, 0, 1), "target"),
    ):
        for at in range(4):
            rows = [*right[:at], (*wrong, 0, 0, 0), *right[at + 1 :]]
            found = scan(columns(rows)).check(0, 1, 2)
            assert found is not None, (at, wrong)
            assert told in found or "target" in found, (at, wrong, found)


def test_rows_are_checked_for_the_targets_that_are_asked_for() -> None:
    """What was right of two targets is not of one, nor is it of other rows."""
    good = scan(columns([(0, 1, 2, 0, 0, 0), (1, 1, 3, 7, 0, 0)]), rows=2)
    assert good.check(0, 2, 2) is None
    assert good.check(1, 2, 1) is not None
    with pytest.raises(ValueError, match="make no sense"):
        good.runs(0, 2, 1)
    assert array("d", good.runs(0, 2, 2)[1]).tolist() == [0.0, 14.0]
    assert good.check(0, 1, 1) is None
    with pytest.raises(ValueError, match="make no sense"):
        good.runs(0, 2, 1)


def test_sums_that_do_not_fit_are_added_up_elsewhere(tmp_path: Path) -> None:
    top = 2**64 - 1
    rows = [(n, 0, top, 1, 1, 0) for n in range(3)]
    targets = tuple(Target(n, "x") for n in range(3))
    made = [snapshot(0, rows, targets=targets)]
    recording = written(tmp_path / "x", made)
    assert recording.wss() == working_sets(made)
    assert recording.wss().sizes == (3 * top,)


def test_heat_that_some_windows_tell_is_read_window_by_window(tmp_path: Path) -> None:
    made = [snapshot(i, [(0, PAGE, 9 * PAGE, 5, 1, 0)]) for i in range(4)]
    made[2] = replace(made[2], columns=replace(made[2].columns, share=array("d", [0.01])))
    recording = written(tmp_path / "x", made)
    parts = list(recording.by_blocks())
    assert [one for part in parts for one in (part if isinstance(part, Rows) else [part])] == made
    assert recording.heatmap(4, 1).heat == ((0.25, 0.25, 0.01, 0.25),)

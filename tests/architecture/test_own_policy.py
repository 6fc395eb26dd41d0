"""A policy from outside: registered by name, run end to end, schemes and a recording included."""

from array import array
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import BASE, MIB, MS, fixed
from isotherm.clock import VirtualClock
from isotherm.core.damon.policy import DamonPolicy
from isotherm.core.look import Check, Samples
from isotherm.core.monitor import Monitor
from isotherm.core.policies import policy_named, register
from isotherm.core.ticks import Ticks
from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Access, Action, Pattern, Quota, Scheme
from isotherm.model.snapshot import Columns
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from isotherm.schemes.engine import Engine

TOTAL, PIECES = 64 * MIB, 16
PIECE = TOTAL // PIECES
#: Pieces 4 and 5 are in use, and nothing else.
HOT = (4 * PIECE, 2 * PIECE)
COLD, WARM = Pattern(access=Access(0, 0)), Pattern(access=Access(50, 100))


@dataclass
class Piece:
    target: int
    start: int
    end: int
    hits: int = 0
    last: int = 0
    age: int = 0


class PieceTable:
    """A `core.table.Table` as a list."""

    def __init__(self):
        self.ids, self.pieces = [], []

    def __len__(self):
        return len(self.pieces)

    def target_ids(self):
        return self.ids

    def spans(self):
        ends = [sum(p.target < index for p in self.pieces) for index in range(len(self.ids) + 1)]
        return list(pairwise(ends))

    def matching(self, limits, left_bp, *, known):
        found = [self.region(place, left_bp) for place in range(len(self))]
        return array(
            "Q",
            [
                place
                for place, (start, end, rate, age, _) in enumerate(found)
                if limits.min_size <= end - start <= limits.max_size
                and limits.min_accesses <= rate <= limits.max_accesses
                and limits.min_age <= age <= limits.max_age
            ],
        )

    def region(self, place, left_bp):
        piece = self.pieces[place]
        return piece.start, piece.end, piece.last if left_bp else piece.hits, piece.age, 0

    def cut(self, place, size):
        piece = self.pieces[place]
        self.pieces.insert(place + 1, replace(piece, start=piece.start + size))
        piece.end = piece.start + size

    def renew(self, place):
        self.pieces[place].age = 0

    def rejoin(self, size_limit):
        kept = []
        for piece in self.pieces:
            if kept and piece.start % PIECE:
                kept[-1].end = piece.end
                kept[-1].age = min(kept[-1].age, piece.age)
            else:
                kept.append(piece)
        self.pieces = kept


class FixedPieces:
    """Each range in pieces that stay; of each the next page in turn is sampled."""

    def __init__(self, setting):
        self.table = PieceTable()
        self.size_limit = PIECE
        self.ranges = ()
        self.turn = 0
        self.ticks = Ticks(setting.look, setting.clock, self.choose, self.count)

    def begin(self, targets, attrs):
        self.update(targets, attrs)

    def update(self, targets, attrs):
        ranges = [(i, each) for i, known in enumerate(targets) for each in known.ranges]
        self.table.ids = [known.target.id for known in targets]
        if ranges == self.ranges:
            return
        self.ranges = ranges
        self.table.pieces = [
            Piece(index, start, min(start + PIECE, each.end))
            for index, each in ranges
            for start in range(each.start, each.end, PIECE)
        ]

    def sample(self, ticks, sample_us):
        return self.ticks.run(ticks, sample_us * 1000)

    def stop(self):
        self.ticks.stop()

    def choose(self):
        self.turn += 1
        pieces = self.table.pieces
        return Samples(
            array("Q", [p.start + self.turn * PAGE % (p.end - p.start) for p in pieces]),
            array("I", [p.target for p in pieces]),
            array("I", [0] * len(pieces)),
        )

    def count(self, results):
        for piece, result in zip(self.table.pieces, results, strict=True):
            piece.hits += result == Check.ACCESSED

    def end_window(self, attrs):
        for piece in self.table.pieces:
            piece.age = 0 if bool(piece.hits) != bool(piece.last) else piece.age + 1

    def begin_window(self, attrs):
        for piece in self.table.pieces:
            piece.last, piece.hits = piece.hits, 0

    def rescale(self, old, new, *, aggregating):
        for piece in self.table.pieces:
            piece.hits = piece.last = 0

    def access_events(self):
        pieces = self.table.pieces
        sizes = [piece.end - piece.start for piece in pieces]
        return sum(s * p.hits for s, p in zip(sizes, pieces, strict=True)), sum(sizes)

    def columns(self):
        rows = [(p.target, p.start, p.end, p.hits, p.age, 0) for p in self.table.pieces]
        return Columns(*map(array, "IQQIIQ", zip(*rows, strict=True)))

    def take_cost(self):
        return self.ticks.take()


register("fixed pieces", FixedPieces)


class NoMetrics:
    """No goal and no watermark asks for one."""


def run(windows, *schemes, policy="fixed pieces"):
    """Return so many snapshots of the simulated world, and the world."""
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(TOTAL, (HOT,)), clock)
    engine = Engine(schemes, PAGE, NoMetrics(), clock=clock) if schemes else None
    with Monitor(look, policy=policy, clock=clock, seed=1, schemes=engine) as monitor:
        return list(islice(monitor.snapshots(), windows)), look


def test_it_finds_what_is_in_use():
    snapshots, _ = run(3)
    assert [(r.start - BASE, r.size) for r in snapshots[-1].regions if r.nr_accesses] == [
        (4 * PIECE, PIECE),
        (5 * PIECE, PIECE),
    ]
    assert [r.nr_accesses for r in snapshots[-1].regions if r.nr_accesses] == [20, 20]
    assert [snapshot.cost.checks for snapshot in snapshots] == [20 * PIECES] * 3


def test_schemes_act_on_what_it_finds():
    called = []

    def own(target, start, end):
        called.append((target, start - BASE, end - BASE))
        return end - start

    # A quota of less than a piece has pieces cut; they are whole again in the snapshot.
    limited = Quota(size_bytes=PIECE + PAGE, reset_ms=100)
    snapshots, look = run(
        12,
        Scheme(Action.PAGEOUT, COLD),
        Scheme(Action.STAT, WARM, own=own, quota=limited, name="own"),
    )
    assert look.resident_bytes(0) == HOT[1]
    assert called[:2] == [
        (0, 4 * PIECE, 5 * PIECE),
        (0, 5 * PIECE, 5 * PIECE + PAGE),
    ]
    out, mine = snapshots[-1].schemes
    assert out.stats.sz_applied == TOTAL - HOT[1]
    assert mine.stats.sz_applied == sum(end - start for _, start, end in called)
    assert {len(snapshot.columns) for snapshot in snapshots} == {PIECES}


def test_its_snapshots_are_recorded(tmp_path):
    snapshots, _ = run(5)
    path = tmp_path / "own.isotherm"
    with RecordingWriter(path, {}) as writer:
        for snapshot in snapshots:
            writer.write(snapshot)
    read = [snapshot.regions for snapshot in open_recording(path)]
    assert read == [snapshot.regions for snapshot in snapshots]


def test_a_session_takes_it_by_name():
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(TOTAL, (HOT,)), clock)
    with isotherm.monitor(ops=look, policy="fixed pieces", clock=clock) as session:
        snapshots = list(session.snapshots("1s"))
    assert len(snapshots) > 5
    hot = [region.start - BASE for region in snapshots[-1].regions if region.nr_accesses]
    assert hot == [4 * PIECE, 5 * PIECE]
    with pytest.raises(BadValueError, match="no policy"):
        isotherm.monitor(ops=look, policy="none", clock=clock)


def test_a_policy_may_be_given_without_a_name():
    named, _ = run(3)
    given, _ = run(3, policy=FixedPieces)
    assert [s.regions for s in given] == [s.regions for s in named]


def test_names_are_unique_and_known():
    assert policy_named("damon") is DamonPolicy
    register("fixed pieces", FixedPieces)  # the same again
    with pytest.raises(BadValueError, match="already"):
        register("damon", FixedPieces)
    with pytest.raises(BadValueError, match="no policy 'none'") as caught:
        policy_named("none")
    assert "damon, map, " in caught.value.hint
    assert "fixed pieces" in caught.value.hint

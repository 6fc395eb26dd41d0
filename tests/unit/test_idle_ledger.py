"""The ledger of idle memory: whose bits were cleared when, and what of it is forgotten."""

import pytest

from isotherm.actions.idle import _FEW_UNITS, UNIT_BYTES, IdleLedger, Judged
from isotherm.actions.memory import Piece
from isotherm.model.ranges import Range
from isotherm.targets.processes import Process
from isotherm.targets.sources import PidSource


@pytest.fixture
def ledger():
    return IdleLedger()


def process(number, pidfd=3):
    """A process as the ledger knows it; nothing is asked of the kernel."""
    return Process(number, 1000 + number, 0, "p", pidfd, PidSource([1000 + number]))


def units(first, last):
    return Piece(first * UNIT_BYTES, last * UNIT_BYTES, True, 0)


def judged(ledger, of, piece, now_ns, idle_ns=10):
    found = ledger.parts(of, piece, Range(piece.start, piece.end), idle_ns, now_ns)
    return [one.name for _, one in found]


def test_units_belong_to_the_region_that_holds_their_middle(ledger):
    one, piece = process(7), units(0, 3)
    border = UNIT_BYTES + UNIT_BYTES // 4
    left = list(ledger.parts(one, piece, Range(0, border), 10, 0))
    right = list(ledger.parts(one, piece, Range(border, piece.end), 10, 0))
    assert [(part.start, part.end) for part, _ in (*left, *right)] == [
        (0, UNIT_BYTES),
        (UNIT_BYTES, 3 * UNIT_BYTES),
    ]
    assert {what for _, what in (*left, *right)} == {Judged.FIRST}
    ledger.note(one, left[0][0], 5)
    assert [judged(ledger, one, piece, now) for now in (14, 15)] == [
        ["EARLY", "FIRST"],
        ["DUE", "FIRST"],
    ]
    assert judged(ledger, process(8), piece, 99) == ["FIRST"]


def test_processes_that_ended_are_forgotten_when_others_come(ledger):
    ended = [process(number) for number in range(100)]
    for one in ended:
        ledger.note(one, units(0, 7), 5)
        one.pidfd = -1  # as the set of processes does
        assert len(ledger) <= 7


def test_the_living_are_kept(ledger):
    lives, ends = process(1), process(2)
    ledger.note(lives, units(0, 7), 5)
    ledger.note(ends, units(0, 7), 5)
    ends.pidfd = -1
    ledger.note(process(3), units(0, 1), 5)
    assert judged(ledger, lives, units(0, 7), 20) == ["DUE"]
    assert judged(ledger, ends, units(0, 7), 20) == ["FIRST"]


def test_memory_that_is_not_mapped_any_more_is_forgotten(ledger):
    """A program that maps at ever new addresses: the ledger stays as large as its memory."""
    one, size = process(1), 61
    for turn in range(200):
        ledger.note(one, units(turn * size, (turn + 1) * size), turn)
        if ledger.is_crowded(one):
            ledger.keep(one, [Range(*units(turn * size, (turn + 1) * size)[:2])])
        assert len(ledger) <= _FEW_UNITS + size
    last = units(199 * size, 200 * size)
    assert judged(ledger, one, last, 300) == ["DUE"]


def test_looking_for_what_to_forget_is_rare_where_nothing_goes(ledger):
    one, looked = process(1), 0
    for turn in range(1 << 15):
        ledger.note(one, units(turn, turn + 1), 1)
        if ledger.is_crowded(one):
            looked += 1
            ledger.keep(one, [Range(0, (turn + 1) * UNIT_BYTES)])
    assert len(ledger) == 1 << 15
    assert looked == 5  # at 2**10, 2**11, ... 2**14

import ctypes
import mmap
import os
from array import array

import pytest

from isotherm.backends.idle import IdleLook
from isotherm.core.look import Check, Samples
from isotherm.errors import TargetGoneError
from isotherm.kernel.pages.page_frames import (
    COMPOUND_HEAD,
    COMPOUND_TAIL,
    HUGE,
    LRU,
    PageFrames,
    runs,
)
from support.looks import Composed

ZERO = 7
OWN = 100


class FakeFrames:
    """Page n of every address space is in frame OWN + n; page 0 is not there."""

    def __init__(self):
        self.marked = set()
        self.gone = set()
        self.hidden = {OWN + 9}
        self.closed = False

    def frames(self, pid, addresses):
        if pid in self.gone:
            raise TargetGoneError("gone")
        pages = [address // 4096 for address in addresses]
        return [{0: None, 1: ZERO}.get(page, OWN + page) for page in pages]

    def head(self, frame):
        return None if frame == ZERO or frame in self.hidden else frame & ~1

    def size(self, head):
        return 2

    def is_zero_page(self, frame):
        return frame == ZERO

    def set_idle(self, frames):
        self.marked |= set(frames)

    def idle(self, frames):
        return self.marked & set(frames)

    def forget(self, pids):
        pass

    def close(self):
        self.closed = True


@pytest.fixture
def frames():
    return FakeFrames()


@pytest.fixture
def ops(frames):
    made = Composed([os.getpid()], IdleLook, follow_children=False, frames=frames)
    made.targets()
    yield made
    made.close()
    assert frames.closed


def samples(*pages):
    addresses = array("Q", [page * 4096 + 5 for page in pages])
    zeros = [0] * len(pages)
    return Samples(addresses, array("I", zeros), array("I", zeros))


def test_what_is_marked_and_stays_so_is_idle(ops, frames):
    ops.prepare(samples(0, 1, 2, 3, 6, 9))
    assert frames.marked == {OWN + 2, OWN + 6}
    assert ops.cleared() == 2
    assert ops.cleared() == 0
    frames.marked.discard(OWN + 2)
    # Absent, zeros: idle. Pages 2 and 3 are one folio. Page 9 is on no list.
    accessed, idle = Check.ACCESSED, Check.IDLE
    assert list(ops.check()) == [idle, idle, accessed, accessed, idle, Check.UNOBSERVABLE]


def test_a_page_that_went_away_was_not_accessed(ops, frames):
    ops.prepare(samples(2, 4))
    frames.marked.clear()
    frames.gone.add(os.getpid())
    assert list(ops.check()) == [Check.IDLE, Check.IDLE]
    ops.prepare(samples(2, 4))
    assert frames.marked == set()
    assert list(ops.check()) == [Check.IDLE, Check.IDLE]


def test_nothing_is_checked_before_something_was_prepared(ops):
    assert list(ops.check()) == []


def test_whole_stretches_are_read_and_only_whole_folios_cleared(ops, frames):
    """Page 0 is absent, 1 zeros; 2 and 3, 4 and 5, ... are folios; 9 is on no list."""
    bulk = ops.bulk()
    absent, old, young, unseen = bytes([0]), bytes([1]), bytes([2]), bytes([3])
    assert bulk.read(0, 0, 10 * 4096) == absent * 2 + young * 7 + unseen
    # Page 7 is in, and 6, with which it shares its bit, is not; the last page is there in part.
    assert bulk.clear(0, [(2 * 4096, 5 * 4096), (4 * 4096, 6 * 4096 - 1)]) == 1
    assert ops.cleared() == 1
    assert bulk.clear(0, [(3 * 4096, 6 * 4096), (7 * 4096, 8 * 4096), (2 * 4096, 4 * 4096)]) == 1
    assert frames.marked == {OWN + 2, OWN + 4}
    assert bulk.read(0, 2 * 4096, 8 * 4096) == old * 4 + young * 2
    frames.marked.discard(OWN + 4)
    assert bulk.read(0, 4 * 4096, 6 * 4096) == young * 2
    frames.gone.add(os.getpid())
    assert bulk.read(0, 0, 3 * 4096) == absent * 3
    assert bulk.clear(0, [(0, 8 * 4096)]) == 0


@pytest.mark.parametrize(("head", "size"), [(512, 1), (516, 4), (520, 1)])
def test_a_folio_ends_with_its_last_tail(monkeypatch, head, size):
    table = {516: LRU | COMPOUND_HEAD} | dict.fromkeys((517, 518, 519), COMPOUND_TAIL)
    monkeypatch.setattr(PageFrames, "__init__", lambda self: None)
    monkeypatch.setattr(
        PageFrames,
        "flags",
        lambda self, first, count=1: [table.get(first + n, LRU) for n in range(count)],
    )
    assert PageFrames().size(head) == size


def test_a_range_of_pages_is_read_as_each_of_them(monkeypatch):
    """On our own memory, whose pagemap we may read: what is present, if not always where."""
    monkeypatch.setattr(PageFrames, "__init__", lambda self: setattr(self, "_maps", {}))
    files = PageFrames()
    with mmap.mmap(-1, 8 * 4096) as area:
        area[0] = area[3 * 4096] = 1
        anchor = ctypes.c_char.from_buffer(area)
        start = ctypes.addressof(anchor)
        pages = range(start, start + 8 * 4096, 4096)
        together = files.frames(os.getpid(), pages)
        assert together == files.frames(os.getpid(), list(pages))
        assert [frame is not None for frame in together] == [n in (0, 3) for n in range(8)]
        del anchor
    os.close(files._maps[os.getpid()])


def test_neighbouring_words_are_read_and_written_together():
    frames = [3, 0, 64, 130, 127, 63, 6400]
    assert list(runs(frames)) == [
        (0, [1 | 1 << 3 | 1 << 63, 1 | 1 << 63, 1 << 2]),
        (100, [1]),
    ]
    assert list(runs([])) == []


@pytest.mark.parametrize(
    ("frame", "head"),
    [(512, 512), (515, 515), (519, 516), (523, None), (525, None), (530, None)],
)
def test_the_bit_of_a_folio_is_its_heads(monkeypatch, frame, head):
    """512 and 515 are single frames, 516 to 519 a folio, 522 hugetlb, 524 on no list."""
    table = dict.fromkeys((512, 515), LRU)
    table |= {516: LRU | COMPOUND_HEAD} | dict.fromkeys((517, 518, 519), COMPOUND_TAIL)
    table |= {522: HUGE | COMPOUND_HEAD, 523: HUGE | COMPOUND_TAIL}
    table |= {524: COMPOUND_HEAD, 525: COMPOUND_TAIL}
    monkeypatch.setattr(PageFrames, "__init__", lambda self: None)
    monkeypatch.setattr(
        PageFrames,
        "flags",
        lambda self, first, count=1: [table.get(first + n, 0) for n in range(count)],
    )
    assert PageFrames().head(frame) == head

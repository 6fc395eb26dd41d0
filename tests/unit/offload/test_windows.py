import gzip
import os
from itertools import pairwise
from pathlib import Path

import pytest

from isotherm.backends.kdamond.windows import AGGREGATED, Assembler, Tracepoint

RECORDED = Path(__file__).parents[2] / "data" / "damon_aggregated.txt.gz"
BASE, HOT = 0x40000000, 16 << 20


def line(time_s, target, count, start, end, accesses=0, age=0):
    return (
        f"       kdamond.0-60      [000] .....     {time_s:.6f}: damon_aggregated: "
        f"target_id={target} nr_regions={count} {start}-{end}: {accesses} {age}"
    ).encode()


def windows(assembler, lines):
    return [window for one in lines if (window := assembler.take(one)) is not None]


def test_recorded_windows_follow_the_moving_hot_set():
    lines = gzip.decompress(RECORDED.read_bytes()).split(b"\n")
    found = windows(Assembler(), lines)
    assert sum(len(window.rows) for window in found) == 3797
    assert found[0].end_ns == 2_770_000_000
    steps = [b.end_ns - a.end_ns for a, b in pairwise(found)]
    assert {round(step / 1e8) for step in steps} == {1}
    places = set()
    for window in found:
        hot = [row for row in window.rows if row[3] >= 10 and BASE <= row[1] < BASE + 4 * HOT]
        places |= {(row[1] - BASE) // HOT for row in hot}
    assert places == {0, 1, 2, 3}


def test_a_window_is_given_when_its_last_region_came():
    assembler = Assembler()
    assembler.begin(2)
    assert windows(assembler, [line(1, 0, 1, 0, 8, 3, 5), line(1, 1, 2, 0, 4)]) == []
    (window,) = windows(assembler, [line(1, 1, 2, 4, 8)])
    assert window.rows == [(0, 0, 8, 3, 5), (1, 0, 4, 0, 0), (1, 4, 8, 0, 0)]


def test_a_last_target_without_regions_is_learned():
    assembler = Assembler()
    assembler.begin(3)
    ticks = [line(at, target, 1, 0, 8) for at in range(1, 6) for target in (0, 1)]
    found = windows(assembler, ticks)
    assert [round(window.end_ns / 1e9) for window in found] == [2, 3, 4, 5]
    assert all(len(window.rows) == 2 for window in found)


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_windows_with_gaps_are_left_out(missing):
    assembler = Assembler()
    assembler.begin(2)
    whole = [line(1, target, 2, at, at + 4) for target in (0, 1) for at in (0, 4)]
    torn = whole[:missing] + whole[missing + 1 :]
    found = windows(assembler, [*torn, *whole, *whole, *whole])
    assert len(found) in (2, 3)
    assert all(len(window.rows) == 4 for window in found)


def test_lost_events_drop_the_window():
    assembler = Assembler()
    assembler.take(line(1, 0, 2, 0, 4))
    assembler.forget()
    assert windows(assembler, [line(2, 0, 1, 0, 8)])[0].rows == [(0, 0, 8, 0, 0)]


def test_regions_that_schemes_were_tried_on():
    assembler = Assembler()
    tried = (
        b"       kdamond.0-60      [000] .....     1.000000: damos_before_apply: ctx_idx=0 "
        b"scheme_idx=1 target_idx=0 nr_regions=2 4096-8192: 3 7"
    )
    (window,) = windows(assembler, [tried, b"a line of something else", line(1, 0, 1, 0, 8192)])
    (region,) = window.tried[1]
    assert tuple(region) == (0, 4096, 8192, 3, 7, 0, 0)


class FakeInstance:
    """A trace instance whose events a test writes."""

    def __init__(self):
        self.fd, self.input = os.pipe2(os.O_NONBLOCK)
        self.lost = 0
        self.enabled = []

    def write(self, *lines):
        os.write(self.input, b"".join(one + b"\n" for one in lines))

    def enable(self, event, *, pid):
        self.enabled.append((event, pid))

    def lines(self):
        try:
            chunk = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        for one in chunk.splitlines():
            if one.startswith(b"lost"):
                self.lost += 1
            else:
                yield one

    def close(self):
        os.close(self.fd)
        os.close(self.input)


@pytest.fixture
def instance():
    one = FakeInstance()
    yield one
    one.close()


def test_windows_are_waited_for(tmp_path, instance):
    (tmp_path / "events" / AGGREGATED).mkdir(parents=True)
    (tmp_path / "events" / AGGREGATED / "enable").touch()
    source = Tracepoint(tmp_path, instance)
    source.begin(1, 0)
    source.start(77)
    assert instance.enabled == [(AGGREGATED, 77)]
    assert source.wait(0) is None
    instance.write(line(1, 0, 1, 0, 8), line(2, 0, 1, 0, 8), line(3, 0, 2, 0, 8))
    assert source.wait(5).end_ns == 1_000_000_000
    assert source.behind
    assert source.wait(5).end_ns == 2_000_000_000
    assert not source.behind
    assert source.wait(0.001) is None


def test_what_came_before_a_commit_is_dropped(tmp_path, instance):
    source = Tracepoint(tmp_path, instance)
    source.begin(1, 0)
    instance.write(line(1, 0, 1, 0, 8), line(2, 0, 2, 0, 4))
    source.begin(1, 0)
    instance.write(line(3, 0, 1, 0, 8))
    assert source.wait(1).end_ns == 3_000_000_000


def test_a_window_with_lost_events_is_dropped(tmp_path, instance):
    source = Tracepoint(tmp_path, instance)
    source.begin(1, 0)
    instance.write(line(1, 0, 2, 0, 4), b"lost", line(2, 0, 1, 0, 8))
    assert source.wait(1).end_ns == 2_000_000_000

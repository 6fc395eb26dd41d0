"""The backend `idle`, which the kernels of most machines that run these tests do not offer."""

import os
import time

import pytest
from kit import MIB, PAGE, found_in, frames, hot_of, running

from isotherm.analysis.accuracy import judge, summarize
from isotherm.backends.choose import choose, try_out
from isotherm.backends.idle import IdleLook
from isotherm.demo.spec import moving
from isotherm.kernel.features import probe
from isotherm.kernel.pages.page_frames import PageFrames
from isotherm.model.attrs import Attrs
from support.looks import Composed

ATTRS = Attrs(40_000, 400_000, 1_000_000, 20, 200)


def monitored(work, windows):
    with (
        Composed([work.pid], IdleLook) as composed,
        composed.monitor(ATTRS, seed=1) as monitor,
    ):
        snapshots = monitor.snapshots()
        return [next(snapshots) for _ in range(windows)]


def test_the_hot_area_is_found():
    with running() as work:
        found = monitored(work, 60)
        recall, precision = found_in(found, work)
    print(f"idle: recall {recall:.3f}, precision {precision:.3f}")
    assert recall > 0.95
    assert precision > 0.9
    assert found[-1].cost.cleared > 0


def test_a_moving_hot_area_is_followed():
    with running(moving(8 * MIB, nbytes=48 * MIB, steps=3, seconds=36)) as work:
        snapshots = monitored(work, 88)
        summary = summarize(judge(snapshots, work.truth, settle=0.5))
    print(f"idle, moving: {summary}")
    assert summary.f1 > 0.9


def test_exactly_the_touched_pages_are_not_idle():
    with running() as work:
        (area,) = work.areas
        hot = set(frames(work.pid, hot_of(work)))
        everything = frames(work.pid, area)
        files = PageFrames()
        try:
            # The pages faulted in last wait to be put on their list.
            known = [frame for frame in everything if files.head(frame) == frame]
            sweeps = work.sweeps
            files.set_idle(known)
            while work.sweeps < sweeps + 3:
                time.sleep(0.1)
            idle = files.idle(known)
        finally:
            files.close()
    assert len(everything) - len(known) < 64
    assert hot.isdisjoint(idle)
    assert len(idle) == len(known) - 7 * MIB // PAGE


def test_it_is_chosen_here_and_passes_its_self_test():
    choice = choose(probe())
    assert choice.backend in ("kdamond", "idle")
    found = try_out("idle")
    print(found)
    assert found.problem == ""
    assert found.read_us > 0


@pytest.mark.parametrize("pages", [1, 1000])
def test_frames_of_our_own(pages):
    memory = bytearray(b"x" * pages * PAGE)
    files = PageFrames()
    try:
        address = id(memory)
        (frame,) = files.frames(os.getpid(), [address])
        assert files.head(frame) is not None
        assert not files.is_zero_page(frame)
    finally:
        files.close()

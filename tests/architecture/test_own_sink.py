"""A sink of one's own: what it is given, in which order, and what its faults do to others."""

import threading

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, fixed
from isotherm.clock import VirtualClock
from isotherm.recording.sink import RecordingSink
from isotherm.session.run import run


class Notes:
    def __init__(self, log, name, fail_at=None):
        self.log, self.name, self.fail_at = log, name, fail_at

    def open(self, session):
        self.log.append((self.name, "open", session.backend, threading.current_thread().name))

    def take(self, snapshot):
        if snapshot.index == self.fail_at:
            raise RuntimeError("no more room")
        self.log.append((self.name, "take", snapshot.index, snapshot.working_set_bytes))

    def close(self):
        self.log.append((self.name, "close", None, None))


@pytest.fixture
def session():
    clock = VirtualClock()
    ops = SimOps(fixed(64 * MIB, hot=((0, 8 * MIB),)), clock)
    with isotherm.monitor(ops=ops, clock=clock, seed=1, aggr="100ms") as made:
        yield made


def test_it_takes_every_snapshot_beside_a_recording(session, tmp_path):
    log, path = [], tmp_path / "own.isotherm"
    assert run(session, [RecordingSink(path), Notes(log, "a")], duration="1s") == 10
    steps = [entry[1] for entry in log]
    assert steps == ["open", *["take"] * 10, "close"]
    assert log[0][2] == "sim"
    assert log[0][3] != threading.current_thread().name
    recorded = [(s.index, s.working_set_bytes) for s in isotherm.open(path)]
    assert recorded == [entry[2:] for entry in log if entry[1] == "take"]


def test_one_that_fails_ends_the_run_and_all_are_closed(session):
    log = []
    sinks = [Notes(log, "a"), Notes(log, "b", fail_at=3)]
    with pytest.raises(RuntimeError, match="no more room"):
        run(session, sinks, duration="1s")
    assert [entry[0] for entry in log if entry[1] == "close"] == ["b", "a"]
    assert max(entry[2] for entry in log if entry[1] == "take" and entry[0] == "a") == 3


def test_one_that_cannot_be_opened_lets_nothing_begin(session):
    class Closed(Notes):
        def open(self, session):
            raise RuntimeError("out of order")

    log = []
    with pytest.raises(RuntimeError, match="out of order"):
        run(session, [Notes(log, "a"), Closed(log, "b")], duration="1s")
    assert [entry[1] for entry in log] == ["open", "close"]

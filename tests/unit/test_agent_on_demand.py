"""Recordings that are asked for while an agent runs: of a simulated session."""

import pytest

import isotherm
from isotherm.agent.on_demand import NAME, OnDemand
from isotherm.backends.opening import Wish
from isotherm.backends.sim.workload import Area, Use, Workload
from isotherm.errors import BadValueError
from isotherm.session.run import run
from isotherm.session.simulated import Simulation

MIB = 1 << 20


class Asking:
    """A sink that asks another one after some windows."""

    def __init__(self, asked, at):
        self.asked, self.at = asked, at
        self.count = 0
        self.seen = []

    def open(self, session):
        self.asked.open(session)

    def take(self, snapshot):
        self.count += 1
        if self.count in self.at:
            self.at[self.count]()
        self.asked.take(snapshot)
        told = self.asked.told()
        self.seen.append(told and (told["number"], told["snapshots"], told["over"]))

    def close(self):
        self.seen.append(self.asked.told())
        self.asked.close()


def session():
    uses = (Use(start=0, size=8 * MIB, rate=100.0),)
    wish = Wish(sample="25ms", aggr="500ms", regions="10..60")
    area = Area(size=64 * MIB, uses=uses)
    return Simulation(workload=Workload("one", (area,), 20.0), wish=wish).start()[0]


def test_a_recording_begins_and_ends_amid_a_session(tmp_path):
    now = iter(range(1000))
    asked = OnDemand(tmp_path, lambda: float(next(now)))
    kept = tmp_path / "kept.isotherm"

    def keep():
        kept.write_bytes((tmp_path / NAME).read_bytes())
        with pytest.raises(BadValueError, match="length"):
            asked.ask(float("nan"))
        asked.ask(1.0)
        with pytest.raises(BadValueError, match="already"):
            asked.ask(1.0)

    sink = Asking(asked, {3: lambda: asked.ask(3.0), 8: keep})
    with session() as made:
        run(made, [sink], duration=6)
    # Each window asks the clock once: three after the question the recording is over.
    assert (
        sink.seen[:7]
        == [None, None, (1, 1, False), (1, 2, False), (1, 3, True)] + [(1, 3, True)] * 2
    )
    assert sink.seen[7][:2] == (2, 1)
    snapshots = list(isotherm.open(kept))
    assert [snapshot.index for snapshot in snapshots] == [0, 1, 2]
    (target,) = snapshots[0].targets
    assert [one.name for one in snapshots[0].mappings[target.id]]
    assert not (tmp_path / NAME).exists()


def test_what_cannot_be_written_is_told_and_ends_nothing(tmp_path):
    asked = OnDemand(tmp_path / "nowhere")
    sink = Asking(asked, {2: lambda: asked.ask(1.0)})
    with session() as made:
        run(made, [sink], duration=3)
    told = sink.seen[-1]
    assert told["over"]
    assert "nowhere" in told["failed"]

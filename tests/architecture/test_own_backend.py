"""A backend that isotherm knows nothing of: registered from outside, chosen, fallen back from."""

import os

import pytest

import isotherm
from isotherm.backends import registry
from isotherm.backends.kind import BackendKind
from isotherm.backends.opening import open_look
from isotherm.backends.process_look import ProcessLook
from isotherm.backends.self_test import SelfTest
from isotherm.cli import main
from isotherm.core.act import CountOnly
from isotherm.core.look import Check
from isotherm.errors import NotSupportedError

WINDOWS = 5


class Halves(ProcessLook):
    """Calls the lower half of each target's addresses accessed."""

    name = "halves"

    def targets(self):
        found = super().targets()
        self.middle = [(ranges.ranges[0].start + ranges.ranges[-1].end) // 2 for ranges in found]
        return found

    def prepare(self, addresses):
        self.batch = list(zip(addresses.addresses, addresses.targets, strict=True))

    def check(self):
        return bytes(
            Check.ACCESSED if address < self.middle[target] else Check.IDLE
            for address, target in self.batch
        )


class Kind(BackendKind):
    name = "halves"
    whole_mappings = True
    refuses = False

    def how(self, kernel):
        return f"guesses, {kernel.cpus} CPUs or not"

    def blind_to(self, kernel):
        return ("everything",)

    def obstacle(self, kernel, target):
        return "it is for ourselves only" if set(target.pids) - {os.getpid()} else ""

    def open(self, opening):
        if self.refuses:
            raise NotSupportedError("it does not feel like it")
        look = Halves(opening.processes, max_ranges=1)
        return open_look(look, CountOnly(self.name), opening)

    def self_test(self):
        return SelfTest(self.name, read_us=1.0)


@pytest.fixture
def kind():
    made = Kind()
    registry.register(made, before=registry.names()[0])
    yield made
    registry.unregister(made.name)


def test_it_is_preferred_runs_and_is_recorded(kind, tmp_path):
    path = tmp_path / "own.isotherm"
    length = f"{20 * WINDOWS}ms"
    assert isotherm.record(
        path, pid=os.getpid(), children=False, sample="1ms", aggr="20ms", duration=length
    )
    recording = isotherm.open(path)
    assert recording.info["backend"] == "halves"
    assert recording.info["backend_reason"].startswith("guesses, ")
    last = list(recording)[-1]
    middle = (last.regions[0].start + last.regions[-1].end) // 2
    low = [region for region in last.regions if region.end <= middle]
    high = [region for region in last.regions if region.start >= middle]
    assert low
    assert high
    assert all(region.nr_accesses == last.max_nr_accesses for region in low)
    assert all(region.nr_accesses == 0 for region in high)


def test_doctor_tells_of_it(kind, capsys):
    assert main(["doctor", "-p", str(os.getpid())]) == 0
    told = capsys.readouterr().out
    assert "halves: guesses" in told
    assert "everything" in told
    assert main(["doctor", "-p", str(os.getppid())]) in (0, 4)
    assert "it is for ourselves only" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_opened_is_left_for_the_next(kind, monkeypatch):
    monkeypatch.setattr(Kind, "refuses", True)
    with isotherm.monitor(pid=os.getpid(), children=False) as session:
        assert session.backend != "halves"
        assert session.warnings[0] == (
            "backend halves cannot be used here: it does not feel like it"
        )


def test_its_schemes_are_bounded_by_what_its_act_can(kind):
    with pytest.raises(NotSupportedError, match="'halves' cannot act on memory"):
        # Other tests may have left children of ours, such as the workers of a pool.
        isotherm.apply("pageout", pid=os.getpid(), children=False, backend="halves", duration="1s")
    counted = isotherm.apply(
        "stat access=100%", pid=os.getpid(), children=False, backend="halves",
        sample="1ms", aggr="20ms", duration="100ms",
    )  # fmt: skip
    assert counted.states[0].stats.sz_tried > 0


def test_it_is_gone_when_it_is_unregistered():
    assert "halves" not in registry.names()
    with pytest.raises(isotherm.BadValueError, match="no backend 'halves'"):
        isotherm.monitor(pid=os.getpid(), backend="halves")

"""Many targets: each look finds who came and went, and not each goes through all of them."""

import subprocess
import sys

import pytest

from isotherm.targets import target_set
from isotherm.targets.pids import PidSource
from isotherm.targets.target_set import ProcessTargets
from support.waiting import wait_for

SLEEP = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def sleepers():
    started = []

    def start():
        words = [sys.executable, "-S", "-c", SLEEP]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


class Counting:
    """Address maps, and how often all targets were gone through."""

    def __init__(self, maps):
        self.maps, self.spent_ns, self.looks = maps, 0, 0

    def of(self, *asked):
        self.looks += 1
        return self.maps.of(*asked)


def test_many_are_gone_through_when_somebody_comes_or_goes_and_now_and_then(sleepers, monkeypatch):
    monkeypatch.setattr(target_set, "_MANY", 3)
    now = [10**9]
    monkeypatch.setattr(target_set.time, "monotonic_ns", lambda: now[0])
    children = [sleepers() for _ in range(4)]
    targets = ProcessTargets([PidSource([child.pid for child in children])])
    counting = targets._maps = Counting(targets._maps)
    before = targets.living(64)
    assert [len(before), counting.looks] == [4, 1]
    assert targets.living(64) is before
    assert counting.looks == 1
    # It executed another program.
    before[1][0].maps_cache = None
    assert len(targets.living(64)) == 4
    assert counting.looks == 2
    children[0].kill()
    wait_for(lambda: len(targets.living(64)) == 3)
    assert counting.looks == 3
    now[0] += 3600 * 10**9
    targets.living(64)
    assert counting.looks == 4
    # Of few all are gone through.
    children[1].kill()
    wait_for(lambda: len(targets.living(64)) == 2)
    looks = counting.looks
    targets.living(64)
    assert counting.looks == looks + 1
    targets.close()

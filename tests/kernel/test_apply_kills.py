"""`kill -9` of a target, of isotherm at work, and of isotherm while it starts, 200 times."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from apply_kit import MIB, Target, descriptors, own_states, state_files  # noqa: F401 - a fixture

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("states")]

ROUNDS = 200
_BAD = re.compile(r"BUG|WARNING|Oops|Call Trace|Bad |swap.*error|rcu.*stall")


def kernel_log():
    """Open the kernel's log at its present end."""
    descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


def said_by_kernel(descriptor):
    """Lines of warnings and worse since it was opened."""
    found = []
    while True:
        try:
            record = os.read(descriptor, 8192).decode(errors="replace")
        except BlockingIOError:
            return found
        except BrokenPipeError:  # overwritten meanwhile: go on with what is there
            continue
        head, _, text = record.partition(";")
        if int(head.split(",")[0]) & 7 <= 4:
            found.append(text.split("\n")[0])


_WORKER = """
import os, sys
from pathlib import Path
from isotherm.session.applying import Applying
from isotherm.session.options import Options
from isotherm.kernel import undo
from isotherm.schemefile.files import load
from isotherm.backends.bpf import look
schemes = load("pageout quota=none").schemes
states = Path(sys.argv[1])
undo.state_folder = lambda: states
for line in sys.stdin:
    pid = os.fork()
    if pid:
        print(os.waitpid(pid, 0)[1], flush=True)
        continue
    try:
        print(os.getpid(), flush=True)
        with Applying(
            Options.of(schemes=schemes, pid=int(line), sample="1ms", aggr="10ms", update="20ms")
        ) as one:
            print("notes", len(one.notes), flush=True)
            one.run()
    except BaseException as err:
        print(repr(err), file=sys.stderr, flush=True)
        os._exit(3 if type(err).__name__ == "TargetGoneError" else 1)
    os._exit(0)
"""


class Worker:
    """Starts isotherms quickly, as forks of a process that has imported it all."""

    def __init__(self, states):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(states)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def _line(self):
        return self._process.stdout.readline().strip()

    def start(self, pid):
        """Begin to apply to a process, and return the pid of that isotherm."""
        self._process.stdin.write(f"{pid}\n")
        self._process.stdin.flush()
        return int(self._line())

    def notes(self):
        """How many killed runs the one that was started has told of; it is at work by then."""
        said = self._line().split()
        assert said[0] == "notes", said
        return int(said[1])

    def status(self):
        return int(self._line())

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(timeout=30) == 0
        self._process.stdout.close()


def children_of(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Kills:
    """Both sides, and what each of three kinds of kill has to leave behind."""

    def __init__(self, states):
        self.states = states
        self.worker = Worker(states)
        self.child = self.new_child()
        self.dice = random.Random(20)
        self.told = {0}  # of how many killed runs the next start may tell
        self.count = Counter()

    def new_child(self):
        return Target(cold=2 * MIB, hot=0)

    def start(self):
        isotherm = self.worker.start(self.child.pid)
        assert self.worker.notes() in self.told, "a killed run is told of once, by the next"
        (name,) = state_files(self.states)
        assert name.startswith(f"apply.{isotherm}.")
        # Nothing is done before a page is known to be idle for a tenth of a second: some of the
        # moments are before the first action, most are within one or between.
        time.sleep(0.35 * self.dice.random())
        return isotherm, name

    def kill_target(self):
        self.start()
        self.child.close()
        assert self.worker.status() == 0, "the end of a target is no failure"
        assert state_files(self.states) == set()
        self.told = {0}
        self.child = self.new_child()

    def kill_isotherm(self):
        isotherm, name = self.start()
        os.kill(isotherm, signal.SIGKILL)
        assert self.worker.status() == signal.SIGKILL
        assert name in state_files(self.states)
        self.told = {1}
        self.count["at work"] += self.child.away() > 0
        assert self.child.intact, "what went out is not what came back"

    def kill_isotherm_while_it_starts(self):
        isotherm = self.worker.start(self.child.pid)
        time.sleep(0.03 * self.dice.random())
        os.kill(isotherm, signal.SIGKILL)
        said = self.worker._line()
        assert (said if said.isdigit() else self.worker._line()) == str(int(signal.SIGKILL))
        self.told = {0, 1}
        assert self.child.intact


@pytest.mark.usefixtures("swap")
def test_200_kills_at_random_moments_leave_both_sides_consistent(states):
    log = kernel_log()
    kills = Kills(states)
    kinds = [kills.kill_target, kills.kill_isotherm, kills.kill_isotherm_while_it_starts]
    before = descriptors(kills.worker.pid)
    try:
        for _ in range(ROUNDS):
            (kind,) = kills.dice.choices(kinds, [3, 5, 2])
            kind()
            kills.count[kind.__name__] += 1
        kills.kill_target()
        assert min(kills.count[kind.__name__] for kind in kinds) > ROUNDS // 8
        assert kills.count["at work"] > kills.count["kill_isotherm"] // 4
        assert children_of(kills.worker.pid) == []
        assert descriptors(kills.worker.pid) == before
    finally:
        kills.child.close()
        kills.worker.close()
        found = said_by_kernel(log)
        os.close(log)
    bad = [line for line in found if _BAD.search(line)]
    assert not bad, bad

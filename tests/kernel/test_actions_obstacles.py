"""What keeps an action from a whole process is told once, with its true cause."""

import ast
import errno
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import (
    THP,
    acting,
    make_old,
    scheme,
    settings,  # noqa: F401 - a fixture
)
from bpf_kit import HUGE, PAGE, Child

from isotherm.actions.memory import SHARED
from isotherm.actions.obstacles import NO_HUGE_PAGES, NOT_ADVISED
from isotherm.core.act import Done
from isotherm.model.scheme import Action

pytestmark = pytest.mark.kernel

TESTS = Path(__file__).parent.parent


@pytest.fixture
def child():
    made = Child()
    yield made
    made.close()


@pytest.fixture
def only_on_advice(setting):
    setting(THP / "enabled", "madvise")


@pytest.mark.usefixtures("only_on_advice")
@pytest.mark.parametrize("action", [Action.COLLAPSE, Action.HUGEPAGE])
def test_huge_pages_that_a_process_has_switched_off_are_told_of_once(child, action):
    """As Redis does; it was said of every region, of the mapping instead of the process."""
    at = child.make(f"memory.map({3 * HUGE})")
    child.run(f"kit.write({at}, {3 * HUGE})")

    def switch(off):
        child.run(f"__import__('ctypes').CDLL(None).prctl(41, {off}, 0, 0, 0)")

    switch(off=1)
    with acting(child) as (_, act):
        told = [act(scheme(action), at + block * HUGE, HUGE) for block in range(3)]
        assert told == [Done(errors={NO_HUGE_PAGES: 1}), Done(), Done()]
        another = scheme(action, name="another")
        assert act(another, at, HUGE) == Done(errors={NO_HUGE_PAGES: 1})
        switch(off=0)
        child.run(f"kit.touch({at}, {3 * HUGE})")
        assert act(scheme(action), at, 3 * HUGE) == Done(3 * HUGE)


_FORBIDDEN = """
import sys
from isotherm.actions.actor import Actor
from isotherm.model.scheme import Action, Scheme
from isotherm.targets.processes import ProcessSet
from support.seccomp import PROCESS_MADVISE, forbid
pid, at, error = map(int, sys.argv[1:])
processes, actor, cold = ProcessSet([pid]), Actor(), Scheme(Action.COLD)
before = actor.why_not(cold)
forbid(PROCESS_MADVISE, error)
done = [
    actor.act(cold, processes.members[0], 0, at + i * 4096, at + (i + 1) * 4096, filtered=True)
    for i in range(3)
]
print([before, actor.why_not(cold), [one.errors for one in done]])
"""


def forbidden(pid, at, error):
    """What the actor says beforehand without a filter, and with one, and of three tries."""
    said = subprocess.check_output(
        [sys.executable, "-c", _FORBIDDEN, str(pid), str(at), str(error)],
        env={"PYTHONPATH": str(TESTS)},
        text=True,
    )
    return ast.literal_eval(said)


def test_a_filter_that_forbids_advice_is_named(child):
    at = child.make(f"memory.small({3 * PAGE})")
    child.run(f"kit.write({at}, {3 * PAGE})")
    make_old(child.pid, (at, PAGE))
    before, why_not, errors = forbidden(child.pid, at, errno.EPERM)
    assert before == ""
    assert "seccomp" in why_not
    assert "CAP_SYS_NICE" in why_not
    assert errors == [{NOT_ADVISED: 1}, {}, {}]


def test_a_filter_that_hides_advice_is_named(child):
    at = child.make(f"memory.small({3 * PAGE})")
    child.run(f"kit.write({at}, {3 * PAGE})")
    _, why_not, errors = forbidden(child.pid, at, errno.ENOSYS)
    assert "seccomp" in why_not
    assert [sum(one.values()) for one in errors] == [1, 0, 0]
    assert "system call" in next(iter(errors[0]))


def test_shared_mappings_are_left_alone_for_a_reason(child):
    """A region over them and others: the others are done."""
    at = child.make(f"memory.map({3 * PAGE}, kit.PRIVATE | kit.ANON)")
    child.run(f"kit.write({at}, {3 * PAGE})")
    shared = child.make(f"memory.map({5 * PAGE}, kit.SHARED | kit.ANON)")
    child.run(f"kit.write({shared}, {5 * PAGE})")
    cold = scheme(Action.COLD)
    with acting(child) as (_, act):
        assert act(cold, at, 3 * PAGE) == Done(3 * PAGE)
        assert act(cold, shared, 5 * PAGE) == Done(errors={SHARED: 1})
        assert act(cold, shared, 5 * PAGE) == Done()

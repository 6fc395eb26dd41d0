"""Actions on targets that end, change or refuse, and on several of them."""

import ast
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import (
    acting,
    allow,
    huge_kib,
    make_old,
    present,
    scheme,
    swap,  # noqa: F401 - a fixture
)
from bpf_kit import HUGE, MIB, PAGE, Child, watching

from isotherm.actions.actor import Actor
from isotherm.actions.obstacles import NO_LOOK, NOT_READ
from isotherm.actions.ways import MOST_CLEARED_RANGES
from isotherm.core.act import Done
from isotherm.kernel.procfs import clear_refs
from isotherm.model.scheme import Action, Destination
from isotherm.targets.processes import ProcessSet

pytestmark = pytest.mark.kernel
PAGES = 97


@pytest.fixture
def child():
    started = Child()
    yield started
    started.close()


def small(child, nr=PAGES):
    at = child.make(f"memory.small({nr * PAGE})")
    child.run(f"kit.write({at}, {nr * PAGE})")
    return at


def test_each_target_gets_its_own():
    children = [Child(), Child(), Child()]
    try:
        at = [small(child) for child in children]
        for child, start in zip(children, at, strict=True):
            make_old(child.pid, (start, PAGES * PAGE))
        children[1].run(f"kit.touch({at[1] + 7 * PAGE})")
        with watching(*(child.pid for child in children)) as ops:
            young = scheme(Action.STAT, allow("young"))
            found = [
                ops.act(young, i, at[i], at[i] + PAGES * PAGE, filtered=True).passed_bytes
                for i in range(3)
            ]
            assert found == [0, PAGE, 0]
            children[0].close()
            assert len(ops.targets()) == 2
            start = at[1]
            assert ops.act(young, 0, start, start + PAGES * PAGE, filtered=True).passed_bytes
    finally:
        for child in children:
            child.close()


@pytest.mark.parametrize("how", ["kill", "exec"])
def test_a_target_that_ends_meanwhile(child, how):
    at = small(child, 128 * MIB // PAGE)
    clear_refs(child.pid)
    with acting(child) as (_, act):

        def end():
            time.sleep(0.03)
            if how == "kill":
                os.kill(child.pid, 9)
            else:
                child.exec("print('new', flush=True); import time; time.sleep(100)")

        thread = threading.Thread(target=end)
        thread.start()
        while thread.is_alive():
            done = act(scheme(Action.COLD), at, 128 * MIB)
            assert done.applied_bytes <= 128 * MIB
            assert done.errors == {} or done.applied_bytes < 128 * MIB
        thread.join()
        assert act(scheme(Action.COLD), at, 128 * MIB).applied_bytes == 0
        assert act(scheme(Action.LRU_PRIO), at, 128 * MIB).applied_bytes == 0


@pytest.mark.usefixtures("swap")
def test_more_young_pages_than_are_cleared_at_once_all_get_their_turn(child):
    nr = 997
    at = small(child, nr)
    make_old(child.pid, (at, nr * PAGE))
    # Every second page is young. Of the first ones, more than are cleared at once are in use; the
    # others are not any more.
    child.run(f"kit.touch({at}, {nr * PAGE}, {2 * PAGE})")
    hot = 4 * MOST_CLEARED_RANGES
    with acting(child) as (_, act):
        for _ in range(60):
            child.run(f"kit.touch({at}, {hot * PAGE}, {2 * PAGE})")
            act(scheme(Action.PAGEOUT), at, nr * PAGE)
            if max(present(child.pid, at, nr)) < hot:
                break
        assert max(present(child.pid, at, nr)) < hot


def test_moving_to_where_it_is_does_nothing_and_nowhere_is_an_error(child):
    at = small(child)
    clear_refs(child.pid)
    with watching(child.pid) as ops:
        there = scheme(Action.MIGRATE_COLD, target_nid=0)
        done = ops.act(there, 0, at, at + PAGES * PAGE, filtered=True)
        assert done.applied_bytes == 0
        nowhere = scheme(Action.MIGRATE_COLD, destinations=(Destination(1023),))
        done = ops.act(nowhere, 0, at, at + PAGES * PAGE, filtered=True)
        assert done.applied_bytes == 0
        assert sum(done.errors.values()) == 1


def test_without_a_look_nothing_that_needs_one_is_done(child):
    at = small(child)
    processes = ProcessSet([child.pid])
    actor = Actor()
    try:
        done = actor.act(
            scheme(Action.PAGEOUT), processes.members[0], 0, at, at + PAGE, filtered=True
        )
        assert done == Done(errors={NO_LOOK: 1})
        assert any("without a look" in w for w in actor.warnings_for(scheme(Action.PAGEOUT)))
    finally:
        actor.close()
        processes.close()


_DROPPED = """
import os, sys
from isotherm.model.scheme import Action, Scheme
from isotherm.actions.ways import MOST_CLEARED_RANGES
from isotherm.actions.actor import Actor
from isotherm.targets.processes import ProcessSet
processes, actor = ProcessSet([int(sys.argv[1])]), Actor()
os.setgid(65534); os.setuid(65534)
at = int(sys.argv[2])
print(actor.act(Scheme(Action.COLD), processes.members[0], 0, at, at + 4096, filtered=True))
"""


def test_a_refusal_is_counted(child):
    at = small(child)
    said = subprocess.run(
        [sys.executable, "-c", _DROPPED, str(child.pid), str(at)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "applied_bytes=0" in said
    assert repr({NOT_READ: 1}) in said


_BLIND = """
import os, struct, sys
from isotherm._core import Survey
from isotherm.kernel.bpf import open_walker
pid, at, pages = map(int, sys.argv[1:])
pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
walker = open_walker()
walker.set_targets([pid])
survey = Survey(walker)
survey.read(pagemap, 0, at, at + pages * 4096)
runs, _ = survey.pick(at, 1 << 62, 1, 4096)
print(list(struct.iter_unpack("=QQ", runs)))
"""


def test_without_page_flags_huge_pages_are_known_by_how_they_are_mapped(child):
    at = child.make(f"memory.huge({3 * HUGE})")
    child.run(f"kit.write({at}, {3 * HUGE})")
    if huge_kib(child.pid, at) < 3 * 2048:
        pytest.skip("the memory did not become huge pages")

    def blind(start, pages):
        program = [sys.executable, "-c", _BLIND, str(child.pid), str(start), str(pages)]
        hidden = 'mount --bind /dev/null /proc/kpageflags && exec "$@"'
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", hidden, "sh", *program],
            capture_output=True,
            text=True,
            check=True,
        )
        return ast.literal_eval(done.stdout)

    assert blind(at, 3 * 512) == [(at, 3 * HUGE)]
    # The first and the last one are cut.
    assert blind(at + 5 * PAGE, 3 * 512 - 10) == [(at + HUGE, HUGE)]

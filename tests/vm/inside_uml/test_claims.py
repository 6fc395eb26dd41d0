"""Whose kdamond is whose, in the life of processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import kit
import pytest
from kit import kdamond, memory, nothing_left, running, windows

from isotherm.errors import NotSupportedError
from isotherm.kernel.damon.claim import claimed
from isotherm.kernel.damon.context import Context, DamonTarget, KdamondFiles
from isotherm.kernel.damon.files import ROOT, DamonFiles

MONITOR = """
import os, sys
from kit import Attrs, Kdamond, ProcessTargets
backend = Kdamond(ProcessTargets([int(sys.argv[1])]), Attrs(10_000, 200_000), source=sys.argv[2])
for snapshot in backend.snapshots():
    print(backend.index, os.getpid(), flush=True)
"""


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


def monitor(work, source):
    """A monitoring process that has seen its first window."""
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.__file__).parent)}
    child = subprocess.Popen(
        [sys.executable, "-c", MONITOR, str(work.pid), source],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout.readline().startswith("0 ")
    return child


def state(index=0):
    return (ROOT / f"{index}/state").read_text().strip()


@pytest.mark.parametrize("source", ["tracepoint", "tried_regions"])
def test_after_kill_9_the_next_start_tidies_up(source):
    with running() as work:
        child = monitor(work, source)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        lost = KdamondFiles(DamonFiles(), 0)
        assert lost.running
        thread = lost.pid
        instances = Path("/sys/kernel/tracing/instances")
        assert len(list(instances.iterdir())) == (source == "tracepoint")
        with kdamond(work, source=source) as backend:
            assert not lost.running
            assert len(windows(backend, 3)) == 3
            assert not Path(f"/proc/{thread}").exists()
            assert claimed() == {backend.index}


def test_a_living_one_stays_beside_us():
    with running() as work, running() as another:
        child = monitor(work, "tracepoint")
        with kdamond(another) as backend:
            assert windows(backend, 3)[-1].targets[0].pid == another.pid
            assert backend.index == 1
            assert state(0) == "on"
        assert state(0) == "on"
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        kdamond(work).close()


def test_a_foreign_kdamond_is_left_untouched():
    files = DamonFiles()
    with running() as work, running() as ours:
        files.write("nr_kdamonds", 1)
        other = KdamondFiles(files, 0)
        context = Context(targets=(DamonTarget(work.pid),))
        other.put(context)
        other.command("on")
        thread = other.pid
        with pytest.raises(NotSupportedError, match=r"in use by somebody else \(kdamond.0 runs\)"):
            kdamond(ours)
        assert (other.running, other.pid, other.get()) == (True, thread, context)
        other.command("off")
        with pytest.raises(NotSupportedError, match="configured by somebody else"):
            kdamond(ours)
        assert other.get() == context
        files.write("nr_kdamonds", 0)
        kdamond(ours).close()


def test_a_module_of_the_kernel_excludes_us():
    parameters = Path("/sys/module/damon_reclaim/parameters")
    (parameters / "monitor_region_end").write_text(str(memory().end))
    enabled = parameters / "enabled"
    with running() as work:
        enabled.write_text("Y")
        try:
            with pytest.raises(NotSupportedError, match="module damon_reclaim runs DAMON"):
                kdamond(work)
        finally:
            enabled.write_text("N")
        kdamond(work).close()

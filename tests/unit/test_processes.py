import contextlib
import os
import subprocess
import sys
import threading

import pytest

from isotherm.errors import BadValueError, NotPermittedError, NotSupportedError, TargetGoneError
from isotherm.kernel import procfs
from isotherm.targets.maps import target_ranges
from isotherm.targets.processes import ProcessSet
from support.waiting import wait_for


@pytest.fixture
def python():
    """Start Python programs, and end them."""
    started = []

    def start(code, **options):
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.stdin.close()
        child.wait(20)
        child.stdout.close()


@pytest.fixture
def watch():
    opened = []

    def start(*pids, **options):
        opened.append(ProcessSet(pids, **options))
        return opened[-1]

    yield start
    for processes in opened:
        processes.close()


SLEEP = "import sys; print('ready', flush=True); sys.stdin.read()"
FORK = """
import os, sys
print('ready', flush=True)
for line in sys.stdin:
    inside, outside = os.pipe()
    for _ in range(int(line)):
        if os.fork() == 0:
            os.close(outside)
            os.read(inside, 1)
            os._exit(0)
    print('forked', flush=True)
"""


def test_a_process_ends_normally(python, watch):
    child = python(SLEEP)
    child.stdout.readline()
    processes = watch(child.pid)
    (process,) = processes.refresh()
    assert process.pid == child.pid
    assert process.start_ticks == procfs.stat(child.pid).start_ticks
    assert processes.alive()
    child.stdin.close()
    wait_for(lambda: procfs.stat(child.pid).is_zombie)
    assert not processes.alive()  # though it is not collected
    assert target_ranges(process) is None
    child.wait()
    assert target_ranges(process) is None
    assert processes.refresh() == []


def test_children_come_and_go_with_ids_for_life(python, watch):
    parent = python(FORK)
    parent.stdout.readline()
    processes = watch(parent.pid)
    ids = {}
    for batch in (3, 2):
        parent.stdin.write(f"{batch}\n")
        parent.stdin.flush()
        parent.stdout.readline()
        for process in processes.refresh():
            assert ids.setdefault(process.pid, process.target_id) == process.target_id
    assert sorted(ids.values()) == list(range(6))
    assert [p.target_id for p in processes.refresh()] == list(range(6))
    victim = processes.members[2]
    os.kill(victim.pid, 9)
    wait_for(lambda: victim.pid not in [p.pid for p in processes.refresh()])
    assert victim.pidfd == -1
    assert [p.target_id for p in processes.members] == [0, 1, 3, 4, 5]


def test_children_can_be_left_out(python, watch):
    parent = python(FORK)
    parent.stdout.readline()
    parent.stdin.write("2\n")
    parent.stdin.flush()
    parent.stdout.readline()
    assert len(watch(parent.pid, follow_children=False).refresh()) == 1
    assert len(watch(parent.pid).refresh()) == 3


def test_a_thousand_forks_cost_one_reading_each(python, watch, monkeypatch):
    parent = python(FORK)
    parent.stdout.readline()
    processes = watch(parent.pid)
    parent.stdin.write("1000\n")
    parent.stdin.flush()
    parent.stdout.readline()
    assert len(processes.refresh()) == 1001
    assert processes.alive()
    reads = []

    def refuse(path):
        reads.append(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(procfs, "read_file", refuse)
    processes.refresh()
    # Nothing new: nothing is read, however many are followed. (Others may start processes.)
    assert len(reads) < 50


def test_while_nobody_comes_processes_are_not_listed(python, watch, monkeypatch):
    parent = python(FORK)
    parent.stdout.readline()
    processes = watch(parent.pid)
    listed = []
    pids = procfs.pids
    monkeypatch.setattr(procfs, "pids", lambda: listed.append(1) or pids())
    monkeypatch.setattr(procfs, "last_pid", lambda: 7)
    for _ in range(5):
        processes.refresh()
    assert len(listed) == 1
    parent.stdin.write("2\n")
    parent.stdin.flush()
    parent.stdout.readline()
    assert len(processes.refresh()) == 1
    monkeypatch.setattr(procfs, "last_pid", lambda: None)  # where that cannot be known
    assert len(processes.refresh()) == 3


def test_the_last_id_is_another_one_after_a_fork(python):
    before = procfs.last_pid()
    child = python(SLEEP)
    child.stdout.readline()
    assert before is not None
    assert procfs.last_pid() not in {None, before}


def test_without_descriptors_liveness_still_works(python, watch, monkeypatch):
    child = python(SLEEP)
    child.stdout.readline()

    def no_descriptors(_pid):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("isotherm.kernel.pidfd.open_pidfd", no_descriptors)
    processes = watch(child.pid)
    assert processes.members[0].pidfd == -1
    assert processes.alive()
    child.stdin.close()
    child.wait()
    assert not processes.alive()
    assert processes.refresh() == []


def test_missing_pid(watch):
    with pytest.raises(TargetGoneError, match="no process 4194305"):
        watch(4194305)


def test_kernel_thread(watch):
    kernel_threads = []
    for pid in procfs.pids():
        with contextlib.suppress(TargetGoneError):
            if procfs.stat(pid).is_kernel_thread and not procfs.stat(pid).name.startswith("kwork"):
                kernel_threads.append(pid)
    if not kernel_threads:
        pytest.skip("this PID namespace shows no kernel thread")
    with pytest.raises(NotSupportedError, match="is a kernel thread: it has no memory") as caught:
        watch(kernel_threads[0])
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_zombie(watch):
    child = subprocess.Popen(["true"])
    wait_for(lambda: procfs.stat(child.pid).is_zombie)
    with pytest.raises(TargetGoneError, match=r"has ended, and its parent \d+ did not collect"):
        watch(child.pid)
    child.wait()


def test_thread_id(watch):
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    try:
        with pytest.raises(BadValueError, match=f"is a thread of process {os.getpid()}") as caught:
            watch(thread.native_id)
        assert f"-p {os.getpid()}" in caught.value.hint
    finally:
        go.set()
        thread.join()


def test_exits_at_once(watch):
    """Whatever the moment at which it ends: refused as gone, or taken and then gone."""
    for _ in range(40):
        child = subprocess.Popen(["true"])
        try:
            processes = watch(child.pid)
        except TargetGoneError:
            pass
        else:
            wait_for(lambda p=processes: not p.alive())
        child.wait()


AS_NOBODY = """
import os, sys
os.setgid(65534); os.setuid(65534)
from isotherm.errors import NotPermittedError
from isotherm.targets.processes import ProcessSet
try:
    ProcessSet([int(sys.argv[1])])
except NotPermittedError as err:
    print(err.exit_code, err.message, '|', err.hint)
"""


@pytest.mark.kernel
def test_not_permitted(python):
    child = python(SLEEP)
    child.stdout.readline()
    # Imports before the rights are dropped: the package may lie where nobody may read.
    done = subprocess.run(
        [sys.executable, "-c", "import isotherm.targets.processes\n" + AS_NOBODY, str(child.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"4 not allowed to read the memory map of process {child.pid}")
    assert "isotherm" in done.stdout.split("|")[1]
    assert sys.executable in done.stdout.split("|")[1]
    assert NotPermittedError.exit_code == 4

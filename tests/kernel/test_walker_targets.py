"""What the walker says of processes that come, exec, end and are replaced."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from isotherm.errors import NotSupportedError
from isotherm.kernel.bpf import open_walker, probe

pytestmark = pytest.mark.kernel

ALIVE, GONE, EXECED, REUSED = range(4)
PRESENT, UNREAD = 1, 3

CHILD = """
import ctypes, mmap, os, sys, threading
area = mmap.mmap(-1, 1 << 16)
area[0] = 1
lose_main_thread = threading.Event()
another = "import sys; print(1, flush=True); sys.stdin.read()"

def serve():
    for line in sys.stdin:
        if line == "exec\\n":
            os.execv(sys.executable, [sys.executable, "-c", another])
        lose_main_thread.set()

threading.Thread(target=serve).start()
print(ctypes.addressof(ctypes.c_char.from_buffer(area)), flush=True)
lose_main_thread.wait()
ctypes.CDLL(None).syscall({syscall}, 0)
"""
SYS_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]


@pytest.fixture(params=["fast", "base"])
def walker(request):
    if request.param == "fast" and not probe().fast:
        pytest.skip(f"the fast programs do not load: {probe().fast_why_not}")
    opened = open_walker(fast=request.param == "fast")
    yield opened
    opened.close()


@contextmanager
def child():
    code = CHILD.replace("{syscall}", str(SYS_EXIT))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def tell(process, word):
    process.stdin.write(word + "\n")
    process.stdin.flush()


def states(walker):
    return [target[1] for target in walker.targets()]


def test_exit(walker):
    with child() as (process, address):
        walker.set_targets([process.pid])
        assert walker.read([(address, 0)])[0][0] == PRESENT
        assert states(walker) == [ALIVE]
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert walker.read([(address, 0)])[0][0] == UNREAD  # a zombie has no memory
        assert states(walker) == [GONE]
        process.wait()
        assert walker.read([(address, 0)])[0][0] == UNREAD
        assert states(walker) == [GONE]
        with pytest.raises(ProcessLookupError):
            walker.read_tables(0, 0, 1)


def test_exec(walker):
    with child() as (process, address):
        walker.set_targets([process.pid])
        assert walker.read([(address, 0)])[0][0] == PRESENT
        tell(process, "exec")
        process.stdout.readline()
        assert walker.read([(address, 0)])[0][0] == UNREAD
        assert states(walker) == [EXECED]
        assert walker.read([(address, 0)])[0][0] == UNREAD, "only accept() takes the new map"
        walker.accept(0)
        assert walker.read([(address, 0)])[0][0] != UNREAD
        assert states(walker) == [ALIVE]


def test_pid_reuse(walker):
    knob = Path("/proc/sys/kernel/ns_last_pid")
    if not knob.exists():
        pytest.skip("no ns_last_pid: a pid cannot be asked for")
    with child() as (process, address):
        walker.set_targets([process.pid])
        assert walker.read([(address, 0)])[0][0] == PRESENT
        process.kill()
        process.wait()
    for _ in range(200):
        knob.write_text(str(process.pid - 1))
        pid = os.posix_spawn("/bin/sleep", ["sleep", "100"], {})
        try:
            if pid != process.pid:
                continue
            time.sleep(0.05)
            assert walker.read([(address, 0)])[0][0] == UNREAD
            assert states(walker) == [REUSED]
            return
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    pytest.skip("another process took the pid each time")


def test_a_process_outlives_its_main_thread(walker):
    with child() as (process, address):
        walker.set_targets([process.pid])
        assert walker.read([(address, 0)])[0][0] == PRESENT
        tell(process, "lose main thread")
        status = Path(f"/proc/{process.pid}/status")
        while "State:\tZ" not in status.read_text():
            time.sleep(0.01)
        for _ in range(2):
            assert walker.read([(address, 0)])[0][0] == PRESENT, "found again in the same read"
            assert states(walker) == [ALIVE]
            walker.set_targets([process.pid])


def test_no_such_process(walker):
    walker.set_targets([2**22 + 1, -5, 0, os.getpid(), 2])
    leaves = walker.read([(0x1000, i) for i in range(6)])
    assert states(walker) == [GONE, GONE, GONE, ALIVE, GONE]  # 2 is a kernel thread
    assert [leaf[0] for leaf in leaves] == [UNREAD, UNREAD, UNREAD, 0, UNREAD, UNREAD]


def test_a_thread_is_no_process(walker):
    with child() as (process, address):
        (tid,) = {int(t.name) for t in Path(f"/proc/{process.pid}/task").iterdir()} - {process.pid}
        walker.set_targets([tid])
        assert walker.read([(address, 0)])[0][0] == UNREAD
        assert states(walker) == [GONE]


def test_many_targets_and_addresses_in_one_read(walker):
    """More than one call of the program takes, in either tier."""
    with child() as (process, address):
        me = id(walker) & ~4095
        pids = [process.pid, os.getpid()] * 2300
        walker.set_targets(pids)
        requests = [(address if i % 2 == 0 else me, i) for i in range(len(pids))] * 2
        leaves = walker.read(requests, True)
        assert {leaf[0] for leaf in leaves} == {PRESENT}
        assert len({leaf[1] for leaf in leaves[0::2]}) == 1
        assert len({leaf[1] for leaf in leaves[1::2]}) == 1
        assert set(states(walker)) == {ALIVE}


def test_churn(walker):
    """Processes that end at any moment are told as gone, never as something else."""
    for _ in range(40):
        with child() as (process, address):
            walker.set_targets([process.pid])
            process.kill()
            for _ in range(50):
                (leaf,) = walker.read([(address, 0)])
                assert leaf[0] in (PRESENT, UNREAD)
        assert walker.read([(address, 0)])[0][0] == UNREAD
        assert states(walker) in ([GONE], [REUSED])


def test_start_time_is_that_of_proc(walker):
    walker.set_targets([os.getpid()])
    walker.read([(0x1000, 0)])
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert walker.targets()[0][4] * os.sysconf("SC_CLK_TCK") // 10**9 == ticks


def test_cpu_of_a_pinned_process(walker):
    cpus = sorted(os.sched_getaffinity(0))
    with child() as (process, address):
        for cpu in cpus[:2]:
            os.sched_setaffinity(process.pid, {cpu})
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {cpu})
            walker.set_targets([process.pid])
            walker.read([(address, 0)])
            assert walker.targets()[0][3] in cpus


def test_a_pid_namespace_is_refused():
    code = (
        "from isotherm.kernel.bpf import probe; p = probe(); "
        "print(p.available, 'namespace' in p.why_not, '--pid=host' in p.hint)"
    )
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no PID namespace: {done.stderr.strip()}")
    assert done.stdout.split() == ["False", "True", "True"], done.stderr


UNPRIVILEGED = """
import importlib.resources, os
import isotherm.kernel.bpf as bpf
from isotherm.errors import NotPermittedError
# read before the privileges go: the tree may not be readable without them
names = ["walk_base", "walk_fast"]
files = {n: (importlib.resources.files("isotherm.bpf") / f"{n}.bpf.o").read_bytes() for n in names}
bpf._object = files.get
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    bpf.open_walker()
except NotPermittedError as e:
    print("CAP_BPF" in e.message, "root" in e.hint)
"""


def test_missing_privileges_are_named():
    argv = [sys.executable, "-c", UNPRIVILEGED]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_probe_tells_the_facts():
    facts = probe()
    assert facts.available
    assert facts.levels in (3, 4, 5)
    assert facts.direct_map_source in ("self-check", "kcore", "pagemap")
    assert facts.fast or facts.fast_why_not
    assert facts.folios or facts.folios_why_not


def test_without_the_objects(monkeypatch):
    monkeypatch.setattr("isotherm.kernel.bpf.resources.files", lambda _: Path("/nonexistent"))
    with pytest.raises(NotSupportedError, match="not part of this installation"):
        open_walker()

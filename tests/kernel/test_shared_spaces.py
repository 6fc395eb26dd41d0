"""Processes that share one address space: clone() with CLONE_VM, and vfork() until the exec."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import make_old, present, swap  # noqa: F401 - a fixture
from bpf_kit import PAGE, watching

import isotherm
from isotherm.core.act import Done
from isotherm.kernel import procfs
from isotherm.kernel.kcmp import order_of_spaces
from isotherm.model.scheme import Action, Scheme
from isotherm.targets.target_set import ProcessTargets
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

MIB = 1 << 20
#: 64 MiB, of which a thread touches the first half. The child says its pid and where that is. What
#: comes then is for it: it ends, or executes another program.
SHARING = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static char *area, stack[1 << 16];
static const size_t size = 64 << 20;
static void *touch(void *unused)
{
	for (;;) {
		for (size_t at = 0; at < size / 2; at += 4096)
			area[at]++;
		usleep(20000);
	}
	return unused;
}
static int child(void *unused)
{
	char text[64];
	int length = sprintf(text, "%d %lu\n", getpid(), (unsigned long)area);
	(void)unused;
	if (write(1, text, length) == length && read(0, text, 1) == 1)
		execlp("sleep", "sleep", "600", (char *)0);
	_exit(0);
}
int main(int argc, char **argv)
{
	pthread_t thread;
	area = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(area, size, MADV_NOHUGEPAGE);
	memset(area, 1, size);
	pthread_create(&thread, 0, touch, 0);
	if (argc > 1 && !strcmp(argv[1], "vfork")) {
		if (!vfork())
			child(0);
	} else {
		clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD, 0);
	}
	for (;;)
		pause();
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    source = tmp_path_factory.mktemp("sharing") / "sharing.c"
    source.write_text(SHARING)
    compiler = shutil.which("cc") or "gcc"
    path = source.with_suffix("")
    subprocess.run([compiler, "-O1", "-pthread", source, "-o", path], check=True)
    return path


@pytest.fixture(params=["clone", "vfork"])
def sharing(program, request):
    """The parent, the pid of the child that has its memory, and where the 64 MiB begin."""
    with subprocess.Popen(
        [program, request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        child, area = map(int, process.stdout.readline().split())
        yield process, child, area
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def watch():
    opened = []

    def start(*pids):
        opened.append(ProcessTargets(pids))
        return opened[-1]

    yield start
    for targets in opened:
        targets.close()


def pids(targets):
    return [found.target.pid for found in targets.targets(64)]


def test_the_kernel_tells_who_shares_an_address_space(sharing):
    process, child, _ = sharing
    assert order_of_spaces(process.pid, child) == 0
    ours = order_of_spaces(os.getpid(), child)
    assert ours != 0
    assert order_of_spaces(child, os.getpid()) == -ours
    with pytest.raises(ProcessLookupError):
        order_of_spaces(os.getpid(), (1 << 31) - 1)


def test_memory_of_two_processes_is_of_one_target(sharing, watch):
    process, child, _ = sharing
    targets = watch(process.pid)
    assert pids(targets) == [process.pid]
    assert pids(targets) == [process.pid]
    assert targets.facts().pids == (process.pid,)
    assert pids(watch(child, process.pid)) == [child]  # whoever is named first


def test_a_child_that_comes_to_execute_is_a_target_of_its_own(sharing, watch):
    process, child, _ = sharing
    targets = watch(process.pid)
    assert pids(targets) == [process.pid]
    before = Path(f"/proc/{child}/exe").readlink()
    process.stdin.write("x")
    process.stdin.flush()
    wait_for(lambda: Path(f"/proc/{child}/exe").readlink() != before)
    assert pids(targets) == [process.pid, child]
    assert targets.targets(64)[1].target.name == "sleep"
    assert pids(targets) == [process.pid, child]


def test_who_shared_the_memory_has_it_when_the_first_one_has_ended(sharing, watch):
    process, child, _ = sharing
    targets = watch(process.pid)
    assert pids(targets) == [process.pid]
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: procfs.stat(process.pid).is_zombie)
    assert targets.alive()
    assert pids(targets) == [child]


@pytest.mark.parametrize("policy", ["damon", "map"])
def test_a_session_goes_on_with_who_is_left(sharing, policy):
    process, child, _ = sharing
    with isotherm.monitor(pid=process.pid, policy=policy, sample="100ms", aggr="1s") as session:
        seen = []
        for snapshot in session.snapshots(duration="6s"):
            seen.append([target.pid for target in snapshot.targets])
            if process.poll() is None:
                process.kill()
    assert seen[0] == [process.pid]
    assert seen[-1] == [child]


def test_shared_memory_is_used_once(sharing):
    process, *_ = sharing
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", "wss", str(process.pid), "-d4s", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert 64 * MIB <= read["resident_bytes"] < 80 * MIB
    second = next(point for point in read["curve"] if point["window_ns"] == 10**9)
    assert second["covered"] == 1
    assert 32 * MIB <= second["bytes"] < 36 * MIB


@pytest.mark.usefixtures("swap")
def test_what_two_processes_share_is_acted_on_once(sharing):
    """One address space maps it once: it is nobody else's."""
    process, child, area = sharing
    idle, size = area + 32 * MIB, 16 * MIB  # what was made last may be on no LRU list yet
    make_old(process.pid, (idle, size))
    with watching(process.pid) as ops:
        assert [found.target.pid for found in ops.targets()] == [process.pid]
        done = ops.act(Scheme(Action.PAGEOUT), 0, idle, idle + size, filtered=True)
    assert done == Done(size)
    assert present(child, idle, size // PAGE) == []


_UNTOLD = """
import sys
from support.seccomp import forbid
from isotherm.targets.target_set import ProcessTargets
forbid(int(sys.argv[1]), int(sys.argv[2]))
targets = ProcessTargets([int(sys.argv[3])])
print(*[found.target.pid for found in targets.targets(64)])
targets.close()
"""


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_where_nobody_compares_them_each_is_a_target(sharing, error):
    process, child, _ = sharing
    number = 312 if os.uname().machine == "x86_64" else 272
    done = subprocess.run(
        [sys.executable, "-c", _UNTOLD, str(number), str(error), str(process.pid)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.stdout.split() == [str(process.pid), str(child)]

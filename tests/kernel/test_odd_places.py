"""Where /proc, process numbers, threads or system calls are not what they usually are."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import isotherm

pytestmark = pytest.mark.kernel

ISOTHERM = [sys.executable, "-m", "isotherm"]

LEADERLESS = """
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
enum { HOT = 8 << 20, ALL = 64 << 20 };
static void *work(void *memory)
{
    char *at = memory;
    for (long i = 0; i < ALL; i += 4096)
        at[i] = 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        for (long i = 0; i < HOT; i += 4096)
            at[i]++;
        usleep(1000);
    }
}
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, work,
               mmap(0, ALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    pthread_exit(0);
}
"""


def run(*words, before=()):
    command = [*before, *ISOTHERM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child.pid
        child.kill()


def test_process_numbers_of_another_namespace_are_refused(tmp_path):
    """In a PID namespace with the outer /proc, a number means somebody else there."""
    output = tmp_path / "x.isotherm"
    done = run("record", "-p", 1, "-d", "1s", "-o", output, before=["unshare", "-pf"])
    assert done.returncode == 4
    assert "another PID namespace" in done.stderr
    assert "hint:" in done.stderr
    assert not output.exists()
    assert run("doctor", before=["unshare", "-pf"]).returncode == 4


@pytest.mark.parametrize("words", [["doctor"], ["record", "-n", "init"], ["demo"]])
def test_without_proc_there_is_one_clear_error(words):
    script = f"mount -t tmpfs none /proc && exec {' '.join([*ISOTHERM, *words])}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stderr.splitlines() == [
        "isotherm: /proc is not mounted here: nothing can be known of processes",
        "hint: mount -t proc proc /proc",
    ]


@pytest.fixture
def leaderless(tmp_path):
    source, program = tmp_path / "leaderless.c", tmp_path / "leaderless"
    source.write_text(LEADERLESS)
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-O1", "-pthread", source, "-o", program], check=True)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        yield child.pid
        child.kill()


def test_a_process_is_watched_as_long_as_any_thread_lives(leaderless):
    """Its main thread has ended; its memory is reached through the other one."""
    stat = Path(f"/proc/{leaderless}/stat").read_text()
    assert stat.rpartition(")")[2].split()[0] == "Z"
    with isotherm.monitor(pid=leaderless, sample="200ms", aggr="1s") as session:
        assert "the main thread of process" in session.choice.why_not["bpf"]
        snapshots = list(session.snapshots(duration="4s"))
    assert len(snapshots) >= 3
    used = [snapshot.working_set_bytes for snapshot in snapshots]
    # The backend draws lots over mappings: the mean is what holds.
    assert 4 << 20 < sum(used) / len(used) < 40 << 20
    target = snapshots[-1].targets[0]
    assert target.pid == leaderless
    assert target.resident_bytes >= 64 << 20


SYS_PROCESS_MADVISE = 440  # the same on every architecture
_FILTERED = """
import ctypes, os, sys
class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(Filter))]
error, number = int(sys.argv[1]), int(sys.argv[2])
steps = (Filter * 4)(
    Filter(0x20, 0, 0, 0),                  # load the number of the system call
    Filter(0x15, 0, 1, number),             # if it is this one
    Filter(0x06, 0, 0, 0x00050000 | error), # SECCOMP_RET_ERRNO
    Filter(0x06, 0, 0, 0x7fff0000),         # SECCOMP_RET_ALLOW
)
program = Program(4, steps)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0      # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_a_filtered_system_call_leads_to_the_next_backend(error, sleeper, tmp_path):
    """As in containers: the same whether it is unknown or forbidden; and it is said."""
    number = getattr(__import__("errno"), error)
    filtered = [sys.executable, "-c", _FILTERED, str(number), str(SYS_PROCESS_MADVISE)]
    output = tmp_path / "x.isotherm"
    done = run(
        "record", "-p", sleeper, "-d", "1s", "-o", output, "--sample", "200ms", "--aggr", "400ms",
        before=filtered,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "backend clear-refs" in done.stderr
    if error == "EPERM":
        assert "backend bpf cannot be used here" in done.stderr
    assert len(list(isotherm.open(output))) >= 1
    asked = run("record", "-p", sleeper, "-d", "1s", "--backend", "bpf", before=filtered)
    assert asked.returncode == 4
    assert "hint:" in asked.stderr


def test_several_numbers_in_every_spelling(sleeper, tmp_path):
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            a, b = sleeper, other.pid
            for index, words in enumerate(
                (
                    ["-p", f"{a},{b}"],
                    ["-p", f"{a} {b}"],
                    ["-p", a, b],  # what the shell makes of -p $(pidof sleep)
                    ["-p", a, "-p", b],
                    [f"--pid={a}", b],
                    [f"-p{a}", f"-p{b}"],
                )
            ):
                output = tmp_path / f"{index}.isotherm"
                done = run(
                    "record", *words, "-d", "300ms", "--sample", "10ms", "--aggr", "100ms",
                    "-o", output,
                )  # fmt: skip
                assert done.returncode == 0, (words, done.stderr)
                (targets,) = {snapshot.targets for snapshot in isotherm.open(output)}
                assert {target.pid for target in targets} == {a, b}, words
        finally:
            other.kill()
    with isotherm.monitor(pid=str(sleeper), sample="10ms", aggr="100ms") as session:
        assert [target.pid for target in session.targets] == [sleeper]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_recording_and_reaches_the_command(number, tmp_path):
    output = tmp_path / "x.isotherm"
    command = [
        *ISOTHERM, "record", "--sample", "5ms", "--aggr", "50ms", "-o", str(output),
        "--", "sh", "-c", "echo $$; trap 'exit 7' TERM HUP INT; while :; do sleep 0.05; done",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        inner = int(running.stdout.readline())
        wait_for_file(output)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 7, said
    assert "saved" in said
    assert len(list(isotherm.open(output))) >= 1
    assert not Path(f"/proc/{inner}").exists()


def test_a_command_that_goes_on_is_said_to(tmp_path):
    """The time is over, the command waits for a line: its status is that of all."""
    command = [
        *ISOTHERM, "record", "-d", "300ms", "--sample", "5ms", "--aggr", "50ms",
        "-o", str(tmp_path / "x.isotherm"), "--", "sh", "-c", "read line; exit 5",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        for line in running.stderr:
            if "runs on (process" in line:
                running.stdin.write("go\n")
                running.stdin.close()
                break
        else:
            raise AssertionError("nothing was said")
        running.stderr.read()
    assert running.returncode == 5


def test_a_stop_in_the_first_window_says_so(sleeper, tmp_path):
    output = tmp_path / "x.isotherm"
    command = [*ISOTHERM, "record", "-p", str(sleeper), "--sample", "500ms", "--aggr", "30s"]
    with subprocess.Popen(
        [*command, "-o", str(output)], stderr=subprocess.PIPE, text=True
    ) as running:
        assert "recording" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopped in the first window" in said
    assert "a window takes 30s" in said
    assert not output.exists()
    done = run("record", "-p", sleeper, "-d", "1s", "--sample", "500ms", "--aggr", "10s")
    assert done.returncode == 2
    assert "before the first window of 10s" in done.stderr


def test_names_that_are_no_text_reach_no_terminal_raw(tmp_path):
    """A process names itself; a file of that name is a plain one."""
    code = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a\\x1b[31mX/y', 0, 0, 0); "
        "print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        done = subprocess.run(
            [*ISOTHERM, "record", "-p", str(child.pid), "-d", "300ms", "--sample", "10ms",
             "--aggr", "100ms"],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        child.kill()
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr
    assert "a\\x1b[31mX/y" in done.stderr
    (made,) = tmp_path.iterdir()
    assert made.name == f"a_31mX_y.{child.pid}.isotherm"


def test_standard_output_takes_a_recording(sleeper):
    words = ["record", "-p", str(sleeper), "-d", "300ms", "--sample", "10ms", "--aggr", "100ms"]
    recorded = subprocess.run([*ISOTHERM, *words, "-o", "-"], capture_output=True, check=True)
    report = subprocess.run(
        [*ISOTHERM, "report", "-", "info", "--format", "json"],
        input=recorded.stdout, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(report.stdout)["snapshots"] >= 2


def wait_for_file(path):
    libc = ctypes.CDLL(None)
    sizes = set()
    for _ in range(3000):
        sizes.add(path.stat().st_size if path.exists() else 0)
        if len(sizes) >= 3:  # nothing, what it says of itself, and a block
            return
        libc.usleep(10_000)
    raise AssertionError(f"{path} has {max(sizes)} bytes and does not grow")


def test_what_a_cgroup_is_called_does_not_matter_but_it_stays_inside(tmp_path):
    done = run("record", "-G", "../..", "-d", "1s", "-o", tmp_path / "x.isotherm")
    assert done.returncode == 2
    assert "leads out" in done.stderr
    assert run("record", "-G", "no/such/group", "-d", "1s").returncode == 3
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", [["record"], ["apply", "stat"]])
def test_a_signal_before_monitoring_begins_leaves_no_command(command, number, tmp_path):
    """As soon as the command runs, whatever we are about to do."""
    mark = tmp_path / "begun"
    inner = ["sh", "-c", f"echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 600"]
    words = [*ISOTHERM, *command, "--", *inner]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as running:
        wait_until(mark.exists)
        running.send_signal(number)
        running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


def test_a_failure_ends_the_command_and_says_so(tmp_path):
    mark = tmp_path / "begun"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*ISOTHERM, "record", "-o", "-", "--sample", "5ms", "--aggr", "50ms", "-d", "2s",
             "--", "sh", "-c", f"echo $$ > {mark}; exec sleep 600"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "the command was ended" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    before = run("record", "-o", tmp_path / "no" / "x", "--", "touch", tmp_path / "started")
    assert before.returncode == 1
    assert "no such directory" in before.stderr
    assert not (tmp_path / "started").exists()


def test_without_descriptors_or_a_working_directory_there_is_one_line(sleeper, tmp_path):
    few = run("record", "-p", sleeper, "-d", "300ms", before=["prlimit", "--nofile=5:5"])
    assert few.returncode in (1, 4)
    assert "Traceback" not in few.stderr
    gone = tmp_path / "gone"
    script = (
        f"mkdir {gone}; cd {gone}; rmdir {gone}; exec {' '.join(ISOTHERM)} record -p {sleeper} "
        "-d 300ms --sample 10ms --aggr 100ms"
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr


def test_doctor_chooses_as_record_does(sleeper):
    """Where the self-test fails the next backend is taken, and both say so."""
    filtered = [sys.executable, "-c", _FILTERED, "1", str(SYS_PROCESS_MADVISE)]
    found = json.loads(run("doctor", "--format", "json", before=filtered).stdout)
    assert found["choice"]["backend"] == "clear-refs"
    assert "self-test fails" in found["choice"]["why_not"]["bpf"]


def wait_until(true):
    libc = ctypes.CDLL(None)
    for _ in range(3000):
        if true():
            return
        libc.usleep(1_000)
    raise AssertionError("it never happened")

"""`isotherm record` on real processes: the documented exit codes, one clear line, a hint."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isotherm.recording.reader import open_recording
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

TOUCHER = """
import mmap, sys, time
area = mmap.mmap(-1, 32 << 20)
for at in range(0, len(area), 4096):
    area[at] = 1
print("ready", flush=True)
while True:
    for at in range(0, 4 << 20, 4096):
        area[at] = 2
    time.sleep(0.005)
"""


def isotherm(*args, cwd=None, timeout=120, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "isotherm", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
        **kwargs,
    )


def says(done, code, *words):
    """One line and a hint on stderr, no traceback, the documented exit code."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


@pytest.fixture
def toucher():
    process = subprocess.Popen([sys.executable, "-c", TOUCHER], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def free_pid():
    """A pid that nothing has: that of a child which was waited for."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_a_process_is_recorded_and_read_back(toucher, tmp_path):
    done = isotherm("record", "-p", toucher.pid, "-d", "2s", "-o", tmp_path / "a.isotherm")
    assert done.returncode == 0, done.stderr
    snapshots = list(open_recording(tmp_path / "a.isotherm"))
    assert 10 <= len(snapshots) <= 21
    assert [s.index for s in snapshots] == list(range(len(snapshots)))
    assert all(s.targets[0].pid == toucher.pid for s in snapshots)
    assert snapshots[-1].monitored_bytes >= 32 << 20
    assert toucher.poll() is None


def test_without_output_the_name_is_that_of_the_target_and_never_taken(toucher, tmp_path):
    for _ in range(2):
        done = isotherm("record", "-p", toucher.pid, "-d", "300ms", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert all(str(toucher.pid) in name and name.endswith(".isotherm") for name in names)


def test_the_status_of_a_command_is_returned(tmp_path):
    script = "import time; x = bytearray(8 << 20); time.sleep(1); raise SystemExit(23)"
    out = tmp_path / "c.isotherm"
    done = isotherm("record", "-o", out, "--", sys.executable, "-c", script)
    assert done.returncode == 23
    assert len(list(open_recording(out))) >= 3


def test_a_command_that_dies_of_a_signal_gives_128_and_its_number(tmp_path):
    script = "import os, time; time.sleep(.5); os.kill(os.getpid(), 9)"
    done = isotherm("record", "-o", tmp_path / "c", "--", sys.executable, "-c", script)
    assert done.returncode == 128 + 9


def test_a_command_that_ends_at_once(tmp_path):
    done = isotherm("record", "-o", tmp_path / "t", "--", "true")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_command(tmp_path):
    says(
        isotherm("record", "--", "/no/such/program", cwd=tmp_path), 3, "/no/such/program", "hint:"
    )


def test_missing_pid(tmp_path):
    pid = free_pid()
    says(isotherm("record", "-p", pid, cwd=tmp_path), 3, str(pid), "hint:")
    assert list(tmp_path.iterdir()) == []


def test_no_process_of_that_name(tmp_path):
    says(isotherm("record", "-n", "no-such-name", cwd=tmp_path), 3, "no-such-name", "hint:")


def test_kernel_thread(tmp_path):
    says(isotherm("record", "-p", 2, cwd=tmp_path), 4, "kernel thread", "hint:")


def test_zombie(tmp_path):
    child = subprocess.Popen(["true"])
    stat = Path(f"/proc/{child.pid}/stat")
    while ") Z " not in stat.read_text():
        time.sleep(0.01)
    done = isotherm("record", "-p", child.pid, cwd=tmp_path)
    child.wait()
    says(done, 3, str(child.pid), "hint:")


@pytest.mark.parametrize(
    "options",
    [
        ["--sample", "nonsense"],
        ["--sample", "0"],
        ["--sample", "1s", "--aggr", "100ms"],
        ["--aggr", "-5ms"],
        ["--regions", "10"],
        ["--regions", "1000..10"],
        ["--regions", "1..5"],
        ["-d", "0s"],
        ["-d", "soon"],
        ["--overhead", "lots"],
        ["--backend", "nonsense"],
    ],
    ids=" ".join,
)
def test_nonsense_is_refused_before_anything_is_started(options, tmp_path):
    marker = tmp_path / "started"
    done = isotherm("record", *options, "--", "touch", marker, cwd=tmp_path)
    says(done, 2)
    assert not marker.exists()
    assert list(tmp_path.iterdir()) == []


def test_two_kinds_of_target(toucher, tmp_path):
    """Processes of several sources are one recording; a command is another thing."""
    says(isotherm("record", "-p", toucher.pid, "--", "true", cwd=tmp_path), 2, "only one")
    physical = isotherm("record", "-p", toucher.pid, "--ops", "paddr", cwd=tmp_path)
    says(physical, 2, "belongs to no process")


def test_no_target(tmp_path):
    says(isotherm("record", cwd=tmp_path), 2, "hint:")


def test_an_existing_file_is_kept_unless_forced(toucher, tmp_path):
    out = tmp_path / "precious"
    out.write_text("precious")
    says(isotherm("record", "-p", toucher.pid, "-d", "300ms", "-o", out), 2, "--force")
    assert out.read_text() == "precious"
    done = isotherm("record", "-p", toucher.pid, "-d", "300ms", "-o", out, "--force")
    assert done.returncode == 0, done.stderr
    assert list(open_recording(out))


def test_not_permitted(toucher, tmp_path):
    """As nobody, somebody else's process: exit 4 and the command to run instead."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(toucher.pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    says(done, 4, "hint:")


#: Imported as root, so that the package needs not be readable for nobody.
AS_NOBODY = """
import difflib, os, sys
import isotherm.cli, isotherm.cli.record
from isotherm.backends import registry
registry.kinds()
os.chdir("/")
os.setgid(65534); os.setuid(65534)
raise SystemExit(isotherm.cli.main(["record", "-o", "/nobody-makes.isotherm", "-p", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording_in_good_order(number, toucher, tmp_path):
    out = tmp_path / "s.isotherm"
    process = subprocess.Popen(
        [sys.executable, "-m", "isotherm", "record", "-p", str(toucher.pid), "-o", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "recording" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    assert "saved" in process.stderr.read()
    process.stderr.close()
    assert list(open_recording(out))


def test_kill_leaves_every_flushed_block_readable(toucher, tmp_path):
    out = tmp_path / "k.isotherm"
    process = subprocess.Popen(
        [sys.executable, "-m", "isotherm", "record", "-p", str(toucher.pid), "-o", str(out)],
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: out.exists() and out.stat().st_size > 4096)
    time.sleep(2)
    process.kill()
    process.wait()
    done = isotherm("report", out, "info", "--format", "json")
    assert done.returncode == 5, done.stderr
    assert done.stdout.startswith("{")
    assert "Traceback" not in done.stderr


def test_the_target_ends_in_the_middle(toucher, tmp_path):
    out = tmp_path / "e.isotherm"
    process = subprocess.Popen(
        [sys.executable, "-m", "isotherm", "record", "-p", str(toucher.pid), "-o", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "recording" in process.stderr.readline()
    time.sleep(1)
    toucher.kill()
    toucher.wait()
    assert process.wait(timeout=30) == 0
    process.stderr.close()
    assert list(open_recording(out))


def test_a_full_disk_is_told_and_what_was_written_is_readable(toucher, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        done = isotherm(
            "record", "-p", toucher.pid, "-d", "20s", "--regions", "500..1000", "--aggr", "50ms",
            "--sample", "5ms", "-o", disk / "f.isotherm",
        )  # fmt: skip
        says(done, 1, "hint:")
        assert "space" in done.stderr.lower()
    finally:
        subprocess.run(["umount", disk], check=True)
    assert toucher.poll() is None


def test_an_output_that_cannot_be_made(toucher, tmp_path):
    done = isotherm("record", "-p", toucher.pid, "-d", "1s", "-o", tmp_path / "no" / "dir" / "f")
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr


def test_exec_in_the_middle_goes_on(tmp_path):
    script = (
        "import os, sys, time; time.sleep(1);"
        "os.execv(sys.executable, [sys.executable, '-c',"
        " 'import time; x = bytearray(64 << 20); time.sleep(2)'])"
    )
    out = tmp_path / "x.isotherm"
    done = isotherm("record", "-o", out, "--update", "200ms", "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    snapshots = list(open_recording(out))
    assert snapshots[-1].monitored_bytes > snapshots[0].monitored_bytes + (32 << 20)


def test_children_are_followed_and_their_end_is_normal(tmp_path):
    script = (
        "import subprocess, sys, time;"
        "[subprocess.run(['true']) for _ in range(200)];"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(2)']);"
        "c.wait()"
    )
    out = tmp_path / "f.isotherm"
    done = isotherm("record", "-o", out, "--update", "200ms", "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    pids = {target.pid for snapshot in open_recording(out) for target in snapshot.targets}
    assert len(pids) >= 2

"""`isotherm demo` as a user runs it: on a terminal, into a pipe, interrupted, with bad wishes."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "isotherm", "demo"]
STRIPS = re.compile(r"^ (?:truth|estimate) +([▁▂▃▄▅▆▇█]{60,})$", re.MULTILINE)


def demo(*args):
    return subprocess.run(
        [*COMMAND, *args],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def workloads():
    """Pids of workload processes of anybody."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"isotherm.demo.workload" in path.read_bytes():
                found.add(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.kernel
def test_into_a_pipe_there_is_one_picture_and_the_truth_beside_the_estimate():
    before = workloads()
    done = demo("--seconds", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.count("0s") == 1
    truth, estimate = STRIPS.findall(done.stdout)
    # Of 64 cells, the bright ones of both: 4 + 4 + 8 of the truth.
    assert truth.count("█") == 16
    both = sum(one == "█" and two > "▄" for one, two in zip(truth, estimate, strict=True))
    assert both >= 12
    assert re.search(r"^ accuracy  F1 [01]\.\d{3}, R@k", done.stdout, re.MULTILINE)
    assert re.search(r"^ cost      \d+\.\d% of one CPU", done.stdout, re.MULTILINE)
    assert re.search(r"^ backend   \S+: \S+", done.stdout, re.MULTILINE)
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert workloads() <= before


def test_without_privileges_whole_mappings_are_seen():
    done = demo("--seconds", "8", "--backend", "clear-refs")
    assert done.returncode == 0, done.stderr
    truth, estimate = STRIPS.findall(done.stdout)
    assert truth == estimate
    assert "backend   clear-refs: " in done.stdout
    # It says what a picture of whole mappings is worth, and of no interval that is not.
    assert " proves    which mappings are used" in done.stdout
    assert "sampled every" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


@pytest.mark.kernel
def test_ctrl_c_ends_early_with_a_sum_and_a_sane_terminal():
    before = workloads()
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*COMMAND, "--seconds", "600"], stdout=theirs, stderr=theirs, env=environment
    ) as child:
        os.close(theirs)
        seen = b""
        while seen.count(b"regions  hot") < 3:
            seen += os.read(ours, 65536)
        child.send_signal(signal.SIGINT)
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:  # the other end is closed
            pass
        assert child.wait(60) == 0
    os.close(ours)
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert seen.rindex(b"\x1b[?7h") > seen.rindex(b"\x1b[?7l")
    assert b"accuracy" in seen.partition(b"\x1b[?25h")[2]
    for _ in range(100):
        if workloads() <= before:
            break
        time.sleep(0.05)
    assert workloads() <= before


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["--seconds", "0"], 2, "cannot watch for 0 seconds"),
        (["--seconds", "nan"], 2, "cannot watch for nan seconds"),
        (["--seconds", "soon"], 2, "soon"),
        (["--backend", "guess"], 2, "no backend 'guess'"),
        (["--backend", "kdamond"], 4, "backend kdamond cannot be used here"),
    ],
)
def test_bad_wishes(args, status, says):
    done = demo(*args)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr

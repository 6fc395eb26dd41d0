"""Where output goes: pipes that end early, disks that are full, terminals of another time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.cli import main
from isotherm.recording.writer import RecordingWriter
from support.snapshots import phases

FULL = Path("/dev/full")
COMMANDS = (
    ["report", "regions"],
    ["report", "--format", "json"],
    ["report", "info", "--format", "csv"],
    ["report", "heatmap", "--format", "jsonl"],
    ["doctor"],
    ["doctor", "--format", "json"],
    ["scheme", "list"],
    ["scheme", "explain", "prcl"],
    ["scheme", "schema"],
    ["scheme", "convert", "--to", "yaml", "prcl"],
    ["--help"],
    ["report", "--help"],
    ["--version"],
)


@pytest.fixture
def here(tmp_path):
    with RecordingWriter(tmp_path / "run.isotherm", {"backend": "sim"}) as writer:
        for snapshot in phases(30):
            writer.write(snapshot)
    return tmp_path


def isotherm(here, args, **how):
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "LC_CTYPE")}
    return subprocess.run(
        [sys.executable, "-m", "isotherm", *args],
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=kept | {"ISOTHERM_LEAVE_DAMON": "1"} | how.pop("env", {}),
        **how,
    )


@pytest.mark.parametrize(
    ("args", "unbuffered"), [*((args, "") for args in COMMANDS), (COMMANDS[0], "1")]
)
def test_a_full_disk_is_one_line(here, args, unbuffered):
    with FULL.open("w") as out:
        done = isotherm(here, args, stdout=out, env={"PYTHONUNBUFFERED": unbuffered})
    lines = [line for line in done.stderr.splitlines() if not line.startswith("reading ")]
    assert lines == ["isotherm: cannot write the output: no space left on device"]
    assert done.returncode == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [["report", "regions"], ["scheme", "schema"], ["--help"]])
def test_a_reader_that_has_enough_is_no_error(here, args, unbuffered):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        done = isotherm(here, args, stdout=out, env={"PYTHONUNBUFFERED": unbuffered})
    assert done.stderr.replace("reading run.isotherm\n", "") == ""
    assert done.returncode == 0


@pytest.mark.parametrize("view", ["summary", "regions", "heatmap", "wss", "tree", "info"])
@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_where_blocks_cannot_be_shown_there_is_ascii(here, view, locale):
    done = isotherm(here, ["report", view], stdout=subprocess.PIPE, env=locale)
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert done.stdout.count("\\x") == 0
    assert done.stdout.count("\\u") == 0


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("view", ["summary", "regions", "heatmap", "wss", "tree", "info"])
def test_every_view_fits_the_terminal(here, monkeypatch, capsys, view, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["report", str(here / "run.isotherm"), view]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= min(width, 80)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
@pytest.mark.parametrize("view", ["summary", "heatmap", "info"])
def test_a_recording_comes_through_a_pipe(here, name, view):
    whole = (here / "run.isotherm").read_bytes()
    command = [sys.executable, "-m", "isotherm", "report", name, view, "--format", "json"]
    done = subprocess.run(command, input=whole, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    expected = isotherm(
        here, ["report", "run.isotherm", view, "--format", "json"], stdout=subprocess.PIPE
    )
    assert found == json.loads(expected.stdout) | (
        {"path": "/dev/stdin"} if view == "info" else {}
    )


def test_a_recording_comes_through_a_fifo(here):
    fifo = here / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["cp", "run.isotherm", "fifo"], cwd=here) as writer:
        done = isotherm(here, ["report", "fifo", "wss"], stdout=subprocess.PIPE)
    assert writer.returncode == 0
    assert done.returncode == 0
    head = "working set: whole regions accessed in a window; 30 windows of 100ms\n"
    assert done.stdout.startswith(head)


@pytest.mark.parametrize("given", [b"", b"no recording", b"\0" * 100_000])
def test_other_things_in_a_pipe_are_told(here, given):
    command = [sys.executable, "-m", "isotherm", "report", "-"]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"isotherm: /dev/stdin is not a recording")


@pytest.mark.parametrize(
    ("closed", "status", "told"),
    [
        (">&-", 1, "isotherm: cannot write the output: bad file descriptor\n"),
        ("2>&- >out", 0, ""),
        ("<&- >out", 0, ""),
    ],
)
def test_closed_streams_are_no_traceback(here, closed, status, told):
    line = f"{sys.executable} -m isotherm report run.isotherm {closed}"
    done = subprocess.run(
        ["sh", "-c", line], cwd=here, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, told)
    assert status or (here / "out").read_text().startswith("app 42 and 1 more")

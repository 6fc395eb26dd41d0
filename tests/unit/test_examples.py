"""The examples run, and say what is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm import open as open_recording
from isotherm.recording.writer import RecordingWriter
from support.snapshots import phases

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> str:
    with RecordingWriter(tmp_path / "run.isotherm", {"backend": "sim"}) as writer:
        for one in phases(30):
            writer.write(one)
    return str(tmp_path / "run.isotherm")


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text()
    assert all(f'"{one.name}"' in here for one in EXAMPLES.glob("*.py"))


def test_analyse(path: str) -> None:
    said = run("analyse.py", path)
    half, most = open_recording(path).wss().percentiles(50, 100)
    assert f"working set: {half:,} bytes in half of the windows, {most:,} at most" in said
    assert "30 windows, of 100 ms" in said
    assert len({len(line) for line in said.splitlines()[-12:]}) == 1  # the map
    assert any("@" in line for line in said.splitlines()[-12:])


def test_watch_async() -> None:
    said = re.fullmatch(r"working set: (\d+) MiB\n", run("watch_async.py"))
    assert said is not None
    assert 15 <= int(said[1]) <= 18  # 16 are in use; regions end about there


def test_ask_duckdb(path: str) -> None:
    most = max(
        sum(r.size for r in one.regions if r.target == 0 and r.nr_accesses)
        for one in open_recording(path)
    )
    first, second = run("ask_duckdb.py", path).splitlines()
    assert first == f"app: {most} bytes were accessed in the busiest window"
    assert second == "helper: 0 bytes were accessed in the busiest window"

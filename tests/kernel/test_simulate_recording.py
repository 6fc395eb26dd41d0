"""`isotherm simulate RECORDING`: what it says of a real process is what `apply` then does."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from bpf_kit import MIB, PAGE
from rolling_kit import away, faults, rolling_program

import isotherm
from isotherm.cli import main

pytestmark = pytest.mark.kernel

COLD, ROLLING = 48 * MIB, 6 * MIB
PERIOD_S = 3
SCHEME = "pageout filter=idle:1s filter=name:[anon:cold]|[anon:rolling] quota=none"


@pytest.fixture
def program():
    with rolling_program(PERIOD_S, cold=COLD, rolling=ROLLING) as started:
        yield started


def per_second(moments):
    """Bytes that are said to come back in a second, once any do."""
    first = next(one for one in moments if one["refaulted_bytes"])
    passed_ns = moments[-1]["since_ns"] - first["since_ns"]
    return (moments[-1]["refaulted_bytes"] - first["refaulted_bytes"]) * 1e9 / passed_ns


@pytest.mark.usefixtures("swap")
def test_what_it_says_is_what_apply_does(program, tmp_path, capsys):
    pid, (cold, rolling) = program
    path = tmp_path / "real.isotherm"
    isotherm.record(path, pid=pid, duration=5, overhead="20%")
    assert not main(["simulate", str(path), SCHEME, "--format", "json"])
    said = json.loads(capsys.readouterr().out)

    seen = []
    timer = threading.Timer(2.5, lambda: seen.append((faults(pid), time.monotonic())))
    timer.start()
    isotherm.apply(SCHEME, pid=pid, duration=5, overhead="20%")
    timer.join()
    came_back = (faults(pid) - seen[0][0]) * PAGE / (time.monotonic() - seen[0][1])
    gone = away(pid, cold, COLD) + away(pid, rolling, ROLLING)

    assert said["saved_end_bytes"]["best"] == pytest.approx(gone, rel=0.15)
    assert per_second(said["moments"]) == pytest.approx(came_back, rel=0.5)


@pytest.mark.usefixtures("swap")
def test_a_program_is_recorded_and_tuned_for(program, tmp_path, capsys):
    pid, _ = program
    path = tmp_path / "tuned.isotherm"
    scheme = "pageout filter=idle:9s filter=name:[anon:cold] quota=none"
    asked = ["-s", scheme, "--goal", "saved max, refaults < 10/s", "--param", "age=1s,2s,50s"]
    assert not main(["tune", str(pid), "-d", "5s", "-o", str(path), "--overhead", "20%", *asked,
                     "--format", "json"])  # fmt: skip
    live = json.loads(capsys.readouterr().out)
    # What is never used again goes for good, the sooner the better.
    assert live["best"]["point"] == {"age": "1s"}
    (best,) = [trial for trial in live["trials"] if trial["point"] == {"age": "1s"}]
    assert best["saved_end_bytes"]["best"] == pytest.approx(COLD, rel=0.05)
    assert not main(["tune", str(path), *asked, "--format", "json"])
    assert json.loads(capsys.readouterr().out) == live

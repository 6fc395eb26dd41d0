"""`isotherm calibrate`: real workloads, what is kept of them, and who quotes it."""

import json
import os
import re
import select
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from isotherm import api
from isotherm.cli import main
from isotherm.demo.known import QUICK, RECIPES, known
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec
from isotherm.model.calibration import Calibration, Measured, digest
from isotherm.recording import calibration
from isotherm.recording.calibration import calibration_path, keep, kept, parsed_digest
from isotherm.report.calibration import quote

MIB = 1 << 20
RUN = Measured(
    workload="fixed",
    backend="bpf",
    policy="damon",
    seconds=3.0,
    windows=20,
    found=0.98,
    found_worst=0.9,
    used_error=-0.02,
    first_s=0.25,
    again_s=None,
    changes=0,
    missed=0,
    cpu_share=0.01,
    slowdown=None,
)
CALIBRATION = Calibration(
    release=os.uname().release,
    version="0.1.0",
    wall_ns=1_800_000_000_000_000_000,
    quick=True,
    overhead=0.01,
    load=0.5,
    runs=(
        RUN,
        replace(RUN, workload="moving", found=0.9, again_s=1.5, changes=3, missed=1),
        replace(RUN, workload="tlb-1M", found=0.94, used_error=None, slowdown=0.004),
        replace(RUN, workload="shared", found=None, used_error=0.05, first_s=None, changes=1),
        replace(RUN, policy="map", found=0.5),
    ),
    left_out={"idle": "no bitmap"},
)


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return calibration_path()


# ---- workloads ----


@pytest.mark.parametrize("name", RECIPES)
def test_a_workload_says_what_it_uses(name):
    one = known(name, 128 * MIB)
    for number in range(len(one.spec.phases)):
        hot = sum(part.nbytes for part in one.hot(number))
        assert 0 < hot <= one.used_bytes(number, 1_000_000) <= 64 * MIB
        # Windows of the hottest period hold what is used that often, and parts of the rest.
        assert one.used_bytes(number, 2_500) <= one.used_bytes(number, 1_000_000)
    assert one == known(name, 128 * MIB)
    assert set(QUICK) <= set(RECIPES)


def test_zipf_is_halved_from_step_to_step():
    one = known("zipf", 256 * MIB)
    sizes = [4, 8, 16, 32, 64]
    for window_ms, all_of in zip((2.5, 10, 40, 160, 640), sizes, strict=True):
        used = one.used_bytes(0, round(window_ms * 1000))
        assert all_of * MIB <= used <= (all_of + sizes[-1]) * MIB
    assert one.used_bytes(0, 10**9) == 64 * MIB
    scattered = known("zipf-scattered", 256 * MIB)
    assert scattered.used_bytes(0, 10**9) == 64 * MIB
    places = [part.offset for part in scattered.spec.phases[0].hot]
    assert len(set(places)) == len(places)
    assert known("zipf-scattered", 256 * MIB, seed=2) != scattered


def smaps(pid, address):
    """The fields of a mapping, in bytes."""
    inside, found = False, {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(head[1], 16) <= address < int(head[2], 16)
        elif inside and line.endswith("kB"):
            name, value, _ = line.split()
            found[name.rstrip(":")] = int(value) * 1024
    return found


@pytest.mark.parametrize("shared", [True, False])
def test_shared_memory_is_mapped_by_a_second_process_that_ends_with_the_first(shared):
    spec = Spec(
        (Area("main", 4 * MIB, shared=shared),), (Phase(60_000_000, (Hot("main", 0, MIB),)),)
    )
    assert Spec.from_json(spec.to_json()) == spec
    with Workload(spec) as workload:
        told = smaps(workload.pid, workload.areas[0].start)
        assert told["Rss"] == 4 * MIB
        assert told["Pss"] == (2 * MIB if shared else 4 * MIB)
        children = Path(f"/proc/{workload.pid}/task/{workload.pid}/children").read_text().split()
        assert len(children) == shared
        pidfds = [os.pidfd_open(int(child)) for child in children]
    for pidfd in pidfds:
        # Readable once the process has ended.
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)


# ---- what is kept ----


def test_what_is_kept_is_read_again(state):
    assert kept() is None
    assert keep(CALIBRATION) == state
    assert kept() == CALIBRATION
    keep(replace(CALIBRATION, quick=False))
    assert kept() == replace(CALIBRATION, quick=False)
    assert [path.name for path in state.parent.iterdir()] == [state.name]


def test_a_relative_home_is_none_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert calibration_path().parent == tmp_path / ".local/state/isotherm"
    monkeypatch.setattr(calibration, "_machine_id", lambda: "other")
    assert calibration_path().name == "calibration-other.json"


def spoilt(**changes):
    return json.dumps({"format": calibration.FORMAT, **asdict(CALIBRATION), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1]",
        "{",
        "\x00" * 100,
        "[" * 100_000,
        spoilt(format="isotherm.calibration/2"),
        spoilt(runs={}),
        spoilt(runs=[1]),
        spoilt(runs=[{}]),
        spoilt(runs=[asdict(RUN) | {"found": "0.9"}]),
        spoilt(runs=[asdict(RUN) | {"found": float("nan")}]),
        spoilt(runs=[asdict(RUN) | {"cpu_share": 10**400}]),
        spoilt(runs=[asdict(RUN) | {"cpu_share": True}]),
        spoilt(runs=[asdict(RUN) | {"workload": "x" * 10_000}]),
        spoilt(runs=[asdict(RUN)] * 2000),
        spoilt(wall_ns=-1),
        spoilt(wall_ns=10**30),
        spoilt(quick="yes"),
        spoilt(left_out=[]),
        spoilt(left_out={"idle": 1}),
        " " * (2 << 20) + spoilt(),
    ],
)
def test_a_file_that_makes_no_sense_is_none(state, text):
    state.parent.mkdir()
    state.write_text(text)
    assert kept() is None
    assert main(["calibrate", "--show"]) == 4


def test_what_is_no_file_is_none(state, tmp_path):
    state.parent.mkdir()
    os.mkfifo(state)
    assert kept() is None
    state.unlink()
    (tmp_path / "other").write_text(spoilt())
    state.symlink_to(tmp_path / "other")
    assert kept() is None
    state.unlink()
    state.mkdir()
    assert kept() is None
    assert main(["calibrate", "--list"]) == 0


def test_what_cannot_be_kept_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(calibration.OutputError, match="cannot keep what was measured"):
        keep(CALIBRATION)


def test_a_digest_has_medians_and_the_worst():
    told = digest(CALIBRATION, "bpf", "damon")
    assert (told.runs, told.found, told.found_worst) == (4, 0.94, 0.9)
    assert told.used_error == pytest.approx(0.02)
    assert told.used_error_worst == 0.05
    # Of what is not seen apart nobody knows when it would have been found.
    assert (told.never, told.tries) == (1, 6)
    assert (told.first_s, told.again_s, told.slowdown_worst) == (0.25, 1.5, 0.004)
    assert digest(CALIBRATION, "bpf", "sentinels") is None
    assert parsed_digest(asdict(told)) == told
    for wrong in (
        None,
        [],
        "x",
        {},
        asdict(told) | {"found": "high"},
        asdict(told) | {"runs": -1},
    ):
        assert parsed_digest(wrong) is None
    said = quote(told, "1.0")
    assert "R@k 0.94 (worst 0.90)" in said
    assert "not found 1 times of 6" in said
    assert f"under Linux {os.uname().release}" in said
    assert "under Linux" not in quote(told, os.uname().release)


# ---- who quotes it ----


def test_doctor_and_reports_quote_it(state, tmp_path, capsys):
    keep(CALIBRATION)
    status = main(["doctor", "--format", "json", "--backend", "auto"])
    told = json.loads(capsys.readouterr().out)
    if status == 0:
        expected = digest(CALIBRATION, told["choice"]["backend"], "damon")
        assert told["calibrated"] == (expected and asdict(expected))
    # The simulator has the backend "sim", and "" for a policy that nobody chose.
    keep(replace(CALIBRATION, runs=(replace(RUN, backend="sim", policy=""),)))
    path = tmp_path / "sim.isotherm"
    args = ["simulate", "--workload", "hotspot", "--size", "64M", "-d", "1s", "-o", str(path)]
    assert main(args) == 0
    # What is kept later, or elsewhere, is nothing of this recording.
    state.unlink()
    capsys.readouterr()
    assert main(["report", str(path), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["calibration"]["found"] == 0.98
    assert main(["report", str(path)]) == 0
    assert "calibrated" in capsys.readouterr().out
    assert api.open(path).info["calibration"]["backend"] == "sim"


# ---- the command ----


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["--workload", "nothing"], 2),
        (["--backend", "nothing"], 2),
        (["--backend", "clear-refs", "--policy", "sentinels"], 2),
        (["--size", "1M"], 2),
        (["--size", "1000G"], 2),
        (["-d", "1ms"], 2),
        (["--overhead", "0%"], 2),
        (["--show"], 4),
    ],
)
def test_what_makes_no_sense_is_said(state, args, status):
    assert main(["calibrate", *args]) == status
    assert not state.exists()


def test_whole_mappings_are_measured_without_rights(state, capsys):
    """One mapping, of which a known part is used; the backend tells shares of mappings."""
    args = ["calibrate", "--backend", "clear-refs", "--workload", "fixed", "--size", "128M"]
    status = main([*args, "-d", "2s", "--format", "json"])
    told = json.loads(capsys.readouterr().out or "{}")
    if status == 4:
        pytest.skip("this kernel has no clear_refs")
    assert (status, told["schema"]) == (0, "isotherm.calibration/1")
    [run] = told["runs"]
    assert (run["backend"], run["found"], run["first_s"]) == ("clear-refs", None, None)
    assert run["windows"] > 0
    assert abs(run["used_error"]) < 0.2
    assert kept().runs == (Measured(**run),)
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", "calibrate", "--show"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "clear-refs" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120

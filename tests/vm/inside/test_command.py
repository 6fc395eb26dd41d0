"""The commands, over the kernel's own DAMON."""

import json
import subprocess
import sys

from kit import judged, nothing_left, running

import isotherm
from isotherm.kernel.features import probe
from isotherm.ops.choose import choose


def command(*words, status=0):
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


def test_record_and_report(tmp_path):
    path = tmp_path / "one.isotherm"
    with running() as work:
        done = command(
            "record", "-p", work.pid, "-d", "9s", "--backend", "kdamond", "--aggr", "200ms",
            "--sample", "10ms", "-o", path,
        )  # fmt: skip
    assert "backend kdamond" in done.stderr
    assert nothing_left()
    snapshots = list(isotherm.open(path))
    assert 40 <= len(snapshots) <= 46
    assert snapshots[0].mappings
    seen = judged(snapshots[-1], work)
    assert seen.recall > 0.95
    assert seen.precision > 0.9
    assert "working set" in command("report", path).stdout.lower()


def test_it_is_chosen_by_itself_and_a_command_is_run():
    assert choose(probe()).backend == "kdamond"
    with isotherm.monitor(command=["sleep", "3"], aggr="200ms", sample="10ms") as session:
        assert session.backend == "kdamond"
        count = sum(1 for _ in session.snapshots())
    assert 10 <= count <= 16
    assert session.command.wait() == 0
    assert nothing_left()


def test_a_seed_is_refused():
    with running() as work:
        done = command("record", "-p", work.pid, "-d", "1s", "--seed", 7, status=2)
    assert "takes no seed" in done.stderr
    assert nothing_left()


def test_doctor_shows_who_uses_the_kernels_damon():
    found = json.loads(command("doctor", "--format", "json").stdout)
    assert found["choice"]["backend"] == "kdamond"
    assert found["facts"]["damon"]["kdamonds"] == []
    with running() as work, isotherm.monitor(pid=work.pid, backend="kdamond") as session:
        next(iter(session.snapshots()))
        seen = json.loads(command("doctor", "--format", "json").stdout)["facts"]["damon"]
        text = command("doctor").stdout
    assert seen["ours"] == [0]
    assert seen["operations"] == ["vaddr", "fvaddr", "paddr"]
    assert "damon_aggregated" in seen["events"]
    assert "kdamond.0 runs for isotherm: vaddr" in " ".join(text.split())

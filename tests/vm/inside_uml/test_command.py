"""The commands, over the kernel's own DAMON."""

import json
import sys

import kit
import pytest
from kit import MIB, cold_bytes, command, found_in, nothing_left, running

import isotherm
from isotherm.backends.choose import choose
from isotherm.errors import NotSupportedError
from isotherm.kernel.features import probe
from isotherm.model.scheme import Access, Action, Age, Pattern, Scheme


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
    recall, precision = found_in(snapshots, work)
    assert recall > 0.95
    assert precision > 0.9
    assert "working set" in command("report", path).stdout.lower()


def test_it_is_chosen_by_itself_and_a_command_is_run():
    assert choose(probe()).backend == "kdamond"
    with isotherm.monitor(command=["sleep", "3"], aggr="200ms", sample="10ms") as session:
        assert session.backend == "kdamond"
        count = sum(1 for _ in session.snapshots())
    assert 10 <= count <= 16
    assert session.command.wait() == 0
    assert nothing_left()


FORKS = """
import subprocess, time
end = time.monotonic() + 12
while time.monotonic() < end:
    subprocess.run(["sleep", "0.13"])
    subprocess.Popen(["sleep", "0.21"])
    subprocess.run(["sleep", "0.21"])
"""


def test_children_that_come_and_go_end_nothing(tmp_path):
    """A commit of one that has just ended ends this kernel's kdamond."""
    path = tmp_path / "one.isotherm"
    words = ("--backend", "kdamond", "--aggr", "200ms", "--sample", "10ms", "-o", path)
    command("record", *words, "--", sys.executable, "-c", FORKS)
    assert nothing_left()
    snapshots = list(isotherm.open(path))
    print(f"{len(snapshots)} of 60 windows, {sum(len(one.targets) for one in snapshots)} targets")
    # Each commit begins a window anew, and each update commits.
    assert len(snapshots) > 35
    assert max(len(one.targets) for one in snapshots) > 2


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


def test_schemes_are_applied_by_the_kernel():
    with running() as work:
        applied = apply(work, lambda _: cold_bytes(work) < 1 * MIB, least_s=24)
        assert cold_bytes(work) < 1 * MIB
    (state,) = applied.states
    # What the kernel did since the last window is in its own count only.
    done = sum(applied.outcomes.by_scheme[0].done.values())
    print(f"applied by the kernel: {state.stats}; by mapping {done / MIB:.1f} MiB")
    assert state.stats.sz_applied > 35 * MIB
    assert done == pytest.approx(state.stats.sz_applied, rel=0.1)
    assert nothing_left()


def test_a_dry_run_touches_nothing():
    with running() as work:
        before = cold_bytes(work)
        applied = apply(
            work, lambda one: one.schemes[0].stats.sz_tried > 35 * MIB, least_s=8, dry_run=True
        )
        assert cold_bytes(work) == before
    (state,) = applied.states
    assert state.action == "pageout"
    assert state.stats.sz_tried > 35 * MIB
    assert state.stats.sz_applied == 0


def test_a_guard_and_auto_leave_schemes_to_isotherm():
    with running() as work:
        with pytest.raises(NotSupportedError, match="cannot be held back by a guard"):
            isotherm.monitor(
                pid=work.pid, backend="kdamond", schemes=[scheme(Action.STAT)], guard="psi=10ms/s"
            )
        with isotherm.monitor(pid=work.pid, schemes=[scheme(Action.STAT)]) as session:
            assert session.backend == "idle"
            assert "does not tell what came of a region" in session.choice.why_not["kdamond"]
    assert nothing_left()


def apply(work, done, **options):
    options |= {"backend": "kdamond", "aggr": "200ms", "sample": "10ms"}
    return kit.apply(work, done, scheme(Action.PAGEOUT), **options)


def scheme(action):
    return Scheme(action, Pattern(access=Access(0, 0), age=Age(1_000_000)))

"""Which Linux's rules a session follows: asked for, recorded, and not for the kernel's DAMON."""

import os

import pytest

import isotherm
from isotherm.backends.choose import Choice
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, fixed
from isotherm.cli import main
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError
from isotherm.session import opening


def simulated(**options):
    clock = VirtualClock()
    ops = SimOps(fixed(64 * MIB, hot=((0, 8 * MIB),)), clock)
    return {"ops": ops, "clock": clock, "seed": 3, "aggr": "100ms"} | options


@pytest.mark.parametrize(("asked", "recorded"), [(None, "7.3"), ("7.2", "7.2"), ("6.12", "6.12")])
def test_the_recording_tells_the_profile(tmp_path, asked, recorded):
    path = tmp_path / "one.isotherm"
    isotherm.record(path, duration="1s", **simulated(profile=asked))
    assert isotherm.open(path).info["profile"] == recorded


def test_the_rules_are_those_of_the_profile():
    """In 6.12 a region that is found used for the first time keeps its age, in 7.3 it does not."""
    ages = {}
    for profile in ("7.3", "6.12"):
        with isotherm.monitor(**simulated(profile=profile)) as session:
            assert session.profile == profile
            snapshots = list(session.snapshots("5s"))
        ages[profile] = [list(snapshot.columns.age) for snapshot in snapshots]
    assert ages["7.3"] != ages["6.12"]


def test_schemes_follow_it_too():
    fails = "pageout quota=1M/s fail_charge=1/2"
    with pytest.raises(BadValueError, match=r"profile 6\.12 does not have a charge for what fail"):
        isotherm.apply(fails, duration="1s", **simulated(profile="6.12"))
    assert isotherm.apply("stat", duration="1s", **simulated(profile="6.12")).snapshots


@pytest.mark.parametrize("command", [["record"], ["apply", "stat"]])
def test_a_profile_that_does_not_exist(command, tmp_path, capsys):
    marker = tmp_path / "started"
    assert main([*command, "--profile", "5.15", "--", "touch", str(marker)]) == 2
    told = capsys.readouterr().err
    assert "no profile '5.15'" in told
    assert "there are 7.3, 7.2, 6.12" in told
    assert not marker.exists()


@pytest.mark.parametrize("command", [["record"], ["apply", "stat"]])
def test_the_kernel_takes_no_profile(command, monkeypatch, capsys):
    chosen = Choice("kdamond", None, "asked for")
    monkeypatch.setattr(opening, "choose", lambda *arguments, **options: chosen)
    words = ["--backend", "kdamond", "--profile", "7.3", "-p", str(os.getpid())]
    assert main([*command, *words]) == 2
    told = capsys.readouterr().err
    assert "takes no profile" in told
    assert "hint: leave out the profile" in told


def test_auto_with_a_profile_is_not_for_the_kernel(monkeypatch):
    def choose(support, backend, facts, *, failed, force_guests):
        seen.append(dict(failed))
        return real(support, backend, facts, failed=failed, force_guests=force_guests)

    seen, real = [], opening.choose
    monkeypatch.setattr(opening, "choose", choose)
    with isotherm.monitor(pid=os.getpid(), children=False, profile="7.2") as session:
        assert session.profile == "7.2"
        why = session.choice.why_not["kdamond"]
    assert seen == [{"kdamond": why}]
    assert why == "it has the running kernel's rules, and profile 7.2 was asked for"

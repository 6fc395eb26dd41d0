"""Which Linux's rules a session follows: asked for, recorded, and not for the kernel's DAMON."""

import dataclasses
import os

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, fixed
from isotherm.cli import main
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError
from isotherm.kernel.bpf import BpfSupport
from isotherm.model.scheme import Action, Scheme
from isotherm.session import start
from support.machines import ROOT, kernel_damon


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


@pytest.fixture
def kernels_own(monkeypatch):
    """A machine whose DAMON could be used."""
    monkeypatch.delenv("ISOTHERM_LEAVE_DAMON")
    damon = dataclasses.replace(kernel_damon(), kdamonds=(), slots=0)
    monkeypatch.setattr(start, "probe", lambda: dataclasses.replace(ROOT, damon=damon))


@pytest.mark.parametrize("command", [["record"], ["apply", "stat"]])
def test_the_kernel_takes_no_profile(command, kernels_own, capsys):
    words = ["--backend", "kdamond", "--profile", "7.3", "-p", str(os.getpid())]
    assert main([*command, *words]) == 2
    told = capsys.readouterr().err
    assert "takes no profile" in told
    assert "hint: leave out the profile" in told


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"profile": "7.2"}, "the running kernel's rules, and profile 7.2 was asked for"),
        ({"schemes": [Scheme(Action.STAT)]}, "does not tell what came of a region"),
    ],
)
def test_auto_is_not_for_the_kernel_where_it_does_not_do_what_was_asked(
    asked, why, kernels_own, monkeypatch
):
    usable = dataclasses.replace(start.probe(), bpf=BpfSupport(available=False, why_not="off"))
    monkeypatch.setattr(start, "probe", lambda: usable)
    with isotherm.monitor(pid=os.getpid(), children=False, **asked) as session:
        assert session.backend == "clear-refs"
        assert why in session.choice.why_not["kdamond"]

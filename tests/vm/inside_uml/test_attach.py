"""Looking at a kdamond that somebody else runs: through the tracepoint, nothing is written."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from kit import ATTRS, command, found_in, kdamond, nothing_left, running, windows

import isotherm
from isotherm.backends.kdamond.attached import Attached, chosen
from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel.damon.files import ROOT as KDAMONDS
from isotherm.kernel.damon.running import running as kdamonds
from isotherm.model.scheme import Action, Scheme


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


def tree():
    """Everything that the kernel's DAMON says of its settings."""
    return {
        str(path): path.read_text()
        for path in sorted(KDAMONDS.rglob("*"))
        if path.is_file() and path.name not in ("nr_regions", "refresh_ms")
    }


def test_the_windows_of_somebody_elses_kdamond():
    with running() as work, kdamond(work) as theirs:
        windows(theirs, 2)
        (found,) = kdamonds()
        assert (found.name, found.operations, found.pids) == ("kdamond.0", "vaddr", (work.pid,))
        assert (found.sample_us, found.aggr_us) == (ATTRS.sample_us, ATTRS.aggr_us)
        before = tree()
        backend = Attached(chosen("kdamond.0"))
        try:
            seen = windows(backend, 40)
        finally:
            backend.close()
        assert tree() == before
        assert (KDAMONDS / "0/state").read_text() == "on\n"
        last = seen[-1]
        assert [(one.pid, one.id) for one in last.targets] == [(work.pid, 0)]
        assert seen[0].mappings[0]
        gaps = [b.monotonic_ns - a.monotonic_ns for a, b in pairwise(seen)]
        assert all(gap > ATTRS.aggr_us * 500 for gap in gaps)
        assert found_in(seen, work)[0] > 0.9


def test_the_command_and_who_is_meant(tmp_path):
    path = tmp_path / "theirs.isotherm"
    with running() as work, kdamond(work) as theirs:
        windows(theirs, 2)
        pid = work.pid
        done = command("record", "--attach", "kdamond.0", "-d", "4s", "-o", path)
        assert f"{pid}, backend attached" in done.stderr
        done = command("record", "--attach", "kdamond.7", "-d", "1s", status=2)
        assert "there are kdamond.0" in done.stderr
        done = command("record", "--attach", "0", "--sample", "1ms", "-d", "1s", status=2)
        assert "intervals and schemes" in done.stderr
        listed = json.loads(command("doctor", "--format", "json").stdout)
        assert [one["name"] for one in listed["attachable"]] == ["kdamond.0"]
    recording = isotherm.open(path)
    assert recording.info["backend"] == "attached"
    snapshots = list(recording)
    assert 15 <= len(snapshots) <= 21
    assert all(one.targets[0].pid == pid for one in snapshots)
    assert command("report", path).stdout


def test_it_ends_when_the_kdamond_does():
    with running() as work, kdamond(work) as theirs:
        windows(theirs, 2)
        backend = Attached(chosen(""))
        try:
            stream = backend.snapshots()
            assert next(stream).regions
            theirs.close()
            assert len(list(stream)) < 10
            assert not backend.alive()
        finally:
            backend.close()


def test_nothing_can_be_changed_and_nobody_need_run():
    with pytest.raises(NotSupportedError, match="no kdamond runs here"):
        chosen("")
    with running() as work, kdamond(work) as theirs:
        windows(theirs, 1)
        backend = Attached(chosen("0"))
        try:
            with pytest.raises(NotSupportedError, match="nothing is changed"):
                backend.commit()
            assert backend.why_not(Scheme(Action.PAGEOUT))
        finally:
            backend.close()
        with pytest.raises(BadValueError, match="no kdamond"):
            chosen("1")
    assert not list(Path("/run/isotherm").glob("attach.*"))

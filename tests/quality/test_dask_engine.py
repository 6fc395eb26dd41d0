"""`--engine dask`: a cluster of this machine, and one that is there, say what one process says."""

import json
import os
import sys

import distributed
import pytest

from isotherm.backends.opening import Wish
from isotherm.backends.sim.patterns import workload_named
from isotherm.cli import main
from isotherm.recording.sink import RecordingSink
from isotherm.session.run import run
from isotherm.session.simulated import Simulation

SCHEME = "pageout filter=idle:1s quota=none"
AGES = "age=1s,2s,5s"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("dask") / "phases.isotherm"
    wish = Wish(sample="50ms", aggr="500ms", regions="10..60")
    session, _ = Simulation(workload=workload_named("phases", 64 << 20), wish=wish).start()
    with session:
        assert run(session, [RecordingSink(path)], duration=8)
    return path


@pytest.fixture
def one_cpu():
    """What is not asked of a cluster is worked out in this process."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def said(capsys):
    def tell(*args):
        assert main([*map(str, args), "--swap", "1G", "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return tell


def test_a_grid_by_a_cluster_of_this_machine(recording, said, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # One point, so one process.
    asked = ("simulate", recording, SCHEME, "--grid", "age=2s")
    assert said(*asked, "--engine", "dask") == said(*asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("one_cpu")
def test_a_grid_and_a_search_by_a_cluster_that_is_there(recording, said, monkeypatch):
    monkeypatch.chdir(recording.parent)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        engine = ("--engine", f"dask={cluster.scheduler_address}")
        asked = ("simulate", recording.name, SCHEME, "--grid", AGES)
        assert said(*asked, *engine) == said(*asked)
        asked = ("tune", recording.name, "-s", SCHEME, "--param", AGES, "--goal", "saved max")
        assert said(*asked, *engine) == said(*asked)
        # It is somebody else's, and goes on.
        assert cluster.scheduler.workers


@pytest.mark.usefixtures("one_cpu")
def test_an_error_of_a_worker_is_told_as_ones_own(tmp_path, capsys):
    path = tmp_path / "broken.isotherm"
    path.write_bytes(b"no recording")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        asked = ["simulate", str(path), SCHEME, "--grid", AGES]
        assert main(asked) == 2
        alone = capsys.readouterr().err
        assert main([*asked, "--engine", f"dask={cluster.scheduler_address}"]) == 2
        assert capsys.readouterr().err == alone


@pytest.mark.parametrize("engine", ["spark", "dask=", "local=here", "dask=nonsense://here"])
def test_an_engine_that_there_is_not_is_one_error(recording, capsys, engine):
    assert main(["simulate", str(recording), SCHEME, "--grid", AGES, "--engine", engine]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("isotherm: ") == printed.err.count("hint: ") == 1


def test_without_dask_it_says_what_to_install(recording, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    asked = ["simulate", str(recording), SCHEME, "--grid", AGES, "--engine", "dask"]
    assert main(asked) == 4
    assert "hint: pip install 'isotherm[dask]'" in capsys.readouterr().err

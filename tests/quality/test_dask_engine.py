"""
`--engine dask`: a cluster of this machine, and one that is there, say what one process says.

In processes of their own: what Dask loads and starts would stay in that of the other tests.
"""

import json
import subprocess
import sys

import pytest

from isotherm.backends.opening import Wish
from isotherm.backends.sim.patterns import workload_named
from isotherm.cli import main
from isotherm.recording.sink import RecordingSink
from isotherm.session.run import run
from isotherm.session.simulated import Simulation

SCHEME = "pageout filter=idle:1s quota=none"
AGES = "age=1s,2s,5s"

#: Commands, a line of JSON each, on a cluster that is there; prints status, output and errors.
BESIDE = """
import contextlib, io, json, os, sys
from distributed import LocalCluster
from isotherm.cli import main
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # no pool for what is not asked of it
with LocalCluster(n_workers=1, threads_per_worker=2, processes=False,
                  dashboard_address="127.0.0.1:0") as cluster:
    for line in sys.stdin:
        words = [word.replace("HERE", cluster.scheduler_address) for word in json.loads(line)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(words)
        print(json.dumps([status, out.getvalue(), err.getvalue()]))
    # It is somebody else's, and goes on.
    assert cluster.scheduler.workers
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("dask") / "phases.isotherm"
    wish = Wish(sample="50ms", aggr="500ms", regions="10..60")
    session, _ = Simulation(workload=workload_named("phases", 64 << 20), wish=wish).start()
    with session:
        assert run(session, [RecordingSink(path)], duration=8)
    return path


def test_a_grid_by_a_cluster_of_this_machine(recording, tmp_path, capsys):
    # One point, so one process.
    asked = ["simulate", str(recording), SCHEME, "--grid", "age=2s", "--format", "json"]
    assert main(asked) == 0
    command = [sys.executable, "-m", "isotherm", *asked, "--engine", "dask"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"TMPDIR": str(tmp_path)}
    )
    assert json.loads(done.stdout) == json.loads(capsys.readouterr().out)
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_is_there(recording, tmp_path):
    broken = tmp_path / "broken.isotherm"
    broken.write_bytes(b"no recording")
    asked = [
        ["simulate", recording.name, SCHEME, "--grid", AGES, "--format", "json"],
        ["tune", recording.name, "-s", SCHEME, "--param", AGES, "--goal", "saved max"],
        ["simulate", str(broken), SCHEME, "--grid", AGES],
    ]
    lines = [line for one in asked for line in (one, [*one, "--engine", "dask=HERE"])]
    done = subprocess.run(
        [sys.executable, "-c", BESIDE], input="\n".join(map(json.dumps, lines)),
        capture_output=True, text=True, check=True, cwd=recording.parent,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [status for status, _, _ in found] == [0, 0, 0, 0, 2, 2]
    assert found[::2] == found[1::2]


@pytest.mark.parametrize("engine", ["spark", "dask=", "local=here"])
def test_an_engine_that_there_is_not_is_one_error(recording, capsys, engine):
    assert main(["simulate", str(recording), SCHEME, "--grid", AGES, "--engine", engine]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("isotherm: ") == printed.err.count("hint: ") == 1


def test_without_dask_it_says_what_to_install(recording, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "dask", None)
    asked = ["simulate", str(recording), SCHEME, "--grid", AGES, "--engine", "dask"]
    assert main(asked) == 4
    assert "hint: pip install 'isotherm[dask]'" in capsys.readouterr().err

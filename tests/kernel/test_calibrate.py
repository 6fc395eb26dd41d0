"""`isotherm calibrate` with the backend that sees single pages, on real workloads."""

import json

import pytest

from isotherm.cli import main

pytestmark = pytest.mark.kernel


def test_known_workloads_are_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    args = ["--backend", "bpf", "--workload", "fixed", "--size", "128M", "-d", "2s"]
    assert main(["calibrate", *args, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    runs = {run["policy"]: run for run in told["runs"]}
    assert list(runs) == ["damon", "sentinels", "map"]
    assert not any(name.startswith("fixed") for name in told["left_out"])
    for policy in ("damon", "sentinels"):
        run = runs[policy]
        assert run["windows"] > 5
        assert run["found"] > 0.8, run
        assert run["first_s"] is not None
        assert 0 < run["cpu_share"] < 0.2


def test_what_others_map_is_no_miss(tmp_path, monkeypatch, capsys):
    """Sentinels see nothing of shared memory: that is unknown, neither found nor missed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    args = ["--policy", "sentinels", "--workload", "shared", "--size", "64M", "-d", "1s"]
    assert main(["calibrate", "--backend", "bpf", *args, "--format", "json"]) == 0
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert run["windows"] > 2
    assert (run["found"], run["first_s"], run["used_error"]) == (None, None, None)

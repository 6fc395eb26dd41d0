"""The benchmark scripts start and explain themselves; their figures are not tests."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "\ndef main()" in path.read_text("utf-8"))


def test_every_script_is_described():
    text = (FOLDER / "README.md").read_text("utf-8")
    assert SCRIPTS
    assert [path.name for path in SCRIPTS if f"benchmarks/{path.name}" not in text] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_names_the_quick_way(script):
    command = [sys.executable, str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout


def test_shares_are_not_taken_of_noise(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    ethp = importlib.import_module("scheme_ethp")
    assert ethp.share_of(10, 1000, 20) == pytest.approx(10 / 990)
    assert ethp.share_of(100, 101, 150) is None
    assert ethp.kept(100.0, 50.0, 60.0) == pytest.approx(0.8)
    assert ethp.kept(50.0, 100.0, 60.0) is None

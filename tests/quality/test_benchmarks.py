"""The benchmark scripts start and explain themselves; their figures are not tests."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "common.py")


def test_every_script_is_described():
    text = (FOLDER / "README.md").read_text("utf-8")
    assert SCRIPTS
    assert [path.name for path in SCRIPTS if f"benchmarks/{path.name}" not in text] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_names_the_quick_way(script):
    command = [sys.executable, str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout

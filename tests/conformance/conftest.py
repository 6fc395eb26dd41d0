"""Vectors are found in the directories of --conformance-dir; a test module names its PATTERN."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from isotherm import _core
from isotherm.core.reference import regions, rng

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Engine:
    """One of the twins."""

    name: str

    def table(self, rows=(), min_region=1):
        kind = _core.RegionTable if self.name == "native" else regions.RegionTable
        table = kind(min_region)
        table.load(rows)
        return table

    def rng(self, *args, **kwargs):
        kind = _core.Rng if self.name == "native" else rng.Rng
        return kind(*args, **kwargs)


@pytest.fixture(params=["python", "native"])
def engine(request):
    return Engine(request.param)


def pytest_generate_tests(metafunc):
    if "vectors" not in metafunc.fixturenames:
        return
    directories = metafunc.config.getoption("--conformance-dir") or [DATA]
    files = [
        path
        for directory in directories
        for path in sorted(directory.glob(metafunc.module.PATTERN))
    ]
    metafunc.parametrize("vectors", files, indirect=True, ids=lambda path: path.stem)


@pytest.fixture
def vectors(request):
    return json.loads(request.param.read_text())

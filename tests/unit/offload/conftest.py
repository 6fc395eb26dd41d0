"""A fake tree of the kernel, and backends that are closed."""

import pytest

from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.kernel.damon import claim
from support.fake_damon import FakeDamon
from support.offload import ATTRS


@pytest.fixture(autouse=True)
def _no_modules(monkeypatch, tmp_path):
    monkeypatch.setattr(claim, "_MODULES", tmp_path / "no modules")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def files(tmp_path):
    fake = FakeDamon(tmp_path / "kdamonds", "6.12", patience_s=0.01)
    fake.regions = [(0, 4096, 3, 5), (4096, 1 << 20, 0, 7)]
    return fake


@pytest.fixture
def open_kdamond(files, folder, tmp_path):
    opened = []

    def make(watched, attrs=ATTRS, schemes=(), **options):
        one = Kdamond(
            watched,
            attrs,
            schemes,
            files=files,
            tracing=tmp_path / "none",
            folder=folder,
            **options,
        )
        opened.append(one)
        return one

    yield make
    for one in opened:
        one.close()

"""Which kdamonds there are to be attached to, by files that look like the kernel's."""

import os

import pytest

from isotherm.backends.kdamond.attached import chosen
from isotherm.cli import main
from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel.damon.running import Running, running

ONE = Running("kdamond.0", 7, "vaddr", (1,), 5000, 100_000)
STAT = Running("damon_stat", 8, "paddr", (), 5000, 100_000)


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_kdamonds_of_sysfs_and_of_modules(tmp_path):
    kdamonds, modules = tmp_path / "kdamonds", tmp_path / "modules"
    context = "0/contexts/0"
    write(
        kdamonds,
        {
            "nr_kdamonds": 2,
            "0/state": "on",
            "0/pid": 77,
            f"{context}/operations": "vaddr",
            f"{context}/targets/0/pid_target": 12,
            f"{context}/targets/1/pid_target": 34,
            f"{context}/monitoring_attrs/intervals/sample_us": 1000,
            f"{context}/monitoring_attrs/intervals/aggr_us": 20_000,
            "1/state": "off",
            "1/pid": -1,
            "1/contexts/0/operations": "paddr",
        },
    )
    parameters = {
        "enabled": "Y",
        "kdamond_pid": 88,
        "sample_interval": 2000,
        "aggr_interval": 9000,
    }
    for name, value in parameters.items():
        write(modules, {f"damon_reclaim/parameters/{name}": value})
    write(modules, {"damon_lru_sort/parameters/enabled": "N"})
    assert running(kdamonds, modules) == (
        Running("kdamond.0", 77, "vaddr", (12, 34), 1000, 20_000),
        Running("damon_reclaim", 88, "paddr", (), 2000, 9000),
    )
    assert running(tmp_path / "none", tmp_path / "none") == ()


def test_which_one_is_meant():
    assert chosen("", [ONE]) == chosen("0", [ONE, STAT]) == chosen("kdamond.0", [ONE, STAT]) == ONE
    assert chosen("damon_stat", [ONE, STAT]) == STAT
    with pytest.raises(BadValueError, match="2 kdamonds run") as found:
        chosen("", [ONE, STAT])
    assert found.value.hint == "say which: kdamond.0, damon_stat"
    with pytest.raises(BadValueError, match="no kdamond '1' runs"):
        chosen("1", [ONE])
    with pytest.raises(NotSupportedError, match="no kdamond runs here"):
        chosen("", [])


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["--attach", "kdamond.0", "-p", "1"], "only one of"),
        (["--attach", "--sample", "1ms"], "has its own targets, intervals"),
        (["--attach", "--ops", "paddr"], "has its own targets, intervals"),
    ],
)
def test_what_cannot_be_asked_of_it(words, phrase, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["record", *words, "-d", "1s"]) == 2
    assert phrase in capsys.readouterr().err
    assert os.listdir(tmp_path) == []  # noqa: PTH208

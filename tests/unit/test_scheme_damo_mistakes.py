"""
Mistakes of damo 3.4.3 that concern schemes and parameters, which must not be repeated.

Numbers are those of the list of mistakes; B4 to B11 and B13 are of records and reports, and are
tested with those.
"""

import json
import os
import pty
import subprocess
import sys
from fractions import Fraction

import pytest

from isotherm.cli import main
from isotherm.model.scheme import Access, Action, Age, FilterType
from isotherm.schemefile import files
from isotherm.schemefile.lines.key_value import format_line, parse_line


@pytest.mark.parametrize("spelling", [one for one in files.SPELLINGS if "kdamonds" not in one])
def test_b1_times_keep_their_unit_on_the_way_through_a_file(spelling):
    """5 s became 1 h 23 min, 10 ms per 1 s became 2 h 46 min per 277 h."""
    file = files.load("pageout age=5s.. quota=500M/s,10ms/s")
    (scheme,) = files.read(files.write(file, spelling), "x.yaml" if spelling == "yaml" else "x")[
        0
    ].schemes
    assert scheme.pattern.age == Age(5_000_000)
    assert (scheme.quota.time_ms, scheme.quota.reset_ms) == (10, 1000)
    assert scheme.quota.size_bytes == 500 * 2**20


def test_b1_a_bare_number_is_in_the_unit_of_its_field():
    text = json.dumps(
        [
            {
                "access_pattern": {"age": {"min": 5_000_000, "max": "max"}},
                "quotas": {"time_ms": 10, "sz_bytes": 524_288_000, "reset_interval_ms": 1000},
            }
        ]
    )
    (scheme,) = files.read(text)[0].schemes
    assert format_line(scheme) == "stat age=5s.. quota=500M/s,10ms/s"


def test_b2_filters_of_different_kinds_together():
    """Two --damos_filter were "invalid arguments"."""
    for filters in ("filter=+anon,!memcg:/foo", "filter=+anon filter=!memcg:/foo"):
        scheme = parse_line(f"stat {filters}")
        kinds = [(one.type, one.allow, one.memcg) for one in scheme.filters]
        assert kinds == [(FilterType.ANON, True, ""), (FilterType.MEMCG, False, "/foo")]
    text = "schemes: [{action: stat, filters: [allow anon, reject memcg /foo]}]"
    assert files.read(text, "x.yaml")[0].schemes == (scheme,)


@pytest.mark.parametrize("spelling", files.SPELLINGS)
def test_b3_each_scheme_keeps_its_own_pattern(spelling):
    """The size and age of the second of ethp landed on the first."""
    lines = "hugepage access=5%.. ; nohugepage size=2M.. access=0% age=7s.."
    name = "x.yaml" if spelling.endswith("yaml") else "x"
    hot, cold = files.read(files.write(files.load(lines), spelling), name)[0].schemes
    assert (hot.action, cold.action) == (Action.HUGEPAGE, Action.NOHUGEPAGE)
    assert (hot.pattern.access, hot.pattern.min_size_bytes, hot.pattern.age) == (
        Access(5), 0, Age(),
    )  # fmt: skip
    assert (cold.pattern.access, cold.pattern.min_size_bytes, cold.pattern.age) == (
        Access(0, 0), 2 * 2**20, Age(7_000_000),
    )  # fmt: skip


@pytest.mark.parametrize("spelling", files.SPELLINGS)
def test_b12_numbers_are_not_rounded(spelling):
    """12345678 bytes became 12345933, 3.3 % became 3 %."""
    name = "x.yaml" if spelling.endswith("yaml") else "x"
    file = files.load("pageout size=12345678.. access=..3.3% quota=12345678/1234567ms")
    for _ in range(3):
        file = files.read(files.write(file, spelling), name)[0]
    (scheme,) = file.schemes
    assert scheme.pattern.min_size_bytes == scheme.quota.size_bytes == 12345678
    assert scheme.pattern.access.high == Fraction(33, 10)
    assert scheme.quota.reset_ms == 1_234_567


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_b14_kdamonds_are_read_from_yaml(tmp_path, suffix, capsys):
    """The help said JSON or YAML, the reader knew JSON only."""
    path = tmp_path / f"x.{suffix}"
    assert main(["scheme", "convert", "--to", "damo-kdamonds-yaml", "lru-sort"]) == 0
    path.write_text(capsys.readouterr().out)
    assert main(["scheme", "convert", "--to", "line", "--schemes-only", str(path)]) == 0
    assert capsys.readouterr().out == "".join(
        format_line(one) + "\n" for one in files.load("lru-sort").schemes
    )


@pytest.mark.parametrize("arguments", [["explain", "prcl"], ["list"], ["check", "prcl", "pagout"]])
def test_b15_no_colour_in_pipes_or_terminals(arguments):
    """Escape sequences went to pipes and files."""
    run = [sys.executable, "-m", "isotherm", "scheme", *arguments]
    piped = subprocess.run(run, capture_output=True, check=False)
    assert piped.stdout
    assert b"\x1b" not in piped.stdout + piped.stderr
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb"):
        shown = subprocess.run(
            run, stdout=follower, stderr=subprocess.PIPE, check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        os.close(follower)
        assert shown.returncode == piped.returncode


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("x.json", '[{"action": "stat",}]', "1:20"),
        ("x.yaml", "kdamonds: [\n", "2:1"),
        ("x.json", '{"kdamonds": [{"contexts": [{"ops": "vaddr", "schemez": []}]}]}', "1:46"),
        ("x.json", '[{"access_pattern": {"age": {"min": "5 parsecs", "max": "max"}}}]', "1:37"),
    ],
)
def test_mistakes_in_a_file_are_not_swallowed(tmp_path, monkeypatch, capsys, name, text, place):
    """Broken JSON was "target 'x.json' is not supported"."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    assert main(["scheme", "explain", name]) == 2
    assert f"isotherm: {name}:{place}: " in capsys.readouterr().err

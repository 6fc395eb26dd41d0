"""Names and paths from outside: what could command a terminal or cut a log line is refused."""

import json

import pytest

from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Destination,
    Filter,
    FilterType,
    Goal,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
)
from isotherm.schemefile import explain, files
from isotherm.schemefile.scheme_file import TargetSpec

NAMES = ["a\x1b[31mb", "a\nb", "a\0b", "a\u2028b", "\u202eab", "a\udc80b", "x" * 300]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_do_not_print_are_refused_in_every_spelling(name, tmp_path, capsys):
    with pytest.raises(BadValueError):
        Scheme(Action.STAT, name=name)
    quoted = json.dumps(name)
    texts = {
        "x": f"stat name={quoted}",
        "x.yaml": f"- action: stat\n  name: {quoted}",
        "x.json": f'[{{"action": "stat", "name": {quoted}}}]',
        "damo.json": f'[{{"action": "stat", "access_pattern": {{}}, "name": {quoted}}}]',
    }
    for file, text in texts.items():
        path = tmp_path / file
        path.write_text(text)
        for command in ("explain", "check", "fmt"):
            assert main(["scheme", command, str(path)]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert all(line.isprintable() for line in err.split("\n"))
            assert max(map(len, err.split("\n"))) < 600


@pytest.mark.parametrize("path", ["/a\nb", "/a\0b", "/\udc80", "/" + "x" * 5000])
def test_paths_that_no_cgroup_has_are_refused(path):
    for make in (
        lambda: Filter(FilterType.MEMCG, memcg=path),
        lambda: Goal(Metric.NODE_MEMCG_USED_BP, 5, memcg=path),
        lambda: TargetSpec(cgroup=path),
    ):
        with pytest.raises(BadValueError) as caught:
            make()
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 200


def test_a_cgroup_with_an_escape_in_its_name_is_shown_escaped():
    scheme = Scheme(
        Action.STAT,
        filters=(Filter(FilterType.MEMCG, memcg="/a\x1b[31m"),),
        quota=Quota(goals=(Goal(Metric.NODE_MEMCG_USED_BP, 5, memcg="/b\x1b[31m"),)),
    )
    sentence = explain.sentence(scheme)
    assert sentence.isprintable()
    assert "/a\\x1b[31m" in sentence
    assert "/b\\x1b[31m" in sentence
    for spelling in ("line", "yaml", "json"):
        text = files.write(files.SchemeFile((scheme,)), spelling)
        assert "\x1b" not in text
        assert files.read(text, f"x.{spelling}")[0].schemes == (scheme,)


MUCH = 10**5000


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scheme(Action.STAT, apply_interval_us=MUCH),
        lambda: Scheme(Action.STAT, max_nr_snapshots=-1),
        lambda: Scheme(Action.MIGRATE_HOT, target_nid=MUCH),
        lambda: Scheme(Action.MIGRATE_HOT, destinations=(Destination(0, MUCH),)),
        lambda: Pattern(MUCH, MUCH),
        lambda: Pattern(access=Access(0, MUCH, "samples")),
        lambda: Pattern(access=Access(MUCH)),
        lambda: Pattern(age=Age(MUCH)),
        lambda: Pattern(age=Age(-1)),
        lambda: Quota(MUCH),
        lambda: Quota(fail_charge=(0, MUCH)),
        lambda: Goal(Metric.USER_INPUT, MUCH),
        lambda: Goal(Metric.USER_INPUT, -MUCH),
        lambda: Goal(Metric.USER_INPUT, 5, current=MUCH),
        lambda: Filter(FilterType.ADDR, bounds=(MUCH, MUCH)),
        lambda: Filter(FilterType.TARGET, target=MUCH),
        lambda: Watermarks("free_mem_rate", MUCH, 3, 2, 1),
        lambda: Watermarks("free_mem_rate", 5, MUCH, 2, 1),
    ],
)
def test_numbers_beyond_64_bits_are_refused_in_one_line(make):
    with pytest.raises(BadValueError) as caught:
        make()
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()

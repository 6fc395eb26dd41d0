"""Hostile scheme files: refused or read in time that grows with their length, and no faster."""

import io
import json
import sys

import pytest
from harness import limited

from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.schemefile import bounds, files

#: CPU time that hangs are told by: with the square of these lengths each text would take hours.
HANGS_S = 60


def bomb(first, levels=25, indent=""):
    """Lists of four aliases of the list before: 4^levels values."""
    lines = [f"{indent}a0: &a0 {first}"]
    lines += [f"{indent}a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 4)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "beside": bomb("[x, x]") + "schemes: []\n",
    "kept of a kdamond": (
        f"kdamonds:\n- x: 1\n{bomb('[x]', indent='  ')}  contexts:\n  - ops: paddr\n"
    ),
    "kept of a context": (
        f"kdamonds:\n- contexts:\n  - ops: paddr\n{bomb('{a: b}', indent='    ')}    targets: []\n"
    ),
    "of mappings": bomb("{x: y}").replace("[", "{k: ").replace(", ", ", k").replace("]", "}"),
    "the schemes": bomb("[stat]") + "schemes: *a24\n",
    "filters": bomb("['!anon']") + "schemes:\n- action: stat\n  filters: *a24\n",
    "merged": "- &a {action: stat}\n- &b {<<: [*a, *a]}\n- &c {<<: [*b, *b]}\n",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_aliases_do_not_multiply(text):
    with limited(HANGS_S), pytest.raises(BadValueError) as caught:
        files.read(text, "x.yaml")
    assert caught.value.exit_code == 2


def test_aliases_are_read_where_they_say_little():
    text = "- action: stat\n  when: &w {age: 5s..}\n- action: cold\n  when: *w\n"
    first, second = files.read(text, "x.yaml")[0].schemes
    assert first.pattern == second.pattern


@pytest.mark.parametrize("depth", [41, 1000, 100_000])
@pytest.mark.parametrize(
    ("open_text", "close", "name"),
    [
        ("[", "]", "x.json"),
        ('{"a":', "}", "x.json"),
        ("[", "]", "x.yaml"),
        ("{a: ", "}", "x.yaml"),
        ("- ", "", "x.yaml"),
        ("? ", "", "x.yaml"),
        ("[{a: ", "}]", "x.yaml"),
    ],
)
def test_deep_nesting_is_refused(open_text, close, name, depth):
    for text in (open_text * depth, open_text * depth + "1" + close * depth):
        with limited(HANGS_S), pytest.raises(BadValueError) as caught:
            files.read(text, name)
        assert caught.value.exit_code == 2


def test_as_deep_as_files_of_damo_are_is_read():
    deep = json.loads('{"a": ' * 20 + "1" + "}" * 20)
    context = {"ops": "paddr", "targets": [], "probes": [deep]}
    file, _ = files.read(json.dumps({"kdamonds": [{"contexts": [context]}]}))
    assert file.context_kept["probes"] == [deep]


LONG = " " * 20_000
FILLINGS = [LONG, "9" * 20_000, "," * 20_000, "..", "é" * 20_000, "[" * 999]
VALUES = {
    "access": "5{}x", "age": "5{}x", "size": "5{}x", "every": "5{}x", "quota": "5{}x/s",
    "goal": "psi:some=5{}x", "filter": "{}anon", "watermark": "free:5{}x/4%/3%", "to": "node{}1",
    "snapshots": "5{}x", "fail_charge": "1{}/x", "weights": "0/{}x/1", "tuner": "{}x",
}  # fmt: skip


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize(
    "filling", [LONG, "9" * 60_000, "," * 60_000, "..", "é" * 60_000, "[" * 999]
)
def test_long_values_take_no_longer_than_their_length(key, filling):
    value = VALUES[key].format(filling)
    in_line = f'stat {key}="{value}"' if key == "filter" else f"stat {key}={value}"
    where = {"goal": "goals", "filter": "filters", "watermark": "watermarks"}.get(key, key)
    inner = [value] if where in ("goals", "filters") else value
    scheme = {"action": "stat", where: inner}
    if key in ("access", "age", "size"):
        scheme = {"action": "stat", "when": {key: value}}
    with limited(HANGS_S):
        for text, name in ((in_line, "x"), (json.dumps([scheme]), "x.yaml")):
            with pytest.raises(BadValueError) as caught:
                files.read(text, name)
            assert len(caught.value.message) < 700
            assert caught.value.message.isprintable()


TEXTS = {
    "a long line": ("stat name=" + "a" * 3_000_000, "x"),
    "too much of all": ("stat\n" * 1_000_000, "x"),
    "mistakes": ("foo bar=1\n" * 20_000, "x"),
    "schemes": ('["stat"' + ',"stat"' * 50_000 + "]", "x.json"),
    "values of JSON": ("[" + "1," * 1_000_000 + "1]", "x.json"),
    "values of YAML": ("[" + "a," * 200_000 + "a]", "x.yaml"),
    "much of YAML": ("# " + "x" * 2_000_000, "x.yaml"),
    "lines of JSON": ("[" + "\n" * 1_000_000 + "1]", "x.json"),
    "a long number": ('[{"apply_interval_us": ' + "1" * 1_000_000 + "}]", "x.json"),
    "an endless number": ('[{"access_pattern": {}, "x": 1e400}]', "x.json"),
    "an endless number of YAML": ("kdamonds: [{refresh_ms: .inf, contexts: []}]", "x.yaml"),
    "a long number of YAML": ("- action: " + "1" * 100_000, "x.yaml"),
    "a long key": ('[{"' + "k" * 1_000_000 + '": 1}]', "x.json"),
    "a tag": (
        '- !!python/object/apply:os.system ["id"]\n- action: !!python/name:os.x ""',
        "x.yaml",
    ),
}


@pytest.mark.parametrize(("text", "name"), TEXTS.values(), ids=TEXTS)
def test_texts_without_end_are_refused(text, name):
    with limited(HANGS_S), pytest.raises(BadValueError) as caught:
        files.read(text, name)
    assert len(caught.value.message) < 700


def test_ten_thousand_schemes_are_read_and_not_one_more():
    assert len(files.read("stat\n" * bounds.MAX_SCHEMES)[0].schemes) == bounds.MAX_SCHEMES
    with pytest.raises(BadValueError, match="schemes"):
        files.read("stat\n" * (bounds.MAX_SCHEMES + 1))


def test_mistakes_are_told_up_to_a_number():
    with pytest.raises(BadValueError) as caught:
        files.read("stat\npagout\n" * 100)
    assert len(caught.value.others) == bounds.MAX_MISTAKES - 1


def test_a_file_without_end_is_not_read_to_its_end(capsys, monkeypatch):
    assert main(["scheme", "check", "/dev/zero"]) == 2
    err = capsys.readouterr().err
    assert "characters" in err
    assert len(err) < 700
    monkeypatch.setattr(sys, "stdin", io.StringIO("stat\n" * 2_000_000))
    assert main(["scheme", "check", "-"]) == 2
    assert "characters" in capsys.readouterr().err


def test_names_of_files_reach_messages_escaped(tmp_path, capsys):
    path = tmp_path / "x\x1b[31my.yaml"
    path.write_text("- pagout\n")
    for arguments in (["check", str(path)], ["explain", str(path)], ["check", f"{path}/none"]):
        assert main(["scheme", *arguments]) == 2
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "\\x1b[31my" in err

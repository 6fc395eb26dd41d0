import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.cli import main
from isotherm.schemefile import files
from isotherm.schemefile.presets import PRESETS
from isotherm.session.here import Feasible, feasible_here

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def run(capsys):
    def run_command(*arguments):
        status = main(["scheme", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run_command


@pytest.fixture
def here(monkeypatch):
    """Have the machine be able to do everything, or what a test says."""
    found = {}

    def feasible(schemes):
        return [found.get(str(one.action), Feasible("")) for one in schemes]

    monkeypatch.setattr("isotherm.cli.scheme.feasible_here", feasible)
    return found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_checked_and_explained(run, name):
    status, out, err = run("check", name)
    assert (status, err) == (0, "")
    assert out.startswith(f"{name}: ")
    status, out, _ = run("explain", name)
    assert status == 0
    assert "action=" in out


def test_check_says_what_this_machine_cannot_do(run, here):
    here["cold"] = Feasible("no such luck")
    here["pageout"] = Feasible("", ("no swap",))
    lines = "cold; pageout; stat"
    status, out, err = run("check", lines)
    assert (status, out) == (0, f"{lines}: 3 schemes, line\n")
    assert f"{lines}: cold: cannot be done on this machine: no such luck\n" in err
    assert f"{lines}: pageout: no swap\n" in err
    status, _, err = run("check", "--here", lines)
    assert status == 4
    assert "1 of the schemes cannot be done here" in err
    assert run("check", "--here", "stat")[0] == 0


def test_this_machine_is_asked():
    scheme, nowhere = files.load("stat; stat goal=free:node999=5% quota=1M/s").schemes
    assert [one.why_not for one in feasible_here([scheme, nowhere])] == [
        "",
        "there is no memory node 999",
    ]


def test_check_tells_all_mistakes(run, tmp_path):
    path = tmp_path / "x"
    path.write_text("pagout\nstat\nstat age=5\n")
    status, out, err = run("check", "prcl", str(path))
    assert status == 2
    assert out == "prcl: 1 scheme, line\n"
    assert f"{path}:1:1: there is no action 'pagout'" in err
    assert f"{path}:3:10: age '5' has no unit" in err
    assert "2 mistakes" in err


def test_check_warns_of_what_matches_nothing(run):
    status, _, err = run("check", "stat access=1%..4%")
    assert status == 0
    assert "matches nothing" in err
    assert run("check", "stat access=1%..4%", "--aggr", "1s")[2] == ""


def test_explain_takes_the_intervals_of_options_or_file(run, tmp_path):
    assert "age=20..4294967295" in run("explain", "stat age=2s..")[1]
    assert "age=2..4294967295" in run("explain", "stat age=2s..", "--aggr", "1s")[1]
    path = tmp_path / "x.yaml"
    path.write_text("monitor: {aggr: 500ms}\nschemes: [stat age=2s..]\n")
    assert "age=4..4294967295" in run("explain", str(path))[1]
    status, _, err = run("explain", "stat", "--sample", "1s")
    assert status == 2
    assert "longer than" in err


@pytest.mark.parametrize("command", [["explain", "ethp"], ["explain", "prcl"]])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_sentences_fit_the_terminal(run, monkeypatch, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = run(*command)
    assert max(map(len, out.splitlines())) <= min(width, 80)


def test_explain_in_json(run):
    document = json.loads(run("explain", "ethp", "--format", "json")[1])
    assert document["schema"] == "isotherm.schemefile/1"
    lines = [one["line"] for one in document["schemes"]]
    assert "\n".join(lines) == PRESETS["ethp"].lines


def test_list_and_schema(run):
    assert [line for line in run("list")[1].split("\n") if line.startswith("prcl: ")]
    rows = run("list", "--format", "jsonl")[1].splitlines()
    assert [json.loads(row)["name"] for row in rows] == list(PRESETS)
    assert json.loads(run("schema")[1])["title"] == "isotherm schemes"


def test_fmt_keeps_comments_of_lines(run, tmp_path):
    path = tmp_path / "x.schemes"
    path.write_text(
        "# mine\n\n  pageout   age=120s..  quota=1024K/1s   # often\n4K max 0 0 10000ms max STAT\n"
    )
    pretty = "# mine\n\npageout age=2m.. quota=1M/s  # often\n4K max min min 10s max stat\n"
    assert run("fmt", str(path)) == (0, pretty, "")
    assert run("fmt", "--check", str(path))[0] == 6
    path.write_text(pretty)
    assert run("fmt", "--check", str(path)) == (0, "", "")


def test_fmt_keeps_the_spelling_and_says_that_comments_go(run, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("# mine\nschemes: [stat age=60s..]\n")
    status, out, err = run("fmt", str(path))
    assert (status, err) == (0, "comments are not kept in this spelling\n")
    assert out == "version: 1\nschemes:\n- action: stat\n  when:\n    age: 1m..\n"


def test_the_standard_input_is_read(run, monkeypatch):
    for command in ("fmt", "check", "explain"):
        monkeypatch.setattr(sys, "stdin", io.StringIO("stat age=60s..\n"))
        assert run(command, "-")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("stat\nstat age=60\n"))
    assert "<stdin>:2:10: " in run("fmt", "-")[2]


@pytest.mark.parametrize("spelling", files.SPELLINGS)
def test_convert(run, tmp_path, spelling):
    line = "pageout size=4K.. access=0% age=2m.. quota=128M/s,10ms/s weights=0/0/1"
    status, out, _ = run("convert", "--to", spelling, line)
    assert status == 0
    path = tmp_path / ("x.yaml" if spelling.endswith("yaml") else "x")
    path.write_text(out)
    assert run("convert", "--to", "line", "--schemes-only", str(path)) == (0, f"{line}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["convert", "--to", "classic", "tier"], "a name"),
        (["convert", "--to", "line", str(DATA / "vaddr.kdamonds")], "targets"),
        (["convert", "--to", "lines", "prcl"], "'lines'"),
        (["cheqk", "prcl"], "Did you mean 'check'"),
        (["explain", "plrc"], "did you mean prcl"),
        (["explain", "no/such/file"], "no scheme file"),
    ],
)
def test_errors_exit_with_2(run, arguments, said):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_lines_are_read_without_yaml():
    """Heavy parts are imported when they are used."""
    code = (
        "import sys; from isotherm.cli import main; main(['scheme', 'explain', 'prcl']);"
        "sys.exit(bool({'yaml', 'numpy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

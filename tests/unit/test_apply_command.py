"""`isotherm apply`: bad input is told with the place, a hint and the documented exit code."""

import os
import subprocess
import sys

import pytest

from isotherm.cli import main


@pytest.fixture
def run(capsys):
    def run_command(*arguments):
        status = main(["apply", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run_command


def free_pid():
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("pagout\n", "1:1", "pageout"),
        ("stat\npageout age=5\n", "2:", "5"),
        ("stat\n\n# note\npageout access=0% quota=lots\n", "4:", "lots"),
    ],
)
def test_a_bad_scheme_names_file_line_and_column(run, tmp_path, text, place, word):
    path = tmp_path / "mine.schemes"
    path.write_text(text)
    status, out, err = run(path, "-p", os.getpid())
    assert (status, out) == (2, "")
    assert f"{path}:{place}" in err
    assert word in err


def test_a_bad_scheme_in_the_argument_itself(run):
    status, out, err = run("pageout sizze=0%", "-p", os.getpid())
    assert (status, out) == (2, "")
    assert "sizze" in err
    assert ":1:" in err


def test_no_such_file(run, tmp_path):
    status, out, _ = run(tmp_path / "none.yaml", "-p", os.getpid())
    assert (status, out) == (2, "")


def test_the_scheme_is_told_of_before_the_target(run):
    status, _, err = run("pagout", "-p", free_pid())
    assert status == 2
    assert "pagout" in err


def test_unknown_pid(run):
    pid = free_pid()
    status, out, err = run("stat", "-p", pid)
    assert (status, out) == (3, "")
    assert str(pid) in err
    assert "hint:" in err


def test_no_process_of_that_name(run):
    status, out, err = run("stat", "-n", "no-such-name")
    assert (status, out) == (3, "")
    assert "no-such-name" in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-p", "1", "--ops", "paddr"], "belongs to no process"),
        (["-p", "1", "--", "true"], "only one"),
        ([], "hint:"),
        (["-p", "one"], "not a pid"),
        (["-p", ","], "not a pid"),
        (["-p", "-3"], "not a pid"),
        (["-p", "1", "-d", "soon"], "soon"),
        (["-p", "1", "-d", "0s"], "0 seconds"),
        (["-p", "1", "-d", "-5s"], "-5s"),
        (["-p", "1", "--overhead", "lots"], "lots"),
        (["-p", "1", "--guard", "psi"], "guard"),
        (["-p", "1", "--guard", "psi=10ms"], "per second"),
        (["-p", "1", "--guard", "cmd=/no/such/command"], "no such command"),
        (["-p", "1", "--guard", "cmd='true"], "quotation"),
        (["-p", "1", "--guard", "luck=1/s"], "luck"),
        (["-p", "1", "--format", "xml"], "xml"),
        (["-p", "1", "--backend", "nonsense"], "nonsense"),
        (["-p", "1", "--sample", "0"], "0"),
        (["-p", "1", "--regions", "1000..10"], "1000"),
        (["-p", "1", "--no-such-option"], "--no-such-option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_nonsense_is_refused(run, arguments, word):
    status, out, err = run("stat", *arguments)
    assert (status, out) == (2, "")
    assert word in err


@pytest.mark.parametrize(
    "options",
    [["--guard", "psi"], ["-d", "soon"], ["--sample", "0"], ["--log", "/no/such/log"]],
    ids=" ".join,
)
def test_nothing_is_started_that_cannot_be_watched(run, tmp_path, options):
    marker = tmp_path / "started"
    status, out, _ = run("stat", *options, "--", "touch", marker)
    assert status in {1, 2}
    assert out == ""
    assert not marker.exists()


def test_a_log_that_cannot_be_written(run):
    status, out, err = run("stat", "-p", os.getpid(), "--log", "/no/such/log")
    assert (status, out) == (1, "")
    assert "/no/such/log" in err
    assert "hint:" in err


#: Imported as root, so that the package needs not be readable for nobody.
AS_NOBODY = """
import difflib, os, sys
import isotherm.cli, isotherm.cli.apply
import isotherm.backends.bpf.look, isotherm.backends.clear_refs.look
os.chdir("/")
os.setgid(65534); os.setuid(65534)
raise SystemExit(isotherm.cli.main(["apply", *sys.argv[1:]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("scheme", ["stat", "pageout access=0%"])
def test_not_permitted_on_the_processes_of_others(scheme, tmp_path):
    with subprocess.Popen(["sleep", "60"]) as target:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, scheme, "-p", str(target.pid)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        target.kill()
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr

"""Ctrl-C at every moment of a command: no traceback, and what commands clean up is cleaned up."""

import signal
import subprocess
import sys

import pytest

#: Interrupts itself when a module is looked for; then what the installed command does.
PROGRAM = """
import importlib.metadata, os, runpy, signal, sys
at, way, *sys.argv[1:] = sys.argv[1:]
def hook(event, args):
    if event == "import" and args[0] == at:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
if way == "module":
    runpy.run_module("isotherm", run_name="__main__")
(script,) = importlib.metadata.entry_points(group="console_scripts", name="isotherm")
sys.exit(script.load()())
"""


@pytest.fixture(autouse=True)
def _wants_interrupts():
    """Tests may run in the background, where the shell lets nobody have them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(at, *args, way="script", **options):
    command = [sys.executable, "-c", PROGRAM, at, way, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("way", ["script", "module"])
@pytest.mark.parametrize(
    "at", ["isotherm.errors", "click", "click.core", "isotherm.terminal.output"]
)
def test_an_interrupt_while_it_loads_ends_it_quietly(at, way):
    ended = run(at, "--help", way=way)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_an_interrupt_of_a_command_is_its_exit_status():
    ended = run("isotherm.schemefile", "scheme", "explain", "prcl")
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (130, "", "")


def test_who_does_not_want_interrupts_has_none():
    """As the shell does for what a script runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ended = run("click", "--help")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "isotherm doctor" in ended.stdout


def test_other_programs_keep_their_handler():
    program = (
        "import signal, isotherm, isotherm.cli; isotherm.cli.main(['--help']);"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)

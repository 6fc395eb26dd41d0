"""Shell completion, by click's own mechanism: in a real bash, and as zsh and fish ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.cli import COMMANDS

BIN = Path(sys.executable).parent
ISOTHERM = BIN / "isotherm"
ASK = """
eval "$(_ISOTHERM_COMPLETE=bash_source isotherm)"
ask() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _isotherm_completion isotherm "${COMP_WORDS[COMP_CWORD]}" ""
    echo "${COMPREPLY[*]}"
}
ask isotherm re
ask isotherm report he
ask isotherm report --fail
ask isotherm record --rot
ask isotherm scheme ex
"""


def env(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def complete(shell: str, words: str, incomplete: str) -> str:
    """What a shell is told: zsh numbers the word at the cursor, fish hands it over."""
    line = f"{words} {incomplete}"
    at = str(len(words.split())) if shell == "zsh" else incomplete
    asked = {"_ISOTHERM_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": at}
    done = subprocess.run(
        [ISOTHERM], env=env(**asked), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_views_and_options(tmp_path):
    done = subprocess.run(
        ["bash", "-c", ASK], env=env(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "record report", "heatmap", "--fail-if", "--rotate", "explain",
    ]  # fmt: skip


def test_zsh_and_fish_are_told_what_commands_do():
    assert complete("zsh", "isotherm", "wss") == f"plain\nwss\n{COMMANDS['wss']}\n"
    assert complete("fish", "isotherm", "wss").startswith("plain,wss\t") or complete(
        "fish", "isotherm", "wss"
    ).startswith(f"plain,wss\n{COMMANDS['wss']}")


def test_a_file_is_left_to_the_shell():
    assert complete("zsh", "isotherm report wss", "ru").splitlines()[:2] == ["file", "ru"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell):
    done = subprocess.run(
        [ISOTHERM], env=env(_ISOTHERM_COMPLETE=f"{shell}_source"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_ISOTHERM_COMPLETE" in done.stdout

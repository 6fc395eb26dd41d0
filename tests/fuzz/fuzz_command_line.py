"""Command lines: one clear line and a documented exit code, or a session that would have begun."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path
from unittest import mock

from harness import NASTY, Fuzzer, main, mutate

import isotherm.cli
import isotherm.cli.agent
import isotherm.cli.apply
import isotherm.cli.top
import isotherm.cli.watching
from isotherm.session.options import Options

#: Between two words: no word of a command line holds it, as the kernel ends words with it.
BETWEEN = b"\0"
#: 0 ok, 1 failure, 2 usage, 3 gone, 4 not permitted or supported, 5 damaged, 6 threshold.
CODES = range(7)
HERE = tempfile.mkdtemp(prefix="isotherm-fuzz-")

EXAMPLES = [
    line.encode().replace(b" ", BETWEEN)
    for line in (
        "record -p 1 -d 10s --sample 5ms --aggr 100ms -o x",
        "record -p 12,34 56 78 --regions 10..1000 --overhead 1% --seed 7 --force -o y -- true",
        "record -G /sys/fs/cgroup/app --update 1s --no-children --backend bpf --policy damon",
        "record -n sh --ops fvaddr --range 0x1000-0x2000 --profile 6.12",
        "record -a --range 4K-8K",
        "record --unit a/b --wait",
        "record --container '' -d 1s",
        "wss --pod a/b/c --wait -G '[' -u nobody",
        "record -n '/(/' -G memory:/../x",
        "apply prcl -p 1 --dry-run --guard psi=10ms/s --format json --plain",
        "apply ethp --pid=1,2 --log x -d 1m30s",
        "apply stat -n init -- sh -c true",
        "report x heatmap --width 60 --height 5 --target 3 --at 5s",
        "report wss --min-access 5% --format csv",
        "report html --time 1s..2s --address 0x1000..2000 --hottest 4M --force",
        "report heatmap -o y.png --scale linear --addresses up",
        "report - info",
        "scheme explain prcl",
        "scheme check stat --format jsonl",
        "doctor -p 1 --backend auto --format json",
        "demo --seconds 0.5 --plain --backend none",
        "agent x --check --listen 127.0.0.1:0 --run-folder .",
        "ctl status --socket x --format json",
        "--version",
        "--help",
    )
]
WORDS = [word for line in EXAMPLES for word in line.split(BETWEEN)] + [
    b"-", b"--", b"", b"1e400", b"1e9999999999", b"nan", b"inf", b"-1", b"9" * 5000,
    b"\n", b"\xff", "５".encode(), b"a" * 300, b"../..", b"/dev/null", b"\x1b[31m", b"0", b"0s",
    b"5", b"--pid=",
]  # fmt: skip


class _StartedError(Exception):
    """Everything made sense: a session would have been started."""


def _start(options):
    assert isinstance(options, Options)
    raise _StartedError


def generate(rng):
    if rng.random() < 0.1:
        return BETWEEN.join(rng.choice(WORDS) for _ in range(rng.randint(0, 8)))
    words = rng.choice(EXAMPLES).split(BETWEEN)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(words))
        choice = rng.random()
        if choice < 0.4:
            words[at] = rng.choice(WORDS)
        elif choice < 0.6:
            words.insert(at, rng.choice(WORDS))
        elif choice < 0.7 and len(words) > 1:
            del words[at]
        elif choice < 0.8:
            words[at] = rng.choice(NASTY).replace(BETWEEN, b"?")
        else:
            words[at] = mutate(rng, words[at], rng.choice(WORDS)).replace(BETWEEN, b"?")
    return BETWEEN.join(words)


def check(data):
    words = [os.fsdecode(word) for word in data.split(BETWEEN)] if data else []
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch("isotherm.cli.watching.start", _start),
        mock.patch("isotherm.cli.top.start", _start),
        mock.patch("isotherm.session.applying.start", _start),
        mock.patch("isotherm.cli.demo.monitor", _start_demo),
        mock.patch("isotherm.cli.agent.become", _start_agent),
        mock.patch.dict(os.environ, {"COLUMNS": "80"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(HERE),
    ):
        try:
            status = isotherm.cli.main(words)
        except _StartedError:
            return "started"
        finally:
            made = os.listdir()  # noqa: PTH208
            for name in made:
                Path(name).unlink()
    assert status in CODES, status
    assert set(made) <= set(words), f"created what nobody asked for: {made}"
    said = err.getvalue()
    if status:
        assert "Traceback" not in said
        assert said or out.getvalue(), "a failure without a word"
    assert all(line.isprintable() for line in said.splitlines()), said
    return f"exit {status}"


def _start_demo(**asked):
    Options.of(**asked)
    raise _StartedError


def _start_agent(program):
    assert len(program) == 7
    raise _StartedError


FUZZER = Fuzzer("command_line", generate, check, cpu_s=5.0)

if __name__ == "__main__":
    main(FUZZER)

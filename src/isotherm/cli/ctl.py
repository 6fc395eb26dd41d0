"""`isotherm ctl`: asks a running agent what it does, and what it knows of each group."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from isotherm.agent.control import COMMANDS, ask
from isotherm.kernel.undo import state_path
from isotherm.report.output import json_text
from isotherm.terminal.output import tell
from isotherm.terminal.style import style_of, width_of
from isotherm.terminal.table import Column, names, table
from isotherm.units import format_duration, format_size

FORMATS = ("table", "json")


@click.command(
    epilog="""\b
Examples:
  sudo isotherm ctl status
  sudo isotherm ctl targets
  sudo isotherm ctl targets --format json | jq '.targets[0].labels'"""
)
@click.argument("question", type=click.Choice(COMMANDS))
@click.option(
    "--socket", type=click.Path(path_type=Path),
    help="Of the agent [ctl.sock in /run/isotherm].",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def command(*, question: str, socket: Path | None, form: str) -> int:
    """
    Ask the agent: status is what it does and costs, targets what it knows of each group.

    Root may ask, the user who runs the agent, and the members of the group of its configuration.
    """
    answer = ask(socket or state_path() / "ctl.sock", question)
    if form == "json":
        sys.stdout.write(json_text(answer, style_of(sys.stdout)))
        return 0
    told = answer.get(question)
    if question == "targets":
        lines = _groups(told if isinstance(told, list) else [], width_of(sys.stdout))
    else:
        lines = _status(told if isinstance(told, dict) else {})
    tell(*lines, stream=sys.stdout)
    return 0


def _status(told: dict[str, Any]) -> list[str]:
    width = max(map(len, told), default=0)
    return [f"{name:{width}}  {_text(value)}" for name, value in told.items()]


def _text(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _groups(told: list[dict[str, Any]], width: int) -> list[str]:
    if not told:
        return ["nothing is known yet: the first sum is about to be made"]
    windows = list(dict.fromkeys(key for one in told for key in one["used_bytes"]))
    columns = [
        names("group"),
        Column("procs", rank=2),
        Column("resident"),
        Column("unknown", rank=1),
        *(Column(f"used {_window(key)}", rank=3 + i) for i, key in enumerate(windows)),
    ]
    rows = [
        [
            "/".join(one["labels"].values()),
            str(one["processes"]),
            format_size(one["resident_bytes"]),
            format_size(one["unknown_bytes"]),
            *(_size(one["used_bytes"].get(key)) for key in windows),
        ]
        for one in told
    ]
    return table(columns, rows, width)


def _size(size: int | None) -> str:
    return "-" if size is None else format_size(size)


def _window(key: str) -> str:
    return format_duration(int(key.removesuffix("ms")) * 1_000_000)

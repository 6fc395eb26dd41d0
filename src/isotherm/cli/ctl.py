"""`isotherm ctl`: asks a running agent what it does and knows, and, as root, to do something."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isotherm.agent.control import ask
from isotherm.cli import OrderedGroup
from isotherm.cli.options import length_of
from isotherm.cli.output_file import check_output, new_file
from isotherm.errors import BadValueError, IsothermError
from isotherm.kernel.undo import state_path
from isotherm.recording.format import SUFFIX
from isotherm.report.agent import groups_table, schemes_lines, status_lines
from isotherm.report.output import json_text
from isotherm.schemefile.documents.document import encode_document
from isotherm.schemefile.files import load, only_schemes
from isotherm.schemefile.scheme_file import SchemeFile
from isotherm.terminal.output import tell
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import can_redraw, style_of, width_of
from isotherm.units import duration_ns, format_size

FORMATS = ("table", "json")
COMMANDS = ("status", "targets", "schemes", "commit", "record", "top")
#: Between two looks whether a recording is over.
_LOOK_S = 0.2
_COPIED = 1 << 20

_SOCKET = click.option(
    "--socket", type=click.Path(path_type=Path),
    help="Of the agent [ctl.sock in /run/isotherm].",
)  # fmt: skip
_FORMAT = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip


class Commands(OrderedGroup):
    """The commands of this group."""

    names = COMMANDS


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  sudo isotherm ctl status
  sudo isotherm ctl targets --format json | jq '.targets[0].labels'
  sudo isotherm ctl commit 'pageout access=0% age=1h.. quota=16M/s'
  sudo isotherm ctl record --for 60s -o now.isotherm""",
)
def command() -> None:
    """
    Ask the agent what it does and knows; as root, change its schemes, or record for a while.

    Root may ask, the user who runs the agent, and the members of the group of its configuration.
    """


@command.command()
@_SOCKET
@_FORMAT
def status(*, socket: Path | None, form: str) -> int:
    """What the agent does, and what it costs."""
    return _show("status", socket, form, status_lines)


@command.command()
@_SOCKET
@_FORMAT
def targets(*, socket: Path | None, form: str) -> int:
    """What is known of each group, those with most in memory first."""
    return _show("targets", socket, form, lambda told: groups_table(told, width_of(sys.stdout)))


@command.command()
@_SOCKET
@_FORMAT
def schemes(*, socket: Path | None, form: str) -> int:
    """The schemes in force, and what came of each."""
    return _show("schemes", socket, form, schemes_lines)


@command.command()
@click.argument("source", metavar="SCHEMES")
@_SOCKET
@_FORMAT
def commit(*, source: str, socket: Path | None, form: str) -> int:
    """
    Go on with SCHEMES (as for `isotherm apply`; none: no scheme), until the configuration is read.

    Whether they act is for the configuration to say (apply: true); root alone may do this.
    """
    file = SchemeFile() if source == "none" else only_schemes(load(source))
    document = encode_document(file)
    return _print(ask(_path(socket), "commit", document), "commit", form, schemes_lines)


@command.command()
@click.option("--for", "length", metavar="TIME", default="60s", show_default=True,
              help="How long; it ends with the first window after that.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path),
              default=Path(f"agent{SUFFIX}"), show_default=True,
              help="The recording to be written.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a recording that is there.")
@_SOCKET
def record(*, length: str, output: Path, force: bool, socket: Path | None) -> int:
    """
    Record all groups for a while, by the agent, at no more than it costs anyway.

    64 MiB at most. Only root may do this.
    """
    check_output(output, force=force, example="isotherm ctl record -o FILE")
    seconds = (length_of(length) or 0) / 1e9
    path = _path(socket)
    made = ask(path, "record", {"seconds": seconds}, trusted=True)["record"]
    tell(f"the agent records for {length}; it goes on if you interrupt this")
    while not made["over"]:
        time.sleep(_LOOK_S)
        told = ask(path, "recording", trusted=True)["recording"]
        if not isinstance(told, dict) or told["number"] != made["number"]:
            raise IsothermError("the agent was started anew meanwhile, or records anew")
        made = told
    if made["failed"]:
        raise IsothermError(f"the agent could not record: {made['failed']}")
    size = _copy(Path(made["path"]), output, force=force)
    tell(f"saved {output} ({format_size(size)}, {made['snapshots']} snapshots).")
    return 0


@command.command()
@click.option("--every", metavar="TIME", default="2s", show_default=True,
              help="Between two looks.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N looks.")
@_SOCKET
def top(*, every: str, count: int | None, socket: Path | None) -> int:
    """The groups that use most, again and again, until ctrl-c or the agent ends."""
    seconds = duration_ns(every) / 1e9
    if not seconds:
        raise BadValueError("looks need some time between them", hint="--every 2s")
    live = can_redraw(sys.stdout)
    try:
        with Screen(live=live) as screen:
            _looks(_path(socket), seconds, count, screen, live=live)
    except KeyboardInterrupt:
        return 0
    return 0


def _looks(path: Path, seconds: float, count: int | None, screen: Screen, *, live: bool) -> None:
    left = count
    while True:
        told = sorted(ask(path, "targets")["targets"], key=_used, reverse=True)
        lines = groups_table(told, width_of(sys.stdout))
        (screen.draw if live else screen.last)(lines)
        left = None if left is None else left - 1
        if left == 0:
            return
        time.sleep(seconds)


def _used(one: dict[str, Any]) -> tuple[int, int]:
    """Return what a group used in the shortest window that is told, then what it has."""
    used = list(one["used_bytes"].values())
    return used[0] if used else 0, one["resident_bytes"]


def _path(socket: Path | None) -> Path:
    return socket or state_path() / "ctl.sock"


def _show(question: str, socket: Path | None, form: str, lines: Callable[[Any], list[str]]) -> int:
    return _print(ask(_path(socket), question), question, form, lines)


def _print(
    answer: dict[str, Any], question: str, form: str, lines: Callable[[Any], list[str]]
) -> int:
    if form == "json":
        sys.stdout.write(json_text(answer, style_of(sys.stdout)))
    else:
        tell(*lines(answer.get(question)), stream=sys.stdout)
    return 0


def _copy(source: Path, output: Path, *, force: bool) -> int:
    """Copy a file of the agent; return how long it is."""
    try:
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as err:
        raise IsothermError(f"cannot read {source}: {err.strerror}") from None
    size = 0
    with os.fdopen(reading, "rb") as file, new_file(output, force=force) as out:
        while data := file.read(_COPIED):
            out.write(data)
            size += len(data)
    return size

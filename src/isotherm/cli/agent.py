"""`isotherm agent`: watches the memory of every group of the machine, until it is told to end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from isotherm.agent.config import Settings, checked_listen
from isotherm.agent.reading import read
from isotherm.agent.unit import unit
from isotherm.terminal.output import tell
from isotherm.units import format_duration, format_size


@click.command(
    epilog="""\b
Examples:
  sudo isotherm agent
  sudo isotherm agent /etc/isotherm/agent.yaml
  isotherm agent /etc/isotherm/agent.yaml --check
  sudo isotherm agent --listen 127.0.0.1:9753
  isotherm agent --unit > isotherm-agent.service
Then: sudo isotherm ctl status""",
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only say whether CONFIG is right, and what it asks.")
@click.option(
    "--unit", "as_unit", is_flag=True,
    help="Only print a systemd unit that runs this, with CONFIG.",
)  # fmt: skip
@click.option(
    "--listen", metavar="WHERE",
    help="Tell metrics at unix:PATH or 127.0.0.1:PORT [unix:/run/isotherm/metrics.sock].",
)  # fmt: skip
@click.option(
    "--run-folder", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Lock and sockets; agents that share it refuse each other [/run/isotherm].",
)  # fmt: skip
def command(
    *,
    config: Path | None,
    check: bool,
    as_unit: bool,
    listen: str | None,
    run_folder: Path | None,
) -> None:
    """
    Watch the memory of all containers, units and cgroups, and tell metrics of each.

    CONFIG is a scheme document with targets and a part `agent`. SIGHUP reads it again, SIGTERM
    ends in good order. Schemes only tell what they would do, unless it says `apply: true`.
    """
    settings = Settings() if config is None else read(config)
    if listen is not None:
        checked_listen(listen)
    if check:
        tell(*_said(settings), stream=sys.stdout)
        return
    if as_unit:
        sys.stdout.write(unit(None if config is None else config.absolute()))
        return
    # This process becomes the agent's, without what the command line needs of memory.
    words = (
        "" if config is None else str(config.absolute()),
        listen or "",
        "" if run_folder is None else str(run_folder.absolute()),
    )
    sys.stdout.flush()
    program = [sys.executable, "-P", "-m", "isotherm.agent", *words]
    become(program)


def become(program: list[str]) -> NoReturn:
    """Go on as another program."""
    os.execv(program[0], program)  # noqa: S606


def _said(settings: Settings) -> list[str]:
    ring = settings.ring
    who = ", ".join(f"{kind} {text}".strip() for kind, text in settings.targets)
    lines = [
        f"targets  {who}",
        f"budget   {settings.overhead:.2%} of one CPU",
        f"metrics  {settings.listen or 'a socket in the run folder'}, {settings.groups} groups",
        "ring     none"
        if ring is None
        else f"ring     {ring.folder}, {format_duration(ring.for_ns)}, {format_size(ring.size)}",
    ]
    how = "applied" if settings.apply else "dry run"
    return [*lines, *(f"scheme   {scheme.title} ({how})" for scheme in settings.schemes)]

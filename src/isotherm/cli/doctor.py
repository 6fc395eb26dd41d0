"""`isotherm doctor`: what this kernel offers, which backend is chosen and why not the others."""

from __future__ import annotations

import json
import sys

import click

from isotherm.backends.bpf.self_test import self_test
from isotherm.backends.choose import BACKENDS, Choice, choose, look_at
from isotherm.errors import IsothermError
from isotherm.kernel.features import probe


@click.command(
    epilog="""\b
Examples:
  isotherm doctor
  isotherm doctor -p 4242
  isotherm doctor --format json | jq .choice.backend"""
)
@click.option("-p", "--pid", type=int, help="Say it for this process.")
@click.option(
    "--backend",
    default="auto",
    metavar="NAME",
    help=f"Ask for a backend: auto, {', '.join(BACKENDS)}.",
)
@click.option(
    "--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(*, pid: int | None, backend: str, output: str) -> int:
    """
    Show what this kernel offers, which backend is chosen and why not the others.

    Works without root, and then says what root would add. Exit code 4 if no backend can be used.
    """
    from isotherm.report.doctor import Diagnosis, as_json, print_table

    support = probe()
    target = look_at([pid]) if pid is not None else None
    choice: Choice | None = None
    error: IsothermError | None = None
    try:
        choice = choose(support, backend, target)
    except IsothermError as err:
        error = err
    found = Diagnosis(
        support,
        choice,
        self_test(choice.backend) if choice else None,
        error.message if error else "",
        error.hint if error else "",
    )
    if output == "json":
        json.dump(as_json(found), sys.stdout, indent=2)
        print()
    else:
        from rich.console import Console

        print_table(found, Console(highlight=False))
    return error.exit_code if error else 0

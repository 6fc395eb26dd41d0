"""`isotherm doctor`: what this kernel offers, which backend is chosen and why not the others."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace

import click

from isotherm.backends import registry
from isotherm.backends.choose import AUTO, Choice, choose, try_out
from isotherm.backends.choose_policy import policy_for
from isotherm.backends.opening import Wish
from isotherm.backends.self_test import SelfTest
from isotherm.core.policies import DEFAULT
from isotherm.errors import IsothermError
from isotherm.kernel.damon.running import running
from isotherm.kernel.features import probe
from isotherm.recording.calibration import kept_digest
from isotherm.targets.target_set import ProcessTargets, TargetFacts

#: Of one CPU, by default.
_SHARE = 0.01


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
    default=AUTO,
    metavar="NAME",
    help=f"Ask for a backend: auto, {', '.join(registry.names())}.",
)
@click.option(
    "--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(*, pid: int | None, backend: str, output: str) -> int:
    """
    Show what this kernel offers, which backend is chosen and why not the others.

    Works without root, and then says what root would add. Exit code 4 if no backend can be used.
    """
    from isotherm.report.doctor import Diagnosis, report_diagnosis
    from isotherm.terminal.style import style_of, width_of

    support = probe()
    target = None
    if pid is not None:
        with closing(ProcessTargets([pid], follow_children=False)) as targets:
            target = targets.facts()
    choice: Choice | None = None
    error: IsothermError | None = None
    tested: SelfTest | None = None
    failed: dict[str, str] = {}
    while True:
        try:
            choice = choose(support, backend, target, failed=failed)
        except IsothermError as err:
            choice, error = None, err
            break
        tested = try_out(choice.backend)
        if backend != AUTO or tested is None or not tested.problem:
            break
        failed[choice.backend] = f"its self-test fails: {tested.problem}"
    found = Diagnosis(
        support,
        choice and _with_policy(choice, target or TargetFacts()),
        tested if choice else None,
        error.message if error else "",
        error.hint if error else "",
        running(),
        kept_digest(choice.backend, DEFAULT) if choice else None,
    )
    report = report_diagnosis(found, width_of(sys.stdout), style_of(sys.stdout))
    report.write(output)
    return error.exit_code if error else 0


def _with_policy(choice: Choice, target: TargetFacts) -> Choice:
    """Add what --policy auto would take."""
    kind = registry.kind_of(choice.backend)
    chosen = policy_for(kind, Wish(policy=AUTO), target, overhead=_SHARE)
    return replace(choice, policy=chosen.name, policy_reason=chosen.reason)

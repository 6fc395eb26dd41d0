"""
Composition root: from what was asked to a session at work.

Asks for facts (`kernel.features.probe`), builds the `TargetSet`, and lets `backends.choose` decide
and open.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Unpack

from isotherm.backends import registry
from isotherm.backends.choose import open_best
from isotherm.backends.opening import Opening, Wish, open_monitor
from isotherm.clock import SystemClock
from isotherm.core.act import Act, CountOnly
from isotherm.core.look import Look
from isotherm.core.page_map import PageMap
from isotherm.core.policies import AUTO, DEFAULT, MAP
from isotherm.errors import (
    BadValueError,
    CommandEndedError,
    NotPermittedError,
    TargetGoneError,
    shown,
)
from isotherm.kernel.features import probe
from isotherm.kernel.huge_pages import off_for_children
from isotherm.model.target import Target
from isotherm.session.guard import guard_of
from isotherm.session.metrics import SystemMetrics
from isotherm.session.options import Keywords, Options
from isotherm.session.session import MonitorSession
from isotherm.targets.physical import PhysicalMemory
from isotherm.targets.sources import PidSource
from isotherm.targets.target_set import ProcessTargets, TargetSet


def monitor(**asked: Unpack[Keywords]) -> MonitorSession:
    """
    Start to monitor processes, a command, physical memory, or an own operations set.

    asked: see `session.options.Keywords`.

    Raises `BadValueError`, `TargetGoneError`, `NotPermittedError` or `NotSupportedError`.
    """
    return start(Options.of(**asked))


def start(options: Options) -> MonitorSession:
    """Start the session that `options` describe; raises as `monitor`."""
    if options.look is not None:
        return _start_own(options)
    if options.attach is not None:
        return _attach(options.attach)
    if not options.command:
        return _start(options, None)
    with off_for_children() if options.no_thp else nullcontext():
        process = start_command(options.command)
    try:
        return _start(options, process)
    except BaseException as err:
        if isinstance(err, TargetGoneError):
            status = process.wait()
            what = shown(shlex.join(options.command))
            message = f"{what} ended with status {status} before it could be monitored"
            raise CommandEndedError(message, status) from err
        process.kill()
        process.wait()
        raise


def _start_own(options: Options) -> MonitorSession:
    """Monitor over a look of the caller's, in its own time."""
    look = options.look
    assert look is not None  # noqa: S101 - the caller's check
    backend = open_monitor(
        look,
        look if isinstance(look, Act) else CountOnly(look.name),
        wish=_own_wish(options),
        metrics=SystemMetrics(),
        seed=options.seed,
        clock=options.clock,
        share=options.overhead,
        schemes=options.schemes,
        later=options.schemes_later,
        dry_run=options.dry_run,
        observe=options.observe,
        page_map=_own_map(look, options),
    )
    return MonitorSession(
        backend,
        clock=options.clock,
        guard=guard_of(options.guard),
        schemes=options.schemes,
        operations=None,
    )


def _own_wish(options: Options) -> Wish:
    """Nothing is known of an own look that would speak for one policy or another."""
    auto = options.wish.policy == AUTO
    return replace(options.wish, policy=DEFAULT) if auto else options.wish


def _attach(wish: str) -> MonitorSession:
    """Look at monitoring that somebody else runs."""
    backend = registry.attach(wish)
    targets = [found.target for found in backend.targets]
    processes = any(target.pid is not None for target in targets)
    return MonitorSession(backend, targets=targets, operations="vaddr" if processes else "paddr")


def _own_map(look: Look, options: Options) -> PageMap | None:
    """Return a map over the bulk face of a look, if it is asked for and there is one."""
    bulk = look.bulk() if options.wish.policy == MAP else None
    if bulk is None:
        return None
    from isotherm.core.native_map import NativePageMap

    return NativePageMap(bulk, options.clock or SystemClock(), share=options.overhead)


def _start(options: Options, process: subprocess.Popen[bytes] | None) -> MonitorSession:
    members = _target_set(options, process)
    try:
        opening = Opening(
            targets=members,
            metrics=SystemMetrics(),
            wish=options.wish,
            pages=options.pages,
            seed=options.seed,
            overhead=options.overhead,
            schemes=options.schemes,
            later=options.schemes_later,
            guarded=options.guard is not None,
            dry_run=options.dry_run,
            observe=options.observe,
            force_guests=options.force_guests,
        )
        choice, backend = open_best(probe(), options.backend, opening)
        return MonitorSession(
            backend,
            members=members,
            targets=_first_targets(members),
            choice=choice,
            command=process,
            guard=guard_of(options.guard),
            schemes=options.schemes,
            operations=options.scope.operations,
        )
    except BaseException:
        members.close()
        raise


def _target_set(options: Options, process: subprocess.Popen[bytes] | None) -> TargetSet:
    if options.scope.operations == "paddr":
        return PhysicalMemory(options.scope.ranges)
    members = ProcessTargets(
        options.sources if process is None else (PidSource([process.pid]),),
        follow_children=options.children,
        scope=options.scope,
        force_guests=options.force_guests,
        wait=options.wait,
    )
    if options.scope.ranges and len(members.members) > 1:
        members.close()
        raise BadValueError(
            f"ranges are of one process, and these are {len(members.members)}",
            hint="name one by its pid",
        )
    return members


def _first_targets(members: TargetSet) -> list[Target]:
    if isinstance(members, ProcessTargets):
        return [Target(one.target_id, one.name, one.pid) for one in members.members]
    return [ranges.target for ranges in members.targets(1)]


def start_command(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command to monitor; raises `TargetGoneError` or `NotPermittedError`."""
    name = shown(command[0])
    try:
        return subprocess.Popen(list(command))
    except FileNotFoundError:
        raise TargetGoneError(
            f"cannot run {name}: no such program", hint="is it on the PATH?"
        ) from None
    except PermissionError:
        raise NotPermittedError(f"cannot run {name}: permission denied") from None
    except ValueError:  # a NUL
        raise BadValueError(f"cannot run {name}: that is no name of a program") from None
    except OSError as err:
        raise TargetGoneError(f"cannot run {name}: {err.strerror}") from None

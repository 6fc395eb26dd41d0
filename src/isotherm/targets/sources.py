"""
Who is meant: sources of processes, one kind each, in a registry.

A source finds pids, at the start and, where it lives, again and again. The command line makes an
option of every registered kind, and `isotherm.monitor` takes sources as they are.
"""

from __future__ import annotations

from isotherm.targets.cgroups import CgroupSource
from isotherm.targets.containers import ContainerSource, PodSource, UnitSource
from isotherm.targets.everybody import EverybodySource
from isotherm.targets.names import NameSource, UserSource
from isotherm.targets.pids import PidSource
from isotherm.targets.source import TargetSource

__all__ = [
    "CgroupSource",
    "ContainerSource",
    "EverybodySource",
    "NameSource",
    "PidSource",
    "PodSource",
    "TargetSource",
    "UnitSource",
    "UserSource",
    "kinds",
    "register",
    "unregister",
]

_KINDS: dict[str, type[TargetSource]] = {}


def register(kind: type[TargetSource]) -> None:
    """Make a kind of source known, to the command line as well; replaces one of the same name."""
    _KINDS[kind.kind] = kind


def unregister(kind: str) -> None:
    """Forget a kind of source; of no effect if there is none."""
    _KINDS.pop(kind, None)


def kinds() -> tuple[type[TargetSource], ...]:
    """Return the registered kinds, in the order in which they came."""
    return tuple(_KINDS.values())


for _kind in (
    PidSource,
    NameSource,
    UserSource,
    CgroupSource,
    UnitSource,
    ContainerSource,
    PodSource,
    EverybodySource,
):
    register(_kind)

"""Data access monitoring and access-aware memory operations for every Linux."""

from typing import TYPE_CHECKING, Any

from isotherm.core.ops import Check, Ops, Samples, TargetRanges
from isotherm.errors import (
    BadValueError,
    DamagedRecordingError,
    IsothermError,
    NotPermittedError,
    NotSupportedError,
    OutputError,
    TargetGoneError,
    ThresholdError,
)
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.snapshot import Columns, Cost, Region, Snapshot
from isotherm.model.target import Mapping, Range, Target, Unobservable

__all__ = [
    "Attrs",
    "BadValueError",
    "Check",
    "Columns",
    "Cost",
    "DamagedRecordingError",
    "IntervalsGoal",
    "IsothermError",
    "Mapping",
    "MonitorSession",
    "NotPermittedError",
    "NotSupportedError",
    "Ops",
    "OutputError",
    "Range",
    "Region",
    "Samples",
    "Snapshot",
    "Target",
    "TargetGoneError",
    "TargetRanges",
    "ThresholdError",
    "Unobservable",
    "monitor",
    "open",
    "record",
]

if TYPE_CHECKING:
    from isotherm.api import MonitorSession, monitor, open, record  # noqa: A004


def __getattr__(name: str) -> Any:
    """Import the running parts when they are first used: `import isotherm` stays cheap."""
    if name in {"MonitorSession", "monitor"}:
        from isotherm import session

        return getattr(session, name)
    if name in {"open", "record"}:
        from isotherm import api

        return getattr(api, name)
    raise AttributeError(f"module 'isotherm' has no attribute {name!r}")

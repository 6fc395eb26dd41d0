"""Data access monitoring and access-aware memory operations for every Linux."""

from isotherm.core.ops import Check, Ops, Samples, TargetRanges
from isotherm.errors import (
    BadValueError,
    DamagedRecordingError,
    IsothermError,
    NotPermittedError,
    NotSupportedError,
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
    "NotPermittedError",
    "NotSupportedError",
    "Ops",
    "Range",
    "Region",
    "Samples",
    "Snapshot",
    "Target",
    "TargetGoneError",
    "TargetRanges",
    "ThresholdError",
    "Unobservable",
]

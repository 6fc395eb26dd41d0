"""What a scheme file says: schemes, and where given how and what to monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.scheme import Scheme
from isotherm.model.text import check_name, check_path


@dataclass(frozen=True, slots=True)
class Monitor:
    """The monitoring attributes that a file gives; None is not given."""

    sample_us: int | None = None
    aggr_us: int | None = None
    update_us: int | None = None
    min_nr_regions: int | None = None
    max_nr_regions: int | None = None
    goal: IntervalsGoal | None = None
    ops: str = ""

    def attrs(self, defaults: Attrs | None = None) -> Attrs:
        """Return complete attributes; raises `BadValueError` where they contradict."""
        names = ("sample_us", "aggr_us", "update_us", "min_nr_regions", "max_nr_regions", "goal")
        given = {name: getattr(self, name) for name in names}
        known = {name: value for name, value in given.items() if value is not None}
        return replace(defaults or Attrs(), **known)


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """
    What a file says to monitor: a process, processes by name (a pattern), or a cgroup.

    regions: only these addresses, [start, end); obsolete: damo's mark of a target to be removed.
    """

    pid: int | None = None
    name: str = ""
    cgroup: str = ""
    regions: tuple[tuple[int, int], ...] = ()
    obsolete: bool = False

    def __post_init__(self) -> None:
        check_name("the name of a target", self.name)
        check_path("the cgroup of a target", self.cgroup)
        if sum((self.pid is not None, bool(self.name), bool(self.cgroup))) > 1:
            raise BadValueError("a target is a pid, a name or a cgroup, only one of them")


@dataclass(frozen=True, slots=True)
class SchemeFile:
    """
    One context: schemes, in order, with what stands beside them.

    kdamond: number of the kdamond it belongs to; kdamond_kept, context_kept: what damo's files say
    and isotherm does not use, as it stood; others: the further contexts of the same file; notes:
    sentences about what was left out of it, with file:line:column.
    """

    schemes: tuple[Scheme, ...] = ()
    monitor: Monitor = Monitor()
    targets: tuple[TargetSpec, ...] = ()
    kdamond: int = 0
    kdamond_kept: Mapping[str, object] = field(default_factory=dict)
    context_kept: Mapping[str, object] = field(default_factory=dict)
    others: tuple[SchemeFile, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def contexts(self) -> tuple[SchemeFile, ...]:
        """All contexts of the file, this one first."""
        return (replace(self, others=()), *self.others)

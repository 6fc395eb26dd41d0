"""What can go: idle memory by age and name, what `pageout` would free, and what it would cost."""

from __future__ import annotations

import shlex
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isotherm.analysis.could_free import NEEDS_SWAP, CouldFree, movable
from isotherm.analysis.idleness import is_reached
from isotherm.analysis.page_use import Part, by_mapping, likely_idle
from isotherm.analysis.returns import Lately, Returns, running_ns
from isotherm.errors import BadValueError, quoted
from isotherm.model.page_use import PageUse, UseRow
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Filter,
    FilterType,
    Pattern,
    Scheme,
)
from isotherm.model.target import Group, Mapping, Target
from isotherm.model.text import NamePattern
from isotherm.schemefile.lines.key_value import format_line
from isotherm.units import U64_MAX

_S = 1_000_000_000
#: The shortest age that is worth telling where longer ones were reached.
_LEAST_NS = _S
#: It is worth it while waiting for what comes back takes no more of the time than this.
WORTH_SHARE = 0.001
#: As much as the most: an older age is safer.
_NEARLY = 0.95
#: What a page that comes back takes, in ns, by where it is; measured for zram (benchmarks), and as
#: such disks are for the others.
FAULT_NS = {"zram": 12_000, "ssd": 100_000, "disk": 8_000_000, "unknown": 100_000}


@dataclass(frozen=True, slots=True)
class FaultCost:
    """How long a program waits for a page that comes back, in ns: from swap, from a file."""

    swap_ns: int
    file_ns: int


@dataclass(frozen=True, slots=True)
class ColdAge:
    """
    Memory that was not used for `age_ns` or longer.

    idle_bytes: by best estimate, all of it; could: what of it `pageout` would free; of memory that
    could be freed, returned_file, returned_swap: bytes that were used again after they had not
    been for so long, by where they would have come back from; None where nobody counted.
    counted_ns: in the last so long, of the time in which that could be seen: a load that goes on,
    rather than one that began. earlier_bytes, earlier_ns: what came back in the time before that,
    0 where there was none. cost: of a page that comes back.
    """

    age_ns: int
    idle_bytes: int
    could: CouldFree
    returned_file: int | None
    returned_swap: int | None
    counted_ns: int
    cost: FaultCost
    earlier_bytes: int = 0
    earlier_ns: int = 0

    @property
    def seen_ns(self) -> int:
        """For how long it could be seen what comes back after so long."""
        return self.earlier_ns + self.counted_ns

    @property
    def earlier_per_s(self) -> float | None:
        """`refaults_per_s` of the time before; None where there was none."""
        if self.refaults_per_s is None or self.earlier_ns <= 0:
            return None
        return self.earlier_bytes / PAGE * _S / self.earlier_ns

    @property
    def refaults_per_s(self) -> float | None:
        """Pages that come back in a second, where they go out at this age."""
        if self.returned_file is None or self.returned_swap is None or self.counted_ns <= 0:
            return None
        pages = (self.returned_file + self.returned_swap) / PAGE
        return pages * _S / self.counted_ns

    @property
    def stall_share(self) -> float | None:
        """Of the time, how much a program would wait for them, all waits added up."""
        if self.returned_file is None or self.returned_swap is None or self.counted_ns <= 0:
            return None
        waited = self.returned_swap * self.cost.swap_ns + self.returned_file * self.cost.file_ns
        return waited / PAGE / self.counted_ns

    @property
    def moved_bytes(self) -> int:
        """What would be freed with swap space enough."""
        return self.could.bytes + self.could.lacking_bytes


@dataclass(frozen=True, slots=True)
class ColdPart:
    """
    Mappings of one name and kind: idle: bytes at each age of `Cold.ages`, by best estimate;
    could_go: what of them `pageout` would free, swap space provided; returned: bytes that came
    back, of what could go, None where nobody counted.
    """

    part: Part
    idle: tuple[int, ...]
    could_go: tuple[int, ...]
    returned: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Cold:
    """
    The whole answer.

    use: what the map knows of memory of the wanted names, `names`; None means all. targets: whose
    it is; whom: options that name them. ages: those that were reached, rising; parts: the largest
    first.
    """

    use: PageUse
    targets: tuple[Target, ...]
    names: str | None
    swap_free_bytes: int | None
    ages: tuple[ColdAge, ...]
    parts: tuple[ColdPart, ...]
    whom: str

    @property
    def best(self) -> ColdAge | None:
        """
        The oldest age that frees nearly as much as any at which what comes back costs little.

        Where it costs much at every age, the oldest; of ages that what comes back could be seen
        of for at least as long, if there are such.
        """
        some = [age for age in self.ages if age.moved_bytes]
        some = [age for age in some if age.seen_ns >= age.age_ns] or some
        cheap = [age for age in some if not (age.stall_share or 0) > WORTH_SHARE]
        most = max((age.moved_bytes for age in cheap), default=0)
        enough = [age for age in cheap if age.moved_bytes >= _NEARLY * most]
        return next(reversed(enough or some), None)

    def scheme(self, age_ns: int) -> str:
        """Return the scheme, on one line, that pages out what was idle for so long."""
        age_us = age_ns // 1000
        named: tuple[Filter, ...] = ()
        if self.names is not None:
            named = (Filter(FilterType.NAME, matching=False, name=self.names),)
        if not self.use.exact:
            still = Pattern(access=Access(0, 0), age=Age(age_us))
            return format_line(Scheme(Action.PAGEOUT, still, filters=named))
        idle = Filter(FilterType.IDLE, matching=False, bounds=(age_us, U64_MAX))
        return format_line(Scheme(Action.PAGEOUT, filters=(idle, *named)))

    def command(self, age_ns: int) -> str:
        """Return the command that does it to these targets."""
        return self.doing(self.scheme(age_ns))

    def doing(self, scheme: str) -> str:
        """Return the command that does a scheme to these targets."""
        return f"sudo isotherm apply {shlex.quote(scheme)} {self.whom}"


def cold(
    use: PageUse,
    targets: Sequence[Target],
    mappings: MappingOf[int, Sequence[Mapping]],
    *,
    swap_free_bytes: int | None,
    cost: FaultCost,
    names: str | None = None,
    age_ns: int | None = None,
    called: str = "",
    before: Returns | None = None,
) -> Cold:
    """
    Return what can go of the memory that a map of pages knows.

    use: as of the end, of `targets`, with their address maps by id; swap_free_bytes: swap space
    that is free, None where it is not known; cost: of a page that comes back; names: only of
    mappings that this `NamePattern` means; age_ns: only at this age, of those that are known;
    called: options of the command line that name the targets, "" where nobody gave any; before:
    what had come back by earlier moments, None where nobody took note.
    """
    pattern = None if names is None else NamePattern(names)
    rows = tuple(row for row in use.rows if pattern is None or pattern.matches(row.what))
    lately = (before or Returns()).lately(replace(use, rows=rows), targets)
    use = lately.use
    can_go = movable(use, targets, mappings)
    goes = replace(lately, use=can_go, earlier=movable(lately.earlier, targets, mappings))
    places = _told(use, age_ns)
    ages = tuple(_age(use, goes, i, swap_free_bytes, cost) for i in places)
    of = {(part.name, part.kind): part.row for part in by_mapping(can_go)}
    parts = tuple(_part(part, of.get((part.name, part.kind)), places) for part in by_mapping(use))
    return Cold(use, tuple(targets), names, swap_free_bytes, ages, parts, called or whom(targets))


def _told(use: PageUse, age_ns: int | None) -> list[int]:
    """Return the places of the ages to tell of: those that memory can have reached."""
    ran_ns = running_ns(use)
    known = [i for i, ns in enumerate(use.windows_ns[:-1]) if is_reached(ns, ran_ns)]
    if age_ns is not None:
        return [i for i in known if use.windows_ns[i] == age_ns]
    return [i for i in known if use.windows_ns[i] >= _LEAST_NS] or known[-1:]


def check_names(found: Cold) -> None:
    """Raise `BadValueError` where no mapping is called as was asked."""
    if found.names is not None and not found.parts:
        raise BadValueError(
            f"no memory of mappings called {quoted(found.names)}",
            hint="without --what all names are shown; * stands for any characters",
        )


def known_ages(use: PageUse) -> list[int]:
    """Return the ages that may be asked for, in ns."""
    return [ns for ns in use.windows_ns[:-1] if is_reached(ns, running_ns(use))]


def _age(
    use: PageUse, goes: Lately, at: int, swap_free_bytes: int | None, cost: FaultCost
) -> ColdAge:
    """Return what is idle for window `at`, and what of it goes and came back."""
    age_ns = use.windows_ns[at]
    swap, file, back = 0, 0, [0, 0]
    for row in goes.use.rows:
        needs = row.kind in NEEDS_SWAP
        swap += row.idle_own[at] * needs
        file += row.idle_own[at] * (not needs)
        back[needs] += row.returned[at] if row.returned else 0
    # Of memory that went, or that nobody looked at, nothing comes back.
    counted = any(row.returned for row in use.rows)
    return ColdAge(
        age_ns=age_ns,
        idle_bytes=sum(likely_idle(row, at) for row in use.rows),
        could=CouldFree(age_ns, file, swap, swap_free_bytes),
        returned_file=back[0] if counted else None,
        returned_swap=back[1] if counted else None,
        counted_ns=goes.later_ns[at],
        cost=cost,
        earlier_bytes=sum(row.returned[at] for row in goes.earlier.rows if row.returned),
        earlier_ns=goes.earlier_ns[at],
    )


def _part(part: Part, goes: UseRow | None, places: Sequence[int]) -> ColdPart:
    row = part.row
    return ColdPart(
        part,
        tuple(likely_idle(row, i) for i in places),
        tuple(0 if goes is None else goes.idle_own[i] for i in places),
        tuple(0 if goes is None else goes.returned[i] for i in places) if row.returned else None,
    )


#: How a group is asked for on the command line, by its kind.
_BY_GROUP = {"unit": "--unit", "container": "--container", "pod": "--pod", "user": "-u"}


def whom(targets: Sequence[Target]) -> str:
    """Return the options that name these targets, and nobody else: their group, or their pids."""
    groups = {target.group for target in targets}
    if len(groups) == 1 and (title := groups.pop()):
        kind, name = Group.of(title)
        if option := {**_BY_GROUP, "cgroup": "-G"}.get(kind):
            return f"{option} {shlex.quote(name)}"
    pids = [target.pid for target in targets if target.pid is not None]
    return f"-p {','.join(map(str, pids))}" if pids else "-p PID"

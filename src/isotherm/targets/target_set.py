"""TargetSet: who is monitored, built once a session; members come and go."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from isotherm.core.look import Census, TargetRanges
from isotherm.errors import IsothermError, NotSupportedError
from isotherm.kernel import procfs
from isotherm.kernel.procfs import clear_refs_allowed
from isotherm.model.scope import Operations, Scope
from isotherm.model.target import Group
from isotherm.targets.maps import AddressMaps
from isotherm.targets.missed import census
from isotherm.targets.processes import Process, ProcessSet
from isotherm.targets.refusals import Refused
from isotherm.targets.sizes import Sizes
from isotherm.targets.source import TargetSource
from isotherm.targets.spaces import Spaces
from isotherm.targets.watchers import other_watchers

#: Of so many targets not each look goes through all of them, and that takes this share of a CPU.
_MANY, _THROUGH_SHARE = 64, 0.002


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """
    What matters of what is to be monitored, for the choice of a backend.

    operations: processes, fixed ranges of one, or physical memory; kvm: (pid, name) of those that
    run a virtual machine; foreign: pids whose clear_refs we may not write; watched: (pid of
    another isotherm, pid that it watches); leaderless: pids whose main thread has ended; waits:
    there may be nobody, and others may come; resident_bytes: what is in memory of all of them,
    shared memory counted as often as it is mapped.
    """

    pids: tuple[int, ...] = ()
    operations: Operations = "vaddr"
    kvm: tuple[tuple[int, str], ...] = ()
    foreign: tuple[int, ...] = ()
    watched: tuple[tuple[int, int], ...] = ()
    leaderless: tuple[int, ...] = ()
    waits: bool = False
    resident_bytes: int = 0


class TargetSet(ABC):
    """
    Who is monitored and where.

    scope: which of the addresses. The session that builds one closes it.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @abstractmethod
    def targets(self, max_ranges: int) -> list[TargetRanges]:
        """
        Look who is there now; return the living with their ranges, in the order of their ids.

        Where there are so many that reading the map of each would cost too much, those of who
        waits longest are read, and the others' are as of some seconds ago.

        max_ranges: neighbouring mappings are joined until at most so many ranges are left.
        """

    @abstractmethod
    def alive(self) -> bool:
        """Tell whether any member lives; cheap."""

    @property
    def waits(self) -> bool:
        """Tell whether the session goes on where nobody is left: others may come."""
        return False

    @property
    def paced_ns(self) -> int:
        """CPU time so far of what keeps to a pace of its own, however often `targets` is asked."""
        return 0

    def take_refused(self) -> list[Refused]:
        """Return who was left out since the last call, of those that came."""
        return []

    @abstractmethod
    def facts(self) -> TargetFacts:
        """Return what matters for the choice of a backend."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held; may be called twice."""


class ProcessTargets(TargetSet):
    """
    Processes; raises as `ProcessSet` does.

    Of members that share an address space the first is a target, and another when it has gone.

    sources: who is meant, or plain pids; follow_children: what they fork as well, not where fixed
    ranges are looked at, which are those of one process; force_guests: keep members that run a
    virtual machine, although what its guest uses cannot be seen; wait: as for `ProcessSet`.
    """

    def __init__(
        self,
        sources: Iterable[TargetSource | int],
        *,
        follow_children: bool = True,
        scope: Scope | None = None,
        force_guests: bool = False,
        wait: bool = False,
    ) -> None:
        super().__init__(scope or Scope())
        follow = follow_children and not self.scope.ranges
        self._force_guests = force_guests
        self._processes = ProcessSet(sources, follow_children=follow, wait=wait)
        self._spaces = Spaces()
        self._maps = AddressMaps()
        self._sizes = Sizes()
        self._told: list[tuple[Process, TargetRanges]] = []
        #: Of whom, with their groups, that was told; until when it stands if they are many.
        self._told_of: list[tuple[int, Group | None]] = []
        self._told_until_ns = 0

    def living(self, max_ranges: int) -> list[tuple[Process, TargetRanges]]:
        """
        As `targets`, each with the process that it is.

        Of many, as long as nobody comes, goes or executes another program, what was told stands
        for as long as going through all of them takes of a share of a CPU.
        """
        members = self._processes.refresh()
        told_of = [(process.target_id, process.group) for process in members]
        if self._stands(told_of):
            return self._told
        begun_ns = time.thread_time_ns() - self.paced_ns
        wanted = [
            process
            for process in self._spaces.apart(members)
            if self._force_guests or not process.kvm
        ]
        self._told = self._sizes.told(self._maps.of(wanted, max_ranges, self.scope.ranges))
        self._told_of = told_of
        cost_ns = time.thread_time_ns() - self.paced_ns - begun_ns
        self._told_until_ns = time.monotonic_ns() + int(cost_ns / _THROUGH_SHARE)
        return self._told

    def _stands(self, of: list[tuple[int, Group | None]]) -> bool:
        if len(of) < _MANY or time.monotonic_ns() >= self._told_until_ns:
            return False
        known = all(process.maps_cache is not None for process, _ in self._told)
        return known and of == self._told_of

    def targets(self, max_ranges: int) -> list[TargetRanges]:
        """Return the living; the ranges are the scope's where it has some."""
        return [ranges for _, ranges in self.living(max_ranges)]

    def census(self, present: Sequence[Process], executed: AbstractSet[int]) -> Census:
        """
        Tell whose memory is not known to who knows that of `present`, as `living` returned it.

        executed: places of those that run another program since.
        """
        gone = self._processes.ended() - self._spaces.owners
        ended = {place for place, process in enumerate(present) if process.target_id in gone}
        return census(present, self._processes.newcomers(), executed, ended)

    @property
    def members(self) -> list[Process]:
        """The living as of the last look; of those that share memory the first."""
        return self._spaces.apart(self._processes.members)

    def alive(self) -> bool:
        """Tell whether any process lives."""
        return self._processes.alive()

    @property
    def waits(self) -> bool:
        """Tell whether others may come."""
        return self._processes.waits

    @property
    def paced_ns(self) -> int:
        """CPU time of reading address maps and shares."""
        return self._maps.spent_ns + self._sizes.spent_ns

    def take_refused(self) -> list[Refused]:
        """Return who was left out since the last call."""
        return self._processes.take_refused()

    def facts(self) -> TargetFacts:
        """Look at the processes; those that vanish meanwhile do not count."""
        members = self.members
        return TargetFacts(
            pids=tuple(process.pid for process in members),
            operations=self.scope.operations,
            kvm=tuple((process.pid, process.name) for process in members if process.kvm),
            foreign=tuple(
                process.pid for process in members if not clear_refs_allowed(process.tid)
            ),
            watched=tuple(other_watchers({process.pid for process in members})),
            leaderless=tuple(process.pid for process in members if process.leaderless),
            waits=self.waits,
            resident_bytes=sum(_resident(process.tid) for process in members),
        )

    def close(self) -> None:
        """Let all processes go."""
        self._processes.close()


def _resident(tid: int) -> int:
    try:
        return procfs.statm(tid).resident_bytes
    except IsothermError:  # it ended, or may not be looked at
        return 0


def refuse_virtual_machines(facts: TargetFacts) -> None:
    """Raise `NotSupportedError` if one of the processes runs a KVM guest."""
    for pid, name in facts.kvm:
        raise NotSupportedError(
            f"process {pid} ({name}) runs a KVM virtual machine: accesses of its guest do not "
            "show in its page tables",
            hint="run isotherm inside the guest (or force it with force_guests=True)",
        )

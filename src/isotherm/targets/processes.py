"""Which processes are monitored: those of the sources, and their children, as they come and go."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from isotherm.errors import (
    BadValueError,
    IsothermError,
    NotPermittedError,
    NotSupportedError,
    TargetGoneError,
)
from isotherm.kernel import pidfd, procfs
from isotherm.model.target import Group
from isotherm.targets.pids import PidSource
from isotherm.targets.refusals import Refusals, Refused
from isotherm.targets.source import TargetSource


@dataclass(slots=True, eq=False)
class Process:
    """
    A process under monitoring, held so that its pid cannot become another one's.

    target_id: unique in its `ProcessSet`, never reused; start_ticks: since boot, in units of
    `procfs.TICKS_PER_SECOND`; pidfd: open while the process is in the set, -1 where descriptors
    ran out; tid: the thread through which its memory is reached, the main one while that lives;
    kvm: it runs a virtual machine, whose memory cannot be observed; source: who told of it, or of
    the ancestor that did; group: what it is one of, of several that told of it the first one's;
    maps_cache belongs to `targets.maps`.
    """

    target_id: int
    pid: int
    start_ticks: int
    name: str
    pidfd: int
    source: TargetSource
    group: Group | None = None
    tid: int = 0
    kvm: bool = False
    maps_cache: object | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.tid = self.tid or self.pid

    @property
    def leaderless(self) -> bool:
        """Tell whether the main thread has ended and others live: then few ways reach it."""
        return self.tid != self.pid


#: So many processes may end young, and others are still taken at once.
_FEW = 4
#: What each source tells of.
_Told = Sequence[tuple[TargetSource, dict[int, Group | None]]]


class Newcomer(NamedTuple):
    """
    A process that is meant, and is no member yet.

    origin: the pid of the member that it descends from, 0 of one that its source told of; facts:
    as it was when it was found; source, group: as of a `Process`; waited: it was there at a
    `refresh` before.
    """

    pid: int
    origin: int
    facts: procfs.Stat
    source: TargetSource
    group: Group | None
    waited: bool = False


class ProcessSet:
    """
    The living processes of `sources` and, unless told otherwise, what they fork.

    sources: or plain pids; follow_children: of those that are no members of a source that tells
    all of its members itself. wait: there may be none, and none any more: others may come.

    Invariants: every member is alive as of the last `refresh`; a target id stands for one process
    (pid and start time) for ever; members are in the order of their ids. A process that several
    sources tell of is one member, and stays while any of them does.

    Children are found by looking at the pids that /proc did not show before: one listing of /proc
    and one read per new process, however large the tree is. A process that was forked by a child
    that ended between two refreshes is missed: it has another parent by then.

    To take a process, and to look at its memory, costs more than to find it, and is of no use
    where they live shortly: if most of those that were new at one refresh, and more than a few,
    have ended by the next one, who is new then becomes a member at the refresh after, if it lives
    that long.

    Raises `TargetGoneError` for a pid that does not exist or is a zombie, `NotSupportedError` for
    a kernel thread, `BadValueError` for a thread's id, `NotPermittedError` where the memory map
    may not be read. Of living sources, members that cannot be monitored are left out, unless none
    is left; `take_refused` tells them.
    """

    def __init__(
        self,
        sources: Iterable[TargetSource | int],
        *,
        follow_children: bool = True,
        wait: bool = False,
    ) -> None:
        procfs.require_own()
        self._members: dict[int, Process] = {}
        self._seen: set[int] = set()
        self._last_pid: int | None = None
        self._newcomers: dict[int, Newcomer] = {}
        self._next_id = 0
        self.waits = wait
        self._poll = select.epoll()
        #: How many members have no descriptor.
        self._unheld = 0
        self._refused = Refusals()
        #: What was told when nothing was left to do for the members that there were.
        self._settled: tuple[_Told, set[int]] = ([], set())
        self._sources = [
            source if isinstance(source, TargetSource) else PidSource([source])
            for source in sources
        ]
        self._living = [source for source in self._sources if source.living]
        self._generation: list[Newcomer] = []
        self._die_young = False
        self._follow = follow_children and any(
            not (source.living and source.complete) for source in self._sources
        )
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        self._find()
        self._take_all()

    def refresh(self) -> list[Process]:
        """Drop the dead, find who is new, and return the living, in the order of their ids."""
        self._drop_dead()
        self._find()
        self._take_some()
        return list(self._members.values())

    def newcomers(self) -> list[Newcomer]:
        """Look who is there now, and return who is meant and no member yet; nobody is let go."""
        self._find(keep=True)
        return list(self._newcomers.values())

    def ended(self) -> set[int]:
        """Return the ids of the members of the last refresh that live no more."""
        return {process.target_id for process in self._dead()}

    @property
    def members(self) -> list[Process]:
        """The living as of the last refresh."""
        return list(self._members.values())

    def take_refused(self) -> list[Refused]:
        """Return who was left out since the last call: each process is told once."""
        return self._refused.take()

    def alive(self) -> bool:
        """
        Tell whether any member lives, or may come; one system call.

        If all known ones ended, their children may still live, or others of their group: they are
        looked for.
        """
        if self.waits:
            return True
        if not self._members:
            return False
        if len(self._dead()) < len(self._members):
            return True
        self._find()
        self._take_all()
        return len(self._dead()) < len(self._members)

    def close(self) -> None:
        """Close all descriptors; the set is empty afterwards."""
        for process in list(self._members.values()):
            self._remove(process)
        self._poll.close()

    def _begin(self) -> None:
        for source in self._sources:
            problem: IsothermError | None = None
            taken = False
            for pid, group in self._first_of(source).items():
                try:
                    if pid not in self._members:
                        self._admit(pid, source, group)
                    taken = True
                except IsothermError as err:
                    if not source.living:
                        raise
                    self._refused.add(pid, err)
                    if problem is None or isinstance(err, NotPermittedError):
                        problem = err
            if problem is not None and not taken and not self.waits:
                raise problem

    def _first_of(self, source: TargetSource) -> dict[int, Group | None]:
        try:
            return source.members()
        except TargetGoneError:
            if self.waits and source.living:
                return {}
            raise

    def _find(self, *, keep: bool = False) -> None:
        """Look for newcomers, and let go who left, but to `keep` them."""
        self._ask_again(keep=keep)
        self._find_children()

    def _take_all(self) -> None:
        for pid in list(self._newcomers):
            self._take_newcomer(self._newcomers.pop(pid))

    def _take_some(self) -> None:
        """Take the newcomers that were there at a refresh before, and others unless they wait."""
        fresh = [one for one in self._newcomers.values() if not one.waited]
        for one in [one for one in self._newcomers.values() if one.waited]:
            self._take_newcomer(self._newcomers.pop(one.pid))
        if self._generation:
            ended = sum(not self._is_member(one) for one in self._generation)
            self._die_young = ended > max(_FEW, len(self._generation) // 2)
        self._generation = fresh
        for one in fresh:
            if self._die_young:
                self._newcomers[one.pid] = one._replace(waited=True)
            else:
                self._take_newcomer(self._newcomers.pop(one.pid))

    def _is_member(self, one: Newcomer) -> bool:
        member = self._members.get(one.pid)
        return member is not None and member.start_ticks == one.facts.start_ticks

    def _take_newcomer(self, one: Newcomer) -> None:
        try:
            if one.origin:
                self._take(one.facts, one.source, one.group)
            else:
                self._admit(one.pid, one.source, one.group)
        except IsothermError as err:
            self._refused.add(one.pid, err)

    def _ask_again(self, *, keep: bool) -> None:
        """Find who joined living sources, and let go who left all of them, but to `keep` them."""
        if not self._living:
            return
        told = [(source, _told_by(source)) for source in self._living]
        if not keep:
            self._refused.forget_but([of.keys() for _, of in told])
            if told != self._settled[0] or self._members.keys() != self._settled[1]:
                self._settle(told)
        before = self._newcomers
        self._newcomers = {pid: one for pid, one in before.items() if one.origin}
        for source, of in told:
            for pid in sorted(of.keys() - self._members.keys() - self._newcomers.keys()):
                if pid in before:
                    self._newcomers[pid] = before[pid]
                elif self._refused.again(pid) and (facts := _facts_of(pid)) is not None:
                    self._newcomers[pid] = Newcomer(pid, 0, facts, source, of[pid])

    def _settle(self, told: _Told) -> None:
        """See to it that each member is one of what is told, or gone."""
        by_source = {id(source): of for source, of in told}
        for process in list(self._members.values()):
            of = by_source.get(id(process.source))
            if of is not None and process.pid in of:
                process.group = of[process.pid]
            else:
                self._told_by_another(process, told)
        self._settled = told, set(self._members)

    def _told_by_another(self, process: Process, told: _Told) -> None:
        """Keep a member that its own source does not tell of if another one does."""
        for source, of in told:
            if process.pid in of:
                process.group = of[process.pid]
                if process.source.living:
                    process.source = source
                return
        if process.source.living and process.source.complete:
            self._remove(process)

    def _admit(self, pid: int, source: TargetSource, group: Group | None) -> None:
        """Take a process that a source told of; refuse with a reason what cannot be a target."""
        facts = procfs.stat(pid)
        who = f"process {pid} ({facts.name})"
        if facts.is_kernel_thread:
            raise NotSupportedError(
                f"{who} is a kernel thread: it has no memory of its own",
                hint="name a user process",
            )
        if facts.is_zombie:
            raise TargetGoneError(
                f"{who} has ended, and its parent {facts.ppid} did not collect it yet",
                hint="a zombie has no memory left to monitor",
            )
        leader = procfs.thread_group(pid)
        if leader != pid:
            raise BadValueError(
                f"{pid} is a thread of process {leader}", hint=f"monitor it with -p {leader}"
            )
        # Fails here, with a hint, rather than in the middle of monitoring.
        with procfs.reading(pid, "the memory map"):
            tid = procfs.memory_thread(pid)
            os.close(os.open(f"/proc/{tid}/maps", os.O_RDONLY | os.O_CLOEXEC))
        if not self._take(facts, source, group):
            raise TargetGoneError(f"{who} ended just now")

    def _take(self, facts: procfs.Stat, source: TargetSource, group: Group | None) -> bool:
        """Make a living process a member; False if it ended meanwhile."""
        pid = facts.pid
        try:
            descriptor = pidfd.open_pidfd(pid)
        except ProcessLookupError:
            return False
        except OSError:
            descriptor = -1
        try:
            # Only now is the pid held. Was it the same process before?
            now = procfs.stat(pid)
            if now.start_ticks != facts.start_ticks or now.is_zombie:
                raise TargetGoneError(f"process {pid} ended just now")
            kvm = procfs.runs_kvm_guest(pid)
            tid = procfs.memory_thread(pid)
        except NotPermittedError:
            kvm, tid = False, pid
        except IsothermError as err:
            if descriptor >= 0:
                os.close(descriptor)
            if isinstance(err, TargetGoneError):
                return False
            raise
        self._members[pid] = Process(
            self._next_id,
            pid,
            facts.start_ticks,
            facts.name,
            descriptor,
            source,
            group,
            tid=tid,
            kvm=kvm,
        )
        self._next_id += 1
        self._unheld += descriptor < 0
        if descriptor >= 0:
            self._poll.register(descriptor, select.EPOLLIN)
        return True

    def _remove(self, process: Process) -> None:
        self._unheld -= process.pidfd < 0
        if process.pidfd >= 0:
            self._poll.unregister(process.pidfd)
            os.close(process.pidfd)
            process.pidfd = -1
        del self._members[process.pid]

    def _dead(self) -> list[Process]:
        ended = {descriptor for descriptor, _ in self._poll.poll(0, len(self._members) or 1)}
        if not ended and not self._unheld:
            return []
        return [
            process
            for process in self._members.values()
            if process.pidfd in ended or (process.pidfd < 0 and not _is_same(process))
        ]

    def _drop_dead(self) -> None:
        for process in self._dead():
            self._remove(process)

    def _find_children(self) -> None:
        """Find the processes that are new in /proc and descend from a member, if asked for."""
        if not (self._follow and self._members):
            return
        last, self._last_pid = self._last_pid, procfs.last_pid()
        if last is not None and last == self._last_pid and not self._newcomers:
            return
        now = set(procfs.pids())
        for pid in self._newcomers.keys() - now:
            del self._newcomers[pid]
        fresh = now - self._seen - self._members.keys() - self._newcomers.keys()
        self._seen = now
        by_parent: dict[int, list[procfs.Stat]] = {}
        for pid in fresh:
            if (facts := _facts_of(pid)) is not None:
                by_parent.setdefault(facts.ppid, []).append(facts)
        parents = [
            (one.pid, origin, one.source, one.group)
            for origin, one in self._possible_parents()
            if not (one.source.living and one.source.complete)
        ]
        while parents and by_parent:
            parent, origin, source, group = parents.pop()
            for facts in sorted(by_parent.pop(parent, ()), key=lambda child: child.pid):
                parents.append((facts.pid, origin, source, group))
                if not facts.is_zombie:
                    self._newcomers[facts.pid] = Newcomer(facts.pid, origin, facts, source, group)

    def _possible_parents(self) -> Iterator[tuple[int, Process | Newcomer]]:
        """Return members and newcomers, each with the pid of the member that it is or is of."""
        for member in self._members.values():
            yield member.pid, member
        for one in self._newcomers.values():
            yield one.origin or one.pid, one


def _told_by(source: TargetSource) -> dict[int, Group | None]:
    try:
        return source.members()
    except IsothermError:
        return {}


def _facts_of(pid: int) -> procfs.Stat | None:
    try:
        return procfs.parse_stat(procfs.read_file(f"/proc/{pid}/stat"))
    except OSError:
        return None


def _is_same(process: Process) -> bool:
    try:
        facts = procfs.stat(process.pid)
    except TargetGoneError:
        return False
    return facts.start_ticks == process.start_ticks and not facts.is_zombie

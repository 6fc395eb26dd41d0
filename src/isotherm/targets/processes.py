"""Which processes are monitored: those of the sources, and their children, as they come and go."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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


#: What each source tells of.
_Told = Sequence[tuple[TargetSource, dict[int, Group | None]]]


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
        self._follow = follow_children and any(
            not (source.living and source.complete) for source in self._sources
        )
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        self.refresh()

    def refresh(self) -> list[Process]:
        """Drop the dead, find who is new, and return the living, in the order of their ids."""
        self._drop_dead()
        self._ask_again()
        self._find_children()
        return list(self._members.values())

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
        self._find_children()
        self._ask_again()
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

    def _ask_again(self) -> None:
        """Take who joined living sources, and let go who left all of them."""
        if not self._living:
            return
        told = [(source, _told_by(source)) for source in self._living]
        self._refused.forget_but([of.keys() for _, of in told])
        if told != self._settled[0] or self._members.keys() != self._settled[1]:
            self._settle(told)
        for source, of in told:
            for pid in sorted(of.keys() - self._members.keys()):
                if self._refused.again(pid):
                    try:
                        self._admit(pid, source, of[pid])
                    except IsothermError as err:
                        self._refused.add(pid, err)

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
            if procfs.stat(pid).start_ticks != facts.start_ticks:
                raise TargetGoneError(f"process {pid} ended just now")
            kvm = procfs.runs_kvm_guest(pid)
            tid = procfs.memory_thread(pid)
        except NotPermittedError:
            kvm, tid = False, pid
        except IsothermError:
            if descriptor >= 0:
                os.close(descriptor)
            return False
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
        """Admit the processes that are new in /proc and descend from a member, if asked for."""
        if not (self._follow and self._members):
            return
        now = set(procfs.pids())
        fresh = now - self._seen - self._members.keys()
        self._seen = now
        by_parent: dict[int, list[procfs.Stat]] = {}
        for pid in fresh:
            try:
                facts = procfs.parse_stat(procfs.read_file(f"/proc/{pid}/stat"))
            except OSError:
                continue
            by_parent.setdefault(facts.ppid, []).append(facts)
        parents = [
            (member.pid, member.source, member.group)
            for member in self._members.values()
            if not (member.source.living and member.source.complete)
        ]
        while parents and by_parent:
            parent, source, group = parents.pop()
            for facts in sorted(by_parent.pop(parent, ()), key=lambda child: child.pid):
                parents.append((facts.pid, source, group))
                if not facts.is_zombie:
                    self._take(facts, source, group)


def _told_by(source: TargetSource) -> dict[int, Group | None]:
    try:
        return source.members()
    except IsothermError:
        return {}


def _is_same(process: Process) -> bool:
    try:
        facts = procfs.stat(process.pid)
    except TargetGoneError:
        return False
    return facts.start_ticks == process.start_ticks and not facts.is_zombie

"""Which processes have an address space of their own: some share one, and that counts once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cmp_to_key

from isotherm.kernel import procfs
from isotherm.kernel.kcmp import order_of_spaces
from isotherm.targets.processes import Process


class Spaces:
    """
    Tells members whose address space is another member's: after vfork() until they exec, and
    after clone() with CLONE_VM.

    The kernel does not say what an address space is, but puts them in an order. Members are kept
    in it, so that a new one costs a system call for each of them, and otherwise only those that
    share are asked again, since an exec gives them a space of their own. Where it does not compare
    them (no CONFIG_KCMP, or not allowed) every member counts as having one.

    order: of the address spaces of two threads, as `kernel.kcmp.order_of_spaces`; has_memory:
    whether a thread has one, since those that ended seem to share theirs.
    """

    def __init__(
        self,
        order: Callable[[int, int], int] = order_of_spaces,
        has_memory: Callable[[int], bool] = procfs.has_memory,
    ) -> None:
        self._order_of = order
        self._has_memory = has_memory
        self._known: set[int] = set()
        self._ordered: list[Process] = []
        #: By target id, of those whose space is another's: theirs, and whose it is.
        self._shared: dict[int, tuple[Process, Process]] = {}
        self._settled = True

    def apart(self, members: Sequence[Process]) -> list[Process]:
        """Return the members less those whose address space is that of one with a lower id."""
        new = self._take(members)
        if new or not (self._settled and all(map(self._still, self._shared.values()))):
            self._compare()
        return [process for process in members if process.target_id not in self._shared]

    @property
    def owners(self) -> set[int]:
        """The ids of members whose space is that of others as well."""
        return {owner.target_id for _, owner in self._shared.values()}

    def _take(self, members: Sequence[Process]) -> bool:
        """Forget who left and take who came; True if anybody did."""
        ids = {process.target_id for process in members}
        if ids == self._known:
            return False
        new = [process for process in members if process.target_id not in self._known]
        self._known = ids
        self._ordered = [process for process in self._ordered if process.target_id in ids]
        self._ordered += [process for process in new if self._same(process, process)]
        self._shared = {key: pair for key, pair in self._shared.items() if key in ids}
        return bool(new)

    def _still(self, pair: tuple[Process, Process]) -> bool:
        """Tell whether one has no space of its own: whose it is may have left."""
        return pair[1].target_id in self._known and self._same(*pair)

    def _compare(self) -> None:
        equal: set[tuple[int, int]] = set()
        self._settled = True

        def order(first: Process, second: Process) -> int:
            try:
                found = self._order_of(first.tid, second.tid)
            except OSError:
                self._settled = False
                return first.target_id - second.target_id
            if found == 0:
                equal.add((first.target_id, second.target_id))
                equal.add((second.target_id, first.target_id))
            return found

        self._ordered.sort(key=cmp_to_key(order))
        # Neighbours were compared with each other: nothing else tells which of them is the first.
        self._shared = {}
        alike: list[Process] = []
        for process in self._ordered:
            if alike and (alike[-1].target_id, process.target_id) not in equal:
                self._share(alike)
                alike = []
            alike.append(process)
        self._share(alike)

    def _share(self, alike: list[Process]) -> None:
        if len(alike) < 2:
            return
        owner, *others = sorted(alike, key=lambda process: process.target_id)
        if self._has_memory(owner.tid):
            self._shared |= {other.target_id: (other, owner) for other in others}
        else:
            self._settled = False

    def _same(self, first: Process, second: Process) -> bool:
        try:
            return self._order_of(first.tid, second.tid) == 0
        except OSError:
            return False

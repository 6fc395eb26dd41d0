"""
The backend `clear-refs`: own processes, without any privilege, a mapping at a time.

Writing 1 to /proc/PID/clear_refs clears the accessed bits of all pages; later, `Referenced:` of
every mapping in /proc/PID/smaps tells how much of it was used since. So only the *share* of a
mapping that was used is known, not the place: regions are whole mappings (`regions`), when to
clear and to read is in `epochs`, and working sets by time in `smaps_map`.

What it costs: 59 ms per GiB for a clear and a read at 4 KiB pages, 0.3 ms with huge ones. What it
holds: the target's mmap_lock, for writing while it clears (its mmap() waits; page faults wait
before Linux 6.4), for reading while it looks.

What it cannot see: anything below a mapping; hugetlb and device memory; how often a page was used.
Accesses of pages whose translations stay in the TLB are missed until those are evicted, as
clear_refs does not flush it; within a second or more that is rare. Pages that other processes or
the kernel mark referenced (`read()` of a mapped file) count as used.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from isotherm.actions.actor import Actor
from isotherm.actions.on_processes import ActOnProcesses
from isotherm.backends.clear_refs import regions
from isotherm.backends.clear_refs.look import ClearRefsLook
from isotherm.backends.clear_refs.smaps_map import SmapsMap
from isotherm.backends.kind import UNSEEN_BY_PROCESSES, BackendKind, only_processes
from isotherm.backends.opening import Opening, open_look
from isotherm.backends.self_test import PAGES, TOUCHED, SelfTest, disagreement, own_pages, touch
from isotherm.core import policies
from isotherm.core.backend import Backend
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.privilege import root_hint
from isotherm.kernel.procfs import clear_refs
from isotherm.kernel.smaps import smaps
from isotherm.model.ranges import PAGE
from isotherm.targets.target_set import TargetFacts

policies.register(regions.NAME, regions.MappingRegions)


class _ClearRefs(BackendKind):
    name = "clear-refs"
    whole_mappings = True
    maps_pages = True

    def how(self, kernel: KernelSupport) -> str:
        del kernel
        return "needs no privileges; sees which share of each mapping is used"

    def blind_to(self, kernel: KernelSupport) -> tuple[str, ...]:
        del kernel
        return (
            "anything smaller than a mapping: only its accessed share is known",
            "how often a page is used, and times below a second",
            "processes of other users",
            "hugetlb pages",
            *UNSEEN_BY_PROCESSES,
        )

    def obstacle(self, kernel: KernelSupport, target: TargetFacts) -> str:
        if why := only_processes(target):
            return why
        if target.operations == "fvaddr":
            return "it sees whole mappings only, and ranges were asked for"
        if not kernel.clear_refs:
            return "this kernel has no clear_refs (CONFIG_PROC_PAGE_MONITOR)"
        if target.foreign:
            return f"process {target.foreign[0]} belongs to another user"
        return ""

    def lacks_rights(self, kernel: KernelSupport, target: TargetFacts) -> bool:
        """Rights are for processes of other users only."""
        return target.operations == "vaddr" and super().lacks_rights(kernel, target)

    def warnings(self, kernel: KernelSupport) -> tuple[str, ...]:
        if kernel.root:
            return ()
        return (f"clear-refs is coarse; page-exact monitoring needs rights: {root_hint()}",)

    def open(self, opening: Opening) -> Backend:
        look = ClearRefsLook(opening.processes)
        if opening.wish.policy in (policies.DEFAULT, policies.MAP):
            opening = replace(opening, wish=replace(opening.wish, policy=regions.NAME))
        force = opening.force_guests
        act = ActOnProcesses(look, lambda: Actor(force_guests=force))
        page_map = SmapsMap(look.epochs) if opening.pages.beside else None
        return open_look(look, act, opening, page_map=page_map)

    def self_test(self) -> SelfTest:
        """Touch 97 pages of our own, clear, touch 23; clear_refs and smaps must agree."""
        own = os.getpid()
        with own_pages() as (area, address):
            before = _referenced(own, address)
            begin = time.perf_counter_ns()
            clear_refs(own)
            cleared = _referenced(own, address)
            round_us = (time.perf_counter_ns() - begin) / 1000
            touch(area, TOUCHED)
            touched = _referenced(own, address)
        # Translations left in the TLB hide a few of the accesses.
        right = before >= PAGES and cleared == 0 and 0 < touched <= TOUCHED
        problem = "" if right else disagreement(before, cleared, touched)
        return SelfTest(self.name, problem=problem, round_us=round_us)


def _referenced(pid: int, address: int) -> int:
    """Return the accessed pages of the mapping that holds `address`."""
    return sum(
        entry.referenced_bytes // PAGE
        for entry in smaps(pid)
        if entry.mapping.start <= address < entry.mapping.end
    )


KIND = _ClearRefs()

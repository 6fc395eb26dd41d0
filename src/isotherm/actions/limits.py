"""What an action needs that may be missing here, said before anything is tried."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isotherm.actions import filters as action_filters
from isotherm.actions.filters import NEEDS_BPF
from isotherm.actions.ways import WAYS, Way
from isotherm.kernel import numa
from isotherm.kernel.pages import madvise
from isotherm.kernel.pages.pagemap import free_swap_bytes
from isotherm.kernel.privilege import effective_capabilities, root_hint
from isotherm.model.scheme import Action, FilterType, Scheme

if TYPE_CHECKING:
    from isotherm._core import SurveySources  # exists in the stub only

_THP = Path("/sys/kernel/mm/transparent_hugepage")
#: Came with Linux 6.12, as giving back pages of zeros of a huge page that is split.
_GIVES_ZEROS_BACK = _THP / "shrink_underused"
_MIGRATIONS = (Action.MIGRATE_HOT, Action.MIGRATE_COLD)
_ADVICE_SINCE = {
    madvise.WILLNEED: "5.10",
    madvise.COLD: "5.10",
    madvise.PAGEOUT: "5.10",
    madvise.COLLAPSE: "6.1",
}


def why_not(scheme: Scheme, sources: SurveySources, *, look_again: bool, mapped: bool) -> str:
    """Say why the scheme cannot be done to processes, and what would make it possible."""
    for rule in scheme.ops_filters:
        if reason := action_filters.why_not(rule, sources, mapped=mapped):
            return reason
    if scheme.own is not None or scheme.action is Action.STAT:
        return ""
    action, way = scheme.action, WAYS[scheme.action]
    knows = sources["huge" if action is Action.NOHUGEPAGE else "accessed"]
    if way.page_tables and not knows:
        return f"{action}: which pages are huge shows in page tables only; it {NEEDS_BPF}"
    if way.look and look_again and not sources["accessed"]:
        return f"{action}: the look at pages just before it {NEEDS_BPF}, or look_again=False"
    if way.advice and not madvise.supports(way.advice):
        return (
            f"{action}: needs process_madvise of Linux {_ADVICE_SINCE[way.advice]} or later, "
            "and no seccomp filter that hides it"
        )
    if way.page_tables and action is not Action.LRU_PRIO and not _THP.exists():
        return f"{action}: this kernel has no transparent huge pages (CONFIG_TRANSPARENT_HUGEPAGE)"
    if action in _MIGRATIONS and (reason := _no_destination(scheme)):
        return reason
    if action is Action.LRU_PRIO and not sources["flags"]:
        return f"{action}: needs /proc/kpageflags to see what came of it: {root_hint()}"
    return _not_permitted(action, way)


def _not_permitted(action: Action, way: Way) -> str:
    needed = {"SYS_PTRACE", *(["SYS_NICE"] if way.needs_nice else [])}
    if missing := sorted(needed - effective_capabilities()):
        names = " and ".join(f"CAP_{name}" for name in missing)
        return f"{action}: not permitted on other processes without {names}: {root_hint()}"
    if way.advice and madvise.is_forbidden(way.advice):
        return (
            f"{action}: process_madvise is forbidden in spite of CAP_SYS_NICE, by a seccomp "
            "filter (containers have one), a user namespace or a security module"
        )
    return ""


def _no_destination(scheme: Scheme) -> str:
    nodes = numa.memory_nodes()
    wanted = {destination.nid for destination in scheme.destinations}
    if scheme.target_nid is not None:
        wanted.add(scheme.target_nid)
    if len(nodes) < 2:
        return (
            f"{scheme.action}: this machine has one memory node, so there is nowhere to migrate "
            "to; it needs a second one (another socket, CXL or persistent memory)"
        )
    weight = sum(destination.weight for destination in scheme.destinations)
    if not wanted or (scheme.destinations and not weight):
        return f"{scheme.action}: no node is named (target_nid, or dests with weights)"
    if missing := sorted(wanted - set(nodes)):
        return f"{scheme.action}: no memory node {missing[0]} here, only {list(nodes)}"
    return ""


def warnings_for(scheme: Scheme, sources: SurveySources) -> list[str]:
    """Return what a user should know before the scheme runs here."""
    if scheme.own is not None:
        return []
    found = []
    if scheme.action is Action.PAGEOUT and not free_swap_bytes():
        found.append(
            "no swap: only clean file pages can be paged out; anonymous memory stays. With swap "
            "it would go to disk, with zram be compressed: `isotherm report` says how much"
        )
    if scheme.action is Action.NOHUGEPAGE and "[always]" in _enabled():
        found.append(
            "huge pages are split, but khugepaged may make them anew: "
            "transparent_hugepage/enabled is 'always'"
        )
    splits_for_zeros = scheme.action is Action.NOHUGEPAGE and FilterType.UNDERUSED in {
        rule.type for rule in scheme.filters
    }
    if splits_for_zeros and not _GIVES_ZEROS_BACK.exists():
        found.append(
            "huge pages are split, but their pages of zeros stay in memory: kernels give them "
            "back from 6.12 on. A scheme of pageout can take them then, one by one"
        )
    if scheme.action is not Action.STAT and not sources["flags"]:
        found.append(
            "without /proc/kpageflags nobody tells which pages make a folio: those that may be "
            f"part of one are left alone ({root_hint()})"
        )
    if WAYS[scheme.action].look and not sources["accessed"]:
        found.append(
            f"{scheme.action} acts without a look at accessed bits just before: "
            "memory in use may be hit"
        )
    return found


def _enabled() -> str:
    try:
        return (_THP / "enabled").read_text()
    except OSError:
        return ""

"""
Which policy suits a target: a decision from facts and from figures of `benchmarks/policies.py`.

Within one share of a CPU a map of all pages is exact, and the price of a pass grows with memory;
sentinels know heat alone, whatever the size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from isotherm.backends.kind import BackendKind
from isotherm.backends.opening import Opening, Wish
from isotherm.core.policies import AUTO, DEFAULT, SENTINELS
from isotherm.targets.target_set import TargetFacts
from isotherm.units import format_duration, format_size

#: CPU time of a map's pass over 1 GiB in pages of 4 KiB: reading, and clearing what was young.
PASS_NS_OF_GIB = 27_000_000
#: A pass that takes longer than this at its share of a CPU comes too late for what moves.
LONGEST_PASS_NS = 10_000_000_000
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """The name of a policy, and why this one: a phrase."""

    name: str
    reason: str


def policy_for(
    kind: BackendKind,
    wish: Wish,
    target: TargetFacts,
    *,
    overhead: float,
    schemes: bool = False,
) -> PolicyChoice:
    """
    Return the policy that was asked for, or that suits a backend, a target and what was asked.

    overhead: share of one CPU to keep to; schemes: some are to be applied.
    """
    if wish.policy != AUTO:
        return PolicyChoice(wish.policy, "asked for")
    if not kind.watches_clumps:
        return PolicyChoice(DEFAULT, f"the backend {kind.name} has no clumps of pages to watch")
    if wish.fixes_intervals or wish.profile is not None:
        return PolicyChoice(DEFAULT, "intervals and profiles are DAMON's")
    if schemes:
        return PolicyChoice(DEFAULT, "schemes judge by DAMON's rules, and single pages by a map")
    if not target.pids:
        large = format_size(int(LONGEST_PASS_NS * overhead * _GIB / PASS_NS_OF_GIB))
        return PolicyChoice(
            DEFAULT, f"with a map of all pages; {SENTINELS} above {large} resident"
        )
    size, pass_ns = format_size(target.resident_bytes), _pass_ns(target.resident_bytes, overhead)
    if pass_ns <= LONGEST_PASS_NS:
        return PolicyChoice(
            DEFAULT,
            f"{size} resident: with a map of all pages, a pass of which takes "
            f"{format_duration(max(pass_ns, 1_000_000))} at {100 * overhead:.2g}% of a CPU",
        )
    return PolicyChoice(
        SENTINELS,
        f"{size} resident: a map of all pages would take {format_duration(pass_ns)} a pass at "
        f"{100 * overhead:.2g}% of a CPU, and DAMON's samples find less of what is hot",
    )


def resolved(kind: BackendKind, opening: Opening, target: TargetFacts) -> Opening:
    """Return an opening for a backend whose policy is a real one."""
    if opening.wish.policy != AUTO:
        return opening
    chosen = policy_for(
        kind, opening.wish, target, overhead=opening.overhead, schemes=bool(opening.schemes)
    )
    return replace(opening, wish=replace(opening.wish, policy=chosen.name))


def _pass_ns(nbytes: int, overhead: float) -> int:
    return int(nbytes / _GIB * PASS_NS_OF_GIB / overhead)

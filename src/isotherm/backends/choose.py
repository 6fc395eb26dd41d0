"""
Which backend to use: a decision from facts, with a reason against every other one.

`kernel.features.probe` finds the facts of the machine, `TargetSet.facts` those of the targets,
`choose` decides, `open_best` opens, and goes on to the next one where that fails. `isotherm
doctor` prints what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from isotherm.backends import registry
from isotherm.backends.choose_policy import policy_for, resolved
from isotherm.backends.kind import BackendKind
from isotherm.backends.opening import Opening
from isotherm.backends.self_test import SelfTest
from isotherm.core.backend import Backend
from isotherm.core.policies import AUTO as POLICY_AUTO
from isotherm.errors import IsothermError, NotPermittedError, NotSupportedError, shown
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.privilege import root_hint
from isotherm.targets.target_set import TargetFacts, refuse_virtual_machines

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The decision, and how it came about.

    backend: the name of the one to use; reason: why this one; why_not: a phrase for each other
    backend; cannot_see: what each backend is blind to; warnings: sentences that the user should
    read; whole_mappings: as `BackendKind.whole_mappings` of the one to use; policy: what decides
    where to look next, "" if nothing was opened; policy_reason: why, "" if it was not "auto".
    """

    backend: str
    reason: str
    why_not: dict[str, str] = field(default_factory=dict)
    cannot_see: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    whole_mappings: bool = False
    policy: str = ""
    policy_reason: str = ""


def choose(
    kernel: KernelSupport,
    wish: str = AUTO,
    target: TargetFacts | None = None,
    *,
    failed: Mapping[str, str] | None = None,
    force_guests: bool = False,
) -> Choice:
    """
    Return the best backend, or the wished one.

    kernel: the facts of this machine; wish: a name, or "auto"; target: the facts of who is to be
    monitored; failed: why backends cannot be used although the facts do not speak against them;
    force_guests: take processes that run a virtual machine, although what its guest uses is not
    seen.

    Raises `BadValueError` for an unknown wish, `NotSupportedError` for virtual machines and where
    the wish cannot be met on this kernel, `NotPermittedError` where more rights would help.
    """
    asked = None if wish == AUTO else registry.kind_of(wish)
    target = target or TargetFacts()
    if not force_guests:
        refuse_virtual_machines(target)
    obstacles = {kind.name: kind.obstacle(kernel, target) for kind in registry.kinds()}
    obstacles |= failed or {}
    chosen = asked or _best(kernel, target, obstacles)
    if why := obstacles[chosen.name]:
        rights = chosen.lacks_rights(kernel, target)
        error = NotPermittedError if rights else NotSupportedError
        raise error(
            f"backend {chosen.name} cannot be used here: {why}",
            hint=root_hint() if rights else "leave out --backend",
        )
    how = chosen.how(kernel)
    return Choice(
        backend=chosen.name,
        reason=f"asked for; {how}" if asked else how,
        why_not={
            name: why or _second(name, chosen.name)
            for name, why in obstacles.items()
            if name != chosen.name
        },
        cannot_see={kind.name: kind.blind_to(kernel) for kind in registry.kinds()},
        warnings=(
            *_why_so_coarse(kernel, chosen, {} if asked else obstacles),
            *_warnings(kernel, target, chosen),
            *chosen.warnings(kernel),
        ),
        whole_mappings=chosen.whole_mappings,
    )


def _why_so_coarse(
    kernel: KernelSupport, chosen: BackendKind, obstacles: Mapping[str, str]
) -> list[str]:
    """Tell root, who may expect more, what keeps single pages from being seen."""
    if not (kernel.root and chosen.whole_mappings):
        return []
    return [
        f"backend {kind.name} cannot be used here: {obstacles[kind.name]}"
        for kind in registry.kinds()
        if kind.clears_bits and not kind.whole_mappings and obstacles.get(kind.name)
    ][:1]


def _best(kernel: KernelSupport, target: TargetFacts, obstacles: Mapping[str, str]) -> BackendKind:
    for kind in registry.kinds():
        if not obstacles[kind.name]:
            return kind
    if target.operations == "paddr":
        raise NotSupportedError(
            "physical memory (paddr) is monitored by the kernel's own DAMON only: "
            f"{obstacles[registry.names()[0]]}",
            hint="monitor processes instead: by pid, name or cgroup",
        )
    reasons = "; ".join(f"{name}: {why}" for name, why in obstacles.items())
    rights = any(kind.lacks_rights(kernel, target) for kind in registry.kinds())
    error = NotPermittedError if rights else NotSupportedError
    raise error(
        f"no backend can be used here. {reasons}",
        hint=root_hint() if rights else "`isotherm doctor` says what this machine offers",
    )


def _second(name: str, chosen: str) -> str:
    """Say why a backend that would work is not taken."""
    order = registry.names()
    if order.index(name) < order.index(chosen):
        return f"works here, but {chosen} was asked for"
    return f"works here, but {chosen} sees more at less cost"


def _warnings(kernel: KernelSupport, target: TargetFacts, chosen: BackendKind) -> list[str]:
    found = []
    if chosen.clears_bits and kernel.damon is not None:
        found += _kernel_watches(kernel, target)
    found += [
        f"another isotherm (process {watcher}) watches process {pid}: each hides accesses from "
        "the other"
        for watcher, pid in target.watched
    ]
    found += [
        f"process {pid} ({shown(name)}) runs a virtual machine: what its guest uses is not seen, "
        "and may look cold"
        for pid, name in target.kvm
    ]
    return found


def _kernel_watches(kernel: KernelSupport, target: TargetFacts) -> list[str]:
    """Say where the kernel's own DAMON looks at the same memory."""
    found = []
    damon = kernel.damon
    for kdamond in damon.kdamonds if damon else ():
        watched = set(kdamond.pids) & set(target.pids)
        if kdamond.running and (kdamond.operations == "paddr" or watched):
            what = (
                "physical memory" if kdamond.operations == "paddr" else f"process {min(watched)}"
            )
            found.append(
                f"the kernel's own DAMON (kdamond.{kdamond.index}) watches {what} every "
                f"{kdamond.sample_us / 1000:g} ms: it clears accessed bits too, so a few accesses "
                "may be missed"
            )
    if damon and damon.modules:
        found.append(
            f"the kernel runs {', '.join(damon.modules)}: it clears accessed bits too, so a few "
            "accesses may be missed"
        )
    return found


def open_best(kernel: KernelSupport, wish: str, opening: Opening) -> tuple[Choice, Backend]:
    """
    Choose a backend and open it.

    With "auto", one that cannot be opened after all is left for the next, and the choice warns of
    it. Raises as `choose`, or what kept the most preferred one from being opened.
    """
    target, force = opening.targets.facts(), opening.force_guests
    failed: dict[str, str] = {}
    if wish == AUTO:
        unsuited = {
            kind.name: kind.unsuited(resolved(kind, opening, target)) for kind in registry.kinds()
        }
        failed = {name: why for name, why in unsuited.items() if why}
    first: IsothermError | None = None
    told: list[str] = []
    while True:
        try:
            choice = choose(kernel, wish, target, failed=failed, force_guests=force)
        except (NotSupportedError, NotPermittedError):
            if first is not None:
                raise first from None
            raise
        kind = registry.kind_of(choice.backend)
        try:
            backend = kind.open(resolved(kind, opening, target))
        except (NotSupportedError, NotPermittedError) as err:
            if wish != AUTO:
                raise
            first = first or err
            failed[choice.backend] = err.message
            told.append(f"backend {choice.backend} cannot be used here: {err.message}")
            continue
        note = kind.shared_note(opening)
        warnings = (*told, *choice.warnings, *([note] if note else []))
        return _with_policy(choice, kind, opening, target, warnings), backend


def _with_policy(
    choice: Choice,
    kind: BackendKind,
    opening: Opening,
    target: TargetFacts,
    warnings: tuple[str, ...],
) -> Choice:
    chosen = policy_for(
        kind, opening.wish, target, overhead=opening.overhead, schemes=bool(opening.schemes)
    )
    return replace(
        choice,
        warnings=tuple(dict.fromkeys(warnings)),
        policy=chosen.name,
        policy_reason=chosen.reason if opening.wish.policy == POLICY_AUTO else "",
    )


def try_out(name: str) -> SelfTest | None:
    """Run the self-test of a backend; None if it has none. An error becomes a `problem`."""
    kind = registry.kind_of(name)
    try:
        return kind.self_test()
    except (IsothermError, OSError) as err:
        return SelfTest(name, problem=str(err).split("\n", 1)[0])

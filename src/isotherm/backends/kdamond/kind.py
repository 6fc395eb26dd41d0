"""The backend `kdamond`: the kernel's own DAMON does the work."""

from __future__ import annotations

from isotherm.backends.kind import UNSEEN_BY_PROCESSES, BackendKind
from isotherm.backends.opening import Opening
from isotherm.core.backend import Backend
from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel.damon import sysfs as damon_sysfs
from isotherm.kernel.features import KernelSupport
from isotherm.model.attrs import Attrs
from isotherm.targets.target_set import TargetFacts


class _Kdamond(BackendKind):
    name = "kdamond"
    clears_bits = False

    def how(self, kernel: KernelSupport) -> str:
        del kernel
        return "the kernel's own DAMON does the work"

    def blind_to(self, kernel: KernelSupport) -> tuple[str, ...]:
        del kernel
        return ("hugetlb pages in use by drivers", *UNSEEN_BY_PROCESSES[1:])

    def obstacle(self, kernel: KernelSupport, target: TargetFacts) -> str:
        damon = kernel.damon
        if damon is None:
            return "this kernel has no DAMON"
        if any(kdamond.running for kdamond in damon.foreign):
            return "the kernel's DAMON is in use by somebody else"
        wish, known = target.operations, damon.operations
        if damon.readable and known is not None and wish not in known:
            return f"the kernel's DAMON has no {wish} operations, only {', '.join(known)}"
        if damon.modules:
            return f"the kernel's module {damon.modules[0]} runs DAMON, and excludes all others"
        if refused := damon_sysfs.left_alone():
            return refused
        if not damon.readable:
            rights = "" if kernel.root else ": needs root"
            return f"not allowed to see the kernel's DAMON{rights}"
        if not damon.free:
            if damon.foreign:
                return "the kernel's DAMON is configured by somebody else, though it does not run"
            return "other isotherms use all kdamonds that there are"
        return ""

    def unsuited(self, opening: Opening) -> str:
        wish = opening.wish
        if wish.profile is not None:
            return f"it has the running kernel's rules, and profile {wish.profile} was asked for"
        if wish.policy != "damon":
            return f"it has the kernel's policy, and {wish.policy} was asked for"
        if opening.targets.waits:
            return "a kdamond ends with its last process, and others are waited for"
        if opening.schemes and opening.targets.scope.operations != "paddr":
            return "the kernel does not tell what came of a region, nor can be held back"
        return ""

    def open(self, opening: Opening) -> Backend:
        # Only here: it is not needed to decide.
        from isotherm.backends.kdamond.kdamond import GUARD_REFUSED, Kdamond

        if opening.seed is not None:
            raise BadValueError(
                "the kernel draws its samples itself: it takes no seed",
                hint="leave out the seed, or choose another backend",
            )
        if opening.wish.profile is not None:
            raise BadValueError(
                "the kernel's DAMON has the running kernel's own rules: it takes no profile",
                hint="leave out the profile, or choose another backend",
            )
        if opening.wish.policy != "damon":
            raise BadValueError(
                "the kernel's DAMON has a policy of its own",
                hint="leave out the policy, or choose another backend",
            )
        if opening.guarded:
            raise NotSupportedError(
                GUARD_REFUSED,
                hint="choose another backend, or give the schemes a goal, as some_mem_psi_us",
            )
        return Kdamond(
            opening.targets,
            opening.wish.over(Attrs()),
            opening.schemes,
            dry_run=opening.dry_run,
            observe=opening.observe,
        )


KIND = _Kdamond()

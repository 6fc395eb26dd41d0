"""Sessions on a simulated machine: the same monitor and policies, in simulated time."""

from __future__ import annotations

from dataclasses import dataclass, field

from isotherm.backends.opening import Wish, open_monitor
from isotherm.backends.sim.charged import ChargedLook
from isotherm.backends.sim.costs import PROFILES, Costs
from isotherm.backends.sim.workload import Workload
from isotherm.core.act import CountOnly
from isotherm.core.policies import MAP, SENTINELS, policy_named
from isotherm.session.metrics import SystemMetrics
from isotherm.session.session import MonitorSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """
    What is simulated.

    workload: what runs; costs: of looking at its memory; wish: attributes and policy; overhead:
    share of one CPU to keep to, by these costs, 0 is no bound; seed: of all that is drawn; beside:
    follow all pages beside the regions, as the backends for processes do.
    """

    workload: Workload
    costs: Costs = PROFILES["cold"]
    wish: Wish = field(default_factory=Wish)
    overhead: float = 0.01
    seed: int = 0
    beside: bool = True

    def start(self) -> tuple[MonitorSession, ChargedLook]:
        """
        Return a session on the machine at its beginning, and the look that knows the truth.

        Raises `BadValueError` for attributes, a policy or a workload that make no sense.
        """
        policy_named(self.wish.policy)
        look = ChargedLook(self.workload, self.costs, seed=self.seed, overhead=self.overhead)
        alone = self.wish.policy == MAP
        beside = self.beside and self.wish.policy != SENTINELS
        monitor = open_monitor(
            look,
            CountOnly(look.name),
            wish=self.wish,
            metrics=SystemMetrics(),
            seed=self.seed,
            clock=look.clock,
            overhead=self.overhead or None,
            share=self.overhead or 1.0,
            page_map=look.page_map(self.overhead, alone=alone) if alone or beside else None,
        )
        targets = [found.target for found in look.targets()]
        return (
            MonitorSession(monitor, targets=targets, clock=look.clock, operations=None),
            look,
        )

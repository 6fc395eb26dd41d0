"""A look at processes, what acts beside it, and who is looked at, put together as backends do."""

from contextlib import ExitStack

from isotherm.actions.actor import Actor
from isotherm.actions.on_processes import ActOnProcesses
from isotherm.backends.bpf.look import BpfLook
from isotherm.core.monitor import Monitor
from isotherm.model.scope import Scope
from isotherm.targets.target_set import ProcessTargets


class Composed:
    """The look and the act of these pids in one; what neither has is the look's own."""

    def __init__(
        self,
        pids,
        kind=BpfLook,
        *,
        follow_children=True,
        ranges=(),
        force_guests=False,
        look_again=True,
        **options,
    ):
        self._stack = ExitStack()
        scope = Scope("fvaddr", tuple(ranges)) if ranges else Scope()
        targets = ProcessTargets(
            pids, follow_children=follow_children, scope=scope, force_guests=force_guests
        )
        self._stack.callback(targets.close)
        try:
            self.look = kind(targets, **options)
        except BaseException:
            self._stack.close()
            raise
        self._stack.callback(self.look.close)
        walker = getattr(self.look, "walker", None)
        self.acting = ActOnProcesses(
            self.look, lambda: Actor(walker, look_again=look_again, force_guests=force_guests)
        )
        self._stack.callback(self.acting.close)

    def __getattr__(self, name):
        where = self.acting if name in ("act", "why_not", "warnings_for") else self.look
        return getattr(where, name)

    def monitor(self, *arguments, **options):
        """A monitor over it; close this afterwards, not that."""
        return Monitor(self.look, *arguments, act=self.acting, **options)

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

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
        with_map=False,
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
        self.map = self.look.page_map(1.0, 0) if with_map else None
        if self.map:
            self._stack.callback(self.map.close)
        walker = getattr(self.look, "walker", None)
        self.acting = ActOnProcesses(
            self.look,
            lambda: Actor(
                walker,
                self.map.core if self.map else None,
                look_again=look_again,
                force_guests=force_guests,
            ),
        )
        self._stack.callback(self.acting.close)

    def __getattr__(self, name):
        where = self.acting if name in ("act", "why_not", "warnings_for") else self.look
        return getattr(where, name)

    def targets(self):
        """As the look's; a map is told of them."""
        found = self.look.targets()
        if self.map:
            self.map.update(found)
        return found

    def monitor(self, *arguments, **options):
        """A monitor over it; close this afterwards, not that."""
        return Monitor(self.look, *arguments, act=self.acting, **options)

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

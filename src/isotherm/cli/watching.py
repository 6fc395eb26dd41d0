"""What commands that watch have in common: a session, and a program they may have started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from isotherm import _core
from isotherm.cli import complain
from isotherm.cli.foreground import Foreground, require_a_window
from isotherm.errors import CommandEndedError, IsothermError
from isotherm.session.options import Options
from isotherm.session.session import MonitorSession
from isotherm.session.start import start

#: Runs a session and closes it; returns why there was nothing to tell, if so. What has to be given
#: back before the session is goes to the stack.
Body = Callable[[MonitorSession, Foreground, ExitStack], IsothermError | None]


def watch(wanted: Options, length: int | None, body: Body) -> int:
    """
    Open a session, let `body` run it, and return the exit status.

    length: for how long, in ns, None without an end. Raises why there was nothing to tell, unless
    a command was started: then its exit status tells more.
    """
    _core.keep_little_memory()
    with Foreground() as foreground, ExitStack() as opened:
        try:
            session = opened.enter_context(start(wanted.lasting(length)))
        except CommandEndedError as err:
            complain(err.message, err.hint)
            return err.status
        foreground.watch(session)
        require_a_window(session, length)
        nothing = body(session, foreground, opened)
        if nothing is not None:
            if session.command is None:
                raise nothing
            complain(nothing.message, nothing.hint)
        return foreground.status()

"""What a service manager is told, in sd_notify(3)'s words: ready, reloading, stopping, alive."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

#: A window may take so many times its length, and so many seconds besides, before whoever
#: monitors counts as stuck.
_WINDOWS, _GRACE_S = 4, 60.0


class Notifier:
    """
    Tells the service manager that `environ` names how the agent fares; of no effect without one.

    environ: NOTIFY_SOCKET and what goes with it are taken out, so that no child speaks for us.
    Whether anybody hears is not asked: a manager that is gone ends no agent.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        taken = os.environ if environ is None else environ
        address = taken.pop("NOTIFY_SOCKET", "")
        period, pid = taken.pop("WATCHDOG_USEC", ""), taken.pop("WATCHDOG_PID", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        asked = bool(address) and pid in ("", str(os.getpid()))
        usec = int(period) if asked and period.isascii() and period.isdecimal() else 0
        #: How often WATCHDOG=1 is to be said, in seconds; None: nobody waits for it.
        self.every_s: float | None = usec / 2e6 if usec else None
        self._status = ""

    def ready(self) -> None:
        """Say that the start, or a reload, is over."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read again, until `ready`."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Say that all goes on."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in a line what is being done, if that is news."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={' '.join(text.split())}")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as made:
            made.sendto(text.encode(), self._address)


class Pulse:
    """
    When the service manager's watchdog is to be told that all goes on: while windows end.

    notifier: tells it; windows: how many have ended so far; window_s: how long one takes at
    present; now: seconds of a clock that only goes on.
    """

    def __init__(
        self,
        notifier: Notifier,
        windows: Callable[[], int],
        window_s: Callable[[], float],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._windows, self._window_s, self._now = windows, window_s, now
        self._seen, self._since = windows(), now()
        self._next = now()

    @property
    def stuck(self) -> bool:
        """Whether no window has ended for far longer than one takes; asks how many there are."""
        windows, now = self._windows(), self._now()
        if windows != self._seen:
            self._seen, self._since = windows, now
        return now - self._since > _WINDOWS * self._window_s() + _GRACE_S

    def until(self) -> float | None:
        """Return in how many seconds `beat` is due, None if nobody waits for it."""
        return None if self._notifier.every_s is None else max(0.0, self._next - self._now())

    def beat(self) -> None:
        """Say that all goes on if that is due, and so."""
        every_s, now = self._notifier.every_s, self._now()
        if every_s is not None and now >= self._next:
            self._next = now + every_s
            if not self.stuck:
                self._notifier.alive()

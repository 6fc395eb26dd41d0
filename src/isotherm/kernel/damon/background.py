"""A `FolioAger` at work in a thread of its own, so that nobody waits for the kernel's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from isotherm.errors import IsothermError
from isotherm.kernel.damon.ager import FolioAger
from isotherm.model.ranges import Range


class Ager(Protocol):
    """What clears frames, as `FolioAger` does."""

    def prepare(self, ranges: Sequence[Range]) -> None: ...
    def clear(self, ranges: Sequence[Range]) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """The ranges are known to the kernel: `begin` takes effect at once."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """They are cleared. ended_ns: by when, CLOCK_MONOTONIC; cpu_ns: CPU time of all threads."""

    ended_ns: int
    cpu_ns: int


News = Ready | Cleared


class BackgroundAger:
    """
    Clears what it is told to, one order at a time: `prepare` and `begin` each lead to news.

    make: opens what clears, in the thread, with the first order. Nothing of it ever waits but
    `close`, which gives back what was claimed.
    """

    def __init__(self, make: Callable[[], Ager] = FolioAger) -> None:
        self._make = make
        self._orders: SimpleQueue[Sequence[Range] | None] = SimpleQueue()
        self._news: SimpleQueue[News | IsothermError] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def prepare(self, ranges: Sequence[Range]) -> None:
        """Have the kernel told of ranges of physical memory; `Ready` follows."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ager", daemon=True)
            self._thread.start()
        self._orders.put(ranges)

    def begin(self) -> None:
        """Have cleared what was prepared; `Cleared` follows."""
        self._orders.put(())

    def take(self) -> News | None:
        """Return the news, None while there are none; raises what failed: no more will follow."""
        if self._news.empty():
            return None
        news = self._news.get_nowait()
        if isinstance(news, IsothermError):
            raise news
        return news

    def close(self) -> None:
        """Give back what is held; what runs is waited for. Again does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            thread.join()

    def _work(self) -> None:
        ager: Ager | None = None
        try:
            while ranges := self._orders.get():
                mark = time.thread_time_ns()
                ager = ager or self._make()
                ager.prepare(ranges)
                self._news.put(Ready())
                if self._orders.get() is None:
                    break
                kernel_ns = ager.clear(ranges)
                ended_ns = time.monotonic_ns()
                cpu_ns = kernel_ns + time.thread_time_ns() - mark
                self._news.put(Cleared(ended_ns, cpu_ns))
        except IsothermError as err:
            self._news.put(err)
        except (OSError, ValueError) as err:  # of a tree that changes under our hands
            self._news.put(IsothermError(f"the kernel's DAMON: {err}"))
        finally:
            if ager is not None:
                self._close(ager)

    def _close(self, ager: Ager) -> None:
        try:
            ager.close()
        except (IsothermError, OSError) as err:
            self._news.put(IsothermError(f"the kernel's DAMON cannot be given back: {err}"))

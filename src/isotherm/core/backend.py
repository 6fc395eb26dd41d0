"""The backend's face: all that a session knows of whatever does the monitoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from isotherm.core.look import TargetRanges
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot


class Backend(Protocol):
    """
    Runs the loop: `core.Monitor` over a Look, or a kernel that runs it itself.

    `snapshots` is iterated in one thread. `commit`, `throttle` and `stop` may be called from
    anywhere, signal handlers included; `close` when nobody is inside `snapshots` any more.
    """

    @property
    def name(self) -> str:
        """The short name, as `isotherm doctor` shows it and recordings keep it."""

    @property
    def attrs(self) -> Attrs:
        """The attributes in force."""

    @property
    def profile(self) -> str | None:
        """The Linux release whose rules are followed; None where the running kernel's are."""

    @property
    def targets(self) -> tuple[TargetRanges, ...]:
        """The targets with their address maps, in the order of `Region.target`."""

    def why_not(self, scheme: Scheme) -> str:
        """Say why a scheme cannot be done here, and what would help; "" if it can."""

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return what the user should know before a scheme runs here: no swap, for example."""

    @property
    def stretches(self) -> bool:
        """Tell whether intervals become longer where the share of CPU asks for it."""

    def snapshots(self, until_ns: int | None = None) -> Iterator[Snapshot]:
        """
        Monitor, and give a snapshot at the end of each window, until `stop` or no target is left.

        until_ns: when to end, by the clock's monotonic time, amid a window if need be.
        """

    def commit(self, attrs: Attrs | None = None, schemes: Sequence[Scheme] | None = None) -> None:
        """Change attributes, schemes (by position), or both, while monitoring."""

    def charge(self, snapshot: Snapshot, thread_cpu_ns: int) -> None:
        """
        Account for CPU time, so that the share that was asked for is kept.

        thread_cpu_ns: what the monitoring thread used since the snapshot before, all that was done
        with it included. Called after each snapshot, in the thread that iterates.
        """

    def throttle(self, share: float) -> None:
        """Let schemes use this share (0..1) of their quotas from now on."""

    def scheme_states(self) -> tuple[SchemeState, ...]:
        """Return what came of each scheme so far."""

    def alive(self) -> bool:
        """Tell whether any target still exists."""

    def stop(self) -> None:
        """End monitoring soon, without a snapshot of the unfinished window."""

    def close(self) -> None:
        """Give everything back; may be called twice."""

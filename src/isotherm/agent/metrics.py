"""The sink that keeps metrics ready: made when there is a new sum, told to whoever scrapes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from isotherm.agent.config import Settings
from isotherm.agent.exposition import Told, families, scheme_families
from isotherm.agent.groups import WatchedGroups
from isotherm.agent.openmetrics import END, Family, Labels, Sample, text_of
from isotherm.agent.sums import Grouping, GroupSum
from isotherm.kernel import procfs
from isotherm.model.page_use import PageUse
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot
from isotherm.recording.writer import our_version
from isotherm.session.session import MonitorSession


@dataclass(frozen=True, slots=True)
class Published:
    """
    What was told last.

    text: metrics of groups; sums: what they are made of; use: where from; taken_ns:
    CLOCK_MONOTONIC of it.
    """

    text: bytes
    sums: dict[Labels, GroupSum]
    use: PageUse
    taken_ns: int


class MetricsSink:
    """
    Metrics of the groups, of the last sum of the map of pages, with how old that is.

    settings, groups: what is told of whom; more: further families, asked for at each scrape;
    learned: is called with each sum. What
    is called from the thread that serves is `text`, `targets` and `change`.
    """

    def __init__(
        self,
        settings: Settings,
        groups: WatchedGroups,
        more: Callable[[], Sequence[Family]] = tuple,
        learned: Callable[[dict[Labels, GroupSum], PageUse], None] = lambda *_: None,
    ) -> None:
        self._settings = settings
        self._grouping = Grouping(groups, settings.groups)
        self._more, self._learned = more, learned
        self._session: MonitorSession | None = None
        self._version = our_version()
        #: Of each scheme in force what came of it, with the last snapshot.
        self.states: tuple[SchemeState, ...] = ()
        self._shared_cpu_ns = 0
        self.last: Published | None = None

    def open(self, session: MonitorSession) -> None:
        """Take note of what monitors."""
        self._session = session

    def take(self, snapshot: Snapshot) -> None:
        """Make the metrics anew where there is a new sum."""
        self.states = snapshot.schemes
        use = snapshot.page_use
        if use is None:
            return
        settings = self._settings
        self._grouping.most = settings.groups
        sums = self._grouping.sums(use, snapshot.targets)
        told = Told(
            sums, use, settings.windows_ns, self._grouping.in_other, settings.referenced_ns
        )
        self._learned(sums, use)
        self._shared_cpu_ns = use.shared_cpu_ns
        self.last = Published(text_of(families(told)), sums, use, use.monotonic_ns)

    def close(self) -> None:
        """Nothing is held."""

    def change(self, settings: Settings) -> None:
        """From the next sum on tell what other settings say."""
        self._settings = settings

    def text(self) -> bytes:
        """Return what a scrape gets: what is ready, and what the agent knows of itself."""
        last = self.last
        groups = last.text if last is not None else b""
        return groups + text_of([*self._own(last), *self._more()]) + END

    def targets(self) -> list[dict[str, Any]]:
        """Return the groups for `isotherm ctl targets`, those with most in memory first."""
        last = self.last
        if last is None:
            return []
        ordered = sorted(last.sums.items(), key=lambda pair: (-pair[1].resident, pair[0]))
        return [self._document(labels, group, last.use) for labels, group in ordered]

    def _document(self, labels: Labels, group: GroupSum, use: PageUse) -> dict[str, Any]:
        return {
            "labels": dict(labels),
            "processes": group.processes,
            "resident_bytes": group.resident,
            "unknown_bytes": group.unknown,
            "used_bytes": {
                f"{ns // 1_000_000}ms": group.row.used[i]
                for i, ns in enumerate(use.windows_ns)
                if group.row is not None and ns in self._settings.windows_ns
            },
        }

    def _own(self, last: Published | None) -> Iterator[Family]:
        session = self._session
        backend = session.backend if session is not None else ""
        info = (("version", self._version), ("backend", backend))
        yield Family("isotherm_agent", "info", "", "The agent.", [Sample("_info", info, 1)])
        age = [] if last is None else [Sample("", (), (time.monotonic_ns() - last.taken_ns) / 1e9)]
        yield Family("isotherm_sum_age_seconds", "gauge", "seconds",
                     "How old the figures of groups are.", age)  # fmt: skip
        yield Family("isotherm_agent_cpu_seconds", "counter", "seconds",
                     "CPU time of the agent.",
                     [Sample("_total", (), time.process_time())])  # fmt: skip
        yield Family("isotherm_agent_kernel_cpu_seconds", "counter", "seconds",
                     "CPU time of the kernel's DAMON, to see what is shared.",
                     [Sample("_total", (), self._shared_cpu_ns / 1e9)])  # fmt: skip
        yield Family("isotherm_agent_resident_bytes", "gauge", "bytes",
                     "Memory of the agent that is resident.",
                     [Sample("", (), procfs.statm(os.getpid()).resident_bytes)])  # fmt: skip
        yield from scheme_families(self.states, dry_run=not self._settings.apply)

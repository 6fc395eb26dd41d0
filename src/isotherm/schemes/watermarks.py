"""When schemes rest, by the free share of memory."""

from __future__ import annotations

from isotherm.model.scheme import Watermarks
from isotherm.schemes.goals import Metrics


class WatermarkState:
    """Whether a scheme's watermarks let it work; at first they do (damos_wmark_wait_us)."""

    def __init__(self, marks: Watermarks) -> None:
        self.marks = marks
        self.active = True

    def wait_us(self, metrics: Metrics) -> int:
        """Look at the metric; return 0 if the scheme is active, else when to look again, in µs."""
        if self.marks.metric == "none":
            return 0
        self.look(metrics.free_permil())
        return 0 if self.active else self.marks.interval_us

    def look(self, free: int) -> None:
        """Take notice of the free share of memory, in 1/1,000."""
        marks = self.marks
        if free > marks.high or free < marks.low:
            self.active = False
        elif self.active or free < marks.mid:
            self.active = True

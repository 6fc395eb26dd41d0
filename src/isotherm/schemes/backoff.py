"""How a guard reacts: to nothing at once, then slowly up again."""

from __future__ import annotations

SECOND_NS = 1_000_000_000
#: Quiet this long before anything is done again; twice as long each time that it was too soon.
FIRST_HOLD_NS = 5 * SECOND_NS
LONGEST_HOLD_NS = 80 * SECOND_NS
#: The first share of the quota after a hold, and its growth with every quiet look.
_FIRST_SHARE = 1 / 16
_GROWTH = 2 ** (1 / 2)


class Backoff:
    """
    The share of its quota that a scheme may use, by whether harm was seen.

    Invariants: 0 <= share <= 1; harm makes it 0 at once; it never grows by more than half at a
    time, and not before the hold is over.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._hold_ns = FIRST_HOLD_NS
        self._harmed_ns = 0

    def observe(self, *, harmed: bool, now_ns: int) -> float:
        """Take a look at the machine; return the share from now on."""
        if harmed:
            if 0 < self.share < 1:  # it was too soon
                self._hold_ns = min(2 * self._hold_ns, LONGEST_HOLD_NS)
            self.share, self._harmed_ns = 0.0, now_ns
        elif self.share >= 1:
            self._hold_ns = FIRST_HOLD_NS
        elif self.share:
            self.share = min(1.0, self.share * _GROWTH)
        elif now_ns - self._harmed_ns >= self._hold_ns:
            self.share = _FIRST_SHARE
        return self.share

"""Random numbers of the monitor; `_core.Rng` draws the same sequences."""

from collections.abc import Sequence

from isotherm.core.policy import RngKind

_U32 = 2**32 - 1
_U64 = 2**64 - 1


class Rng:
    """
    A generator of 32-bit numbers: a seed gives the same regions in Python and in C.

    Kinds: "splitmix" (splitmix64, the upper half; Steele, Lea, Flood 2014), "lcg" (x = x *
    1664525 + 1013904223 modulo 2^32, the generator of the conformance scenarios), and "draws"
    (the numbers given, then zeros).
    """

    def __init__(
        self, kind: RngKind = "splitmix", seed: int = 0, draws: Sequence[int] = ()
    ) -> None:
        if kind not in ("splitmix", "lcg", "draws"):
            raise ValueError(f"no random generator {kind!r}")
        self._kind = kind
        self._draws = iter(draws)
        self.state = seed & (_U32 if kind == "lcg" else _U64)

    def u32(self) -> int:
        """Return the next 32 random bits."""
        if self._kind == "draws":
            return next(self._draws, 0)
        if self._kind == "lcg":
            self.state = (self.state * 1664525 + 1013904223) & _U32
            return self.state
        self.state = (self.state + 0x9E3779B97F4A7C15) & _U64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64
        return (z ^ (z >> 31)) >> 32

    def range(self, l: int, r: int) -> int:
        """
        Return a number of [l, r), as damon_rand(): one draw, two (high first) above 2^32-1.

        The multiplication maps a draw to the span without a division; its bias is below
        span / 2^32.
        """
        span = r - l
        if span > _U32:
            high = self.u32()
            return l + (((high << 32 | self.u32()) * span) >> 64)
        return l + ((self.u32() * span) >> 32)

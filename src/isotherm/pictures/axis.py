"""Where the ticks of axes are."""

from __future__ import annotations

from isotherm.units import format_duration

_S = 1_000_000_000
_STEPS = (
    *(10**n * m for n in range(9) for m in (1, 2, 5)),
    *(n * _S for n in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)),
    *(n * 3600 * _S for n in (6, 12, 24, 48, 96)),
)


def ticks_of_time(duration_ns: int, most: int) -> list[int]:
    """Return round times from 0 to a duration, at most so many, in ns."""
    step = next((n for n in _STEPS if duration_ns // n < most), None)
    if step is None:
        step = _STEPS[-1]
        while duration_ns // step >= most:
            step *= 2
    return list(range(0, duration_ns + 1, step))


def exact_time(ns: int) -> str:
    """Return a round time: "0s", "200ms", "1m30s"."""
    seconds, rest = divmod(ns, _S)
    if rest or seconds < 60:
        return format_duration(ns)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{n}{unit}" for n, unit in parts if n)

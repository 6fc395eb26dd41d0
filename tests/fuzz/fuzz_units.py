"""Sizes, durations, shares and ranges: refused in one short line, or read back as written."""

from __future__ import annotations

from harness import NASTY, Fuzzer, main, mutate

from isotherm import units
from isotherm.errors import BadValueError

EXAMPLES = [
    text.encode()
    for text in (
        *("4K", "2.5 GiB", "12345678", "1,024kb", "max", "0", "16E", ".5M", "1_000B"),
        *("100ms", "3 s 400 ms", "1m30s", "0.5us", "5µs", "2h", "365d", "7ns", "5"),
        *("5%", "0.3 %", "50", "1/3", "100%", "0%", "1e2%", "10..1000", "3..3", "..5"),
    )
]


def generate(rng):
    if rng.random() < 0.3:
        numbers = ("0", "5", "12.25", "1,5", "9" * rng.choice((3, 20, 5000)), ".5", "1e5", "-3")
        units_ = ("", "K", "MiB", "ms", "s", "%", " us", "aggr", "d", "E", "..")
        parts = [rng.choice(numbers) + rng.choice(units_) for _ in range(rng.randint(1, 4))]
        return rng.choice(("", " ", "..", ",")).join(parts).encode()
    if rng.random() < 0.1:
        return rng.choice(NASTY)
    return mutate(rng, rng.choice(EXAMPLES), rng.choice(EXAMPLES))


def _tried(read, text, problems):
    """Return what a reader makes of a text, None for a refusal that is one short line."""
    try:
        return read(text)
    except BadValueError as err:
        if len(err.message) > 250 or not err.message.isprintable() or not err.hint.isprintable():
            problems.append(err.message)
        if not err.hint:
            problems.append(f"no hint: {err.message}")
        return None


def check(data):
    text = data.decode("utf-8", "surrogateescape")
    problems: list[str] = []
    nbytes = _tried(units.size, text, problems)
    ns = _tried(units.duration_ns, text, problems)
    us = _tried(units.duration_us, text, problems)
    share = _tried(units.percent, text, problems)
    cpu = _tried(units.cpu_share, text, problems)
    bounds = _tried(units.int_range, text, problems)
    assert not problems, problems
    if nbytes is not None:
        assert 0 <= nbytes < 2**64
        assert units.size(units.exact_size(nbytes)) == nbytes
        assert len(units.format_size(nbytes)) < 20
    if us is not None:
        assert 0 <= us < 2**64
        assert units.duration_us(units.exact_duration(us)) == us
        assert ns is None or len(units.format_duration(ns)) < 30
    if share is not None:
        assert share >= 0
        assert float(share) < 1e40
    if cpu is not None:
        assert cpu == float(share)
        assert 1e-5 <= cpu <= 64
    if bounds is not None:
        assert all(0 <= bound < 2**64 for bound in bounds)
    return "refused" if {nbytes, ns, us, share, bounds} == {None} else "accepted"


FUZZER = Fuzzer("units", generate, check)

if __name__ == "__main__":
    main(FUZZER)

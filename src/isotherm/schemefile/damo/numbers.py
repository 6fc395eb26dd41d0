"""
Numbers as damo writes them: "12,345", "5 %", "3 s 400 ms", "7 aggr_intervals", "max".

A bare number is in the unit of its field. Where damo itself cut digits off, the result is what
damo would read: parts of a byte, permil or basis point are dropped.
"""

from __future__ import annotations

import re
from fractions import Fraction

from isotherm.errors import BadValueError
from isotherm.model.attrs import UINT_MAX
from isotherm.model.scheme import Access, Age
from isotherm.schemefile.source import Node, Word
from isotherm.units import U64_MAX, duration_ns

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{0,40})?([eE][-+]?[0-9]{1,2})?")
_SIZES = {letter: 1024**power for power, letter in enumerate("BKMGTPE")}


def bare(text: str) -> Fraction | None:
    """Return the number of "12,345", "0.3", 1e6, "min" or "max"; None if a unit follows."""
    if text in ("min", "max"):
        return Fraction(0 if text == "min" else U64_MAX)
    number = text.replace(",", "").strip()
    return Fraction(number) if _NUMBER.fullmatch(number) else None


def _number(word: Word, what: str, example: str, text: str | None = None) -> Fraction:
    number = bare(word.text if text is None else text)
    if number is None or number < 0:
        raise word.error(f"{word.said} is not {what}", hint=f"write it as {example}")
    return number


def whole(node: Node, what: str) -> int:
    """Return a whole number, 0 or more."""
    word = node.scalar(what)
    number = _number(word, what, "12345")
    if number.denominator != 1:
        raise word.error(f"{word.said} is not a whole number, as {what} must be")
    return int(number)


def signed(node: Node, what: str) -> int:
    """Return a whole number, also below 0."""
    word = node.scalar(what)
    number = bare(word.text)
    if number is None or number.denominator != 1:
        raise word.error(f"{word.said} is not {what}")
    return int(number)


def nbytes(node: Node, what: str) -> int:
    """Return bytes; "11.774 MiB" was rounded by damo and is what damo makes of it again."""
    word = node.scalar(what)
    text = word.text.strip()
    stem = text.rstrip("iBKMGTPE")
    suffix = text[len(stem) :].removesuffix("B").removesuffix("i") or "B"
    if bare(text) is not None or suffix not in _SIZES:
        stem, suffix = text, "B"
    number = _number(word, what, "12345678 or 4 KiB", stem)
    return min(U64_MAX, int(number * _SIZES[suffix]))


def _time(node: Node, what: str, unit_ns: int, unit: str) -> int:
    word = node.scalar(what)
    number = bare(word.text)
    if number is None:
        with word.placed(what):
            number = Fraction(duration_ns(word.text.replace(",", "")), unit_ns)
    if number < 0 or number.denominator != 1:
        raise word.error(f"{what} {word.said} is not a whole number of {unit}")
    return min(U64_MAX, int(number))


def us(node: Node, what: str) -> int:
    """Return microseconds; a bare number is in them."""
    return _time(node, what, 1_000, "microseconds")


def ms(node: Node, what: str) -> int:
    """Return milliseconds; a bare number is in them."""
    return _time(node, what, 1_000_000, "milliseconds")


def share(node: Node, what: str, scale: int) -> int:
    """Return a share in 1/scale; "5 %" is scale/20, a bare number is in 1/scale."""
    word = node.scalar(what)
    text = word.text.strip()
    if text.endswith("%"):
        return int(_number(word, what, "5 %", text[:-1]) * scale / 100)
    return int(_number(word, what, "5 %"))


def flag(node: Node, what: str) -> bool:
    """Return true or false, also as damo's words for them."""
    word = node.scalar(what)
    text = word.text.lower()
    if text not in ("true", "yes", "y", "false", "no", "n"):
        raise word.error(f"{what} must be true or false, not {word.said}")
    return text in ("true", "yes", "y")


def _counted(word: Word, unit: str) -> int | None:
    """Return the number in front of a unit's name; None if another unit or none follows."""
    number, _, name = word.text.strip().rpartition(" ")
    if name not in (unit, unit.removesuffix("s")):
        return None
    return int(_number(word, f"a number of {unit}", f"3 {unit}", number))


def ends(node: Node, what: str) -> tuple[Word, Word]:
    """Return the words of min and max."""
    pairs = node.mapping(what)
    for key in ("min", "max"):
        if key not in pairs:
            raise node.word.error(f"{what} needs a {key}")
    return pairs["min"].scalar(f"{what} min"), pairs["max"].scalar(f"{what} max")


def access(node: Node) -> Access:
    """Return bounds of the access rate, in percent or samples; the highest count is no bound."""
    low, high = ends(node, "nr_accesses")
    counts = [_counted(word, "samples") for word in (low, high)]
    with node.word.placed("nr_accesses"):
        if counts[0] is not None and (counts[1] is not None or high.text == "max"):
            top = UINT_MAX if counts[1] is None else counts[1]
            return Access(counts[0], None if top >= UINT_MAX else top, "samples")
        bounds = []
        for word in (low, high):
            text = word.text.strip()
            number = bare(text.removesuffix("%"))
            if number is None or number < 0:
                raise word.error(
                    f"{word.said} is not an access rate",
                    hint='"5 %" or "3 samples", both ends in one unit',
                )
            bounds.append(number)
        # damo writes the kernel's endless count as that many percent of a window.
        return Access(bounds[0], None if bounds[1] > 100 else bounds[1])


def age(node: Node) -> Age:
    """Return bounds of the age, in microseconds or windows; the highest number is no bound."""
    low, high = ends(node, "age")
    counts = [_counted(word, "aggr_intervals") for word in (low, high)]
    with node.word.placed("age"):
        if counts[0] is not None and (counts[1] is not None or high.text == "max"):
            top = UINT_MAX if counts[1] is None else counts[1]
            return Age(counts[0], None if top >= UINT_MAX else top, "windows")
        times = []
        for word in (low, high):
            try:
                times.append(us(Node(word, word.text), "age"))
            except BadValueError:
                raise word.error(
                    f"{word.said} is not an age",
                    hint='"5 s" or "7 aggr_intervals", both ends in one unit',
                ) from None
        return Age(times[0], None if times[1] >= U64_MAX else times[1])

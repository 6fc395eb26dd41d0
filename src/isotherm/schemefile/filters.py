"""Filters: "anon,!memcg:/critical" of lines, "reject memcg /critical" of documents."""

from __future__ import annotations

import re

from isotherm.model.scheme import Filter, FilterType
from isotherm.schemefile.source import InexpressibleError, Word, quote, unknown
from isotherm.schemefile.values import count, format_share, format_sizes, parse_sizes, whole_share
from isotherm.units import U64_MAX, duration_us, exact_duration, size

#: Name in lines -> type.
FILTERS = {
    "anon": FilterType.ANON,
    "active": FilterType.ACTIVE,
    "young": FilterType.YOUNG,
    "unmapped": FilterType.UNMAPPED,
    "memcg": FilterType.MEMCG,
    "addr": FilterType.ADDR,
    "target": FilterType.TARGET,
    "huge": FilterType.HUGEPAGE_SIZE,
    "probe": FilterType.PROBE_HITS_WSUM,
    "idle": FilterType.IDLE,
    "name": FilterType.NAME,
    "underused": FilterType.UNDERUSED,
}
_SHORT = {kind: name for name, kind in FILTERS.items()}
_ALSO = {str(kind): kind for kind in FILTERS.values()}
PLAIN = frozenset({FilterType.ANON, FilterType.ACTIVE, FilterType.YOUNG, FilterType.UNMAPPED})
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_WORDS = re.compile(r"(allow|reject)\s+(?:(not|none)\s+)?")


def parse_type(word: Word) -> FilterType:
    """Return the type of "anon", "memcg", "huge" or "hugepage_size"."""
    kind = FILTERS.get(word.text) or _ALSO.get(word.text)
    if kind is None:
        raise unknown(word, "there is no filter", word.text, [*FILTERS, *_ALSO])
    return kind


def parse_address(word: Word) -> int:
    """Return the address of "0x7f0000", "4G" or "4096"."""
    if word.text.lower().startswith("0x"):
        if not _HEX.fullmatch(word.text):
            raise word.error(
                f"address {word.said} is no number of 64 bits", hint="write it as 0x7f0000"
            )
        return int(word.text, 16)
    with word.placed("address"):
        return size(word.text)


def parse_addresses(word: Word) -> tuple[int, int]:
    """Return [start, end) of "0x1000-0x2000" or "0x1000..0x2000"."""
    separator = ".." if ".." in word.text else "-"
    at = word.text.find(separator)
    if at < 0:
        raise word.error(f"{word.said} is no range of addresses", hint="write 0x1000-0x2000")
    low, high = word.part(0, at), word.part(at + len(separator))
    bounds = parse_address(low), parse_address(high)
    if bounds[0] > bounds[1]:
        raise word.error(f"addresses {word.text} are upside down")
    return bounds


def format_addresses(start: int, end: int) -> str:
    return f"{start:#x}-{end:#x}"


def _counts(word: Word) -> tuple[int, int]:
    at = word.text.find("..")
    low, high = (word.part(0, at), word.part(at + 2)) if at >= 0 else (word, word)
    top = count(high, "a count") if high.text not in ("", "max") else U64_MAX
    return (count(low, "a count") if low.text else 0), top


def parse_permils(word: Word) -> tuple[int, int]:
    """Return the closed bounds, in 1/1,000, of "80%..", "..20%" or "20%..80%"."""
    at = word.text.find("..")
    if at < 0 or word.text == "..":
        raise word.error(f"{word.said} is no range of shares", hint="80%.. is 80% or more")
    low, high = word.part(0, at), word.part(at + 2)
    bottom = whole_share(low, 1000, "a share") if low.text else 0
    top = whole_share(high, 1000, "a share") if high.text else 1000
    if bottom > top:
        raise word.error(f"shares {word.text} are upside down", hint="the lower bound comes first")
    return bottom, top


def format_permils(low: int, high: int) -> str:
    """Return bounds as `parse_permils` reads them."""
    return f"{format_share(low, 1000)}..{format_share(high, 1000) if high < 1000 else ''}"


def parse_detail(word: Word, kind: FilterType, *, matching: bool, allow: bool) -> Filter:
    """Return the filter of this type whose further words are `word`."""
    if kind in PLAIN:
        if word.text:
            raise word.error(f"filter {_SHORT[kind]} takes no {word.said}")
    elif not word.text:
        raise word.error(f"filter {_SHORT[kind]} needs a value", hint=_EXAMPLES[kind])
    with word.placed():
        if kind is FilterType.MEMCG:
            return Filter(kind, matching, allow, memcg=word.plain())
        if kind is FilterType.NAME:
            return Filter(kind, matching, allow, name=word.plain())
        if kind is FilterType.TARGET:
            return Filter(kind, matching, allow, target=count(word, "the index of a target"))
        bounds = None
        if kind is FilterType.ADDR:
            bounds = parse_addresses(word)
        elif kind is FilterType.HUGEPAGE_SIZE:
            bounds = parse_sizes(word)
        elif kind is FilterType.PROBE_HITS_WSUM:
            bounds = _counts(word)
        elif kind is FilterType.IDLE:
            bounds = duration_us(word.text, bare="s"), U64_MAX
        elif kind is FilterType.UNDERUSED:
            bounds = parse_permils(word)
        return Filter(kind, matching, allow, bounds)


_EXAMPLES = {
    FilterType.MEMCG: "memcg:/app",
    FilterType.TARGET: "target:0",
    FilterType.ADDR: "addr:0x1000-0x2000",
    FilterType.HUGEPAGE_SIZE: "huge:2M",
    FilterType.PROBE_HITS_WSUM: "probe:1..4",
    FilterType.IDLE: "idle:30s",
    FilterType.NAME: "name:[heap]",
    FilterType.UNDERUSED: "underused:80%..",
}


def parse_filter(word: Word) -> Filter:
    """
    Return the filter of one part of a line, or of "reject not anon".

    `x` keeps only x (rejects what is not), `!x` keeps x out, `+x` lets x through whatever comes
    after, `+!x` what is not x.
    """
    spoken = _WORDS.match(word.text)
    if spoken:
        name, _, detail = word.part(spoken.end()).partition(" ")
        return parse_detail(
            detail, parse_type(name), matching=not spoken[2], allow=spoken[1] == "allow"
        )
    allow = word.text.startswith("+")
    rest = word.part(1) if allow else word
    negated = rest.text.startswith("!")
    if negated:
        rest = rest.part(1)
    name, _, detail = rest.partition(":")
    # Without a sign, what does not match is what is rejected.
    matching = negated != allow
    return parse_detail(detail, parse_type(name), matching=matching, allow=allow)


def format_detail(rule: Filter) -> str:
    """Return what follows the type, "" of plain types."""
    _check_expressible(rule)
    if rule.type is FilterType.MEMCG:
        return quote(rule.memcg)
    if rule.type is FilterType.NAME:
        return quote(rule.name)
    if rule.type is FilterType.TARGET:
        return str(rule.target)
    if rule.bounds is None:
        return ""
    low, high = rule.bounds
    if rule.type is FilterType.ADDR:
        return format_addresses(low, high)
    if rule.type is FilterType.HUGEPAGE_SIZE:
        return format_sizes(low, high)
    if rule.type is FilterType.IDLE:
        return exact_duration(low)
    if rule.type is FilterType.UNDERUSED:
        return format_permils(low, high)
    return f"{low}..{high}"


def _check_expressible(rule: Filter) -> None:
    if rule.target and rule.type is not FilterType.TARGET:
        raise InexpressibleError(
            f"filter {rule.type}: a target ({rule.target}) means nothing there"
        )


def format_filter(rule: Filter) -> str:
    """Return the filter as a part of a line."""
    sign = "+" if rule.allow else ""
    sign += "!" if rule.matching != rule.allow else ""
    detail = format_detail(rule)
    return sign + _SHORT[rule.type] + (f":{detail}" if detail else "")


def say_filter(rule: Filter) -> str:
    """Return the filter in the words of documents: "reject not anon"."""
    verb = "allow" if rule.allow else "reject"
    detail = format_detail(rule)
    words = [verb, *([] if rule.matching else ["not"]), _SHORT[rule.type], detail]
    return " ".join(word for word in words if word)

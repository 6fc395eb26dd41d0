"""What was found in memory itself: how compressible it is, which huge pages gain or bloat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isotherm.analysis.cold import Cold
from isotherm.model.scheme import Access, Action, Filter, FilterType, Pattern, Scheme
from isotherm.model.text import MAX_NAME
from isotherm.schemefile.lines.key_value import format_line
from isotherm.session.contents import BLOATED, Compression, Contents, HugePages
from isotherm.units import format_size

#: Less is not worth a word, nor a command.
_WORTH_BYTES = 16 << 20
_MOST_NAMES = 5


def facts(found: Cold, inside: Contents | None) -> list[tuple[str, str]]:
    """Return labels and texts."""
    if inside is None:
        return []
    made = []
    if inside.compression is not None:
        made.append(("compression", _compression(found, inside.compression)))
    huge = sum(of.huge for of in inside.huge.values())
    gains = sum(of.gains for of in inside.huge.values())
    parts = []
    if gains >= _WORTH_BYTES:
        parts.append(f"{format_size(gains)} used all over are in small pages, and could be huge")
    if huge:
        parts.append(f"{format_size(huge)} are huge{_zeros(inside)}")
    if inside.note:
        parts.append(inside.note)
    return [*made, *([("huge pages", "; ".join(parts))] if parts else [])]


def _zeros(inside: Contents) -> str:
    if not inside.looked_at_zeros:
        return " (--look-at-zeros tells what of it is nothing but zeros)"
    looked = sum(of.looked for of in inside.huge.values())
    bloat = sum(of.bloat for of in inside.huge.values())
    through = f"{format_size(looked)} looked through"
    return f", {format_size(bloat)} of that small pages of nothing but zeros ({through})"


def _compression(found: Cold, compression: Compression) -> str:
    if not compression.pages:
        return "no idle page was found to compress"
    best, fast = compression.share
    filled = compression.filled / compression.pages
    said = (
        f"zram would keep it in {fast:.0%} of its size by lz4 or lzo, {best:.0%} by zstd "
        f"(about, by {compression.pages} pages, {filled:.0%} of them of one word)"
    )
    if found.best is None or not found.best.could.swap_bytes:
        return said
    saved = found.best.could.swap_bytes * (1 - fast)
    return f"{said}: {format_size(round(saved))} are saved with what zram takes counted"


def commands(found: Cold, inside: Contents | None) -> Iterator[tuple[str, str]]:
    """Yield what commands for huge pages are for, and the commands."""
    if inside is None:
        return
    if gaining := _names(inside, "gains"):
        scheme = Scheme(Action.HUGEPAGE, Pattern(access=Access(5)), filters=gaining)
        yield "hot memory into huge pages:", found.doing(format_line(scheme))
    if bloated := _names(inside, "bloat"):
        share = round(1000 * BLOATED), 1000
        sparse = Filter(FilterType.UNDERUSED, matching=False, bounds=share)
        scheme = Scheme(Action.NOHUGEPAGE, filters=(*bloated, sparse))
        why = "zeros out of huge pages (Linux 6.12 gives them back when it splits one):"
        yield why, found.doing(format_line(scheme))


def _names(inside: Contents, figure: str) -> tuple[Filter, ...]:
    """Return the filter of the mappings that it is worth while for; () for none."""
    some = [
        (getattr(of, figure), name)
        for name, of in inside.huge.items()
        if getattr(of, figure) >= _WORTH_BYTES
        and (figure == "gains" or of.zeros >= BLOATED * of.looked)
        and name.isprintable()
    ]
    names = ""
    for _, name in sorted(some, reverse=True)[:_MOST_NAMES]:
        longer = f"{names}|{name}" if names else name
        names = longer if len(longer) <= MAX_NAME else names
    return (Filter(FilterType.NAME, matching=False, name=names),) if names else ()


def document(inside: Contents | None) -> dict[str, Any]:
    """Return it as JSON has it: null where nobody looked."""
    if inside is None:
        return {"compression": None, "huge": None}
    return {
        "compression": _compression_document(inside.compression),
        "huge": [_huge_document(name, of, inside) for name, of in inside.huge.items()],
    }


def _compression_document(found: Compression | None) -> dict[str, Any] | None:
    if found is None:
        return None
    best, fast = found.share
    return {
        "pages": found.pages,
        "filled_pages": found.filled,
        "zstd_share": round(best, 4),
        "lz4_share": round(fast, 4),
    }


def _huge_document(name: str, of: HugePages, inside: Contents) -> dict[str, Any]:
    return {
        "what": name,
        "huge_bytes": of.huge,
        "could_be_huge_bytes": of.gains,
        "looked_at_bytes": of.looked,
        "zero_bytes": of.bloat if inside.looked_at_zeros else None,
    }

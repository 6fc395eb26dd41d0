"""
Names for mappings, each from what is certain about one: rules without side effects.

Each takes an address map as the kernel has it and returns {index: name}. Where something else is
possible there is no name. Names of anonymous memory are spelled as the kernel's, "[stack:NAME]"
and "[anon:NAME]".
"""

from __future__ import annotations

import os.path
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from isotherm.model.mappings import Mappings
from isotherm.model.ranges import PAGE
from isotherm.model.target import Mapping
from isotherm.naming.side_file import Part
from isotherm.naming.threads import Thread

Names = dict[int, str]

_MIB = 1 << 20
#: Heaps of glibc's arenas are as large, and as aligned (HEAP_MAX_SIZE).
_ARENA = 64 * _MIB
#: Stacks are no larger, if they are nobody else's as well: the usual limit and a guard.
_MOST_STACK = 8 * _MIB + 64 * 1024
#: Where Go asks for its first arena (runtime/malloc.go, arenaHints), and the size of one.
_GO_FIRST, _GO_ARENA = 0xC0_0000_0000, 64 * _MIB
_ZERO = "/dev/zero (deleted)"
#: Archived classes, which some versions map into the heap.
_JVM_ARCHIVE = ".jsa"

ARENA = "[anon:malloc arena]"
GO_HEAP = "[anon:Go heap]"
JVM_HEAP = "[anon:JVM heap]"
JVM_CODE = "[anon:JVM code]"
POSTGRES = "/dev/zero [PostgreSQL shared buffers]"


def stacks(mappings: Mappings, threads: Iterable[Thread], most: int = _MOST_STACK) -> Names:
    """
    Name the stacks of threads: private, written, and with a guard before them.

    most: a larger mapping holds something else as well.
    """
    found = {}
    for thread in threads:
        index = _at(mappings, thread.stack_pointer)
        if index is None or not _is(mappings, index, "rw-p"):
            continue
        if _size(mappings, index) <= most and _touches(mappings, index - 1, "---p"):
            found[index] = f"[stack:{thread.name}]"
    return found


def arenas(mappings: Mappings) -> Names:
    """Name heaps of glibc's arenas: in use, and with the reserved rest up to their full size."""
    found = {}
    starts = mappings.bounds[::2]
    for index in [i for i, start in enumerate(starts) if not start % _ARENA]:
        used = _is(mappings, index, "rw-p") and _size(mappings, index) < _ARENA
        if used and index + 1 < len(mappings) and _is(mappings, index + 1, "---p"):
            start, end = starts[index], mappings.bounds[2 * index + 1]
            rest_start, rest_end = mappings.bounds[2 * index + 2 : 2 * index + 4]
            if rest_start == end and rest_end == start + _ARENA:
                found[index] = ARENA
    return found


def go_heap(mappings: Mappings) -> Names:
    """Name Go's arenas: from the address that only Go asks for, whole arenas with their rest."""
    first = _at(mappings, _GO_FIRST)
    if first is None or mappings.bounds[2 * first] != _GO_FIRST:
        return {}
    run = _run(mappings, first)
    if not run or (mappings.bounds[2 * run[-1] + 1] - _GO_FIRST) % _GO_ARENA:
        return {}
    return {i: GO_HEAP for i in run if _is(mappings, i, "rw-p")}


def jvm(mappings: Mappings, heap_size: int | None) -> Names:
    """
    Name the code of a JVM, and its heap.

    heap_size: how much was reserved for it, None if that is not known. Its name is given if there
    is one place only where anonymous memory, used and reserved, is as large.
    """
    found = {
        index: JVM_CODE
        for index, kind in enumerate(mappings.kinds)
        if mappings.texts[kind] == ("rwxp", "")
    }
    places = _places(mappings, heap_size) if heap_size else []
    if len(places) == 1:
        found |= {index: JVM_HEAP for index in places[0] if _is(mappings, index, "rw-p")}
    return found


def postgres(mappings: Mappings) -> Names:
    """Name the largest shared anonymous memory of a program "postgres"."""
    runs_it = any(
        os.path.basename(name) == "postgres" and "x" in rights  # noqa: PTH119
        for rights, name in mappings.texts
    )
    if not runs_it:
        return {}
    shared = [
        index
        for index, kind in enumerate(mappings.kinds)
        if mappings.texts[kind] == ("rw-s", _ZERO)
    ]
    return {max(shared, key=lambda i: _size(mappings, i)): POSTGRES} if shared else {}


def named(mappings: Mappings, names: Names) -> Mappings:
    """Return the map with these names; itself if there are none."""
    if not names:
        return mappings
    kinds, texts = mappings.kinds[:], list(mappings.texts)
    places: dict[tuple[str, str], int] = {}
    for index, name in names.items():
        text = texts[kinds[index]][0], name
        if text not in places:
            places[text] = len(texts)
            texts.append(text)
        kinds[index] = places[text]
    return Mappings(mappings.bounds, kinds, texts)


def told_apart(
    mappings: Mappings, parts: Sequence[Part], symbols: Sequence[Part] = ()
) -> Mappings:
    """
    Return the map with mappings cut where parts of them have names of their own, in whole pages.

    parts: in order and apart. Anonymous memory only: what a file's is called is certain. symbols:
    of programs, likewise, which stand for what no part stands for; of memory of the file itself,
    "/bin/app [table]".
    """
    inside: dict[int, list[Part]] = {}
    for part in _in_order(mappings, parts, symbols):
        start, end = -(-part.start // PAGE) * PAGE, part.end // PAGE * PAGE
        index = _at(mappings, start) if start < end else None
        if index is not None:
            end = min(end, mappings.bounds[2 * index + 1])
            inside.setdefault(index, []).append(Part(start, end, part.name))
    if not inside:
        return mappings
    bounds, kinds, texts, at = array("Q"), array("I"), list(mappings.texts), 0
    for index, cuts in inside.items():
        bounds += mappings.bounds[2 * at : 2 * index]
        kinds += mappings.kinds[at:index]
        kind, at = mappings.kinds[index], index + 1
        low, high = mappings.bounds[2 * index : 2 * index + 2]
        for start, end, name in cuts:
            bounds.extend((low, start, start, end) if low < start else (start, end))
            kinds.extend((kind, len(texts)) if low < start else (len(texts),))
            path = mappings.texts[kind][1] if _named_by_path(mappings, index) else ""
            texts.append((texts[kind][0], f"{path} [{name}]" if path else f"[anon:{name}]"))
            low = end
        if low < high:
            bounds.extend((low, high))
            kinds.append(kind)
    return Mappings(bounds + mappings.bounds[2 * at :], kinds + mappings.kinds[at:], texts)


def _in_order(
    mappings: Mappings, parts: Sequence[Part], symbols: Sequence[Part]
) -> Iterable[Part]:
    """Return parts of anonymous memory, and symbols in other places that have no name yet."""
    own = [part for part in parts if not _is_of_file(mappings, part.start)]
    if not symbols:
        return own
    taken = [bound for part in own for bound in (part.start, part.end)]

    def free(part: Part) -> bool:
        at = bisect_right(taken, part.start)
        return at % 2 == 0 and (at == len(taken) or part.end <= taken[at])

    return sorted([*own, *filter(free, symbols)])


def _is_of_file(mappings: Mappings, address: int) -> bool:
    index = _at(mappings, -(-address // PAGE) * PAGE)
    return index is not None and _named_by_path(mappings, index)


def _named_by_path(mappings: Mappings, index: int) -> bool:
    return not Mapping(0, 0, *mappings.texts[mappings.kinds[index]]).is_anonymous


def _at(mappings: Mappings, address: int) -> int | None:
    """Return the index of the mapping that holds an address."""
    place = bisect_right(mappings.bounds, address)
    return place // 2 if place % 2 else None


def _is(mappings: Mappings, index: int, rights: str) -> bool:
    return mappings.texts[mappings.kinds[index]] == (rights, "")


def _size(mappings: Mappings, index: int) -> int:
    start, end = mappings.bounds[2 * index : 2 * index + 2]
    return end - start


def _touches(mappings: Mappings, index: int, rights: str) -> bool:
    """Tell whether a mapping is anonymous, of these rights, and ends where the next begins."""
    if index < 0 or not _is(mappings, index, rights):
        return False
    return mappings.bounds[2 * index + 1] == mappings.bounds[2 * index + 2]


def _run(mappings: Mappings, first: int) -> list[int]:
    """Return the mappings from `first` on that touch, and are anonymous, used or reserved."""
    run: list[int] = []
    for index in range(first, len(mappings)):
        if run and mappings.bounds[2 * index - 1] != mappings.bounds[2 * index]:
            break
        if not (_is(mappings, index, "rw-p") or _is(mappings, index, "---p")):
            break
        run.append(index)
    return run


def _places(mappings: Mappings, size: int) -> list[range]:
    """Return where mappings that a JVM's heap may be made of, and that touch, are of this size."""
    taken = {place for index in arenas(mappings) for place in (index, index + 1)}
    fit = [
        text in (("rw-p", ""), ("---p", "")) or text[1].endswith(_JVM_ARCHIVE)
        for text in mappings.texts
    ]
    found: list[range] = []
    begun: dict[int, int] = {}  # by address, the mappings of a run that touch
    for index in range(len(mappings)):
        start, end = mappings.bounds[2 * index : 2 * index + 2]
        if index in taken or not fit[mappings.kinds[index]]:
            begun = {}
            continue
        if begun and mappings.bounds[2 * index - 1] != start:
            begun = {}
        begun[start] = index
        first = begun.get(end - size)
        if first is not None and _is(mappings, first, "rw-p"):
            found.append(range(first, index + 1))
    return found

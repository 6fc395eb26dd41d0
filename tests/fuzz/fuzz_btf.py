"""Kernel type information: refused, or what is asked for is found or not."""

from __future__ import annotations

import struct
from pathlib import Path

from binary import poke
from harness import Fuzzer, main

from isotherm import _core

#: The first 300 types of a kernel, see tests/data/README.md.
_EXAMPLE = (Path(__file__).parent.parent / "data" / "kernel_types.btf").read_bytes()
_STRUCT, _ENUM, _FUNC = 4, 6, 12
_ASKED = [
    ("list_head", _STRUCT, "next"),
    ("lock_class_key", _STRUCT, "hash_entry"),
    ("file_operations", _STRUCT, "read"),
    ("kernel_symbol", _STRUCT, "a.b.c"),
    ("pid_type", _ENUM, "PIDTYPE_PID"),
    ("nothing", _FUNC, ""),
]
_HEADER_BYTES = 24


def generate(rng):
    found = bytearray(poke(rng, _EXAMPLE))
    if rng.random() < 0.3 and len(found) > 100:  # kinds that are not known
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(_HEADER_BYTES, len(found) - 8) & ~3
            struct.pack_into(
                "<I", found, at, rng.randrange(128) << 24 | rng.choice((0, 1, 5, 999))
            )
    return bytes([rng.randrange(len(_ASKED))]) + bytes(found)


def check(data):
    name, kind, member = _ASKED[data[0] % len(_ASKED)] if data else _ASKED[0]
    try:
        number, _, _ = _core.btf_lookup(data[1:], name, kind, member)
    except OSError:
        return "refused"
    return "found" if number else "not there"


FUZZER = Fuzzer("btf", generate, check)

if __name__ == "__main__":
    main(FUZZER)

"""Damage to binary files that keeps their layout: what `mutate` shifts is refused at once."""

from __future__ import annotations

from harness import mutate

_WORDS = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0xFF, 0xFFFF, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def poke(rng, data, *, heads=64):
    """
    Return `data` with one to six changes that move nothing, and now and then any change.

    The first and the last `heads` bytes are changed as often as all others together.
    """
    if rng.random() < 0.1:
        return mutate(rng, data)
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        where = rng.random()
        if where < 0.25:
            at = rng.randrange(heads)
        elif where < 0.5:
            at = len(found) - 1 - rng.randrange(heads)
        else:
            at = rng.randrange(len(found))
        way = rng.randrange(4)
        if way == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            found[at] = rng.randrange(256)
        else:
            size = rng.choice((2, 4, 4, 4, 8))
            at -= at % size
            word = rng.choice((*_WORDS, len(found), len(found) - 1, rng.randrange(1 << 32)))
            if way == 3:
                word += int.from_bytes(found[at : at + size], "little")
            found[at : at + size] = (word % (1 << 8 * size)).to_bytes(size, "little")
    if rng.random() < 0.1:
        del found[rng.randrange(len(found)) :]
    return bytes(found)

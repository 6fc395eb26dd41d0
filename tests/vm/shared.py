"""Memory that several processes map, each of which touches what it is told to."""

import ctypes
import mmap
import os

from kit import PAGE, frames

from isotherm.model.ranges import Range, union

BLOCK = 2 << 20
_MORE_FLAGS = {"shared": mmap.MAP_SHARED, "forked": mmap.MAP_PRIVATE}


class Sharers:
    """
    nbytes of anonymous memory, written by this process and then mapped by `count` children, too.

    kind: "shared", or "forked": private memory that nobody writes after the fork. advice: for
    madvise(2). Use as a context manager.
    """

    def __init__(self, nbytes, count, kind="shared", advice=None):
        self._map = mmap.mmap(-1, nbytes + BLOCK, flags=_MORE_FLAGS[kind] | mmap.MAP_ANONYMOUS)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.area = Range(-base % BLOCK + base, -base % BLOCK + base + nbytes)
        self._at = self.area.start - base
        if advice is not None:
            self._map.madvise(advice)
        for page in range(nbytes // PAGE):
            self._map[self._at + page * PAGE] = 1
        self._children = [self._child() for _ in range(count)]
        self.pids = [pid for pid, _ in self._children]
        for who in range(count):
            self.touch(who, 0, nbytes // PAGE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid, ends in self._children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            for end in ends:
                os.close(end)

    def _child(self):
        orders, order = os.pipe()
        answer, answers = os.pipe()
        pid = os.fork()
        if pid == 0:
            while words := os.read(orders, 64):
                first, end = map(int, words.split())
                self._read(first, end)
                os.write(answers, b".")
            os._exit(0)
        os.close(orders)
        os.close(answers)
        return pid, (order, answer)

    def _read(self, first, end):
        for page in range(first, end):
            self._map[self._at + page * PAGE]

    def touch(self, who, first, end):
        """Let a child read pages [first, end), and wait until it did."""
        order, answer = self._children[who][1]
        os.write(order, f"{first} {end}".encode())
        assert os.read(answer, 1) == b"."

    def frames(self):
        return frames(os.getpid(), self.area)

    def physical(self, first=0, end=None):
        """The ranges of physical memory of pages [first, end)."""
        return union((one * PAGE, (one + 1) * PAGE) for one in self.frames()[first:end])

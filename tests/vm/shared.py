"""Memory that several processes map, each of which touches what it is told to."""

import ctypes
import mmap
import os
import select

from kit import PAGE, frames

from isotherm.model.ranges import Range, union

BLOCK = 2 << 20
_MORE_FLAGS = {"shared": mmap.MAP_SHARED, "forked": mmap.MAP_PRIVATE}


class Sharers:
    """
    nbytes of anonymous memory, written by this process and then mapped by `count` children, too.

    kind: "shared", or "forked": private memory that nobody writes after the fork. advice: for
    madvise(2). leave: this process maps it no more. Use as a context manager.
    """

    def __init__(self, nbytes, count, kind="shared", advice=None, *, leave=False):
        self._map = mmap.mmap(-1, nbytes + BLOCK, flags=_MORE_FLAGS[kind] | mmap.MAP_ANONYMOUS)
        view = ctypes.c_char.from_buffer(self._map)
        base = ctypes.addressof(view)
        del view  # a map that is looked at cannot be closed
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
        if leave:
            self._map.close()

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
            self._serve(orders, answers)
            os._exit(0)
        os.close(orders)
        os.close(answers)
        return pid, (order, answer)

    def _serve(self, orders, answers):
        first = end = 0
        pause = None
        while True:
            if select.select([orders], [], [], pause)[0]:
                words = os.read(orders, 64).split()
                first, end = int(words[0]), int(words[1])
                pause = float(words[2]) or None
                self._read(first, end)
                os.write(answers, b".")
            else:
                self._read(first, end)

    def _read(self, first, end):
        for page in range(first, end):
            self._map[self._at + page * PAGE]

    def touch(self, who, first, end, every_s=0):
        """Let a child read pages [first, end), wait until it did, and again every so many s."""
        order, answer = self._children[who][1]
        os.write(order, f"{first} {end} {every_s}".encode())
        assert os.read(answer, 1) == b"."

    def frames(self):
        return frames(self.pids[0], self.area)

    def physical(self, first=0, end=None):
        """The ranges of physical memory of pages [first, end)."""
        return union((one * PAGE, (one + 1) * PAGE) for one in self.frames()[first:end])

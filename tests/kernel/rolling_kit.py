"""A program with memory of which it is known what is used again, and when."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from bpf_kit import PAGE
from memory_kit import pagemap

#: Of rolling each page is used once in a period, of all else nothing again.
_PROGRAM = """
import ctypes, json, mmap, random, sys, time
import isotherm

sizes, period_s, page = json.loads(sys.argv[1])

def made(size, name):
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(15)
    for at in range(0, size, page):
        memory[at : at + 8] = at.to_bytes(8, "little")
    isotherm.name(memory, name)
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))

parts = {name: made(size, name) for name, size in sizes.items()}
print(*(at for _, at in parts.values()), flush=True)
rolling, pages = parts["rolling"][0], list(range(0, sizes["rolling"], page))
random.Random(1).shuffle(pages)
begin, done = time.monotonic(), 0
while True:
    until = int((time.monotonic() - begin) / period_s * len(pages))
    for number in range(done, until):
        rolling[pages[number % len(pages)]]
    done = until
    time.sleep(0.02)
"""


@contextmanager
def rolling_program(period_s, **sizes):
    """Yield its pid and where its parts begin: bytes of each by name, rolling among them."""
    words = [sys.executable, "-c", _PROGRAM, json.dumps([sizes, period_s, PAGE])]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        yield process.pid, list(map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.communicate()


def away(pid, at, size):
    """Bytes of [at, at + size) that are not in memory."""
    return sum(PAGE for here, _, _ in pagemap(at, size // PAGE, pid) if not here)


def faults(pid):
    """Page faults so far, whatever they found."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[7]) + int(words[9])

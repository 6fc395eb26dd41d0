"""`isotherm simulate RECORDING`: what it says of a real process is what `apply` then does."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from bpf_kit import MIB, PAGE
from memory_kit import pagemap

import isotherm
from isotherm.cli import main

pytestmark = pytest.mark.kernel

COLD, ROLLING = 48 * MIB, 6 * MIB
PERIOD_S = 3
SCHEME = "pageout filter=idle:1s filter=name:[anon:cold]|[anon:rolling] quota=none"

#: Its own schedule: of cold nothing is used again, of rolling each page every 3 s.
PROGRAM = f"""
import ctypes, mmap, random, time
import isotherm

def made(size, name):
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(15)
    for at in range(0, size, {PAGE}):
        memory[at : at + 8] = at.to_bytes(8, "little")
    isotherm.name(memory, name)
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))

parts = [made({COLD}, "cold"), made({ROLLING}, "rolling")]
print(*(at for _, at in parts), flush=True)
rolling, pages = parts[1][0], list(range(0, {ROLLING}, {PAGE}))
random.Random(1).shuffle(pages)
begin, done = time.monotonic(), 0
while True:
    until = int((time.monotonic() - begin) / {PERIOD_S} * len(pages))
    for number in range(done, until):
        rolling[pages[number % len(pages)]]
    done = until
    time.sleep(0.02)
"""


@pytest.fixture
def program():
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE)
    try:
        yield process.pid, list(map(int, process.stdout.readline().split()))
    finally:
        process.kill()
        process.communicate()


def away(pid, at, size):
    return sum(PAGE for here, _, _ in pagemap(at, size // PAGE, pid) if not here)


def faults(pid):
    """Page faults so far, whatever they found."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[7]) + int(words[9])


def per_second(moments):
    """Bytes that are said to come back in a second, once any do."""
    first = next(one for one in moments if one["refaulted_bytes"])
    passed_ns = moments[-1]["since_ns"] - first["since_ns"]
    return (moments[-1]["refaulted_bytes"] - first["refaulted_bytes"]) * 1e9 / passed_ns


@pytest.mark.usefixtures("swap")
def test_what_it_says_is_what_apply_does(program, tmp_path, capsys):
    pid, (cold, rolling) = program
    path = tmp_path / "real.isotherm"
    isotherm.record(path, pid=pid, duration=5, overhead="20%")
    assert not main(["simulate", str(path), SCHEME, "--format", "json"])
    said = json.loads(capsys.readouterr().out)

    seen = []
    timer = threading.Timer(2.5, lambda: seen.append((faults(pid), time.monotonic())))
    timer.start()
    isotherm.apply(SCHEME, pid=pid, duration=5, overhead="20%")
    timer.join()
    came_back = (faults(pid) - seen[0][0]) * PAGE / (time.monotonic() - seen[0][1])
    gone = away(pid, cold, COLD) + away(pid, rolling, ROLLING)

    assert said["saved_end_bytes"]["best"] == pytest.approx(gone, rel=0.15)
    assert per_second(said["moments"]) == pytest.approx(came_back, rel=0.5)

"""`isotherm cold`: what it says would go, and come back, is what `apply` then does."""

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

COLD, ROLLING, KEPT = 48 * MIB, 6 * MIB, 8 * MIB
PERIOD_S = 6

#: Its own schedule: cold and kept are never used again, of rolling a page every 6 s.
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

parts = [made({COLD}, "cold"), made({ROLLING}, "rolling"), made({KEPT}, "kept")]
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


def faults(pid):
    """Page faults so far, whatever they found."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[7]) + int(words[9])


def away(pid, at, size):
    return sum(PAGE for here, _, _ in pagemap(at, size // PAGE, pid) if not here)


@pytest.mark.usefixtures("swap")
def test_what_it_says_is_what_apply_does(program, capsys):
    pid, (cold, rolling, kept) = program
    names = "[anon:cold]|[anon:rolling]"
    asked = ["--what", names, "--idle", "1s", "-d", "10s", "--overhead", "20%"]
    assert not main(["cold", str(pid), *asked, "--format", "json"])
    said = json.loads(capsys.readouterr().out)
    (age,) = said["ages"]
    assert {part["what"] for part in said["mappings"]} == set(names.split("|"))
    assert age["command"].startswith("sudo isotherm apply ")

    seen = []
    timer = threading.Timer(6, lambda: seen.append((faults(pid), time.monotonic())))
    timer.start()
    isotherm.apply(age["scheme"], pid=pid, duration=11, overhead="20%")
    timer.join()
    came_back, since = faults(pid) - seen[0][0], time.monotonic() - seen[0][1]
    gone = away(pid, cold, COLD) + away(pid, rolling, ROLLING)

    assert away(pid, kept, KEPT) == 0
    assert gone == pytest.approx(age["could_free_bytes"], rel=0.15)
    assert came_back / since == pytest.approx(age["refaults_per_s"], rel=0.15)

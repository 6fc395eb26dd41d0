"""Address maps are read again within a share of a CPU, and what is known is what is there."""

import ctypes
import mmap
import os
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import pytest

from isotherm.kernel import procfs
from isotherm.targets.maps import AddressMaps
from isotherm.targets.processes import ProcessSet

MIB, S = 1 << 20, 1_000_000_000
PAGE = mmap.PAGESIZE


@pytest.fixture
def own():
    processes = ProcessSet([os.getpid()], follow_children=False)
    yield processes.members[0]
    processes.close()


MANY = """
import ctypes, mmap, sys
PAGE, NR = mmap.PAGESIZE, 20_000
area = mmap.mmap(-1, NR * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
base = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc = ctypes.CDLL(None)
for page in range(0, NR, 2):
    assert libc.mprotect(ctypes.c_void_p(base + page * PAGE), PAGE, mmap.PROT_READ) == 0
print(base, flush=True)
sys.stdin.readline()
middle = ctypes.c_void_p(base + NR // 2 * PAGE)
assert libc.mprotect(middle, PAGE, mmap.PROT_READ | mmap.PROT_EXEC) == 0
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def many():
    """A process with 20,000 mappings and few libraries; it `changes` the one in the middle."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", MANY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        middle = int(child.stdout.readline()) + 10_000 * PAGE
        processes = ProcessSet([child.pid], follow_children=False)

        def change():
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "done\n"

        yield SimpleNamespace(process=processes.members[0], middle=middle, change=change)
        processes.close()
        child.kill()


def a_clock(step_ns=0):
    """A clock that is moved by hand, and one of CPU time by which each look at it costs."""
    time = SimpleNamespace(now=1 * S, cpu=0, step=step_ns)

    def cpu_ns():
        time.cpu += time.step
        return time.cpu

    return time, (lambda: time.now), cpu_ns


def mapped_at(found, address):
    return [m for m in found.mappings if m.start <= address < m.end]


def test_a_cheap_map_is_read_at_every_call(own):
    time, now_ns, cpu_ns = a_clock(step_ns=100_000)
    maps = AddressMaps(now_ns=now_ns, cpu_ns=cpu_ns)
    maps.of([own])
    with mmap.mmap(-1, 5 * MIB) as area:
        at = ctypes.addressof(ctypes.c_char.from_buffer(area))
        time.now += S
        ((_, found),) = maps.of([own])
        assert mapped_at(found, at)


def test_it_is_known_when_a_map_was_read_that_is_another_one_now(own):
    time, now_ns, cpu_ns = a_clock()
    maps = AddressMaps(now_ns=now_ns, cpu_ns=cpu_ns)
    ((_, first),) = maps.of([own])
    assert (first.reading.changes, first.reading.before_ns) == (1, 0)
    time.now = 7 * S
    maps.of([own])
    changes = first.reading.changes
    time.now = 9 * S
    with mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
        ((_, found),) = maps.of([own])
        assert found is not first
        assert found.reading.changes == changes + 1
        assert found.reading.before_ns == 7 * S


def test_a_dear_map_waits_for_its_share_of_a_cpu(own):
    time, now_ns, cpu_ns = a_clock(step_ns=30_000_000)
    maps = AddressMaps(0.003, now_ns, cpu_ns)
    maps.of([own])
    reads = 0
    for _ in range(1000):
        time.now += S
        before = time.cpu
        maps.of([own])
        reads += time.cpu != before
    assert 10 <= reads <= 100
    assert reads * time.step <= 0.003 * 1000 * S


def test_together_they_keep_to_the_share_and_none_starves(own):
    """A dear one and many cheap ones: each is read, the cheap ones more often."""
    time, now_ns, cpu_ns = a_clock()
    others = ProcessSet([os.getpid()], follow_children=False)
    cheap = []
    for number in range(40):
        (member,) = others.members
        cheap.append(copy_of(member, 1000 + number))
    dear = copy_of(own, 999)
    spent = dict.fromkeys([dear.target_id, *(one.target_id for one in cheap)], 0)

    class Maps(AddressMaps):
        def _read(self, process, known, now_ns):
            time.step = 15_000_000 if process is dear else 60_000
            spent[process.target_id] += 1
            super()._read(process, known, now_ns)

    maps = Maps(0.003, now_ns, cpu_ns)
    maps.of([dear, *cheap])
    spent = dict.fromkeys(spent, 0)
    time.cpu, seconds = 0, 600
    for _ in range(seconds):
        time.now += S
        maps.of([dear, *cheap])
    assert time.cpu < 1.2 * 0.003 * seconds * S
    assert spent[dear.target_id] >= 5
    assert all(spent[one.target_id] > 3 * spent[dear.target_id] for one in cheap)
    others.close()


def copy_of(process, target_id):
    return type(process)(
        target_id, process.pid, process.start_ticks, process.name, -1, process.source
    )


def test_another_program_is_seen_at_once_however_dear(own):
    time, now_ns, cpu_ns = a_clock(step_ns=1 * S)
    maps = AddressMaps(0.003, now_ns, cpu_ns)
    maps.of([own])
    time.now += 100 * S
    mapped = procfs.statm(os.getpid()).mapped_bytes
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    with mmap.mmap(-1, 2 * mapped, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE) as area:
        at = ctypes.addressof(ctypes.c_char.from_buffer(area))
        ((_, found),) = maps.of([own])
        assert mapped_at(found, at)


def test_thousands_of_mappings_cost_no_python_each(many):
    """An update makes a tenth as many calls as there are mappings, whether one changed or not."""
    maps = AddressMaps(float("inf"))
    ((_, first),) = maps.of([many.process])
    assert len(first.mappings) > 20_000
    assert count_calls(lambda: maps.of([many.process])) < 2000
    many.change()
    assert count_calls(lambda: maps.of([many.process])) < 2000
    ((_, found),) = maps.of([many.process])
    (mapping,) = mapped_at(found, many.middle)
    assert mapping.permissions == "r-xp"
    assert len(found.mappings) >= len(first.mappings) - 5


def count_calls(act):
    calls = 0

    def event(frame, kind, argument):
        nonlocal calls
        calls += kind in ("call", "c_call")

    sys.setprofile(event)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def test_thousands_of_mappings_are_held_in_little_memory(many):
    tracemalloc.start()
    ((_, found),) = AddressMaps().of([many.process])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 40 * len(found.mappings)


def test_names_that_come_and_go_are_forgotten(own):
    """Each name makes a kind; a process may give its memory another one every second."""
    maps = AddressMaps(float("inf"))
    maps.of([own])
    known = own.maps_cache
    for number in range(12_000):
        known.lines.parse(f"1000-2000 rw-p 00000000 00:00 0   [anon:{number}]\n".encode())
    known.texts += [("rw-p", "")] * 12_000
    ((_, found),) = maps.of([own])
    assert len(own.maps_cache.texts) < 1000
    buffer = ctypes.create_string_buffer(1)
    (mapping,) = mapped_at(found, ctypes.addressof(buffer))
    assert mapping in procfs.maps(os.getpid())

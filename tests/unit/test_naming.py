"""Names of memory, each beside a witness: who made it says where it is."""

import errno
import glob
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.model.mappings import Mappings
from isotherm.model.target import Mapping
from isotherm.naming import hotspot, rules
from isotherm.naming.threads import Thread
from isotherm.targets.maps import AddressMaps, target_ranges
from isotherm.targets.processes import ProcessSet
from support.waiting import wait_for

MIB = 1 << 20

THREADS = """
import ctypes, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.malloc.restype = ctypes.c_void_p
libc.pthread_self.restype = ctypes.c_void_p
lock, told, go = threading.Lock(), [], threading.Event()
def work(name):
    libc.prctl(15, name.encode(), 0, 0, 0)
    attr = ctypes.create_string_buffer(256)
    libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attr)
    address, size = ctypes.c_void_p(), ctypes.c_size_t()
    libc.pthread_attr_getstack(attr, ctypes.byref(address), ctypes.byref(size))
    block = libc.malloc(5000)
    with lock:
        told.append((name, address.value, size.value, block))
    go.wait()
threads = [threading.Thread(target=work, args=(name,)) for name in sys.argv[1:]]
for thread in threads: thread.start()
while len(told) < len(threads): pass
for one in told: print(*one)
print("end", flush=True)
sys.stdin.readline()
go.set()
for thread in threads: thread.join()
print("joined", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def child():
    """Starts programs that are written to and read from; ends them."""
    started = []

    def start(command, until, **options):
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            **options,
        )
        started.append(popen)
        said = []
        while (line := popen.stdout.readline()) and line.strip() != until:
            said.append(line.strip())
        return popen, said

    yield start
    for popen in started:
        popen.kill()
        popen.wait()
        popen.stdin.close()
        popen.stdout.close()


@pytest.fixture
def watch():
    """The one process of a pid, and its address map whenever it is asked for."""
    sets = []

    def of(pid):
        processes = ProcessSet([pid], follow_children=False)
        sets.append(processes)
        (process,) = processes.members
        return process

    yield of
    for processes in sets:
        processes.close()


def at(found, address):
    (mapping,) = [m for m in found.mappings if m.start <= address < m.end]
    return mapping


def test_stacks_are_called_as_their_threads_and_arenas_are_told(child, watch):
    popen, said = child([sys.executable, "-c", THREADS, "worker-1", "a b", "loader"], "end")
    process = watch(popen.pid)
    found = target_ranges(process)
    blocks = set()
    for line in said:
        name, address, size, block = re.fullmatch(r"(.*) (\d+) (\d+) (\d+)", line).groups()
        # The lowest pages of what pthreads call the stack may be its guard.
        mapping = at(found, int(address) + int(size) - 4096)
        assert mapping.title == f"[stack:{name}]"
        assert mapping.is_anonymous
        assert mapping.start <= int(address) + 65536
        blocks.add(at(found, int(block)))
    assert {block.title for block in blocks} <= {"[anon:malloc arena]", "[heap]"}
    assert "[anon:malloc arena]" in {block.title for block in blocks}
    stacks = [m.title for m in found.mappings if m.title.startswith("[stack:")]
    assert sorted(stacks) == ["[stack:a b]", "[stack:loader]", "[stack:worker-1]"]


def test_names_go_with_their_threads_and_without_change_nothing_is_new(child, watch):
    popen, _ = child([sys.executable, "-c", THREADS, "worker"], "end")
    process = watch(popen.pid)
    clock = [10**9]
    maps = AddressMaps(float("inf"), now_ns=lambda: clock[0])
    ((_, first),) = maps.of([process])
    assert "[stack:worker]" in {m.name for m in first.mappings}
    ((_, again),) = maps.of([process])
    assert again.mappings is first.mappings
    clock[0] += 10**12
    ((_, later),) = maps.of([process])
    assert later.mappings == first.mappings
    popen.stdin.write("\n")
    popen.stdin.flush()
    assert popen.stdout.readline() == "joined\n"

    def gone():
        # A thread that was joined may still be about to leave.
        clock[0] += 10**12
        ((_, ended),) = maps.of([process])
        return "[stack:worker]" not in {m.name for m in ended.mappings}

    wait_for(gone)


SHARED = """
import ctypes, mmap, os, sys
address = lambda m: ctypes.addressof(ctypes.c_char.from_buffer(m))
fd = os.memfd_create('tiles v2')
os.truncate(fd, 1 << 20)
memfd, anonymous = mmap.mmap(fd, 1 << 20), mmap.mmap(-1, 1 << 20)
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 1 << 20, 0o1600)
attached = libc.shmat(segment, None, 0)
libc.shmctl(segment, 0, None)
print(address(memfd), address(anonymous), attached)
print('end', flush=True)
sys.stdin.readline()
"""


def test_shared_memory_is_called_what_it_is(child, watch):
    popen, said = child([sys.executable, "-c", SHARED], "end")
    found = target_ranges(watch(popen.pid))
    titles = [at(found, int(word)).title for word in said[0].split()]
    assert titles == ["memfd tiles v2", "shared anonymous", "SysV shared memory 0x00000000"]


JAVA = """
public class Holds {
    public static void main(String[] arguments) throws Exception {
        byte[][] held = new byte[30][];
        for (int i = 0; i < held.length; i++) held[i] = new byte[1 << 20];
        System.out.println("end");
        System.in.read();
        System.out.println(held.length);
    }
}
"""


@pytest.mark.skipif(
    shutil.which("jcmd") is None or shutil.which("java") is None,
    reason="no JVM here whose jcmd says where its heap is",
)
@pytest.mark.parametrize("collector", ["-XX:+UseG1GC", "-XX:+UseSerialGC"])
def test_the_heap_of_a_jvm_is_where_jcmd_says(child, watch, tmp_path, collector):
    (tmp_path / "Holds.java").write_text(JAVA)
    source = str(tmp_path / "Holds.java")
    popen, _ = child(["java", "-Xmx96m", "-Xms96m", collector, source], "end")
    said = subprocess.run(
        ["jcmd", str(popen.pid), "GC.heap_info"], capture_output=True, text=True, check=True
    ).stdout
    ranges = [
        tuple(int(word, 16) for word in words)
        for words in re.findall(r"\[(0x[0-9a-f]+),(?: 0x[0-9a-f]+,)? (0x[0-9a-f]+)\)", said)
    ]
    low, high = min(start for start, _ in ranges), max(end for _, end in ranges)
    found = target_ranges(watch(popen.pid))
    heap = [m for m in found.mappings if m.title == rules.JVM_HEAP]
    assert heap
    assert heap[0].start == low
    assert all(m.end <= high for m in heap)
    others = [m for m in found.mappings if low <= m.start < high and m.permissions != "---p"]
    assert all(m in heap or m.name.endswith(".jsa") for m in others)
    code = [m for m in found.mappings if m.title == rules.JVM_CODE]
    assert code
    assert all(m.permissions == "rwxp" for m in code)


def table(*rows):
    return Mappings.of([Mapping(*row) for row in rows])


GO = 0xC000000000


def test_go_arenas_begin_where_only_go_asks_for_them():
    # As of a program of Go 1.22 on Linux x86-64.
    found = table(
        (0x400000, 0x500000, "r-xp", "/srv/go-server"),
        (GO, GO + 4 * MIB, "rw-p", ""),
        (GO + 4 * MIB, GO + 64 * MIB, "---p", ""),
        (0x7F0000000000, 0x7F0000100000, "rw-p", ""),
    )
    assert rules.go_heap(found) == {1: rules.GO_HEAP}
    cut = table((GO, GO + 4 * MIB, "rw-p", ""), (GO + 4 * MIB, GO + 60 * MIB, "---p", ""))
    assert rules.go_heap(cut) == {}
    inside = table((GO - MIB, GO + 64 * MIB, "rw-p", ""))
    assert rules.go_heap(inside) == {}
    assert rules.go_heap(table((GO, GO + 64 * MIB, "rw-s", "/f"))) == {}
    assert rules.go_heap(table()) == {}


def test_an_arena_has_its_whole_reservation_behind_it():
    base = 0x7F0000000000
    whole = table((base, base + MIB, "rw-p", ""), (base + MIB, base + 64 * MIB, "---p", ""))
    assert rules.arenas(whole) == {0: rules.ARENA}
    for rows in (
        [(base, base + MIB, "rw-p", ""), (base + MIB, base + 63 * MIB, "---p", "")],
        [(base, base + MIB, "rw-p", ""), (base + 2 * MIB, base + 64 * MIB, "---p", "")],
        [(base, base + MIB, "rw-p", "/f"), (base + MIB, base + 64 * MIB, "---p", "")],
        [(base, base + 64 * MIB, "rw-p", "")],
    ):
        assert rules.arenas(table(*rows)) == {}


def test_a_stack_has_a_guard_and_is_nobody_elses():
    rows = [(0x1000, 0x2000, "---p", ""), (0x2000, 0x9000, "rw-p", "")]
    threads = [Thread("w", 0x8FF0)]
    assert rules.stacks(table(*rows), threads) == {1: "[stack:w]"}
    assert rules.stacks(table(*rows), threads, most=0x6FFF) == {}
    assert rules.stacks(table(rows[1]), threads) == {}
    assert rules.stacks(table(*rows), [Thread("w", 0x1800), Thread("x", 0x9000)]) == {}


def test_a_jvm_heap_is_the_only_place_of_its_size():
    base = 0xF0000000
    heap = [
        (base, base + 100 * MIB, "rw-p", ""),
        (base + 100 * MIB, base + 101 * MIB, "rw-p", "/classes.jsa"),
        (base + 101 * MIB, base + 128 * MIB, "---p", ""),
    ]
    other = [(base + 500 * MIB, base + 628 * MIB, "rw-p", "")]
    assert rules.jvm(table(*heap), 128 * MIB) == {0: rules.JVM_HEAP}
    assert rules.jvm(table(*heap, *other), 128 * MIB) == {}
    assert rules.jvm(table(*heap), 64 * MIB) == {}
    assert rules.jvm(table(*heap), None) == {}


def entry(name, value):
    body = struct.pack("<iiibBBBi", 0, 20, 0, ord("J"), 0, 0, 0, 0)
    text = name + b"\0" * (8 - len(name) % 8)
    length = 20 + len(text) + 4 + 8
    value_at = 20 + len(text) + 4
    body = struct.pack("<iiibBBBi", length, 20, 0, ord("J"), 0, 0, 0, value_at)
    return body + text + b"\0" * 4 + struct.pack("<q", value)


def performance_data(entries):
    head = b"\xca\xfe\xc0\xc0\x01\x02\x00\x01" + struct.pack("<iiqii", 0, 0, 0, 32, len(entries))
    return head + b"".join(entries)


def test_performance_data_are_read_and_hostile_ones_are_nothing():
    entries = [entry(b"sun.gc.generation.0.maxCapacity", 7 * MIB), entry(b"java.x", -1)]
    data = performance_data(entries)
    assert list(hotspot.longs(data)) == [
        (b"sun.gc.generation.0.maxCapacity", 7 * MIB),
        (b"java.x", -1),
    ]
    for cut in range(len(data)):
        assert len(list(hotspot.longs(data[:cut]))) <= 2


@given(st.binary(max_size=200), st.integers(0, 199), st.binary(max_size=8))
def test_performance_data_of_any_bytes_are_read_without_an_error(rest, place, patch):
    whole = performance_data([entry(b"sun.gc.generation.0.maxCapacity", MIB)] * 2)
    damaged = whole[:place] + patch + whole[place + len(patch) :]
    for data in (damaged, performance_data([]) + rest, rest):
        assert len(list(hotspot.longs(data))) <= 10_000


def test_performance_data_that_are_no_file_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "1")
    assert hotspot.heap_size(os.getpid(), str(tmp_path / "1")) is None
    (tmp_path / "2").symlink_to(tmp_path / "3")
    (tmp_path / "3").write_bytes(performance_data([]))
    assert hotspot.heap_size(os.getpid(), str(tmp_path / "2")) is None
    assert hotspot.heap_size(os.getpid(), str(tmp_path / "4")) is None


def test_performance_data_are_reached_through_no_link(tmp_path):
    real = tmp_path.resolve()
    (real / "data").mkdir()
    (real / "link").symlink_to(real / "data")
    entries = [entry(b"sun.gc.generation.0.maxCapacity", 7 * MIB)]
    (real / "data" / "1").write_bytes(performance_data(entries))
    assert hotspot.heap_size(os.getpid(), str(real / "data" / "1")) == 7 * MIB
    assert hotspot.heap_size(os.getpid(), str(real / "link" / "1")) is None
    (real / "data" / "inside").symlink_to(real / "data")
    assert hotspot.heap_size(os.getpid(), str(real / "data" / "inside" / "1")) is None


DEVICE = """
import os, stat, sys
from isotherm.naming import hotspot, side_file
folder = sys.argv[1]
primary, secondary = os.openpty()
os.setsid()
print(hotspot.heap_size(os.getpid(), os.ttyname(secondary)))
os.mknod(f"{folder}/{os.getpid()}", 0o600 | stat.S_IFCHR, os.stat(secondary).st_rdev)
side_file.folders = lambda user: (folder,)
print(side_file.read_parts(os.getpid(), 1))
try:
    os.open("/dev/tty", os.O_RDONLY)
except OSError as err:
    print(err.strerror)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device: needs root")
def test_a_terminal_in_the_place_of_a_file_does_not_become_ours(tmp_path):
    """Whoever leads a session without a terminal gets the one that is opened."""
    tmp_path.chmod(0o700)
    ended = subprocess.run(
        [sys.executable, "-c", DEVICE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["None", "[]", os.strerror(errno.ENXIO)]


POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))  # noqa: PTH207


@pytest.fixture
def a_folder_of_nobody():
    """Where a server of another user finds its data: what pytest makes is for its user alone."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, "nobody")
        yield Path(folder)


@pytest.mark.skipif(not POSTGRES, reason="no PostgreSQL is installed here")
@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL is started as another user: needs root")
def test_the_shared_buffers_of_postgresql(watch, a_folder_of_nobody):
    """The witness is what it says of its own memory: blocks of its main shared memory segment."""
    binaries = os.path.dirname(POSTGRES[-1])  # noqa: PTH120
    data = a_folder_of_nobody
    # Without what sanitizers preload.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    as_nobody = {"user": "nobody", "cwd": "/", "stdout": subprocess.DEVNULL, "env": environment}
    init = [f"{binaries}/initdb", "-D", str(data), "-A", "trust", "-U", "nobody", "--no-sync"]
    subprocess.run(init, check=True, stderr=subprocess.DEVNULL, **as_nobody)
    options = ["-k", str(data), "-h", "", "-F"]
    for name, value in {"shared_buffers": "40MB", "huge_pages": "off"}.items():
        options += ["-c", f"{name}={value}"]
    server = subprocess.Popen(
        [f"{binaries}/postgres", "-D", str(data), *options], stderr=subprocess.DEVNULL, **as_nobody
    )
    try:
        wait_for((data / ".s.PGSQL.5432").exists)
        found = target_ranges(watch(server.pid))
        (buffers,) = [m for m in found.mappings if m.title == "PostgreSQL shared buffers"]
        lock = (data / "postmaster.pid").read_text()
        assert str(server.pid) in lock
        assert 40 * MIB < buffers.size < 80 * MIB
        assert buffers.permissions == "rw-s"
    finally:
        server.terminate()
        server.wait()

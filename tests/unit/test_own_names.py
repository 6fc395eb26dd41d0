"""`isotherm.name(array, "features")`: true while the memory lives; hostile files are nothing."""

import array
import gc
import itertools
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import isotherm
from isotherm.errors import BadValueError
from isotherm.kernel import procfs
from isotherm.model.mappings import Mappings
from isotherm.model.target import Mapping
from isotherm.naming import own, rules, side_file
from isotherm.naming.side_file import MOST_NAME, MOST_PARTS, Part, parts_of, read_parts, text_of
from isotherm.targets.maps import AddressMaps
from isotherm.targets.processes import ProcessSet

MIB, PAGE = 1 << 20, 4096

PROGRAM = """
import array, ctypes, gc, mmap, sys
import isotherm
features = isotherm.name(array.array("d", bytes(8 << 20)), "features")
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
tiles = isotherm.name(mmap.mmap(-1, 4 << 20, flags=private), "tile cache")
address = lambda data: ctypes.addressof(ctypes.c_char.from_buffer(data))
print(address(features), address(tiles), flush=True)
sys.stdin.readline()
del features
gc.collect()
print("gone", flush=True)
sys.stdin.readline()
"""


def ticks(pid=None):
    return procfs.stat(pid or os.getpid()).start_ticks


def test_parts_of_another_program_are_seen_where_they_are_and_go_with_them():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        features, tiles = map(int, child.stdout.readline().split())
        processes = ProcessSet([child.pid], follow_children=False)
        (process,) = processes.members
        clock = [10**9]
        maps = AddressMaps(float("inf"), now_ns=lambda: clock[0])
        ((_, found),) = maps.of([process])
        spans = {m.title: (m.start, m.end) for m in found.named}
        start, end = spans["[anon:features]"]
        assert features <= start < features + PAGE
        assert end - start >= 8 * MIB - 2 * PAGE
        assert spans["[anon:tile cache]"] == (tiles, tiles + 4 * MIB)
        # Whoever looks at memory sees the mappings as the kernel has them.
        assert [(m.start, m.end) for m in found.mappings] == [
            (m.start, m.end) for m in procfs.maps(child.pid)
        ]
        assert sum(m.size for m in found.named) == sum(m.size for m in found.mappings)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "gone\n"
        clock[0] += 10**12
        ((_, later),) = maps.of([process])
        titles = {m.title for m in later.named}
        assert "[anon:features]" not in titles
        assert "[anon:tile cache]" in titles
        processes.close()
        files = [Path(f"{folder}/{child.pid}") for folder in side_file.folders(os.geteuid())]
        assert any(file.exists() for file in files)
        child.stdin.write("\n")
        child.stdin.close()
        child.wait()
        assert not any(file.exists() for file in files)


def test_an_array_of_numpy_has_a_name():
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed here")
    data = numpy.zeros((1000, 100))
    assert isotherm.name(data, "matrix") is data
    (part,) = read_parts(os.getpid(), ticks())
    assert (part.start, part.end - part.start) == (data.ctypes.data, data.nbytes)
    del data
    gc.collect()
    assert read_parts(os.getpid(), ticks()) == []


def test_a_name_holds_as_long_as_its_object():
    data = array.array("Q", bytes(1 << 20))
    assert isotherm.name(data, "kept") is data
    address, length = data.buffer_info()
    assert Part(address, address + 8 * length, "kept") in read_parts(os.getpid(), ticks())
    view = memoryview(bytes(5000))
    isotherm.name(view, "read only")
    assert {part.name for part in read_parts(os.getpid(), ticks())} == {"kept", "read only"}
    del data, view
    gc.collect()
    assert read_parts(os.getpid(), ticks()) == []


def test_as_many_names_as_may_be_are_read_however_long(place):
    for called in ("x" * MOST_NAME, "\U0001f321" * MOST_NAME):
        at = (1 << 56) - 2 * PAGE * MOST_PARTS
        parts = [
            Part(at + 2 * PAGE * n, at + (2 * n + 1) * PAGE, called) for n in range(MOST_PARTS)
        ]
        (place / str(os.getpid())).write_text(text_of(ticks(), parts))
        assert read_parts(os.getpid(), ticks()) == parts


def test_of_a_file_that_was_cut_whole_lines_are_read():
    parts = [Part(PAGE, 2 * PAGE, "one"), Part(3 * PAGE, 4 * PAGE, "other")]
    text = text_of(7, parts).encode()
    for length in range(len(text)):
        found = parts_of(text[:length], 7)
        assert found == parts[: len(found)]
    assert parts_of(text[:-1], 7) == parts[:1]


def test_what_cannot_be_named_says_why():
    for data, called, why in [
        (bytearray(5000), "x", "cannot be followed"),
        (object(), "x", "has no buffer"),
        (memoryview(bytes(5000))[::2], "x", "not in one piece"),
        (array.array("B", bytes(10)), "", "no name"),
        (array.array("B", bytes(10)), "a\nb", "no name"),
        (array.array("B", bytes(10)), "x" * 65, "no name"),
    ]:
        with pytest.raises(BadValueError, match=why):
            own.name(data, called)
    with mmap.mmap(-1, PAGE) as area:
        assert own.name(area, "x" * 64) is area


THREADS = """
import array, os, sys, threading
import isotherm
from isotherm.kernel import procfs
from isotherm.naming.side_file import read_parts
kept, wrong = [], []
def work(number):
    for n in range(60):
        data = array.array("B", bytes(8192))
        try:
            isotherm.name(data, f"{number} {n}")
        except Exception as err:
            wrong.append(err)
        if n % 10 == 0:
            kept.append((data, f"{number} {n}"))
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
told = read_parts(os.getpid(), procfs.stat(os.getpid()).start_ticks)
assert not wrong, wrong
assert sorted(part.name for part in told) == sorted(called for _, called in kept), told
"""

COLLECTED = """
import array, gc, os, sys
import isotherm
from isotherm.kernel import procfs
from isotherm.naming.side_file import read_parts
def told():
    return [part.name for part in read_parts(os.getpid(), procfs.stat(os.getpid()).start_ticks)]
class Last:
    def __del__(self):
        kept.append(isotherm.name(array.array("B", bytes(8192)), "said at the end"))
def cycle(called):
    one = [isotherm.name(array.array("B", bytes(8192)), called), Last()]
    one.append(one)
kept, armed = [], []
def hook(event, args):
    if event == "os.rename" and armed:
        armed.clear()
        gc.collect()
sys.addaudithook(hook)
gc.disable()
cycle("gone")
assert told() == ["gone"]
armed.append(True)
kept.append(isotherm.name(array.array("B", bytes(8192)), "kept"))
assert not armed
assert sorted(told()) == ["kept", "said at the end"], told()
"""

FORKED = """
import array, os, signal, sys, threading
import isotherm
from isotherm.kernel import procfs
from isotherm.naming.side_file import read_parts
writes, go_on, first = threading.Event(), threading.Event(), []
def hook(event, args):
    if event == "os.rename" and not first:
        first.append(True)
        writes.set()
        go_on.wait()
sys.addaudithook(hook)
mine, other = array.array("B", bytes(8192)), array.array("B", bytes(8192))
thread = threading.Thread(target=isotherm.name, args=(other, "other"))
thread.start()
writes.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    isotherm.name(mine, "of the child")
    (part,) = read_parts(os.getpid(), procfs.stat(os.getpid()).start_ticks)
    sys.exit(part.name != "of the child")
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join()
assert status == 0, status
"""


@pytest.mark.parametrize("program", [THREADS, COLLECTED, FORKED], ids=["threads", "gc", "fork"])
def test_names_are_told_whatever_else_goes_on_in_the_program(program):
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_place_that_could_not_be_written_is_looked_for_again():
    program = """
import array, os
import isotherm
from isotherm.naming import own
data, folders = array.array("B", bytes(8192)), own.folders
for folder in ("/proc/none", "/proc/none"):
    own.folders = lambda user: (folder,)
    try:
        isotherm.name(data, "x")
    except isotherm.OutputError as err:
        print(err)
own.folders = folders
isotherm.name(data, "x")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    said = ended.stdout.splitlines()
    assert len(said) == 2
    assert all(line.startswith("no place for names of memory: /proc/none: ") for line in said)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9), st.sampled_from(["a", "b c"]))))
def test_what_is_written_is_read(steps):
    at, parts = 0, []
    for gap, size, name in steps:
        parts.append(Part(at + gap, at + gap + size, name))
        at += gap + size
    assert parts_of(text_of(7, parts).encode(), 7) == parts
    assert parts_of(text_of(7, parts).encode(), 8) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error_and_parts_are_in_order(data):
    for text in (data, b"isotherm names 1 7\n" + data):
        parts = parts_of(text, 7)
        assert all(part.start < part.end for part in parts)
        assert all(a.end <= b.start for a, b in itertools.pairwise(parts))


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "names"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(side_file, "folders", lambda user: (str(folder),))
    text = text_of(ticks(), [Part(PAGE, 2 * PAGE, "true")])
    (folder / str(os.getpid())).write_text(text)
    return folder


def test_only_files_that_are_the_users_alone_are_believed(place):
    file = place / str(os.getpid())
    assert [part.name for part in read_parts(os.getpid(), ticks())] == ["true"]
    assert read_parts(os.getpid(), ticks() + 1) == []
    place.chmod(0o770)
    assert read_parts(os.getpid(), ticks()) == []
    place.chmod(0o700)
    os.link(file, place / "other")
    assert read_parts(os.getpid(), ticks()) == []
    (place / "other").unlink()
    text = file.read_text()
    file.unlink()
    file.symlink_to(place / "elsewhere")
    (place / "elsewhere").write_text(text)
    assert read_parts(os.getpid(), ticks()) == []
    file.unlink()
    os.mkfifo(file)
    assert read_parts(os.getpid(), ticks()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to somebody else: needs root")
@pytest.mark.parametrize("whose", ["folder", "file"])
def test_what_belongs_to_somebody_else_is_not_believed(place, whose):
    os.chown(place if whose == "folder" else place / str(os.getpid()), 65534, 65534)
    assert read_parts(os.getpid(), ticks()) == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.booleans()), max_size=6),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=6),
)
def test_cutting_leaves_every_address_where_it_was(rows, parts):
    at, mappings = 1, []
    for gap, size, file in rows:
        start = at + gap
        at = start + size
        mappings.append(Mapping(start * PAGE, at * PAGE, "rw-p", "/f" if file else ""))
    place, wanted = 0, []
    for gap, size in parts:
        start = place + gap * 1000
        place = start + size * 1000
        wanted.append(Part(start, place, "x"))
    cut = rules.told_apart(Mappings.of(mappings), wanted)

    def pages(table):
        return [page for m in table for page in range(m.start, m.end, PAGE)]

    assert pages(cut) == pages(mappings)
    named = [m for m in cut if m.name == "[anon:x]"]
    for m in cut:
        (whole,) = [w for w in mappings if w.start <= m.start and m.end <= w.end]
        assert m.name == whole.name or (m in named and not whole.name)
    for m in named:
        assert any(p.start <= m.start and m.end <= p.end for p in wanted)

"""Reading kernel type information and BPF objects: right on whole ones, safe on damaged ones."""

import random
import struct
from importlib import resources

import pytest

from isotherm import _core

STRUCT, UNION, ENUM, FUNC, TYPEDEF, INT = 4, 5, 6, 12, 8, 1
MAP, KFUNC, NUMBER = range(3)


class Btf:
    """Builds a BTF file; ids count from 1."""

    def __init__(self):
        self.strings, self.types, self.nr = b"\0", b"", 0
        self.at = {"": 0}

    def string(self, text):
        """Each string is stored once, as the kernel's build does."""
        if text not in self.at:
            self.at[text] = len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.at[text]

    def type(self, name, kind, size, rows=(), count=None, flag=0):
        info = flag << 31 | kind << 24 | (len(rows) if count is None else count)
        self.types += struct.pack("<III", self.string(name), info, size)
        self.types += b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)
        self.nr += 1
        return self.nr

    def struct(self, name, members, kind=STRUCT, size=64, flag=0):
        rows = [(self.string(m), t, bits) for m, t, bits in members]
        return self.type(name, kind, size, rows, flag=flag)

    def build(self):
        head = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return head + self.types + self.strings


@pytest.fixture
def btf():
    b = Btf()
    integer = b.type("int", INT, 4, [(32,)], count=0)
    inner = b.struct("", [("deep", integer, 64), ("deeper", integer, 96)], UNION)
    named = b.struct("thread_info", [("flags", integer, 0), ("cpu", integer, 160)])
    alias = b.type("alias_t", TYPEDEF, named)
    b.struct("task_struct", [], size=0)  # a declaration only
    b.struct(
        "task_struct",
        [("thread_info", alias, 0), ("pid", integer, 256), ("", inner, 320), ("mm", integer, 512)],
    )
    b.struct("bits", [("first", integer, 3 << 24 | 8), ("second", integer, 5 << 24 | 16)], flag=1)
    rows = [(b.string("PG_lru"), 5), (b.string("PG_head"), 6)]
    b.type("pageflags", ENUM, 4, rows)
    proto = b.type("", 13, 0, [(0, integer)])
    b.type("bpf_rdonly_cast", FUNC, proto, count=1)
    return b.build()


def test_members(btf):
    assert _core.btf_lookup(btf, "task_struct", STRUCT, "pid") == (6, 32, -1)
    assert _core.btf_lookup(btf, "task_struct", STRUCT, "mm")[1] == 64
    assert _core.btf_lookup(btf, "task_struct", STRUCT, "deeper")[1] == 52
    assert _core.btf_lookup(btf, "task_struct", STRUCT, "thread_info.cpu")[1] == 20
    assert _core.btf_lookup(btf, "task_struct", STRUCT, "cpu")[1] == -1
    assert _core.btf_lookup(btf, "task_struct", STRUCT, "thread_info.pid")[1] == -1
    assert _core.btf_lookup(btf, "bits", STRUCT, "second")[1] == 2


def test_other_kinds(btf):
    assert _core.btf_lookup(btf, "pageflags", ENUM, "PG_head")[2] == 6
    assert _core.btf_lookup(btf, "pageflags", ENUM, "PG_gone")[2] == -1
    assert _core.btf_lookup(btf, "bpf_rdonly_cast", FUNC, "")[0] == 10
    assert _core.btf_lookup(btf, "bpf_rdonly_cast", STRUCT, "x") == (0, -1, -1)
    assert _core.btf_lookup(btf, "absent", STRUCT, "x") == (0, -1, -1)


@pytest.mark.parametrize(
    ("rows", "count"),
    [([], 0), ([], 5), ([(7,)], 0), ([(7, 8, 9), (1, 2, 3)], None), ([(7, 8)] * 300, None)],
)
def test_a_kind_of_a_newer_kernel_is_passed_over(rows, count):
    """Its length is not known, but only the right one leads from type to type up to the end."""
    b = Btf()
    integer = b.type("int", INT, 4, [(32,)], count=0)
    for at in range(200):
        b.type(f"new{at}", 30, 0, rows, count=count)
        b.struct(f"some{at}", [("first", integer, 0), ("second", integer, 32)])
    last = b.struct("task_struct", [("pid", integer, 256)])
    assert _core.btf_lookup(b.build(), "task_struct", STRUCT, "pid") == (last, 32, -1)


def test_several_new_kinds_are_passed_over():
    b = Btf()
    integer = b.type("int", INT, 4, [(32,)], count=0)
    for at in range(100):
        b.type(f"one{at}", 20, 0, [(3, 4)])
        b.type(f"other{at}", 99, 0, [(at,)], count=0)
        b.type("", TYPEDEF, integer)
    last = b.struct("task_struct", [("pid", integer, 256)])
    assert _core.btf_lookup(b.build(), "task_struct", STRUCT, "pid") == (last, 32, -1)


def test_the_file_itself_may_tell_how_long_a_kind_is():
    b = Btf()
    integer = b.type("int", INT, 4, [(32,)], count=0)
    b.type("new", 20, 0, [(1, 2, 3, 4, 5), (6, 7, 8, 9, 10)])
    last = b.struct("task_struct", [("pid", integer, 256)])
    layouts = b"\0" * 4 * 20 + struct.pack("<BBH", 0, 20, 0)
    sizes = len(b.types), len(b.types), len(b.strings)
    told = b.types + b.strings + b"\0" * (-len(b.strings) % 4)
    head = struct.pack("<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, *sizes, len(told), len(layouts))
    found = _core.btf_lookup(head + told + layouts, "task_struct", STRUCT, "pid")
    assert found == (last, 32, -1)


def test_a_kind_that_leads_nowhere_is_refused():
    b = Btf()
    b.type("new", 30, 0, [(1 << 20,) * 7], count=0)
    with pytest.raises(OSError, match="not a BTF"):
        _core.btf_lookup(b.build(), "x", STRUCT, "y")


def test_structures_inside_each_other_end():
    """Each of four unnamed members holds the structure itself."""
    b = Btf()
    own = b.nr + 1
    b.struct("task_struct", [("", own, 0)] * 4000)
    assert _core.btf_lookup(b.build(), "task_struct", STRUCT, "pid") == (own, -1, -1)


def test_damaged_btf_is_refused_or_read_safely(btf):
    for end in range(len(btf)):
        with pytest.raises(OSError, match="not a BTF"):
            _core.btf_lookup(btf[:end], "task_struct", STRUCT, "pid")
    rng = random.Random(23)
    for _ in range(3000):
        data = bytearray(btf)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            _core.btf_lookup(data, "task_struct", STRUCT, "thread_info.cpu")
        except OSError:
            continue


def shipped(name):
    return (resources.files("isotherm.bpf") / f"{name}.bpf.o").read_bytes()


KNOWN = [
    ("area", MAP, 23),
    ("tables", MAP, 29),
    ("btf_id_word", NUMBER, 157),
    *(
        (name, KFUNC, 1000 + i)
        for i, name in enumerate(
            [
                "bpf_rdonly_cast",
                "bpf_iter_num_new",
                "bpf_iter_num_next",
                "bpf_iter_num_destroy",
                "bpf_rcu_read_lock",
                "bpf_rcu_read_unlock",
                "bpf_task_from_pid",
                "bpf_task_release",
            ]
        )
    ),
]
COMMON = ["walk", "peek", "tables", "folios"]
SECTIONS = [("walk_base", f"raw_tp/{p}") for p in COMMON]
SECTIONS += [("walk_base", "iter_task/processes")]
SECTIONS += [("walk_fast", f"syscall/{p}") for p in [*COMMON, "resolve"]]


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_shipped_programs_are_complete(name, section):
    code = _core.bpf_program(shipped(name), section, KNOWN)
    insns = list(struct.iter_unpack("<BBhi", code))
    calls = [i for i in insns if i[0] == 0x85]
    loads = [i for i in insns if i[0] == 0x18]
    assert insns[-1][0] == 0x95 or insns[-1][0] & 0x07 in (5, 6)  # exit or a jump
    assert {i[3] for i in loads if i[1] >> 4 == 1} <= {23, 29}
    assert {i[3] for i in loads if i[1] >> 4 == 0} <= {157}
    assert all(i[1] >> 4 in (0, 2) for i in calls), "no call between programs"
    assert all(1000 <= i[3] < 1008 for i in calls if i[1] >> 4 == 2)
    if name == "walk_base":
        # Nothing newer than 5.10: map lookup, probe_read_kernel, get_current_pid_tgid, seq_write.
        assert {i[3] for i in calls} <= {1, 14, 113, 127}
        assert all(i[1] >> 4 == 0 for i in calls)


def test_missing_symbols_are_named():
    missing = [(n, k, 0 if n == "bpf_iter_num_new" else v) for n, k, v in KNOWN]
    with pytest.raises(OSError, match="the kernel has no bpf_iter_num_new"):
        _core.bpf_program(shipped("walk_fast"), "syscall/walk", missing)
    with pytest.raises(OSError, match="unknown symbol area"):
        _core.bpf_program(shipped("walk_base"), "raw_tp/walk", [])
    with pytest.raises(OSError, match="no program raw_tp/nothing"):
        _core.bpf_program(shipped("walk_base"), "raw_tp/nothing", KNOWN)


def test_damaged_objects_are_refused_or_read_safely():
    whole = shipped("walk_base")
    rng = random.Random(29)
    refused = 0
    for _ in range(2000):
        data = bytearray(whole)
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        # the headers at both ends are where damage leads astray
        for _ in range(rng.randrange(1, 8)):
            if len(data) > 64:
                at = rng.choice(
                    [rng.randrange(64), len(data) - 1 - rng.randrange(min(2500, len(data)))]
                )
                data[at] = rng.randrange(256)
        try:
            _core.bpf_program(data, "raw_tp/walk", KNOWN)
        except OSError:
            refused += 1
    assert refused > 500

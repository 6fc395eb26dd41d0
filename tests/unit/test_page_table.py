"""The walk of the BPF programs over page tables made up here, and what entries say."""

import struct

import pytest

from isotherm import _core

X86, ARM64 = 0, 1
NONE, PRESENT, SWAPPED, UNREAD = range(4)
UNSTABLE = 0x80
NEVER = 1 << 62
PAGE = 4096


class Memory:
    """Physical memory with page tables in it."""

    def __init__(self, machine, levels, pages=64):
        self.machine, self.levels = machine, levels
        self.bytes = bytearray(pages * PAGE)
        self.used = 1  # frame 0 stays empty
        self.root = self.new_table()

    def new_table(self):
        self.used += 1
        return (self.used - 1) * PAGE

    def get(self, table, index):
        return struct.unpack_from("<Q", self.bytes, table + 8 * index)[0]

    def put(self, table, index, entry):
        struct.pack_into("<Q", self.bytes, table + 8 * index, entry)

    def index(self, level, addr):
        """Level 4 is the top of five, level 0 holds pages."""
        bits = (addr >> (12 + 9 * level)) & 511
        return bits & 15 if level == 4 and self.machine == ARM64 else bits

    def map(self, addr, entry, leaf_level=0):
        table = self.root
        for level in range(self.levels - 1, leaf_level, -1):
            at = self.get(table, self.index(level, addr))
            if not at:
                at = self.new_table() | (0x67 if self.machine == X86 else 3)
                self.put(table, self.index(level, addr), at)
            table = at & 0xFFFFFFFFF000
        self.put(table, self.index(leaf_level, addr), entry)
        return table

    def walk(self, addr, after=None, turn=NEVER):
        return _core.page_walk(
            self.machine, self.levels, self.bytes, after or self.bytes, turn, self.root, addr
        )


FORMATS = [(X86, 4), (X86, 5), (ARM64, 3), (ARM64, 4), (ARM64, 5)]
ADDRESS = {
    (X86, 4): 0x7F12_3456_7000,
    (X86, 5): 0xAB_7F12_3456_7000,
    (ARM64, 3): 0x3F_2345_6000,
    (ARM64, 4): 0xFF12_3456_7000,
    (ARM64, 5): 0xF_FF12_3456_7000,
}


@pytest.fixture(params=FORMATS, ids=lambda f: f"{('x86', 'arm64')[f[0]]}-{f[1]}")
def memory(request):
    return Memory(*request.param)


@pytest.fixture
def addr(memory):
    return ADDRESS[memory.machine, memory.levels]


def present(memory, level=0):
    """A young, present leaf entry of this machine."""
    if memory.machine == X86:
        return 0x21 | (0x80 if level else 0)
    return 0x401 | (0 if level else 2)


def test_page(memory, addr):
    entry = 0x1234_5000 | present(memory)
    memory.map(addr, entry)
    assert memory.walk(addr)[:2] == (entry, 0)
    assert memory.walk(addr + 0xFFF)[:2] == (entry, 0)
    assert memory.walk(addr + PAGE)[0] == 0
    assert memory.walk(addr ^ (1 << 21))[:2] == (0, 1)
    assert memory.walk(addr ^ (1 << 30))[:2] == (0, 2)


@pytest.mark.parametrize("level", [1, 2])
def test_huge_leaf(memory, addr, level):
    entry = 0x4000_0000 | present(memory, level)
    memory.map(addr, entry, level)
    assert memory.walk(addr)[:2] == (entry, level)


def test_every_index_bit_counts(memory, addr):
    """Neighbours that differ in one bit of the address lie at other entries."""
    top = 12 + 9 * memory.levels - (5 if (memory.machine, memory.levels) == (ARM64, 5) else 0)
    memory.map(addr, 0x7000 | present(memory))
    for bit in range(12, top):
        assert memory.walk(addr ^ (1 << bit))[0] == 0, bit
    for bit in range(top, 56):
        assert memory.walk(addr ^ (1 << bit))[0] != 0, bit


def test_table_outside_of_memory_is_not_followed(memory, addr):
    beyond = len(memory.bytes) + PAGE
    memory.map(addr, beyond | (0x67 if memory.machine == X86 else 3), 1)
    entry, meta, _ = memory.walk(addr)
    assert meta & UNSTABLE
    assert _core.page_decode(memory.machine, memory.levels, entry, meta, addr)[0] == UNREAD


def test_table_unhooked_during_the_walk(memory, addr):
    """Whenever an upper entry vanishes, the leaf is old and sound, absent, or marked."""
    entry = 0x5000 | present(memory)
    memory.map(addr, entry)
    reads = memory.walk(addr)[2]
    for level in range(1, min(memory.levels, 4)):
        after = Memory(memory.machine, memory.levels)
        after.bytes[:] = memory.bytes
        table = memory.root
        for above in range(memory.levels - 1, level, -1):
            table = memory.get(table, memory.index(above, addr)) & 0xFFFFFFFFF000
        freed = memory.get(table, memory.index(level, addr)) & 0xFFFFFFFFF000
        after.put(table, memory.index(level, addr), 0)
        after.bytes[freed : freed + PAGE] = b"\xff" * PAGE  # used for something else
        outcomes = set()
        for turn in range(reads + 1):
            got, meta, _ = memory.walk(addr, after.bytes, turn)
            assert meta & UNSTABLE or got in (0, entry), (level, turn)
            outcomes.add(None if meta & UNSTABLE else got)
        assert {entry, None} <= outcomes, level


def test_hardware_setting_accessed_bits_above_is_no_change(memory, addr):
    entry = 0x5000 | present(memory)
    memory.map(addr, entry)
    after = bytearray(memory.bytes)
    for frame in range(1, memory.used):
        for index in range(512):
            (word,) = struct.unpack_from("<Q", after, frame * PAGE + 8 * index)
            if word and word != entry:
                struct.pack_into("<Q", after, frame * PAGE + 8 * index, word ^ 0x20)
    for turn in range(memory.walk(addr)[2] + 1):
        assert memory.walk(addr, after, turn)[:2] == (entry, 0)


def decode(machine, entry, level=0, addr=0, **kwargs):
    return _core.page_decode(machine, 4, entry, level, addr, *kwargs.values())


def test_x86_entries():
    pfn = 0x12345
    assert decode(X86, 0) == (NONE, 0, 0, 0, 0, 0)
    assert decode(X86, pfn << 12 | 0x63 | 1 << 63) == (PRESENT, pfn, 0, 1, 1, 1)
    assert decode(X86, pfn << 12 | 0x01) == (PRESENT, pfn, 0, 0, 0, 0)
    # swapped: type and inverted offset, neither present nor PROT_NONE
    assert decode(X86, 0xFFFF_FFFF_FFE0_0002)[0] == SWAPPED
    # PROT_NONE: present clear, bit 8 set, frame inverted against L1 terminal fault
    hidden = (~(pfn << 12) & 0xF_FFFF_FFFF_F000) | 0x100 | 0x20
    assert decode(X86, hidden) == (PRESENT, pfn, 0, 1, 0, 0)


def test_x86_huge_entries():
    huge, inside = 0x12200, 0x55
    addr = inside << 12
    assert decode(X86, huge << 12 | 0xE7, 1, addr) == (PRESENT, huge + inside, 1, 1, 1, 1)
    # PAT is bit 12 of a huge entry, no part of the frame
    assert decode(X86, huge << 12 | 0x10E7, 1, addr)[1] == huge + inside
    # being split: present clear, leaf bit kept, frame inverted
    split = (~(huge << 12) & 0xF_FFFF_FFE0_0000) | 0xA0
    assert decode(X86, split, 1, addr) == (PRESENT, huge + inside, 1, 1, 0, 0)
    # under migration: neither
    assert decode(X86, 0xFFFF_FFFF_FFE0_0002, 1)[0] == SWAPPED
    giant = 0x40000
    assert decode(X86, giant << 12 | 0xA1, 2, 0x3FFFF000) == (PRESENT, giant + 0x3FFFF, 2, 1, 0, 0)
    assert decode(X86, 0x1000 | 0x67, 1)[0] == UNREAD  # a table is no leaf


def test_arm64_entries():
    pfn = 0x12345
    page = pfn << 12 | 3
    assert decode(ARM64, 0)[0] == NONE
    assert decode(ARM64, page | 1 << 10) == (PRESENT, pfn, 0, 1, 0, 0)
    assert decode(ARM64, page | 1 << 7) == (PRESENT, pfn, 0, 0, 0, 0)
    # writable and not read-only: hardware made it dirty; or the kernel's own dirty bit
    assert decode(ARM64, page | 1 << 51) == (PRESENT, pfn, 0, 0, 1, 1)
    assert decode(ARM64, page | 1 << 51 | 1 << 7) == (PRESENT, pfn, 0, 0, 0, 1)
    assert decode(ARM64, page | 1 << 55 | 1 << 7) == (PRESENT, pfn, 0, 0, 1, 0)
    assert decode(ARM64, (pfn << 12) | 1 << 11 | 1 << 10) == (PRESENT, pfn, 0, 1, 0, 0)
    # kernels before 6.11 mark PROT_NONE with bit 58, and have offsets in bit 11
    assert decode(ARM64, (pfn << 12) | 1 << 58, none_bit=58)[0] == PRESENT
    assert decode(ARM64, (pfn << 12) | 1 << 11, none_bit=58)[0] == SWAPPED
    assert decode(ARM64, 0x12200 << 12 | 1 | 1 << 10, 1, 5 << 12) == (PRESENT, 0x12205, 1, 1, 0, 0)
    assert decode(ARM64, 0x12200 << 12 | 3, 1)[0] == UNREAD


def test_the_machines_disagree_where_they_should():
    """One entry, two meanings: bit 1 is the table bit here and the write bit there."""
    entry = 0x40_0000 | 1 << 10 | 1 << 5 | 3
    assert decode(X86, entry)[3:] == (1, 0, 1)
    assert decode(ARM64, entry)[3:] == (1, 0, 0)
    assert decode(X86, 0x40_0000 | 1 << 10 | 3)[3] == 0
    assert decode(ARM64, 0x40_0000 | 1 << 5 | 3)[3] == 0

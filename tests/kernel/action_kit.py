"""What tests of actions share: swap, ways to make memory old, and witnesses of what happened."""

import os
import subprocess
from array import array
from contextlib import contextmanager
from pathlib import Path

import pytest
from bpf_kit import PAGE, watching
from memory_kit import entries, pagemap

from isotherm._core import advise
from isotherm.model.scheme import Filter, FilterType, Scheme

THP = Path("/sys/kernel/mm/transparent_hugepage")
ACTIVE = 1 << 6  # linux/kernel-page-flags.h


@pytest.fixture
def swap(tmp_path):
    """256 MiB of swap in a file."""
    file = tmp_path / "swap"
    file.touch(mode=0o600)
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, 256 << 20)
    subprocess.run(["mkswap", file], check=True, capture_output=True)
    done = subprocess.run(["swapon", file], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"swapon is refused: {done.stderr.strip()}")
    yield file
    subprocess.run(["swapoff", file], check=True)
    file.unlink()  # what tests leave is kept for a while: 15 GiB of them


@pytest.fixture(name="setting")
def settings():
    """Set a file of /sys or /proc for the test."""
    before = []

    def write(path, value):
        text = path.read_text()
        before.append((path, text.split("[")[1].split("]")[0] if "[" in text else text.strip()))
        path.write_text(value)

    yield write
    for path, value in reversed(before):
        path.write_text(value)


def pages(start, nr):
    return [start + i * PAGE for i in range(nr)]


def scheme(action, *filters, **options):
    return Scheme(action, filters=filters, **options)


def reject(kind, matching=True, **options):
    return Filter(FilterType(kind), matching, allow=False, **options)


def allow(kind, matching=True, **options):
    return Filter(FilterType(kind), matching, allow=True, **options)


def make_old(pid, *ranges):
    """Clear the accessed bits of (start, size) ranges."""
    descriptor = os.pidfd_open(pid)
    try:
        words = array("Q", [word for pair in ranges for word in pair])
        assert not any(advise(descriptor, 20, 0, words))
    finally:
        os.close(descriptor)


def present(pid, at, nr):
    """Indices of present pages, by /proc/PID/pagemap."""
    return [i for i, (there, _, _) in enumerate(pagemap(at, nr, pid)) if there]


def page_flags(pid, at, nr):
    """/proc/kpageflags of each page, 0 of absent ones."""
    return [
        entries("/proc/kpageflags", frame, 1)[0] if there else 0
        for there, _, frame in pagemap(at, nr, pid)
    ]


def huge_kib(pid, at):
    """AnonHugePages of the mapping that holds `at`, by smaps."""
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().split("\n"):
        head = line.split(" ", 1)[0]
        if "-" in head and not head.endswith(":"):
            start, end = (int(part, 16) for part in head.split("-"))
            inside = start <= at < end
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    return 0


@contextmanager
def acting(child, **options):
    """An ops on the child, and a function that acts on [at, at + size) of it."""
    with watching(child.pid, follow_children=False, **options) as ops:

        def act(one, at, size, *, filtered=True):
            assert ops.why_not(one) == ""
            return ops.act(one, 0, at, at + size, filtered=filtered)

        yield ops, act

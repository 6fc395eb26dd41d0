"""Memory of several processes seen by the kernel's DAMON: what is known, lost, and given back."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit import MIB, PAGE, by_kernel, command, nothing_left
from shared import Sharers

import isotherm
from isotherm.backends import opening
from isotherm.errors import IsothermError
from isotherm.kernel.damon.ager import FolioAger
from isotherm.kernel.damon.files import DamonFiles

pytestmark = by_kernel
S = 1_000_000_000
#: A guest is ten times as slow as its host, and 1 % of it too little to be told anything.
OVERHEAD = 0.5
LONGEST_S = 120
PAGES = 8 * MIB // PAGE
#: What an interpreter uses beside the area, and what is off the kernel's lists for a moment.
BESIDE, NEARLY = MIB, 0.97
KINDS = {"shared": "shmem", "forked": "anon"}


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


def used_by_two(kind):
    """8 MiB of two processes: of the first 3 MiB each uses two, all the time."""
    sharers = Sharers(PAGES * PAGE, 2, kind, leave=True)
    sharers.touch(0, 0, 512, every_s=0.1)
    sharers.touch(1, 256, 768, every_s=0.1)
    return sharers


def uses(pids, seconds, each=lambda: None, begun=lambda _: True, **options):
    """
    What was known at the end of a session; `each` is called with every snapshot.

    The seconds begin when it has `begun`, by what is known: a slow machine takes its time.
    """
    use, end_ns = None, None
    options |= {"backend": "bpf", "seed": 1, "overhead": OVERHEAD}
    with isotherm.monitor(pid=pids, **options) as session:
        for snapshot in session.snapshots(LONGEST_S):
            each()
            use = snapshot.page_use or use
            if end_ns is None and use is not None and begun(use):
                end_ns = snapshot.end_ns + seconds * S
            if end_ns is not None and snapshot.end_ns >= end_ns and snapshot.page_use is not None:
                break
    return use


def summed(use, kind, field, ns=None):
    rows = [getattr(row, field) for row in use.rows if row.kind == KINDS[kind]]
    return sum(rows if ns is None else (row[use.windows_ns.index(ns)] for row in rows))


def said(use, kind):
    print(
        f"{kind}: used {summed(use, kind, 'used', S) / MIB:.2f}, "
        f"unseen {summed(use, kind, 'unseen') / MIB:.2f} MiB, by {use.shared_by!r}, "
        f"{use.shared_cpu_ns / use.watched_ns:.2%} of the CPU by the kernel, {use.shared_note!r}"
    )


@pytest.mark.parametrize(("kind", "shared"), [("shared", "damon"), ("forked", "auto")])
def test_what_is_used_and_idle_is_known_and_no_process_held_up(kind, shared, monkeypatch):
    # An address map would be held for longer.
    monkeypatch.setitem(opening._STALL_NS, "auto", 1)
    claimed = []
    with used_by_two(kind) as sharers:
        use = uses(
            sharers.pids,
            10,
            lambda: claimed.append(not nothing_left()),
            lambda use: use.shared_by and summed(use, kind, "unseen") < MIB // 4,
            shared=shared,
        )
    said(use, kind)
    beside = 0 if kind == "shared" else 2 * BESIDE
    assert any(claimed)
    assert (use.shared_by, use.held_ns, use.shared_note) == ("damon", 0, "")
    assert use.shared_cpu_ns > 0
    assert summed(use, kind, "unseen") < MIB // 4
    assert summed(use, kind, "used_low", S) <= 3 * MIB + beside
    assert summed(use, kind, "used_high", S) >= 3 * MIB * NEARLY
    assert 3 * MIB * NEARLY <= summed(use, kind, "used", S) <= 3 * MIB + beside
    assert summed(use, kind, "idle", S) >= 5 * MIB - MIB // 4


def test_taken_away_it_leaves_the_memory_unknown_with_the_reason():
    files, taken = DamonFiles(), []

    def take_away():
        if not taken and not nothing_left():
            try:
                files.write("nr_kdamonds", 0)
            except IsothermError:  # it runs just now
                return
            taken.append(True)

    with used_by_two("shared") as sharers:
        use = uses(
            sharers.pids, 8, take_away, lambda use: taken and use.shared_note, shared="damon"
        )
    said(use, "shared")
    assert taken
    assert use.shared_by == ""
    assert "DAMON away" in use.shared_note
    # What was used since is not known; what was not is still idle.
    assert summed(use, "shared", "unseen") >= 3 * MIB * NEARLY
    assert summed(use, "shared", "used_high", S) >= 3 * MIB * NEARLY
    assert summed(use, "shared", "used_low", S) <= 3 * MIB


def test_others_that_use_damon_are_left_alone():
    files = DamonFiles()
    files.resize("", "kdamonds", 1)
    files.resize("0/contexts", "contexts", 1)
    try:
        with used_by_two("shared") as sharers:
            use = uses(sharers.pids, 5, shared="damon")
        assert files.number("0/contexts/nr_contexts") == 1
    finally:
        files.resize("", "kdamonds", 0)
    assert use.shared_by == ""
    assert "somebody else" in use.shared_note
    assert summed(use, "shared", "unseen") >= 8 * MIB * NEARLY


def recording(sharers, path, seconds):
    who = ",".join(map(str, sharers.pids))
    options = ("--backend", "bpf", "--overhead", f"{OVERHEAD:.0%}", "--shared", "damon")
    return ("record", "-p", who, "-d", f"{seconds}s", "-o", path, *options)


def test_record_and_report_say_what_it_cost(tmp_path):
    with used_by_two("shared") as sharers:
        told = command(*recording(sharers, tmp_path / "x.isotherm", 12))
    seen = r"shared memory seen by damon; the kernel's DAMON took \d+\.\d\d% of one CPU"
    report = command("report", tmp_path / "x.isotherm")
    print(told.stderr, report.stdout)
    for text in (told.stderr, report.stdout):
        assert re.search(seen, " ".join(text.split()))


def test_what_a_kill_leaves_is_undone_by_the_next(tmp_path):
    with used_by_two("shared") as sharers:
        words = [*map(str, recording(sharers, tmp_path / "x.isotherm", 100))]
        with subprocess.Popen([sys.executable, "-m", "isotherm", *words]) as process:
            while nothing_left():
                time.sleep(0.1)
            time.sleep(1)
            os.kill(process.pid, signal.SIGKILL)
    assert not nothing_left()
    FolioAger().close()
    assert nothing_left()
    assert not list(Path("/run/isotherm").glob("*.json"))

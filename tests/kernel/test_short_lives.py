"""Processes that end, or execute a program, before they are looked at: their memory is unknown."""

import json
import os
import signal
import subprocess
import sys

import pytest

import isotherm

pytestmark = pytest.mark.kernel

MIB = 1 << 20
SIZE = 24 * MIB
_USE = f"""
import mmap, os, sys, time
def use(seconds, started=lambda: None):
    area = mmap.mmap(-1, {SIZE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    end = time.monotonic() + seconds
    while True:
        for at in range(0, {SIZE}, 4096):
            area[at] = 1
        started()
        if time.monotonic() > end:
            return
        time.sleep(0.02)
"""
#: Uses its memory, says that it does, and executes itself when it is told to by a signal.
EXECUTING = f"""{_USE}
import signal
def ready():
    global ready
    os.write(1, b"ready\\n")
    ready = lambda: None
signal.signal(signal.SIGUSR1, lambda *_: os.execv(sys.executable, sys.orig_argv))
use(600, lambda: ready())
"""
#: Has three children at any time, each of which uses its memory for a moment.
FORKING = f"""{_USE}
print("ready", flush=True)
children = 0
while True:
    while children < 3:
        if not os.fork():
            use(0.3)
            os._exit(0)
        children += 1
    os.wait()
    children -= 1
"""


@pytest.fixture
def start():
    started = []

    def run(program):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield run
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def freed(document, point):
    """What may have been used within a window, and is gone."""
    place = document["curve"].index(point)
    return sum(
        part["curve"][place]["high_bytes"]
        for part in document["mappings"]
        if part["what"] == "(freed since)"
    )


def adds_up(document):
    """Everything in memory is used, idle or unknown, and each window may hold what is unknown."""
    known = document["recent_bytes"] + sum(each["only_bytes"] for each in document["idle"])
    assert known + document["unknown_bytes"] == document["resident_bytes"]
    for point in document["curve"]:
        assert point["high_bytes"] >= point["low_bytes"] + document["unknown_bytes"]
        # What those had that ended is in memory no more.
        assert point["high_bytes"] <= document["resident_bytes"] + freed(document, point)
    assert sum(part["resident_bytes"] for part in document["mappings"]) == pytest.approx(
        document["resident_bytes"], abs=len(document["mappings"])
    )


def told(capfd, path):
    """What a recording says of a program, as data and to people."""
    from isotherm.cli import main

    capfd.readouterr()
    assert main(["report", str(path), "--format", "json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert main(["report", str(path)]) == 0
    return document, " ".join(capfd.readouterr().out.split())


def test_memory_of_children_that_live_shortly_is_unknown(start, tmp_path, capfd):
    parent = start(FORKING)
    path = tmp_path / "a.isotherm"
    isotherm.record(path, pid=parent.pid, policy="map", duration="3s")
    uses = [each.page_use for each in isotherm.open(path) if each.page_use is not None]
    for use in uses:
        assert use.missed_bytes <= use.uncovered <= use.resident
    # At any time most of them are done with touching it first.
    most = max(uses, key=lambda use: use.missed_bytes)
    assert most.missed_bytes >= SIZE
    assert sum(row.used_high[0] for row in most.rows) >= SIZE
    document, text = told(capfd, path)
    assert (document["missed"], document["missed_bytes"]) == (
        uses[-1].missed,
        uses[-1].missed_bytes,
    )
    assert most.missed >= 1
    # Those of the last moment may be known.
    assert ("lived too shortly to be looked at" in text) == (document["missed"] > 0)
    assert document["missed"] == 0 or document["curve"][0]["covered"] < 0.9
    adds_up(document)


def test_after_an_exec_nothing_is_known_until_it_is_looked_at_again(start):
    process = start(EXECUTING)
    with isotherm.monitor(pid=process.pid, policy="map", update="1h") as session:
        uses = (each.page_use for each in session.snapshots("60s") if each.page_use)
        known = next(use for use in uses if not use.uncovered)
        assert (known.missed, known.resident > SIZE) == (0, True)
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == b"ready\n"
        missed = next(use for use in uses if use.missed or use.resident > SIZE)
        again = next(use for use in uses if not use.missed and use.resident > SIZE)
    assert missed.resident == pytest.approx(known.resident, rel=0.2)
    assert again.resident == pytest.approx(known.resident, rel=0.2)
    second = [row.used[again.windows_ns.index(1_000_000_000)] for row in again.rows]
    assert sum(second) >= SIZE


#: Reads memory that it shares with children who came of late, and use none of it.
SHARING = f"""
import mmap, os, time
area = mmap.mmap(-1, {SIZE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, {SIZE}, 4096):
    area[at] = 1
print("ready", flush=True)
while True:
    if not os.fork():
        time.sleep(4)
        os._exit(0)
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        for at in range(0, {SIZE}, 4096):
            area[at]
        time.sleep(0.1)
"""


def test_what_is_known_to_be_used_is_not_unknown_as_well(start):
    program = start(SHARING)
    with isotherm.monitor(pid=program.pid, backend="bpf", seed=1) as session:
        snapshots = list(session.snapshots("8s"))
    uses = [one.page_use for one in snapshots if one.page_use is not None]
    assert max(len(one.targets) for one in snapshots) > 2
    for use in uses:
        for row in (one for one in use.rows if one.resident):
            assert max(row.used) + row.unseen + row.uncovered <= row.resident + 1
    assert any(row.used[-1] > SIZE // 8 for row in uses[-1].rows)


def test_who_ends_while_a_session_begins_does_not_end_it():
    from isotherm.targets.target_set import ProcessTargets

    with subprocess.Popen(["sleep", "60"]) as short, subprocess.Popen(["sleep", "9"]) as long:
        targets = ProcessTargets([short.pid, long.pid])
        try:
            short.kill()
            short.wait()
            facts = targets.facts()
            assert facts.pids == (short.pid, long.pid)
            assert facts.resident_bytes > 0
        finally:
            targets.close()
            long.kill()

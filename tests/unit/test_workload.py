import json
import mmap
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from isotherm import _core
from isotherm.demo import spec
from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec
from isotherm.errors import BadValueError, IsothermError

MIB = 1 << 20
PAGES = 97
RUN_MS = 60


def control():
    block = mmap.mmap(-1, mmap.PAGESIZE)
    return block, memoryview(block).cast("Q")


def in_ms(duration):
    return time.monotonic_ns() + duration * 1_000_000


def pagemap(address, pages):
    with open("/proc/self/pagemap", "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered
        file.seek(address // 4096 * 8)
        return memoryview(file.read(pages * 8)).cast("Q").tolist()


def present(address, pages):
    """Pages that the kernel has given memory to: the independent witness of a touch."""
    return sum(entry >> 63 for entry in pagemap(address, pages))


@pytest.mark.parametrize("random", [False, True])
def test_paced_touches_exactly_its_pages(random):
    area = _core.TouchArea(PAGES * 4096)
    block, words = control()
    _core.touch_paced(((area, 5 * 4096, 23 * 4096, 10**10, random),), in_ms(100), block)
    assert present(area.address, PAGES) == 23
    assert present(area.address + 5 * 4096, 23) == 23
    assert words[1:3].tolist() == [23, 1]


def paced_65_ms():
    """Sweeps and overruns of sweeps due at 0, 10, ... 60 ms and at 0, 30, 60 ms."""
    area = _core.TouchArea(PAGES * 4096)
    block, words = control()
    ranges = (area, 0, 4096, 10_000_000, False), (area, 4096, 4096, 30_000_000, False)
    _core.touch_paced(ranges, in_ms(65), block)
    return words[2], words[3]


def test_paced_keeps_each_period():
    """Never a sweep too many; a loaded machine makes some late or none at all, but not always."""
    for _ in range(200):
        sweeps, overruns = paced_65_ms()
        assert sweeps + overruns <= 10
        if sweeps == 10:
            return
    pytest.fail("no run of 200 kept its schedule")


@pytest.mark.parametrize("random", [False, True])
def test_busy_stays_inside_and_counts(random):
    area = _core.TouchArea(PAGES * 4096)
    block, words = control()
    _core.touch_busy(((area, 31 * 4096, 13 * 4096, 1, random),), in_ms(20), block)
    assert present(area.address, PAGES) == present(area.address + 31 * 4096, 13) == 13
    assert words[1] >= 1024


@pytest.mark.parametrize("touch", [_core.touch_paced, _core.touch_busy])
def test_stop_is_obeyed(touch):
    area = _core.TouchArea(4096)
    block, words = control()
    words[0] = 1
    touch(((area, 0, 4096, 1000, False),), in_ms(3_600_000), block)
    assert words[1] == 0


def test_populate_gives_every_page_memory_of_its_own():
    area = _core.TouchArea(PAGES * 4096)
    assert present(area.address, PAGES) == 0
    area.populate()
    assert present(area.address, PAGES) == PAGES


def test_areas_are_separate_mappings():
    held = [_core.TouchArea(PAGES * 4096) for _ in range(5)]
    areas = sorted((area.address, area.nbytes) for area in held)
    lines = Path("/proc/self/maps").read_text("ascii").splitlines()
    bounds = [line.split()[0].split("-") for line in lines]
    mapped = {(int(start, 16), int(end, 16) - int(start, 16)) for start, end in bounds}
    assert set(areas) <= mapped
    assert all(left[0] + left[1] < right[0] for left, right in pairwise(areas))


@pytest.mark.parametrize("nbytes", [0, 1, 4097, 2**64 - 4096])
def test_nonsense_area(nbytes):
    with pytest.raises(OSError, match=r"Invalid|Cannot allocate"):
        _core.TouchArea(nbytes)


@pytest.mark.parametrize(
    "bad",
    [
        (0, 98 * 4096, 1, False),
        (98 * 4096, 4096, 1, False),
        (4096, 2**64 - 4096, 1, False),
        (0, 0, 1, False),
        (1, 4096, 1, False),
        (0, 4096, 0, False),
    ],
)
def test_ranges_outside_the_area_are_refused(bad):
    area = _core.TouchArea(PAGES * 4096)
    block, _ = control()
    with pytest.raises(ValueError, match="whole pages inside"):
        _core.touch_paced(((area, *bad),), 0, block)


def test_small_or_odd_control_block_is_refused():
    with pytest.raises(ValueError, match="control block"):
        _core.touch_busy((), 0, bytearray(63))
    with pytest.raises(TypeError):
        _core.touch_busy(([],), 0, bytearray(64))


def small():
    return Spec(
        (Area("a", PAGES * 4096), Area("b", 2 * MIB, "thp")),
        (
            Phase(RUN_MS * 1000, (Hot("a", 4096, 23 * 4096, 5000),)),
            Phase(RUN_MS * 1000, (Hot("b", 0, 7 * 4096, 5000, "random"),)),
        ),
    )


def test_spec_reads_back():
    assert Spec.from_json(small().to_json()) == small()


def test_spec_takes_units():
    text = """{"version": 1, "areas": [{"name": "a", "nbytes": "2M"}], "phases": [
        {"duration_us": "1.5s", "hot": [{"area": "a", "offset": "1M", "nbytes": "64K"}]}]}"""
    expected = (Phase(1_500_000, (Hot("a", MIB, 65536),)),)
    assert Spec.from_json(text) == Spec((Area("a", 2 * MIB),), expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "not a workload"),
        ('{"version": 2}', "version 2"),
        ('{"version": 1, "areas": 5}', "not a workload"),
        ('{"version": 1, "areas": [{"name": "a", "nbytes": 5}], "phases": []}', "whole pages"),
        ('{"version": 1, "areas": [{"name": "a", "bytes": 5}], "phases": []}', "not a workload"),
    ],
)
def test_nonsense_spec(text, says):
    with pytest.raises(BadValueError, match=says):
        Spec.from_json(text)


def test_hot_range_outside_its_area():
    with pytest.raises(BadValueError, match="ends outside area 'a'"):
        Spec((Area("a", 8192),), (Phase(1, (Hot("a", 4096, 8192),)),))
    with pytest.raises(BadValueError, match="no area is named 'b'"):
        Spec((Area("a", 8192),), (Phase(1, (Hot("b", 0, 4096),)),))


def test_moving_spot_visits_the_whole_area():
    phases = spec.moving(8 * MIB, nbytes=64 * MIB, steps=5, seconds=10).phases
    places = [phase.hot[0].offset for phase in phases]
    assert places == [0, 14 * MIB, 28 * MIB, 42 * MIB, 56 * MIB]
    assert sum(phase.duration_us for phase in phases) == 10_000_000


def test_scattered_spots_are_many_apart_and_the_same_every_time():
    one = spec.scattered(16, 4 * MIB, nbytes=4096 * MIB, seconds=1, seed=3)
    assert one == spec.scattered(16, 4 * MIB, nbytes=4096 * MIB, seconds=1, seed=3)
    assert one != spec.scattered(16, 4 * MIB, nbytes=4096 * MIB, seconds=1, seed=4)
    places = [hot.offset for hot in one.phases[0].hot]
    assert len(places) == 16
    assert all(left + 4 * MIB <= right for left, right in pairwise(places))


def test_runner_knows_the_truth_and_the_child_does_it():
    with Workload(small()) as workload:
        pid = workload.pid
        assert workload.sweeps == 0
        truth = workload.go()
        workload.join()
        first, second = truth.phases
        assert first.end_ns - first.start_ns == RUN_MS * 1_000_000
        assert second.start_ns == first.end_ns
        assert first.hot[0].size == 23 * 4096
        assert truth.areas[0].start + 4096 == first.hot[0].start
        assert truth.areas[1].start == second.hot[0].start
        # Per phase 12 sweeps, of 23 and of 7 pages; late ones are left out.
        assert 0 < workload.sweeps <= 24 - workload.overruns
        assert workload.ops <= 12 * 30
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_runner_stops_early_and_leaves_nothing():
    endless = Spec((Area("a", 4096),), (Phase(3_600_000_000, (Hot("a", 0, 4096),)),))
    with Workload(endless) as workload:
        workload.go()
        workload.stop()
        assert workload.child.returncode == 0


def test_runner_goes_through_endless_phases_at_will():
    hour_us = 3_600_000_000
    area = Area("a", PAGES * 4096)
    hots = [Hot("a", place * 4096, 4096) for place in range(3)]
    endless = Spec((area,), tuple(Phase(hour_us, (hot,)) for hot in hots))
    with Workload(endless) as workload:
        first = workload.go().phases[0].start_ns
        second = workload.next_phase()
        third = workload.next_phase()
        assert first < second < third < time.time_ns()
        with pytest.raises(IsothermError, match="last phase"):
            workload.next_phase()


def test_runner_says_when_the_child_cannot_start():
    huge = Spec((Area("a", 1 << 52),), ())
    with pytest.raises(IsothermError, match="ended with"), Workload(huge):
        pass


def test_child_dies_with_its_parent():
    code = (
        "import sys, time\n"
        "from isotherm.demo.runner import Workload\n"
        "from isotherm.demo.spec import fixed\n"
        "with Workload(fixed([(0, 4096)], nbytes=8192, seconds=3600)) as workload:\n"
        "    workload.go()\n"
        "    print(workload.pid, flush=True)\n"
        "    time.sleep(3600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
    for _ in range(500):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text("ascii").split()[2] == "Z":
            return
        time.sleep(0.01)
    pytest.fail(f"workload {pid} outlived its parent")


def test_by_hand(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(small().to_json(), "utf-8")
    command = [sys.executable, "-m", "isotherm.demo.workload", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["event"] for one in said] == ["ready", "phase", "done", "phase", "done", "end"]
    assert set(said[0]["areas"]) == {"a", "b"}
    assert said[2]["ops"] == 23 * said[2]["sweeps"]
    assert 0 < said[2]["sweeps"] <= 12
    assert said[1]["wall_ns"] < said[3]["wall_ns"]


def test_by_hand_with_a_bad_file(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text("{", "utf-8")
    command = [sys.executable, "-m", "isotherm.demo.workload"]
    bad = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "not a workload" in bad.stderr
    gone = subprocess.run([*command, "/nowhere"], capture_output=True, text=True, check=False)
    assert gone.returncode == 1
    assert "/nowhere" in gone.stderr

"""Configuration files of masim as simulated workloads."""

from array import array
from math import isclose

import pytest

from isotherm.backends.sim.costs import PROFILES
from isotherm.backends.sim.masim import ACCESSES, load_masim, parse_masim
from isotherm.backends.sim.workload import SECOND
from isotherm.errors import BadValueError

MIB = 1 << 20
ZIGZAG = f"""#regions
a, {100 * MIB}
b, {100 * MIB}, none

#phases
initial phase
10000
a, 0, 4096, 1
b, 0, 4096, 1

low phase 0
5000
  # a comment
a, 0, 4096, 50, wo

high phase 0
5000
b, 1, 64, 50, ro

"""


def test_phases_follow_each_other_and_the_process_ends_with_the_last():
    workload = parse_masim(ZIGZAG, "configs/zigzag.cfg")
    assert workload.name == "zigzag.cfg"
    assert workload.changes_ns == (10 * SECOND, 15 * SECOND)
    assert [area.name for area in workload.areas] == ["[anon:a]", "[anon:b]"]
    assert {area.until_ns for area in workload.areas} == {20 * SECOND}
    world = workload.world(PROFILES["cold"])
    ranges = array("Q", [word for a in workload.areas for word in (0, a.start, a.end)])
    hot = [
        list(world.truth(ranges, at * SECOND, at * SECOND + SECOND // 10, workload.hot_rate)[::3])
        for at in (1, 12, 17)
    ]
    assert hot == [[100 * MIB, 100 * MIB], [100 * MIB, 0], [0, 100 * MIB]]


def test_accesses_are_shared_out_by_probability_and_come_at_a_fixed_pace():
    text = f"a, {64 * MIB}\nb, {64 * MIB}\n\nboth\n1000\na, 1, 64, 3\nb, 0, 4096, 1\n"
    first, second = parse_masim(text, "x").areas
    assert isclose(first.uses[0].rate, 0.75 * ACCESSES * 4096 / (64 * MIB))
    # A stride of a page: as many accesses a sweep as there are pages.
    assert isclose(second.uses[0].rate, 0.25 * ACCESSES / (64 * MIB / 4096))
    assert second.uses[0].order == "sweep"


def test_large_strides_leave_pages_out_and_small_ones_take_longer():
    text = f"a, {64 * MIB}\n\none\n1000\na, 0, 16384, 1\n\ntwo\n1000\na, 0, 64, 1\n"
    (area,) = parse_masim(text, "x").areas
    assert (area.uses[0].group, area.uses[0].regular) == (4, True)
    assert area.uses[1].group == 1
    assert isclose(area.uses[0].rate, 256 * area.uses[1].rate)


def test_sizes_may_have_a_unit_lines_end_as_they_like_and_a_region_is_whole_pages():
    (area,) = parse_masim("a, 5000\r\n\r\n\r\np\r\n10\r\na, 1, 0, 1\r\n", "x").areas
    assert area.size == 8192
    assert parse_masim("a, 2 GiB\n\np\n10\na, 1, 0, 1", "x").areas[0].size == 2 << 30


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "x:1:1"),
        ("a, 5\n", "x:1:1"),
        ("2\na, 5\nb, 6\n\np\n1\na, 1, 1, 1\n", "x:1:1"),
        ("a, 5\n\np\n1\n", "x:4:1"),
        ("a, five\n\np\n1\na, 1, 1, 1\n", "x:1:4"),
        ("a, 0\n\np\n1\na, 1, 1, 1\n", "x:1:4"),
        ("a, 17T\n\np\n1\na, 1, 1, 1\n", "x:1:4"),
        ("a, 5\na, 6\n\np\n1\na, 1, 1, 1\n", "x:2:1"),
        (", 5\n\np\n1\na, 1, 1, 1\n", "x:1:1"),
        ("a, 5\n\np\nsoon\na, 1, 1, 1\n", "x:4:1"),
        ("a, 5\n\np\n0\na, 1, 1, 1\n", "x:4:1"),
        ("a, 5\n\np\n1\nb, 1, 1, 1\n", "x:5:1"),
        ("a, 5\n\np\n1\na, 2, 1, 1\n", "x:5:4"),
        ("a, 5\n\np\n1\na, 0, 0, 1\n", "x:5:7"),
        ("a, 5\n\np\n1\na, 1, 1, -1\n", "x:5:10"),
        ("a, 5\n\np\n1\na, 1, 1, 1, xx\n", "x:5:13"),
        ("a, 5\n\np\n1\na, 1, 1\n", "x:5:1"),
        ("a, 5\n\np\n1\na, 1, 1, 0\n", "x:5:1"),
        ("a, 5\n\n" + "p\n1\na, 1, 1, 1\n\n" * 2000, "x:5463:1"),
        ("".join(f"r{i}, 1\n" for i in range(1001)) + "\np\n1\nr1, 1, 1, 1\n", "x:1001:1"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, place):
    with pytest.raises(BadValueError) as found:
        parse_masim(text, "x")
    assert found.value.message.startswith(f"{place}: ")
    assert found.value.exit_code == 2


def test_files_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "x.cfg"
    path.write_bytes(b"a, 5\xff\n")
    with pytest.raises(BadValueError, match="UTF-8"):
        load_masim(path)
    with pytest.raises(BadValueError, match="cannot read"):
        load_masim(tmp_path)

"""What .data and .bss hold, by the symbols of programs that print where their arrays are."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.model.mappings import Mappings
from isotherm.model.target import Mapping
from isotherm.naming import elf, rules
from isotherm.naming.side_file import Part
from isotherm.targets.maps import AddressMaps, names_of
from isotherm.targets.processes import ProcessSet

PAGE, MIB = 4096, 1 << 20
PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>
char table[8 << 20];
static double weights[1 << 17] = {1.0};
int small[100];
int main(void)
{
	table[0] = small[0] = 1;
	weights[5] = 2;
	printf("%lx %lx\n", (unsigned long)table, (unsigned long)weights);
	fflush(stdout);
	pause();
}
"""


@pytest.fixture(scope="module", params=[(), ("-static", "-no-pie")], ids=["pie", "static"])
def program(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "app.c").write_text(PROGRAM)
    made = folder / "app"
    subprocess.run(["cc", *request.param, "-o", made, folder / "app.c"], check=True)
    return made


@pytest.fixture
def running(program):
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        places = [int(word, 16) for word in process.stdout.readline().split()]
        processes = ProcessSet([process.pid])
        try:
            AddressMaps().of(processes.refresh())
            yield list(names_of(processes.members[0])), places, program
        finally:
            processes.close()
            process.kill()


def whole(start, size):
    return -(-start // PAGE) * PAGE, (start + size) // PAGE * PAGE


def test_large_arrays_are_where_the_program_says(running):
    mappings, (table, weights), program = running
    by_name = {mapping.name: (mapping.start, mapping.end) for mapping in mappings}
    assert by_name["[anon:table]"] == whole(table, 8 * MIB)
    assert by_name[f"{program} [weights]"] == whole(weights, MIB)
    assert by_name["[anon:app .bss]"]
    assert not any("small" in name for name in by_name)
    assert all(one.end <= after.start for one, after in pairwise(mappings))


def test_a_stripped_program_tells_its_bss_alone(program, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run(["strip", "-o", bare, program], check=True)
    image = elf.read_image(reader(bare.read_bytes()))
    told = elf.read_image(reader(program.read_bytes()))
    assert image.objects == ()
    assert (image.low, image.end) == (told.low, told.end)
    assert {"table", "weights"} <= {one.name for one in told.objects}


def reader(data):
    return lambda at, size: data[at : at + size]


ITSELF = Path("/proc/self/exe").read_bytes()[: 1 << 20]


@given(
    st.integers(0, 2000) | st.integers(0, len(ITSELF) - 8),
    st.binary(min_size=1, max_size=8),
    st.none() | st.integers(0, 4096),
)
def test_any_bytes_are_read_without_an_error(at, patch, length):
    data = bytearray(ITSELF[:length])
    data[at : at + len(patch)] = patch
    image = elf.read_image(reader(bytes(data)))
    for one, after in zip(image.objects, image.objects[1:], strict=False) if image else ():
        assert one.start < one.end <= after.start


def test_what_a_program_says_itself_comes_before_its_symbols():
    mappings = Mappings.of(
        [
            Mapping(0x10000, 0x20000, "rw-p", "/bin/app"),
            Mapping(0x20000, 0x40000, "rw-p", ""),
        ]
    )
    own = [Part(0x12000, 0x14000, "mine"), Part(0x22000, 0x28000, "mine")]
    symbols = [
        Part(0x10000, 0x12000, "data"),
        Part(0x20000, 0x24000, "table"),
        Part(0x28000, 0x2A000, "other"),
    ]
    told = rules.told_apart(mappings, own, symbols)
    assert [(one.start, one.end, one.name) for one in told] == [
        (0x10000, 0x12000, "/bin/app [data]"),
        (0x12000, 0x20000, "/bin/app"),
        (0x20000, 0x22000, ""),
        (0x22000, 0x28000, "[anon:mine]"),
        (0x28000, 0x2A000, "[anon:other]"),
        (0x2A000, 0x40000, ""),
    ]

"""`isotherm cold`: what could go at which age and what would come back, as data and as text."""

import json
import random
import shlex
from dataclasses import replace

import pytest

from isotherm.analysis.cold import FaultCost, cold, whom
from isotherm.cli import main
from isotherm.cli.cold import spelled
from isotherm.errors import BadValueError
from isotherm.kernel.swap import SwapDevice
from isotherm.model.page_use import FREED, never_seen
from isotherm.model.ranges import Range
from isotherm.model.target import Mapping, Target
from isotherm.recording.writer import RecordingWriter
from isotherm.report.cold import Swap, document, lines
from isotherm.schemefile.lines.key_value import parse_line
from isotherm.session.contents import Compression, Contents, HugePages, _blocks
from support.snapshots import MIB, S, page_use, phases, snapshot, use_row

PAGE = 4096
TARGETS = snapshot(0).targets
COST = FaultCost(10_000, 100_000)
HEAP = use_row({0.05: 8 * MIB, 3: 6 * MIB, 25: 40 * MIB}, back={0.5: 9 * MIB, 6: 25 * MIB})
FILE = use_row({25: 4 * MIB}, what="/usr/lib/libx.so", kind="file", back={6: 5 * MIB})
USE = page_use(HEAP, FILE)


def made(use=USE, swap_free_bytes=1 << 40, **changes):
    return cold(use, TARGETS, {}, swap_free_bytes=swap_free_bytes, cost=COST, **changes)


def at(found, seconds):
    return next(age for age in found.ages if age.age_ns == seconds * S)


def test_ages_are_those_that_memory_can_have_reached():
    assert [age.age_ns // S for age in made().ages] == [1, 2, 5, 10, 20]
    assert [age.age_ns // S for age in made(age_ns=5 * S).ages] == [5]
    assert made(age_ns=3 * S).ages == ()
    # What stood still got no older meanwhile.
    still = replace(USE, stopped_ns=18 * S)
    assert [age.age_ns // S for age in made(still).ages] == [1, 2, 5, 10]
    short = page_use(use_row({0.3: MIB}, watched_ns=S), watched_ns=S)
    assert [age.age_ns for age in made(short).ages] == [S // 2]


def test_what_would_go_and_come_back():
    age = at(made(), 2)
    assert age.idle_bytes == age.could.bytes == 50 * MIB
    assert (age.could.swap_bytes, age.could.file_bytes) == (46 * MIB, 4 * MIB)
    assert (age.returned_swap, age.returned_file) == (25 * MIB, 5 * MIB)
    # Within 28 s of the 30 s anything could be seen to have been idle for 2 s.
    assert age.refaults_per_s == pytest.approx(30 * MIB / PAGE / 28)
    waits = 25 * MIB / PAGE * 10e-6 + 5 * MIB / PAGE * 100e-6
    assert age.stall_share == pytest.approx(waits / 28)
    assert at(made(), 10).refaults_per_s == 0


def test_memory_that_stays_is_nothing_that_could_go():
    shared = use_row({25: 64 * MIB}, what="/dev/shm/x", kind="shmem", own=False, back={})
    locked = use_row({}, what="locked", unseen=32 * MIB, back={})
    mapped = use_row({25: 16 * MIB}, what="/data", kind="file", back={})
    mappings = {TARGETS[0].id: [Mapping(0, 16 * MIB, "rw-s", "/data")]}
    # Where pages are not told apart none are promised of a shared file.
    use = page_use(HEAP, shared, locked, mapped, exact=False)
    found = cold(use, TARGETS, mappings, swap_free_bytes=None, cost=COST)
    age = at(found, 10)
    assert age.moved_bytes == 40 * MIB
    assert age.idle_bytes == (40 + 64 + 16) * MIB
    by_name = {part.part.name: part for part in found.parts}
    assert by_name["/dev/shm/x"].could_go == (0,) * 5
    assert by_name["locked"].idle == by_name["locked"].could_go == (0,) * 5
    assert by_name["locked"].part.unknown == 32 * MIB
    text = " ".join(" ".join(lines(found, Swap(None), 80)).split())
    assert "stays 80.0 MiB of what was not used for" in text


def test_what_swap_space_there_is_not_is_said_apart():
    age = at(made(swap_free_bytes=30 * MIB), 2)
    assert age.could.bytes == 34 * MIB
    assert age.could.lacking_bytes == 16 * MIB
    assert age.moved_bytes == 50 * MIB
    none = Swap(0, ())
    text = " ".join(" ".join(lines(made(swap_free_bytes=0), none, 80)).split())
    assert "frees 4.0 MiB" in text
    assert "40.0 MiB more with swap space" in text
    assert "swap none; with it, or zram, 40.0 MiB could go" in text
    assert "zramctl -f -s 1G" in text
    group = Swap(1 << 30, (), left_bytes=5 * MIB)
    assert group.usable_bytes == 5 * MIB
    assert "a memory cgroup leaves 5.0 MiB" in " ".join(lines(made(), group, 200))


def test_the_age_that_is_suggested_is_the_oldest_that_is_as_good_and_cheap():
    # Of what was not used for 20 s nobody could see for 20 s whether it comes back.
    assert made().best.age_ns == 10 * S
    dear = use_row({7: 40 * MIB, 25: 40 * MIB}, back={8: 800 * MIB})
    assert made(page_use(dear)).best.age_ns == 10 * S
    cheap = use_row({7: 40 * MIB, 25: 40 * MIB}, back={})
    assert made(page_use(cheap)).best.age_ns == 5 * S
    always = use_row({25: 40 * MIB}, back={24: 8000 * MIB})
    assert made(page_use(always)).best.age_ns == 10 * S
    assert made(page_use(use_row({0.05: MIB}))).best is None


def test_without_a_count_nobody_tells_what_it_costs():
    found = made(page_use(use_row({25: 40 * MIB})))
    age = at(found, 10)
    assert age.refaults_per_s is age.stall_share is None
    assert "costs not known" in " ".join(" ".join(lines(found, Swap(None), 80)).split())
    assert document(found, Swap(None))["ages"][0]["returned_bytes"] is None


def test_what_is_gone_or_was_never_looked_at_hides_no_count():
    gone = use_row({}, what=FREED)
    missed = never_seen(0, "anon", MIB, len(USE.windows_ns))
    found = made(page_use(HEAP, gone, missed))
    assert at(found, 2).refaults_per_s == pytest.approx(25 * MIB / PAGE / 28)
    assert at(made(page_use(gone)), 2).refaults_per_s is None


@pytest.mark.parametrize("names", [None, "[heap]", "[heap]|/usr/*", 'a "b"'])
@pytest.mark.parametrize("exact", [True, False])
def test_schemes_and_commands_are_what_apply_reads(names, exact):
    found = made(replace(USE, exact=exact), names=names)
    scheme = parse_line(found.scheme(10 * S))
    assert scheme.idle_us == (10_000_000 if exact else 0)
    assert [rule.name for rule in scheme.filters if rule.name] == ([names] if names else [])
    words = shlex.split(found.command(10 * S))
    assert words[:4] == ["sudo", "isotherm", "apply", found.scheme(10 * S)]
    assert all(part.part.name in ("[heap]", "/usr/lib/libx.so") for part in found.parts)


def test_only_memory_of_the_wanted_names_counts():
    found = made(names="/usr/*")
    assert found.use.resident == 4 * MIB
    assert at(found, 10).moved_bytes == 4 * MIB
    assert at(found, 5).returned_file == 5 * MIB
    assert at(found, 5).returned_swap == 0


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([Target(1, "a", 5), Target(2, "b", 6)], "-p 5,6"),
        ([Target(1, "a", 5, group="unit x.service"), Target(2, "b", 6, group="unit x.service")],
         "--unit x.service"),
        ([Target(1, "a", 5, group="cgroup /app x")], "-G '/app x'"),
        ([Target(1, "a", 5, group="mine y")], "-p 5"),
        ([Target(i, "a b", i) for i in range(1, 100)], f"-p {','.join(map(str, range(1, 100)))}"),
    ],
)  # fmt: skip
def test_targets_are_named_as_apply_takes_them(targets, said):
    assert whom(targets) == said


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_text_fits_but_for_commands(width):
    device = SwapDevice("/dev/zram0", 1 << 30, 0, 100, "zram", 300, 100)
    names = [use_row({25: MIB * i}, what=f"/very/long/name/{i}" * 4) for i in range(1, 20)]
    found = made(page_use(HEAP, FILE, *names))
    made_lines = lines(found, Swap(1 << 30, (device,)), width)
    assert max(map(len, made_lines)) <= width
    typed = "\n".join(made_lines[made_lines.index(" to do it:") + 1 :])
    assert shlex.split(typed.replace("\\\n", " ")) == shlex.split(found.command(10 * S))
    text = " ".join(" ".join(made_lines).split())
    assert "keeps 3.0 bytes in one" in text
    assert "and 9 others" in text


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def write(use):
        with RecordingWriter(tmp_path / "x.isotherm", {"backend": "sim"}) as writer:
            for one in phases(120):
                writer.write(replace(one, page_use=use if one.index == 119 else None))

    return write


def test_a_recording_says_the_same_as_its_view(recorded, capsys):
    recorded(USE)
    assert not main(["cold", "x.isotherm", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert not main(["report", "x.isotherm", "cold", "--format", "json"])
    assert json.loads(capsys.readouterr().out) == found
    assert found["schema"] == "isotherm.cold/1"
    assert [age["age_ns"] for age in found["ages"]] == [n * S for n in (1, 2, 5, 10, 20)]
    assert found["ages"][2]["returned_bytes"] == 30 * MIB
    assert not main(["cold", "x.isotherm", "--idle", "5s", "--what", "[heap]", "--format", "json"])
    one = json.loads(capsys.readouterr().out)
    assert [age["could_go_bytes"] for age in one["ages"]] == [40 * MIB]
    assert one["names"] == "[heap]"


@pytest.mark.parametrize(
    ("args", "said"),
    [(["--idle", "3s"], "known ages: 100ms"), (["--what", "heap"], "match")],
)
def test_what_is_not_known_is_refused_with_what_is(recorded, capsys, args, said):
    recorded(USE)
    assert main(["cold", "x.isotherm", *args]) == BadValueError.exit_code
    assert said in capsys.readouterr().err


def test_a_recording_without_a_map_cannot_tell(recorded, capsys):
    recorded(None)
    assert not main(["cold", "x.isotherm"])
    assert "no map of pages" in capsys.readouterr().out
    assert not main(["cold", "x.isotherm", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["by"] == "regions"


def test_an_age_that_the_time_is_too_short_for_is_refused_before_anything_is_watched(capsys):
    assert main(["cold", "1", "-d", "5s", "--idle", "30s"]) == BadValueError.exit_code
    assert "watched for 5s these ages are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words", "said"),
    [
        ({}, ("12", "redis"), "-p 12 -n redis"),
        ({"source_cgroup": ("/a b",), "no_children": True}, (), "-G '/a b' --no-children"),
        ({"source_all": True}, (), "-a"),
        ({"no_children": True}, (), ""),
    ],
)
def test_the_command_names_targets_as_they_were_given(options, words, said):
    assert spelled(options, words) == said
    assert made(called=said).command(S).endswith(said or whom(TARGETS))


def inside():
    compression = Compression()
    for page in (
        bytes(PAGE),
        b"12345678" * (PAGE // 8),
        RANDOM,
        RANDOM[: PAGE // 2] + bytes(2048),
    ):
        compression.add(memoryview(page))
    huge = {
        "[heap]": HugePages(huge=64 * MIB, looked=32 * MIB, zeros=24 * MIB),
        "anonymous": HugePages(gains=20 * MIB),
        "[anon:full]": HugePages(huge=64 * MIB, looked=64 * MIB, zeros=MIB),
        "[anon:\x1b]": HugePages(gains=40 * MIB),
    }
    return Contents(compression, huge, looked_at_zeros=True)


RANDOM = random.Random(1).randbytes(PAGE)


def test_pages_are_kept_as_zram_does():
    found = inside().compression
    assert (found.pages, found.filled) == (4, 2)
    # A page of random bytes is kept as it is, one that is half random in a little over its half.
    assert all(1.5 * PAGE < size < 1.6 * PAGE for size in (found.best, found.fast))
    assert Compression().share == (0, 0)


def test_what_was_found_in_memory_is_told_with_what_to_do():
    found, looked = made(), inside()
    read = document(found, Swap(None), looked)
    assert read["compression"]["filled_pages"] == 2
    huge = {of["what"]: of for of in read["huge"]}
    assert huge["[heap]"]["zero_bytes"] == 48 * MIB
    assert huge["anonymous"]["could_be_huge_bytes"] == 20 * MIB
    said = lines(found, Swap(None), 80, looked)
    text = " ".join(" ".join(said).split())
    assert "60.0 MiB used all over are in small pages" in text
    assert "128 MiB are huge, 49.0 MiB of that small pages of nothing but zeros" in text
    assert "50% of them of one word" in text
    typed = "\n".join(said).replace("\\\n", " ").split("\n")
    commands = [shlex.split(line)[3] for line in typed if line.startswith("  sudo isotherm")]
    assert commands[1:] == [
        "hugepage access=5%.. filter=name:anonymous",
        'nohugepage filter=name:"[heap]"',
    ]
    assert all(map(parse_line, commands))


def test_what_nobody_looked_at_is_not_told_of():
    looked = Contents(huge={"[heap]": HugePages(huge=64 * MIB)})
    text = " ".join(" ".join(lines(made(), Swap(None), 80, looked)).split())
    assert "64.0 MiB are huge (--look-at-zeros tells" in text
    assert "nohugepage" not in text
    read = document(made(), Swap(None), looked)
    assert read["compression"] is None
    assert read["huge"][0]["zero_bytes"] is None
    assert document(made(), Swap(None))["huge"] is None


def test_a_recording_holds_no_memory_to_look_into(recorded, capsys):
    recorded(USE)
    assert main(["cold", "x.isotherm", "--look-at-zeros"]) == BadValueError.exit_code
    assert "name a process that runs" in capsys.readouterr().err


def test_huge_blocks_are_whole_and_aligned():
    block = 2 * MIB
    ranges = [Range(PAGE, block), Range(block, 3 * block), Range(3 * block + PAGE, 5 * block)]
    assert list(_blocks(iter(ranges))) == [block, 2 * block, 4 * block]
    assert list(_blocks(iter(()))) == []


@pytest.mark.parametrize("asked", [["-d", "5s"], ["--overhead", "3%"], ["--duration=60s"]])
@pytest.mark.parametrize("name", ["cold", "wss"])
def test_what_is_for_programs_is_refused_for_a_recording(name, asked, recorded, capsys):
    recorded(USE)
    assert main([name, "x.isotherm", *asked]) == BadValueError.exit_code
    assert "not for a recording" in capsys.readouterr().err
    assert main([name, "x.isotherm", "--format", "json"]) == 0

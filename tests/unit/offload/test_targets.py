"""Who is watched: processes that come and go, fixed ranges, physical memory."""

import errno
import os

import pytest

from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.errors import NotSupportedError, TargetGoneError
from isotherm.kernel.damon.context import DamonTarget, KdamondFiles
from isotherm.model.ranges import Range
from isotherm.model.scope import Scope
from isotherm.targets.physical import PhysicalMemory, system_ram
from support.fake_damon import FakeDamon
from support.offload import ATTRS, Watched, take


def test_new_processes_are_committed_and_dead_ones_are_not(files, open_kdamond):
    watched = Watched(41)
    kdamond = open_kdamond(watched)
    snapshots = kdamond.snapshots()
    next(snapshots)
    watched.found.append(watched.make(43))
    next(snapshots)
    snapshot = next(snapshots)
    assert [target.pid for target in snapshot.targets] == [41, 43]
    assert [target.pid for target in KdamondFiles(files, 0).get().targets] == [41, 43]
    commits = files.commands.count((0, "commit"))
    del watched.found[0]
    next(snapshots)
    assert [target.pid for target in next(snapshots).targets] == [41, 43]
    assert files.commands.count((0, "commit")) == commits == 1


def test_dead_processes_are_removed_where_the_kernel_can(tmp_path, folder):
    """In their place, so that the others keep theirs; with a pid that lives."""
    files = FakeDamon(tmp_path / "kdamonds", "7.3")
    files.regions = [(0, 4096, 3, 5)]
    commits = []

    def look(index, keyword):
        if keyword == "commit":
            commits.append(KdamondFiles(files, index).get().targets)

    files.on_command = look
    watched = Watched(41, 43)
    options = {"files": files, "tracing": tmp_path / "none", "folder": folder}
    with Kdamond(watched, ATTRS, **options) as kdamond:
        snapshots = kdamond.snapshots()
        assert [target.pid for target in next(snapshots).targets] == [41, 43]
        del watched.found[0]
        next(snapshots)
        assert [target.pid for target in next(snapshots).targets] == [43]
        watched.found.append(watched.make(45))
        next(snapshots)
        assert [target.pid for target in next(snapshots).targets] == [43, 45]
    assert commits == [
        (DamonTarget(os.getpid(), obsolete=True), DamonTarget(43)),
        (DamonTarget(43), DamonTarget(45)),
    ]


def test_a_process_that_ends_while_it_is_committed(files, open_kdamond):
    """The kernel refuses the pid, and takes nothing."""

    def refuse(index, keyword):
        if keyword == "commit" and len(watched.found) == 3:
            del watched.found[2]
            raise OSError(errno.EINVAL, "no such process")

    files.on_command = refuse
    watched = Watched(41)
    snapshots = open_kdamond(watched).snapshots()
    next(snapshots)
    watched.found += [watched.make(43), watched.make(45)]
    next(snapshots)
    next(snapshots)
    assert [target.pid for target in next(snapshots).targets] == [41, 43]
    assert files.commands.count((0, "commit")) == 2


def test_a_kernel_that_ends_with_a_commit_is_started_again(files, open_kdamond):
    def end(index, keyword):
        if keyword == "commit":
            files.show(index, "off", -1)

    files.on_command = end
    watched = Watched(41)
    snapshots = open_kdamond(watched).snapshots()
    next(snapshots)
    watched.found.append(watched.make(43))
    next(snapshots)
    assert [target.pid for target in next(snapshots).targets] == [41, 43]
    assert files.commands.count((0, "on")) == 2
    # Whoever stops it after that means it.
    files.command(0, "off")
    assert list(snapshots) == []


def test_a_zombie_is_no_target(open_kdamond):
    """The kernel monitors it for ever: only its parent's wait ends that."""
    watched = Watched(41)
    snapshots = open_kdamond(watched).snapshots()
    next(snapshots)
    watched.found.clear()
    assert list(snapshots) == []


def test_nothing_to_monitor(open_kdamond):
    with pytest.raises(TargetGoneError, match="no target"):
        take(open_kdamond(Watched()), 1)


def test_fvaddr_stays_within_the_ranges_of_its_target(files, open_kdamond):
    take(open_kdamond(Watched(41, scope=Scope("fvaddr"))), 1)
    context = KdamondFiles(files, 0).get()
    assert context.operations == "fvaddr"
    assert context.targets == (DamonTarget(41, (Range(0, 1 << 20),)),)


IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-bffdbfff : System RAM
  01000000-01e02fff : Kernel code
100000000-23fffffff : System RAM
"""


def test_physical_memory_is_one_target_of_all_system_ram(tmp_path, files, open_kdamond):
    (tmp_path / "iomem").write_text(IOMEM)
    ram = system_ram(tmp_path / "iomem")
    assert ram == (
        Range(0x1000, 0x9FC00),
        Range(0x100000, 0xBFFDC000),
        Range(0x100000000, 0x240000000),
    )
    kdamond = open_kdamond(PhysicalMemory(ram=ram))
    (before,) = kdamond.targets
    (snapshot,) = take(kdamond, 1)
    assert KdamondFiles(files, 0).get().targets == (DamonTarget(None, ram),)
    (target,) = snapshot.targets
    assert before.target == target
    assert (target.title, target.pid, target.mapped_bytes) == ("physical memory", None, None)
    assert [(one.start, one.end, one.name) for one in snapshot.mappings[0]] == [
        (*one, "System RAM") for one in ram
    ]


def test_ranges_of_physical_memory_keep_the_whole_map(files, open_kdamond):
    ram, some = (Range(0, 1 << 30),), (Range(1 << 20, 1 << 21), Range(1 << 24, 1 << 25))
    (snapshot,) = take(open_kdamond(PhysicalMemory(some, ram)), 1)
    assert KdamondFiles(files, 0).get().targets == (DamonTarget(None, some),)
    assert [one.size for one in snapshot.mappings[0]] == [1 << 30]


ZONEINFO = """\
Node 0, zone      DMA
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone    DMA32
        spanned  1044480
  start_pfn:           4096
Node 0, zone  Movable
        spanned  0
  start_pfn:           0
Node 1, zone   Normal
        spanned  1024
  start_pfn:           2097152
"""


def test_where_iomem_lists_no_memory_zones_tell(tmp_path):
    (tmp_path / "iomem").write_text("00000000-00000fff : Reserved\n")
    (tmp_path / "zoneinfo").write_text(ZONEINFO)
    assert system_ram(tmp_path / "iomem", tmp_path / "zoneinfo") == (
        Range(4096, 1048576 * 4096),
        Range(2097152 * 4096, 2098176 * 4096),
    )


def test_physical_memory_is_hidden_from_others(tmp_path):
    (tmp_path / "iomem").write_text("00000000-00000000 : System RAM\n" * 2)
    with pytest.raises(NotSupportedError, match="does not tell where memory is"):
        system_ram(tmp_path / "iomem")

"""Which cgroup is meant, on a tree that looks like the memory controller's."""

import pytest

from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel import cgroupfs


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "memory"
    (root / "app" / "web").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    monkeypatch.setattr(cgroupfs, "memory_root", lambda: root)
    return root


@pytest.mark.parametrize("path", ["/app/web", "app/web", "/app/../app/web", "{root}/app/web"])
def test_a_group_by_its_path_or_its_folder(root, path):
    folder = root / "app" / "web"
    assert cgroupfs.memory_group(path.format(root=root)) == folder
    assert cgroupfs.group_inode(path.format(root=root)) == folder.stat().st_ino


@pytest.mark.parametrize("path", ["/", ""])
def test_the_group_of_all(root, path):
    assert cgroupfs.memory_group(path) == root


@pytest.mark.parametrize(
    "path",
    [
        "/no",
        "../beside",
        "/../beside",
        "{root}/../beside",
        "../..",
        "/app\0",
        "/app\n",
        "/" + 300 * "x",
    ],
)
def test_what_is_not_there_or_outside_is_no_group(root, path):
    assert cgroupfs.memory_group(path.format(root=root)) is None
    with pytest.raises(NotSupportedError, match="no memory cgroup"):
        cgroupfs.group_inode(path.format(root=root))


def test_without_a_memory_controller_there_are_no_groups(monkeypatch):
    monkeypatch.setattr(cgroupfs, "memory_root", lambda: None)
    assert cgroupfs.memory_group("/") is None


MOUNTS = {
    "v2": "30 23 0:26 / {at} rw shared:4 - cgroup2 cgroup2 rw,nsdelegate",
    "v1": (
        "31 23 0:27 / {at} ro - tmpfs tmpfs ro,mode=755\n"
        "32 31 0:28 / {at}/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "33 31 0:29 / {at}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "34 31 0:30 / {at}/memory rw - cgroup cgroup rw,memory"
    ),
    "hybrid": (
        "31 23 0:27 / {at} ro - tmpfs tmpfs ro,mode=755\n"
        "32 31 0:28 / {at}/unified rw - cgroup2 cgroup2 rw\n"
        "33 31 0:29 / {at}/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "34 31 0:30 / {at}/memory rw - cgroup cgroup rw,memory"
    ),
}


@pytest.fixture
def mounted(monkeypatch):
    def mount(mountinfo):
        found = cgroupfs.parsed(mountinfo)
        monkeypatch.setattr(cgroupfs, "hierarchies", lambda: found)
        return found

    return mount


def test_the_hierarchy_to_look_in_first(mounted, tmp_path):
    def names(kind):
        found = mounted(MOUNTS[kind].format(at=tmp_path))
        return [str(one.mount.relative_to(tmp_path)) for one in found]

    assert names("v1") == ["memory", "systemd", "cpu,cpuacct"]
    assert names("hybrid") == ["memory", "unified", "systemd"]
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (one,) = mounted(MOUNTS["v2"].format(at=tmp_path))
    assert (one.unified, one.controllers) == (True, ("cpu", "memory"))


@pytest.mark.parametrize(
    ("text", "path", "controller"),
    [
        ("/app", "/app", None),
        ("app", "/app", None),
        ("/app/", "/app", None),
        ("//app//web", "/app/web", None),
        ("./app", "/app", None),
        ("/", "/", None),
        ("0::/app", "/app", ""),
        ("4:memory:/app", "/app", "memory"),
        ("7:cpu,cpuacct:/app", "/app", "cpu,cpuacct"),
        ("1:name=systemd:/system.slice/a.service", "/system.slice/a.service", "name=systemd"),
        ("memory:/app", "/app", "memory"),
        ("/sys/fs/cgroup/app", "/app", None),
        ("/sys/fs/cgroup/memory/app", "/app", "memory"),
        ("/sys/fs/cgroup/unified/app/web", "/app/web", ""),
        ("/sys/fs/cgroup/memory", "/", "memory"),
        ("/system.slice/*.service", "/system.slice/*.service", None),
        (r"system.slice/a\x2db.service", r"/system.slice/a\x2db.service", None),
    ],
)
def test_every_spelling_of_a_group(mounted, text, path, controller):
    mounted(MOUNTS["hybrid"].format(at="/sys/fs/cgroup"))
    assert cgroupfs.group_path(text) == cgroupfs.GroupPath(path, controller)


@pytest.mark.parametrize(
    "text", ["", "../app", "/app/../../etc", "0::/../app", "a\nb", "a\0", "x" * 5000]
)
def test_what_is_no_path_of_a_group(mounted, text):
    mounted(MOUNTS["hybrid"].format(at="/sys/fs/cgroup"))
    with pytest.raises(BadValueError):
        cgroupfs.group_path(text)


def test_a_hierarchy_of_which_a_part_is_mounted(mounted):
    """As Docker mounts its own group into a container without a namespace of cgroups."""
    (one,) = mounted("9 8 0:26 /docker/ab\\040c /sys/fs/cgroup ro - cgroup2 cgroup rw")
    assert one.root == "/docker/ab c"
    assert str(one.folder("/docker/ab c/app")) == "/sys/fs/cgroup/app"
    assert str(one.folder("/app")) == "/sys/fs/cgroup/app"

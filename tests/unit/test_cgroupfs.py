"""Which cgroup is meant, on a tree that looks like the memory controller's."""

import pytest

from isotherm.errors import NotSupportedError
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

"""A kernel's DAMON admin tree in a directory: files of one release, and what writes to them do."""

import errno
import json
import re
import shutil
from pathlib import Path

from isotherm.kernel.damon.files import DamonFiles

LAYOUT = json.loads((Path(__file__).parents[1] / "data" / "damon_sysfs_layout.json").read_text())


def release(text):
    return tuple(map(int, text.split(".")))


def keywords(note):
    """Parse "a b (6.1); c (7.2)" and the like of the layout's notes into {keyword: release}."""
    found = {}
    for names, since in re.findall(r"([a-z_ ]+?) \((\d+\.\d+)\)", note):
        found |= dict.fromkeys(names.split(), since)
    return found


class FakeDamon(DamonFiles):
    """
    Files of `version` under `root`. The kernel's part is played on each write.

    busy: so many writes are refused with EBUSY first; commands: what `state` was told; regions:
    what update_schemes_tried_regions shows for every scheme; on_command: called with each.
    """

    def __init__(self, root, version, *, patience_s=5.0):
        super().__init__(Path(root), patience_s=patience_s)
        self.version = release(version)
        self.files = {
            re.sub(r"<\w>", "*", one["path"]).removeprefix("kdamonds/"): one
            for one in LAYOUT["files"]
            if release(one["since"]) <= self.version
        }
        self.states = {
            one["keyword"]
            for one in LAYOUT["state_keywords"]
            if release(one["since"]) <= self.version
        }
        self.busy = 0
        self.commands = []
        self.regions = []
        self.on_command = lambda index, keyword: None
        self.next_pid = 1001
        self.root.mkdir(parents=True, exist_ok=True)
        self.create("")

    def create(self, folder):
        """Make what is in a new directory: files, and directories down to the next nr_ file."""
        generic = re.sub(r"/\d+(?=/|$)", "/*", f"/{folder}/").strip("/")
        below = f"{generic}/" if generic else ""
        for name, one in self.files.items():
            if name.startswith(below) and "*" not in name[len(below) :]:
                path = self.root / folder / name[len(below) :]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{one['default']}\n")
        operations = self.root / folder / "avail_operations"
        if operations.exists():
            operations.write_text("vaddr\nfvaddr\npaddr\n")

    def _store(self, path, text):
        if self.busy:
            self.busy -= 1
            raise OSError(errno.EBUSY, "busy")
        if not (self.root / path).exists():
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        folder, _, name = path.rpartition("/")
        if name == "state":
            self.command(int(folder), text)
            return
        self.refuse_bad(path, text)
        (self.root / path).write_text(f"{text}\n")
        if name.startswith("nr_") and (self.root / path).exists():
            self.number(path)
            self.recreate(folder, int(text))

    def refuse_bad(self, path, text):
        one = self.files[re.sub(r"/\d+(?=/|$)", "/*", f"/{path}").strip("/")]
        name = path.rpartition("/")[2]
        if name in ("operations", "action", "type", "target_metric"):
            known = keywords(one["note"]) or {}
            since = known.get(text, "5.18" if text in one["note"] else "99.0")
            if release(since) > self.version:
                raise OSError(errno.EINVAL, "unknown keyword")
        elif one["type"].startswith(("ulong", "u32")) and not 0 <= int(text) < 1 << 64:
            raise OSError(errno.EINVAL, "no such number")
        if name == "nr_kdamonds" and any(
            self.read(f"{index}/state") == "on" for index in self.numbered("")
        ):
            raise OSError(errno.EBUSY, "one runs")

    def recreate(self, folder, count):
        for index in self.numbered(folder):
            shutil.rmtree(self.root / folder / str(index))
        for index in range(count):
            at = f"{folder}/{index}".strip("/")
            (self.root / at).mkdir()
            self.create(at)

    def command(self, index, keyword):
        if keyword not in self.states:
            raise OSError(errno.EINVAL, "no such command")
        running = self.read(f"{index}/state") == "on"
        if keyword == "on":
            if running:
                raise OSError(errno.EBUSY, "runs")
            self.show(index, "on", self.next_pid)
            self.next_pid += 1
        elif keyword == "off":
            if not running:
                raise OSError(errno.EINVAL, "does not run")
            self.show(index, "off", -1)
        elif not running:
            raise OSError(errno.EINVAL, "does not run")
        self.commands.append((index, keyword))
        self.on_command(index, keyword)
        if keyword == "update_schemes_tried_regions":
            for scheme in self.numbered(f"{index}/contexts/0/schemes"):
                self.show_regions(f"{index}/contexts/0/schemes/{scheme}/tried_regions")

    def show(self, index, state, pid):
        (self.root / f"{index}/state").write_text(f"{state}\n")
        (self.root / f"{index}/pid").write_text(f"{pid}\n")

    def show_regions(self, folder):
        self.recreate(folder, len(self.regions))
        for number, region in enumerate(self.regions):
            for name, value in zip(("start", "end", "nr_accesses", "age"), region, strict=True):
                (self.root / folder / str(number) / name).write_text(f"{value}\n")
            passed = self.root / folder / str(number) / "sz_filter_passed"
            if passed.exists():
                passed.write_text("0\n")

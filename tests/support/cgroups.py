"""Real control groups with real processes in them; all of it is gone afterwards."""

import contextlib
import subprocess

from isotherm.kernel import cgroupfs
from support.waiting import wait_for


class Groups:
    """
    Groups below one of our own in a hierarchy, made by hand.

    hierarchy: of `cgroupfs.hierarchies`; name: of our own group there.
    """

    def __init__(self, hierarchy, name):
        self.hierarchy = hierarchy
        self.root = hierarchy.mount / name
        self._processes = []
        self._folders = []
        self.make("")

    def path(self, below=""):
        """Return a path as /proc/PID/cgroup has it."""
        return "/" + str((self.root / below).relative_to(self.hierarchy.mount))

    def make(self, below):
        """Make a group, and those that it is in."""
        folder = self.root / below
        for one in (*reversed(folder.relative_to(self.root).parents), folder):
            made = self.root / one
            if not made.exists():
                made.mkdir()
                self._folders.append(made)
        return folder

    def start(self, below="", command=("sleep", "600")):
        """Start a program in a group; return its process."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._processes.append(process)
        self.join(below, process.pid)
        return process

    def join(self, below, pid):
        """Move a process into a group."""
        (self.make(below) / "cgroup.procs").write_text(str(pid))

    def end(self, process):
        """End a program."""
        process.kill()
        process.wait()
        self._processes.remove(process)

    def remove(self, below):
        """Remove a group whose processes have ended."""
        folder = self.root / below
        wait_for(lambda: removed(folder))
        self._folders.remove(folder)

    def close(self):
        for process in list(self._processes):
            self.end(process)
        for folder in reversed(self._folders):
            wait_for(lambda folder=folder: removed(folder))


def removed(folder):
    """Remove a group; whether it is gone. The kernel empties it when it gets round to it."""
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


@contextlib.contextmanager
def groups_in(hierarchy, name="isotherm-test"):
    made = Groups(hierarchy, name)
    try:
        yield made
    finally:
        made.close()


def mounted():
    """Return one hierarchy of each version that this machine has mounted, to be asked for."""
    found = {}
    for hierarchy in cgroupfs.hierarchies():
        found.setdefault("v2" if hierarchy.unified else "v1", hierarchy)
    return found

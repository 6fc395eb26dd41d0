"""What tests of the backend kdamond watch, and how they take its windows."""

from isotherm.core.look import TargetRanges
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Pattern, Quota, Scheme
from isotherm.model.target import Mapping, Target

ATTRS = Attrs(5_000, 100_000, 0, 10, 100)


PAGEOUT = Scheme(Action.PAGEOUT, Pattern(), quota=Quota(size_bytes=1 << 20))


class Watched:
    """Targets that a test changes."""

    def __init__(self, *pids):
        self.found = [self.make(pid) for pid in pids]
        self.closed = False

    def make(self, pid):
        mapping = Mapping(0, 1 << 20, "rw-p", f"memory of {pid}")
        return TargetRanges(Target(pid - 40, f"p{pid}", pid), (Range(0, 1 << 20),), (mapping,))

    def targets(self):
        return self.found

    def close(self):
        self.closed = True


def take(kdamond, count):
    found = []
    for snapshot in kdamond.snapshots():
        found.append(snapshot)
        if len(found) == count:
            break
    return found

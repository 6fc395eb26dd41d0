"""What tests of the backend kdamond watch, and how they take its windows."""

from isotherm.core.look import TargetRanges
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Pattern, Quota, Scheme
from isotherm.model.scope import Scope
from isotherm.model.target import Mapping, Target
from isotherm.targets.target_set import TargetSet

ATTRS = Attrs(5_000, 100_000, 0, 10, 100)


PAGEOUT = Scheme(Action.PAGEOUT, Pattern(), quota=Quota(size_bytes=1 << 20))


class Watched(TargetSet):
    """Targets that a test changes."""

    def __init__(self, *pids, scope=None):
        super().__init__(scope or Scope())
        self.found = [self.make(pid) for pid in pids]

    def make(self, pid):
        mapping = Mapping(0, 1 << 20, "rw-p", f"memory of {pid}")
        return TargetRanges(Target(pid - 40, f"p{pid}", pid), (Range(0, 1 << 20),), (mapping,))

    def targets(self, max_ranges):
        assert max_ranges == 3
        return self.found

    def alive(self):
        return bool(self.found)

    def facts(self):
        raise AssertionError("the choice is made")

    def close(self):
        raise AssertionError("it belongs to the session")


def take(kdamond, count):
    found = []
    for snapshot in kdamond.snapshots():
        found.append(snapshot)
        if len(found) == count:
            break
    return found

"""What tests of `isotherm apply` share: the command as a process, a target that knows itself."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from bpf_kit import Child
from memory_kit import entries

PAGE, MIB = 4096, 1 << 20
STATES = Path("/run/isotherm")
#: Other tests on this machine use that folder as well: each test has its own in its place.
_PRIVATE = f'mount --bind "$1" {STATES} && shift && exec "$@"'
#: Everything matches, as often as can be, and nothing holds back: what hurts would hurt here.
ALL = "pageout quota=none"
FAST = ("--sample", "2ms", "--aggr", "20ms", "--format", "json")


def state_files(folder):
    return {path.name for path in folder.iterdir() if path.name != "lock"}


@pytest.fixture(name="states")
def own_states(tmp_path):
    """The folder of state files of the runs of a test."""
    STATES.mkdir(mode=0o700, exist_ok=True)
    folder = tmp_path / "states"
    folder.mkdir(mode=0o700)
    Apply.states = folder
    yield folder
    Apply.states = None


class Apply:
    """A running `isotherm apply`; its result is what it prints at the end."""

    states = None

    def __init__(self, scheme, *args, fast=True):
        options = [*(FAST if fast else ("--format", "json")), *map(str, args)]
        self.process = subprocess.Popen(
            [
                *("unshare", "-m", "sh", "-c", _PRIVATE, "sh", self.states),
                *(sys.executable, "-m", "isotherm", "apply", str(scheme), *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def wait_for(self, word):
        """Read what it says until a line holds `word`."""
        while word not in self.said:
            line = self.process.stderr.readline()
            assert line, f"it ended before it said {word!r}: {self.said}"
            self.said += line
        return self

    def tell(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self

    def end(self, status=0):
        """Wait for the end, and return the result."""
        out, err = self.process.communicate(timeout=60)
        self.said += err
        assert "Traceback" not in self.said, self.said
        assert self.process.returncode == status, (self.process.returncode, self.said)
        return json.loads(out) if out else None

    def kill(self):
        self.process.kill()
        self.process.communicate()


@contextmanager
def applying(scheme, *args, **options):
    running = Apply(scheme, *args, **options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()


def apply(scheme, *args, status=0, **options):
    """Run to the end; the result and what was said."""
    with applying(scheme, *args, **options) as running:
        return running.end(status), running.said


class Target(Child):
    """A child with `cold` bytes that nothing touches and `hot` that a thread uses all the time."""

    def __init__(self, cold=32 * MIB, hot=2 * MIB):
        super().__init__()
        self.cold, self.hot = cold, hot
        self.at = self.make(f"memory.small({cold})")
        self.hot_at = self.make(f"memory.small({hot})") if hot else 0
        self.run(
            "import ctypes, hashlib, random, threading, time;"
            f"data = random.Random(os.getpid()).randbytes({cold});"
            f"ctypes.memmove({self.at}, data, {cold});"
            f"whole = lambda: hashlib.sha256(ctypes.string_at({self.at}, {cold})).hexdigest();"
            "before = hashlib.sha256(data).hexdigest(); del data"
        )
        if hot:
            self.run(
                "exec('def use():\\n while True:\\n"
                f"  kit.write({self.hot_at}, {hot})\\n  time.sleep(0.002)');"
                "threading.Thread(target=use, daemon=True).start()"
            )

    @property
    def intact(self):
        """What its cold memory holds is what it wrote; all of it comes back for that."""
        return self.run("result = whole() == before") == "True"

    def away(self, at=None, size=None):
        """Bytes of [at, at + size) that are not present, by its pagemap."""
        at, size = at or self.at, size or self.cold
        words = entries(f"/proc/{self.pid}/pagemap", at // PAGE, size // PAGE)
        return sum(PAGE for word in words if not word >> 63)

    def wait_until(self, condition, tries=1500):
        for _ in range(tries):
            if condition():
                return
            time.sleep(0.02)
        raise AssertionError("it never came to that")

    def wait_until_away(self, size):
        self.wait_until(lambda: self.away() >= size)


@contextmanager
def target(**options):
    child = Target(**options)
    try:
        yield child
    finally:
        child.close()


def swapped_bytes(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(ln.split()[1]) << 10 for ln in text.splitlines() if ln.startswith("VmSwap"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208

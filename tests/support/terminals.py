"""A program on a terminal of its own, whose keyboard and screen a test is."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


class Terminal:
    """args: of isotherm."""

    def __init__(self, *args):
        self.pid, self.master = pty.fork()
        if not self.pid:
            os.environ.update(TERM="xterm-256color", ISOTHERM_LEAVE_DAMON="1")
            os.execv(sys.executable, [sys.executable, "-m", "isotherm", *map(str, args)])
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.seen = b""
        self.status = None

    def until(self, text, seconds=60):
        """Read what is drawn until it has a text."""
        give_up = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < give_up, self.seen[-2000:]
            self._read()

    def _read(self):
        ready, _, _ = select.select([self.master], [], [], 0.2)
        try:
            data = os.read(self.master, 65536) if ready else b""
        except OSError:
            data = b""  # who drew has ended
        self.seen += data

    def press(self, keys):
        os.write(self.master, keys)

    def hang_up(self):
        os.close(self.master)
        self.master = None

    def wait(self, seconds=60):
        """Return the exit status."""
        give_up = time.monotonic() + seconds
        while True:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
            if time.monotonic() > give_up:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"still there: {self.seen[-2000:]}")
            if self.master is None:
                time.sleep(0.05)
            else:
                self._read()

    def was_given_back(self):
        """Tell whether the other screen was left, and the cursor is shown."""
        on, off = b"\x1b[?1049h", b"\x1b[?1049l"
        hidden, shown = b"\x1b[?25l", b"\x1b[?25h"
        place = self.seen.rfind
        return place(off) > place(on) >= 0 and place(shown) > place(hidden)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.master is not None:
            os.close(self.master)

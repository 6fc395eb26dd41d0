"""`isotherm top` on a real terminal: it draws, and ends in good order whatever ends it."""

import subprocess
import sys

import pytest

from support.terminals import Terminal

pytestmark = pytest.mark.kernel

MIB = 1 << 20
#: Its name would set the title of a terminal, in red.
TOUCHER = f"""
import ctypes, mmap, time
ctypes.CDLL(None).prctl(15, b"\\x1b]0;own\\x07[red]", 0, 0, 0)
area = mmap.mmap(-1, {40 * MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, {40 * MIB}, 4096):
    area[at] = 1
print("ready", flush=True)
while True:
    for at in range(0, {11 * MIB}, 4096):
        area[at] = 2
    time.sleep(0.005)
"""


@pytest.fixture
def toucher():
    with subprocess.Popen([sys.executable, "-c", TOUCHER], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_it_draws_what_a_real_process_uses_and_q_ends_it(toucher):
    with Terminal("top", toucher.pid) as terminal:
        terminal.until(b"TREND")
        terminal.until(str(toucher.pid).encode())
        terminal.press(b"\r")
        terminal.until(b"anonymous")
        terminal.press(b"q")
        assert terminal.wait() == 0
    assert terminal.was_given_back()
    # The name is shown as it is spelled, and its escapes are never sent.
    assert b"x1b]0;" in terminal.seen
    assert b"\x1b]0;own" not in terminal.seen
    assert b"of one CPU" in terminal.seen[terminal.seen.rfind(b"\x1b[?1049l") :]


def test_the_end_of_the_target_ends_it(toucher):
    with Terminal("top", toucher.pid) as terminal:
        terminal.until(b"TREND")
        toucher.kill()
        assert terminal.wait() == 0
    assert terminal.was_given_back()
    assert b"the target ended" in terminal.seen


def test_it_ends_when_the_terminal_goes_away(toucher):
    with Terminal("top", toucher.pid) as terminal:
        terminal.until(b"TREND")
        terminal.hang_up()
        assert terminal.wait() == 0

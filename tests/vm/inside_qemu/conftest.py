"""
A process that wakes every 4 ms.

The emulator forgets a translation only when the address space is switched: where one program runs
undisturbed, accessed bits that DAMON cleared without a flush would never be set again.
"""

import os
import time

import pytest


@pytest.fixture(scope="session", autouse=True)
def _tick():
    pid = os.fork()
    if pid == 0:
        while os.getppid() != 1:
            time.sleep(0.004)
        os._exit(0)
    yield
    os.kill(pid, 9)
    os.waitpid(pid, 0)

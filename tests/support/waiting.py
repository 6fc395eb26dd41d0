"""Waiting for what is known to come."""

import time


def wait_for(condition):
    """
    Return once it holds.

    No time is asserted: what never comes is ended, with its place told, by the limit of all tests.
    """
    while not condition():
        time.sleep(0.005)

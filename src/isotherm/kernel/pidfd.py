"""Process descriptors: a handle of a process that no reuse of its pid can turn to another one."""

import errno
import os
import resource


def open_pidfd(pid: int) -> int:
    """
    Open a descriptor of process `pid`; raises `OSError` as os.pidfd_open does.

    Where descriptors run out, the soft limit is raised to the hard one, once: a descriptor per
    process of a large tree is what it exists for.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as err:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if err.errno != errno.EMFILE or soft == hard:
            raise
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return os.pidfd_open(pid)

"""The file that a command writes: looked at before anything is started."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from isotherm.errors import BadValueError, OutputError, quoted
from isotherm.recording.files import NewFile, RefusedError
from isotherm.recording.format import SUFFIX

#: As an output, the standard output.
STDOUT = Path("-")
STDIN = Path("/dev/stdin")


def beside(source: Path, suffix: str) -> Path:
    """Return the name of what is made of a recording, in this directory."""
    name = "stdin" if source == STDIN else source.name
    return Path(f"{name.removesuffix(SUFFIX)}{suffix}")


def check_output(
    output: Path | None,
    *,
    force: bool,
    what: str = "a recording",
    example: str = "isotherm record -o - ...",
) -> None:
    """
    Raise `BadValueError` for a file that is not to be written.

    what: is to be written; example: a command that writes to the standard output.
    """
    if output == STDOUT:
        if sys.stdout.isatty():
            raise BadValueError(
                f"{what} is no text: it would garble the terminal",
                hint=f"{example} > FILE, or a pipe",
            )
    elif output is not None and not force and os.path.lexists(output):
        raise BadValueError(f"{output} exists already", hint="another -o, or --force")
    elif output is not None and not os.path.isdir(output.parent):  # noqa: PTH112 - of any length
        raise OutputError(
            f"cannot write {what.removeprefix('a ')} {output}: there is no such directory",
            hint="create the directory first",
        )


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """
    Open a file to be made; it stays if what is done with it succeeds.

    Raises `OutputError`; whatever else is raised meanwhile, the file is removed.
    """
    try:
        file = NewFile(path, force=force)
    except RefusedError as err:
        raise OutputError(f"cannot write {quoted(str(path))}: {err.why}", hint=err.hint) from None
    except OSError as err:
        raise _failed(path, err) from err
    try:
        with os.fdopen(os.dup(file.fd), "wb") as out:
            yield out
        file.keep()
    except OSError as err:
        file.discard()
        raise _failed(path, err) from err
    except BaseException:
        file.discard()
        raise
    file.close()


def write_file(path: Path, data: bytes, *, force: bool) -> None:
    """Make a file; raises `OutputError`."""
    with new_file(path, force=force) as out:
        out.write(data)


def _failed(path: Path, err: OSError) -> OutputError:
    hint = "another -o, or --force" if err.errno == errno.EEXIST else "choose a place with -o"
    return OutputError(f"cannot write {quoted(str(path))}: {err.strerror}", hint=hint)

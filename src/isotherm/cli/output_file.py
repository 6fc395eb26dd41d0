"""The file that a command writes: looked at before anything is started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from isotherm.errors import BadValueError, OutputError

#: As an output, the standard output.
STDOUT = Path("-")


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

"""The systemd unit of the agent: the file beside this module, with the program to be started."""

from __future__ import annotations

import sys
from pathlib import Path

from isotherm.errors import BadValueError, quoted

TEMPLATE = Path(__file__).with_name("isotherm-agent.service")


def unit(config: Path | None) -> str:
    """
    Return the unit that runs this installation of isotherm.

    config: absolute, None for an agent without one; raises `BadValueError` for a path that a unit
    cannot hold.
    """
    words = [sys.executable, "-P", "-m", "isotherm", "agent"]
    if config is not None:
        words.append(str(config))
    return TEMPLATE.read_text().replace("@PROGRAM@", " ".join(map(_word, words)))


def _word(text: str) -> str:
    """Return a word as systemd reads it: nothing in it is a variable, a specifier or an end."""
    if not text.isprintable():
        raise BadValueError(f"{quoted(text)} cannot stand in a unit")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if text and not set(text) & set(" \"'\\;") else f'"{escaped}"'

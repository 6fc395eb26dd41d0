"""
A process that reads a configuration, checks it, and passes it on as JSON: `python -m` this PATH.

It prints the document where all is right, else {"error", "hint"}, and exits with the error's code.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from isotherm.agent.config import Settings, decode
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.schemefile.bounds import MAX_YAML
from isotherm.schemefile.documents.json_tree import read_json
from isotherm.schemefile.documents.yaml_tree import read_yaml
from isotherm.schemefile.source import Node

#: What comes from the process that reads is no file of anybody.
PASSED_ON = "the configuration"


def read_file(path: Path) -> Node:
    """Return the tree of a file; raises `BadValueError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML + 1)
        text = data.decode()
    except OSError as err:
        raise BadValueError(f"cannot read {quoted(str(path))}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise BadValueError(f"{quoted(str(path))} is no UTF-8 text") from None
    return read_yaml(text, str(path))


def read(path: Path) -> Settings:
    """Return the settings of a file; raises `BadValueError`, a `SchemeError` with the place."""
    return decode(read_file(path))


def command(path: Path) -> list[str]:
    """Return the command that reads a file in a process of its own."""
    return [sys.executable, "-P", "-m", "isotherm.agent.reading", os.fspath(path)]


def passed_on(told: bytes) -> Settings:
    """Return the settings that the process told; raises `BadValueError` for its error."""
    try:
        answer = json.loads(told)
    except ValueError:
        raise BadValueError("the configuration could not be read") from None
    if "error" in answer:
        raise BadValueError(answer["error"], hint=answer["hint"])
    return decode(read_json(json.dumps(answer["document"]), PASSED_ON))


def main() -> int:
    """Read the file that the command line names; see the module."""
    try:
        tree = read_file(Path(sys.argv[1]))
        decode(tree)
    except IsothermError as err:
        print(json.dumps({"error": err.message, "hint": err.hint}))  # noqa: T201
        return err.exit_code
    print(json.dumps({"document": tree.native()}))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

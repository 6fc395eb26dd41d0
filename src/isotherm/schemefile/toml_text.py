"""A writer of TOML for what scheme documents hold: mappings, lists, strings, ints and truths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which only TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else _string(value)


def dump_toml(document: Mapping[str, Any]) -> str:
    """Return the document; lists of mappings become tables, what is deeper stays inline."""
    head, tables = [], []
    for key, value in document.items():
        if isinstance(value, Mapping):
            tables.append([f"[{_key(key)}]", *_table(value)])
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            tables += [[f"[[{_key(key)}]]", *_table(one)] for one in value]
        else:
            head.append(f"{_key(key)} = {_value(value)}")
    return "\n\n".join("\n".join(lines) for lines in [head, *tables] if lines) + "\n"


def _table(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]

"""What every report is made of, and the forms it can be printed in."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from isotherm.errors import escaped
from isotherm.terminal.output import lines_of
from isotherm.terminal.style import Style, style_of

FORMATS: Final = ("table", "json", "jsonl", "csv")


@dataclass(frozen=True, slots=True)
class Report:
    """
    One report. schema: name and version of the data; document: the data as JSON can say them;
    rows: the same, or its main part, as flat records; text: lines for people.
    """

    schema: str
    document: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def render(self, form: str, style: Style | None = None) -> str:
        """
        Return the text of this report in one of `FORMATS`, ending with a newline.

        style: what the reader can show, by default of the standard output. Whatever stands in
        the data, no control character but a line's end is in it, and our own colour.
        """
        style = style_of(sys.stdout) if style is None else style
        if form == "json":
            return json_text({"schema": self.schema, **self.document}, style, indent=1)
        if form == "jsonl":
            return "".join(json_text({"schema": self.schema, **row}, style) for row in self.rows)
        if form == "csv":
            return self._csv(style)
        return lines_of(self.text, style)

    def write(self, form: str, stream: TextIO | None = None) -> None:
        """Print this report, by default to the standard output, and see it out."""
        out = sys.stdout if stream is None else stream
        out.write(self.render(form, style_of(out)))
        out.flush()

    def _csv(self, style: Style) -> str:
        out = io.StringIO()
        if self.rows:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(map(_cell, self.rows[0]))
            writer.writerows(map(_cell, row.values()) for row in self.rows)
        text = out.getvalue()
        return text if style.unicode else text.encode("ascii", "backslashreplace").decode()


def _cell(value: object) -> object:
    """Return what stands in a cell of CSV: text and numbers on one line, others as JSON."""
    if isinstance(value, (dict, list)):
        value = _dumps(value)
    return escaped(value) if isinstance(value, str) else value


def json_text(value: object, style: Style, indent: int | None = None) -> str:
    """Return JSON with a newline; what does not print, or not here, stands in it as an escape."""
    text = _dumps(value, indent)
    return _BEYOND_ASCII.sub(lambda match: _json_escape(match[0], style), text) + "\n"


#: JSON has no control characters as such but DEL; the others that do not print are beyond ASCII.
_BEYOND_ASCII = re.compile(r"[^\n -~]")


def _json_escape(char: str, style: Style) -> str:
    return char if style.unicode and char.isprintable() else json.dumps(char)[1:-1]


def _dumps(value: object, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)


def _finite(value: object) -> object:
    """Return the same data with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None

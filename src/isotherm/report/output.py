"""What every report is made of, and the forms it can be printed in."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any, Final

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

    def render(self, form: str) -> str:
        """Return the text of this report in one of `FORMATS`, ending with a newline."""
        if form == "json":
            return self._json({"schema": self.schema, **self.document}, indent=1)
        if form == "jsonl":
            return "".join(self._json({"schema": self.schema, **row}) for row in self.rows)
        if form == "csv":
            return self._csv()
        return "".join(f"{line.rstrip()}\n" for line in self.text)

    @staticmethod
    def _json(value: object, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"

    def _csv(self) -> str:
        out = io.StringIO()
        if self.rows:
            writer = csv.DictWriter(out, self.rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {key: _cell(value) for key, value in row.items()} for row in self.rows
            )
        return out.getvalue()


def _cell(value: object) -> object:
    """Return what stands in a cell of CSV: text and numbers as they are, others as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value

"""Which forms there are; each is a module of its own, imported when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, cast

from isotherm.analysis.recorded import AnalysedRecording

#: Bytes that a form with one figure can have; where pages are not known, mapped for resident.
VALUES: Final = ("resident", "used", "idle")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What can be chosen. value: which bytes a form with one figure has (`VALUES`)."""

    value: str = VALUES[0]


class Writer(Protocol):
    """A module of a form."""

    def write(self, recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
        """
        Write what can be read of a recording; return what has to be said about it.

        Raises `BadValueError` where there is nothing to write, `OutputError`.
        """


@dataclass(frozen=True, slots=True)
class Format:
    """A form: its module in this package, the ending of its files, and what it is for."""

    module: str
    suffix: str
    help: str


FORMATS: Final = {
    "parquet": Format("parquet", ".parquet", "a row for each region; for DuckDB, Spark, pandas"),
    "pprof": Format("pprof", ".pb.gz", "resident, used and idle bytes; for go tool pprof"),
    "perfetto": Format("perfetto", ".pftrace", "counters over time; for ui.perfetto.dev"),
    "speedscope": Format("speedscope", ".speedscope.json", "the same as pprof's"),
    "folded": Format("folded", ".folded", "stacks and bytes, as lines; for flamegraph.pl"),
    "damo": Format("damo", ".damo", "a record of damo, json_compressed"),
    "csv": Format("rows", ".csv", "a row for each region"),
}


def writer(name: str) -> Writer:
    """Return the module of a form."""
    return cast("Writer", importlib.import_module(f"isotherm.export.{FORMATS[name].module}"))

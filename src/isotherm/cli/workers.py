"""Who works out what schemes would have done to a recording: cores of this machine, or Dask."""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from isotherm.analysis.foreseen import Foreseen, foresee
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, NotSupportedError, quoted
from isotherm.model.scheme import Scheme

LOCAL, DASK = "local", "dask"
#: For so long a scheduler may take to answer.
_PATIENCE_S = 10

engine_option = click.option(
    "--engine", metavar="local|dask[=ADDRESS]", default=LOCAL, show_default=True,
    help="Work on all cores, on a Dask cluster of this machine, or on that of a scheduler.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """path: of the recording; schemes: what to try on it; swap_bytes: with so much swap space."""

    path: str
    schemes: tuple[Scheme, ...]
    swap_bytes: int | None = None

    def answer(self) -> Foreseen:
        """Return what they would have done."""
        recording = AnalysedRecording(self.path)
        return foresee(recording, self.schemes, swap_bytes=self.swap_bytes)


#: Returns the answers in the order of the questions.
Answers = Callable[[Sequence[Question]], list[Foreseen]]


def check_engine(engine: str) -> None:
    """Raise `BadValueError` for one that there is not."""
    if engine == LOCAL:
        return
    name, equals, address = engine.partition("=")
    if name != DASK or (equals and not address):
        raise BadValueError(
            f"there is no engine {quoted(engine)}",
            hint=f"--engine {LOCAL}, {DASK} or {DASK}=tcp://HOST:8786",
        )
    _dask()


@contextmanager
def workers(most: int, engine: str = LOCAL) -> Iterator[Answers]:
    """Give who answers; most: of so many questions at once."""
    count = min(most, len(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        if engine != LOCAL:
            yield stack.enter_context(_cluster(engine.partition("=")[2], max(1, count)))
        elif count < 2:
            yield lambda questions: [question.answer() for question in questions]
        else:
            spawn = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(count, spawn))
            yield lambda questions: list(pool.map(Question.answer, questions))


def _dask() -> tuple[Any, Any]:
    try:
        import dask
        import distributed
    except ImportError as err:
        raise NotSupportedError(
            "the engine dask is dask.distributed, which is not installed",
            hint=f"pip install 'isotherm[dask]', or --engine {LOCAL}",
        ) from err
    return dask, distributed


@contextmanager
def _cluster(address: str, count: int) -> Iterator[Answers]:
    """address: of a scheduler, "" for a cluster of our own, of so many processes."""
    dask, distributed = _dask()
    with ExitStack() as stack:
        where: Any = address
        if not address:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="isotherm-dask-"))
            stack.enter_context(dask.config.set({"temporary-directory": folder}))
            where = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.ERROR,
                )
            )
        try:
            client = stack.enter_context(distributed.Client(where, timeout=_PATIENCE_S))
        except (OSError, ValueError) as err:
            raise BadValueError(
                f"no scheduler of Dask answers at {quoted(address)}: {err}",
                hint=f"dask scheduler tells its address; --engine {DASK} makes a cluster here",
            ) from err

        def answered(questions: Sequence[Question]) -> list[Foreseen]:
            there = [
                replace(question, path=str(Path(question.path).resolve()))
                for question in questions
            ]
            # The file may be another one by the next time: nothing is kept.
            return list(client.gather(client.map(Question.answer, there, pure=False)))

        yield answered

"""Who works out what schemes would have done to a recording: this machine's cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from isotherm.analysis.foreseen import Foreseen, foresee
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.model.scheme import Scheme


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


@contextmanager
def workers(most: int) -> Iterator[Answers]:
    """Give who answers; most: of so many questions at once."""
    count = min(most, len(os.sched_getaffinity(0)))
    if count < 2:
        yield lambda questions: [question.answer() for question in questions]
        return
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        yield lambda questions: list(pool.map(Question.answer, questions))

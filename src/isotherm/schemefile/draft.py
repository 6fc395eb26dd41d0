"""A scheme while it is being read: what lines and documents have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from isotherm.errors import BadValueError
from isotherm.model.own import ACTIONS, NamedAction
from isotherm.model.scheme import (
    NO_WEIGHTS,
    Access,
    Action,
    Age,
    Destination,
    Filter,
    Goal,
    Pattern,
    Quota,
    Scheme,
    Tuner,
    Watermarks,
    Weights,
)
from isotherm.schemefile.bounds import MAX_MISTAKES, MAX_SCHEMES
from isotherm.schemefile.filters import parse_filter
from isotherm.schemefile.goals import parse_goal
from isotherm.schemefile.source import (
    InexpressibleError,
    SchemeError,
    Word,
    first_with_others,
    unknown,
)
from isotherm.schemefile.values import (
    QuotaLimits,
    count,
    parse_access,
    parse_age,
    parse_fail_charge,
    parse_quota,
    parse_sizes,
    parse_to,
    parse_watermark,
    parse_weights,
)
from isotherm.units import U64_MAX, duration_us

#: A goal is read last, when the interval of the quota is known.
LateGoal = Callable[[int], Goal]

_T = TypeVar("_T")

TUNERS: dict[str, Tuner] = {"consist": "consist", "temporal": "temporal"}


def parse_action(word: Word) -> tuple[Action, NamedAction | None]:
    """Return the action of this name, in any case; of a registered one, also what does it."""
    name = word.text.lower()
    if name in list(Action):
        return Action(name), None
    if name in ACTIONS.known:
        own = ACTIONS.known[name]
        return Action(own.like), own
    raise unknown(word, "there is no action", word.text, action_names())


def action_names() -> list[str]:
    """Return the names of all actions, those that were registered last."""
    return [*map(str, Action), *ACTIONS.known]


def decode_each(nodes: Iterable[_T], decode: Callable[[_T], Scheme]) -> tuple[Scheme, ...]:
    """
    Decode all; raises the first `SchemeError`, with the others, when all were looked at.

    More than `MAX_SCHEMES` are an error; after `MAX_MISTAKES` no more are looked for.
    """
    schemes: list[Scheme] = []
    errors: list[SchemeError] = []
    for node in nodes:
        try:
            schemes.append(decode(node))
        except SchemeError as err:
            errors.append(err)
        if len(errors) == MAX_MISTAKES:
            break
        if len(schemes) > MAX_SCHEMES:
            raise BadValueError(
                f"there are more than {MAX_SCHEMES:,} schemes", hint="nobody needs so many"
            )
    if errors:
        raise first_with_others(errors)
    return tuple(schemes)


def check_expressible(scheme: Scheme) -> None:
    """Raise `InexpressibleError` for an own action without a name."""
    if scheme.own is None:
        return
    if not isinstance(scheme.own, NamedAction):
        raise InexpressibleError(
            f"scheme {scheme.title}: a Python callable cannot be written to a file",
            hint="isotherm.register_action gives it a name",
        )
    if scheme.action != scheme.own.like:
        raise InexpressibleError(
            f"scheme {scheme.title}: takes regions as {scheme.action}, and its action is "
            f"registered to be like {scheme.own.like}"
        )


@dataclass(slots=True)
class Draft:
    """Parts of a scheme as they are found; `build` puts them together."""

    place: Word
    action: Action | None = None
    own: NamedAction | None = None
    name: str = ""
    sizes: tuple[int, int] = (0, U64_MAX)
    access: Access = field(default_factory=Access)
    age: Age = field(default_factory=Age)
    every_us: int = 0
    limits: QuotaLimits | None = None
    weights: Weights = NO_WEIGHTS
    goals: list[LateGoal] = field(default_factory=list)
    tuner: Tuner | None = None
    fail_charge: tuple[int, int] = (0, 0)
    filters: list[Filter] = field(default_factory=list)
    watermarks: Watermarks = field(default_factory=Watermarks)
    target_nid: int | None = None
    destinations: tuple[Destination, ...] = ()
    snapshots: int = 0

    def set(self, key: str, value: Word) -> None:
        """Read the value of a key of a line."""
        SETTERS[key](self, value)

    def set_action(self, word: Word) -> None:
        self.action, self.own = parse_action(word)

    def set_tuner(self, word: Word) -> None:
        """Read the name of a tuner; raises `SchemeError` where another one was given."""
        if word.text not in TUNERS:
            raise unknown(word, "there is no tuner", word.text, list(TUNERS))
        if self.tuner not in (None, word.text):
            raise word.error(f"tuner {word.text} contradicts {self.tuner}", hint="a quota has one")
        self.tuner = TUNERS[word.text]

    def add_goal(self, word: Word) -> None:
        self.goals.append(lambda reset_ms: parse_goal(word, reset_ms))

    def build(self) -> Scheme:
        """Return the scheme; raises `SchemeError` for what does not fit together."""
        if self.action is None:
            raise self.place.error(
                "a scheme needs an action", hint=f"one of {', '.join(action_names())}"
            )
        with self.place.placed():
            return Scheme(
                self.action,
                Pattern(*self.sizes, self.access, self.age),
                name=self.name,
                apply_interval_us=self.every_us,
                quota=self._quota(),
                watermarks=self.watermarks,
                filters=tuple(self.filters),
                target_nid=self.target_nid,
                destinations=self.destinations,
                max_nr_snapshots=self.snapshots,
                own=self.own,
            )

    def _quota(self) -> Quota | None:
        asked = self.goals or self.tuner or any(self.weights) or any(self.fail_charge)
        if self.limits is None and not asked:
            return None
        limits = self.limits or QuotaLimits()
        return Quota(
            limits.time_ms,
            limits.size_bytes,
            limits.reset_ms,
            self.weights,
            tuple(goal(limits.reset_ms) for goal in self.goals),
            self.tuner or "consist",
            self.fail_charge,
        )


def _set_sizes(draft: Draft, word: Word) -> None:
    draft.sizes = parse_sizes(word)


def _set_access(draft: Draft, word: Word) -> None:
    draft.access = parse_access(word)


def _set_age(draft: Draft, word: Word) -> None:
    draft.age = parse_age(word)


def _set_every(draft: Draft, word: Word) -> None:
    if word.text.isdecimal() and word.text != "0":
        raise word.error(f"interval {word.said} has no unit", hint="write 1s or 100ms")
    with word.placed("every"):
        draft.every_us = duration_us(word.text)


def _set_quota(draft: Draft, word: Word) -> None:
    draft.limits = parse_quota(word)


def _set_weights(draft: Draft, word: Word) -> None:
    draft.weights = parse_weights(word)


def _set_fail_charge(draft: Draft, word: Word) -> None:
    draft.fail_charge = parse_fail_charge(word)


def _add_filters(draft: Draft, word: Word) -> None:
    draft.filters.extend(parse_filter(part) for part in word.split(","))


def _set_watermark(draft: Draft, word: Word) -> None:
    draft.watermarks = parse_watermark(word)


def _set_to(draft: Draft, word: Word) -> None:
    draft.target_nid, draft.destinations = parse_to(word)


def _set_snapshots(draft: Draft, word: Word) -> None:
    draft.snapshots = count(word, "a number of snapshots")


def _set_name(draft: Draft, word: Word) -> None:
    draft.name = word.plain()


#: Key of a line -> how its value is read.
SETTERS: Mapping[str, Callable[[Draft, Word], None]] = {
    "name": _set_name,
    "size": _set_sizes,
    "access": _set_access,
    "age": _set_age,
    "every": _set_every,
    "quota": _set_quota,
    "weights": _set_weights,
    "goal": Draft.add_goal,
    "tuner": Draft.set_tuner,
    "fail_charge": _set_fail_charge,
    "filter": _add_filters,
    "watermark": _set_watermark,
    "to": _set_to,
    "snapshots": _set_snapshots,
}
REPEATABLE = frozenset({"goal", "filter"})

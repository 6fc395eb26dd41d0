"""
Actions and goal metrics from outside, by name: what Python registers, every scheme text can say.

    isotherm.register_metric("requests", requests_per_second, about="answered in the last second")
    isotherm.register_action("drop", drop_cache, like="pageout")
    isotherm.apply("drop access=0% age=30s.. goal=requests=5000", pid=4242)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, Self, TypeVar, get_args

from isotherm.errors import BadValueError, quoted

#: Called with target index, start and end of a region, in bytes; returns how many bytes of it were
#: really treated.
OwnAction = Callable[[int, int, int], int]
#: What the numbers of a metric are: they are written as 5000, 4K, 10ms, or 5%.
Unit = Literal["count", "bytes", "us", "bp"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class NamedMetric:
    """A registered metric; it is the `read` of a `Goal` whose metric is OWN."""

    name: str
    function: Callable[[], float]
    unit: Unit = "count"
    about: str = ""

    def __call__(self) -> float:
        return self.function()


@dataclass(frozen=True, slots=True)
class NamedAction:
    """A registered action; it is the `own` of a `Scheme`. like: an action of the kernel's."""

    name: str
    function: OwnAction
    like: str = "stat"
    about: str = ""

    def __call__(self, target: int, start: int, end: int) -> int:
        return self.function(target, start, end)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=_Named)


@dataclass(slots=True)
class Registry(Generic[_T]):
    """
    What is registered of one kind, by name.

    what: the kind, for messages; reserved: names with a meaning of their own.
    """

    what: str
    reserved: set[str] = field(default_factory=set)
    known: dict[str, _T] = field(default_factory=dict)

    def add(self, one: _T) -> Registration:
        """Register; raises `BadValueError` for a name that is none, or is taken."""
        name = one.name
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            said = quoted(name) if isinstance(name, str) else f"a {type(name).__name__}"
            raise BadValueError(
                f"{said} is no name of {self.what}",
                hint="letters a to z, digits and _, at most 40, a letter first",
            )
        if name in self.reserved or self.known.get(name, one) != one:
            raise BadValueError(
                f"{self.what} {name!r} exists", hint="take another name, or remove() the other one"
            )
        self.known[name] = one
        return Registration(lambda: self.known.pop(name, None))


class Registration:
    """What `register_metric` and `register_action` return; a context manager that ends it."""

    def __init__(self, remove: Callable[[], object]) -> None:
        self._remove = remove

    def remove(self) -> None:
        """Forget the name; schemes that were read already keep their function."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


#: Names that scheme texts give another meaning, beside those of the kernel's metrics and actions.
_METRIC_WORDS = {
    *("psi", "used", "free", "memcg_used", "memcg_free", "active", "inactive", "eligible"),
    *("user", "own", "none", "null"),
}
_ACTION_WORDS = {"min", "max", "null", "none", "own", "prcl", "ethp", "tier"}
METRICS: Registry[NamedMetric] = Registry("a goal metric", _METRIC_WORDS)
ACTIONS: Registry[NamedAction] = Registry("an action", _ACTION_WORDS)


def register_metric(
    name: str, read: Callable[[], float], *, unit: Unit = "count", about: str = ""
) -> Registration:
    """
    Let goals of schemes aim at a figure of your own: "goal=NAME=VALUE", or "goal=NAME:VALUE".

    Args:
        name: in scheme texts; letters a to z, digits and _, at most 40.
        read: returns the present value, 0 or more; called with each reset of a quota, in the
            thread of the monitor. Where it fails, or returns what is no number, the goal counts as
            met, and the scheme counts an error.
        unit: what the value is, and how it is written: "count" 5000, "bytes" 4K, "us"
            (microseconds) 10ms, "bp" (1/10,000) 5%.
        about: a few words that explain it.

    Returns:
        Something to `remove()` it by; also a context manager.

    Raises:
        BadValueError: the name is none or taken, or an argument is none of what is above.

    """
    if not callable(read) or unit not in get_args(Unit):
        raise BadValueError(
            f"metric {quoted(str(name))}: it needs a function and a unit",
            hint=f"units are {', '.join(get_args(Unit))}",
        )
    return METRICS.add(NamedMetric(name, read, unit, about))


def register_action(
    name: str, function: OwnAction, *, like: str = "stat", about: str = ""
) -> Registration:
    """
    Let schemes do something of your own: "NAME access=0% age=30s..".

    Args:
        name: in scheme texts; letters a to z, digits and _, at most 40.
        function: called with target index, start and end address of a region, in bytes, in the
            thread of the monitor; returns how many bytes it treated. What it raises is counted
            among the errors of the scheme.
        like: the action of the kernel's ("pageout", "hugepage") whose order of regions it takes
            under a quota: "pageout" takes the coldest first; "stat" as they come.
        about: a few words that explain it, as a sentence about memory: "Drop the cache in".

    Returns:
        Something to `remove()` it by; also a context manager.

    Raises:
        BadValueError: the name is none or taken, or an argument is none of what is above.

    """
    from isotherm.model.scheme import Action

    if not callable(function) or like not in list(Action):
        raise BadValueError(
            f"action {quoted(str(name))}: it needs a function, and to be like one of the kernel's",
            hint=", ".join(Action),
        )
    return ACTIONS.add(NamedAction(name, function, str(like), about))

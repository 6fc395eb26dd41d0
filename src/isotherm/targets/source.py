"""TargetSource: one way to say who is monitored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from isotherm.model.target import Group


class TargetSource(ABC):
    """
    One way to say who is monitored; subclasses are registered by `targets.sources.register`.

    kind: the keyword of `isotherm.monitor` and the name in scheme files; options: how the command
    line spells it; metavar, help: for its help; flag: the option takes no value; living: members
    come and go, so `members` is asked at each update; complete: of a living one, who is not told
    any more is let go, and children of its members are told if they are meant.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    metavar: ClassVar[str] = "TEXT"
    help: ClassVar[str] = ""
    flag: ClassVar[bool] = False
    living: ClassVar[bool] = False
    complete: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Return the source that `text` describes; raises `BadValueError`."""

    @classmethod
    def continues(cls, word: str) -> bool:
        """Tell whether a word that follows the option's value belongs to it: `-p 12 34`."""
        del word
        return False

    @abstractmethod
    def pids(self) -> list[int]:
        """
        Return the processes there are now, ourselves left out.

        Raises `TargetGoneError` where there are none at the start. Pids that cannot be monitored
        are told nevertheless: the user named them.
        """

    @property
    def group(self) -> str:
        """What its members have in common, such as "/app" of a cgroup; "" for nothing."""
        return ""

    def members(self) -> dict[int, Group | None]:
        """Return the processes of `pids`, each with what it is one of; raises as `pids`."""
        group = Group(self.kind, self.group) if self.group else None
        return dict.fromkeys(self.pids(), group)

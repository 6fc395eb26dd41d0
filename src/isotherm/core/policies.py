"""The policies there are, by name."""

from __future__ import annotations

from isotherm.core import map_policy
from isotherm.core.damon.policy import DamonPolicy
from isotherm.core.policy import PolicyFactory
from isotherm.core.sentinels import policy as sentinel_policy
from isotherm.errors import BadValueError

DEFAULT = "damon"
#: Stands for the policy that figures favour for a target: `backends.choose_policy`.
AUTO = "auto"
#: The policy that draws no samples.
MAP = map_policy.NAME
#: The one that watches armed clumps of pages.
SENTINELS = sentinel_policy.NAME
_factories: dict[str, PolicyFactory] = {}


def register(name: str, factory: PolicyFactory) -> None:
    """
    Have `name` stand for a policy, as in `isotherm.monitor(policy=name)`.

    Raises `BadValueError` if the name is taken by another one.
    """
    if name == AUTO:
        raise BadValueError(f"the policy {AUTO!r} is whichever suits a target")
    if _factories.setdefault(name, factory) is not factory:
        raise BadValueError(f"there is a policy {name!r} already")


def names() -> tuple[str, ...]:
    """Return the names of the policies there are, in the order of their registration."""
    return tuple(_factories)


def policy_named(name: str) -> PolicyFactory:
    """Return what makes the policy of this name; raises `BadValueError` if there is none."""
    if name not in _factories:
        raise BadValueError(f"no policy {name!r}", hint=f"there are {', '.join(_factories)}")
    return _factories[name]


register(DEFAULT, DamonPolicy)
register(MAP, map_policy.MapPolicy)
register(SENTINELS, sentinel_policy.SentinelPolicy)

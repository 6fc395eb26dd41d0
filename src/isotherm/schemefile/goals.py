"""Quota goals: "psi:some=10ms/s", "free:node0=5%"."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from isotherm.errors import quoted
from isotherm.model import own
from isotherm.model.own import NamedMetric
from isotherm.model.scheme import Goal, Metric
from isotherm.schemefile.source import InexpressibleError, Word, quote, unknown
from isotherm.schemefile.values import (
    count,
    format_interval_ms,
    format_share,
    parse_interval_ms,
    parse_node,
    whole_share,
)
from isotherm.units import U64_MAX, duration_us, exact_duration, exact_size, size

#: Name in lines -> metric. Those of a node are followed by :node0, those of a cgroup by its path.
METRICS = {
    "psi:some": Metric.SOME_MEM_PSI_US,
    "used": Metric.NODE_MEM_USED_BP,
    "free": Metric.NODE_MEM_FREE_BP,
    "memcg_used": Metric.NODE_MEMCG_USED_BP,
    "memcg_free": Metric.NODE_MEMCG_FREE_BP,
    "active": Metric.ACTIVE_MEM_BP,
    "inactive": Metric.INACTIVE_MEM_BP,
    "eligible": Metric.NODE_ELIGIBLE_MEM_BP,
    "user": Metric.USER_INPUT,
}
_SHORT = {metric: name for name, metric in METRICS.items()}
#: As the kernel says it, and the same without the unit.
_LONG = {str(metric): metric for metric in METRICS.values()} | {
    str(metric).removesuffix("_bp").removesuffix("_us"): metric for metric in METRICS.values()
}
OF_MEMCG = frozenset({Metric.NODE_MEMCG_USED_BP, Metric.NODE_MEMCG_FREE_BP})
OF_NODE = OF_MEMCG | {
    Metric.NODE_MEM_USED_BP,
    Metric.NODE_MEM_FREE_BP,
    Metric.NODE_ELIGIBLE_MEM_BP,
}


@dataclass(frozen=True, slots=True)
class Aim:
    """What a goal measures, without the value it should have; own: of a registered metric."""

    metric: Metric
    nid: int | None = None
    memcg: str = ""
    own: NamedMetric | None = None


def parse_aim(word: Word) -> Aim:
    """Return what "psi:some", "free:node0" or "memcg_used:node0:/app" measures."""
    name, _, rest = word.partition(":")
    if name.text == "psi":
        if rest.text != "some":
            raise word.error(f"goal metric {word.said} is unknown", hint="write psi:some")
        return Aim(Metric.SOME_MEM_PSI_US)
    if name.text in own.METRICS.known:
        if rest.text:
            raise rest.error(f"goal {name.text} takes no {rest.said}")
        return Aim(Metric.OWN, own=own.METRICS.known[name.text])
    metric = METRICS.get(name.text) or _LONG.get(name.text)
    if metric is None:
        known = [*METRICS, *own.METRICS.known, *_LONG]
        raise unknown(name, "there is no goal metric", name.text, known)
    node, _, path = rest.partition(":")
    if metric not in OF_NODE and rest.text:
        raise rest.error(f"goal {name.text} takes no {rest.said}")
    nid = parse_node(node) if node.text else None
    return Aim(metric, nid, path.plain() if path.text else "")


def check_aim(place: Word, aim: Aim) -> None:
    """Raise `SchemeError` where the metric lacks its node or cgroup."""
    if aim.own is not None:
        if aim.nid is not None or aim.memcg:
            raise place.error(f"goal {aim.own.name} is neither of a node nor of a cgroup")
        return
    if aim.metric in OF_NODE and aim.nid is None:
        raise place.error(f"goal {_SHORT[aim.metric]} is of a node", hint="as in free:node0=5%")
    if (aim.metric in OF_MEMCG) != bool(aim.memcg):
        raise place.error(
            f"goal {_SHORT[aim.metric]}: a cgroup is needed for memcg_ goals, and only there",
            hint="as in memcg_used:node0:/app=20%",
        )


def parse_own(metric: NamedMetric, word: Word) -> int:
    """Return the target of a registered metric, in its unit."""
    if metric.unit == "count":
        return count(word, f"a goal of {metric.name}")
    if metric.unit == "bp":
        return whole_share(word, 10_000, "a goal")
    with word.placed("goal"):
        return size(word.text) if metric.unit == "bytes" else duration_us(word.text)


def format_own(metric: NamedMetric, target: int) -> str:
    """Return the target as `parse_own` reads it back."""
    if metric.unit == "bp":
        return format_share(target, 10_000)
    if metric.unit == "bytes":
        return exact_size(target)
    return exact_duration(target) if metric.unit == "us" else str(target)


def parse_value(word: Word, aim: Aim, reset_ms: int) -> int:
    """
    Return the target in the metric's unit.

    Pressure is a time per interval of the quota; "10ms/s" with another interval is converted,
    exactly or not at all.
    """
    if aim.own is not None:
        return parse_own(aim.own, word)
    if aim.metric is Metric.USER_INPUT:
        return count(word, "a goal of user input")
    if aim.metric is not Metric.SOME_MEM_PSI_US:
        return whole_share(word, 10_000, "a goal")
    amount, slash, interval = word.partition("/")
    if amount.text.isdecimal():
        raise word.error(f"goal {word.said} has no unit", hint="write 10ms/s")
    with amount.placed("goal"):
        target = Fraction(duration_us(amount.text))
    if slash:
        per = parse_interval_ms(interval, "goal")
        if not per or reset_ms in (0, U64_MAX):
            raise interval.error(f"goal {word.said}: the quota has no interval to match")
        target = target * reset_ms / per
    if target.denominator != 1:
        raise word.error(
            f"goal {word.said} is no whole number of µs per {format_interval_ms(reset_ms)}, "
            "the interval of the quota",
            hint="give both the same interval",
        )
    return int(target)


def parse_goal(word: Word, reset_ms: int) -> Goal:
    """
    Return the goal of "[!]METRIC=VALUE[:CURRENT]" of a quota of this interval.

    A registered metric may be followed by a colon as well: "requests:5000".
    """
    left, equals, right = word.partition("=", last=True)
    if not equals:
        name, equals, rest = word.partition(":")
        if name.text.removeprefix("!") in own.METRICS.known:
            left, right = name, rest
        else:
            equals = False
    if not equals:
        raise word.error(f"goal {word.said} has no value", hint="as in psi:some=10ms/s")
    complement = left.text.startswith("!")
    aim = parse_aim(left.part(1) if complement else left)
    check_aim(left, aim)
    value, colon, current = right.partition(":")
    target = parse_value(value, aim, reset_ms)
    now = count(current, "a present value") if colon else 0
    with word.placed():
        return Goal(
            aim.metric,
            target,
            current=now,
            nid=aim.nid or 0,
            memcg=aim.memcg,
            complement=complement,
            read=aim.own,
        )


def format_value(goal: Goal, reset_ms: int) -> str:
    """Return the target as `parse_value` reads it back."""
    if goal.own is not None:
        return format_own(goal.own, goal.target)
    if goal.metric is Metric.USER_INPUT:
        return str(goal.target)
    if goal.metric is not Metric.SOME_MEM_PSI_US:
        return format_share(goal.target, 10_000)
    per = "" if reset_ms in (0, U64_MAX) else f"/{format_interval_ms(reset_ms)}"
    return exact_duration(goal.target) + per


def format_aim(goal: Goal) -> str:
    """Return what the goal measures as `parse_aim` reads it back."""
    check_expressible(goal)
    if goal.own is not None:
        return goal.own.name
    name = _SHORT[goal.metric]
    if goal.metric in OF_NODE:
        name += f":node{goal.nid}"
    return f"{name}:{quote(goal.memcg)}" if goal.metric in OF_MEMCG else name


def check_expressible(goal: Goal) -> None:
    """Raise `InexpressibleError` for what no file can say."""
    if goal.metric is Metric.OWN and goal.own is None:
        raise InexpressibleError(
            "goal own: a Python callable cannot be written to a file",
            hint="isotherm.register_metric gives it a name",
        )
    if goal.nid and goal.metric not in OF_NODE:
        raise InexpressibleError(f"goal {goal.metric}: a node ({goal.nid}) means nothing there")
    if bool(goal.memcg) != (goal.metric in OF_MEMCG):
        raise InexpressibleError(f"goal {goal.metric}: cgroup {quoted(goal.memcg)} does not fit")


def format_goal(goal: Goal, reset_ms: int) -> str:
    """Return the shortest text that `parse_goal` reads back."""
    sign = "!" if goal.complement else ""
    now = f":{goal.current}" if goal.current else ""
    return f"{sign}{format_aim(goal)}={format_value(goal, reset_ms)}{now}"

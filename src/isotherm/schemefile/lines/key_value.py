"""
The key=value spelling: "pageout access=0% age=2m.. quota=128M/s,10ms/s".

    ACTION [key=value]...                 in any order; `"a b"` quotes names and paths
    size=4K..  access=5%..|3samples..  age=2m..|7aggr..     a..b, a.., ..b; a alone is a..a
    every=1s                              between two rounds; default: the aggregation interval
    quota=128M/s,10ms/s                   bytes and time per interval; none: explicitly unlimited
    weights=size:0,access:3,age:1|0/3/1   what comes first within the quota
    goal=[!]METRIC=VALUE[:CURRENT]        psi:some=10ms/s free:node0=5% used:node0=95% user=10000
         active=60% inactive=40% memcg_used:node0:/app=20% memcg_free:... eligible:node0=50%
    tuner=consist|temporal  fail_charge=1/4
    filter=LIST                           x keeps only x, !x keeps x out, +x and +!x let through;
         anon active young unmapped memcg:/app addr:0x1000-0x2000 target:0 huge:2M probe:1..4
    watermark=free:50%/40%/20%[@5s]  to=node1|node0:3+node1:1  snapshots=N  name=WORD
"""

from __future__ import annotations

from isotherm.model.scheme import NO_WEIGHTS, Age, Pattern, Quota, Scheme, Watermarks
from isotherm.schemefile.draft import (
    REPEATABLE,
    SETTERS,
    Draft,
    check_expressible,
)
from isotherm.schemefile.filters import format_filter
from isotherm.schemefile.goals import format_goal
from isotherm.schemefile.source import Word, quote, unknown
from isotherm.schemefile.values import (
    format_access,
    format_age,
    format_quota,
    format_sizes,
    format_to,
    format_watermark,
    format_weights,
)
from isotherm.units import U64_MAX, exact_duration


def parse_line(text: str | Word) -> Scheme:
    """Return the scheme of one key=value line; raises `SchemeError`."""
    word = text if isinstance(text, Word) else Word(text)
    words = word.words()
    draft = Draft(words[0] if words else word)
    seen: set[str] = set()
    for part in words:
        key, equals, value = part.partition("=")
        if not equals:
            if draft.action is not None:
                raise _second_action(part)
            draft.set_action(part)
            continue
        if key.text not in SETTERS:
            raise unknown(key, "a scheme has no", key.text, list(SETTERS))
        if not value.text:
            raise key.error(f"{key.text}= has no value")
        if key.text in seen and key.text not in REPEATABLE:
            raise key.error(f"{key.text}= is given twice")
        seen.add(key.text)
        draft.set(key.text, value)
    return draft.build()


def _second_action(word: Word) -> Exception:
    if word.text in SETTERS:
        return word.error(f"{word.said} has no value", hint=f"write {word.text}=...")
    return word.error(
        f"{word.said} is a second action", hint="one scheme a line; ; separates schemes"
    )


def format_line(scheme: Scheme) -> str:
    """
    Return the shortest line that `parse_line` reads back as an equal scheme.

    Raises `InexpressibleError` for own actions and goals without a name: Python callables.
    """
    check_expressible(scheme)
    pattern = scheme.pattern
    parts = [scheme.does]
    if scheme.name:
        parts.append(f"name={quote(scheme.name)}")
    if (pattern.min_size_bytes, pattern.max_size_bytes) != (0, U64_MAX):
        parts.append(f"size={format_sizes(pattern.min_size_bytes, pattern.max_size_bytes)}")
    if pattern.access != Pattern().access:
        parts.append(f"access={format_access(pattern.access)}")
    if pattern.age != Age():
        parts.append(f"age={format_age(pattern.age)}")
    if scheme.apply_interval_us:
        parts.append(f"every={exact_duration(scheme.apply_interval_us)}")
    if scheme.quota is not None:
        parts += _quota_parts(scheme.quota)
    if scheme.filters:
        parts.append("filter=" + ",".join(format_filter(rule) for rule in scheme.filters))
    if scheme.watermarks != Watermarks():
        parts.append(f"watermark={format_watermark(scheme.watermarks)}")
    if scheme.target_nid is not None or scheme.destinations:
        parts.append(f"to={format_to(scheme.target_nid, scheme.destinations)}")
    if scheme.max_nr_snapshots:
        parts.append(f"snapshots={scheme.max_nr_snapshots}")
    return " ".join(parts)


def _quota_parts(quota: Quota) -> list[str]:
    rest = []
    if quota.weights != NO_WEIGHTS:
        rest.append(f"weights={format_weights(quota.weights)}")
    rest += [f"goal={format_goal(goal, quota.reset_ms)}" for goal in quota.goals]
    if quota.tuner != "consist":
        rest.append(f"tuner={quota.tuner}")
    if any(quota.fail_charge):
        rest.append("fail_charge={}/{}".format(*quota.fail_charge))
    limited = quota.time_ms or quota.size_bytes or quota.reset_ms != Quota().reset_ms
    if limited or not rest:
        rest.insert(0, f"quota={format_quota(quota.size_bytes, quota.time_ms, quota.reset_ms)}")
    return rest

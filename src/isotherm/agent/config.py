"""
What an agent is told to do: a scheme document, with more kinds of targets and a part `agent`.

A file is read by a process of its own (`agent/reading.py`), which passes it on as JSON once it is
known to be right: no YAML reader stays in the agent, and no file can harm it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from isotherm.agent.groups import MachineSource, NamedSource
from isotherm.agent.pressure import DEFAULT as GROUP_GUARD
from isotherm.agent.pressure import parse_limit
from isotherm.agent.reclaim import Reclaim
from isotherm.errors import BadValueError, quoted
from isotherm.model.page_use import WINDOWS_NS
from isotherm.model.scheme import Scheme
from isotherm.schemefile.documents.document import DOCUMENT_KEYS, decode_bool, decode_document
from isotherm.schemefile.scheme_file import Monitor
from isotherm.schemefile.source import Node
from isotherm.schemefile.values import count
from isotherm.session.guard import parse_guard
from isotherm.targets.source import TargetSource
from isotherm.targets.sources import (
    CgroupSource,
    ContainerSource,
    PodSource,
    UnitSource,
    UserSource,
)
from isotherm.units import cpu_share, duration_ns, exact_duration, size

_S: Final = 1_000_000_000
_KEYS = ("overhead", "apply", "guard", "metrics", "ring", "control", "reclaim")
_METRICS_KEYS = ("listen", "windows", "groups", "referenced")
_RING_KEYS = ("folder", "for", "size", "every")
_CONTROL_KEYS = ("socket", "group")
_RECLAIM_KEYS = ("cgroup", "idle", "quota", "guard")
_KINDS: dict[str, type[TargetSource]] = {
    kind.kind: kind
    for kind in (CgroupSource, UnitSource, ContainerSource, PodSource, NamedSource, UserSource)
}
_ALL = MachineSource.kind
_MOST_TARGETS, _MOST_GROUPS = 1000, 100_000
#: A ring is this many files, of which the oldest goes when a new one is begun.
RING_FILES = 9
_LEAST_RING, _LEAST_FOR_NS, _LEAST_EVERY_NS = 4 << 20, 60 * _S, _S
#: What is told of windows by default: steps that dashboards draw.
_WINDOWS_NS = (10 * _S, 60 * _S, 300 * _S, 1800 * _S, 3600 * _S, 21600 * _S)
#: By default: windows that cost little, and new processes are looked for after two of them.
MONITOR = Monitor(sample_us=1_000_000, aggr_us=30_000_000, update_us=60_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Recordings of the last `for_ns` in `folder`, `size` bytes at most, a window `every_ns`."""

    folder: Path = Path("/var/lib/isotherm")
    for_ns: int = 6 * 3600 * _S
    size: int = 256 << 20
    every_ns: int = 120 * _S


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What an agent does.

    targets: (kind, text) of sources, kind "all" for the whole machine. monitor, schemes: as of a
    scheme file. overhead: share of one CPU for everything; apply: schemes act, rather than only
    tell what they would do; guard: as of `isotherm apply`. listen: where metrics are told,
    "unix:PATH" or "ADDRESS:PORT", "" for the socket in the run folder; windows_ns: of which
    working sets are told; groups: how many of them have metrics of their own; referenced_ns: the
    window of `container_referenced_bytes`, None leaves it out. ring: None is none. socket: of
    `isotherm ctl`, "" in the run folder; group: whose members may ask there, and scrape. reclaim:
    groups that give back what they do not use; `apply` is of them, too.
    """

    targets: tuple[tuple[str, str], ...] = ((_ALL, ""),)
    monitor: Monitor = MONITOR
    schemes: tuple[Scheme, ...] = ()
    overhead: float = 0.01
    apply: bool = False
    guard: str | None = None
    listen: str = ""
    windows_ns: tuple[int, ...] = _WINDOWS_NS
    groups: int = 500
    referenced_ns: int | None = None
    ring: Ring | None = Ring()
    socket: str = ""
    group: str = ""
    reclaim: tuple[Reclaim, ...] = ()

    def sources(self) -> tuple[TargetSource, ...]:
        """Return the sources of processes, new ones; raises `BadValueError`."""
        return tuple(
            MachineSource() if kind == _ALL else _KINDS[kind].parse(text)
            for kind, text in self.targets
        )


#: What changes while an agent runs; of the rest it needs a new start.
_MAY_CHANGE = frozenset(("targets", "monitor", "schemes", "windows_ns", "groups", "referenced_ns"))


def check_change(old: Settings, new: Settings) -> None:
    """Raise `BadValueError` if an agent at work cannot go on with other settings."""
    names = {"windows_ns": "windows", "referenced_ns": "referenced"}
    changed = [
        one.name for one in fields(Settings) if getattr(old, one.name) != getattr(new, one.name)
    ]
    if fixed := [names.get(name, name) for name in changed if name not in _MAY_CHANGE]:
        raise BadValueError(
            f"{' and '.join(fixed)} cannot change while the agent runs",
            hint="start it anew, or take the change back",
        )


def decode(root: Node) -> Settings:
    """Return what a document says; raises `SchemeError`, which knows the place."""
    if root.is_null:  # an empty file: all of it is as by default
        return Settings()
    pairs = root.known("a configuration", (*DOCUMENT_KEYS, "agent"))
    others = {key: node for key, node in pairs.items() if key not in ("agent", "targets")}
    file = decode_document(replace(root, pairs=others))
    if file.monitor.ops not in ("", "vaddr"):
        raise pairs["monitor"].word.error("an agent follows processes: ops is vaddr")
    if file.monitor.goal is not None:
        raise pairs["monitor"].word.error("the intervals of an agent are not tuned: no goal")
    if file.schemes and all(one.watermarks.metric != "none" for one in file.schemes):
        raise pairs["schemes"].word.error(
            "while all schemes rest by their watermarks nothing is watched",
            hint="'stat access=0%' beside them goes on",
        )
    settings = Settings(monitor=_filled(file.monitor), schemes=file.schemes)
    if "monitor" in pairs:
        with pairs["monitor"].word.placed("monitor"):
            settings.monitor.attrs()
    if "targets" in pairs:
        nodes = pairs["targets"].sequence("targets")
        if not 1 <= len(nodes) <= _MOST_TARGETS:
            raise pairs["targets"].word.error(f"1 to {_MOST_TARGETS} targets, not {len(nodes)}")
        settings = replace(settings, targets=tuple(_target(node) for node in nodes))
    return _agent(pairs["agent"], settings) if "agent" in pairs else settings


def committed(root: Node) -> tuple[Scheme, ...]:
    """Return the schemes of a document that has no more; raises `SchemeError`."""
    root.known("a request", ("version", "schemes"))
    return decode(root).schemes


def _filled(given: Monitor) -> Monitor:
    """Return what was given of intervals, the rest by default; windows are whole samples."""
    sample = given.sample_us or MONITOR.sample_us
    aggr = given.aggr_us or max(MONITOR.aggr_us or 0, sample or 0)
    return replace(
        given, sample_us=sample, aggr_us=aggr, update_us=given.update_us or MONITOR.update_us
    )


def _target(node: Node) -> tuple[str, str]:
    known = node.known("target", (_ALL, *_KINDS))
    if len(known) != 1:
        raise node.word.error("a target is one of these", hint=", ".join((_ALL, *_KINDS)))
    ((kind, value),) = known.items()
    if kind == _ALL:
        if not decode_bool(value, kind):
            raise value.word.error("all: true, or leave it out")
        return kind, ""
    word = value.scalar(kind)
    with word.placed(kind):
        _KINDS[kind].parse(word.text)
    return kind, word.text


def _agent(node: Node, settings: Settings) -> Settings:
    pairs = node.known("agent", _KEYS)
    told: dict[str, object] = {}
    _scalar(pairs, "overhead", cpu_share, told)
    _scalar(pairs, "guard", _guard, told)
    if "apply" in pairs:
        told["apply"] = decode_bool(pairs["apply"], "apply")
    if "metrics" in pairs:
        told |= _metrics(pairs["metrics"])
    if "ring" in pairs:
        told["ring"] = _ring(pairs["ring"])
    if "reclaim" in pairs:
        told["reclaim"] = tuple(map(_reclaim, pairs["reclaim"].sequence("reclaim")))
    if "control" in pairs:
        control = pairs["control"].known("control", _CONTROL_KEYS)
        _scalar(control, "socket", _path, told)
        _scalar(control, "group", str, told)
    return replace(settings, **told)  # type: ignore[arg-type] # each is of its field


def _scalar(
    pairs: Mapping[str, Node],
    key: str,
    decode_text: Callable[[str], object],
    told: dict[str, object],
    name: str = "",
) -> None:
    if key in pairs:
        word = pairs[key].scalar(key)
        with word.placed(key):
            told[name or key] = decode_text(word.text)


def _metrics(node: Node) -> dict[str, object]:
    pairs = node.known("metrics", _METRICS_KEYS)
    told: dict[str, object] = {}
    _scalar(pairs, "listen", checked_listen, told)
    _scalar(pairs, "referenced", _window, told, "referenced_ns")
    if "windows" in pairs:
        windows = set()
        for one in pairs["windows"].sequence("windows"):
            word = one.scalar("a window")
            with word.placed("a window"):
                windows.add(_window(word.text))
        told["windows_ns"] = tuple(sorted(windows))
    if "groups" in pairs:
        word = pairs["groups"].scalar("groups")
        told["groups"] = count(word, "a number of groups")
        if not 1 <= told["groups"] <= _MOST_GROUPS:  # type: ignore[operator]
            raise word.error(f"1 to {_MOST_GROUPS} groups")
    return told


def _ring(node: Node) -> Ring | None:
    if node.pairs is None:
        # `off` is no value of schemes, and what people write.
        on = node.value is not False and decode_bool(node, "ring")
        return Ring() if on else None
    pairs = node.known("ring", _RING_KEYS)
    told: dict[str, object] = {}
    _scalar(pairs, "folder", lambda text: Path(_path(text)), told)
    _scalar(
        pairs,
        "for",
        lambda text: _least(duration_ns(text, bare=None), _LEAST_FOR_NS, "1m"),
        told,
        "for_ns",
    )
    _scalar(pairs, "size", lambda text: _least(size(text), _LEAST_RING, "4M"), told)
    _scalar(
        pairs,
        "every",
        lambda text: _least(duration_ns(text, bare=None), _LEAST_EVERY_NS, "1s"),
        told,
        "every_ns",
    )
    return Ring(**told)  # type: ignore[arg-type] # each is of its field


def _reclaim(node: Node) -> Reclaim:
    pairs = node.known("a group that gives memory back", _RECLAIM_KEYS)
    for key in ("cgroup", "idle", "quota"):
        if key not in pairs:
            raise node.word.error(f"a group that gives memory back needs {key}")
    told: dict[str, object] = {"guard": GROUP_GUARD}
    _scalar(pairs, "cgroup", _cgroups, told)
    _scalar(pairs, "idle", _window, told, "idle_ns")
    _scalar(pairs, "quota", _rate, told, "rate")
    _scalar(pairs, "guard", _group_guard, told)
    return Reclaim(**told)  # type: ignore[arg-type] # each is of its field


def _cgroups(text: str) -> str:
    if _path(text) == "/" or "/../" in f"{text}/":
        raise BadValueError(f"{quoted(text)} is no path of groups", hint="/app/*, as in metrics")
    return text


def _rate(text: str) -> int:
    amount, slash, per = text.partition("/")
    if not slash or per.strip() != "s":
        raise BadValueError(f"{quoted(text)} is no quota of a group", hint="16M/s")
    return _least(size(amount), 1 << 16, "64K/s")


def _group_guard(text: str) -> str:
    parse_limit(text)
    return text


def _least(value: int, least: int, said: str) -> int:
    if value < least:
        raise BadValueError(f"that is too little: {said} at least")
    return value


def _window(text: str) -> int:
    window = duration_ns(text, bare=None)
    if window not in WINDOWS_NS:
        known = ", ".join(exact_duration(ns // 1000) for ns in WINDOWS_NS)
        raise BadValueError(f"{quoted(text)} is none of the windows that are kept", hint=known)
    return window


def _guard(text: str) -> str:
    parse_guard(text)
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise BadValueError(f"{quoted(text)} is no whole path", hint="from / on")
    return text


def checked_listen(text: str) -> str:
    """Return where metrics are told if that makes sense and is this machine's alone."""
    if text.startswith("unix:"):
        _path(text[len("unix:") :])
        return text
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal() and 0 <= int(port[:6]) < 1 << 16):
        raise BadValueError(
            f"{quoted(text)} is no place to listen", hint="unix:/PATH, or 127.0.0.1:9753"
        )
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        raise BadValueError(
            f"{quoted(host)} is not this machine alone: what every group of it does is told there",
            hint="127.0.0.1 or [::1], and in front of it a proxy that knows who may ask",
        )
    return text

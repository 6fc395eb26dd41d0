"""
The backends that there are, in order of preference: the most is seen for the least cost first.

As the kernel's damon_register_ops(): a backend is one module with a `BackendKind`, found here and
named nowhere else. Modules are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module

from isotherm.backends.kind import BackendKind
from isotherm.core.backend import Backend
from isotherm.errors import BadValueError, NotSupportedError, quoted

#: Modules with a `KIND`, by the name that users type.
_MODULES = {
    "kdamond": "isotherm.backends.kdamond.kind",
    "bpf": "isotherm.backends.bpf.kind",
    "idle": "isotherm.backends.idle",
    "clear-refs": "isotherm.backends.clear_refs.kind",
}
_order: list[str] = list(_MODULES)
_registered: dict[str, BackendKind] = {}


def register(kind: BackendKind, *, before: str | None = None) -> None:
    """
    Make a backend known.

    before: the one that it is preferred to, by default none. One of the same name is replaced.
    """
    if before is not None and before not in _order:
        raise BadValueError(f"no backend {quoted(before)}", hint=f"there are {', '.join(_order)}")
    unregister(kind.name)
    _order.insert(len(_order) if before is None else _order.index(before), kind.name)
    _registered[kind.name] = kind


def unregister(name: str) -> None:
    """Forget a backend; of no effect if there is none."""
    _registered.pop(name, None)
    if name in _order:
        _order.remove(name)


def names() -> tuple[str, ...]:
    """Return the names, the preferred first."""
    return tuple(_order)


def kind_of(name: str) -> BackendKind:
    """Return the backend of a name; raises `BadValueError` if there is none."""
    if name not in _order:
        raise BadValueError(
            f"no backend {quoted(name)}", hint=f"one of: auto, {', '.join(_order)}"
        )
    if name not in _registered:
        kind = import_module(_MODULES[name]).KIND
        assert isinstance(kind, BackendKind)  # noqa: S101 - our own modules
        _registered[name] = kind
    return _registered[name]


def attach(wish: str) -> Backend:
    """Look at monitoring that somebody else runs; as `BackendKind.attach`, and raises so."""
    for kind in kinds():
        if (backend := kind.attach(wish)) is not None:
            return backend
    raise NotSupportedError("no backend can look at what others monitor")


def kinds() -> tuple[BackendKind, ...]:
    """Return all backends, the preferred first."""
    return tuple(map(kind_of, _order))

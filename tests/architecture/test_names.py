"""A backend is named in its own module, in the registry's order, and in texts for people."""

import ast
from pathlib import Path

import isotherm
from isotherm.backends import registry

ROOT = Path(isotherm.__file__).parent
#: Where a name may stand: the registry, and a backend's own module or folder.
OWN = {
    "kdamond": ("backends/kdamond/",),
    "bpf": ("backends/bpf/",),
    "idle": ("backends/idle.py",),
    "clear-refs": ("backends/clear_refs/",),
}
#: Words that mean something else as well: a kdamond is a thread of the kernel, idle memory is one
#: that nobody uses, clear_refs is a file of the kernel.
OTHERWISE = {
    "clear-refs": {"model"},
    "kdamond": {"kernel"},
    "idle": {
        "agent",
        "analysis",
        "report",
        "export",
        "pictures",
        "live",
        "schemefile",
        "schemes",
        "model",
        "actions",
        "core",
        "recording",
    },
}


def literals(tree):
    """String constants that are values, not docstrings or parts of sentences."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def test_no_backend_is_named_outside_of_its_module():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        if where == "backends/registry.py":
            continue
        for value, line in literals(ast.parse(path.read_text())):
            for name, own in OWN.items():
                if value != name or where.startswith(own):
                    continue
                if where.split("/")[0] in OTHERWISE.get(name, ()):
                    continue
                found.append(f"{where}:{line}: {value!r}")
    assert found == []


def test_no_module_imports_a_backend_but_through_the_registry():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            for name, own in OWN.items():
                module = "isotherm." + own[0].removesuffix(".py").rstrip("/").replace("/", ".")
                inside = where.startswith(own)
                if (node.module + ".").startswith(module + ".") and not inside:
                    found.append(f"{where}:{node.lineno}: {name}")
    assert found == []


def test_the_names_are_those_of_the_registry():
    assert set(OWN) == set(registry.names())
    assert [kind.name for kind in registry.kinds()] == list(registry.names())

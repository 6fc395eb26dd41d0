"""YAML as a tree whose every value knows its place."""

from __future__ import annotations

from typing import Any

from isotherm.errors import quoted
from isotherm.schemefile.bounds import (
    MAX_DEPTH,
    MAX_YAML,
    MAX_YAML_VALUES,
    Count,
    check_length,
    check_number,
)
from isotherm.schemefile.source import Node, SchemeError, Word

_TAG = "tag:yaml.org,2002:"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")


def read_yaml(text: str, file: str) -> Node:
    """Return the tree of a YAML text; raises `SchemeError` where it is none."""
    import yaml

    check_length(text, file, MAX_YAML)
    loader = None
    try:
        loader = _loader(text, file)
        root = loader.get_single_node()
        if root is None:
            return Node(Word("", file))
        return _Converter(loader, file).node(root)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = Word("", file, mark.line + 1, mark.column + 1) if mark else Word("", file)
        raise place.error(f"no YAML: {err.problem or err.context}") from None
    except yaml.reader.ReaderError as err:
        line = text.count("\n", 0, err.position) + 1
        column = err.position - text.rfind("\n", 0, err.position)
        place = Word("", file, line, column)
        raise place.error(f"no YAML: character {err.character:#x} may not stand here") from None
    except SchemeError:
        raise
    except (ValueError, OverflowError) as err:
        raise Word("", file).error(f"no YAML: {err}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _loader(text: str, file: str) -> Any:
    """Return PyYAML's loader of a text, which refuses what is nested deeply or without end."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Looks at the depth before PyYAML, whose time grows with its square, and its stack."""

        depth = 0
        count = Count(MAX_YAML_VALUES)

        def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803
            if self.flow_level > MAX_DEPTH:
                raise Word("", file).error("the document is nested too deeply")
            super().fetch_flow_collection_start(TokenClass)

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Word("", file).error("the document is nested too deeply")
            self.count.add(Word("", file))
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return Loader(text)


class _Converter:
    """
    Makes PyYAML's nodes ours; an alias becomes the same `Node` again.

    Its values count each time, as whoever walks the tree meets them each time.
    """

    def __init__(self, loader: Any, file: str) -> None:
        self._loader, self._file = loader, file
        #: By id: the node, how many values it holds, and how deep; None while it is being made.
        self._done: dict[int, tuple[Node, int, int] | None] = {}

    def node(self, node: Any) -> Node:
        return self._convert(node)[0]

    def _word(self, at: Any, text: str = "") -> Word:
        quotes = 1 if getattr(at, "style", None) in ("'", '"') else 0
        mark = at.start_mark
        return Word(text, self._file, mark.line + 1, mark.column + 1 + quotes)

    def _convert(self, node: Any) -> tuple[Node, int, int]:
        if id(node) in self._done:
            known = self._done[id(node)]
            if known is None:
                raise self._word(node).error("an alias contains itself")
            return known
        self._done[id(node)] = None
        made = self._made(node)
        self._done[id(node)] = made
        if made[1] > MAX_YAML_VALUES:
            Count(MAX_YAML_VALUES).add(self._word(node), made[1])
        if made[2] > MAX_DEPTH:
            raise Word("", self._file).error("the document is nested too deeply")
        return made

    def _made(self, node: Any) -> tuple[Node, int, int]:
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return Node(self._word(node, node.value), self._value(node)), 1, 0
        if isinstance(node, yaml.SequenceNode):
            parts = [self._convert(item) for item in node.value]
            result = Node(self._word(node), items=[part[0] for part in parts])
        else:
            pairs: dict[str, tuple[Node, int, int]] = {}
            keys: dict[str, Word] = {}
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                if not name or name in pairs:
                    problem = f"key {quoted(name)} stands twice" if name else "this is no key"
                    raise self._word(key).error(problem)
                pairs[name] = self._convert(value)
                keys[name] = self._word(key, name)
            parts = list(pairs.values())
            nodes = {name: part[0] for name, part in pairs.items()}
            result = Node(self._word(node), pairs=nodes, keys=keys)
        values = 1 + sum(part[1] for part in parts)
        return result, values, 1 + max((part[2] for part in parts), default=0)

    def _value(self, node: Any) -> object:
        """Return the scalar natively, where JSON has its type, else as it is written."""
        if node.tag in _NUMBERS:
            word = self._word(node, node.value)
            check_number(word)
            with word.placed("the value"):
                return self._loader.construct_object(node)
        if node.tag in (f"{_TAG}null", f"{_TAG}bool"):
            return self._loader.construct_object(node)
        if node.tag not in (f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value", f"{_TAG}merge"):
            raise self._word(node).error(f"no YAML of schemes: tag {quoted(node.tag)}")
        return node.value

"""Snapshots as Arrow record batches and back; the only place that knows nanoarrow."""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import nanoarrow as na  # type: ignore[import-untyped]
from nanoarrow.c_array_stream import CArrayStream  # type: ignore[import-untyped]
from nanoarrow.ipc import InputStream, StreamWriter  # type: ignore[import-untyped]

from isotherm.errors import DamagedRecordingError
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording.format import METADATA_KEY, NULLABLE, REGION_COLUMNS, SCALARS, TEXTS

#: What nanoarrow, or a column of an unexpected type, raises for a message it cannot take.
_BAD_MESSAGE = (RuntimeError, ValueError, TypeError, KeyError, IndexError, OverflowError)


def _field(name: str, kind: str) -> na.Schema:
    storage = na.timestamp("ns", "UTC") if kind == "timestamp" else getattr(na, kind)()
    return na.Schema(storage, name=name, nullable=name in NULLABLE)


_REGION = na.struct([_field(name, kind) for name, _, kind in REGION_COLUMNS], nullable=False)
_REGIONS = na.Schema(na.list_(_REGION), name="regions", nullable=False)
_FIELDS = [
    *(_field(name, kind) for name, _, kind in SCALARS),
    _REGIONS,
    *(na.Schema(na.string(), name=name) for name in TEXTS),
]
_ROW = na.struct(_FIELDS, nullable=False)
# Resolved once: building an array from a Schema converts it anew each time.
_C_ROW = na.c_schema(_ROW)
_C_FIELDS = list(_C_ROW.children)
_C_REGIONS = _C_FIELDS[len(SCALARS)]
_C_REGION = _C_REGIONS.child(0)
_C_REGION_FIELDS = list(_C_REGION.children)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _targets_text(targets: tuple[Target, ...]) -> str:
    return _dumps([{name: getattr(t, name) for name in Target.__slots__} for t in targets])


def _unobservable_text(ranges: tuple[Unobservable, ...]) -> str:
    return _dumps([(u.target_id, u.start, u.end, u.reason) for u in ranges])


def _mappings_text(maps: dict[int, tuple[Mapping, ...]]) -> str:
    return _dumps(
        {id_: [(m.start, m.end, m.permissions, m.name) for m in maps[id_]] for id_ in maps}
    )


class Block:
    """Snapshots gathered until they are written together as one record batch."""

    def __init__(self) -> None:
        self._scalars = [array(code) for _, code, _ in SCALARS]
        self._unknown = [0] * len(SCALARS)  # how many
        self._known = [0] * len(SCALARS)  # a bit per snapshot
        self._columns = [bytearray() for _ in REGION_COLUMNS]
        self._offsets = array("i", [0])
        self._texts: list[list[str | None]] = [[] for _ in TEXTS]
        self._targets: tuple[Target, ...] | None = None
        self._unobservable: tuple[Unobservable, ...] | None = None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def nr_regions(self) -> int:
        return self._offsets[-1]

    def add(self, snapshot: Snapshot) -> None:
        """Copy one snapshot into the block; a column of wrong item size raises ValueError."""
        columns = [getattr(snapshot.columns, name) for name, _, _ in REGION_COLUMNS]
        length = len(snapshot.columns)
        for column, (name, code, _) in zip(columns, REGION_COLUMNS, strict=True):
            if memoryview(column).nbytes != length * array(code).itemsize:
                raise ValueError(f"column {name} is not {length} items of type {code}")
        cost = snapshot.cost
        row = (
            snapshot.index,
            snapshot.start_ns,
            snapshot.end_ns,
            snapshot.sample_us,
            snapshot.aggr_us,
            *(getattr(cost, name) for name in Cost.__slots__),
        )
        for i, value in enumerate(row):
            self._scalars[i].append(0 if value is None else value)
            self._unknown[i] += value is None
            self._known[i] |= (value is not None) << len(self)
        for gathered, column in zip(self._columns, columns, strict=True):
            gathered.extend(memoryview(column).cast("B"))
        self._offsets.append(self._offsets[-1] + length)
        self._add_texts(snapshot)

    def _add_texts(self, snapshot: Snapshot) -> None:
        targets = unobservable = mappings = None
        if snapshot.targets != self._targets:
            targets = _targets_text(snapshot.targets)
            self._targets = snapshot.targets
        if snapshot.unobservable != self._unobservable:
            unobservable = _unobservable_text(snapshot.unobservable)
            self._unobservable = snapshot.unobservable
        if snapshot.mappings is not None:
            mappings = _mappings_text(snapshot.mappings)
        for column, text in zip(self._texts, (targets, unobservable, mappings), strict=True):
            column.append(text)

    def array(self) -> na.CArray:
        """Return the block as one struct array; the block must not be used afterwards."""
        build, count, regions = na.c_array_from_buffers, len(self), self.nr_regions
        children = [
            build(schema, count, [_validity(known, count) if unknown else None, values], unknown)
            for schema, values, known, unknown in zip(
                _C_FIELDS, self._scalars, self._known, self._unknown, strict=False
            )
        ]
        columns = [
            build(schema, regions, [None, values], 0)
            for schema, values in zip(_C_REGION_FIELDS, self._columns, strict=True)
        ]
        region = build(_C_REGION, regions, [None], 0, children=columns, move=True)
        children.append(
            build(_C_REGIONS, count, [None, self._offsets], 0, children=[region], move=True)
        )
        for schema, texts in zip(_C_FIELDS[len(SCALARS) + 1 :], self._texts, strict=True):
            children.append(_text_array(schema, texts))
        return build(_C_ROW, count, [None], 0, children=children, move=True)


def _validity(bits: int, length: int) -> bytes:
    return bits.to_bytes((length + 7) // 8, "little")


def _text_array(schema: na.CSchema, texts: list[str | None]) -> na.CArray:
    present = 0
    offsets, data = array("i", [0]), bytearray()
    for i, text in enumerate(texts):
        if text is not None:
            present |= 1 << i
            # Names need not be UTF-8, Arrow's text must; \udcXX happens to be JSON's own escape.
            data += text.encode("utf-8", "backslashreplace")
        offsets.append(len(data))
    validity = _validity(present, len(texts))
    return na.c_array_from_buffers(
        schema, len(texts), [validity, offsets, data], len(texts) - present.bit_count()
    )


class Encoder:
    """Turns `info`, blocks and the end into the bytes of Arrow messages."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._writer = StreamWriter.from_writable(self._out)

    def _take(self) -> bytes:
        taken = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return taken

    def schema(self, info: dict[str, Any]) -> bytes:
        """Return the schema message, which carries `info` as JSON."""
        metadata = {METADATA_KEY: _dumps(info)}
        schema = na.c_schema(na.Schema(_ROW, metadata=metadata, nullable=False))
        self._writer.write_stream(CArrayStream.from_c_arrays([], schema))
        return self._take()

    def block(self, block: Block) -> bytes:
        """Return a record batch message."""
        self._writer.write_stream(block.array())
        return self._take()

    def end(self) -> bytes:
        """Return the end-of-stream marker; no message may follow."""
        self._writer.close()
        return self._take()


def damaged(why: str) -> DamagedRecordingError:
    return DamagedRecordingError(f"a part of the recording makes no sense: {why}")


class Decoder:
    """
    Reads the Arrow messages of `source`, a file-like object with readinto().

    Raises `DamagedRecordingError` for a schema or batch that is not ours; never for the end of
    `source`, wherever it comes between two messages.
    """

    def __init__(self, source: io.RawIOBase) -> None:
        self._targets: tuple[Target, ...] = ()
        self._unobservable: tuple[Unobservable, ...] = ()
        try:
            self._stream = na.c_array_stream(InputStream.from_readable(source))
            schema = na.Schema(self._stream.get_schema())
            metadata = dict(schema.metadata.items())
            self.info: dict[str, Any] = json.loads(metadata[METADATA_KEY.encode()])
            # Compared by the C schema: names and formats, recursively, not what may be null.
            fits = na.c_schema(schema).type_equals(_C_ROW)
        except _BAD_MESSAGE as err:
            raise damaged(f"its schema: {err}") from err
        if not fits or not isinstance(self.info, dict):
            raise damaged("its columns are not those of a recording")

    def snapshots(self) -> Iterator[Snapshot]:
        try:
            for batch in self._stream:
                yield from self._rows(batch.view())
        except _BAD_MESSAGE as err:
            raise damaged(f"a block: {err}") from err

    def _rows(self, view: na.CArrayView) -> Iterator[Snapshot]:
        length = view.length
        scalars = [_numbers(view.child(i), code, length) for i, (_, code, _) in enumerate(SCALARS)]
        lists = view.child(len(SCALARS))
        offsets = _bytes(lists.buffer(1)).cast("i")
        columns = [
            (code, array(code).itemsize, _bytes(lists.child(0).child(i).buffer(1)))
            for i, (_, code, _) in enumerate(REGION_COLUMNS)
        ]
        texts = [_texts(view.child(len(SCALARS) + 1 + i), length) for i in range(len(TEXTS))]
        for row in range(length):
            low, high = offsets[row], offsets[row + 1]
            if not 0 <= low <= high:
                raise ValueError("region offsets run backwards")
            regions = [_items(code, data[low * n : high * n]) for code, n, data in columns]
            index, start, end, sample, aggr, *cost = (values[row] for values in scalars)
            yield Snapshot(
                index=index,
                start_ns=start,
                end_ns=end,
                sample_us=sample,
                aggr_us=aggr,
                columns=_checked(Columns(*regions), high - low),
                cost=Cost(*cost),
                **self._context(*(column[row] for column in texts)),
            )

    def _context(
        self, targets: str | None, unobservable: str | None, mappings: str | None
    ) -> dict[str, Any]:
        if targets is not None:
            self._targets = tuple(_target(entry) for entry in json.loads(targets))
        if unobservable is not None:
            self._unobservable = tuple(Unobservable(*e) for e in json.loads(unobservable))
        return {
            "targets": self._targets,
            "unobservable": self._unobservable,
            "mappings": None
            if mappings is None
            else {
                int(id_): tuple(Mapping(*entry) for entry in entries)
                for id_, entries in json.loads(mappings).items()
            },
        }


def _target(entry: dict[str, Any]) -> Target:
    return Target(**{name: entry.get(name) for name in Target.__slots__})  # type: ignore[arg-type]


def _checked(columns: Columns, length: int) -> Columns:
    if any(len(getattr(columns, name)) != length for name, _, _ in REGION_COLUMNS):
        raise ValueError("a region column is too short")
    return columns


def _bytes(buffer: Any) -> memoryview:
    # An empty buffer has no address; its memoryview cannot be cast to an item type.
    view = memoryview(buffer)
    return view.cast("B") if view.nbytes else memoryview(b"")


def _items(code: str, data: memoryview) -> array[int]:
    items = array(code)
    items.frombytes(data)
    return items


def _numbers(view: na.CArrayView, code: str, length: int) -> Sequence[Any]:
    """Return the values, None for null."""
    values = _items(code, _bytes(view.buffer(1)))
    valid = _valid(view, length)
    if valid == (1 << length) - 1:
        return values
    return [value if valid >> i & 1 else None for i, value in enumerate(values)]


def _valid(view: na.CArrayView, length: int) -> int:
    """Return a bit per value: whether it is there. Without any null, the bits may be left out."""
    validity = int.from_bytes(_bytes(view.buffer(0)), "little")
    if not validity and view.null_count == 0:
        return (1 << length) - 1
    return validity & (1 << length) - 1


def _texts(view: na.CArrayView, length: int) -> list[str | None]:
    validity = _valid(view, length)
    offsets, data = _bytes(view.buffer(1)).cast("i"), _bytes(view.buffer(2))
    return [
        str(data[offsets[i] : offsets[i + 1]], "utf-8") if validity >> i & 1 else None
        for i in range(length)
    ]

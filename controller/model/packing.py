"""Records as bytes: a msgpack map from attribute names to values, as the records' type hints say.

What was packed unpacks equal. A record that lacks an attribute which has a default was written before the
attribute was added, and gets the default; an attribute or a kind that nobody here knows was written by a
newer Weft, and is refused. Renaming or removing an attribute is therefore a new schema version of the
journal, with a migration.

Values are checked against their hints in both directions: what could not be read after a restart is not
written, and a damaged row names itself. Hints may be str, int, bool, dataclasses, tuples, `| None` of these,
and unions of new types that are one type underneath; others fail at import. An int has at most 64 bits
(msgpack specification, "Limitation").
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, NewType, Union, cast, get_args, get_origin, get_type_hints

import msgpack

from controller.errors import Unavailable
from controller.model.records import KINDS, Record

UNICODE_ERRORS = "surrogatepass"
"""JSON may carry half of a surrogate pair (RFC 8259 section 8.2), and Python then holds it in a `str`."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """How values of one type become what msgpack knows, and back; both raise TypeError and ValueError."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def pack(record: Record) -> bytes:
    """The bytes of a record. Raises Unavailable when a value is not of its attribute's type."""
    kind = type(record).__name__
    try:
        values = _SHAPES[kind].pack(record)
        return cast("bytes", msgpack.packb(values, unicode_errors=UNICODE_ERRORS))
    except (TypeError, ValueError, OverflowError) as error:
        raise Unavailable(f"{kind} {record.id} cannot be written: {error}") from error


def unpack(kind: str, id: str, packed: bytes) -> Record:
    """The record of that kind; `id` only names it in errors. Raises Unavailable when it cannot be read."""
    shape = _SHAPES.get(kind)
    if shape is None:
        raise Unavailable(f"{kind} {id} cannot be read: the kind is unknown, a newer Weft wrote it")
    try:
        values = msgpack.unpackb(packed, use_list=False, unicode_errors=UNICODE_ERRORS)
        return cast("Record", shape.unpack(values))
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise Unavailable(f"{kind} {id} cannot be read: {error}") from error


def unpack_row(kind: str, id: str, packed: bytes) -> dict[str, Any]:
    """The values of a row whatever they are, for migrations. Raises Unavailable when it cannot be read."""
    try:
        values = msgpack.unpackb(packed, use_list=False, unicode_errors=UNICODE_ERRORS)
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise Unavailable(f"{kind} {id} cannot be read: {error}") from error
    if type(values) is not dict:
        raise Unavailable(f"{kind} {id} cannot be read: {_misfit(values, 'map')}")
    return values


def pack_row(values: Mapping[str, Any]) -> bytes:
    """The bytes of such values."""
    return cast("bytes", msgpack.packb(values, unicode_errors=UNICODE_ERRORS))


def _shape(hint: Any) -> _Shape:
    hint = _plain(hint)
    if hint in (str, int, bool):
        return _scalar(hint)
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return _map(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(_shape(arguments[0]))
    if origin is tuple:
        return _fixed(tuple(_shape(each) for each in arguments))
    kinds = {_plain(each) for each in arguments} - {NoneType}
    if origin in (Union, UnionType) and len(kinds) == 1:
        inner = _shape(*kinds)
        return _optional(inner) if NoneType in arguments else inner
    raise TypeError(f"no packing for {hint}")


def _plain(hint: Any) -> Any:
    """What a new type is underneath; any other hint as it is."""
    return _plain(hint.__supertype__) if isinstance(hint, NewType) else hint


def _misfit(value: Any, wanted: str) -> TypeError:
    return TypeError(f"{type(value).__name__} where {wanted} belongs")


def _scalar(kind: type) -> _Shape:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise _misfit(value, kind.__name__)
        return value

    def text(value: Any) -> str:
        if type(value) is not str:
            raise _misfit(value, "str")
        return sys.intern(value)  # most is the id of something else, which many name

    return _Shape(check, text if kind is str else check)


def _optional(inner: _Shape) -> _Shape:
    return _Shape(
        lambda value: None if value is None else inner.pack(value),
        lambda value: None if value is None else inner.unpack(value),
    )


def _sequence(inner: _Shape) -> _Shape:
    return _Shape(
        lambda values: tuple(map(inner.pack, _tuple(values))),
        lambda values: tuple(map(inner.unpack, _tuple(values))),
    )


def _fixed(inner: tuple[_Shape, ...]) -> _Shape:
    return _Shape(
        lambda values: tuple(shape.pack(value) for shape, value in zip(inner, _tuple(values), strict=True)),
        lambda values: tuple(shape.unpack(value) for shape, value in zip(inner, _tuple(values), strict=True)),
    )


def _tuple(values: Any) -> tuple[Any, ...]:
    if not isinstance(values, tuple):
        raise _misfit(values, "tuple")
    return values


def _map(kind: type) -> _Shape:
    hints = get_type_hints(kind)
    shapes = {field.name: _shape(hints[field.name]) for field in fields(kind)}
    packers = [(name, shape.pack) for name, shape in shapes.items()]
    values_of = attrgetter(*shapes) if len(shapes) > 1 else lambda record: (getattr(record, *shapes),)
    unpackers = {name: shape.unpack for name, shape in shapes.items()}

    def pack(record: Any) -> Any:
        if type(record) is not kind:
            raise _misfit(record, kind.__name__)
        values = {}
        name = ""
        try:
            for (name, convert), value in zip(packers, values_of(record), strict=True):
                values[name] = convert(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}: {error}") from error
        return values

    def unpack(packed: Any) -> Any:
        if type(packed) is not dict:
            raise _misfit(packed, "map")
        values = {}
        name = ""
        try:
            for name, value in packed.items():
                values[name] = unpackers[name](value)
        except KeyError:
            raise TypeError(f"the attribute {name} is unknown, a newer Weft wrote it") from None
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}: {error}") from error
        return kind(**values)

    return _Shape(pack, unpack)


_SHAPES = {kind.__name__: _map(kind) for kind in KINDS}

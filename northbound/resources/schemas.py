"""What JSON a value may be, as JSON Schema: said where a parser is defined, read where the API describes itself.

    @says(takes={"type": ["integer", "string"]}, gives={"type": "integer"})
    def integer(value: Json) -> int: ...

`takes` is what clients may send, `gives` what they are shown (JSON Schema 2020-12, as OpenAPI 3.1 has it). A schema
says less than a parser checks: what depends on other values, or on what there is, it cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

Schema: TypeAlias = Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

ANYTHING: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object"}
STRING: Final[Schema] = {"type": "string"}
INTEGER: Final[Schema] = {"type": "integer"}
DIGITS: Final[Schema] = {"type": "string", "pattern": "^[+-]?[0-9]{1,18}$"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}
ADDRESS: Final[Schema] = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_OCTET = "([1-9]?[0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
BLOCK: Final[Schema] = {
    "type": "string",
    "description": "ADDRESS/LENGTH",
    "anyOf": [
        {"pattern": rf"^{_OCTET}(\.{_OCTET}){{3}}/([12]?[0-9]|3[0-2])$"},
        {"pattern": "^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/(1[01][0-9]|12[0-8]|[1-9]?[0-9])$"},
    ],
}
MAC: Final[Schema] = {"type": "string", "pattern": "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a parser takes, and what its values look like when they are shown."""

    takes: Schema
    gives: Schema


_SHAPES: Final[WeakKeyDictionary[Callable[..., Any], Shape]] = WeakKeyDictionary()
"""What was said of the parsers that there are."""


def says(takes: Schema, gives: Schema | None = None) -> Callable[[F], F]:
    """Say what a parser takes, and what it gives if that is something else."""

    def mark(parser: F) -> F:
        _SHAPES[parser] = Shape(takes, takes if gives is None else gives)
        return parser

    return mark


def shape(parser: Callable[..., Any] | None) -> Shape:
    """What was said of a parser; anything, if nothing was."""
    known = None if parser is None else _SHAPES.get(parser)
    return known or Shape(ANYTHING, ANYTHING)


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def one_of(values: Collection[object], schema: Schema) -> Schema:
    """One of few values of a schema."""
    return {**schema, "enum": list(values)}


def list_of(schema: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": schema, **more}


def open_table(required: Collection[str], **properties: Schema) -> Schema:
    """An object of these properties and any others."""
    return {"type": "object", "properties": properties, "required": list(required)}


def table(required: Collection[str] = (), **properties: Schema) -> Schema:
    """An object of these properties and no others."""
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found

"""`/v2.0/COLLECTION/ID/tags`: words that clients put on resources to find them by (api-ref, "Standard Attributes Tag").

What is tagged has the attribute `tags` (`attributes.common`), and these operations. A tag counts as a change of its
resource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from controller.errors import Inconsistent, NotFound, Senseless
from controller.model.records import Resource
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Change, Operation
from northbound.resources.schemas import Schema, list_of, open_table, shape
from northbound.resources.values import Json

MOST_TAGS = 50
"""The most tags that a resource may have (neutron, `MAX_TAGS_COUNT`)."""

_BODY: Schema = open_table(("tags",), tags=list_of(shape(values.tag).takes, uniqueItems=True, maxItems=MOST_TAGS))


@dataclass(frozen=True, slots=True)
class Tags:
    """What is done to the tags of the resources of a collection, which is called `plural` in bodies."""

    plural: str

    def operations(self) -> tuple[Operation[Any], ...]:
        """All of it."""
        return (
            Operation("GET", "tags", self.show),
            Operation("PUT", "tags", self.replace, takes=_BODY),
            Operation("POST", "tags", self.add_several, takes=_BODY),
            Operation("DELETE", "tags", self.clear, 204),
            Operation("GET", "tags/{item}", self.find, 204),
            Operation("PUT", "tags/{item}", self.add, 201),
            Operation("DELETE", "tags/{item}", self.remove, 204),
        )

    def show(self, _: str, __: Mapping[str, Json]) -> Change[Any]:
        """The tags."""
        return lambda tx, record, ask: {"tags": [*record.tags]}

    def find(self, tag: str, _: Mapping[str, Json]) -> Change[Any]:
        """Raises Inconsistent; NotFound when it is not there."""
        _checked(values.tag, tag)
        return lambda tx, record, ask: _need(record, tag)

    def replace(self, _: str, body: Mapping[str, Json]) -> Change[Any]:
        """Those that are given in place of all. Raises Inconsistent, Senseless."""
        return self._combined(body, lambda held, given: given)

    def add_several(self, _: str, body: Mapping[str, Json]) -> Change[Any]:
        """Those that are given, too. Raises Inconsistent, Senseless."""
        return self._combined(body, lambda held, given: held | given)

    def add(self, tag: str, _: Mapping[str, Json]) -> Change[Any]:
        """Raises Inconsistent, Senseless."""
        _checked(values.tag, tag)
        return lambda tx, record, ask: self._put(tx, record, {*record.tags, tag}, ask)

    def remove(self, tag: str, _: Mapping[str, Json]) -> Change[Any]:
        """Raises Inconsistent; NotFound when it is not there."""
        _checked(values.tag, tag)

        def change(tx: Transaction, record: Resource, ask: Ask) -> None:
            _need(record, tag)
            self._put(tx, record, {*record.tags} - {tag}, ask)

        return change

    def clear(self, _: str, __: Mapping[str, Json]) -> Change[Any]:
        """None is left."""
        return lambda tx, record, ask: self._put(tx, record, set(), ask)

    def _combined(self, body: Mapping[str, Json], combine: Callable[[set[str], set[str]], set[str]]) -> Change[Any]:
        if "tags" not in body:
            raise Inconsistent("Invalid tags body")
        given = {*_checked(values.tags, body["tags"])}

        def change(tx: Transaction, record: Resource, ask: Ask) -> Json:
            self._put(tx, record, combine({*record.tags}, given), ask)
            return {"tags": body["tags"]}

        return change

    def _put(self, tx: Transaction, record: Resource, tags: set[str], ask: Ask) -> None:
        if len(tags) > MOST_TAGS:
            raise Senseless(self.plural, f"The number of tags exceed the per-resource limit of {MOST_TAGS}")
        ask.save(tx, record, replace(record, tags=tuple(sorted(tags))))


def _need(record: Resource, tag: str) -> None:
    """Raises NotFound."""
    if tag not in record.tags:
        raise NotFound("Tag", tag)


def _checked(parse: values.Parser[object], value: Json) -> Any:
    """Raises Inconsistent."""
    try:
        return parse(value)
    except values.Unfit as reason:
        raise Inconsistent(str(reason)) from None

"""The query language of lists: filters, fields, order and pages (api-ref, "Filtering and Column Selection",
"Pagination", "Sorting").

Filters are ANDed, values of one filter ORed. What the caller does not see is not found: a filter by an attribute that
is hidden from it finds nothing but its own. A filter that has an index finds its records by it; a list in the order
of ids without filters reads every record of the kind, but shows only its page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from urllib.parse import urlencode

from controller.errors import NotFound, Senseless, Unreadable
from northbound.resources.attributes import Attribute, Collection, R, Scene
from northbound.resources.values import Json

Pairs = Sequence[tuple[str, str]]

_CONTROL = frozenset({"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"})


@dataclass(frozen=True, slots=True)
class Query:
    """What a list request asks for; `limit` 0 is no limit, `sorts` are names with whether they fall."""

    filters: dict[str, list[str]]
    fields: tuple[str, ...]
    sorts: tuple[tuple[str, bool], ...]
    limit: int
    marker: str | None
    backwards: bool


def read_query(collection: Collection[R], pairs: Pairs) -> Query:
    """Raises Unreadable, Senseless."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    filters = {name: values for name, values in given.items() if name not in _CONTROL}
    unknown = [name for name in filters if name not in collection.table or not collection.table[name].filter]
    if unknown:
        raise Unreadable(f"{unknown} is invalid attribute for filtering")
    limit = _limit(given.get("limit", ["0"])[-1])
    return Query(
        filters,
        tuple(name for name in given.get("fields", ()) if name),
        _sorts(collection, given),
        limit,
        given.get("marker", [""])[-1] or None if limit else None,
        given.get("page_reverse", [""])[-1].lower() == "true",
    )


def _limit(given: str) -> int:
    if given.isascii() and given.isdigit():
        return int(given[:18])  # which is more than there ever are
    raise Senseless("limit", f"Limit must be an integer 0 or greater and not '{given}'")


def _sorts(collection: Collection[R], given: dict[str, list[str]]) -> tuple[tuple[str, bool], ...]:
    names = [name for name in given.get("sort_key", ()) if name]
    directions = [name for name in given.get("sort_dir", ()) if name]
    if len(names) != len(directions):
        raise Unreadable("The number of sort_keys and sort_dirs must be same")
    if absent := [name for name in names if name not in collection.table or not collection.table[name].sort]:
        raise Unreadable(f"{absent} is invalid attribute for sort_keys")
    if invalid := [each for each in directions if each not in ("asc", "desc")]:
        raise Unreadable(f"{invalid} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    return tuple((name, way == "desc") for name, way in zip(names, directions, strict=True))


def find(collection: Collection[R], scene: Scene, query: Query, within: str = "") -> list[R]:
    """The records of one page, in order; `within` is what they are part of. Raises Inconsistent, and NotFound for that
    and for an unknown marker."""
    records = _order(collection, scene, query, _filtered(collection, scene, query, within))
    if not query.limit:
        return records
    marker = None
    if query.marker is not None:
        marker = collection.source.need(scene.rows, within, query.marker)
        if not scene.sees(marker):
            raise NotFound(collection.kind.__name__, query.marker)
    if query.backwards:
        records.reverse()
    if marker is not None:
        if all(record.id != marker.id for record in records):
            records = _order(collection, scene, query, [*records, marker])
            if query.backwards:
                records.reverse()
        at = next(place for place, record in enumerate(records) if record.id == marker.id)
        records = records[at + 1 :]
    page = records[: query.limit]
    return page[::-1] if query.backwards else page


def _filtered(collection: Collection[R], scene: Scene, query: Query, within: str) -> Iterable[R]:
    asked = [(each, query.filters[each.name]) for each in collection.attributes if each.name in query.filters]
    records: Iterable[R] | None = None
    tests = []
    for attribute, values in asked:
        if attribute.filter is None:
            continue
        if records is None and attribute.filter.narrow is not None:
            records = attribute.filter.narrow(scene.rows, values)
        tests.append((attribute, attribute.filter.test(values)))
    if records is None:
        records = collection.source.all(scene.rows, within)
    records = filter(scene.sees, records)
    if not scene.hidden.isdisjoint(query.filters):
        records = [record for record in records if record.project_id == scene.project_id != ""]
    for attribute, test in tests:
        records = [record for record in records if test(attribute.shown(scene, record))]
    return records


def _order(collection: Collection[R], scene: Scene, query: Query, records: Iterable[R]) -> list[R]:
    """By the keys asked for, then by id; null comes first."""
    ordered = sorted(records, key=attrgetter("id"))
    for name, falling in reversed(query.sorts):
        if name in scene.hidden:
            continue
        ordered.sort(key=partial(_key, collection.table[name], scene), reverse=falling)
    return ordered


def _key(attribute: Attribute[R, object], scene: Scene, record: R) -> tuple[bool, Json]:
    value = attribute.shown(scene, record)
    return value is not None, value


def links(url: str, pairs: Pairs, query: Query, ids: Sequence[str]) -> list[Json]:
    """Where the pages after and before this one are; `url` is the list's, without a query."""
    if not query.limit:
        return []
    kept = [pair for pair in pairs if pair[0] not in ("marker", "page_reverse")]
    short = len(ids) < query.limit
    found: list[Json] = []
    if query.backwards or not short:
        found.append(_link("next", url, kept, ids[-1:]))
    if not query.backwards or not short:
        found.append(_link("previous", url, [*kept, ("page_reverse", "True")], ids[:1]))
    return found


def _link(rel: str, url: str, pairs: Pairs, marker: Sequence[str]) -> Json:
    return {"rel": rel, "href": f"{url}?{urlencode([*pairs, *(('marker', id) for id in marker)])}"}

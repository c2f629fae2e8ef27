"""The attributes that several resources have: the standard ones (api-ref, "Standard Attributes"), and common shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar, cast

from controller.model import sharing
from controller.model.records import Network, Resource
from controller.model.store import Rows
from northbound.resources import values
from northbound.resources.attributes import REQUIRED, Attribute, Filter, Test, equal, indexed, one
from northbound.resources.schemas import INTEGER, TIME, UUID
from northbound.resources.values import Parser

R = TypeVar("R", bound=Resource)

PROJECT = values.string


def common(
    kind: type[R],
    name: Parser[str] | None = values.name,
    described: bool = True,
    dated: bool = True,
    tagged: bool = True,
) -> tuple[Attribute[R, object], ...]:
    """What resources have in common (api-ref, "Standard Attributes"); some lack some of it.

    `name` reads names, None is for what has none; a name that cannot be empty is required.
    """
    project: Filter[R] = Filter(equal(), indexed(kind, "project_id"))
    named: Attribute[R, str] = Attribute(
        name="name",
        parse=name,
        post=True,
        put=True,
        default=REQUIRED if name is values.given_name else "",
        field="name",
        sort=True,
        filter=Filter(equal(), indexed(kind, "name")),
    )
    description: Attribute[R, str] = Attribute(
        name="description",
        parse=values.string,
        post=True,
        put=True,
        default="",
        field="description",
        filter=Filter(equal()),
    )
    return (
        Attribute(
            name="id",
            field="id",
            schema=UUID,
            sort=True,
            filter=Filter(equal(), lambda rows, ids: _by_id(rows, kind, ids)),
        ),
        *((named,) if name else ()),
        *((description,) if described else ()),
        Attribute(
            name="project_id", parse=PROJECT, post=True, default="", field="project_id", sort=True, filter=project
        ),
        Attribute(
            name="tenant_id",
            parse=PROJECT,
            post=True,
            default="",
            show=lambda _, record: record.project_id,
            sort=True,
            filter=project,
        ),
        *(_dates() if dated else ()),
        *(tags() if tagged else ()),
    )


def _dates() -> tuple[Attribute[R, object], ...]:
    return (
        Attribute(
            name="revision_number",
            field="revision_number",
            schema=INTEGER,
            sort=True,
            filter=Filter(equal(values.integer)),
        ),
        Attribute(name="created_at", schema=TIME, show=lambda _, record: _iso(record.created_at), sort=True),
        Attribute(name="updated_at", schema=TIME, show=lambda _, record: _iso(record.updated_at), sort=True),
        Attribute(name="changed_since", field="updated_at", hidden=True, filter=Filter(values.changed_since)),
    )


def tags(post: bool = False) -> tuple[Attribute[R, object], ...]:
    """The tags of a resource, and how lists are narrowed by them (api-ref, "Filtering by tags"): a filter's values are
    tags with commas between them."""

    def listed(name: str, test: Callable[[set[str], set[str]], bool], hidden: bool) -> Attribute[R, object]:
        def of(given: Sequence[str]) -> Test:
            wanted = {tag for value in given for tag in value.split(",")}
            return lambda shown: test(wanted, set(cast("list[str]", shown)))

        return Attribute(
            name=name,
            parse=values.tags,
            post=post and not hidden,
            default=(),
            field="" if hidden else "tags",
            show=lambda _, record: [*record.tags],
            hidden=hidden,
            filter=Filter(of),
        )

    return (
        listed("tags", lambda wanted, held: wanted <= held, hidden=False),
        listed("tags-any", lambda wanted, held: not wanted.isdisjoint(held), hidden=True),
        listed("not-tags", lambda wanted, held: not wanted <= held, hidden=True),
        listed("not-tags-any", lambda wanted, held: wanted.isdisjoint(held), hidden=True),
    )


def shared(post: bool = False, put: bool = False) -> Attribute[R, bool]:
    """Whether a resource is shared with who asks; a client sets it for everybody (`controller.model.sharing`)."""
    return Attribute(
        name="shared",
        parse=values.boolean,
        post=post,
        put=put,
        default=False,
        show=lambda scene, record: sharing.is_shared(scene.rows, record.id, scene.project_id),
        filter=Filter(equal(values.boolean)),
    )


def _by_id(rows: Rows, kind: type[R], ids: Sequence[str]) -> Iterable[R]:
    return [record for record in (rows.get(kind, id) for id in set(ids)) if record is not None]


def flag(name: str, default: bool, *, sort: bool = False) -> Attribute[R, bool]:
    """A boolean that the record has by the same name: a client gives and changes it, lists are narrowed by it."""
    return Attribute(
        name=name,
        parse=values.boolean,
        post=True,
        put=True,
        default=default,
        field=name,
        filter=Filter(equal(values.boolean)),
        sort=sort,
    )


def network_of(kind: type[R], name: str = "network_id") -> Attribute[R, str]:
    """The network that a record is on: whoever makes it says so, and it stays there."""
    return Attribute(
        name=name,
        parse=values.uuid,
        post=True,
        field=name,
        filter=Filter(equal(), indexed(kind, name)),
        sort=True,
        names=one(Network),
    )


@lru_cache(maxsize=4096)
def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

"""A resource is a table of attributes: who may set each, what it may hold, how it is shown and asked for.

The generic handler (`northbound.api`) and the query language (`northbound.resources.query`) work on these tables
alone. What a table cannot say is in the three functions of its `Collection`: pure but for their transaction,
because the store may run them again.

    JSON ──read_body──> Body ──create/update──> record ──Renderer──> JSON
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from operator import attrgetter
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from controller.errors import (
    Invalid,
    MissingAttribute,
    NotFound,
    ReadOnlyAttribute,
    UnknownAttributes,
    Unreadable,
)
from controller.model.bindings import Attendance
from controller.model.records import FloatingIp, Port, Resource
from controller.model.store import Rows, Transaction
from northbound.resources.schemas import Schema, shape
from northbound.resources.values import Json, Parser, Unfit

R = TypeVar("R", bound=Resource)
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Wiring(Protocol):
    """What the API asks of the southbound."""

    def port_status(self, port: Port) -> str:
        """`ACTIVE` when the port's host has acknowledged what wires it, else `DOWN`."""

    def attendance(self, chassis: str) -> Attendance:
        """Whether the switch of a hypervisor is connected."""

    def floatingip_status(self, floating_ip: FloatingIp) -> str:
        """`ACTIVE` when whoever translates it has acknowledged what does, else `DOWN`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator chose. Sizes are bytes; `segments` is the range that networks are numbered from.

    `vlan_ranges` are (physical network, first, last) that VLANs are handed out from; one without numbers (1, 0) has
    only VLANs that are asked for; without any, all VLANs of every physical network may be asked for. `flat_networks`
    are the physical networks that may have a flat one, `*` is any.
    """

    underlay_mtu: int = 1500
    underlay_ip_version: int = 4
    network_type: str = "vxlan"
    segments: tuple[int, int] = (1, 0xEFFFFF)
    vlan_ranges: tuple[tuple[str, int, int], ...] = ()
    flat_networks: frozenset[str] = frozenset({"*"})
    physical_network_mtus: tuple[tuple[str, int], ...] = ()
    base_mac: str = "fa:16:3e"
    dns_domain: str = "openstacklocal"
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Limits by name, where they are not Neutron's."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a record is shown from: everything of one revision, what the switches say, and for which project."""

    rows: Rows
    wiring: Wiring
    settings: Settings = Settings()
    sees: Callable[[Resource], bool] = lambda _: True
    """Whether a record is there for whom this is shown to."""
    hidden: frozenset[str] = frozenset()
    """The attributes that are not shown, and neither sort a list nor narrow it but to what is the project's own."""
    project_id: str = ""
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the list that it is shown in was narrowed by."""
    memo: dict[str, object] = field(default_factory=dict)
    """What was worked out for this answer already."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One resource of one request: what was not said in its attributes. `within` is the id of what it is part of."""

    id: str
    project_id: str
    is_admin: bool
    now: int
    settings: Settings
    within: str = ""
    fields: tuple[str, ...] = ()
    """What is to be shown of it, where not all is."""
    alive: Callable[[str], bool] = lambda _: False
    """Whether the switch of a hypervisor is connected."""

    def stamp(self) -> dict[str, Any]:
        """The attributes of a new record that no client chooses."""
        return {"id": self.id, "revision_number": 1, "created_at": self.now, "updated_at": self.now}

    def save(self, tx: Transaction, old: R, new: R) -> R:
        """Write a change, if it is one."""
        return old if new == old else self.touch(tx, new)

    def touch(self, tx: Transaction, record: R) -> R:
        """Write a record as changed: itself, or what it is shown with."""
        return tx.put(replace(record, revision_number=record.revision_number + 1, updated_at=self.now))


class _Required:
    """Stands for the default of an attribute that has none."""


REQUIRED: Final = _Required()

Test = Callable[[Json], bool]


@dataclass(frozen=True, slots=True)
class Filter(Generic[R]):
    """How a list is narrowed by an attribute.

    `test` makes of the query's values a test of what is shown; `narrow` finds by an index all records that may pass.
    """

    test: Callable[[Sequence[str]], Test]
    narrow: Callable[[Rows, Sequence[str]], Iterable[R]] | None = None


def equal(parse: Callable[[str], object] = lambda value: value) -> Callable[[Sequence[str]], Test]:
    """The attribute is one of the values that were given, each read by `parse`."""

    def test(given: Sequence[str]) -> Test:
        wanted = [parse(value) for value in given]
        return lambda shown: shown in wanted

    return test


def any_of(given: Sequence[str]) -> Test:
    """The attribute is a list that has one of the values."""
    wanted = set(given)
    return lambda shown: not wanted.isdisjoint(cast("list[str]", shown))


def indexed(kind: type[R], name: str) -> Callable[[Rows, Sequence[str]], Iterable[R]]:
    """The records whose attribute `name`, which has an index, is one of the values."""
    return lambda rows, given: [record for value in set(given) for record in rows.where(kind, **{name: value})]


Named = tuple[type[Resource], str]
"""A record that somebody names, by its kind and its id."""


def _nothing(value: object) -> Iterable[Named]:
    """Most values stand for no record."""
    return ()


def one(kind: type[Resource]) -> Callable[[object], Iterable[Named]]:
    """The value is the id of a record, if it is anything."""
    return lambda id: ((kind, id),) if isinstance(id, str) and id else ()


def many(kind: type[Resource]) -> Callable[[Iterable[str] | None], Iterable[Named]]:
    """The value is a list of ids."""
    return lambda ids: [(kind, id) for id in ids or ()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute(Generic[R, V_co]):
    """One row of a table.

    `post` and `put` say when a client may give it; `field` is the record's attribute that takes the parsed value as it
    is, `show` makes of a record what clients see when that is not the field. An attribute with neither is not shown.
    `schema` is what clients see, where the parser does not say.
    `names` are the records that a value stands for: whoever gives it must see them.
    """

    name: str
    parse: Parser[V_co] | None = None
    post: bool = False
    put: bool = False
    default: V_co | _Required = REQUIRED
    field: str = ""
    show: Callable[[Scene, R], Json] | None = None
    hidden: bool = False
    filter: Filter[R] | None = None
    sort: bool = False
    names: Callable[[V_co], Iterable[Named]] = _nothing
    schema: Schema | None = None

    def read(self, value: Json) -> V_co:
        """The value that a client gave. Raises Invalid, Inconsistent."""
        if self.parse is None:
            raise Invalid(self.name, "it cannot be set")
        try:
            return self.parse(value)
        except Unfit as reason:
            raise Invalid(self.name, str(reason)) from None

    @property
    def takes(self) -> Schema:
        """What a client may give, as JSON Schema."""
        return shape(self.parse).takes

    @property
    def gives(self) -> Schema:
        """What clients see, as JSON Schema."""
        return shape(self.parse).gives if self.schema is None else self.schema

    def shown(self, scene: Scene, record: R) -> Json:
        """What clients see of it."""
        return self.show(scene, record) if self.show else cast("Json", getattr(record, self.field))


@dataclass(frozen=True, slots=True)
class Body:
    """What a client gave, parsed: `attribute in body` if it was given, `body[attribute]` the value or its default."""

    given: Mapping[str, object]
    fields: Mapping[str, Any]
    """By the name of the record's attribute: what needs no rule."""

    def __contains__(self, attribute: Attribute[Any, object]) -> bool:
        return attribute.name in self.given

    def __getitem__(self, attribute: Attribute[Any, V]) -> V:
        return cast("V", self.given.get(attribute.name, attribute.default))

    def get(self, attribute: Attribute[Any, V], otherwise: V) -> V:
        """The value that was given, or another than the default."""
        return cast("V", self.given.get(attribute.name, otherwise))


Create = Callable[[Transaction, Body, Ask], R]
Update = Callable[[Transaction, R, R, Body, Ask], R]
"""Is given the record, and the record with `Body.fields` in place."""
Delete = Callable[[Transaction, R, Ask], None]

Change = Callable[[Transaction, R, Ask], R | Json]
"""What a request does to a record: the record as it is then, or an answer of its own."""

Action = Callable[[Mapping[str, Json]], Change[R]]
"""`PUT /v2.0/COLLECTION/ID/ACTION`: what a body asks for."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[R]):
    """`METHOD /v2.0/COLLECTION/ID/PATH`: what is done to a resource beside the five verbs.

    `path` may end in `{item}`, which `ask` is given before the body: `{}` where it `takes` none, whatever was sent. GET
    writes nothing. A record is answered by the name of its collection, unless the answer is `bare`.
    """

    method: str
    path: str
    ask: Callable[[str, Mapping[str, Json]], Change[R]]
    status: int = 200
    takes: Schema | None = None
    bare: bool = False


def _put(name: str, action: Action[R]) -> Operation[R]:
    return Operation("PUT", name, lambda _, body: action(body), takes=shape(action).takes or None)


@dataclass(frozen=True, slots=True)
class Source(Generic[R]):
    """Where the records of a collection are found. Both are given the id of what they are part of, or ""."""

    all: Callable[[Rows, str], Iterable[R]]
    need: Callable[[Rows, str, str], R]
    """By id. Raises NotFound."""


def need(rows: Rows, kind: type[R], id: str) -> R:
    """A record. Raises NotFound."""
    found = rows.get(kind, id)
    if found is None:
        raise NotFound(kind.__name__, id)
    return found


def stored(kind: type[R]) -> Source[R]:
    """All records of a kind."""
    return Source(lambda rows, _: rows.all(kind), lambda rows, _, id: need(rows, kind, id))


def _together(bodies: Sequence[Body]) -> None:
    """Resources that are made by one request need nothing of one another."""


def _prepare(tx: Transaction, project_id: str, ask: Ask) -> None:
    """A list needs nothing to be there."""


@dataclass(frozen=True, slots=True)
class Collection(Generic[R]):
    """A resource of the API; a verb that is None is not there.

    `together` refuses what one request may not make at once. `prepare` makes what a project must find in every list: it
    is given the transaction and the project, and is committed only when it writes something. `provide` does the same
    when one of them is shown, and may answer itself; `mine` is what the project that asks may call its own.

    `plural` is the name of a list of them in bodies, `path` in paths, where `{within}` stands for the id of what they
    are part of, which is of the kind `whole`; `key` is the attribute that stands for one in paths and in pages. Those
    that the store does not hold as they are come from `elsewhere`; `answers` are what some names in place of ids are
    answered with.
    """

    name: str
    kind: type[R]
    attributes: tuple[Attribute[R, object], ...]
    create: Create[R] | None = None
    update: Update[R] | None = None
    delete: Delete[R] | None = None
    together: Callable[[Sequence[Body]], None] = _together
    prepare: Callable[[Transaction, str, Ask], None] = _prepare
    provide: Callable[[Transaction, R, Ask], Json] | None = None
    mine: str = ""
    actions: Mapping[str, Action[R]] = field(default_factory=dict)
    operations: tuple[Operation[R], ...] = ()
    answers: Mapping[str, Callable[[Ask], Json]] = field(default_factory=dict)
    elsewhere: Source[R] | None = None
    plural: str = ""
    path: str = ""
    whole: type[Resource] | None = None
    key: str = "id"
    table: Mapping[str, Attribute[R, object]] = field(init=False)
    required: frozenset[str] = field(init=False)
    """What a client must give to make one."""
    defaults: Mapping[str, Any] = field(init=False)
    """What the others are if it does not, by the name of the record's attribute."""

    def __post_init__(self) -> None:
        plural = self.plural or f"{self.name}s"
        derived: dict[str, object] = {
            "table": {each.name: each for each in self.attributes},
            "plural": plural,
            "path": self.path or plural.replace("_", "-"),
            "operations": (*self.operations, *starmap(_put, self.actions.items())),
            "required": frozenset(each.name for each in self.attributes if each.post and each.default is REQUIRED),
            "defaults": {
                each.field: each.default
                for each in self.attributes
                if each.field and each.post and each.default is not REQUIRED
            },
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def source(self) -> Source[R]:
        """Where its records are found."""
        return self.elsewhere or stored(self.kind)

    @property
    def is_part(self) -> bool:
        """Whether they are parts of something else, found in its path alone."""
        return "{within}" in self.path


def read_body(collection: Collection[R], given: Json, create: bool, project_id: str) -> Body:
    """What a client gave of one resource; `project_id` owns it when no attribute says who does.

    Raises Unreadable, UnknownAttributes, MissingAttribute, ReadOnlyAttribute, Invalid, Inconsistent.
    """
    if given is None:
        raise Unreadable(f"Unable to find '{collection.name}' in request body")
    if not isinstance(given, dict):
        raise Unreadable(f"Object '{collection.name}' contains invalid data")
    owner = given.get("project_id", given.get("tenant_id", project_id))
    if given.get("tenant_id", owner) != owner:
        raise Unreadable("'project_id' and 'tenant_id' do not match")
    if unknown := [name for name in given if name not in collection.table]:
        raise UnknownAttributes(tuple(unknown))
    parsed: dict[str, object] = {}
    fields: dict[str, Any] = {}
    named = set(given)
    if create:
        given, fields = {**given, "project_id": owner}, dict(collection.defaults)
        named |= {"project_id", *collection.required}
    for each in [each for each in collection.attributes if each.name in named]:
        if each.name not in given:
            raise MissingAttribute(each.name)
        if not (each.post if create else each.put):
            raise ReadOnlyAttribute(each.name, create)
        parsed[each.name] = value = each.read(given[each.name])
        if each.field:
            fields[each.field] = value
    return Body(parsed, fields)


def _fields(names: Sequence[str]) -> Callable[[Resource], tuple[Any, ...]]:
    """What reads these attributes of a record: `attrgetter`, which makes no tuple of one."""
    if len(names) == 1:
        (name,) = names
        return lambda record: (getattr(record, name),)
    return attrgetter(*names) if names else lambda _: ()


class Renderer(Generic[R]):
    """Records as JSON. What is a record's field goes the short way, for long lists."""

    def __init__(self, collection: Collection[R]) -> None:
        shown = [each for each in collection.attributes if not each.hidden]
        plain = [each for each in shown if each.field and each.show is None]
        self._names = [each.name for each in plain]
        self._values = _fields([each.field for each in plain])
        self._computed = [(each.name, each.show) for each in shown if each.show is not None]
        self._key = collection.table[collection.key]
        self._shown = {each.name: each for each in shown}

    def key(self, scene: Scene, record: R) -> str:
        """What stands for the record in paths and pages."""
        return str(self._key.shown(scene, record))

    def all(self, scene: Scene, record: R) -> dict[str, Json]:
        """Every attribute that is not hidden."""
        view: dict[str, Json] = dict(zip(self._names, self._values(record), strict=True))
        for name, show in self._computed:
            if name not in scene.hidden:
                view[name] = show(scene, record)
        for name in scene.hidden:
            view.pop(name, None)
        return view

    def some(self, scene: Scene, record: R, names: Iterable[str]) -> dict[str, Json]:
        """The attributes of these names; others than the resource has, and hidden ones, are left out."""
        return {
            name: self._shown[name].shown(scene, record)
            for name in names
            if name in self._shown and name not in scene.hidden
        }

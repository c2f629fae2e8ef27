"""`/v2.0/subnetpools` (api-ref, "Subnet pools"): prefixes that subnets are cut from (`controller.model.prefixes`).

What changes the prefixes of a pool beside an update are its actions: some are added or removed, or those of a network's
subnets are, which are of the pool from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.errors import Forbidden, Inconsistent, NotFound, PoolHolds, PoolStays, Unreadable
from controller.model import prefixes, sharing
from controller.model.addresses import version
from controller.model.records import AddressScope, Cidr, Network, Subnet, SubnetPool
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Change, Collection, Filter, equal, one
from northbound.resources.schemas import DIGITS, INTEGER, STRING, UUID, list_of, nullable, open_table, says
from northbound.resources.standard import common, flag, shared
from northbound.resources.values import Json

PREFIXES: Attribute[SubnetPool, tuple[Cidr, ...]] = Attribute(
    name="prefixes",
    parse=values.subnet_list,
    post=True,
    put=True,
    show=lambda _, pool: [*pool.prefixes],
)
SHARED: Attribute[SubnetPool, bool] = shared(post=True)
SCOPE: Attribute[SubnetPool, str | None] = Attribute(
    name="address_scope_id",
    parse=values.or_none(values.uuid),
    post=True,
    put=True,
    default=None,
    field="address_scope_id",
    filter=Filter(equal()),
    sort=True,
    names=one(AddressScope),
)
IS_DEFAULT: Attribute[SubnetPool, bool] = flag("is_default", False, sort=True)


def _length(name: str) -> Attribute[SubnetPool, int]:
    """The length of prefixes; shown as text, as Neutron does."""
    return Attribute(
        name=name,
        parse=values.count,
        post=True,
        put=True,
        default=0,
        schema=DIGITS,
        show=lambda _, pool: str(getattr(pool, name)),
        filter=Filter(equal()),
        sort=True,
    )


MIN, MAX, DEFAULT = _length("min_prefixlen"), _length("max_prefixlen"), _length("default_prefixlen")


def create(tx: Transaction, body: Body, ask: Ask) -> SubnetPool:
    """Raises BadPrefixes, Inconsistent, NotFound, and what `prefixes.check_scope` raises."""
    merged = prefixes.merged(body[PREFIXES])
    family = version(merged[0])
    shortest = body.get(MIN, prefixes.SHORTEST[family])
    pool = SubnetPool(
        **ask.stamp(),
        **body.fields,
        ip_version=family,
        prefixes=merged,
        min_prefixlen=shortest,
        max_prefixlen=body.get(MAX, prefixes.BITS[family]),
        default_prefixlen=body.get(DEFAULT, shortest),
    )
    _check(tx, pool, None, ask)
    made = tx.insert(pool)
    if body[SHARED]:
        sharing.share(tx, made)
    return made


def update(tx: Transaction, old: SubnetPool, new: SubnetPool, body: Body, ask: Ask) -> SubnetPool:
    """Raises PrefixesStay, PoolStays, BadPrefixes, Inconsistent, NotFound, and what `prefixes.check_scope` raises."""
    if PREFIXES in body:
        new = replace(new, prefixes=prefixes.grown(old, body[PREFIXES]))
    new = replace(
        new,
        min_prefixlen=body.get(MIN, old.min_prefixlen),
        max_prefixlen=body.get(MAX, old.max_prefixlen),
        default_prefixlen=body.get(DEFAULT, old.default_prefixlen),
    )
    return _changed(tx, old, new, ask)


def _changed(tx: Transaction, old: SubnetPool, new: SubnetPool, ask: Ask) -> SubnetPool:
    if old.address_scope_id is not None:
        scope = tx.need(AddressScope, old.address_scope_id)
        if not (ask.is_admin or scope.project_id == ask.project_id):
            shared = f"subnetpool {old.id} cannot be updated when associated with shared address scope {scope.id}"
            raise PoolStays(shared)
    _check(tx, new, old, ask)
    return ask.save(tx, old, new)


def _check(tx: Transaction, pool: SubnetPool, old: SubnetPool | None, ask: Ask) -> None:
    prefixes.check_bounds(pool)
    if pool.is_default and not (old and old.is_default) and tx.where(SubnetPool, default_of=pool.ip_version):
        raise Inconsistent(
            "A default subnetpool for this IP family has already been set. Only one default may exist per IP family"
        )
    if pool.address_scope_id is not None:
        scope = tx.need(AddressScope, pool.address_scope_id)
        if not (ask.is_admin or sharing.visible(tx, ask.project_id, scope)):
            raise NotFound("AddressScope", scope.id)
        prefixes.check_scope(tx, pool, scope)


def delete(tx: Transaction, pool: SubnetPool, _: Ask) -> None:
    """Raises PoolHolds."""
    if tx.holds(Subnet, subnetpool_id=pool.id):
        raise PoolHolds
    sharing.forget(tx, pool)
    tx.delete(SubnetPool, pool.id)


def _given(body: Mapping[str, Json]) -> tuple[Cidr, ...]:
    """Raises Unreadable, Invalid."""
    if not body.get("prefixes"):
        raise Unreadable("Request body contains invalid data")
    return PREFIXES.read(body["prefixes"])


_PREFIXES = open_table(("prefixes",), prefixes=list_of(STRING, minItems=1))


@says(_PREFIXES)
def add_prefixes(body: Mapping[str, Json]) -> Change[SubnetPool]:
    """Raises BadPrefixes, and what `prefixes.check_scope` raises."""
    given = _given(body)

    def add(tx: Transaction, pool: SubnetPool, ask: Ask) -> Json:
        merged = prefixes.merged((*pool.prefixes, *given))
        return {"prefixes": [*_changed(tx, pool, replace(pool, prefixes=merged), ask).prefixes]}

    return add


@says(_PREFIXES)
def remove_prefixes(body: Mapping[str, Json]) -> Change[SubnetPool]:
    """Raises PrefixesStay, BadPrefixes."""
    given = _given(body)

    def remove(tx: Transaction, pool: SubnetPool, ask: Ask) -> Json:
        left = prefixes.shrunk(tx, pool, given)
        return {"prefixes": [*ask.save(tx, pool, replace(pool, prefixes=left)).prefixes]}

    return remove


@says(open_table(("network_id",), network_id=UUID))
def onboard(body: Mapping[str, Json]) -> Change[SubnetPool]:
    """The subnets of a network become some of the pool, which has their prefixes then. Raises Inconsistent, NotFound,
    PoolStays, and what `prefixes.check_scope` raises."""
    network_id = body.get("network_id")
    if not network_id:
        raise Inconsistent("network_id must be specified.")

    def change(tx: Transaction, pool: SubnetPool, ask: Ask) -> Json:
        network = tx.need(Network, str(network_id))
        if not (ask.is_admin or network.project_id == ask.project_id):
            raise Forbidden(("onboard_network_subnets",))
        subnets = [each for each in tx.where(Subnet, network_id=network.id) if each.ip_version == pool.ip_version]
        prefixes.check_onboarding(tx, pool, subnets)
        merged = prefixes.merged((*pool.prefixes, *(subnet.cidr for subnet in subnets)))
        _changed(tx, pool, replace(pool, prefixes=merged), ask)
        for subnet in subnets:
            ask.save(tx, subnet, replace(subnet, subnetpool_id=pool.id))
        return [{"id": subnet.id, "cidr": subnet.cidr} for subnet in subnets]

    return change


SUBNETPOOLS: Collection[SubnetPool] = Collection(
    "subnetpool",
    SubnetPool,
    (
        *common(SubnetPool, name=values.given_name),
        PREFIXES,
        Attribute(
            name="ip_version", field="ip_version", schema=INTEGER, filter=Filter(equal(values.integer)), sort=True
        ),
        MIN,
        MAX,
        DEFAULT,
        Attribute(
            name="default_quota",
            parse=values.count,
            post=True,
            put=True,
            default=None,
            field="default_quota",
            schema=nullable(INTEGER),
            filter=Filter(equal(values.integer)),
            sort=True,
        ),
        SCOPE,
        IS_DEFAULT,
        SHARED,
    ),
    create,
    update,
    delete,
    actions={
        "onboard_network_subnets": onboard,
        "add_prefixes": add_prefixes,
        "remove_prefixes": remove_prefixes,
    },
)

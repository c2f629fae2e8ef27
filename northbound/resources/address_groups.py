"""`/v2.0/address-groups` (api-ref, "Address groups"): blocks of addresses that security group rules may name.

After it is made, a group's addresses change by its actions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.errors import AddressesAbsent, AddressesPresent, InUse, MissingAttribute, UnknownAttributes
from controller.model import security, sharing
from controller.model.records import AddressGroup, Cidr, SecurityGroupRule
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Change, Collection
from northbound.resources.schemas import says, table
from northbound.resources.standard import common
from northbound.resources.values import Json

ADDRESSES: Attribute[AddressGroup, tuple[Cidr, ...]] = Attribute(
    name="addresses",
    parse=values.subnet_list_or_none,
    post=True,
    default=(),
    field="addresses",
    show=lambda _, group: [*group.addresses],
)

_GIVEN = table(("addresses",), addresses=ADDRESSES.takes)


def create(tx: Transaction, body: Body, ask: Ask) -> AddressGroup:
    """A group of these addresses."""
    return tx.insert(AddressGroup(**ask.stamp(), **body.fields))


def update(tx: Transaction, old: AddressGroup, new: AddressGroup, _: Body, ask: Ask) -> AddressGroup:
    """Another name or description."""
    return ask.save(tx, old, new)


def delete(tx: Transaction, group: AddressGroup, _: Ask) -> None:
    """Raises InUse."""
    if tx.holds(SecurityGroupRule, remote_address_group_id=group.id):
        said = f"Address group {group.id} is in use on one or more security group rules."
        raise InUse("AddressGroup", group.id, "one or more security group rules", said)
    sharing.forget(tx, group)
    tx.delete(AddressGroup, group.id)


def _given(body: Mapping[str, Json]) -> tuple[Cidr, ...]:
    """Raises MissingAttribute, UnknownAttributes, Invalid."""
    if unknown := tuple(name for name in body if name != ADDRESSES.name):
        raise UnknownAttributes(unknown)
    if ADDRESSES.name not in body:
        raise MissingAttribute(ADDRESSES.name)
    given = body[ADDRESSES.name]
    return ADDRESSES.read([*dict.fromkeys(map(_block, given))] if isinstance(given, list) else given)


def _block(value: Json) -> str:
    """The actions take an address, too, for the block of it alone, as Neutron's."""
    text = str(value)
    try:
        return f"{text}/{128 if ':' in values.address(text) else 32}"
    except values.Unfit:
        return text


@says(_GIVEN)
def add_addresses(body: Mapping[str, Json]) -> Change[AddressGroup]:
    """Raises AddressesPresent."""
    given = _given(body)

    def add(tx: Transaction, group: AddressGroup, ask: Ask) -> AddressGroup:
        if present := tuple(each for each in given if each in group.addresses):
            raise AddressesPresent(present, group.id)
        return _changed(tx, group, (*group.addresses, *given), ask)

    return add


@says(_GIVEN)
def remove_addresses(body: Mapping[str, Json]) -> Change[AddressGroup]:
    """Raises AddressesAbsent."""
    given = _given(body)

    def remove(tx: Transaction, group: AddressGroup, ask: Ask) -> AddressGroup:
        if absent := tuple(each for each in given if each not in group.addresses):
            raise AddressesAbsent(absent, group.id)
        return _changed(tx, group, tuple(each for each in group.addresses if each not in given), ask)

    return remove


def _changed(tx: Transaction, group: AddressGroup, addresses: tuple[Cidr, ...], ask: Ask) -> AddressGroup:
    return security.put_addresses(tx, group, ask.save(tx, group, replace(group, addresses=addresses)))


ADDRESS_GROUPS: Collection[AddressGroup] = Collection(
    "address_group",
    AddressGroup,
    (*common(AddressGroup, tagged=False), ADDRESSES),
    create,
    update,
    delete,
    actions={"add_addresses": add_addresses, "remove_addresses": remove_addresses},
)

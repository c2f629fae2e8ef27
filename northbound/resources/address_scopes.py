"""`/v2.0/address-scopes` (api-ref, "Address scopes"): where an address means one thing alone."""

from __future__ import annotations

from controller.errors import InUse, ScopeStaysShared
from controller.model import sharing
from controller.model.records import EVERYBODY, AddressScope, RbacPolicy, SubnetPool
from controller.model.store import Transaction
from northbound.resources import values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, equal
from northbound.resources.standard import common, shared

SHARED: Attribute[AddressScope, bool] = shared(post=True, put=True)


def create(tx: Transaction, body: Body, ask: Ask) -> AddressScope:
    """An address scope without subnet pools."""
    made = tx.insert(AddressScope(**ask.stamp(), **body.fields))
    if body[SHARED]:
        sharing.share(tx, made)
    return made


def update(tx: Transaction, old: AddressScope, new: AddressScope, body: Body, ask: Ask) -> AddressScope:
    """Raises ScopeStaysShared."""
    if SHARED in body:
        if body[SHARED]:
            sharing.share(tx, old)
        elif tx.where(RbacPolicy, object_id=old.id, action=sharing.SHARED, target_project=EVERYBODY):
            raise ScopeStaysShared(old.id)
    return ask.save(tx, old, new)


def delete(tx: Transaction, scope: AddressScope, _: Ask) -> None:
    """Raises InUse."""
    if tx.holds(SubnetPool, address_scope_id=scope.id):
        by = "There are one or more subnet pools in use on the address scope"
        said = f"Unable to complete operation on address scope {scope.id}. {by}."
        raise InUse("AddressScope", scope.id, by, said)
    sharing.forget(tx, scope)
    tx.delete(AddressScope, scope.id)


ADDRESS_SCOPES: Collection[AddressScope] = Collection(
    "address_scope",
    AddressScope,
    (
        *common(AddressScope, described=False, dated=False, tagged=False),
        SHARED,
        Attribute(
            name="ip_version",
            parse=values.choice((4, 6), values.integer),
            post=True,
            field="ip_version",
            filter=Filter(equal(values.integer)),
            sort=True,
        ),
    ),
    create,
    update,
    delete,
)

"""`/v2.0/quotas` (api-ref, "Quotas extension", "Quotas details"): how much projects may have.

A quota is there for every project, whoever has heard of it; only those are listed whose limits somebody has set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.errors import NoProject, NotFound, UsedAlready
from controller.model import quotas
from controller.model.records import Quota
from controller.model.store import Rows, Transaction
from northbound.resources import values
from northbound.resources.attributes import (
    Ask,
    Attribute,
    Body,
    Change,
    Collection,
    Filter,
    Operation,
    Scene,
    Source,
    equal,
)
from northbound.resources.schemas import DIGITS, INTEGER, STRING, says
from northbound.resources.values import Json


@says({"anyOf": [{"type": "integer", "minimum": quotas.UNLIMITED, "maximum": quotas.MOST}, DIGITS]}, INTEGER)
def _limit(value: Json) -> int:
    limit = values.integer(value)
    if limit < quotas.UNLIMITED:
        raise values.Unfit(f"'{limit}' is too small - must be at least '{quotas.UNLIMITED}'")
    if limit > quotas.MOST:
        raise values.Unfit(f"'{limit}' is too large - must be no larger than '{quotas.MOST}'")
    return limit


def _attribute(name: str) -> Attribute[Quota, int]:
    def show(scene: Scene, quota: Quota) -> int:
        return dict(quota.limits).get(name, quotas.defaults(scene.settings.quotas)[name])

    return Attribute(name=name, parse=_limit, put=True, default=0, show=show)


LIMITS = [_attribute(name) for name in quotas.COUNTED]


@says({"type": ["boolean", "string", "integer", "null"]})
def _word(value: Json) -> Json:
    """Whatever it is; only `true` means anything."""
    return value


FORCE: Attribute[Quota, Json] = Attribute(name="force", parse=_word, put=True, default=None, hidden=True)


def _of(rows: Rows, _: str, project_id: str) -> Quota:
    """Every project has one."""
    return rows.get(Quota, project_id) or Quota(id=project_id, project_id=project_id)


def update(tx: Transaction, old: Quota, new: Quota, body: Body, ask: Ask) -> Quota:
    """No limit is below what is there, unless the body says `force`. Raises UsedAlready."""
    given = {each.name: body[each] for each in LIMITS if each in body}
    if body[FORCE] is not True:
        for name, limit in given.items():
            if quotas.UNLIMITED < limit < (found := quotas.used(tx, old.id, name)):
                raise UsedAlready(name, limit, found)
    limits = {**dict(old.limits), **given}
    return tx.put(replace(new, limits=tuple(sorted(limits.items())))) if given else old


def delete(tx: Transaction, quota: Quota, _: Ask) -> None:
    """The defaults are a project's again. Raises NotFound."""
    if tx.get(Quota, quota.id) is None:
        raise NotFound("TenantQuota", quota.id)
    tx.delete(Quota, quota.id)


def _defaults(_: str, __: Mapping[str, Json]) -> Change[Quota]:
    return lambda tx, quota, ask: {"quota": {**quotas.defaults(ask.settings.quotas)}}


def _details(_: str, __: Mapping[str, Json]) -> Change[Quota]:
    def details(tx: Transaction, quota: Quota, ask: Ask) -> Json:
        limits = quotas.limits(tx, quota.id, ask.settings.quotas)
        told: dict[str, Json] = {
            name: {"limit": limit, "used": quotas.used(tx, quota.id, name), "reserved": 0}
            for name, limit in limits.items()
        }
        return {"quota": told}

    return details


def _whose(name: str, ask: Ask) -> Json:
    """The project that asks, for clients who do not know. Raises NoProject."""
    if not ask.project_id:
        raise NoProject
    return {name: {f"{name}_id": ask.project_id}}


QUOTAS: Collection[Quota] = Collection(
    "quota",
    Quota,
    (
        Attribute(name="id", field="id", hidden=True),
        Attribute(name="project_id", field="project_id", schema=STRING, filter=Filter(equal())),
        Attribute(name="tenant_id", schema=STRING, show=lambda _, quota: quota.project_id, filter=Filter(equal())),
        *LIMITS,
        FORCE,
        Attribute(name="check_limit", parse=_word, put=True, default=None, hidden=True),
    ),
    update=update,
    delete=delete,
    operations=(
        Operation("GET", "default", _defaults),
        Operation("GET", "details", _details),
        Operation("GET", "details.json", _details),
    ),
    answers={"tenant": lambda ask: _whose("tenant", ask), "project": lambda ask: _whose("project", ask)},
    elsewhere=Source(lambda rows, _: rows.all(Quota), _of),
)

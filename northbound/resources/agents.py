"""`/v2.0/agents` (api-ref, "Agents"): hypervisors, as tools that watch Neutron's agents expect them.

No agent runs anywhere. Each hypervisor is shown as the two that Neutron would have there: the one that wires its ports,
and the one that routes, which may host gateways (`dvr_snat`) or not. They are alive while its switch is connected. The
second is administratively down while its hypervisor is drained, and draining is what setting that does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast
from uuid import UUID, uuid5

from controller.errors import InUse, NotFound
from controller.model import bindings
from controller.model.records import AgentNote, Chassis, Drained, Resource
from controller.model.store import Rows, Transaction
from northbound.resources import schemas, values
from northbound.resources.attributes import Ask, Attribute, Body, Collection, Filter, Scene, Source, equal
from northbound.resources.schemas import BOOLEAN, OBJECT, STRING, nullable
from northbound.resources.values import Json

NAMESPACE = UUID("5d3c4f0e-8d6d-4c0b-9a68-3c1f6f7f4f52")
"""Of the ids of agents, which follow from a hypervisor's name (RFC 4122, section 4.3)."""

WIRES, ROUTES = "Open vSwitch agent", "L3 agent"
BINARIES = {WIRES: "neutron-openvswitch-agent", ROUTES: "neutron-l3-agent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent(Resource):
    """One thing that a hypervisor does."""

    chassis: Chassis
    agent_type: str
    admin_state_up: bool

    @property
    def host(self) -> str:
        """As Neutron's agents call it: by the name that ports are bound to."""
        return self.chassis.hostname or self.chassis.id


def _of(rows: Rows, chassis: Chassis) -> Iterator[Agent]:
    for agent_type in BINARIES:
        id = str(uuid5(NAMESPACE, f"{chassis.id}/{agent_type}"))
        note = rows.get(AgentNote, id) or AgentNote(id=id, chassis=chassis.id)
        up = rows.get(Drained, chassis.id) is None if agent_type == ROUTES else note.admin_state_up
        yield Agent(id=id, chassis=chassis, agent_type=agent_type, admin_state_up=up, description=note.description)


def _all(rows: Rows, _: str) -> Iterator[Agent]:
    for chassis in rows.all(Chassis):
        yield from _of(rows, chassis)


def _one(rows: Rows, _: str, id: str) -> Agent:
    """Raises NotFound."""
    for agent in _all(rows, ""):
        if agent.id == id:
            return agent
    raise NotFound("Agent", id)


def update(tx: Transaction, old: Agent, new: Agent, body: Body, _: Ask) -> Agent:
    """What is said of it is kept; of what wires ports the state is no more than said, as in Neutron."""
    if old.agent_type == ROUTES and new.admin_state_up != old.admin_state_up:
        bindings.drain(tx, old.chassis.id, drained=not new.admin_state_up)
    if new != old:
        up = new.admin_state_up or new.agent_type == ROUTES
        tx.put(AgentNote(id=old.id, chassis=old.chassis.id, description=new.description, admin_state_up=up))
    return new


def delete(tx: Transaction, agent: Agent, ask: Ask) -> None:
    """The hypervisor is forgotten, with all that it was shown as. Raises InUse."""
    if ask.alive(agent.chassis.id):
        by = f"hypervisor {agent.chassis.id} is connected; first take its controller and manager away"
        raise InUse("Agent", agent.id, by)
    bindings.forget(tx, agent.chassis.id)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _alive(scene: Scene, agent: Agent) -> bool:
    return scene.wiring.attendance(agent.chassis.id).alive


def _since(scene: Scene, agent: Agent) -> str | None:
    return _moment(scene.wiring.attendance(agent.chassis.id).since)


def _seen(scene: Scene, agent: Agent) -> str | None:
    return _moment(scene.wiring.attendance(agent.chassis.id).seen)


def _configurations(_: Scene, agent: Agent) -> Json:
    chassis = agent.chassis
    if agent.agent_type == ROUTES:
        return {"agent_mode": "dvr" if chassis.gateway_priority is None else "dvr_snat"}
    return {
        "bridge_mappings": cast("Json", dict(chassis.bridge_mappings)),
        "datapath_type": chassis.datapath_type or "system",
        "integration_bridge": chassis.bridge,
        "tunnel_types": [*chassis.encap_types],
        "tunneling_ip": chassis.encap_ip,
    }


def _text(name: str, field: str = "") -> Attribute[Agent, str]:
    return Attribute(name=name, field=field or name, schema=STRING, filter=Filter(equal()), sort=True)


def _time(name: str, since: bool) -> Attribute[Agent, str | None]:
    return Attribute(name=name, schema=nullable(STRING), show=_since if since else _seen, filter=Filter(equal()))


AGENTS: Collection[Agent] = Collection(
    "agent",
    Agent,
    (
        Attribute(name="id", field="id", schema=schemas.UUID, filter=Filter(equal()), sort=True),
        _text("agent_type"),
        Attribute(
            name="binary",
            schema=STRING,
            show=lambda _, agent: BINARIES[agent.agent_type],
            filter=Filter(equal()),
            sort=True,
        ),
        Attribute(name="topic", schema=STRING, show=lambda *_: "N/A", filter=Filter(equal()), sort=True),
        _text("host"),
        Attribute(
            name="admin_state_up",
            parse=values.boolean,
            put=True,
            field="admin_state_up",
            filter=Filter(equal(values.boolean)),
            sort=True,
        ),
        _time("created_at", since=True),
        _time("started_at", since=True),
        _time("heartbeat_timestamp", since=False),
        Attribute(name="alive", schema=BOOLEAN, show=_alive, filter=Filter(equal(values.boolean))),
        Attribute(
            name="description",
            parse=values.string,
            put=True,
            field="description",
            filter=Filter(equal()),
            sort=True,
        ),
        Attribute(name="configurations", schema=OBJECT, show=_configurations),
        Attribute(
            name="availability_zone",
            schema=STRING,
            show=lambda _, agent: agent.chassis.availability_zone,
            filter=Filter(equal()),
            sort=True,
        ),
    ),
    update=update,
    delete=delete,
    elsewhere=Source(_all, _one),
)

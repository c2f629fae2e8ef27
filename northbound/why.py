"""Why something is not as it should be, in sentences that say what to do (`weft why-down`, `weft why`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from controller.errors import Unplugged
from controller.model import bindings
from controller.model.bindings import Placed, Unplaced
from controller.model.records import ROUTED, Address, Link, Network, Port, Router
from controller.model.store import Rows
from controller.southbound.fleet import Fleet
from controller.southbound.told import State
from northbound import tracing
from northbound.sending import Question, find_port, parsed


def why_down(fleet: Fleet, called: str) -> tuple[Port, list[str]]:
    """A port, by id or name, and why it is not ACTIVE; no reason when it is. Raises NotFound, Ambiguous."""
    port = find_port(fleet.rows, called)
    return port, [*_reasons(fleet, port)]


def _reasons(fleet: Fleet, port: Port) -> Iterator[str]:
    rows = fleet.rows
    network = rows.get(Network, port.network_id)
    if not port.admin_state_up:
        yield "The port is administratively down (admin_state_up is false)."
    if network is not None and not network.admin_state_up:
        yield f"Its network {network.name or network.id} is administratively down."
    if port.device_owner in ROUTED:
        router = rows.get(Router, port.device_id)
        if router is not None and not router.admin_state_up:
            yield f"Its router {router.name or router.id} is administratively down."
        return
    placed = bindings.place(rows, port)
    if isinstance(placed, Unplaced):
        yield _sentence(placed.reason)
        return
    yield from _on(fleet, port, placed)


def _on(fleet: Fleet, port: Port, placed: Placed) -> Iterator[str]:
    """What is wrong with the hypervisor that it is plugged into, or there."""
    status = fleet.status(placed.chassis)
    if status.problem:
        yield f"Hypervisor {placed.chassis}: {status.problem}"
    if status.state not in (State.IN_STEP, State.BEHIND):
        yield f"Hypervisor {placed.chassis} {status.state.value}."
        return
    if fleet.rows.get(Link, f"{placed.chassis}/{placed.interface}") is None:
        yield (
            f"Interface {placed.interface} has no OpenFlow port on {placed.chassis}: "
            f"`ovs-vsctl get Interface {placed.interface} error` there says why."
        )
    elif not fleet.readiness.acknowledged(Port, port.id, placed.chassis):
        refused = len(status.member.refusals)
        more = f"; it refuses {refused} flows, which `weft diff` names" if refused else ""
        yield f"Hypervisor {placed.chassis} has not acknowledged the port's flows yet{more}."


def _sentence(reason: str) -> str:
    return reason[0].upper() + reason[1:] + "."


def why(fleet: Fleet, asked: Question) -> dict[str, Any]:
    """Why two do not reach each other: what is wrong with the ports themselves, then the fate of the packet.

    Raises NotFound, Ambiguous, Invalid.
    """
    sender = None if parsed(asked.sender) else find_port(fleet.rows, asked.sender)
    ports = {port.id: port for port in (sender, _receiver(fleet.rows, sender, asked.target)) if port is not None}
    down = {port.name or port.id: list(_reasons(fleet, port)) for port in ports.values()}
    try:
        fate = tracing.as_json(tracing.trace(fleet.rows, fleet.inspection.standing, asked, fleet.away()))
    except Unplugged as error:
        fate = {"fate": "dropped", "reason": "UNPLUGGED", "sentence": str(error), "hops": []}
    return {"ports": down, **fate}


def _receiver(rows: Rows, sender: Port | None, target: str) -> Port | None:
    """The port that is meant: by id or name, or by an address on the sender's own network, if that is a port."""
    try:
        address = Address(str(ip_address(target)))
    except ValueError:
        return find_port(rows, target)
    found = rows.where(Port, reservations=(sender.network_id, address)) if sender else ()
    return found[0] if found else None


def told(answer: Mapping[str, Any]) -> Iterator[str]:
    """What `weft why` prints; the last line is the fate, as that of `weft trace`."""
    for name, reasons in answer["ports"].items():
        for reason in reasons:
            yield f"{name}: {reason}"
    if answer["fate"] != "delivered" and answer["hops"]:
        last = answer["hops"][-1]
        yield f"on {last['chassis']}, table {last['table']}: {last['words']}"
    yield tracing.fate(answer)

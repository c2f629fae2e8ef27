"""What of the model works by now: a port, a floating IP, a way out; as far as switches have acknowledged it.

The Networking API reads its statuses here (`northbound.resources.attributes.Wiring`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from controller.errors import NotFound
from controller.flows.engine import Engine
from controller.flows.ways_out import floating_translation, gateways, translated, zone_of
from controller.model import bindings
from controller.model.bindings import Attendance, Placed
from controller.model.records import FLOATING, ROUTED, FloatingIp, Link, Network, Port, Record, Router
from controller.model.store import Store
from controller.model.view import View
from controller.southbound.member import Members
from controller.southbound.told import Outside


class Readiness:
    """How far the switches are with what records want."""

    def __init__(self, store: Store, engine: Engine, members: Members) -> None:
        self._store, self._engine, self._members = store, engine, members

    def port_status(self, port: Port) -> str:
        """ACTIVE when the port's host has acknowledged the revision that wired it, else DOWN (api-ref, Show port).

        A router's port is on no host: it is ACTIVE while its router is up. That of a floating IP has no status.
        """
        model = self._store.model
        if port.device_owner == FLOATING and model.get(FloatingIp, port.device_id):
            return "N/A"
        network = model.get(Network, port.network_id)
        if not port.admin_state_up or not network or not network.admin_state_up:
            return "DOWN"
        if port.device_owner in ROUTED and (router := model.get(Router, port.device_id)):
            return "ACTIVE" if router.admin_state_up else "DOWN"
        placed = bindings.place(model, port)
        if not isinstance(placed, Placed):
            return "DOWN"
        linked = model.get(Link, f"{placed.chassis}/{placed.interface}") is not None
        return "ACTIVE" if linked and self.acknowledged(Port, port.id, placed.chassis) else "DOWN"

    def acknowledged(self, kind: type[Record], id: str, chassis: str) -> bool:
        """Has a switch what a record wants on it? Not if it wants nothing there."""
        self._store.tell()
        member, wired = self._members.get(chassis), self._engine.wired(kind, id, chassis)
        if member is None or member.applied_revision is None or wired is None:
            return False
        return member.applied_revision == member.revision or wired <= member.applied_revision

    def attendance(self, chassis: str) -> Attendance:
        """Whether the switch of a hypervisor is connected, since when, and when it was last."""
        member = self._members.get(chassis)
        if member is None:
            return Attendance()
        alive = member.switch is not None
        return Attendance(alive, member.since, time.time() if alive else member.seen)

    def floatingip_status(self, floating_ip: FloatingIp) -> str:
        """ACTIVE when it stands for something, and who translates it has acknowledged the revision that says so, else
        DOWN (api-ref, Show floating IP details)."""
        view = self._view
        active = self._active(view.derive(translated, floating_ip.id).chassis)
        if active is None or zone_of(view, active, floating_translation(floating_ip)) is None:
            return "DOWN"
        return "ACTIVE" if self.acknowledged(FloatingIp, floating_ip.id, active) else "DOWN"

    def gateways(self, router_id: str) -> Outside:
        """Where a router's packets go out. Raises NotFound."""
        if self._store.model.get(Router, router_id) is None:
            raise NotFound("Router", router_id)
        ranked = self._view.derive(gateways, router_id)
        return Outside(ranked, self._active(ranked))

    def translated(self, floating_ip: str) -> Outside:
        """Where a floating IP is translated. Raises NotFound."""
        if self._store.model.get(FloatingIp, floating_ip) is None:
            raise NotFound("FloatingIp", floating_ip)
        where = self._view.derive(translated, floating_ip)
        return Outside(where.chassis, self._active(where.chassis), where.distributed)

    def _active(self, ranked: Sequence[str]) -> str | None:
        """The best of those that are connected: hypervisors themselves look who is alive, and may see more."""
        return next((name for name in ranked if self._members.of(name).switch is not None), None)

    @property
    def _view(self) -> View:
        self._store.tell()
        return View(self._store.model, self._engine)

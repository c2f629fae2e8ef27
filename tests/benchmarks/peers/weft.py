"""Weft, asked by its HTTP API: in bulk where the API has it, over several connections where it is asked for much."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

from mininet_scenarios.errors import Late, Refused
from mininet_scenarios.lab import Lab
from mininet_scenarios.machines import BRIDGE
from mininet_scenarios.nodes import API_PORT
from tests.benchmarks.peers.driver import (
    GUESTS,
    LATE,
    MANAGEMENT,
    MTU,
    NETWORKS,
    OUTSIDE,
    OUTSIDE_CIDR,
    PHYSICAL,
    SSH,
    Change,
    Dummied,
    Peer,
    Spot,
    gateway,
    halves,
    own,
    spots,
)

Json: TypeAlias = dict[str, Any]

ANSWER_S = 110.0
CONNECTIONS = 8
"""So many requests are under way at a time, where many are made."""
PORTS_AT_ONCE = 1000
"""So many ports one request makes."""
LOOK_S, LOOK_LONG_S = 0.0005, 0.05
"""How far apart to ask whether all is done, of what takes milliseconds, and of what takes seconds."""


class Session:
    """One connection to the API, opened anew when it breaks."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=ANSWER_S)

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """What is answered. Raises Refused, OSError."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise OSError(str(error)) from error
        if answer.status >= 400:
            raise Refused(method, path, answer.status, text.decode(errors="replace"))
        found: Json = json.loads(text) if text else {}
        return found

    def make(self, name: str, several: Sequence[Json]) -> list[Json]:
        """Make several of a resource at once."""
        path = f"/v2.0/{name.replace('_', '-')}s"
        made: list[Json] = self.ask("POST", path, {f"{name}s": several})[f"{name}s"]
        return made


class WeftLab(Lab):
    """A lab in which nobody asks after thousands of ports."""

    hypervisor_type = Dummied

    def lagging(self) -> str:
        """What is not yet as the model wants it, but for the ports."""
        rows = self.chassis()
        lacking = {*self.hypervisors} - rows.keys()
        return " ".join((*lacking, *(name for name, row in rows.items() if behind(row))))


def behind(row: Json) -> bool:
    """Whether a chassis does not hold what it should."""
    return bool(row["problem"]) or not row["connected"] or row["revision"] != row["applied_revision"]


class Weft(Peer):
    """`weft serve`, as shipped, with its store on disk."""

    name = "weft"

    def __init__(self, serve: Sequence[str] = ()) -> None:
        super().__init__()
        self.lab = WeftLab(hypervisors=2, encaps="geneve", serve=serve)
        self._sessions = threading.local()
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._ports: dict[str, str] = {}
        self._rules: dict[int, str] = {}
        self._floating: dict[Spot, str] = {}
        self._networks: dict[tuple[int, int], str] = {}
        self._subnets: dict[tuple[int, int], str] = {}
        self._groups: list[str] = []
        self._rows: dict[str, list[object]] = {}

    @property
    def _session(self) -> Session:
        """This thread's."""
        if not hasattr(self._sessions, "own"):
            self._sessions.own = Session()
        session: Session = self._sessions.own
        return session

    # ---- before

    def prepare(self) -> None:
        """Make the outside network."""
        wanted = {
            "name": "outside",
            "router:external": True,
            "provider:network_type": "flat",
            "provider:physical_network": PHYSICAL,
            "mtu": MTU,
        }
        (network,) = self._session.make("network", [wanted])
        self._outside: str = network["id"]
        subnet = {"network_id": self._outside, "ip_version": 4, "cidr": OUTSIDE_CIDR, "gateway_ip": OUTSIDE}
        self._session.make("subnet", [{**subnet, "enable_dhcp": False}])

    def plug(self, tenants: int, bound: bool) -> None:
        """Put interfaces on the bridges, nobody's yet: what a port's id will be is known when it is made."""
        for guest in self.guests.values():
            guest.hypervisor.vsctl("add-port", BRIDGE, guest.tap)
        if bound:
            for name, half in halves(tenants).items():
                self._rows[name] = self.dummies[name].plug([f"d{n}" for n in range(len(half))])
        self._late = self._row("late")

    def _row(self, name: str) -> object:
        guest = self.guests[name]
        return self.dummies[guest.hypervisor.name].row(guest)

    # ---- the model

    def build(self, tenants: int, bound: bool) -> None:
        """Ask for each kind of resource at once, and for kinds that need nothing of each other side by side."""
        self.tenants = tenants
        every = range(tenants)
        each = [(tenant, network) for tenant in every for network in range(NETWORKS)]
        networks, groups = self._together(
            [
                partial(self._make, "network", [self._network(*one) for one in each]),
                partial(self._make, "security_group", [{"name": "all", "project_id": f"t{one}"} for one in every]),
            ]
        )
        self._networks = {one: made["id"] for one, made in zip(each, networks, strict=True)}
        self._groups = [group["id"] for group in groups]
        subnets, routers, *_ = self._together(
            [
                partial(self._make, "subnet", [self._subnet(*one) for one in each]),
                partial(self._make, "router", [*map(self._router, every)]),
                # one request may have rules of one group
                *(partial(self._make, "security_group_rule", [*self._first_rules(one)]) for one in every),
            ]
        )
        self._subnets = {one: made["id"] for one, made in zip(each, subnets, strict=True)}
        wanted = [spot for tenant in every for spot in spots(tenant)]
        rows = self._claims(tenants, bound)
        batches = [wanted[start : start + PORTS_AT_ONCE] for start in range(0, len(wanted), PORTS_AT_ONCE)]
        self._together(
            [
                *(partial(self._interface, routers[tenant], subnet) for (tenant, _), subnet in self._subnets.items()),
                *(partial(self._make_ports, batch, rows) for batch in batches),
            ]
        )
        firsts = [Spot(tenant, 0, 0) for tenant in every]
        for spot, made in zip(firsts, self._make("floatingip", [*map(self._floating_ip, firsts)]), strict=True):
            self._floating[spot] = made["id"]

    def _together(self, asks: Iterable[Callable[[], list[Json]]]) -> list[list[Json]]:
        """Ask over several connections at once; the answers in order."""
        return [*self._pool.map(lambda ask: ask(), asks)]

    def _make(self, name: str, several: Sequence[Json]) -> list[Json]:
        return self._session.make(name, several)

    def _interface(self, router: Json, subnet: str) -> list[Json]:
        path = f"/v2.0/routers/{router['id']}/add_router_interface"
        return [self._session.ask("PUT", path, {"subnet_id": subnet})]

    def _claims(self, tenants: int, bound: bool) -> dict[Spot, tuple[str, object]]:
        """The interfaces of ports: on which hypervisor, and the UUIDs of their rows."""
        rows = {spot: (on, self._row(guest)) for guest, (on, spot) in GUESTS.items()}
        for name, half in halves(tenants).items() if bound else ():
            rows |= {spot: (name, row) for spot, row in zip(half, self._rows[name], strict=True)}
        return rows

    def _make_ports(self, some: Sequence[Spot], rows: Mapping[Spot, tuple[str, object]]) -> list[Json]:
        """Make ports, and claim their interfaces now that they have ids."""
        found = self._make("port", [*map(self._port, some)])
        ids = {spot: made["id"] for spot, made in zip(some, found, strict=True)}
        self._ports.update((spot.name, id) for spot, id in ids.items())
        for name, dummies in self.dummies.items():
            here = [spot for spot in some if spot in rows and rows[spot][0] == name]
            dummies.claim([rows[spot][1] for spot in here], [ids[spot] for spot in here])
        return found

    def _network(self, tenant: int, network: int) -> Json:
        named = {"name": f"t{tenant}-n{network}", "project_id": f"t{tenant}"}
        return {**named, "provider:network_type": "geneve", "mtu": MTU}

    def _subnet(self, tenant: int, network: int) -> Json:
        where = {"network_id": self._networks[tenant, network], "cidr": f"10.0.{network}.0/24", "ip_version": 4}
        return {**where, "project_id": f"t{tenant}", "gateway_ip": gateway(network), "enable_dhcp": False}

    def _first_rules(self, tenant: int) -> Iterator[Json]:
        """Those that a group is not born with: that lets out all of IPv4, and of IPv6."""
        ssh = {"protocol": "tcp", "port_range_min": SSH, "port_range_max": SSH}
        for prefix in MANAGEMENT:
            yield self._rule(tenant, remote_ip_prefix=prefix, **ssh)
        yield self._rule(tenant, protocol="icmp")
        yield self._rule(tenant, remote_group_id=self._groups[tenant])

    def _rule(self, tenant: int, **attributes: object) -> Json:
        where = {"security_group_id": self._groups[tenant], "project_id": f"t{tenant}"}
        return {**where, "direction": "ingress", "ethertype": "IPv4", **attributes}

    def _router(self, tenant: int) -> Json:
        out = {"network_id": self._outside, "external_fixed_ips": [{"ip_address": own(tenant)}]}
        return {"name": "r", "project_id": f"t{tenant}", "external_gateway_info": out}

    def _port(self, spot: Spot, name: str = "") -> Json:
        place = spot.tenant, spot.network
        return {
            "name": name or spot.name,
            "project_id": f"t{spot.tenant}",
            "network_id": self._networks[place],
            "fixed_ips": [{"subnet_id": self._subnets[place], "ip_address": spot.ip}],
            "mac_address": spot.mac,
            "security_groups": [self._groups[spot.tenant]],
        }

    def _floating_ip(self, spot: Spot) -> Json:
        return {
            "project_id": f"t{spot.tenant}",
            "floating_network_id": self._outside,
            "floating_ip_address": spot.floating,
            "port_id": self._ports[spot.name],
        }

    def settled(self, timeout_s: float) -> None:
        """Wait until every switch has acknowledged the newest revision."""
        self._wait("All changes on all switches", self._lagging, timeout_s)

    def _lagging(self) -> str:
        rows = {row["name"]: row for row in self._session.ask("GET", "/v1/chassis")["chassis"]}
        lacking = [name for name in self.lab.hypervisors if name not in rows or behind(rows[name])]
        return " ".join(lacking)

    def active(self, timeout_s: float, ports: int) -> None:
        """Wait until so many ports are ACTIVE, which is only asked, since it takes a while, when all switches are done."""
        query = "/v2.0/ports?status=ACTIVE&device_owner=&fields=id"

        def lacking() -> str:
            if behind := self._lagging():
                return behind
            found = len(self._session.ask("GET", query)["ports"])
            return "" if found >= ports else f"{found} of {ports} are ACTIVE"

        self._wait("Ports that are ACTIVE", lacking, timeout_s)

    def _wait(self, what: str, lacking: Callable[[], str], timeout_s: float) -> None:
        """Look often at first, and less often at what takes long: looking is not free."""
        began = time.monotonic()
        while missing := self._looked(lacking):
            waited = time.monotonic() - began
            if waited > timeout_s:
                raise Late(what, timeout_s, missing)
            time.sleep(min(max(LOOK_S, waited / 20), LOOK_LONG_S))

    def _looked(self, lacking: Callable[[], str]) -> str:
        try:
            return lacking()
        except OSError as error:  # it is being restarted
            return str(error)

    # ---- single changes

    def add_port(self, spot: Spot, name: str = "") -> Change:
        """A port."""
        wanted = self._port(spot, name)

        def ask() -> None:
            self._ports[name or spot.name] = self._session.ask("POST", "/v2.0/ports", {"port": wanted})["port"]["id"]

        return ask

    def remove_port(self, spot: Spot, name: str = "") -> Change:
        """That port no more."""
        return self._deletion(f"/v2.0/ports/{self._ports.pop(name or spot.name)}")

    def add_rule(self, tenant: int, port: int) -> Change:
        """A rule."""
        wanted = self._rule(tenant, protocol="tcp", port_range_min=port, port_range_max=port)

        def ask() -> None:
            made = self._session.ask("POST", "/v2.0/security-group-rules", {"security_group_rule": wanted})
            self._rules[port] = made["security_group_rule"]["id"]

        return ask

    def remove_rule(self, tenant: int, port: int) -> Change:
        """That rule no more."""
        return self._deletion(f"/v2.0/security-group-rules/{self._rules.pop(port)}")

    def join(self, spot: Spot) -> Change:
        """Its group alone."""
        return self._update(spot, security_groups=[self._groups[spot.tenant]])

    def leave(self, spot: Spot) -> Change:
        """No group, which lets nothing in."""
        return self._update(spot, security_groups=[])

    def _update(self, spot: Spot, **attributes: object) -> Change:
        path = f"/v2.0/ports/{self._ports[spot.name]}"
        return lambda: void(self._session.ask("PUT", path, {"port": attributes}))

    def _deletion(self, path: str) -> Change:
        return lambda: void(self._session.ask("DELETE", path))

    def add_floating(self, spot: Spot) -> Change:
        """A floating IP."""
        wanted = self._floating_ip(spot)

        def ask() -> None:
            made = self._session.ask("POST", "/v2.0/floatingips", {"floatingip": wanted})
            self._floating[spot] = made["floatingip"]["id"]

        return ask

    def remove_floating(self, spot: Spot) -> Change:
        """That floating IP no more."""
        return self._deletion(f"/v2.0/floatingips/{self._floating.pop(spot)}")

    # ---- a guest whose port is made while it waits

    def ready(self, name: str) -> None:
        """The interface waits on the bridge; whose it is is not known before the port has an id."""

    def appear(self, name: str) -> Change:
        """Make the port, and say that the interface is its."""
        make = self.add_port(LATE, name)

        def ask() -> None:
            make()
            self.claim(name)()

        return ask

    def key(self, name: str) -> str:
        """Its id."""
        return self._ports[name]

    # ---- faults, and what runs

    def kill(self) -> None:
        """kill -9 of `weft serve`."""
        self.lab.controller.kill()

    def revive(self) -> None:
        """Start it again."""
        self.lab.controller.launch()

    def processes(self) -> dict[str, int]:
        """The controller, and Open vSwitch."""
        daemon = self.lab.controller.daemon
        databases = {f"{name} ovsdb": each.database.pid for name, each in self.lab.hypervisors.items()}
        return {**({"controller": daemon.pid} if daemon else {}), **databases, **self.switches()}


def void(_answer: Mapping[str, object]) -> None:
    """An answer that nobody needs."""

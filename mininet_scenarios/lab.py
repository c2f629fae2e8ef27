"""The lab: hypervisors with real Open vSwitch, guests, and a running controller, in a private network.

    with Lab(hypervisors=2) as lab:
        red = lab.network("red", cidr="10.0.0.0/24", project="a", type="vxlan")
        vm1 = lab.guest("vm1", network=red, on="hv1", ip="10.0.0.11", mac="02:00:00:00:00:01")
        vm2 = lab.guest("vm2", network=red, on="hv2", ip="10.0.0.12", mac="02:00:00:00:00:02")
        lab.converged()
        assert vm1.pings(vm2)
        lab.settles()

Everything the lab knows of the controller is its contract: the command line, the HTTP API, the one `ovs-vsctl`
command by which a hypervisor joins, the `iface-id` by which a guest is plugged. Every wait is bounded, and says what
was lacking. Nothing outlives the lab; its directory (logs, stores) does when WEFT_LAB_KEEP is set.

Limits: guests have static addresses; the underlay is IPv4, or IPv6, not both.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from mininet_scenarios import traced
from mininet_scenarios.api import Api, Json
from mininet_scenarios.captures import Ear, Heard
from mininet_scenarios.errors import Late, Unsettled
from mininet_scenarios.hosts import Guest, Host
from mininet_scenarios.machines import MANAGEMENT, UNDERLAYS, Hypervisor, Physical
from mininet_scenarios.nodes import CONTROLLER, Controller, Node, Underlay
from mininet_scenarios.processes import private_network, require_tools, wait_until
from mininet_scenarios.stock import empty_topology

_QUOTAS = "network=-1,router=-1,security_group=-1,security_group_rule=-1"
"""Of these a project may have any number: the scenarios of a module share a lab and its projects."""
_LISTS = {kind: f"/v2.0/{kind}s" for kind in ("network", "port", "router", "floatingip")}
_LISTS |= {"securitygroup": "/v2.0/security-groups", "securitygrouprule": "/v2.0/security-group-rules"}
"""Where the objects are that flows are explained by."""
_INNER = {"bundle", "policy", "neighbour", "address"}
"""What flows are explained by that is no object of the API, but stands for some."""
_NO_GROUP = ("policy", "none")
"""What stands for all ports without a security group."""
_TRACED = int(os.environ.get("WEFT_TRACED", "3"))
"""How many packets are traced, here and by Open vSwitch, whenever a lab settles."""
_TRACE_S = 0.08
"""What one of them may take on the average: then there are fewer."""
_PROVEN = os.environ.get("WEFT_PROVEN", "") == "1"
"""Is everything proven whenever a lab settles? It takes seconds, and more with gateways."""
_PROOF_S = 300.0
_WAYS_S = 0.5  # how long a peer may take to be heard of: it is called at once, and after 0.1 s and 0.3 s more (`paths`)
_LINGER_S = 0.3  # how long a capture waits for what was on its way when its block ended


class Place(Protocol):
    """Somewhere to listen: a guest, or the underlay."""

    def ear(self, expression: str = "") -> Ear:
        """Start to listen for what a tcpdump expression names."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet, as the API made it."""

    id: str
    cidr: str
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """A network and its subnets, as the API made them."""

    id: str
    name: str
    project: str
    subnets: tuple[Subnet, ...]
    mtu: int
    segment: int | None

    def of(self, address: str) -> Subnet:
        """The subnet that an address is on."""
        ip = ipaddress.ip_address(address)
        return next(subnet for subnet in self.subnets if ip in ipaddress.ip_network(subnet.cidr))

    def __str__(self) -> str:
        return self.name


def _several(one_or_more: str | Sequence[str]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)


class Lab:
    """A running lab; use it as a context manager.

    `encaps` is the `weft-encap-type` that hypervisors join with, `serve` are further options of `weft serve`. Another
    controller can be put in its place by subclasses: `controller_type` and `hypervisor_type` are its nodes.
    """

    compared: ClassVar[Counter[str]] = Counter()
    """How many packets all labs have traced beside Open vSwitch when they settled, in how many stages, and how long."""
    controller_type: type[Controller] = Controller
    hypervisor_type: type[Hypervisor] = Hypervisor

    def __init__(
        self,
        hypervisors: int = 2,
        *,
        encaps: str = "geneve,vxlan",
        underlay_ip_version: int = 4,
        serve: Sequence[str] = (),
    ) -> None:
        self._names = [f"hv{number}" for number in range(1, hypervisors + 1)]
        self._encaps, self._underlay = encaps, UNDERLAYS[underlay_ip_version]
        self._serve = ("--underlay-ip-version", str(underlay_ip_version), "--quotas", _QUOTAS, *serve)
        self._stack = ExitStack()
        self.hypervisors: dict[str, Hypervisor] = {}
        self.guests: dict[str, Guest] = {}
        self.hosts: dict[str, Host] = {}
        self._priorities: dict[str, int | None] = {}
        self.physicals: dict[str, Physical] = {}
        self._settled: Counter[str] = Counter()

    def __enter__(self) -> Self:
        require_tools()
        with ExitStack() as stack:
            self.directory = Path(tempfile.mkdtemp(prefix="weft-lab-"))
            if not os.environ.get("WEFT_LAB_KEEP"):
                stack.callback(shutil.rmtree, self.directory)
            stack.enter_context(private_network())
            self.net = empty_topology()
            stack.callback(self._terminate)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.controller: Controller = self._node(self.controller_type, "c0", self.net.controllers, inNamespace=False)
        self.controller.prepare(self.directory, self._serve)
        self.controller.launch()
        self.controller.ip_batch(
            "link add management type bridge forward_delay 0",
            f"addr add {CONTROLLER}/24 dev management",
            "link set management up",
        )
        self.underlay: Underlay = self._node(Underlay, "underlay", self.net.switches)
        for name in self._names:  # in stages, so that they start side by side
            self._assemble(name)
        for hypervisor in self.hypervisors.values():
            hypervisor.start_switch()
        for hypervisor in self.hypervisors.values():
            hypervisor.connect_underlay()
        self.controller.ready()
        for hypervisor in self.hypervisors.values():
            hypervisor.join()
        self.converged()

    def _terminate(self) -> None:
        """End every node; one that does not end well does not keep the others alive."""
        with ExitStack() as stack:
            for node in self.net.values():
                stack.callback(node.terminate)

    def _node(self, cls: type[Any], name: str, kind: list[Node], **params: object) -> Any:
        node = cls(name, **params)
        kind.append(node)
        self.net.nameToNode[name] = node
        return node

    def _assemble(self, name: str) -> Hypervisor:
        hypervisor: Hypervisor = self._node(self.hypervisor_type, name, self.net.switches)
        self.net.addLink(hypervisor, self.controller, intfName1="mgmt0", intfName2=f"m-{name}")
        self.net.addLink(hypervisor, self.underlay, intfName1="phy0", intfName2=f"u-{name}")
        self.controller.ip_batch(f"link set m-{name} master management up")
        self.underlay.attach(f"u-{name}")
        self.hypervisors[name] = hypervisor
        hypervisor.encaps, hypervisor.underlay = self._encaps, self._underlay
        hypervisor.prepare(len(self.hypervisors), self.directory / name)
        return hypervisor

    @property
    def api(self) -> Api:
        """The controller's API."""
        return self.controller.api

    def hypervisor(self, name: str) -> Hypervisor:
        """Add a hypervisor that is yet to `join()`: `converged()` waits for that."""
        hypervisor = self._assemble(name)
        hypervisor.start_switch()
        hypervisor.connect_underlay()
        return hypervisor

    def physical(self, name: str, on: Sequence[str] | None = None) -> Physical:
        """Make a physical network, and map a bridge with a wire into it on all hypervisors, or on some."""
        physical: Physical = self._node(Physical, name, self.net.switches)
        physical.prepare(self.directory / name)
        self.physicals[name] = physical
        for hypervisor in self.hypervisors if on is None else on:
            self.wire(hypervisor, physical)
        return physical

    def wire(self, hypervisor: str, physical: Physical) -> None:
        """Map a bridge of a hypervisor, with a wire into a physical network, to that."""
        node, number = self.hypervisors[hypervisor], len(self.hypervisors[hypervisor].mapped)
        self.net.addLink(node, physical, intfName1=f"ext{number}", intfName2=f"p-{hypervisor}")
        physical.attach(f"p-{hypervisor}", trunk=True)
        node.map(physical.name, f"ext{number}")

    def host(
        self,
        name: str,
        *,
        on: Physical,
        ip: str | Sequence[str],
        mac: str,
        vlan: int | None = None,
        gateways: Sequence[str] = (),
        mtu: int = 1500,
    ) -> Host:
        """Start a machine on a physical network that Weft knows nothing of; addresses have a prefix length."""
        host: Host = self._node(Host, name, self.net.hosts)
        host.directory = self.directory
        self.net.addLink(host, on, intfName1="eth0", intfName2=f"p-{name}")
        on.attach(f"p-{name}", vlan)
        host.boot(_several(ip), mac, mtu)
        host.routes(gateways)
        self.hosts[name] = host
        return host

    def stranger(self, name: str) -> Node:
        """A machine in the management network that is no hypervisor."""
        node: Node = self._node(Node, name, self.net.hosts)
        self.net.addLink(node, self.controller, intfName1="mgmt0", intfName2=f"m-{name}")
        self.controller.ip_batch(f"link set m-{name} master management up")
        node.ip_batch(f"addr add {MANAGEMENT}{200 + len(self.net.hosts)}/24 dev mgmt0", "link set mgmt0 up")
        return node

    def network(
        self,
        name: str,
        *,
        cidr: str | Sequence[str],
        project: str,
        type: str = "vxlan",
        gateways: bool = False,
        **attributes: object,
    ) -> Network:
        """Make a network with a subnet, or several, for a project; `gateways`: their first addresses."""
        wanted = {"name": name, "project_id": project, "provider:network_type": type, **attributes}
        made = self.api.post("/v2.0/networks", {"network": wanted})["network"]
        wanted_subnets = [
            {
                "name": name,
                "project_id": project,
                "network_id": made["id"],
                "cidr": each,
                "ip_version": ipaddress.ip_network(each).version,
                "gateway_ip": str(next(ipaddress.ip_network(each).hosts())) if gateways else None,
                "enable_dhcp": False,
            }
            for each in _several(cidr)
        ]
        return self.adopt(made, *self.api.post("/v2.0/subnets", {"subnets": wanted_subnets})["subnets"])

    def adopt(self, network: Json, *subnets: Json) -> Network:
        """A network that somebody else made."""
        return Network(
            id=network["id"],
            name=network["name"],
            project=network.get("project_id") or "",
            subnets=tuple(Subnet(subnet["id"], subnet["cidr"], subnet["gateway_ip"]) for subnet in subnets),
            mtu=network["mtu"],
            segment=network["provider:segmentation_id"],
        )

    def port(self, name: str, *, network: Network, ip: str | Sequence[str], mac: str, **attributes: object) -> Json:
        """Make a port over HTTP."""
        wanted = {
            "name": name,
            "project_id": network.project,
            "network_id": network.id,
            "fixed_ips": [{"subnet_id": network.of(each).id, "ip_address": each} for each in _several(ip)],
            "mac_address": mac,
            **attributes,
        }
        made: Json = self.api.post("/v2.0/ports", {"port": wanted})["port"]
        return made

    def router(self, name: str, *networks: Network, project: str, **attributes: object) -> Json:
        """Make a router with an interface on each subnet of these networks, over HTTP."""
        wanted = {"name": name, "project_id": project, **attributes}
        made: Json = self.api.post("/v2.0/routers", {"router": wanted})["router"]
        for network in networks:
            self.join(made, *network.subnets)
        return made

    def join(self, router: Json, *subnets: Subnet) -> None:
        """Give a router the gateway addresses of subnets."""
        for subnet in subnets:
            self.api.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet.id})

    def part(self, router: Json, *subnets: Subnet) -> None:
        """Take a router's interfaces on subnets away."""
        for subnet in subnets:
            self.api.put(f"/v2.0/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet.id})

    def external(self, name: str, *, physical: Physical, cidr: str | Sequence[str], **attributes: object) -> Network:
        """Make an external network, flat on a physical network; its gateways are the first addresses."""
        wanted: dict[str, Any] = {"provider:physical_network": physical.name, "router:external": True, **attributes}
        return self.network(name, cidr=cidr, project="provider", type="flat", gateways=True, **wanted)

    def way_out(self, router: Json, network: Network, *addresses: str, **attributes: object) -> Json:
        """Give a router a gateway on an external network, with some addresses or any."""
        fixed = [{"subnet_id": network.of(each).id, "ip_address": each} for each in addresses]
        wanted = {"network_id": network.id, **({"external_fixed_ips": fixed} if fixed else {}), **attributes}
        body = {"router": {"external_gateway_info": wanted}}
        changed: Json = self.api.put(f"/v2.0/routers/{router['id']}", body)["router"]
        return changed

    def floating_ip(self, network: Network, address: str, guest: Guest | None = None, **attributes: object) -> Json:
        """Make a floating IP, for a guest or for nobody yet."""
        wanted = {
            "floating_network_id": network.id,
            "floating_ip_address": address,
            "port_id": guest and guest.port_id,
            **attributes,
        }
        made: Json = self.api.post("/v2.0/floatingips", {"floatingip": wanted})["floatingip"]
        return made

    def associate(self, floating_ip: Json, guest: Guest | None, **attributes: object) -> Json:
        """Let a floating IP stand for a guest, or for nobody."""
        wanted = {"port_id": guest and guest.port_id, **attributes}
        changed: Json = self.api.put(f"/v2.0/floatingips/{floating_ip['id']}", {"floatingip": wanted})["floatingip"]
        return changed

    def forward(
        self, floating_ip: Json, protocol: str, ports: tuple[int, int], guest: Guest, to: tuple[int, int]
    ) -> Json:
        """Let ports of a floating IP, from the first to the last, stand for those of a guest."""
        wanted = {
            "protocol": protocol,
            "external_port_range": "{}:{}".format(*ports),
            "internal_port_range": "{}:{}".format(*to),
            "internal_ip_address": guest.ip,
            "internal_port_id": guest.port_id,
        }
        path = f"/v2.0/floatingips/{floating_ip['id']}/port_forwardings"
        made: Json = self.api.post(path, {"port_forwarding": wanted})["port_forwarding"]
        return made

    def announced(self, physical: Physical, address: str, on: str, timeout_s: float = 2.0) -> None:
        """Wait until a flat physical network knows that a floating IP is at a hypervisor.

        It is told there once the switches have what it takes, and sends to where the address was until then.
        """
        query = f"device_owner=network:floatingip&fixed_ips=ip_address%3D{address}"
        (port,) = self.api.get(f"/v2.0/ports?{query}")["ports"]
        where = (0, port["mac_address"])
        self.eventually(f"{address} at {on}", lambda: physical.learnt().get(where) == on, timeout_s)

    def gateways(self, *priorities: int | None) -> None:
        """Set the `weft-gateway-priority` of the hypervisors, in order; None is no gateway."""
        self._priorities = dict(zip(self.hypervisors, priorities, strict=True))
        for name, priority in self._priorities.items():
            self.hypervisors[name].priority(priority)

    def group(self, name: str, *, project: str, born: bool = True, **attributes: object) -> Json:
        """Make a security group; unless `born`, without the rules it is born with, which let all out."""
        wanted = {"name": name, "project_id": project, **attributes}
        made: Json = self.api.post("/v2.0/security-groups", {"security_group": wanted})["security_group"]
        for rule in () if born else made["security_group_rules"]:
            self.remove(rule)
        return made

    def default_group(self, project: str) -> Json:
        """The default group of a project."""
        found: list[Json] = self.api.get(f"/v2.0/security-groups?name=default&project_id={project}")["security_groups"]
        return found[0]

    def rule(
        self,
        group: Json,
        direction: str = "ingress",
        *,
        ethertype: str = "IPv4",
        protocol: str | int | None = None,
        ports: int | tuple[int, int] | None = None,
        prefix: str | None = None,
        remote: Json | None = None,
        address_group: Json | None = None,
        **attributes: object,
    ) -> Json:
        """Make a rule of a security group; one port alone is a range, `remote` is a group."""
        low, high = (ports, ports) if isinstance(ports, int) else ports or (None, None)
        wanted = {
            "security_group_id": group["id"],
            "project_id": group["project_id"],
            "direction": direction,
            "ethertype": ethertype,
            "protocol": protocol,
            "port_range_min": low,
            "port_range_max": high,
            "remote_ip_prefix": prefix,
            "remote_group_id": remote and remote["id"],
            "remote_address_group_id": address_group and address_group["id"],
            **attributes,
        }
        made: Json = self.api.post("/v2.0/security-group-rules", {"security_group_rule": wanted})["security_group_rule"]
        return made

    def remove(self, rule: Json) -> None:
        """Delete a rule of a security group."""
        self.api.delete(f"/v2.0/security-group-rules/{rule['id']}")

    def address_group(self, name: str, *addresses: str, project: str) -> Json:
        """Make an address group."""
        wanted = {"name": name, "project_id": project, "addresses": addresses}
        made: Json = self.api.post("/v2.0/address-groups", {"address_group": wanted})["address_group"]
        return made

    def change(self, guest: Guest, **attributes: object) -> Json:
        """Change attributes of a guest's port."""
        changed: Json = self.api.put(f"/v2.0/ports/{guest.port_id}", {"port": attributes})["port"]
        return changed

    def regroup(self, guest: Guest, *groups: Json) -> Json:
        """Put a guest's port into these security groups and no others."""
        return self.change(guest, security_groups=[group["id"] for group in groups])

    def guest(
        self,
        name: str,
        *,
        network: Network,
        on: str,
        ip: str | Sequence[str],
        mac: str,
        port: Json | None = None,
        plug: bool = True,
        **attributes: object,
    ) -> Guest:
        """Start a guest on a hypervisor, with a port made for it unless it is given, and plug it."""
        made = port or self.port(name, network=network, ip=ip, mac=mac, **attributes)
        guest = self.machine(name, network=network, on=on, ip=ip, mac=mac, port_id=made["id"])
        if plug:
            guest.plug()
        return guest

    def machine(
        self,
        name: str,
        *,
        network: Network,
        on: str,
        ip: str | Sequence[str],
        mac: str,
        port_id: str | None = None,
    ) -> Guest:
        """Start a guest, unplugged, perhaps for a port that is made later; with IPv6 if it has such an address."""
        guest: Guest = self._node(Guest, name, self.net.hosts)
        guest.hypervisor, guest.network_id = self.hypervisors[on], network.id
        guest.directory = guest.hypervisor.directory
        guest.port_id = port_id or str(uuid.uuid4())
        guest.tap = f"tap{guest.port_id[:11]}"  # as Nova names it
        self.net.addLink(guest, guest.hypervisor, intfName1="eth0", intfName2=guest.tap)
        guest.boot([f"{each}/{network.of(each).cidr.partition('/')[2]}" for each in _several(ip)], mac, network.mtu)
        guest.routes({gateway for each in _several(ip) if (gateway := network.of(each).gateway)})
        self.guests[name] = guest
        return guest

    def behind(self, host: Host, name: str, *, ip: str, gateway: str, mac: str, mtu: int = 1500) -> Host:
        """Start a machine that a host forwards for; the host has the gateway's address there."""
        other: Host = self._node(Host, name, self.net.hosts)
        other.directory = self.directory
        self.net.addLink(other, host, intfName1="eth0", intfName2="eth1")
        length = ip.partition("/")[2]
        host.ip_batch(f"addr add {gateway}/{length} dev eth1", f"link set eth1 mtu {mtu} up")
        host.sysctl("ipv6/conf/all/forwarding" if ":" in ip else "ipv4/ip_forward", 1)
        other.boot([ip], mac, mtu)
        other.routes([gateway])
        self.hosts[name] = other
        return other

    def gateways_alive(self) -> None:
        """Wait until every hypervisor finds all gateways alive, and they are ranked as they are wanted.

        For labs in which every hypervisor has a guest behind a gateway, or is one.
        """

        def lacking() -> str:
            rows = self.chassis()
            there = {name: number for name, number in self._priorities.items() if not rows[name]["drained"]}
            wanted = {name for name, number in there.items() if number is not None}
            blind = [name for name in there if self.hypervisors[name].gateways_seen() < len(wanted - {name})]
            return " ".join((*blind, *(name for name, row in rows.items() if row["recovering"])))

        wait_until("Gateways that are found alive", lacking, 15)

    def chassis(self) -> dict[str, Json]:
        """What the controller says about each hypervisor, by name."""
        return {row["name"]: row for row in self.api.get("/v1/chassis")["chassis"]}

    def lagging(self) -> str:
        """What is not yet as the model wants it; "" when every switch and port has caught up. Raises Died."""
        here = {name: hypervisor for name, hypervisor in self.hypervisors.items() if not hypervisor.away}
        for hypervisor in here.values():
            hypervisor.must_run()
        if self.controller.daemon is not None:
            self.controller.daemon.must_run()
        rows, said = self.chassis(), []
        for name in here:
            row = rows.get(name)
            if row is None:
                said.append(f"{name} is unknown to the controller")
            elif row.get("problem"):
                said.append(f"{name}: {row['problem']}")
            elif not row["connected"]:
                said.append(f"{name} is not connected")
            elif row["revision"] != row["applied_revision"]:
                said.append(f"{name} has applied {row['applied_revision']} of {row['revision']}")
        ports = {port["id"]: port for port in self.api.get("/v2.0/ports")["ports"]} if self.guests else {}
        closed = {row["id"] for row in self.api.get("/v2.0/networks")["networks"] if not row["admin_state_up"]}
        plugged = {guest.port_id for guest in self.guests.values() if guest.plugged}  # guests may share a port
        for guest in self.guests.values():
            port = ports.get(guest.port_id)
            if port is None or not port["admin_state_up"] or port["network_id"] in closed:
                continue
            expected = "ACTIVE" if guest.port_id in plugged else "DOWN"
            if port["status"] != expected:
                said.append(f"the port of {guest} is {port['status']}, not {expected}")
        return "; ".join(said)

    def converged(self, timeout_s: float = 20.0) -> None:
        """Wait as `acknowledged`; from then on frames are decided by the flows as they are.

        See `Hypervisor.forget_decisions`, during which a switch forwards nothing: of what is sent as fast as it can be,
        some is lost when a busy machine takes long for it. And a switch that has just begun has yet to hear of its
        peers, whom the controller has it call as soon as flows lead there.
        """
        self.acknowledged(timeout_s)
        here = [hypervisor for hypervisor in self.hypervisors.values() if not hypervisor.away]
        for machine in (*here, *self.physicals.values()):
            machine.forget_decisions()
        with suppress(Late):  # perhaps it is a scenario's point that a peer is silent
            wait_until(
                "All ways", lambda: " ".join(set().union(*(each.strange_ways() for each in here))), _WAYS_S, 0.01
            )

    def acknowledged(self, timeout_s: float = 20.0) -> None:
        """Wait until every switch has acknowledged the newest revision and every plugged port is ACTIVE."""
        try:
            wait_until("A network as the model wants it", self.lagging, timeout_s)
        except Late as late:
            late.add_note(self.controller.tail(20))
            raise

    def eventually(self, what: str, true: Callable[[], object], timeout_s: float) -> None:
        """Wait until something is true; raises Late."""
        wait_until(what, lambda: "" if true() else "it never was", timeout_s)

    def dismiss(self, guest: Guest) -> None:
        """End a guest: its interface, its port (if it is still there), its namespace."""
        guest.unplug()
        if any(port["id"] == guest.port_id for port in self.api.get("/v2.0/ports")["ports"]):
            self.api.delete(f"/v2.0/ports/{guest.port_id}")
        del self.guests[guest.name], self.net.nameToNode[guest.name]
        self.net.hosts.remove(guest)
        guest.terminate()
        self.converged()

    def settles(self) -> None:
        """Assert the end of every scenario: switches hold what the model says, and a recompute changes nothing."""
        self.converged()
        answer = self.api.get("/v1/diff")
        own = {
            chassis["name"]: {
                kind: texts for kind, texts in chassis.items() if texts and kind not in ("name", "foreign")
            }
            for chassis in answer["chassis"]
        }
        if answer["unreachable"] or any(own.values()):
            told = json.dumps({**own, "unreachable": answer["unreachable"]}, indent=1)
            raise Unsettled(f"Installed and desired flows differ.\n{told}")
        for name, hypervisor in self.hypervisors.items():
            # Twice: what guests say of addresses may change in between.
            unknown = [] if hypervisor.away else self.unexplained(hypervisor) and self.unexplained(hypervisor)
            if unknown:
                raise Unsettled(f"Nobody knows why {name} has these.\n" + "\n".join(unknown))
        own_alone = {chassis["name"] for chassis in answer["chassis"] if not chassis["foreign"]}
        self.trace_alike(own_alone)
        if _PROVEN and len(own_alone) == len(answer["chassis"]):
            self.is_proven()
        changed = self.api.post("/v1/recompute")["changed"]
        if changed:
            raise Unsettled(f"A recompute from scratch changed {changed} flows.")

    def trace_alike(self, on: Collection[str]) -> None:
        """Assert that Open vSwitch goes the way that Weft foretells: a few packets, others each time.

        On these hypervisors. They are drawn by the name of the test, so that what failed fails again.
        """
        here = {name: each for name, each in self.hypervisors.items() if name in on and not each.away}
        name = os.environ.get("PYTEST_CURRENT_TEST", "")
        self._settled[name] += 1
        began = time.monotonic()
        with traced.Comparison(self.api, here) as comparison:
            drawn = traced.ends(self.api, [*self.hosts.values()])
            comparison.draw(drawn, Random(f"{name} {self._settled[name]}"), _TRACED, _TRACED * _TRACE_S)
        took_ms = round(1e3 * (time.monotonic() - began))
        self.compared.update(packets=comparison.packets, stages=comparison.stages, milliseconds=took_ms)

    def is_proven(self) -> None:
        """Assert that nothing is against what is claimed of what the switches hold."""
        answer = json.loads(self.controller.weft("prove", "--json", codes=(0, 1, 2), timeout_s=_PROOF_S))
        self.compared.update(proofs=1)
        if answer["violations"]:
            raise Unsettled(f"A network that is as it should be is not proven.\n{json.dumps(answer, indent=1)}")

    def unexplained(self, hypervisor: Hypervisor) -> list[str]:
        """What it holds of Weft's that leads to no app, or to an object that the API does not have; and any meter.

        Weft has no meters: of one nobody could say why it is there.
        """
        said = self.unknown(hypervisor.cookies(), hypervisor.own_groups())
        return said + [f"meter {id}" for id in hypervisor.meters()]

    def unknown(self, cookies: Sequence[str], groups: Sequence[int]) -> list[str]:
        """What of these flows and groups leads to no app, or to an object that the API does not have."""
        known = self.api.post("/v1/explain", {"cookies": cookies, "groups": groups})
        said = [cookie for cookie in cookies if cookie not in known["flows"]]
        said += [f"group {id}" for id in groups if str(id) not in known["groups"]]
        named: dict[str, set[str]] = {}
        for entry in (*known["flows"].values(), *known["groups"].values()):
            if not entry["app"]:
                said.append(f"no app: {entry}")
            for each in entry["objects"]:
                named.setdefault(each["kind"], set()).add(each["id"])
            objects = {(each["kind"], each["id"]) for each in entry["objects"]} - {_NO_GROUP}
            if objects and {kind for kind, _ in objects} <= _INNER:
                said.append(f"no object of the API: {entry}")
        for kind in named.keys() - _INNER:
            said += [f"{kind} {id}" for id in named[kind] - self._there(kind)]
        return said

    def _there(self, kind: str) -> set[str]:
        """The ids of all objects of a kind."""
        if kind == "chassis":
            return {*self.chassis()}
        if kind == "portforwarding":
            paths = [f"/v2.0/floatingips/{id}/port_forwardings" for id in self._there("floatingip")]
            return {row["id"] for path in paths for row in self.api.get(path)["port_forwardings"]}
        (rows,) = self.api.get(f"{_LISTS[kind]}?fields=id").values()
        return {row["id"] for row in rows}

    def others(self, *but: Host) -> list[Place]:
        """Every place to listen at except these: all other guests and hosts, the underlay, the physical networks."""
        somebody = (*self.guests.values(), *self.hosts.values())
        return [self.underlay, *self.physicals.values(), *(each for each in somebody if each not in but)]

    @contextmanager
    def sniff(self, *places: Place, what: str = "") -> Iterator[Heard]:
        """Listen at places (everywhere, if none is named) for what a tcpdump expression names, while the block runs.

        Listening has begun when the block begins; what was heard is there when the block has ended.
        """
        heard = Heard()
        with ExitStack() as stack:
            ears = [place.ear(what) for place in places or self.others()]
            for ear in ears:
                stack.callback(ear.close)
            yield heard
            time.sleep(_LINGER_S)
            for ear in ears:
                heard.by_place[ear.place] = ear.frames()

"""What a controller has to offer to be measured, and the cloud that all of them are asked for.

Every 50 ports are a tenant: two networks of 25 ports, each with a subnet (10.0.0.0/24, 10.0.1.0/24: all tenants have the
same), a router that joins them, with a gateway on the outside network and source NAT of both; a floating IP,
translated where its guest is; and a security group of six rules that all its ports are in. Five ports of the first
tenant are real guests, the same ones everywhere:

    hv1: here 10.0.0.10 (has the floating IP)   near 10.0.0.11   aside 10.0.1.11
    hv2: far 10.0.0.12   beyond 10.0.1.10                        outside: 172.24.0.1

A port is `bound` when an interface of a hypervisor claims it; what a switch does not forward to anybody is a dummy
interface, alternating between the hypervisors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network, Subnet
from mininet_scenarios.machines import BRIDGE, Hypervisor
from tests.benchmarks.peers.ovsdb import BATCH, Database, insert, mapping, mutate, new, several

PORTS = 25
"""Of one network."""
NETWORKS = 2
TENANT = PORTS * NETWORKS
SPARE = 200
"""The first of a network's ports that belong to no model: they come and go while something is measured."""
MTU = 1400
OUTSIDE, OUTSIDE_CIDR, OUTSIDE_MAC = "172.24.0.1", "172.24.0.0/16", "02:00:00:00:0e:01"
PHYSICAL = "physnet1"
MANAGEMENT = (OUTSIDE_CIDR, "10.0.0.0/8")
"""From where guests take SSH."""
SSH = 22

Change: TypeAlias = Callable[[], None]
"""Asks a controller for one thing; all that has to be known before was looked up when it was made."""


class Spot(NamedTuple):
    """A port's place in the cloud."""

    tenant: int
    network: int
    number: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f"t{self.tenant}-n{self.network}-p{self.number}"

    @property
    def ip(self) -> str:
        """Its address."""
        return f"10.0.{self.network}.{10 + self.number}"

    @property
    def mac(self) -> str:
        """Its MAC address."""
        return f"0a:{self.tenant >> 8:02x}:{self.tenant & 255:02x}:{self.network:02x}:00:{self.number:02x}"

    @property
    def floating(self) -> str:
        """The address that stands for it outside, if one does."""
        return f"172.24.{100 + 50 * self.network + self.tenant // 8}.{10 + self.tenant % 8 * 30 + self.number}"


GUESTS: Mapping[str, tuple[str, Spot]] = {
    "here": ("hv1", Spot(0, 0, 0)),
    "near": ("hv1", Spot(0, 0, 1)),
    "far": ("hv2", Spot(0, 0, 2)),
    "beyond": ("hv2", Spot(0, 1, 0)),
    "aside": ("hv1", Spot(0, 1, 1)),
}
LATE = Spot(0, 0, SPARE)
"""Of a guest on hv2 whose port is yet to be made."""


def gateway(network: int) -> str:
    """A router's address on a network."""
    return f"10.0.{network}.1"


def own(tenant: int) -> str:
    """A router's address outside."""
    return f"172.24.{1 + tenant // 200}.{10 + tenant % 200}"


def spots(tenant: int) -> Iterator[Spot]:
    """The ports of a tenant."""
    return (Spot(tenant, network, number) for network in range(NETWORKS) for number in range(PORTS))


class Dummied(Hypervisor):
    """A hypervisor that knows interfaces of the type `dummy`."""

    switch_options = ("--enable-dummy",)


@dataclass(slots=True)
class Dummies:
    """The interfaces of one hypervisor: those that forward nothing, so that many of them cost little, and all claims."""

    hypervisor: Hypervisor
    database: Database

    def plug(self, names: Sequence[str], claims: Sequence[str] = ()) -> list[object]:
        """Put interfaces on the bridge, each with a claim if any is given, and wait for it; the UUIDs of their rows."""
        bridge, made = self.database.select("Bridge", "name", BRIDGE), []
        for start in range(0, len(names), BATCH):
            some = [*enumerate(names[start : start + BATCH])]
            keys = claims[start : start + BATCH]
            operations = [
                insert(
                    "Interface", f"i{n}", name=name, type="dummy", external_ids=mapping(claim(keys[n]) if keys else {})
                )
                for n, name in some
            ]
            operations += [insert("Port", f"p{n}", name=name, interfaces=new(f"i{n}")) for n, name in some]
            joined = [*(new(f"p{n}") for n, _ in some)]
            operations.append(mutate("Bridge", "_uuid", bridge, ["ports", "insert", several(joined)]))
            answers = self.database.transact(*operations)
            made += [answer["uuid"] for answer in answers[: len(some)]]
        self.hypervisor.vsctl("set", "Open_vSwitch", ".", "external_ids:peers=plugged")  # ovs-vswitchd has followed
        return made

    def row(self, guest: Guest) -> object:
        """The UUID of a guest's interface."""
        return self.database.select("Interface", "name", guest.tap)

    def claim(self, rows: Sequence[object], ports: Sequence[str]) -> None:
        """Say whose interfaces are, all at once."""
        claims = [(row, mapping(claim(port))) for row, port in zip(rows, ports, strict=True)]
        self.database.transact(*(mutate("Interface", "_uuid", *_put(row, keys)) for row, keys in claims))

    def disclaim(self, row: object) -> None:
        """Say that an interface is nobody's."""
        keys = several(("iface-id", "ovn-installed", "ovn-installed-ts"))
        self.database.transact(mutate("Interface", "_uuid", row, ["external_ids", "delete", keys]))


def _put(row: object, keys: list[object]) -> tuple[object, list[object], list[object]]:
    """The row, and how its claim is replaced: an insertion into a map leaves a key alone that is there."""
    return row, ["external_ids", "delete", several(("iface-id",))], ["external_ids", "insert", keys]


def claim(port: str) -> dict[str, str]:
    """How an interface says whose it is."""
    return {"iface-id": port}


class Peer(ABC):
    """A controller with two hypervisors, and the cloud that it was asked for: `tenants` with so many `ports`.

    Of these are bound "all", or but a "few", those of the real guests: its `mode`.
    """

    name: str
    lab: Lab

    def __init__(self) -> None:
        self.tenants = self.ports = 0
        self.mode = ""
        self.guests: dict[str, Guest] = {}
        self.dummies: dict[str, Dummies] = {}
        self._late: object = None

    # ---- before

    def begin(self) -> None:
        """Wire the outside, start the guests that there will be, and ask for what no tenant has."""
        wire = self.lab.physical(PHYSICAL)
        self.lab.gateways(20, 10)
        self.lab.host("outside", on=wire, ip=f"{OUTSIDE}/16", mac=OUTSIDE_MAC, mtu=MTU)
        self.prepare()
        for name, (on, spot) in {**GUESTS, "late": ("hv2", LATE)}.items():
            where = subnets(spot)
            guest = self.lab.machine(name, network=where, on=on, ip=spot.ip, mac=spot.mac, port_id=spot.name)
            self.guests[name] = guest
        for name, hypervisor in self.lab.hypervisors.items():
            database = Database(hypervisor.directory / "db.sock", "Open_vSwitch")
            self.dummies[name] = Dummies(hypervisor, database)
        here, late = self.guests["here"], self.guests["late"]
        here.knows(late.ip, late.mac)
        late.knows(here.ip, here.mac)
        self.settled(60)

    @abstractmethod
    def prepare(self) -> None:
        """Ask for what no tenant has: the outside network."""

    @abstractmethod
    def plug(self, tenants: int, bound: bool) -> None:
        """Put the interfaces in place of which nothing is known yet, as far as they can be before the model."""

    # ---- the model

    @abstractmethod
    def build(self, tenants: int, bound: bool) -> None:
        """Ask for all tenants, in the fewest questions; the real guests are bound, all ports if `bound`."""

    @abstractmethod
    def settled(self, timeout_s: float) -> None:
        """Wait until all that was asked for is on every hypervisor. Raises Late."""

    @abstractmethod
    def active(self, timeout_s: float, ports: int) -> None:
        """Wait until so many ports are said to be up. Raises Late."""

    # ---- single changes

    @abstractmethod
    def add_port(self, spot: Spot, name: str = "") -> Change:
        """A port in its tenant's group."""

    @abstractmethod
    def remove_port(self, spot: Spot, name: str = "") -> Change:
        """That port no more."""

    @abstractmethod
    def add_rule(self, tenant: int, port: int) -> Change:
        """A rule more in a tenant's group, for a TCP port."""

    @abstractmethod
    def remove_rule(self, tenant: int, port: int) -> Change:
        """That rule no more."""

    @abstractmethod
    def join(self, spot: Spot) -> Change:
        """A port in its tenant's group."""

    @abstractmethod
    def leave(self, spot: Spot) -> Change:
        """A port in no group of ours."""

    @abstractmethod
    def add_floating(self, spot: Spot) -> Change:
        """A floating IP for a port."""

    @abstractmethod
    def remove_floating(self, spot: Spot) -> Change:
        """That floating IP no more."""

    @abstractmethod
    def appear(self, name: str) -> Change:
        """The port LATE, under a name that it had not before, of the guest whose interface is on the bridge already."""

    @abstractmethod
    def key(self, name: str) -> str:
        """What an interface has to say to be that of the port with this name."""

    def claim(self, name: str) -> Change:
        """The interface of LATE for its port, which is there already under that name."""
        return lambda: self.dummies["hv2"].claim([self._late], [self.key(name)])

    def vanish(self, name: str) -> Change:
        """LATE no more; its interface is nobody's."""
        remove = self.remove_port(LATE, name)

        def ask() -> None:
            remove()
            self.dummies["hv2"].disclaim(self._late)

        return ask

    @abstractmethod
    def ready(self, name: str) -> None:
        """All that can be done for LATE before it is asked for."""

    # ---- faults, and what runs

    @abstractmethod
    def kill(self) -> None:
        """kill -9 of what tells hv2's switch what it should do."""

    @abstractmethod
    def revive(self) -> None:
        """Start that again."""

    @abstractmethod
    def processes(self) -> dict[str, int]:
        """All that runs for it, by what it is: process ids."""

    def switches(self) -> dict[str, int]:
        """What forwards."""
        return {f"{name} vswitchd": each.switch.pid for name, each in self.lab.hypervisors.items()}

    def flows(self) -> dict[str, int]:
        """How many flows each hypervisor's integration bridge has."""
        aggregate = {name: each.ofctl("dump-aggregate", BRIDGE) for name, each in self.lab.hypervisors.items()}
        return {name: int(said.partition("flow_count=")[2].split()[0]) for name, said in aggregate.items()}


def subnets(spot: Spot) -> Network:
    """The network of a port, as a guest sees it."""
    cidr = f"10.0.{spot.network}.0/24"
    subnet = Subnet(f"t{spot.tenant}-s{spot.network}", cidr, gateway(spot.network))
    return Network(f"t{spot.tenant}-n{spot.network}", "", f"t{spot.tenant}", (subnet,), MTU, None)


def halves(tenants: int) -> dict[str, list[Spot]]:
    """The ports that are dummies, by hypervisor, in the order in which they are made."""
    real = {spot for _, spot in GUESTS.values()}
    others = [spot for tenant in range(tenants) for spot in spots(tenant) if spot not in real]
    return {"hv1": others[::2], "hv2": others[1::2]}

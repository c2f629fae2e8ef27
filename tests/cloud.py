"""A small cloud for tests: records in, flow text out. The engine under it is the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apps import APPS
from controller.flows.app import App
from controller.flows.engine import Delta, Engine
from controller.model import bindings
from controller.model.bindings import Claim, Hypervisor
from controller.model.records import Address, FixedIp, Mac, Network, Port
from controller.model.store import Change, Model, Transaction

Work = Callable[[Transaction], object]


class Cloud:
    """A model, an engine over it, and the changes that people and hypervisors make."""

    def __init__(self, apps: Sequence[App] = APPS) -> None:
        self.model = Model()
        self.engine = Engine(self.model, apps)
        self.delta: Mapping[str, Delta] = {}

    def commit(self, *works: Work) -> None:
        """Make one change; `delta` is then the difference of each switch."""
        tx = Transaction(self.model)
        for work in works:
            work(tx)
        change = Change(self.model.revision + 1, "req-test", tx.writes())
        self.model.apply(change)
        self.delta = self.engine.update([change])

    def flows(self, chassis: str, app: str | None = None) -> list[str]:
        """The text of what one switch should hold (of one app, if named), sorted."""
        numbers = {one.number for one in APPS if app in (None, one.name)}
        entries = self.engine.desired(chassis).values()
        return sorted(str(entry.item) for entry in entries if entry.app in numbers)

    def sent(self, chassis: str) -> list[str]:
        """The text of the last difference of one switch, `-` before what goes."""
        delta = self.delta.get(chassis, {})
        return sorted(str(entry.item) if entry else f"- {key[0]}" for key, entry in delta.items())


def network(id: str, vni: int, type: str = "vxlan", **more: Any) -> Work:
    """A network and its tag."""

    def work(tx: Transaction) -> None:
        tx.put(Network(id=id, network_type=type, segmentation_id=vni, **more))
        tx.tag("network", id)

    return work


def port(id: str, network: str, mac: str, *addresses: str, **more: Any) -> Work:
    """A port and its tag."""

    def work(tx: Transaction) -> None:
        ips = tuple(FixedIp(f"{network}-subnet", Address(address)) for address in addresses)
        tx.put(Port(id=id, network_id=network, mac_address=Mac(mac), fixed_ips=ips, **more))
        tx.tag("port", id)

    return work


def no_port(id: str) -> Work:
    """The port is deleted."""

    def work(tx: Transaction) -> None:
        tx.delete(Port, id)
        tx.untag("port", id)

    return work


def hypervisor(number: int, *plugged: str, encaps: tuple[str, ...] = ("vxlan", "geneve"), first: int = 10) -> Work:
    """Hypervisor `hvN` at 192.0.2.N whose interfaces `tap-ID` are plugged; their OpenFlow ports count from `first`."""
    seen = Hypervisor(
        system_id=f"hv{number}",
        hostname=f"host{number}",
        encap_ip=Address(f"192.0.2.{number}"),
        encap_types=encaps,
        bridge="br-int",
        datapath_type="netdev",
        bridge_mappings=(),
        gateway_priority=None,
        datapath_id=number,
        claims=tuple(Claim(f"tap-{id}", id) for id in plugged),
    )
    tunnels = [(f"weft-{encap}", index) for index, encap in enumerate(encaps, start=1)]
    guests = [(f"tap-{id}", first + index) for index, id in enumerate(plugged)]

    def work(tx: Transaction) -> None:
        bindings.observe(tx, seen)
        bindings.observe_links(tx, seen.system_id, tunnels + guests)

    return work

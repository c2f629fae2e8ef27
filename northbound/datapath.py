"""Turns flows of a datapath into logical words: what `ovs-appctl dpctl/dump-flows -m` (or `--names`) prints.

    recirc_id(0),in_port(tap1),eth(...),...,ipv4(src=10.0.0.1,...), packets:2, ..., actions:ct(zone=5),recirc(0x6)

Such a flow is a decision that Open vSwitch remembers, not one of ours: it is told by its ends. Of a hypervisor these
name themselves (ports by interface, conntrack zones, tunnels by their segment and their far end). A flow with no end
that is of Weft's is foreign; so are all without `-m` or `--names`, for their ports are numbers that only the datapath
knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from controller.flows.pipeline import NO_SEGMENT, PROBED, PROBES, TRANSITS, TUNNEL_PORTS
from controller.model.records import Binding, Chassis, Network, Port, Translation
from controller.model.store import Rows
from controller.southbound.explained import Explanation
from northbound.admission import named
from northbound.conn import translator

IS_FLOW: Final = re.compile(r"\bin_port\([^)]*\).*\bactions:")
_IN_PORT: Final = re.compile(r"\bin_port\(([^)]*)\)")
_ZONE: Final = re.compile(r"\bct_zone\((0x[0-9a-f]+|\d+)(?:/(0x[0-9a-f]+|\d+))?\)")
_TUNNEL: Final = re.compile(r"\btunnel\(tun_id=(0x[0-9a-f]+)[^,]*,(?:ipv6_)?src=([0-9a-fA-F.:]+)")
_ACTIONS: Final = re.compile(r"\bactions:(.*?)(?:, dp-extra-info:.*)?$")
_TRACKED: Final = re.compile(r"\bct\((?P<commit>commit,)?[^()]*?zone=(?P<zone>\d+)")
_SET_TUNNEL: Final = re.compile(
    r"set\(tunnel\(tun_id=(?P<key>0x[0-9a-f]+),(?:[^()]*?,)?(?:ipv6_)?dst=(?P<far>[0-9a-fA-F.:]+)"
)
_PUSHED: Final = re.compile(
    r"tnl_push\(.*?\bipv[46]\(src=[^,]*,dst=(?P<far>[^,)]*).*?\b(?:vni|key)=(?P<key>0x[0-9a-f]+)"
)
_POPPED: Final = re.compile(r"\btnl_pop\(([^)]*)\)")
_OUTER_TO: Final = re.compile(r"\bipv[46]\([^)]*\bdst=([0-9a-fA-F.:]+)")
_PUNTED: Final = re.compile(r"(?:\bsize=(\d+),gt\()?userspace\([^()]*controller\([^()]*rule_cookie=(0x[0-9a-f]+)")
_DEVICE: Final = re.compile(r"\b(vxlan|genev|gre)_sys\w*")
"""A tunnel's device, by the encapsulation that begins with this (Open vSwitch, `vport_netdev_dpif_port`)."""
_RECIRCULATES: Final = re.compile(r"\brecirc\((0x[0-9a-f]+)\)")
_NESTED: Final = re.compile(r"\([^()]*\)")
_WRAPS: Final = re.compile(r"\b(?:clone|sample|check_pkt_len|gt|le)\(")

Why = Callable[[int], Explanation | None]
"""Why there is a flow with a cookie, if it is one of ours."""


def told(rows: Rows, chassis: str, lines: Iterable[str], why: Why) -> Iterator[tuple[str, str]]:
    """Each datapath flow of a dump and what it is, "" of a foreign one; other lines are left out."""
    reader = Reader(rows, chassis, why)
    for line in lines:
        if IS_FLOW.search(line):
            yield line.strip(), reader.words(line)


@dataclass(frozen=True, slots=True)
class Reader:
    """Knows what the names and numbers of one hypervisor's datapath stand for."""

    rows: Rows
    chassis: str
    why: Why

    def words(self, line: str) -> str:
        """One flow in words; "" if nothing of it is Weft's."""
        origin, actions = self._origin(line), _ACTIONS.search(line)
        ways = [*self._ways(line, actions[1] if actions else "")]
        if not origin and not ways:
            return ""
        came = _IN_PORT.search(line)
        begin = origin or f"from {came[1] if came else '?'}"
        return "; ".join((begin, *(ways or [_rest(actions[1] if actions else "")])))

    def _origin(self, line: str) -> str:
        """Where the packets come from."""
        came = _IN_PORT.search(line)
        if tunnel := _TUNNEL.search(line):
            far = self._far(tunnel[2])
            begin = f"from {far}, segment {self._segment(int(tunnel[1], 16), came[1] if came else '')}" if far else ""
        else:
            begin = f"from {port}" if came and (port := self._port(came[1])) else ""
        zone = _ZONE.search(line)
        tested = zone and (zone[2] is None or int(zone[2], 0))
        place = self._zone(int(zone[1], 0)) if zone and tested else ""
        return ", ".join(filter(None, (begin, f"known to conntrack in the zone of {place}" if place else "")))

    def _own(self, line: str) -> bool:
        """Is it for this hypervisor's tunnel address?"""
        own = self.rows.get(Chassis, self.chassis)
        to = _OUTER_TO.search(line)
        return own is not None and to is not None and own.encap_ip == to[1]

    def _ways(self, line: str, actions: str) -> Iterator[str]:
        """What becomes of them, as far as it is Weft's."""
        for ct in _TRACKED.finditer(actions):
            if place := self._zone(int(ct["zone"])):
                yield f"{'remembered' if ct['commit'] else 'looked up'} in the zone of {place}"
        for tunnel in (*_SET_TUNNEL.finditer(actions), *_PUSHED.finditer(actions)):
            if far := self._far(tunnel["far"]):
                by = actions[tunnel.start() + 1 :].partition("set(tunnel(")[0]
                yield f"to {far}, segment {self._segment(int(tunnel['key'], 16), by)}"
        for size, cookie in _PUNTED.findall(actions):
            if (flow := self.why(int(cookie, 16))) is not None:
                which = f"frames of more than {size} bytes " if size else ""
                yield f"{which}to the controller, by {flow.app}: {flow.table} {flow.reason}"
        if (popped := _POPPED.search(actions)) and self._own(line):
            yield f"for this hypervisor's end of tunnels: taken out of {popped[1]}"
        for name in _plain(actions):
            if port := self._port(name):
                yield f"out to {port}"

    def _port(self, interface: str) -> str:
        """The port behind an interface."""
        binding = self.rows.get(Binding, f"{self.chassis}/{interface}")
        port = self.rows.get(Port, binding.port_id) if binding else None
        return named("port", port.id, port.name) if port else ""

    def _zone(self, number: int) -> str:
        """Whose conntrack zone it is."""
        for binding in self.rows.where(Binding, zones=(self.chassis, number)):
            port = self.rows.get(Port, binding.port_id)
            return named("port", port.id, port.name) if port else f"{binding.interface}, which is no port's"
        translations = self.rows.where(Translation, zones=(self.chassis, number))
        return f"translations for {translator(self.rows, translations[0].what)}" if translations else ""

    def _far(self, address: str) -> str:
        found = self.rows.where(Chassis, encap_ip=address)
        return f"hypervisor {found[0].id}" if found else ""

    def _segment(self, number: int, by: str) -> str:
        """A segment, and the network that it is by the device that is named first; by any encapsulation if none is."""
        device = _DEVICE.search(by)
        found = (
            network
            for type in TUNNEL_PORTS
            if device is None or type.startswith(device[1])
            for network in self.rows.where(Network, network_type=type, physical_network=None, segmentation_id=number)
        )
        networks = " or ".join(named("network", network.id, network.name) for network in found)
        purpose = networks or _OWN_SEGMENTS.get(number)
        return f"{number} ({purpose})" if purpose else f"{number}, of no network"


_OWN_SEGMENTS: Final = {
    NO_SEGMENT: "to find the way before a guest needs it",
    **dict.fromkeys(TRANSITS.values(), "to the gateway of a router"),
    **dict.fromkeys((*PROBES.values(), *PROBED.values()), "to watch gateways, by BFD"),
}
"""What segments are for that are of no network."""


def _plain(actions: str) -> list[str]:
    """The outputs among the actions, and other words: what stands alone, also in a copy, or by size."""
    flat = _WRAPS.sub("", actions)
    while (shorter := _NESTED.sub("", flat)) != flat:
        flat = shorter
    return [word.strip("() ") for word in flat.split(",")]


def _rest(actions: str) -> str:
    """What becomes of them, if none of it is known by name."""
    if actions.strip() in ("drop", ""):
        return "dropped"
    if "slow_path(" in actions:
        return "answered, or sent on, by ovs-vswitchd itself (slow path)"
    onward = _RECIRCULATES.search(actions)
    return f"goes on in recirc_id({onward[1]})" if onward else actions

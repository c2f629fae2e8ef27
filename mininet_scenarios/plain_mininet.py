"""Two tenants with the same addresses on the one switch of a plain Mininet: `weft serve --no-ovsdb`.

        red1 .11   red2 .12   blue1 .11   blue2 .12        10.0.0.0/24, MACs 02:00:00:00:00:<last byte of the address>
           |          |          |           |             interfaces `tap` + the first 11 characters of the port's id
        ---+----------+---- s1 --+-----------+---          OVSSwitch(datapath="user"), RemoteController

Nothing but the switch's OpenFlow connection tells Weft of it: its chassis is called by its datapath id. In a Mininet of
one's own (`--switch ovs,datapath=user --controller remote`, beside `weft serve --no-ovsdb`) a host joins a port by
`net.addLink(host, s1, intfName2="tap" + port_id[:11])` and, once the switch has started, `s1.attach("tap...")`.

    python -m mininet_scenarios.plain_mininet [--cli]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

from mininet_scenarios.frames import BROADCAST, EXPERIMENTAL, REQUEST, arp, ethernet, token, udp
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network, Place
from mininet_scenarios.machines import Hypervisor, open_cli
from mininet_scenarios.nodes import OPENFLOW_PORT, Controller
from mininet_scenarios.rows import Row, concluded, show
from mininet_scenarios.stock import OVSSwitch, RemoteController
from mininet_scenarios.two_networks import CIDR, TENANTS, UNUSED

_PINGS, _NOBODY = 3, "02:00:00:00:00:99"


def _datagram(to: str, guest: Guest, mark: bytes) -> bytes:
    return udp(to, guest.mac, guest.ip, UNUSED, 7, mark)


_FRAMES: tuple[tuple[str, Callable[[Guest, Guest, bytes], bytes], bool], ...] = (
    ("a broadcast", lambda guest, mate, mark: _datagram(BROADCAST, guest, mark), True),
    ("unicast to its mate", lambda guest, mate, mark: _datagram(mate.mac, guest, mark), True),
    ("unicast to nobody", lambda guest, mate, mark: _datagram(_NOBODY, guest, mark), False),
    ("an unknown ethertype", lambda guest, mate, mark: ethernet(BROADCAST, guest.mac, EXPERIMENTAL, mark), False),
    ("as its mate", lambda guest, mate, mark: udp(BROADCAST, guest.mac, mate.ip, UNUSED, 7, mark), False),
    ("ARP for an unused address", lambda guest, mate, mark: arp(REQUEST, guest.mac, guest.ip, UNUSED, mark), False),
)
"""Kinds of frames: what they are, made by a guest with a mark in them, and whether its mate hears it."""


class Bridge(Hypervisor, OVSSwitch):  # type: ignore[misc]
    """Mininet's own `OVSSwitch` in user space, with an Open vSwitch to itself; an interface is a port by its name."""

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, inNamespace=False, datapath="user", **params)
        self.bridge = name

    @classmethod
    def setup(cls) -> None:
        """Mininet would look for the machine's own Open vSwitch."""

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802  # Mininet's name, and its answer needs distutils
        """Is it older than 1.10?"""
        return False

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl(8); Mininet says all arguments in one."""
        return super().vsctl(*shlex.split(" ".join(map(str, arguments))))

    def plug(self, tap: str) -> None:
        """Put an interface on the bridge."""
        self.vsctl("add-port", self.bridge, tap)

    def plug_for(self, tap: str, port_id: str, mac: str) -> None:
        """Put an interface on the bridge; that it is a port's is told by its name alone."""
        self.plug(tap)

    def rename(self, tap: str, name: str) -> None:
        """Give an interface on the bridge another name, for which it must leave."""
        self.unplug(tap)
        self.ip_batch(f"link set {tap} down", f"link set {tap} name {name}", f"link set {name} up")
        self.plug(name)


class Remote(RemoteController):  # type: ignore[misc]
    """Where a controller listens that Mininet did not start."""

    def checkListening(self) -> None:  # noqa: N802  # Mininet's name
        """Whoever makes one has asked already, and not by telnet(1)."""


class PlainLab(Lab):
    """A lab of one switch that has no hypervisor around it."""

    def __init__(self) -> None:
        super().__init__(hypervisors=0, serve=("--no-ovsdb",))

    def _start(self) -> None:
        self.controller = self._node(Controller, "c0", self.net.controllers, inNamespace=False)
        self.controller.sysctl("ipv6/conf/default/disable_ipv6", 1)
        self.controller.prepare(self.directory, self._serve)
        self.controller.launch()
        self.bridge: Bridge = self._node(Bridge, "s1", self.net.switches)
        self.bridge.create_database(self.directory / self.bridge.name)
        self.bridge.start_switch()
        self.controller.ready()
        remote = self._node(Remote, "c1", self.net.controllers, ip="127.0.0.1", port=OPENFLOW_PORT)
        self.bridge.start([remote])
        self.hypervisors[self.bridge.dpid] = self.bridge  # by the name that its chassis has
        self.converged()

    def others(self, *but: Guest) -> list[Place]:
        """All guests but these: there is no underlay."""
        return [guest for guest in self.guests.values() if guest not in but]

    def connect(self, name: str, network: Network, last: int) -> Guest:
        """Start a guest by the last byte of its address, with a port, and plug it."""
        ip, mac = f"10.0.0.{last}", f"02:00:00:00:00:{last}"
        return self.guest(name, network=network, on=self.bridge.dpid, ip=ip, mac=mac)


def build(lab: PlainLab) -> dict[str, Network]:
    """Make the two networks over HTTP, start and plug their guests, and wait until all is wired."""
    networks = {tenant: lab.network(tenant, cidr=CIDR, project=f"project-{tenant}") for tenant in TENANTS}
    for tenant, network in networks.items():
        for number in (1, 2):
            lab.connect(f"{tenant}{number}", network, 10 + number)
    lab.converged()
    return networks


def mate(lab: PlainLab, guest: Guest) -> Guest:
    """The other guest of the same tenant."""
    return next(other for other in lab.guests.values() if other.network_id == guest.network_id and other != guest)


def questions(lab: PlainLab) -> Iterator[Row]:
    """What must be seen: each guest hears its mate once, and never the other tenant."""
    guests = list(lab.guests.values())
    marks = {guest: token() for guest in guests}
    with lab.sniff(what="icmp[icmptype] == icmp-echo") as heard:
        pings = {guest: guest.ping(mate(lab, guest), count=_PINGS, mark=marks[guest]) for guest in guests}
        answers = {guest: ping.wait().received for guest, ping in pings.items()}
    for guest, other in ((guest, mate(lab, guest)) for guest in guests):
        seen = f"{answers[guest]} answers, heard by {heard.copies(marks[guest])}"
        yield Row.equal(f"{guest} pings {other.ip}", f"{_PINGS} answers, heard by {{'{other}': {_PINGS}}}", seen)
    for kind, frame, is_heard in _FRAMES:
        with lab.sniff() as heard:
            for guest in guests:
                guest.sends(frame(guest, mate(lab, guest), marks[guest]))
        for guest in guests:
            expected = {mate(lab, guest).name: 1} if is_heard else {}
            yield Row.equal(f"{guest} sends {kind}: heard by", f"{expected}", f"{heard.copies(marks[guest])}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the topology, ask everything (or open Mininet's CLI), and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="plain_mininet", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cli", action="store_true", help="open Mininet's CLI instead of asking")
    options = parser.parse_args(arguments)

    def play() -> list[Row]:
        with PlainLab() as lab:
            build(lab)
            if options.cli:
                open_cli(lab.net)
                return []
            rows = list(questions(lab))
            print(show(rows))
            lab.settles()
            return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())

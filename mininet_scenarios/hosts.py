"""The hosts of a lab, who see a network by one interface: guests of hypervisors, and those on a physical network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mininet_scenarios.captures import Ear, send, sweep
from mininet_scenarios.errors import Unsteady
from mininet_scenarios.frames import udp
from mininet_scenarios.machines import Hypervisor
from mininet_scenarios.nodes import Node
from mininet_scenarios.pings import Ping
from mininet_scenarios.sockets import (
    Outcome,
    Transfer,
    call,
    reached,
    refused,
    reopened,
    send_datagram,
    send_raw,
    transfer,
)
from mininet_scenarios.talk import Talk


class Host(Node):
    """Somebody's view of a network: one interface, `eth0`. What it runs writes into `directory`."""

    directory: Path
    ips: tuple[str, ...]
    mac: str

    def __init__(self, name: str, **params: object) -> None:
        super().__init__(name, **params)
        self._pings: list[Ping] = []
        self._talks: list[Talk] = []

    def boot(self, addresses: Sequence[str], mac: str, mtu: int) -> None:
        """Set up its end of the wire; addresses have a prefix length, and one of IPv6 turns IPv6 on."""
        self.ips, self.mac = tuple(address.partition("/")[0] for address in addresses), mac
        self.ip_batch(f"link set eth0 address {mac} mtu {mtu}")
        # Who is known is not asked again of the kernel's own accord: what is heard was asked for.
        self.sysctl("ipv4/neigh/eth0/delay_first_probe_time", 3600)
        if any(":" in ip for ip in self.ips):
            self.sysctl("ipv6/neigh/eth0/delay_first_probe_time", 3600)
            for key, value in {"accept_ra": 0, "accept_dad": 0, "disable_ipv6": 0}.items():
                self.sysctl(f"ipv6/conf/eth0/{key}", value)
        self.ip_batch("link set eth0 up", *(f"addr add {address} dev eth0 nodad" for address in addresses))
        # Checksums left to hardware that is not there: user-space OVS would forward TCP that no one accepts.
        self.run("ethtool", "-K", "eth0", "tx", "off")

    def routes(self, gateways: Iterable[str]) -> None:
        """Send what is for elsewhere to these gateways."""
        if wanted := [f"route replace default via {each}" for each in sorted(gateways)]:
            self.ip_batch(*wanted)

    @property
    def ip(self) -> str:
        """Its first address."""
        return self.ips[0]

    def becomes(self, ip: str, mac: str) -> None:
        """Take another address and MAC; the prefix stays /24."""
        self.ips, self.mac = (ip,), mac
        self.ip_batch("addr flush dev eth0", f"link set eth0 address {mac}", f"addr add {ip}/24 dev eth0")

    def ping(
        self,
        target: Host | str,
        *,
        count: int | None = None,
        interval_s: float = 0.05,
        patience_s: float = 1.0,
        mark: bytes = b"",
        source: str = "",
    ) -> Ping:
        """Start to ping a host, or an address; see `pings.Ping`."""
        address = target if isinstance(target, str) else target.ip
        manner = {"interval_s": interval_s, "patience_s": patience_s}
        ping = Ping(self.pid, address, count=count, mark=mark, source=source, **manner)
        self._pings.append(ping)
        return ping

    def pings(self, target: Host | str, count: int = 3) -> bool:
        """Whether all of `count` pings are answered, once each; False when none is, Unsteady for all between.

        When none is, nobody is asked for any more: else its kernel would send what comes next only once it asks again,
        in a second, or drop it when it gives up (`neigh_timer_handler` of Linux' net/core/neighbour.c).
        """
        replies = self.ping(target, count=count).wait()
        if replies.duplicates or replies.lost not in (0, count):
            raise Unsteady(self.name, str(target), count, count - replies.lost, replies.duplicates)
        if replies.lost:
            self.run("ip", "neigh", "flush", "dev", "eth0", "nud", "incomplete", "nud", "failed")
        return replies.lost == 0

    def address(self, version: int) -> str:
        """Its first address of an IP version."""
        return next(ip for ip in self.ips if (":" in ip) == (version == 6))

    def sends(self, *frames: bytes) -> None:
        """Send frames as they are."""
        send(self.pid, "eth0", frames)

    def sweeps(self, mac: str, address: str, port: int, ports: Iterable[int], mark: bytes) -> None:
        """Send a mark, by way of who has a MAC, to a port of an address, once from each of these ports."""
        sweep(self.pid, "eth0", udp(mac, self.mac, self.ip, address, port, mark), ports)

    def tells(self, mac: str, mark: bytes) -> None:
        """Send a mark to a MAC as any guest may: in a datagram, to an address for which no kernel answers."""
        self.sends(udp(mac, self.mac, self.ip, "255.255.255.255", 7, mark))

    def calls(self, target: Host | str, port: int, *, version: int = 4, patience_s: float = 0.8) -> Outcome:
        """What becomes of a TCP connection to a port of a guest, or address, whether or not somebody listens there."""
        address = target if isinstance(target, str) else target.address(version)
        return call(self.pid, address, port, patience_s)

    def refused(self, address: str, port: int = 9, size: int = 8) -> bool:
        """Whether an ICMP error comes back for a datagram to a port of an address where nobody listens."""
        return refused(self.pid, address, port, size)

    def reaches(
        self,
        target: Host,
        protocol: str,
        *ports: int,
        version: int = 4,
        size: int = 8,
        options: Mapping[int, bytes] | None = None,
        patience_s: float = 0.8,
        by: str = "",
        higher: int = 0,
    ) -> set[int]:
        """Which of these ports of a guest, where somebody listens now, this one gets an answer from.

        The guest is asked at its own address and ports, or `by` another address, at ports so much `higher`, which are
        to lead there. By TCP an answer is a
        connection, by UDP a datagram of `size` bytes that comes back. `options` are set on sockets of IPv6 (ipv6(7)):
        extension headers.
        """
        places = (self.pid, target.pid)
        own = target.address(version)
        return reached(places, protocol, by or own, own, ports, size, options or {}, patience_s, higher)

    def transfers(
        self, target: Host, megabytes: int, *, port: int = 5001, version: int = 4, patience_s: float = 30.0
    ) -> Transfer:
        """Send so much over TCP to a guest, where somebody listens now, and see how it came."""
        return transfer((self.pid, target.pid), target.address(version), port, megabytes << 20, patience_s)

    def reopens(
        self, target: Host, port: int, from_port: int, *, both: bool, version: int = 4, by: str = "", higher: int = 0
    ) -> float | None:
        """In how many seconds a connection that this one has lost is there again; `both`: that both have.

        `by` and `higher` as in `reaches`; see `sockets.reopened`.
        """
        own, places = target.address(version), (self.pid, target.pid)
        return reopened(places, by or own, port + higher, (own, port), from_port, both=both)

    def sends_raw(self, target: Host, protocol: int, payload: bytes, *, version: int = 4) -> None:
        """Send a packet of an IP protocol by its number; the kernel adds the header."""
        send_raw(self.pid, target.address(version), protocol, payload)

    def sends_datagram(self, target: Host, port: int, payload: bytes, *, version: int = 4) -> None:
        """Send a UDP datagram, whether or not somebody listens; the kernel makes fragments of a large one."""
        send_datagram(self.pid, target.address(version), port, payload)

    def listens(
        self, port: int, protocol: str = "tcp", *, version: int = 4, mute: bool = False, interval_s: float = 0.05
    ) -> Talk:
        """Take conversations at a port, and say something in each unless `mute`; see `talk`."""
        talk = self._talk("listen", protocol, self.address(version), port, mute, interval_s)
        talk.listening()
        return talk

    def talks(
        self,
        target: Host,
        port: int,
        protocol: str = "tcp",
        *,
        count: int = 1,
        from_port: int = 0,
        version: int = 4,
        mute: bool = False,
        interval_s: float = 0.05,
        by: str = "",
    ) -> Talk:
        """Begin conversations with whoever listens at a guest's port, `by` another address if any; see `talk`."""
        return self._talk("call", protocol, by or target.address(version), port, mute, interval_s, count, from_port)

    def hangs_up(self) -> None:
        """End all its conversations."""
        while self._talks:
            self._talks.pop().abandon()

    def _talk(
        self,
        role: str,
        protocol: str,
        address: str,
        port: int,
        mute: bool,
        interval_s: float,
        count: int = 1,
        from_port: int = 0,
    ) -> Talk:
        manner = "mute" if mute else "speak"
        arguments = (role, protocol, address, str(port), f"{interval_s:g}", manner, str(count), str(from_port))
        talk = Talk(self.pid, *arguments, directory=self.directory, interval_s=interval_s)
        self._talks.append(talk)
        return talk

    def ear(self, expression: str = "") -> Ear:
        """A capture of what arrives."""
        return Ear(self.name, self.pid, ("eth0",), expression)

    def finds_free(self, address: str) -> bool:
        """Whether nobody answers two probes for an address (RFC 5227)."""
        probe = ("arping", "-D", "-I", "eth0", "-c", "2", "-w", "2", address)
        return "Received 0 response" in self.run(*probe, codes=(0, 1))

    def knows(self, address: str, mac: str) -> None:
        """Write a neighbour down for good, so that nobody need be asked."""
        self.ip_batch(f"neigh replace {address} lladdr {mac} dev eth0 nud permanent")

    def forgets(self) -> None:
        """Forget all neighbours."""
        self.ip_batch("neigh flush dev eth0")

    def terminate(self) -> None:
        """End its pings and talks, then the node; its wire goes with the namespace."""
        for ping in self._pings:
            ping.abandon()
        self.hangs_up()
        super().terminate()


class Guest(Host):
    """A virtual machine; the other end of its wire is a tap of its hypervisor."""

    hypervisor: Hypervisor
    tap: str
    port_id: str
    network_id: str
    plugged = False

    def boot(self, addresses: Sequence[str], mac: str, mtu: int) -> None:
        """Set up both ends of the wire."""
        super().boot(addresses, mac, mtu)
        # The hypervisor's kernel must not answer what only the network may answer.
        self.hypervisor.sysctl(f"ipv4/conf/{self.tap}/arp_ignore", 8)
        self.hypervisor.ip_batch(f"link set {self.tap} up")

    def plug(self) -> None:
        """Plug the interface into the hypervisor's integration bridge, for its port."""
        self.hypervisor.plug_for(self.tap, self.port_id, self.mac)
        self.plugged = True

    def claim(self, port_id: str) -> None:
        """Say that the interface, which is on the bridge already, is that port's."""
        self.port_id, self.plugged = port_id, True
        self.hypervisor.claim(self.tap, port_id, self.mac)

    def unplug(self) -> None:
        """Take the interface off the bridge."""
        self.hypervisor.unplug(self.tap)
        self.plugged = False

"""Whatever dies, is cut off, lies or fights: allowed traffic goes on or comes back, tenants stay apart, all converges."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mininet_scenarios import controller_restart, hypervisor_restart
from mininet_scenarios.errors import Refused
from mininet_scenarios.frames import BROADCAST, token
from mininet_scenarios.hosts import Guest
from mininet_scenarios.hypervisor_restart import FAULTS, Fault
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.machines import BRIDGE
from mininet_scenarios.nodes import CONTROLLER, OPENFLOW_PORT, OVSDB_PORT, Node
from mininet_scenarios.pings import Ping
from mininet_scenarios.processes import inside
from mininet_scenarios.two_networks import build

INTERVAL_S = 0.02
BACK_S = 12
"""In which a database is back whose controller was away: its Manager row waits up to 8 s between two attempts."""
MOVED = "192.0.2.113"
CONNECTIONS = 300
GROWTH_MIB = 64


@pytest.fixture(scope="module")
def networks(lab: Lab) -> dict[str, Network]:
    """The two tenants of `two_networks`, with the same addresses."""
    return build(lab)


@pytest.fixture
def red(networks: dict[str, Network]) -> Network:
    """One of the tenants."""
    return networks["red"]


@contextmanager
def undisturbed(lab: Lab, *pairs: tuple[str, str]) -> Iterator[None]:
    """Assert that pings between guests lose nothing while the block runs."""
    with ExitStack() as stack:
        pings: list[tuple[tuple[str, str], Ping]] = []
        for sender, target in pairs:
            ping = lab.guests[sender].ping(lab.guests[target], interval_s=INTERVAL_S)
            stack.callback(ping.abandon)
            pings.append(((sender, target), ping))
            ping.first_reply(5)
        yield
        lost = {pair: ping.stop().lost for pair, ping in pings}
    assert lost == dict.fromkeys(pairs, 0)


def told(lab: Lab) -> dict[str, set[str]]:
    """The flows and groups of every hypervisor, as Open vSwitch prints them."""
    return {name: {*hv.flows(), *hv.groups().splitlines()} for name, hv in lab.hypervisors.items()}


def flows_of(guest: Guest) -> list[str]:
    """The flows by which its hypervisor takes frames from a guest's interface, or gives it any."""
    number = guest.hypervisor.vsctl("--if-exists", "get", "interface", guest.tap, "ofport").strip()
    here = re.compile(rf"\b(in_port=|output:){number}\b")
    return [flow for flow in guest.hypervisor.flows() if number and here.search(flow)]


# What dies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_dies_on_a_hypervisor_comes_back_and_no_tenant_hears_the_other(
    lab: Lab, networks: dict[str, Network], fault: Fault
) -> None:
    rows = list(hypervisor_restart.judge(fault, hypervisor_restart.restart(lab, fault)))
    assert [row for row in rows if not row.right] == []
    lab.settles()


def test_a_hypervisor_that_comes_late_goes_and_comes_back_elsewhere_is_followed(lab: Lab, red: Network) -> None:
    hv3, red1, red3 = lab.hypervisor("hv3"), lab.guests["red1"], lab.guests["red3"]
    hv3.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
    late = lab.guest("late", network=red, on="hv3", ip="10.0.0.30", mac="02:00:00:00:00:30")
    gone = lab.guest("gone", network=red, on="hv3", ip="10.0.0.31", mac="02:00:00:00:00:31")
    hv3.join()
    lab.converged()
    assert red1.pings(late)
    assert gone.pings(red3)
    first = hv3.vtep
    at_first = re.compile(rf"(?<!\d){re.escape(first)}(?!\d)")
    assert any(at_first.search(flow) for flow in told(lab)["hv1"])
    lab.settles()

    hv3.leave()
    lab.eventually("hv3 is gone", lambda: not lab.chassis()["hv3"]["connected"], 5)
    lab.eventually("its database is gone", lambda: not lab.chassis()["hv3"]["database_connected"], 5)
    assert lab.api.get(f"/v2.0/ports/{late.port_id}")["port"]["status"] == "ACTIVE", "it may well be running"
    with undisturbed(lab, ("red1", "red3"), ("blue2", "blue3")):
        lab.api.delete(f"/v2.0/ports/{gone.port_id}")
        lab.converged()
    assert not red1.pings(late, count=1)

    hv3.vtep = MOVED
    hv3.revive()
    hv3.join()
    lab.converged()
    lab.eventually("hv3 is there", lambda: lab.chassis()["hv3"]["encap_ip"] == MOVED, 10)
    lab.converged()
    for name, flows in told(lab).items():
        assert [flow for flow in flows if at_first.search(flow)] == [], f"{name} still knows {first}"
    assert red1.pings(late)
    assert late.pings(red3)
    assert not red1.pings(gone, count=1)
    mark = token()
    with lab.sniff() as heard:
        red1.tells(BROADCAST, mark)
    assert heard.copies(mark) == {"red2": 1, "red3": 1, "late": 1, "underlay": 2}
    lab.settles()


# What is cut off -----------------------------------------------------------------------------------------------------


def cut(lab: Lab, *, up: bool) -> None:
    """Cut hypervisors off from the management network, or join them again."""
    lab.controller.ip_batch(*(f"link set m-{name} {'up' if up else 'down'}" for name in ("hv1", "hv2")))


def test_traffic_goes_on_without_the_management_network_and_changes_meanwhile_are_made_up_for(
    lab: Lab, red: Network
) -> None:
    red1, red3 = lab.guests["red1"], lab.guests["red3"]
    gone = lab.guest("going", network=red, on="hv1", ip="10.0.0.40", mac="02:00:00:00:00:40")
    down = lab.guest("down", network=red, on="hv2", ip="10.0.0.41", mac="02:00:00:00:00:41")
    new = lab.machine("fresh", network=red, on="hv2", ip="10.0.0.42", mac="02:00:00:00:00:42")
    lab.converged()
    assert red1.pings(down)

    def noticed() -> bool:
        rows = lab.chassis()
        return not any(rows[name]["connected"] or rows[name]["database_connected"] for name in ("hv1", "hv2"))

    with undisturbed(lab, ("red1", "red3"), ("blue1", "blue2"), ("red2", "red1")):
        cut(lab, up=False)
        lab.eventually("the silence is noticed", noticed, 40)
        lab.api.delete(f"/v2.0/ports/{gone.port_id}")
        lab.api.put(f"/v2.0/ports/{down.port_id}", {"port": {"admin_state_up": False, "name": "renamed"}})
        port = lab.port("fresh", network=red, ip=new.ip, mac=new.mac)
        lab.network("green", cidr="10.0.0.0/24", project="project-green")
        time.sleep(2.0)
    new.port_id = port["id"]
    new.plug()  # its hypervisor's database knows, and can tell nobody
    cut(lab, up=True)
    lab.eventually("all are there", lambda: all(row["connected"] for row in lab.chassis().values()), 30)
    lab.converged()
    assert red1.pings(new)
    assert new.pings(red3)
    assert not red1.pings(down, count=1)
    assert not red3.pings(gone, count=1)
    assert flows_of(gone) == []
    lab.settles()
    for guest in (gone, down, new):
        lab.dismiss(guest)
    lab.settles()


# Who claims what another one has -------------------------------------------------------------------------------------


class Rivals:
    """Two machines on two hypervisors that were given one port."""

    ip, mac = "10.0.0.50", "02:00:00:00:00:50"

    def __init__(self, lab: Lab, network: Network) -> None:
        self._lab = lab
        port = lab.port("twice", network=network, ip=self.ip, mac=self.mac)
        self.older, self.newer = (
            lab.machine(name, network=network, on=on, ip=self.ip, mac=self.mac, port_id=port["id"])
            for name, on in (("older", "hv1"), ("newer", "hv2"))
        )

    def assert_holder(self, holder: Guest | None) -> None:
        """Assert that one of them, or none, is the port, and that nothing stands for the other."""
        path, where = f"/v2.0/ports/{self.older.port_id}", holder.hypervisor.name if holder else ""
        self._lab.eventually("the claim", lambda: self._lab.api.get(path)["port"]["binding:host_id"] == where, BACK_S)
        self._lab.converged()
        marks = {guest.name: token() for guest in (self.older, self.newer)}
        to_it, senders = token(), [self._lab.guests["red1"], self._lab.guests["red3"]]
        with self._lab.sniff() as heard:
            for guest in (self.older, self.newer):
                guest.tells(BROADCAST, marks[guest.name])
            for sender in senders:
                sender.tells(self.mac, to_it)
        assert heard.copies(to_it).keys() - {"underlay"} == ({holder.name} if holder else set())
        for guest in (self.older, self.newer):
            if guest is holder:
                assert heard.copies(marks[guest.name]).keys() >= {"red1", "red2", "red3"}
            else:
                assert heard.copies(marks[guest.name]) == {}
                assert flows_of(guest) == []
        if holder is None:
            assert [flow for flows in told(self._lab).values() for flow in flows if self.mac in flow] == []
        self._lab.settles()

    def bereave(self) -> None:
        """Let the newer win, and go."""
        self.older.plug()
        self.assert_holder(self.older)
        self.newer.plug()
        self.assert_holder(self.newer)
        self.older.plugged = False  # it has an interface, and no port
        self.newer.unplug()
        self.assert_holder(None)


@pytest.fixture
def rivals(lab: Lab, red: Network) -> Iterator[Rivals]:
    """Two machines that were given one port, not plugged yet; both are dismissed at the end."""
    rivals = Rivals(lab, red)
    yield rivals
    for guest in (rivals.older, rivals.newer):
        lab.dismiss(guest)


def test_of_two_claims_on_a_port_the_newer_wins_and_a_restart_of_the_controller_is_no_claim(
    lab: Lab, rivals: Rivals
) -> None:
    rivals.older.plug()
    lab.converged()
    rivals.newer.plug()
    rivals.assert_holder(rivals.newer)
    lab.controller.kill()
    lab.controller.start()
    rivals.assert_holder(rivals.newer)

    rivals.older.plugged = False  # it has an interface, and no port
    lab.controller.kill()
    rivals.newer.unplug()
    lab.controller.start()
    rivals.assert_holder(None)


def changed_mac(guest: Guest) -> None:
    """Change the row of a guest's interface, and nothing else."""
    guest.hypervisor.vsctl("set", "interface", guest.tap, 'external_ids:attached-mac="02:00:00:00:00:51"')


def plugged_anew(guest: Guest) -> None:
    """Take a guest's interface off the bridge, and put it there again."""
    guest.unplug()
    guest.plug()


def plugged_anew_at_once(guest: Guest) -> None:
    """The same in one transaction: only the row is another one."""
    claim = (f"external_ids:iface-id={guest.port_id}", f'external_ids:attached-mac="{guest.mac}"')
    put = ("add-port", BRIDGE, guest.tap, "--", "set", "interface", guest.tap, *claim)
    guest.hypervisor.vsctl("del-port", BRIDGE, guest.tap, "--", *put)


@pytest.mark.parametrize("again", [changed_mac, plugged_anew, plugged_anew_at_once])
def test_who_lost_a_port_to_a_claim_that_is_gone_has_it_back_once_its_own_row_changes(
    lab: Lab, rivals: Rivals, again: Callable[[Guest], None]
) -> None:
    rivals.bereave()
    again(rivals.older)
    status = f"/v2.0/ports/{rivals.older.port_id}"
    lab.eventually("the port is back", lambda: lab.api.get(status)["port"]["status"] == "ACTIVE", 5)
    rivals.older.plugged = True
    rivals.assert_holder(rivals.older)


@pytest.mark.parametrize("stays", [0, 1])
def test_of_two_interfaces_of_one_hypervisor_that_claim_a_port_at_once_the_one_that_stays_has_it(
    lab: Lab, red: Network, stays: int
) -> None:
    ip, mac = "10.0.0.60", "02:00:00:00:00:60"
    port = lab.port("twins", network=red, ip=ip, mac=mac)
    twins = [lab.machine(f"twin{n}", network=red, on="hv1", ip=ip, mac=mac) for n in (0, 1)]
    commands = [
        ("add-port", BRIDGE, twin.tap, "--", "set", "interface", twin.tap, f"external_ids:iface-id={port['id']}", "--")
        for twin in twins
    ]
    twins[0].hypervisor.vsctl(*(word for command in commands for word in command))
    for twin in twins:
        twin.port_id, twin.plugged = port["id"], True
    lab.converged()
    twins[1 - stays].unplug()
    lab.converged()
    assert lab.guests["red1"].pings(twins[stays])
    assert lab.guests["red3"].pings(twins[stays])
    assert flows_of(twins[1 - stays]) == []
    lab.settles()
    for twin in twins:
        lab.dismiss(twin)


def test_a_hypervisor_that_takes_another_name_takes_its_guests_along_and_back_again(lab: Lab, red: Network) -> None:
    hv1, red1, red3 = lab.hypervisors["hv1"], lab.guests["red1"], lab.guests["red3"]

    def works_as(name: str) -> bool:
        row = lab.chassis().get(name, {})
        return bool(row.get("connected")) and row["revision"] == row["applied_revision"] and not row["problem"]

    hv1.join({"system-id": "renamed"})
    lab.eventually("the hypervisor by its new name", lambda: works_as("renamed"), 10)
    lab.eventually("traffic", lambda: red3.pings(red1), 5)
    hv1.join()
    lab.eventually("the hypervisor by its old name", lambda: works_as("hv1"), 10)
    lab.api.delete("/v1/chassis/renamed")
    lab.converged()
    assert red1.pings(red3)
    assert red3.pings(red1)
    lab.settles()


def test_a_second_hypervisor_of_one_name_is_refused_and_the_first_is_unharmed(lab: Lab, red: Network) -> None:
    hv4 = lab.hypervisor("hv4")
    before, mods = lab.chassis()["hv1"], lab.hypervisors["hv1"].flows()

    def refused() -> list[str]:
        strangers = lab.api.get("/v1/chassis")["strangers"]
        return [row["reason"] for row in strangers if row["address"].startswith(hv4.management)]

    with undisturbed(lab, ("red1", "red3"), ("red1", "red2")):
        hv4.join({"system-id": "hv1"})
        lab.eventually("the second is shown", refused, 10)
        time.sleep(3.0)  # it tries again
        assert len(refused()) == 1
        assert "hv1" in refused()[0]
        lab.api.put(f"/v2.0/ports/{lab.guests['red1'].port_id}", {"port": {"name": "still mine"}})
    after = lab.chassis()["hv1"]
    assert after["connected"]
    assert after["database_connected"]
    unchanged = ("encap_ip", "datapath_id", "flow_mods", "problem")
    assert {key: after[key] for key in unchanged} == {key: before[key] for key in unchanged}
    assert lab.hypervisors["hv1"].flows().keys() == mods.keys()
    assert BRIDGE not in hv4.vsctl("list-br").split(), "nothing was done to it"
    log = lab.controller.log.read_text()
    assert log.count(f"hypervisor refused address={hv4.management}") == 1, "told once, however often it tries"

    hv4.join()
    lab.converged()
    lab.eventually("nobody is refused any more", lambda: not refused() or lab.chassis()["hv4"]["connected"], 10)
    lab.settles()
    with pytest.raises(Refused, match=f"ovs-vsctl del-manager -- del-controller {BRIDGE}"):
        lab.api.delete("/v1/chassis/hv4")
    hv4.vsctl("del-manager", "--", "del-controller", BRIDGE)
    del lab.hypervisors["hv4"]
    lab.eventually("hv4 is gone", lambda: not lab.chassis()["hv4"]["connected"], 10)
    lab.eventually("its database is gone", lambda: not lab.chassis()["hv4"]["database_connected"], 10)
    lab.controller.weft("chassis", "delete", "hv4")
    hv4.leave()
    lab.settles()


# Who lies ------------------------------------------------------------------------------------------------------------

HELLO, ERROR, ECHO, FEATURES, FEATURES_REPLY, PORT_STATUS, MULTIPART, MULTIPART_REPLY = 0, 1, 2, 5, 6, 12, 18, 19
MORE = 1


def message(kind: int, xid: int = 1, body: bytes = b"", *, length: int | None = None, version: int = 5) -> bytes:
    """An OpenFlow message; `length` is what it claims to be long."""
    return struct.pack("!BBHI", version, kind, 8 + len(body) if length is None else length, xid) + body


GREETING = message(HELLO, body=struct.pack("!HHI", 1, 8, 1 << 5))


def features(xid: int, datapath: int) -> bytes:
    """A features reply."""
    return message(FEATURES_REPLY, xid, struct.pack("!QIBB2xII", datapath, 0, 254, 0, 0x4F, 0))


class Liar:
    """Connects from a machine in the management network, and says what it likes. All it says is drawn from a seed."""

    def __init__(self, machine: Node, seed: int) -> None:
        self._machine, self.draw = machine, random.Random(seed)
        self._held: list[socket.socket] = []

    @contextmanager
    def connection(self, port: int, hold: bool = False) -> Iterator[socket.socket]:
        """A connection to the controller; one that is held stays open until `release`."""
        with inside(self._machine.pid):
            peer = socket.create_connection((CONTROLLER, port), timeout=5)
        peer.settimeout(0.2)
        try:
            with suppress(OSError):  # we were thrown out, as we should be; or left alone
                yield peer
        finally:
            if hold:
                self._held.append(peer)
            else:
                peer.close()

    def release(self) -> None:
        """Close what is still open."""
        for peer in self._held:
            peer.close()

    def noise(self, most: int = 4096) -> bytes:
        """Bytes that mean nothing."""
        return self.draw.randbytes(self.draw.randint(1, most))

    def bent(self, data: bytes) -> bytes:
        """Data with some bytes changed, lost or doubled."""
        bent = bytearray(data)
        for _ in range(self.draw.randint(1, 6)):
            at = self.draw.randrange(len(bent))
            match self.draw.randrange(4):
                case 0:
                    bent[at] = self.draw.randrange(256)
                case 1:
                    bent[at : at + self.draw.randint(1, 8)] = b"\xff" * 4
                case 2:
                    bent[at:at] = bent[at : at + self.draw.randint(1, 64)]
                case _ if len(bent) > 16:
                    del bent[at : at + self.draw.randint(1, 8)]
        return bytes(bent)


def requests(peer: socket.socket, ending: threading.Event | None = None) -> Iterator[tuple[int, int, bytes]]:
    """What the controller sends: type, xid and body of each message; until it is silent, or until an event."""
    waiting = b""
    while True:
        while len(waiting) >= 8 and len(waiting) >= (length := int.from_bytes(waiting[2:4], "big")) >= 8:
            yield waiting[1], int.from_bytes(waiting[4:8], "big"), waiting[8:length]
            waiting = waiting[length:]
        try:
            data = peer.recv(65536)
        except TimeoutError:
            if ending is None or ending.is_set():
                return
            continue
        if not data:
            return
        waiting += data


def shake_hands(peer: socket.socket, datapath: int) -> None:
    """Be a switch, as far as that."""
    peer.sendall(GREETING)
    for kind, xid, _ in requests(peer):
        if kind == FEATURES:
            peer.sendall(features(xid, datapath))
            return


def lie_in_openflow(liar: Liar) -> None:
    """One connection to the OpenFlow port."""
    draw = liar.draw
    hold = draw.random() < 0.15
    with liar.connection(OPENFLOW_PORT, hold) as peer:
        story = draw.randrange(9)
        if story >= 4:
            shake_hands(peer, draw.getrandbits(64))
        match story:
            case 0:  # nothing, or noise
                peer.sendall(liar.noise() if draw.random() < 0.8 else b"")
            case 1:  # another protocol, or another version of this one
                peer.sendall(
                    draw.choice([b"GET / HTTP/1.1\r\n\r\n", message(HELLO, version=draw.choice((0, 1, 4, 255)))])
                )
            case 2:  # a greeting that lies about its length
                peer.sendall(message(HELLO, body=liar.noise(64), length=draw.choice((0, 7, 8, 9, 20, 65535))))
            case 3:  # half a greeting
                peer.sendall(GREETING[: draw.randrange(1, len(GREETING))])
            case 4:  # any message, claiming any length
                lengths = (0, 7, 8, draw.randrange(65536), 65535)
                peer.sendall(message(draw.randrange(40), body=liar.noise(), length=draw.choice(lengths)))
            case 5:  # errors about what nobody said
                body = struct.pack("!HH", draw.randrange(20), draw.randrange(20)) + liar.noise(64)
                for xid in range(20):
                    peer.sendall(message(ERROR, xid, body[: draw.randrange(len(body))]))
            case 6:  # answers that nobody asked for, bent
                body = struct.pack("!HH4x", draw.choice((1, 7, 13, 16, 99)), draw.choice((0, MORE))) + liar.noise()
                for xid in range(20):
                    peer.sendall(liar.bent(message(MULTIPART_REPLY, xid, body)))
            case 7:  # port changes, bent
                body = struct.pack("!B7xIH2x6s2x16sII", 0, 7, 40, bytes(6), b"tap", 0, 0)
                peer.sendall(b"".join(liar.bent(message(PORT_STATUS, 1, body)) for _ in range(20)))
            case _:  # a thousand questions, and no ear for the answers
                peer.sendall(message(ECHO, 1, bytes(1000)) * 1000)
        if draw.random() < 0.5:
            while peer.recv(65536):
                pass


def rpc(**members: object) -> bytes:
    """A JSON-RPC message."""
    return json.dumps(members).encode()


def monitored(liar: Liar) -> object:
    """An answer to `monitor`, of almost the right shape."""
    draw = liar.draw
    keys: list[list[object]] = [["weft-encap-ip", "192.0.2.99"], ["weft-encap-type", "vxlan"], ["hostname", 7]]
    strange: list[object] = [None, 7, "x", [], {}, ["map", 7], ["set", [["map", []]]], ["uuid", 7], True, [[[[]]]]]
    value = draw.choice(strange)
    root = draw.choice(
        [{"new": {"external_ids": ["map", keys]}}, {"new": {"external_ids": value}}, {"new": value}, value]
    )
    bridge = {
        "new": {"name": "br-int", "ports": value, "datapath_id": value, "controller": ["set", [["uuid", "nowhere"]]]}
    }
    tables: object = {
        "Open_vSwitch": {"a": root},
        "Bridge": {"b": bridge},
        draw.choice(["Port", "Nonsense"]): {"c": value},
    }
    return draw.choice([tables, tables, {"Open_vSwitch": value}, value])


def lie_in_ovsdb(liar: Liar) -> None:
    """One connection to the OVSDB port."""
    draw = liar.draw
    hold = draw.random() < 0.15
    with liar.connection(OVSDB_PORT, hold) as peer:
        match draw.randrange(8):
            case 0:
                peer.sendall(liar.noise() if draw.random() < 0.8 else b"")
            case 1:  # no JSON, or half of it
                peer.sendall(
                    draw.choice([b'{"id":', b"{}" * 99, b"[1]", b'{"id": NaN}', b'{"a": "\\ud800"}', b"{'a'}"])
                )
            case 2:  # nested deeper than anybody needs
                peer.sendall(b'{"id":' + b"[" * draw.choice((60, 100, 100_000)))
            case 3:  # one message that does not end
                with suppress(TimeoutError):
                    for _ in range(20):
                        peer.sendall(b'{"id":"' if _ == 0 else bytes(1 << 20).replace(b"\0", b"x"))
            case 4:  # questions, and bent ones
                question = rpc(id=1, method=draw.choice(["echo", "transact", "steal"]), params=["x" * 1000])
                peer.sendall(question * 50 + liar.bent(question))
            case 5:  # news before anybody asked
                peer.sendall(rpc(id=None, method="update", params=["weft", monitored(liar)]))
            case 6:  # an answer of the wrong kind
                peer.recv(65536)
                peer.sendall(rpc(id="1", result=monitored(liar), error=draw.choice([None, "no", {"error": 7}, []])))
            case _:  # an answer that is bent
                peer.recv(65536)
                peer.sendall(liar.bent(rpc(id="1", result=monitored(liar), error=None)))
        if draw.random() < 0.5:
            while peer.recv(65536):
                pass


def resident_mib(lab: Lab) -> float:
    """How much memory the controller has."""
    assert lab.controller.daemon is not None
    status = Path(f"/proc/{lab.controller.daemon.pid}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


@contextmanager
def meanwhile(chore: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Do a chore in a thread while the block runs; the event is set when it is to end, and what it raises is raised."""
    ending, raised = threading.Event(), []

    def run() -> None:
        try:
            chore(ending)
        except BaseException as error:  # for the thread that waits
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield ending
    finally:
        ending.set()
        thread.join()
    if raised:
        raise raised[0]


def change_s(lab: Lab, guest: Guest, up: bool) -> float:
    """How long a change of a port takes, from the call to the last barrier."""
    start = time.monotonic()
    lab.api.put(f"/v2.0/ports/{guest.port_id}", {"port": {"admin_state_up": up}})
    lab.converged()
    return time.monotonic() - start


@pytest.fixture(scope="module")
def mallory(lab: Lab) -> Node:
    """A machine in the management network that is no hypervisor."""
    return lab.stranger("mallory")


def is_unharmed(log: str, guest: Guest, took: list[float]) -> None:
    """Assert that changes went on while others lied, and that nobody was surprised."""
    print(f"{guest}: {len(took)} changes, at most {max(took):.2f} s, the median {sorted(took)[len(took) // 2]:.2f} s")
    assert len(took) > 10
    assert max(took) < 5
    assert "Traceback" not in log


@pytest.mark.parametrize("lie", [lie_in_openflow, lie_in_ovsdb])
def test_liars_are_thrown_out_and_nobody_else_notices(
    lab: Lab, networks: dict[str, Network], mallory: Node, lie: Callable[[Liar], None]
) -> None:
    liar, victim, took = Liar(mallory, seed=14), lab.guests["red2"], list[float]()
    said, before_mib = lab.controller.log.stat().st_size, resident_mib(lab)
    done = 0

    def chore(ending: threading.Event) -> None:
        nonlocal done
        while done < CONNECTIONS and not ending.is_set():
            lie(liar)
            done += 1

    with undisturbed(lab, ("red1", "red3"), ("blue2", "blue3")), meanwhile(chore) as ended:
        while done < CONNECTIONS and not ended.is_set():
            took.append(change_s(lab, victim, up=bool(len(took) % 2)))
    liar.release()
    change_s(lab, victim, up=True)
    log = lab.controller.log.read_text()[said:]
    is_unharmed(log, victim, took)
    after_mib = resident_mib(lab)
    print(f"{done} connections, {before_mib:.0f} MiB before, {after_mib:.0f} MiB after")
    assert done == CONNECTIONS
    assert after_mib < before_mib + GROWTH_MIB
    assert len(re.findall("sent what cannot be read", log)) > CONNECTIONS / 10, "it is told who lied"
    lab.settles()


# A switch that is one of the cloud's, as far as anybody can see, and does not behave ----------------------------------

BARRIER, BARRIER_REPLY, BUNDLE, BUNDLE_ADD = 20, 21, 33, 34


def behave(kind: int, xid: int, body: bytes) -> bytes:
    """What an honest and empty switch answers."""
    match kind:
        case _ if kind == ECHO:
            return message(ECHO + 1, xid, body)
        case _ if kind == MULTIPART:
            return message(MULTIPART_REPLY, xid, body[:2] + bytes(6))
        case _ if kind == BARRIER:
            return message(BARRIER_REPLY, xid)
        case _ if kind == BUNDLE:
            bundle, step, flags = struct.unpack_from("!IHH", body)
            return message(BUNDLE, xid, struct.pack("!IHH", bundle, step + 1, flags))
    return b""


def refuse(liar: Liar, kind: int, xid: int, body: bytes) -> bytes:
    """Take no flow."""
    return message(ERROR, xid, struct.pack("!HH", 5, 1)) if kind == BUNDLE_ADD else behave(kind, xid, body)


def err(liar: Liar, kind: int, xid: int, body: bytes) -> bytes:
    """Answer questions by errors, now and then."""
    return message(ERROR, xid, struct.pack("!HH", 1, 1)) if liar.draw.random() < 0.3 else behave(kind, xid, body)


def stall(liar: Liar, kind: int, xid: int, body: bytes) -> bytes:
    """Be alive, and answer nothing."""
    return behave(kind, xid, body) if kind == ECHO else b""


def bend(liar: Liar, kind: int, xid: int, body: bytes) -> bytes:
    """Answer almost what is right."""
    answer = behave(kind, xid, body)
    return liar.bent(answer) if answer and liar.draw.random() < 0.3 else answer


def babble(liar: Liar, kind: int, xid: int, body: bytes) -> bytes:
    """Answer by noise, now and then."""
    return liar.noise() if liar.draw.random() < 0.2 else behave(kind, xid, body)


def go_on(liar: Liar, kind: int, xid: int, body: bytes) -> bytes:
    """Answer in more and more parts, and claim that the last is yet to come."""
    if kind != MULTIPART:
        return behave(kind, xid, body)
    return message(MULTIPART_REPLY, xid, body[:2] + struct.pack("!H4x", MORE)) * 10_000


Manner = Callable[[Liar, int, int, bytes], bytes]
MANNERS: tuple[Manner, ...] = (refuse, err, stall, bend, babble, go_on)


def be_database(peer: socket.socket, name: str, datapath: int, ending: threading.Event) -> None:
    """Be the database of a hypervisor that is not yet told its tunnel address, and so is left as it is."""
    keys = ["map", [["system-id", name], ["weft-encap-type", "vxlan"]]]
    bridge = {"name": BRIDGE, "datapath_id": f"{datapath:016x}"}
    tables = {"Open_vSwitch": {"root": {"new": {"external_ids": keys}}}, "Bridge": {"bridge": {"new": bridge}}}
    waiting, decoder = "", json.JSONDecoder()
    while not ending.is_set():
        with suppress(TimeoutError):
            waiting += peer.recv(65536).decode()
        with suppress(ValueError):
            while waiting:
                asked, end = decoder.raw_decode(waiting)
                waiting = waiting[end:]
                if "method" in asked:
                    result = tables if asked["method"] == "monitor_cond" else asked["params"]
                    peer.sendall(rpc(id=asked["id"], result=result, error=None))


def be_switch(liar: Liar, datapath: int, manner: Manner, ending: threading.Event) -> int:
    """Connect as a switch again and again, and answer in one's manner; how often."""
    times = 0
    while not ending.is_set():
        with liar.connection(OPENFLOW_PORT) as peer:
            shake_hands(peer, datapath)
            times += 1
            for asked in requests(peer, ending):
                peer.sendall(manner(liar, *asked))
    return times


def test_a_switch_that_errs_stalls_or_babbles_harms_nobody_else(
    lab: Lab, networks: dict[str, Network], mallory: Node
) -> None:
    victim, took = lab.guests["red2"], list[float]()
    said, before_mib = lab.controller.log.stat().st_size, resident_mib(lab)
    names = {manner: f"mallory-{manner.__name__}" for manner in MANNERS}

    def database(number: int, manner: Manner) -> Callable[[threading.Event], None]:
        def chore(ending: threading.Event) -> None:
            with Liar(mallory, number).connection(OVSDB_PORT) as peer:
                be_database(peer, names[manner], 0xBAD0 + number, ending)

        return chore

    def switch(number: int, manner: Manner) -> Callable[[threading.Event], None]:
        return lambda ending: print(manner.__name__, be_switch(Liar(mallory, number), 0xBAD0 + number, manner, ending))

    with ExitStack() as stack:
        stack.enter_context(undisturbed(lab, ("red1", "red3"), ("blue2", "blue3")))
        for number, manner in enumerate(MANNERS):
            stack.enter_context(meanwhile(database(number, manner)))
            stack.enter_context(meanwhile(switch(number, manner)))
        lab.eventually("all are here", lambda: set(names.values()) <= lab.chassis().keys(), 10)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            took.append(change_s(lab, victim, up=bool(len(took) % 2)))
        rows = lab.chassis()
    change_s(lab, victim, up=True)
    log = lab.controller.log.read_text()[said:]
    is_unharmed(log, victim, took)
    after_mib = resident_mib(lab)
    print(f"{before_mib:.0f} MiB before, {after_mib:.0f} MiB after")
    assert after_mib < before_mib + GROWTH_MIB
    assert rows[names[refuse]]["refused_flows"]
    for name in names.values():
        lab.eventually(f"{name} is gone", lambda: not lab.chassis()[name]["database_connected"], 10)  # noqa: B023
        lab.api.delete(f"/v1/chassis/{name}")
    lab.settles()


def test_who_claims_the_datapath_of_a_hypervisor_does_not_get_its_place(
    lab: Lab, networks: dict[str, Network], mallory: Node
) -> None:
    liar, victim = Liar(mallory, seed=1), lab.guests["red2"]
    said, before = lab.controller.log.stat().st_size, told(lab)
    with liar.connection(OPENFLOW_PORT) as peer:
        shake_hands(peer, int(lab.chassis()["hv1"]["datapath_id"], 16))
        time.sleep(0.5)
        for up in (False, True):
            change_s(lab, victim, up)
        assert told(lab) == before
    lab.settles()
    strangers = lab.api.get("/v1/chassis")["strangers"]
    assert any("is the switch of hv1" in row["reason"] for row in strangers)
    assert "switch disconnected chassis=hv1" not in lab.controller.log.read_text()[said:]


def test_a_flood_of_errors_is_no_flood_of_log_lines(lab: Lab, mallory: Node) -> None:
    liar, said = Liar(mallory, seed=2), lab.controller.log.stat().st_size
    with liar.connection(OPENFLOW_PORT) as peer:
        shake_hands(peer, 0xBAD)
        peer.sendall(message(ERROR, 99, struct.pack("!HH", 1, 1)) * 10_000)
        lab.eventually("all of them are told", lambda: errors_told(lab, said) == 10_000, 10)
    assert len(lab.controller.log.read_text()[said:].splitlines()) < 50
    lab.settles()


def errors_told(lab: Lab, since: int) -> int:
    """How many unexpected errors the log tells of from there on, one by one and counted."""
    log = lab.controller.log.read_text()[since:]
    return log.count("error unexpected") + sum(map(int, re.findall(r"errors unexpected switch=\S+ more=(\d+)", log)))


# What is restarted again and again; ten times by `make soak` ---------------------------------------------------------


def test_restarts_of_the_controller_in_a_row_lose_nothing_and_send_no_flow(lab: Lab) -> None:
    flows = controller_restart.build(lab)
    rows = list(controller_restart.judge(controller_restart.restart(lab, flows, restarts=3)))
    assert len(flows) == 200
    assert [row for row in rows if not row.right] == []
    lab.settles()

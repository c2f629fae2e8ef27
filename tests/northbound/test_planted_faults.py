"""What somebody did to the flows of a hypervisor is found, and named: the table in `docs/debugging.md`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.flows import probe
from controller.flows.fields import ETH_DST, ETH_SRC, IN_PORT, IPV4_DST, IPV4_SRC, TCP_DST, TCP_SRC, TTL
from controller.flows.flow import Flow
from controller.flows.packet import Packet, packet
from controller.model.records import Address, Link, Mac
from controller.model.store import MemoryJournal, Store
from controller.prove.cloud import Held
from controller.prove.proof import Answer, Question, prove
from controller.southbound.dumps import Dump
from controller.southbound.fleet import Fleet
from controller.southbound.messages import PortDesc
from controller.southbound.openflow import encode_flow
from northbound import archive, cli, v1
from northbound.commands.switches import DIFFERENCES
from tests.cloud import Cloud
from tests.controller.prove.clouds import Fault, added, altered, cloud, removed, routed
from tests.northbound.test_prove import IN_STEP, dump
from tests.open_vswitch import OpenVSwitch

pytestmark = pytest.mark.ovs

NORMAL = "cookie=0x1, table=0, priority=65535,in_port=11 actions=NORMAL"


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault on hv1, and how it is found: by which claim, and a sender or receiver (or part of the sentence) that is
    named; by which kinds of difference, and whose it is, or which flow; for what reason guests' packets are dropped."""

    what: str
    fault: Fault
    claim: str
    named: str
    diff: str
    whose: str
    drops: str = ""

    @property
    def row(self) -> str:
        """It in the table of the documentation."""
        return f"| {self.what} | {self.claim} | {self.diff} | {self.drops} |"


FAULTS = (
    Planted("a foreign NORMAL", added(NORMAL), "isolation", "b1", "foreign", "cookie=0x1,table=0,priority=65535,in_port=11"),
    Planted("a flow that joins tenants", added("table=36,priority=300,reg6=0x1 actions=output:12"), "isolation", "b1", "foreign", "table=36,priority=300,reg6=0x00000001"),
    Planted("a wrong tunnel key", altered("set_field:0x64->tun_id", "set_field:0xc8->tun_id"), "isolation", "b2", "altered", "network red"),
    Planted("a network of the wrong key", altered("set_field:0x2->reg6", "set_field:0x1->reg6", "table=0,"), "isolation", "b1", "altered", "port b1"),
    Planted("a wrong segment of what arrives", altered("set_field:0x1->reg6", "set_field:0x2->reg6", "tun_id=0x64"), "isolation", "b1", "altered", "network red"),
    Planted("a wrong output port", altered("output:11", "output:12", "table=50"), "isolation", "b1", "altered", "port vm2"),
    Planted("a stale member in a flood group", altered("set_field:0x2->reg2", "set_field:0x4->reg2", "group_id"), "isolation", "b1", "altered", "network red"),
    Planted("a way out to the host", added("table=20,priority=999 actions=LOCAL"), "isolation", "LOCAL", "foreign", "table=20,priority=999"),
    Planted("an interface under the wrong number", altered("in_port=10,", "in_port=99,", "table=0,priority=100"), "missing", "vm1", "missing, unwanted", "port vm1", "TAGGED"),
    Planted("a widened source MAC", altered("eth_src=02:00:00:00:00:01,", "", "table=4,", "reg1=0x1 "), "spoofing", "vm1", "missing, unwanted", "port vm1"),
    Planted("a widened source address", altered("nw_src=10.0.0.1,", "", "table=5,", "reg1=0x1 "), "spoofing", "vm1", "missing, unwanted", "port vm1"),
    Planted("port security passed by", altered("goto_table:4", "goto_table:8", "in_port=10"), "spoofing", "vm1", "altered", "port vm1"),
    Planted("a rogue DHCP server", removed("table=5,priority=120", "ip,nw_proto=17"), "spoofing", "hv1", "missing", "address_security rogue"),
    Planted("a missing flow to a port here", removed("table=36,priority=100", "00:02,reg6=0x1"), "missing", "vm2", "missing", "port vm2", "UNKNOWN_UNICAST"),
    Planted("a missing flow to a port elsewhere", removed("table=36,priority=100", "00:03,reg6=0x1"), "missing", "vm3", "missing", "port vm3", "UNKNOWN_UNICAST"),
    Planted("a wrong hypervisor", altered("192.0.2.2->tun_dst", "192.0.2.9->tun_dst", "table=36"), "astray", "hv1", "altered", "port vm3"),
    Planted("a missing member of a flood group", altered("bucket=actions=set_field:0x2->reg2,resubmit(,43)", "", "group_id"), "missing", "vm2", "altered", "network red"),
    Planted("a missing group", removed("group_id=805306369"), "missing", "vm2", "missing", "network red", "NO_MEMBERS"),
    Planted("a missing policy", removed("table=17,"), "missing", "vm2", "missing", "securitygroup web", "EGRESS_UNGUARDED"),
    Planted("a narrowed rule", altered("ct_tp_dst=80", "ct_tp_dst=81", "table=14"), "missing", "vm2", "missing, unwanted", "securitygroup web", "INGRESS_DENIED"),
    Planted("a widened rule", altered(",ct_tp_dst=80", "", "table=14"), "excess", "vm2", "missing, unwanted", "securitygroup web"),
    Planted("security groups passed by", altered("goto_table:43", "goto_table:50", "table=36", "00:02,"), "excess", "vm2", "altered", "port vm2"),
    Planted("a wrong next table", altered("goto_table:36", "goto_table:37", "table=20,priority=0"), "excess", "vm2", "altered", "l2_dispatch one"),
    Planted("a missing miss flow", removed("table=4,priority=0"), "hole", "port_security", "missing", "port_security miss"),
    Planted("a loop in a switch", altered("goto_table:36", "resubmit(,20)", "table=20,priority=0"), "loop", "hv1", "altered", "l2_dispatch one"),
    Planted("a mirror of somebody else", added("table=50,priority=200,reg2=0x2 actions=output:11,output:12"), "isolation", "b1", "foreign", "table=50,priority=200,reg2=0x00000002"),
    Planted("a MAC address rewritten", altered("set_field:0x2->reg2", "set_field:02:00:00:00:00:99->eth_dst,set_field:0x2->reg2", "table=36"), "rewritten", "vm2", "altered", "port vm2"),
    Planted("a swapped conntrack zone", altered("load:0x1->NXM_NX_REG3[0..15]", "load:0x2->NXM_NX_REG3[0..15]", "table=16", "reg10=0x1 "), "zone", "vm1", "altered", "port vm1"),
)  # fmt: skip
ROUTED = (
    Planted("a wrong MAC address of a next hop", altered("00:04->eth_dst", "00:99->eth_dst", "table=30"), "missing", "vm4", "altered", "port vm4", "UNKNOWN_UNICAST"),
    Planted("a route that leads elsewhere", altered("set_field:0x2->reg6", "set_field:0x1->reg6", "table=27"), "missing", "vm4", "altered", "port r-pink", "NO_NEIGHBOUR"),
    Planted("a missing route", removed("table=27", "10.1.0.0"), "missing", "vm4", "missing", "port r-pink", "NO_ROUTE"),
)  # fmt: skip


def about(answer: Answer, planted: Planted) -> bool:
    """Is there something against that claim which names it?"""
    return any(
        (each.claim == planted.claim
        and planted.named in (each.sender_port, each.receiver_port, each.chassis, *each.sentence.replace(",", " ").split()))
        or (planted.named in each.sentence and each.claim == planted.claim)
        for each in answer.violations
    )  # fmt: skip


def commands(before: Sequence[tuple[str, int]], after: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What somebody types to have a switch hold other lines: a command of ovs-ofctl, and a line. Cookies stay."""
    lines = [line for line, _ in before]
    if len(lines) == len(after):
        changed = [(old, cookie, new) for (old, cookie), new in zip(before, after, strict=True) if old != new]
    else:
        changed = [(old, cookie, "") for old, cookie in before if old not in after]
        changed += [("", 0, new) for new in after if new not in lines]
    for old, cookie, new in changed:
        if old.startswith("group_id"):
            yield ("mod-group", new) if new else ("del-groups", old.split(",")[0])
            continue
        key, was = new.split(" actions=")[0], old.split(" actions=")[0]
        if old and was != key:
            yield "--strict del-flows", was
        if new:
            yield "add-flow", f"cookie={cookie:#x},{new}" if cookie else new


class Site:
    """A cloud of which a real switch is hv1, and what guests there send: a first packet of TCP each."""

    def __init__(self, made: Cloud, switch: OpenVSwitch, home: Path, packets: Sequence[Packet]) -> None:
        self.made, self.switch, self.home, self.packets = made, switch, home, packets
        self.fleet = Fleet(Store(MemoryJournal(), made.model), made.engine)
        self.fleet.remember("hv2", replace(IN_STEP, datapath_id=2), dump(made, "hv2"))
        self.sent = 0

    def harmed(self, fault: Fault) -> Dump:
        """What it holds, and has counted, when somebody did this by hand to a switch that held what it should."""
        desired = [*self.made.engine.desired("hv1").values()]
        before = [
            (str(entry.item), encode_flow(entry.item, entry.app).cookie if isinstance(entry.item, Flow) else 0)
            for entry in desired
        ]
        self.switch.begin_anew()
        self.switch.hold((entry.item, entry.app) for entry in desired)
        for command, line in commands(before, fault([line for line, _ in before])):
            self.switch.ofctl(command, line)
        self.sent += 1
        for each in self.packets:
            frame = probe.frame(each.put(TCP_SRC, 10000 + self.sent), b"weft0123456789ab")
            self.switch.receive(each[IN_PORT], frame)
        links = self.made.model.where(Link, chassis="hv1")
        described = tuple(PortDesc(link.ofport, link.interface, "02:00:00:00:00:ff", 0, 4) for link in links)
        found = replace(self.switch.dumped(), described=described)
        self.fleet.remember("hv1", replace(IN_STEP, datapath_id=1), found)
        return found

    def proven(self) -> Answer:
        """What is proven of what switches hold."""
        gathered = asyncio.run(archive.gather(self.fleet, None, lambda: None))
        held = {}
        for name, found in gathered.dumps.items():
            flows, groups = self.fleet.inspection.lines(name, found.installed)
            held[name] = Held(flows, groups, {port.number: port.name for port in found.described})
        return prove(Question(tuple(gathered.records), held, followed=0))

    def kept(self) -> str:
        """The same in a file."""
        gathered = asyncio.run(archive.gather(self.fleet, None, v1.Routes(self.fleet).statuses))
        path = self.home / "kept"
        path.write_bytes(archive.packed(archive.members(gathered, v1.explanation)))
        return str(path)


def segment(ofport: int, source: tuple[str, str], target: tuple[str, str]) -> Packet:
    """The first of a connection to port 80."""
    ends = (
        ETH_SRC(Mac(source[0])),
        ETH_DST(Mac(target[0])),
        IPV4_SRC(Address(source[1])),
        IPV4_DST(Address(target[1])),
    )
    return packet(IN_PORT(ofport), *ends, TCP_DST(80), TTL(64))


VM1, VM2, VM3 = ((f"02:00:00:00:00:0{n}", f"10.0.0.{n}") for n in (1, 2, 3))
MANY, VM4 = ("ff:ff:ff:ff:ff:ff", "10.0.0.255"), ("02:00:00:00:0a:01", "10.1.0.4")
"""MAC address and address of whom vm1 sends to: all, and vm4 by the router."""


@pytest.fixture(scope="module")
def site(open_vswitch: OpenVSwitch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    packets = [segment(10, VM1, to) for to in (VM2, VM3, MANY)]
    yield Site(cloud(), open_vswitch, tmp_path_factory.mktemp("site"), packets)
    open_vswitch.begin_anew()


@pytest.fixture(scope="module")
def routed_site(open_vswitch: OpenVSwitch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield Site(routed(), open_vswitch, tmp_path_factory.mktemp("site"), [segment(10, VM1, VM4)])
    open_vswitch.begin_anew()


SIGNS = {sign: kind for kind, sign in DIFFERENCES.items()}


def differences(said: Sequence[str]) -> tuple[str, str]:
    """What `weft diff` says of hv1: the kinds of difference, and all its words."""
    found = {SIGNS[line.split()[1]] for line in said if line.startswith("hv1 ")}
    return ", ".join(kind for kind in DIFFERENCES if kind in found), "\n".join(said)


def judge(site: Site, planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    """What every command says of a fault is what stands in its columns."""
    site.harmed(planted.fault)
    answer, kept = site.proven(), site.kept()
    assert about(answer, planted), [(each.claim, each.sentence) for each in answer.violations]
    assert cli.main(["diff", "--bundle", kept]) == 1
    kinds, words = differences(capsys.readouterr().out.splitlines())
    assert (kinds, planted.whose in words) == (planted.diff, True), words
    assert cli.main(["drops", "hv1", "--bundle", kept]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()[:-1]]
    assert {(line[0], line[2]) for line in told} == ({("hv1", planted.drops)} if planted.drops else set()), told


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.what)
def test_a_fault_is_found_and_named(planted: Planted, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    judge(site, planted, capsys)


@pytest.mark.parametrize("planted", ROUTED, ids=lambda planted: planted.what)
def test_a_fault_of_a_router_is_found_and_named(
    planted: Planted, routed_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(routed_site, planted, capsys)


@pytest.mark.parametrize("which", ["site", "routed_site"])
def test_nothing_is_found_where_nothing_was_planted(
    which: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what guests send arrives: the packets that show drops are dropped for the fault."""
    found: Site = request.getfixturevalue(which)
    found.harmed(lambda lines: lines)
    answer, kept = found.proven(), found.kept()
    assert (answer.violations, answer.notes) == ((), ())
    assert cli.main(["diff", "--bundle", kept]) == 0
    assert cli.main(["drops", "hv1", "--bundle", kept]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 packets dropped by 0 flows"


def test_the_documentation_has_this_table() -> None:
    """Row by row, and no other."""
    _, _, told = (Path(__file__).parents[2] / "docs/debugging.md").read_text().partition("### What is found by what\n")
    rows = [line for line in told.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert rows[1:] == [planted.row for planted in (*FAULTS, *ROUTED)]

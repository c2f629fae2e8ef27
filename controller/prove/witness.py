"""One packet for many: of a set that is against a claim, a packet that an operator can send, its way, and the flows
there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.flows.fields import FRAGMENT, ipv4_text, mac_text
from controller.flows.probe import DSCP
from controller.model.records import Port
from controller.prove.atoms import SORTS
from controller.prove.claims import Suspicion
from controller.prove.cloud import Cloud, Origin, Survey
from controller.prove.sets import WIDTHS, Set, Space, is_header
from controller.prove.states import State, Step
from controller.prove.values import block, number_of

_NICE: Final = (
    ("vlan_tci", 0), ("ip_frag", 0), ("eth_type", 0x0800), ("nw_proto", 6), ("tp_dst", 80),
    ("tp_dst", 40000), ("nw_ttl", 64), ("tp_src", 1024), ("nw_tos", 0), ("tcp_flags", 2),
)  # fmt: skip
"""What a packet is made to be, where it may: the first of a connection."""
_GROUP: Final = 1 << 40
"""The bit of MAC addresses that are for many."""
_SOMEBODY: Final = (
    ("eth_dst", 0x020000FFFFFE), ("nw_dst", 0xC6336401), ("ipv6_dst", 0x20010DB8_00000000_00000000_00000001),
)  # fmt: skip
"""A MAC address and addresses that nobody has (RFC 5737, RFC 3849)."""
_ICMP: Final = ((0x0800, 1, 8), (0x86DD, 58, 128))
"""By family and protocol, the type of what asks for an echo."""
_WORDS: Final = {
    (0x0800, 1): "icmp", (0x0800, 6): "tcp", (0x0800, 17): "udp", (0x0800, 132): "sctp",
    (0x86DD, 58): "icmp6", (0x86DD, 6): "tcp6", (0x86DD, 17): "udp6", (0x86DD, 132): "sctp6",
}  # fmt: skip
_FAMILIES: Final = {0x0800: "ip", 0x86DD: "ipv6", 0x0806: "arp"}


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet that is against a claim: who sends it, what it is (`fields`, as `ofproto/trace` reads them), and the
    flows that it meets, one behind the other.

    `rounds`: it goes round and round, or may; None if it was not followed. `reached`: where copies of it leave to
    guests and wires. `marked`: with the mark of a probe (`controller.flows.probe`) it is against the claim, too.
    """

    sender: Origin
    fields: str
    values: Mapping[str, int]
    way: tuple[Step, ...]
    rounds: bool | None = None
    reached: tuple[str, ...] = ()
    marked: bool = False


def witness(cloud: Cloud, against: Suspicion, *, followed: bool = True) -> Witness:
    """The simplest packet there is, followed on its way or not."""
    space = cloud.space
    packets = nice(cloud, against.packets)
    sender = cloud.followed[space.number("origin", space.block("origin"), space.one(packets))]
    wanted = [*_from(cloud, sender), *_to(cloud, against.receiver)]
    packets = _narrowed(packets & cloud.sent_by(sender), (like(space, *each) for each in wanted), space.nothing)
    values = _values(space, packets, [*wanted, *_NICE])
    marked = _alone(cloud, sender, {**values, "nw_tos": DSCP << 2, "ipv6_label": 0}) & against.packets
    told = Witness(sender, shown(values, sender), values, (), marked=marked != space.nothing)
    if not followed:
        return told
    survey = cloud.survey(_alone(cloud, sender, values), apart=True)
    reached = sorted({each.chassis for each in (*survey.arrived, *survey.wired)})
    return replace(told, way=_way(cloud, survey, against), rounds=bool(survey.looped), reached=tuple(reached))


def _values(space: Space, packets: Set, wanted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The headers of one of these packets, with the values that are wanted where nobody tells them from its own."""
    chosen = space.one(packets)
    values = {slot: space.number(slot, space.block(slot), chosen) for slot in WIDTHS if is_header(slot)}
    for slot, value in reversed([*wanted]):
        if like(space, slot, value) == like(space, slot, values[slot]):
            values[slot] = value
    return values


def like(space: Space, slot: str, value: int) -> Set:
    """The packets of which no test tells that they have not this value."""
    atoms = space.atoms.get(SORTS.get(slot, ""))
    try:
        return space.is_(slot, value if atoms is None else atoms.values[atoms.number(value)])
    except KeyError:  # of what passes just these tests none was drawn
        return space.nothing


def _alone(cloud: Cloud, sender: Origin, values: Mapping[str, int]) -> Set:
    """One packet as a set, with those that nobody tells from it."""
    alone = cloud.sent_by(sender)
    for slot, value in values.items():
        alone = alone & like(cloud.space, slot, value)
    return alone


def nice(cloud: Cloud, packets: Set) -> Set:
    """Those of a set that are most usual, as far as there are any."""
    return _narrowed(packets, _usual(cloud.space), cloud.space.nothing)


def _narrowed(packets: Set, wanted: Iterable[Set], nothing: Set) -> Set:
    """What is in all of these sets, one behind the other, but for those of which nothing would be left."""
    for each in wanted:
        if (narrower := packets & each) != nothing:
            packets = narrower
    return packets


def _usual(space: Space) -> Iterator[Set]:
    """What packets are made to be, one behind the other: those of ICMP of a type and code that there are."""
    echo, short, others = space.nothing, space.nothing, space.everything
    for family, proto, type in _ICMP:
        icmp = space.is_("eth_type", family) & space.is_("nw_proto", proto)
        short = short | (icmp & space.is_("tp_src", 0, 0xFF00) & space.is_("tp_dst", 0, 0xFF00))
        echo = echo | (icmp & like(space, "tp_src", type) & like(space, "tp_dst", 0))
        others = others & ~icmp
    yield short | others
    yield space.is_("eth_dst", 0, _GROUP)
    for slot, value in _NICE:
        yield like(space, slot, value)
        if slot == "nw_proto":
            yield echo | others


def _from(cloud: Cloud, sender: Origin) -> list[tuple[str, int]]:
    """A port sends with its own MAC address and addresses, if with any,"""
    return [*_addresses(cloud.rows.get(Port, sender.port_id), "src")]


def _to(cloud: Cloud, receiver: Origin | None) -> list[tuple[str, int]]:
    """to who gets it, or to somebody that there may be."""
    port = cloud.rows.get(Port, receiver.port_id) if receiver else None
    return [*_addresses(port, "dst"), *_SOMEBODY]


def _addresses(port: Port | None, end: str) -> Iterator[tuple[str, int]]:
    if port is None:
        return
    yield f"eth_{end}", number_of(port.mac_address)
    for fixed in port.fixed_ips:
        sort, value, _ = block(fixed.ip_address)
        yield f"{'nw' if sort == 'ip4' else 'ipv6'}_{end}", value


def _way(cloud: Cloud, survey: Survey, against: Suspicion) -> tuple[Step, ...]:
    """The flows that a packet meets on its way to where it should not be."""
    if against.end is not None:
        ends: Iterable[State] = (
            state
            for each in (*survey.arrived, *survey.wired)
            if (each.chassis, each.port) == (against.chassis, against.end)
            for state in each.states
        )
        found = [state.trail for state in ends]
        found += [state.trail for name, port, state in survey.emitted if (name, port) == (against.chassis, against.end)]
    else:
        found = [state.trail for name, _, state in survey.lost if name == against.chassis]
        found += [state.trail for name, state in (*survey.astray, *survey.looped) if name == against.chassis]
        found = found or [
            each.trail for state in survey.tracked for name, each in cloud.places(state) if name == against.chassis
        ]
    return min(found, key=len, default=())


def shown(values: Mapping[str, int], sender: Origin) -> str:
    """A packet as `ovs-appctl ofproto/trace` reads it."""
    return ",".join((*([f"in_port={sender.ofport}"] if sender.chassis else []), *_fields(values)))


def _fields(values: Mapping[str, int]) -> Iterator[str]:
    family, proto = values["eth_type"], values["nw_proto"]
    yield f"eth_src={mac_text(values['eth_src'])}"
    yield f"eth_dst={mac_text(values['eth_dst'])}"
    if values["vlan_tci"]:
        yield f"vlan_tci={values['vlan_tci']:#06x}"
    if family not in _FAMILIES:
        yield f"eth_type={family:#06x}"
        return
    if family == 0x0806:
        yield f"arp,arp_op={proto},arp_spa={ipv4_text(values['nw_src'])},arp_tpa={ipv4_text(values['nw_dst'])}"
        yield f"arp_sha={mac_text(values['arp_sha'])},arp_tha={mac_text(values['arp_tha'])}"
        return
    word = _WORDS.get((family, proto))
    yield word or f"{_FAMILIES[family]},nw_proto={proto}"
    for end in ("src", "dst"):
        shown = ipv4_text(values[f"nw_{end}"]) if family == 0x0800 else ipv6_text(values[f"ipv6_{end}"])
        yield f"{'nw' if family == 0x0800 else 'ipv6'}_{end}={shown}"
    yield f"nw_ttl={values['nw_ttl']}"
    if values["nw_tos"]:
        yield f"nw_tos={values['nw_tos']}"
    if values["ip_frag"]:
        yield f"ip_frag={'later' if values['ip_frag'] == FRAGMENT else 'first'}"
    if word is not None and values["ip_frag"] != FRAGMENT:
        yield from _ports(values, word)


def _ports(values: Mapping[str, int], word: str) -> Iterator[str]:
    if word in ("icmp", "icmp6"):
        name = word.replace("icmp6", "icmpv6")
        yield f"{name}_type={values['tp_src']},{name}_code={values['tp_dst']}"
        if word == "icmp6" and values["tp_src"] in (135, 136):
            yield f"nd_target={ipv6_text(values['nd_target'])}"
            option = ("nd_sll", "arp_sha") if values["tp_src"] == 135 else ("nd_tll", "arp_tha")
            yield f"{option[0]}={mac_text(values[option[1]])}"
    else:
        proto = word.removesuffix("6")
        yield f"{proto}_src={values['tp_src']},{proto}_dst={values['tp_dst']}"
        if proto == "tcp":
            yield f"tcp_flags={values['tcp_flags']:#x}"


def ipv6_text(number: int) -> str:
    """An address as `inet_ntop` prints it."""
    import socket

    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))

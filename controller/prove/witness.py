"""One packet for many: of a set that is against a claim, a packet that an operator can send, its way, and the flows
there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.flows.fields import FRAGMENT, ipv4_text, mac_text
from controller.prove.claims import Suspicion
from controller.prove.cloud import Cloud, Origin
from controller.prove.sets import WIDTHS, Set, is_header
from controller.prove.states import State, Step

_NICE: Final = (
    ("vlan_tci", 0), ("ip_frag", 0), ("eth_type", 0x0800), ("nw_proto", 6), ("tp_dst", 80), ("nw_ttl", 64),
    ("tp_src", 1024),
)  # fmt: skip
"""What a packet is made to be, where it may."""
_WORDS: Final = {
    (0x0800, 1): "icmp", (0x0800, 6): "tcp", (0x0800, 17): "udp", (0x0800, 132): "sctp",
    (0x86DD, 58): "icmp6", (0x86DD, 6): "tcp6", (0x86DD, 17): "udp6", (0x86DD, 132): "sctp6",
}  # fmt: skip
_FAMILIES: Final = {0x0800: "ip", 0x86DD: "ipv6", 0x0806: "arp"}


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet that is against a claim: who sends it, what it is (`fields`, as `ofproto/trace` reads them), and the
    flows that it meets, one behind the other."""

    sender: Origin
    fields: str
    values: Mapping[str, int]
    way: tuple[Step, ...]


def witness(cloud: Cloud, against: Suspicion, *, followed: bool = True) -> Witness:
    """The simplest packet there is, followed on its way or not."""
    packets = nice(cloud, against.packets)
    space = cloud.space
    chosen = space.one(packets)
    values = {slot: space.number(slot, space.block(slot), chosen) for slot in WIDTHS if is_header(slot)}
    sender = cloud.followed[space.number("origin", space.block("origin"), chosen)]
    alone = cloud.sent_by(sender)
    for slot, value in values.items():
        alone = alone & space.is_(slot, value)
    return Witness(sender, shown(values, sender), values, _way(cloud, alone, against) if followed else ())


def nice(cloud: Cloud, packets: Set) -> Set:
    """Those of a set that are most usual, as far as there are any."""
    for slot, value in _NICE:
        narrower = packets & cloud.space.is_(slot, value)
        if narrower != cloud.space.nothing:
            packets = narrower
    return packets


def _way(cloud: Cloud, alone: Set, against: Suspicion) -> tuple[Step, ...]:
    """The flows that a packet meets on its way to where it should not be."""
    survey = cloud.survey(alone, apart=True)
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


def ipv6_text(number: int) -> str:
    """An address as `inet_ntop` prints it."""
    import socket

    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))

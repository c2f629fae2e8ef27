"""Packets, as the judges by the model are asked about them, in the sets of a proof."""

from __future__ import annotations

from controller.flows.fields import PACKET4
from controller.prove.atoms import SORTS
from controller.prove.cloud import Cloud, Origin
from controller.prove.sets import Set
from controller.prove.values import block, number_of
from tests.oracle import LATER, Message


def alone(proof: Cloud, sender: Origin, message: Message, vlan_tci: int = 0) -> Set:
    """One packet of somebody's as a set, with those that nobody tells from it (`atoms`)."""
    space, headers = proof.space, ("nw_src", "nw_dst") if message.version == 4 else ("ipv6_src", "ipv6_dst")
    numbers = {
        "eth_type": 0x0800 if message.version == 4 else 0x86DD,
        "eth_src": number_of(message.source_mac),
        "eth_dst": number_of(message.target_mac),
        headers[0]: block(message.source)[1],
        headers[1]: block(message.target)[1],
        "nw_proto": message.protocol,
        "ip_frag": message.fragment,
        "vlan_tci": vlan_tci,
        "nw_ttl": message.hops,
        "tcp_flags": 2,
    }
    if message.fragment != LATER and (message.protocol in PACKET4.low or message.protocol == 58):
        numbers |= {"tp_src": message.low, "tp_dst": message.high}
    made = proof.sent_by(sender)
    for slot, number in numbers.items():
        atoms = space.atoms.get(SORTS.get(slot, ""))
        made = made & space.is_(slot, atoms.values[atoms.number(number)] if atoms else number)
    assert made != space.nothing
    return made

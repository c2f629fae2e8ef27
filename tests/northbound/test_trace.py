"""One packet to its fate, told in logical words: literally what `weft trace` prints."""

from __future__ import annotations

import pytest

from controller.errors import Ambiguous, Invalid, MissingAttribute, NotFound, UnknownAttributes, Unplugged, WeftError
from controller.flows.pipeline import Why
from controller.flows.trace import Switch
from controller.model import security
from controller.model.records import Bundle, Link, SecurityGroup, SecurityGroupRule
from controller.model.store import Transaction
from controller.model.view import View
from northbound import narration, remembered, tracing
from northbound.sending import question
from tests.cloud import (
    Allowed,
    Cloud,
    Work,
    egress,
    group,
    heard,
    hypervisor,
    ingress,
    interface,
    network,
    port,
    router,
    subnet,
    wire,
)

OPEN = "to anybody: rule out (any protocol)"


def named_group(id: str, name: str, stateful: bool = True, **rules: Allowed) -> Work:
    """A security group with rules of these ids."""

    def work(tx: Transaction) -> None:
        tx.put(SecurityGroup(id=id, name=name, stateful=stateful))
        for rule, allowed in rules.items():
            security.add_rule(tx, SecurityGroupRule(id=rule, security_group_id=id, **allowed))

    return work


@pytest.fixture
def cloud() -> Cloud:
    """a1, a2, down and lonely on hv1, a3 and b1 on hv2; router r between red and blue, whose MTU is smaller.

    Ports of group web may send anything, and hear tcp 80 of one another and ICMP of all.
    """
    cloud = Cloud()
    cloud.commit(network("red", 100, name="red"), network("blue", 200, "geneve", mtu=1400))
    cloud.commit(subnet("red-subnet", "red", "10.0.0.0/24", "10.0.0.254"))
    cloud.commit(subnet("blue-subnet", "blue", "10.1.0.0/24", "10.1.0.254"))
    http = ingress("tcp", 80, 90, remote_group_id="web")
    cloud.commit(named_group("web", "servers", out=egress(), http=http, echo=ingress("icmp", 8)))
    for last, name in enumerate(("a1", "a2", "a3"), start=1):
        cloud.commit(port(name, "red", f"02:00:00:00:00:0{last}", f"10.0.0.{last}", groups=["web"], name=f"vm-{name}"))
    cloud.commit(port("b1", "blue", "02:00:00:00:01:01", "10.1.0.1", groups=["web"]))
    cloud.commit(port("down", "red", "02:00:00:00:00:08", "10.0.0.8", groups=["web"], admin_state_up=False))
    cloud.commit(port("lonely", "red", "02:00:00:00:00:09", "10.0.0.9"))
    cloud.commit(router("r"), interface("r-red", "r", "red", "02:00:00:00:0a:01", **{"red-subnet": "10.0.0.254"}))
    cloud.commit(interface("r-blue", "r", "blue", "02:00:00:00:0a:02", **{"blue-subnet": "10.1.0.254"}))
    cloud.commit(hypervisor(1, "a1", "a2", "down", "lonely"), hypervisor(2, "a3", "b1"))
    return cloud


def told(cloud: Cloud, sender: str, target: str, **more: object) -> list[str]:
    """What is printed."""
    asked = question({"from": sender, "to": target, **more})
    return [*tracing.text(tracing.as_json(tracing.trace(cloud.model, cloud.standing, asked)))]


def sent(cloud: Cloud, sender: str, target: str, **more: object) -> list[str]:
    """The same without how the neighbour's MAC was found."""
    lines = told(cloud, sender, target, **more)
    assert "neigh_reply      the switch answers: " in lines[1], lines
    return lines[2:]


def test_to_a_guest_on_the_same_hypervisor(cloud: Cloud) -> None:
    assert told(cloud, "vm-a1", "vm-a2") == [
        'hv1 classify         port "vm-a1" a1 on network "red" red asks by ARP who has 10.0.0.2',
        "hv1 neigh_reply      the switch answers: 10.0.0.2 is at 02:00:00:00:00:02",
        'hv1 classify         port "vm-a1" a1 on network "red" red sends icmp type 8 code 0 from 10.0.0.1 to 10.0.0.2',
        "hv1 address_security MAC 02:00:00:00:00:01 and address 10.0.0.1 are its own, or of its allowed address pairs",
        "hv1 out_rules        conntrack zone 1: taken for a new connection",
        f'hv1 out_done         egress allowed by security group "servers" web, {OPEN}',
        'hv1 l2_lookup        02:00:00:00:00:02 is port "vm-a2" a2, on this hypervisor',
        "hv1 in_rules         conntrack zone 2: taken for a new connection",
        'hv1 in_done          ingress allowed by security group "servers" web, from anybody: rule echo (icmp type 8)',
        'hv1 deliver          out of tap-a2: port "vm-a2" a2',
        "delivered",
    ]


def test_across_a_tunnel(cloud: Cloud) -> None:
    assert sent(cloud, "a1", "10.0.0.3", proto="tcp", dport=80) == [
        'hv1 classify         port "vm-a1" a1 on network "red" red sends tcp 49152 > 80 from 10.0.0.1 to 10.0.0.3',
        "hv1 address_security MAC 02:00:00:00:00:01 and address 10.0.0.1 are its own, or of its allowed address pairs",
        "hv1 out_rules        conntrack zone 1: taken for a new connection",
        f'hv1 out_done         egress allowed by security group "servers" web, {OPEN}',
        "hv1 tunnel           by vxlan segment 100 to hv2 (192.0.2.2), MTU 1450",
        "hv2 vtep             by tunnel from hv1 (192.0.2.1)",
        'hv2 vni              vxlan segment 100 is network "red" red',
        'hv2 l2_lookup        02:00:00:00:00:03 is port "vm-a3" a3, on this hypervisor',
        "hv2 in_rules         conntrack zone 1: taken for a new connection",
        'hv2 in_done          ingress allowed by security group "servers" web, from members of security group "servers" web: rule http (tcp 80-90)',
        'hv2 deliver          out of tap-a3: port "vm-a3" a3',
        "delivered",
    ]


def test_through_a_router_to_a_network_of_a_smaller_mtu(cloud: Cloud) -> None:
    assert told(cloud, "a1", "b1")[:2] == [
        'hv1 classify         port "vm-a1" a1 on network "red" red asks by ARP who has 10.0.0.254',
        "hv1 neigh_reply      the switch answers: 10.0.0.254 is at 02:00:00:00:0a:01",
    ]
    assert sent(cloud, "a1", "b1")[4:] == [
        'hv1 l3_in            at router r, from network "red" red',
        "hv1 l3_route         connected route 10.1.0.0/24, to network blue, MTU 1400",
        "hv1 l3_out           next hop 10.1.0.1 is at 02:00:00:00:01:01",
        "hv1 tunnel           by geneve segment 200 to hv2 (192.0.2.2), MTU 1400",
        "hv2 vtep             by tunnel from hv1 (192.0.2.1)",
        "hv2 vni              geneve segment 200 is network blue",
        "hv2 l2_lookup        02:00:00:00:01:01 is port b1, on this hypervisor",
        "hv2 in_rules         conntrack zone 2: taken for a new connection",
        'hv2 in_done          ingress allowed by security group "servers" web, from anybody: rule echo (icmp type 8)',
        "hv2 deliver          out of tap-b1: port b1",
        "delivered",
    ]
    assert sent(cloud, "a1", "b1", size=1400)[-1] == "delivered"
    back = [line for line in sent(cloud, "b1", "a1") if "l3_route" in line]
    assert back == ['hv2 l3_route         connected route 10.0.0.0/24, to network "red" red']


def facts(cloud: Cloud, sender: str, target: str, **more: object) -> list[tuple[str, dict[str, object]]]:
    """What each hop of the packet itself is about, by its table: nothing else."""
    asked = question({"from": sender, "to": target, **more})
    hops = tracing.as_json(tracing.trace(cloud.model, cloud.standing, asked))["hops"][2:]
    named = ("port", "network", "router", "rules", "nat", "mtu")
    return [(hop["table"], {name: hop[name] for name in named if hop[name]}) for hop in hops]


def test_for_machines_a_hop_names_its_port_network_router_rules_and_mtu(cloud: Cloud) -> None:
    routed = {"network": "red", "router": "r"}
    assert facts(cloud, "a1", "b1") == [
        ("classify", {"port": "a1", "network": "red"}),
        ("address_security", {"port": "a1", "network": "red"}),
        ("out_rules", {"port": "a1", "network": "red"}),
        ("out_done", {"port": "a1", "network": "red", "rules": ("out",)}),
        ("l3_in", routed),
        ("l3_route", {"network": "blue", "router": "r", "mtu": 1400}),
        ("l3_out", {"network": "blue", "router": "r"}),
        ("tunnel", {"network": "blue", "mtu": 1400}),
        ("vtep", {}),
        ("vni", {"network": "blue"}),
        ("l2_lookup", {"port": "b1", "network": "blue"}),
        ("in_rules", {"port": "b1", "network": "blue"}),
        ("in_done", {"port": "b1", "network": "blue", "rules": ("echo",)}),
        ("deliver", {"port": "b1", "network": "blue", "mtu": 1400}),
    ]
    assert facts(cloud, "a1", "a2", proto="tcp", dport=7)[-1] == ("in_done", {"port": "a2", "network": "red"})


def test_through_a_chain_of_routers(cloud: Cloud) -> None:
    cloud.commit(network("far", 300), subnet("far-subnet", "far", "10.9.0.0/24", "10.9.0.254"))
    cloud.commit(port("far1", "far", "02:00:00:00:09:01", "10.9.0.1", guarded=False), hypervisor(3, "far1"))
    cloud.commit(router("r", ("10.9.0.0/16", "10.1.0.253")), router("s", ("10.0.0.0/24", "10.1.0.254")))
    cloud.commit(interface("s-blue", "s", "blue", "02:00:00:00:0b:02", **{"blue-subnet": "10.1.0.253"}))
    cloud.commit(interface("s-far", "s", "far", "02:00:00:00:0b:09", **{"far-subnet": "10.9.0.254"}))
    lines = sent(cloud, "a1", "far1", proto="47")
    assert "sends protocol 47 from 10.0.0.1 to 10.9.0.1" in lines[0]
    assert lines[4:] == [
        'hv1 l3_in            at router r, from network "red" red',
        "hv1 l3_route         static route 10.9.0.0/16, to network blue, MTU 1400",
        "hv1 l3_out           next hop 10.1.0.253 is at 02:00:00:00:0b:02",
        "hv1 l3_in            at router s, from network blue",
        "hv1 l3_route         connected route 10.9.0.0/24, to network far",
        "hv1 l3_out           next hop 10.9.0.1 is at 02:00:00:00:09:01",
        "hv1 tunnel           by vxlan segment 300 to hv3 (192.0.2.3), MTU 1450",
        "hv3 vtep             by tunnel from hv1 (192.0.2.1)",
        "hv3 vni              vxlan segment 300 is network far",
        "hv3 l2_lookup        02:00:00:00:09:01 is port far1, on this hypervisor",
        "hv3 in_track         port far1 has no port security: any packet may pass",
        "hv3 deliver          out of tap-far1: port far1",
        "delivered",
    ]


def test_denied_by_the_senders_groups(cloud: Cloud) -> None:
    cloud.commit(named_group("narrow", "", dns=egress("udp", 53)))
    cloud.commit(port("a2", "red", "02:00:00:00:00:02", "10.0.0.2", groups=["narrow", "web"]))
    cloud.commit(group("web"))
    assert sent(cloud, "a2", "a1", proto="udp", dport=54)[3:] == [
        'hv1 out_done         no egress rule of port a2 allows it: security group narrow, security group "servers" web',
        "dropped: EGRESS_DENIED no egress rule of its port's security groups allows",
    ]


def test_denied_by_the_receivers_groups(cloud: Cloud) -> None:
    assert sent(cloud, "a1", "a3", proto="tcp", dport=79)[7:] == [
        'hv2 l2_lookup        02:00:00:00:00:03 is port "vm-a3" a3, on this hypervisor',
        "hv2 in_rules         conntrack zone 1: taken for a new connection",
        'hv2 in_done          no ingress rule of port "vm-a3" a3 allows it: security group "servers" web',
        "dropped: INGRESS_DENIED no ingress rule of the receiving port's security groups allows",
    ]


def test_a_port_without_security_groups_sends_nothing_and_hears_nothing(cloud: Cloud) -> None:
    assert sent(cloud, "lonely", "a1")[3:] == [
        "hv1 out_done         no egress rule of port lonely allows it: no security group",
        "dropped: EGRESS_DENIED no egress rule of its port's security groups allows",
    ]
    assert sent(cloud, "a1", "lonely")[-2:] == [
        "hv1 in_done          no ingress rule of port lonely allows it: no security group",
        "dropped: INGRESS_DENIED no ingress rule of the receiving port's security groups allows",
    ]


def test_with_another_source_than_its_own(cloud: Cloud) -> None:
    assert sent(cloud, "lonely", "a1", source="10.0.0.77")[1:] == [
        "hv1 address_security MAC 02:00:00:00:00:09 and address 10.0.0.77 are not its own together, nor of its allowed address pairs",
        "dropped: SPOOFED_IPV4 bore an IPv4 source that its port, with this MAC, does not hold",
    ]
    cloud.commit(port("lonely", "red", "02:00:00:00:00:09", "10.0.0.9", guarded=False))
    assert sent(cloud, "lonely", "a1", source="10.0.0.77")[1:3] == [
        "hv1 port_security    no port security: it may send with any address",
        "hv1 out_track        port lonely has no port security: any packet may pass",
    ]


def test_to_an_address_that_nobody_has(cloud: Cloud) -> None:
    assert told(cloud, "a1", "10.0.0.77") == [
        'hv1 classify         port "vm-a1" a1 on network "red" red asks by ARP who has 10.0.0.77',
        'hv1 neigh_reply      nobody who is attached to network "red" red has 10.0.0.77',
        "dropped: ARP_UNKNOWN asked by ARP for an address that no attached port of the network holds",
    ]
    assert sent(cloud, "a1", "10.1.0.77")[6:] == [
        "hv1 l3_out           nobody who is attached to network blue has 10.1.0.77",
        "hv1 trap             the router asks whoever may have it, else tells the sender, by ICMP",
        f"dropped: NO_NEIGHBOUR {Why.NO_NEIGHBOUR.sentence}",
    ]


def test_from_and_to_a_port_that_is_down(cloud: Cloud) -> None:
    assert told(cloud, "down", "a1") == [
        "hv1 classify         its port, or the network, is administratively down",
        "dropped: ADMIN_DOWN came from a port that is, or whose network is, administratively down",
    ]
    assert told(cloud, "a1", "down")[-1].startswith("dropped: ARP_UNKNOWN ")


# ---- routers --------------------------------------------------------------------------------------------------


def test_a_router_answers_an_echo_request(cloud: Cloud) -> None:
    assert sent(cloud, "a1", "10.1.0.254")[4:] == [
        "hv1 l3_in            router r answers the echo request itself",
        'hv1 l3_route         connected route 10.0.0.0/24, to network "red" red',
        "hv1 l3_out           next hop 10.0.0.1 is at 02:00:00:00:00:01",
        'hv1 l2_lookup        02:00:00:00:00:01 is port "vm-a1" a1, on this hypervisor',
        "hv1 in_rules         conntrack zone 1: an answer, to what went out by a known connection",
        'hv1 deliver          out of tap-a1: port "vm-a1" a1',
        "delivered",
    ]


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (
            {"to": "192.0.2.77"},
            [
                'hv1 l3_in            at router r, from network "red" red',
                "hv1 l3_route         router r has no route to 192.0.2.77",
                "hv1 trap             the router tells the sender, by ICMP",
                "dropped: NO_ROUTE was for an address that its router knows no way to",
            ],
        ),
        (
            {"to": "b1", "ttl": 1},
            [
                'hv1 l3_in            at router r, from network "red" red',
                "hv1 trap             the router tells the sender, by ICMP",
                "dropped: TTL_EXCEEDED had no hop left at a router",
            ],
        ),
        (
            {"to": "b1", "size": 1401},
            [
                'hv1 l3_in            at router r, from network "red" red',
                "hv1 l3_route         connected route 10.1.0.0/24, to network blue, MTU 1400",
                "hv1 l3_out           next hop 10.1.0.1 is at 02:00:00:00:01:01",
                "hv1 l3_mtu           network blue bears no packet of more than 1400 bytes",
                "hv1 trap             the router tells the sender, by ICMP, if it said that no router may cut it (DF)",
                f"dropped: TOO_BIG {Why.TOO_BIG.sentence}",
            ],
        ),
        (
            {"to": "10.1.0.254", "proto": "udp", "dport": 53},
            [
                "hv1 l3_in            10.1.0.254 is an address of router r",
                "hv1 trap             the router tells the sender, by ICMP",
                "dropped: ROUTER_ADDRESS was for an address of a router, which answers nothing but echo requests",
            ],
        ),
        (
            {"to": "10.1.0.254", "proto": "sctp", "dport": 53},
            [
                "hv1 l3_in            10.1.0.254 is an address of router r",
                "hv1 trap             the router tells nobody",
                "dropped: ROUTER_ADDRESS was for an address of a router, which answers nothing but echo requests",
            ],
        ),
    ],
)
def test_what_a_router_does_not_pass(cloud: Cloud, asked: dict[str, object], lines: list[str]) -> None:
    assert sent(cloud, "a1", str(asked.pop("to")), **asked)[4:] == lines


def test_what_no_router_forwards(cloud: Cloud) -> None:
    cloud.commit(port("lonely", "red", "02:00:00:00:00:09", "10.0.0.9", guarded=False))
    assert sent(cloud, "lonely", "b1", source="127.0.0.1")[3:] == [
        'hv1 l3_in            at router r, from network "red" red',
        f"dropped: MARTIAN {Why.MARTIAN.sentence}",
    ]


def test_without_a_gateway_nothing_leaves_the_guest(cloud: Cloud) -> None:
    cloud.commit(subnet("red-subnet", "red", "10.0.0.0/24"))
    assert told(cloud, "a1", "b1") == [
        "dropped: NO_GATEWAY was for an address on none of the sender's subnets, and none of them has a gateway"
    ]


def test_a_gateway_that_nobody_holds_is_an_address_that_nobody_has(cloud: Cloud) -> None:
    cloud.commit(subnet("red-subnet", "red", "10.0.0.0/24", "10.0.0.253"))
    assert told(cloud, "a1", "b1")[-1].startswith("dropped: ARP_UNKNOWN ")


def test_a_tunnel_that_the_other_hypervisor_lacks(cloud: Cloud) -> None:
    cloud.commit(lambda tx: tx.delete(Link, "hv2/weft-vxlan"))
    assert sent(cloud, "a1", "a3")[-1] == (
        "dropped: NO_TUNNEL_END went into a tunnel of which no hypervisor of this cloud has the other end"
    )


def test_a_hole_in_the_flows_is_a_fate_too(cloud: Cloud) -> None:
    def holed(name: str) -> Switch:
        items = (entry.item for entry in cloud.engine.desired(name).values())
        return Switch(item for item in items if not str(item).startswith("table=36,"))

    answer = tracing.trace(cloud.model, holed, question({"from": "a1", "to": "a2"}))
    assert [*tracing.text(tracing.as_json(answer))][-1] == (
        "dropped: LOST matched nothing, and nobody dropped it: a hole in the flows"
    )


# ---- IPv6 and ICMP --------------------------------------------------------------------------------------------


def test_by_ipv6(cloud: Cloud) -> None:
    cloud.commit(network("six", 400), subnet("six-subnet", "six", "fd00::/64", "fd00::ff"))
    cloud.commit(port("x", "six", "02:00:00:00:06:01", "fd00::1", guarded=False))
    cloud.commit(port("y", "six", "02:00:00:00:06:02", "fd00::2", guarded=False), hypervisor(3, "x", "y"))
    assert told(cloud, "x", "y") == [
        "hv3 classify         port x on network six asks by ND who has fd00::2",
        "hv3 neigh_reply      the switch answers: fd00::2 is at 02:00:00:00:06:02",
        "hv3 classify         port x on network six sends icmpv6 type 128 code 0 from fd00::1 to fd00::2",
        "hv3 port_security    no port security: it may send with any address",
        "hv3 out_track        port x has no port security: any packet may pass",
        "hv3 l2_lookup        02:00:00:00:06:02 is port y, on this hypervisor",
        "hv3 in_track         port y has no port security: any packet may pass",
        "hv3 deliver          out of tap-y: port y",
        "delivered",
    ]
    local = told(cloud, "x", "fe80::ff:fe00:602", proto="tcp", dport=22)
    assert "sends tcp 49152 > 22 from fe80::ff:fe00:601 to fe80::ff:fe00:602" in local[2]
    assert local[-1] == "delivered"
    assert told(cloud, "x", "fd00::3")[1:] == [
        "hv3 neigh_reply      nobody is known to have fd00::3 on network six, but somebody may",
        "hv3 trap             whoever may have it is asked",
        "dropped: SOUGHT asked by ARP or ND for an address of which only its holder can tell: whoever may hold it is asked",
    ]
    cloud.commit(heard("six", "fd00::3", "02:00:00:00:06:33", "y"))
    assert told(cloud, "x", "fd00::3")[-3:] == [
        "hv3 in_track         port y has no port security: any packet may pass",
        "hv3 deliver          out of tap-y: port y",
        "delivered",
    ]


def test_an_answer_that_nobody_asked_for(cloud: Cloud) -> None:
    assert sent(cloud, "a1", "a2", type=0)[2:] == [
        "hv1 out_rules        drops it",
        "dropped: NOT_TRACKED conntrack could make nothing of: no connection can have it (+inv)",
    ]


def test_stateless_groups_do_not_ask_conntrack(cloud: Cloud) -> None:
    cloud.commit(named_group("bare", "", stateful=False, any=egress(), tcp=ingress("tcp")))
    cloud.commit(port("a2", "red", "02:00:00:00:00:02", "10.0.0.2", groups=["bare"]))
    assert sent(cloud, "a1", "a2", proto="TCP", dport=5)[-4:] == [
        "hv1 in_track         port a2 is under stateless security groups: conntrack is not asked",
        "hv1 in_done          ingress allowed by security group bare, from anybody: rule tcp (tcp)",
        "hv1 deliver          out of tap-a2: port a2",
        "delivered",
    ]


# ---- what cannot be asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"from": "a1"}, MissingAttribute, "Required attribute 'to' not specified"),
        ({"from": None, "to": "a2"}, MissingAttribute, "Required attribute 'from' not specified"),
        ({"from": "a1", "to": "a2", "speed": 1}, UnknownAttributes, "'speed'"),
        ({"from": "nosuch", "to": "a2"}, NotFound, "Port nosuch could not be found."),
        ({"from": "a1", "to": "nosuch"}, NotFound, "Port nosuch could not be found."),
        ({"from": "twin", "to": "a2"}, Ambiguous, "2 ports are named twin: t1, t2; say which by its id."),
        ({"from": "t1", "to": "a2"}, Unplugged, "Port t1 sends nothing: no hypervisor has an interface with this port"),
        ({"from": "a1", "to": "t1"}, Invalid, "port t1 has no address of an IP version that the sender has, too"),
        ({"from": "a1", "to": "fd00::1"}, Invalid, "port a1 has no IPv6 address"),
        ({"from": "a1", "to": "224.0.0.1"}, Invalid, "224.0.0.1 is not the address of one receiver"),
        ({"from": "a1", "to": "10.0.0.255"}, Invalid, "10.0.0.255 is all of subnet 10.0.0.0/24"),
        ({"from": "a1", "to": "a2", "proto": "tcp"}, Invalid, "tcp needs a destination port"),
        ({"from": "a1", "to": "a2", "proto": "tcp", "dport": 1, "type": 8}, Invalid, "tcp has neither type nor code"),
        ({"from": "a1", "to": "a2", "dport": 80}, Invalid, "of icmp a switch sees no ports"),
        ({"from": "a1", "to": "a2", "proto": "gre", "code": 0}, Invalid, "gre has neither type nor code"),
        ({"from": "a1", "to": "a2", "proto": "256"}, Invalid, "256 is no IP protocol"),
        ({"from": "a1", "to": "a2", "dport": 65536}, Invalid, "65536 is no number from 0 to 65535"),
        ({"from": "a1", "to": "a2", "ttl": True}, Invalid, "True is no number from 0 to 255"),
        ({"from": "a1", "to": "a2", "size": 1451}, Invalid, "packets of network red have 1450 bytes at most"),
        ({"from": 7, "to": "a2"}, Invalid, "7 is no name, id, protocol or address"),
        ({"from": "a1", "to": "a2", "source": "fd00::1"}, Invalid, "fd00::1 is no IPv4 address"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    cloud: Cloud, asked: dict[str, object], error: type[WeftError], says: str
) -> None:
    for id in ("t1", "t2"):
        cloud.commit(port(id, "red", f"02:00:00:00:02:0{id[1]}", name="twin"))
    with pytest.raises(error) as refused:
        tracing.trace(cloud.model, cloud.standing, question(asked))
    assert says in str(refused.value)


def test_what_is_told_is_of_flows_that_there_are() -> None:
    unknown = [(table.name, reason) for table, reason in narration.TOLD if reason not in table.priorities]
    assert unknown == []


# ---- physical networks ----------------------------------------------------------------------------------------


@pytest.fixture
def wired(cloud: Cloud) -> Cloud:
    """The same, and VLAN 101 of physnet1 with w1 on hv3 and w2 on hv4, joined to red's router; hv1 maps it too."""
    cloud.commit(wire("wired", 101), subnet("wired-subnet", "wired", "10.5.0.0/24", "10.5.0.254"))
    cloud.commit(port("w1", "wired", "02:00:00:00:05:01", "10.5.0.1", guarded=False))
    cloud.commit(port("w2", "wired", "02:00:00:00:05:02", "10.5.0.2", guarded=False))
    cloud.commit(port("gone", "wired", "02:00:00:00:05:09", "10.5.0.9", guarded=False))
    cloud.commit(interface("r-wired", "r", "wired", "02:00:00:00:0a:05", **{"wired-subnet": "10.5.0.254"}))
    cloud.commit(hypervisor(1, "a1", "a2", "down", "lonely", physical=("physnet1",)))
    cloud.commit(hypervisor(3, "w1", physical=("physnet1",)), hypervisor(4, "w2", physical=("physnet1",)))
    return cloud


def test_to_a_guest_of_another_hypervisor_by_the_wire(wired: Cloud) -> None:
    assert sent(wired, "w1", "10.5.0.2") == [
        "hv3 classify         port w1 on network wired sends icmp type 8 code 0 from 10.5.0.1 to 10.5.0.2",
        "hv3 port_security    no port security: it may send with any address",
        "hv3 out_track        port w1 has no port security: any packet may pass",
        "hv3 l2_lookup        02:00:00:00:05:02 is nobody's on this hypervisor: out to the physical network",
        "hv3 physical         to physical network physnet1, on VLAN 101",
        "hv4 classify         from physical network physnet1",
        "hv4 vlan             VLAN 101 is network wired",
        "hv4 l2_lookup        02:00:00:00:05:02 is port w2, on this hypervisor",
        "hv4 in_track         port w2 has no port security: any packet may pass",
        "hv4 deliver          out of tap-w2: port w2",
        "delivered",
    ]


def test_to_a_physical_host_that_nobody_here_knows(wired: Cloud) -> None:
    assert told(wired, "w1", "10.5.0.77") == [
        "hv3 classify         port w1 on network wired asks by ARP who has 10.5.0.77",
        "hv3 neigh_reply      the model does not say who of network wired has 10.5.0.77: all there are asked",
        "hv3 physical         to physical network physnet1, on VLAN 101",
        "hv3 classify         port w1 on network wired sends icmp type 8 code 0 from 10.5.0.1 to 10.5.0.77",
        "hv3 port_security    no port security: it may send with any address",
        "hv3 out_track        port w1 has no port security: any packet may pass",
        "hv3 l2_lookup        02:00:00:ff:ff:fe is nobody's on this hypervisor: out to the physical network",
        "hv3 physical         to physical network physnet1, on VLAN 101",
        "delivered to physical network physnet1",
    ]


def test_to_a_port_of_a_wire_that_is_not_there(wired: Cloud) -> None:
    assert told(wired, "w1", "10.5.0.9")[-1] == (
        "dropped: NO_ANSWER was for an address of a port that is not there to answer: nobody else has it"
    )


def test_routed_onto_a_wire_to_a_guest_and_to_a_host_that_has_to_be_asked_for(wired: Cloud) -> None:
    assert sent(wired, "a1", "10.5.0.1")[4:] == [
        'hv1 l3_in            at router r, from network "red" red',
        "hv1 l3_route         connected route 10.5.0.0/24, to network wired",
        "hv1 l3_out           next hop 10.5.0.1 is at 02:00:00:00:05:01",
        "hv1 physical         to physical network physnet1, on VLAN 101",
        "hv3 classify         from physical network physnet1",
        "hv3 vlan             VLAN 101 is network wired, routed by another hypervisor",
        "hv3 l2_lookup        02:00:00:00:05:01 is port w1, on this hypervisor",
        "hv3 in_track         port w1 has no port security: any packet may pass",
        "hv3 deliver          out of tap-w1: port w1",
        "delivered",
    ]
    asked = sent(wired, "a1", "10.5.0.77")
    assert asked[-3:] == [
        "hv1 l3_out           next hop 10.5.0.77 is at 02:00:00:ff:ff:fe",
        "hv1 physical         to physical network physnet1, on VLAN 101",
        "delivered to physical network physnet1",
    ]


def test_routed_onto_a_wire_that_a_hypervisor_has_no_bridge_to(wired: Cloud) -> None:
    assert told(wired, "b1", "10.5.0.1")[-1] == f"dropped: NO_PHYSICAL {Why.NO_PHYSICAL.sentence}"


def test_a_port_that_has_the_address_of_another_is_not_taken_for_that(cloud: Cloud) -> None:
    """Tenants may have the same addresses: what arrives at a neighbour has not arrived at the port that was named."""
    cloud.commit(network("green", 300), subnet("green-subnet", "green", "10.0.0.0/24", "10.0.0.254"))
    cloud.commit(port("g2", "green", "02:00:00:00:02:02", "10.0.0.2", name="theirs"))
    cloud.commit(port("g1", "green", "02:00:00:00:02:01", "10.0.0.1", name="namesake"))
    asked = question({"from": "a1", "to": "theirs"})
    answer = tracing.trace(cloud.model, cloud.standing, asked)
    assert [*tracing.text(tracing.as_json(answer))][-1] == (
        'dropped: ANOTHER went to somebody else, who has that address where the sender is; not to port "theirs" g2'
    )
    assert tracing.trace(cloud.model, cloud.standing, question({"from": "a1", "to": "10.0.0.2"})).delivered
    assert tracing.trace(cloud.model, cloud.standing, question({"from": "a1", "to": "a2"})).delivered
    for own in ("namesake", "a1", "10.0.0.1"):
        with pytest.raises(
            Invalid, match=r"10\.0\.0\.1 is an address of the sender, too: what is for that does not leave it"
        ):
            tracing.trace(cloud.model, cloud.standing, question({"from": "a1", "to": own}))


def test_a_packet_of_a_known_connection_is_told_by_the_rule_that_let_that_begin(cloud: Cloud) -> None:
    """As a dump of conntrack has it."""
    view = View(cloud.model)
    out = next(each for each in cloud.model.where(Bundle, security_group_id="web") if each.direction == "egress")
    there, back = "src=10.0.0.1,dst=10.0.0.2,sport=7,dport=80", "src=10.0.0.2,dst=10.0.0.1,sport=80,dport=7"
    line = (
        f"tcp,orig=({there}),reply=({back}),zone=1,labels={view.tag('bundle', out.id):#x},protoinfo=(state=ESTABLISHED)"
    )
    known = {"hv1": [*remembered.read([line])]}

    def told(asked: dict[str, object]) -> list[str]:
        answer = tracing.trace(cloud.model, cloud.standing, question(asked), known=known)
        return [line for line in tracing.text(tracing.as_json(answer)) if " out_rules " in line]

    assert told({"from": "a1", "to": "a2", "proto": "tcp", "sport": 7, "dport": 80}) == [
        "hv1 out_rules        conntrack zone 1: of a known connection; egress allowed by "
        'security group "servers" web, ' + OPEN
    ]


def test_a_question_on_a_wire_is_followed_to_one_guest_of_each_hypervisor() -> None:
    """However many hear it; what is told is the same."""
    cloud, number = Cloud(), 40
    cloud.commit(wire("dmz", 120, "phys"), subnet("dmz4", "dmz", "10.9.0.0/24", "10.9.0.254"))
    for each in range(1, number + 1):
        cloud.commit(
            port(f"p{each}", "dmz", f"02:00:00:00:09:{each:02x}", on={"dmz4": f"10.9.0.{each}"}, guarded=False)
        )
    guests = [f"p{each}" for each in range(1, number + 1)]
    cloud.commit(hypervisor(1, *guests[::2], physical=("phys",)), hypervisor(2, *guests[1::2], physical=("phys",)))
    asked = question({"from": "p1", "to": "10.9.0.99"})
    brief, whole = (tracing.trace(cloud.model, cloud.standing, asked, whole=each) for each in (False, True))
    assert brief.steps == whole.steps
    assert brief.delivered
    assert [len(answer.journeys[0].arrivals) for answer in (brief, whole)] == [2, number]  # the wire is one

"""A conntrack dump in logical words: whose, begun by whom, admitted by what."""

from __future__ import annotations

from controller.model import security
from controller.model.records import (
    Address,
    Binding,
    FixedIp,
    Mac,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Translation,
)
from controller.model.store import Model, Transaction
from northbound import conn
from tests.apps.outside import FLOATING_MAC, add_floating, add_outside
from tests.cloud import Cloud, floating_ip, forwarding

TCP = (
    "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=33000,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=33000),"
    "zone=7,mark=3,labels=0x{opener:x}{policy:08x}{bundle:08x},protoinfo=(state=ESTABLISHED)"
)
ICMP = (
    "icmp,orig=(src=10.0.0.9,dst=10.0.0.2,id=5,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.9,id=5,type=0,code=0),"
    "zone=7,labels=0x100000063"
)
FOREIGN = "udp,orig=(src=1.2.3.4,dst=5.6.7.8,sport=1,dport=2),reply=(src=5.6.7.8,dst=1.2.3.4,sport=2,dport=1),zone=9"


def model() -> tuple[Model, int]:
    """Ports a and b in group web, whose members may reach tcp 80 of each other; b is plugged in hv1, in zone 7."""
    model = Model()
    tx = Transaction(model)
    tx.put(SecurityGroup(id="web", project_id="p"))
    for id, low, high in (("r80", 80, 80), ("r443", 443, 443), ("many", 1, 1000)):
        security.add_rule(
            tx,
            SecurityGroupRule(
                id=id, security_group_id="web", direction="ingress", ethertype="IPv4", protocol="tcp",
                port_range_min=low, port_range_max=high, remote_group_id="web",
            ),
        )  # fmt: skip
    for last, id in ((1, "a"), (2, "b")):
        port = Port(
            id=id, name=f"vm-{id}", network_id="red", mac_address=Mac(f"02:00:00:00:00:0{last}"),
            fixed_ips=(FixedIp("s", Address(f"10.0.0.{last}")),), security_groups=("web",),
        )  # fmt: skip
        tx.put(port)
        tx.tag("port", id)
        security.settle(tx, None, port)
    tx.put(Binding(id="hv1/tapb", chassis="hv1", interface="tapb", port_id="b", zone=7))
    (rule,) = (rule for rule in tx.all(SecurityGroupRule) if rule.id == "r80")
    bundle = tx.tag("bundle", rule.bundle)
    for write in tx.writes():
        assert write.new is not None
        model.put(write.new)
    return model, bundle


def told(model: Model, *lines: str) -> list[str]:
    return [*conn.text([conn.as_json(each) for each in conn.join(model, "hv1", conn.read(lines))])]


def test_a_connection_is_told_by_port_opener_and_rules_that_fit() -> None:
    rows, bundle = model()
    line = TCP.format(opener=1, policy=1, bundle=bundle)
    assert told(rows, line) == [
        line,
        '    # port "vm-b" b, begun by port "vm-a" a; ingress allowed by security group web, '
        "from members of security group web: rule many (tcp 1-1000), rule r80 (tcp 80)",
        "1 connections, 1 explained, 0 foreign",
    ]


def test_an_opener_elsewhere_is_found_by_its_address() -> None:
    rows, bundle = model()
    (found,) = conn.join(rows, "hv1", conn.read([TCP.format(opener=0, policy=1, bundle=bundle)]))
    assert isinstance(found, conn.Known)
    assert found.opener is not None
    assert found.opener.id == "a"


def test_sctp_of_unread_ports_fits_the_rules_of_any() -> None:
    rows, bundle = model()
    tx = Transaction(rows)
    rule = SecurityGroupRule(
        id="r3868", security_group_id="web", direction="ingress", ethertype="IPv4", protocol="sctp",
        port_range_min=3868, port_range_max=3868, remote_group_id="web",
    )  # fmt: skip
    security.add_rule(tx, rule)
    for write in tx.writes():
        assert write.new is not None
        rows.put(write.new)
    line = TCP.format(opener=1, policy=1, bundle=bundle).replace("tcp", "sctp")
    unread = line.replace("sport=33000,dport=80", "sport=0,dport=0")
    assert told(rows, unread)[1].endswith("members of security group web: rule r3868 (sctp 3868)")
    assert told(rows, line)[1].endswith("members of security group web: no rule of these fits it now")


def test_a_bundle_that_is_gone_is_said_to_be() -> None:
    rows, _ = model()
    text = '    # port "vm-b" b, begun by 10.0.0.9; allowed by rules that are gone'
    assert told(rows, ICMP)[1] == text


def test_a_zone_of_nobody_is_foreign_and_other_lines_are_left_out() -> None:
    rows, _ = model()
    assert told(rows, FOREIGN, "", "no connection at all") == [
        FOREIGN,
        "    # foreign: its zone is no port's of this hypervisor",
        "1 connections, 0 explained, 1 foreign",
    ]


def test_a_member_that_left_fits_no_rule() -> None:
    rows, bundle = model()
    line = TCP.format(opener=1, policy=1, bundle=bundle).replace("src=10.0.0.1", "src=10.0.0.77")
    assert told(rows, line)[1].endswith("members of security group web: no rule of these fits it now")


def test_a_translated_connection_is_told_by_whose_translation_it_is() -> None:
    made = Cloud()
    add_outside(made)
    add_floating(made)
    zones = {(each.chassis, each.what.partition("/")[0]): each.zone for each in made.model.all(Translation)}
    line = "udp,orig=(src=10.0.0.1,dst=192.0.2.9,sport=5,dport=7),reply=(src=192.0.2.9,dst=172.24.0.9,sport=7,dport=5),zone={}"
    said = {}
    for at, zone in zones.items():
        (found,) = conn.join(made.model, at[0], conn.read([line.format(zone)]))
        said[at] = conn.sentence(conn.as_json(found))
    assert said["hv1", "floatingip"] == "translated for floating IP 172.24.0.100 f of port vm1"
    assert said["hv2", "router"] == "translated for router r, as 172.24.0.10"


def test_a_forwarded_connection_is_told_by_its_port_forwarding() -> None:
    made = Cloud()
    add_outside(made)
    made.commit(floating_ip("f", "ext", FLOATING_MAC, "172.24.0.100", "r"))
    made.commit(forwarding("web", "f", "tcp", (8080, 8081), "vm1", "10.0.0.1", (80, 81)))
    (zone,) = (each.zone for each in made.model.all(Translation) if each.id.startswith("hv2/router"))
    line = "tcp,orig=(src=9.9.9.9,dst=172.24.0.100,sport=5,dport={}),reply=(src=10.0.0.1,dst=9.9.9.9,sport=80,dport=5),zone={}"
    said = [
        conn.sentence(conn.as_json(each))
        for each in conn.join(made.model, "hv2", conn.read([line.format(port, zone) for port in (8081, 22)]))
    ]
    assert said == [
        "translated for port forwarding web of floating IP 172.24.0.100 f to port vm1, by router r",
        "translated for router r, as 172.24.0.10",
    ]

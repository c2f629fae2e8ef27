"""What asks Open vSwitch the same as a trace, and what it should show: literally, stage by stage."""

from __future__ import annotations

from typing import Any

from northbound import stages, tracing
from northbound.sending import question
from tests.cloud import Cloud, egress, group, hypervisor, ingress, network, port, subnet


def cloud() -> Cloud:
    """Two guests of one hypervisor; two groups let ping in, for the second."""
    made = Cloud()
    made.commit(
        network("red", 100), subnet("red-subnet", "red", "10.0.0.0/24"), group("web", egress(), ingress("icmp"))
    )
    made.commit(group("too", ingress("icmp", 8)))
    made.commit(port("a", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["web"]))
    made.commit(port("b", "red", "02:00:00:00:00:02", "10.0.0.2", groups=["web", "too"]))
    made.commit(hypervisor(1, "a", "b"))
    return made


def asked(made: Cloud, **more: object) -> list[dict[str, Any]]:
    answer = tracing.trace(made.model, made.standing, question({"from": "a", "to": "b", **more}), whole=True)
    return [*stages.asks(made.model, answer)]


def test_the_question_for_a_mac_is_the_first_stage() -> None:
    first, *_ = asked(cloud())
    assert first["command"][:2] == ("ofproto/trace-packet-out", "br-int")
    assert "eth_dst=ff:ff:ff:ff:ff:ff," in first["command"][2]
    assert first["command"][3] == "resubmit(,0)"
    assert first["visits"][0] == (0, 100)
    assert (first["outputs"], first["effects"], first["buckets"], first["alike"]) == (["IN_PORT"], [], {}, False)
    assert "arp_op=2" in first["packet"]


def test_from_one_visit_to_conntrack_to_the_next() -> None:
    found = asked(cloud(), proto="icmp", type=0)[1:]
    assert [stage["effects"] for stage in found] == [[["track", "0x1"]], []]
    assert found[-1]["visits"][-1] == (62, 100)
    _, looked, opened, *_, last = asked(cloud())[1:]
    (commit,) = looked["effects"]
    assert commit == ["commit", "0x1", "0x0", "0xfffffff", *commit[4:]]
    assert commit[5] == "0xffffffffffffffffffffffff"
    assert opened["command"][3] == "resubmit(,13)"
    assert "ct_state=new|trk" in opened["command"][2]
    assert (last["outputs"], last["visits"][-1]) == (["output:11"], (50, 100))


def test_where_several_rules_admit_alike_that_is_told() -> None:
    made = cloud()
    assert [stage["alike"] for stage in asked(made)].count(True) == 1
    assert [stage["alike"] for stage in asked(made, proto="icmp", type=13)].count(True) == 0

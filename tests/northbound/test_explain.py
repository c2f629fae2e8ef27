"""Explaining a dump: every flow of ours has its reason, everything else is foreign, and the count says so."""

from __future__ import annotations

import argparse

import pytest

from controller.errors import Invalid
from northbound import attach, explain

DUMP = """NXST_FLOW reply (xid=0x4):
 cookie=0xa704000000000001, duration=1.5s, table=30, n_packets=2, priority=100,reg6=0x1 actions=mod_dl_dst:02:00
 cookie=0x0, duration=9.1s, table=0, n_packets=0, priority=5,ip actions=drop
 cookie=0xa7ffffffffffffff, duration=9.1s, table=0, n_packets=0, priority=6,ip actions=drop

""".splitlines()
ENTRY = {
    "app": "arp",
    "table": "neigh",
    "reason": "neighbour",
    "objects": [{"kind": "port", "id": "p-1", "name": "web"}, {"kind": "port", "id": "p-2", "name": ""}],
}


def test_a_dump_is_annotated_flow_by_flow() -> None:
    lines = explain.read(DUMP)
    assert explain.cookies(lines) == ["0x0000000000000000", "0xa704000000000001", "0xa7ffffffffffffff"]
    text = list(explain.text(explain.explain(lines, {"0xa704000000000001": ENTRY})))
    assert text[2] == '    # arp: neigh neighbour -> port "web" p-1, port p-2'
    assert text[4] == text[6] == "    # foreign: no flow of this model"
    assert text[-1] == "3 flows, 1 explained, 2 foreign"


def test_what_is_no_flow_is_passed_through() -> None:
    assert list(explain.text(explain.read(["hello", ""]))) == ["hello", "", "0 flows, 0 explained, 0 foreign"]


def attached(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    attach.add_options(parser)
    return parser.parse_args(arguments)


def test_attach_prints_the_one_command() -> None:
    words = attach.command(attached("10.0.0.1", "--encap-ip", "192.0.2.11", "--system-id", "hv1"))
    assert " ".join(words) == (
        "ovs-vsctl set Open_vSwitch . external_ids:system-id=hv1 external_ids:weft-encap-ip=192.0.2.11 "
        "external_ids:weft-encap-type=geneve,vxlan -- set-manager tcp:10.0.0.1:6640 "
        "-- set manager tcp:10.0.0.1:6640 max_backoff=1000"
    )


def test_attach_keeps_other_managers_when_asked() -> None:
    options = attached("c:6641", "--encap-ip", "192.0.2.11", "--system-id", "hv1", "--gateway-priority", "3")
    words = attach.command(options, ["ptcp:6640"])
    assert " ".join(words).endswith("-- set-manager ptcp:6640 tcp:c:6641 -- set manager tcp:c:6641 max_backoff=1000")
    assert "external_ids:weft-gateway-priority=3" in words


def test_attach_refuses_a_controller_that_is_no_address() -> None:
    with pytest.raises(Invalid, match="HOST:PORT"):
        attach.command(attached("c:port", "--encap-ip", "192.0.2.11"))

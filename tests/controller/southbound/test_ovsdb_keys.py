"""What a hypervisor's keys mean, and the sentence for each that is missing or senseless."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.bindings import Claim, Hypervisor
from controller.southbound.hypervisor import SETS, WATCHED, amend, own_datapath_id, read, read_system_id
from controller.southbound.jsonrpc import Replica

GOOD = {"system-id": "hv1", "weft-encap-ip": "192.0.2.11", "weft-encap-type": "geneve,vxlan"}


def database(
    keys: dict[str, str],
    bridge: dict[str, Any] | None = None,
    datapath_types: tuple[str, ...] = (),
    mapped: Mapping[str, str] = MappingProxyType({}),
    ovs_version: str = "",
) -> Replica:
    replica = Replica(WATCHED)
    root: dict[str, Any] = {
        "external_ids": ["map", list(map(list, keys.items()))],
        "datapath_types": ["set", list(datapath_types)],
        "ovs_version": ovs_version,
    }
    replica.apply({"Open_vSwitch": {"root": {"new": root}}})
    if bridge is not None:
        replica.apply({"Bridge": {"bridge": {"new": {"name": "br-int", **bridge}}}})
    for name, datapath_type in mapped.items():
        replica.apply({"Bridge": {name: {"new": {"name": name, "datapath_type": datapath_type}}}})
    return replica


def hypervisor(
    bridge: dict[str, Any] | None = None,
    datapath_types: tuple[str, ...] = (),
    mapped: Mapping[str, str] = MappingProxyType({}),
    **keys: str,
) -> Hypervisor:
    named = {key.replace("_", "-"): value for key, value in keys.items()}
    return read(database({**GOOD, **named}, bridge, datapath_types, mapped), "hv1")


def test_a_hypervisor_says_what_it_is_in_three_keys() -> None:
    assert hypervisor() == Hypervisor(
        system_id="hv1",
        hostname="",
        encap_ip="192.0.2.11",  # type: ignore[arg-type]
        encap_types=("geneve", "vxlan"),
        bridge="br-int",
        datapath_type="system",
        bridge_mappings=(),
        gateway_priority=None,
        datapath_id=None,
        claims=(),
        problem="",
    )


def test_the_further_keys_are_read() -> None:
    seen = hypervisor(
        hostname="node7.example.org",
        weft_bridge="br-weft",
        weft_datapath_type="netdev",
        weft_bridge_mappings="physnet2:br-b, physnet1:br-ex",
        weft_gateway_priority="30",
        weft_availability_zone="east-1",
        mapped={"br-ex": "netdev", "br-b": "netdev"},
    )
    assert (seen.hostname, seen.bridge, seen.datapath_type) == ("node7.example.org", "br-weft", "netdev")
    assert (seen.bridge_mappings, seen.gateway_priority) == ((("physnet1", "br-ex"), ("physnet2", "br-b")), 30)
    assert (seen.availability_zone, hypervisor().availability_zone) == ("east-1", "nova")
    assert (seen.problem, seen.lacks) == ("", "")


def test_a_mapped_bridge_that_cannot_be_used_is_named_and_its_mapping_does_not_count() -> None:
    seen = hypervisor(
        weft_datapath_type="netdev",
        weft_bridge_mappings="here:br-a,gone:br-b,kernel:br-c",
        mapped={"br-a": "netdev", "br-c": ""},
    )
    assert (seen.problem, seen.bridge_mappings) == ("", (("here", "br-a"),))
    assert seen.lacks == (
        "weft-bridge-mappings maps gone to br-b, which is no bridge: run `ovs-vsctl add-br br-b` on the hypervisor, "
        "and give it an interface. "
        "weft-bridge-mappings maps kernel to br-c, whose datapath type is system, not netdev: run "
        "`ovs-vsctl set bridge br-c datapath_type=netdev` on the hypervisor."
    )


def test_spaces_and_repetitions_in_the_encapsulations_do_not_matter() -> None:
    assert hypervisor(weft_encap_type=" vxlan, geneve ,vxlan,").encap_types == ("vxlan", "geneve")


@pytest.mark.parametrize("key", ["weft-encap-ip", "weft-encap-type"])
def test_a_missing_key_is_named_with_the_command_that_mends_it(key: str) -> None:
    seen = read(database({name: value for name, value in GOOD.items() if name != key}), "hv1")
    assert seen.problem.startswith(f"external_ids:{key} is not set, so no tunnel can end here: run `ovs-vsctl set ")
    assert f" external_ids:{key}=" in seen.problem


SENSELESS = [
    ("weft-encap-ip", "", "'', which is no IP address"),
    ("weft-encap-ip", "underlay0", "'underlay0', which is no IP address"),
    ("weft-encap-ip", "192.0.2.11/24", "which is no IP address"),
    ("weft-encap-ip", "10.1", "which is no IP address"),
    ("weft-encap-ip", "fe80::1", "no other hypervisor can send to"),
    ("weft-encap-ip", "::1", "no other hypervisor can send to"),
    ("weft-encap-ip", "127.0.0.1", "no other hypervisor can send to"),
    ("weft-encap-ip", "0.0.0.0", "no other hypervisor can send to"),
    ("weft-encap-ip", "239.0.0.1", "no other hypervisor can send to"),
    ("weft-encap-ip", "255.255.255.255", "no other hypervisor can send to"),
    ("weft-encap-type", " , ", "is not set"),
    ("weft-encap-type", "vxlan,stt", "names 'stt', but the known encapsulations are geneve,gre,vxlan"),
    ("weft-encap-type", "stt,VXLAN", "names 'stt' and 'VXLAN'"),
    ("weft-bridge", "br int", "no bridge can be called"),
    ("weft-bridge", "../../etc/passwd", "no bridge can be called"),
    ("weft-bridge", "a-name-that-is-too-long", "no bridge can be called"),
    ("weft-datapath-type", "kernel", "is 'kernel', neither system nor netdev"),
    ("weft-bridge-mappings", "br-ex", "contains 'br-ex'"),
    ("weft-bridge-mappings", "physnet1:", "contains 'physnet1:'"),
    ("weft-bridge-mappings", "p:br-a,p:br-b", "contains 'p:br-b'"),
    ("weft-bridge-mappings", "p:br-int", "contains 'p:br-int'"),
    ("weft-bridge-mappings", "p:br-a,q:br-a", "contains 'q:br-a'"),
    ("weft-bridge-mappings", "two words:br-a", "contains 'two words:br-a'"),
    ("weft-bridge-mappings", "p:br a", "contains 'p:br a'"),
    ("weft-gateway-priority", "high", "is 'high', which is no number from 0 to 65535"),
    ("weft-gateway-priority", "-1", "no number"),
    ("weft-gateway-priority", "65536", "no number"),
    ("weft-gateway-priority", "٣", "no number"),
    ("weft-gateway-priority", "9" * 5000, "no number"),
    ("weft-availability-zone", "a,b", "is 'a,b', which is no name without spaces and commas"),
    ("weft-availability-zone", "x" * 65, "no name"),
]


@pytest.mark.parametrize(("key", "value", "reason"), SENSELESS)
def test_a_senseless_key_is_named_with_the_reason_and_the_command(key: str, value: str, reason: str) -> None:
    seen = read(database({**GOOD, key: value}), "hv1")
    assert reason in seen.problem
    assert re.search(rf"`ovs-vsctl set Open_vSwitch \. external_ids:{key}=\S+` on the hypervisor\.$", seen.problem)
    assert len(seen.problem) < 300


@pytest.mark.parametrize(
    ("version", "datapath_type", "is_advised"),
    [
        ("3.1.0", "netdev", True),
        ("3.1.2-dev", "netdev", True),
        ("3.1.3", "netdev", False),
        ("3.1.0", "system", False),
        ("2.17.7", "netdev", True),
        ("2.17.10", "netdev", False),
        ("2.13.4", "netdev", True),
        ("3.0.5", "netdev", False),
        ("3.2.0", "netdev", False),
        ("4.0.0", "netdev", False),
        ("", "netdev", False),
        ("of our own", "netdev", False),
        ("3.1.٣", "netdev", False),
    ],
)
def test_an_open_vswitch_that_does_not_follow_each_change_is_to_be_upgraded(
    version: str, datapath_type: str, is_advised: bool
) -> None:
    seen = read(database(GOOD | {"weft-datapath-type": datapath_type}, ovs_version=version), "hv1")
    assert (seen.problem, bool(seen.advice)) == ("", is_advised)
    if is_advised:
        number = version.partition("-")[0]
        assert seen.advice.startswith(f"Open vSwitch {number} in user space may go on as before a change of rules")
        assert seen.advice.endswith("upgrade it to 2.17.8, 3.0.5, 3.1.3, 3.2 or newer.")


@pytest.mark.parametrize(
    ("target", "mode", "datapath_type", "is_advised"),
    [
        ("tcp:10.0.0.1:6640", "", "netdev", True),
        ("ssl:[2001:db8::1]:6640", "in-band", "netdev", True),
        ("tcp:10.0.0.1:6640", "out-of-band", "netdev", False),
        ("tcp:10.0.0.1:6640", "", "system", False),  # where the kernel forwards
        ("ptcp:6640:127.0.0.1", "", "netdev", False),
    ],
)
def test_a_manager_that_is_in_band_is_told_of_with_the_command(
    target: str, mode: str, datapath_type: str, is_advised: bool
) -> None:
    replica = database(GOOD | {"weft-datapath-type": datapath_type})
    row: dict[str, Any] = {"target": target, "connection_mode": mode or ["set", []]}
    replica.apply({"Manager": {"manager": {"new": row}}})
    command = f"`ovs-vsctl set manager {target} connection_mode=out-of-band`"
    assert (command in read(replica, "hv1").advice) == is_advised


def test_all_that_is_wrong_is_said_at_once() -> None:
    seen = read(database({"weft-gateway-priority": "x"}), "hv1")
    assert [
        f"external_ids:{key}" in seen.problem for key in ("weft-encap-ip", "weft-encap-type", "weft-gateway-priority")
    ]
    assert seen.problem.count("run `") == 3


def test_a_known_encapsulation_beside_an_unknown_one_stays_offered() -> None:
    assert hypervisor(weft_encap_type="stt,vxlan").encap_types == ("vxlan",)


def test_an_existing_bridge_keeps_its_datapath_type_unless_another_is_asked_for() -> None:
    assert hypervisor(bridge={"datapath_type": "netdev"}).datapath_type == "netdev"
    assert hypervisor(bridge={"datapath_type": "netdev"}, weft_datapath_type="system").datapath_type == "system"
    assert hypervisor(bridge={"datapath_type": ""}).datapath_type == "system"


def test_a_datapath_type_that_open_vswitch_does_not_offer_is_a_problem() -> None:
    assert "=netdev`" in hypervisor(datapath_types=("netdev",)).problem
    assert hypervisor(datapath_types=("netdev",), weft_datapath_type="netdev").problem == ""
    assert hypervisor(datapath_types=("netdev", "system")).problem == ""


def test_a_datapath_id_is_read_once_open_vswitch_has_chosen_one() -> None:
    assert hypervisor(bridge={"datapath_id": ["set", []]}).datapath_id is None
    assert hypervisor(bridge={"datapath_id": "00000a1b2c3d4e5f"}).datapath_id == 0x0A1B2C3D4E5F


def test_only_interfaces_on_the_integration_bridge_claim_ports() -> None:
    replica = database(GOOD, {"ports": ["set", [["uuid", "p2"], ["uuid", "p1"], ["uuid", "gone"]]]})
    port = "9b3c1f6e-0000-4000-8000-000000000001"
    rows: dict[str, Any] = {
        "i1": {"name": "tap1", "external_ids": ["map", [["iface-id", port], ["attached-mac", "FA-16-3E-00-00-01"]]]},
        "i2": {"name": "tap0", "external_ids": ["map", [["iface-id", "other"], ["attached-mac", "none"]]]},
        "i3": {"name": "elsewhere", "external_ids": ["map", [["iface-id", "third"]]]},
        "i4": {"name": "plain", "external_ids": ["map", []]},
    }
    replica.apply({"Interface": {uuid: {"new": row} for uuid, row in rows.items()}})
    replica.apply(
        {
            "Port": {
                "p1": {"new": {"name": "bond", "interfaces": ["set", [["uuid", "i1"], ["uuid", "i4"]]]}},
                "p2": {"new": {"name": "tap0", "interfaces": ["uuid", "i2"]}},
                "p3": {"new": {"name": "elsewhere", "interfaces": ["uuid", "i3"]}},
            }
        }
    )
    claims = read(replica, "hv1").claims
    assert claims == (Claim("tap0", "other", "", "i2"), Claim("tap1", port, "fa:16:3e:00:00:01", "i1"))


@pytest.mark.parametrize("name", ["hv1", "node-7.example.org", "4c4c4544-0042-4a10-8052-b4c04f4a4d32", "x" * 255])
def test_a_system_id_is_a_name(name: str) -> None:
    assert read_system_id(database({"system-id": name})) == (name, "")


@pytest.mark.parametrize("name", ["", "two words", "a/b", "line\nbreak", "ü", "x" * 256])
def test_a_senseless_system_id_is_none(name: str) -> None:
    found, reason = read_system_id(database({"system-id": name}))
    assert found == ""
    assert "run `ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME`" in reason
    assert "\n" not in reason


def test_a_database_without_a_root_row_has_no_name() -> None:
    assert "is not set" in read_system_id(Replica(WATCHED))[1]


def test_the_id_of_a_bridge_that_weft_made_is_of_its_hypervisor_s_name() -> None:
    def amended(name: str, owner: str) -> str:
        bridge = {
            "external_ids": ["map", [["owner", owner]]],
            "other_config": ["map", [["datapath-id", own_datapath_id("hv1", "br-int")]]],
            "datapath_id": own_datapath_id("hv1", "br-int"),
        }
        replica = database({**GOOD, "system-id": name}, bridge)
        return str(amend(replica, read(replica, name), "tcp:192.0.2.1:6653"))

    assert "datapath-id" not in amended("hv1", "weft")
    assert own_datapath_id("copy", "br-int") in amended("copy", "weft")
    assert "datapath-id" not in amended("copy", "somebody"), "theirs stays as it is"


def test_a_hypervisor_with_a_problem_is_left_as_it_is() -> None:
    replica = database({"system-id": "hv1"}, {"fail_mode": "standalone"})
    assert amend(replica, read(replica, "hv1"), "tcp:192.0.2.1:6653") == []


KEYS = ["system-id", "hostname", "weft-encap-ip", "weft-encap-type", "weft-bridge", "weft-datapath-type"]
KEYS += ["weft-bridge-mappings", "weft-gateway-priority"]


@given(st.dictionaries(st.sampled_from(KEYS), st.text()))
def test_whatever_the_keys_hold_a_hypervisor_is_usable_or_says_why(keys: dict[str, str]) -> None:
    replica = database(keys)
    name, reason = read_system_id(replica)
    assert bool(name) != bool(reason)
    seen = read(replica, "hv1")
    assert seen.problem or (seen.encap_ip and seen.encap_types)
    assert seen.problem.isprintable()
    assert seen.lacks.isprintable()
    assert bool(amend(replica, seen, "tcp:192.0.2.1:6653")) != bool(seen.problem)


def test_the_columns_that_may_have_several_elements_are_those_of_open_vswitchs_schema() -> None:
    tables = json.loads(Path("/usr/share/openvswitch/vswitch.ovsschema").read_text())["tables"]
    types = {
        column: tables[table]["columns"][column]["type"] for table, columns in WATCHED.items() for column in columns
    }
    several = {
        name
        for name, kind in types.items()
        if isinstance(kind, dict) and "value" not in kind and kind.get("max", 1) != 1
    }
    assert several == SETS

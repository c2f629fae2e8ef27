"""Ports: which addresses each gets, and what Nova is told of where it is plugged."""

from __future__ import annotations

import re

import pytest

from controller.model.bindings import Claim, Hypervisor, alone, observe
from controller.model.records import Address, SecurityGroup, Tag
from controller.model.store import Transaction
from northbound.api import Settings
from tests.northbound.served import NOBODY, Client, serving


def four(api: Client, network: str, cidr: str = "10.0.0.0/24") -> str:
    return str(api.make("subnet", network_id=network, ip_version=4, cidr=cidr)["id"])


def six(api: Client, network: str, **more: str) -> str:
    return str(api.make("subnet", network_id=network, ip_version=6, cidr="2001:db8::/64", **more)["id"])


def addresses(port: dict[str, list[dict[str, str]]]) -> list[str]:
    return [ip["ip_address"] for ip in port["fixed_ips"]]


def hypervisor(api: Client, *claims: str, id: str = "hv1", encaps: tuple[str, ...] = ("vxlan",)) -> None:
    seen = Hypervisor(
        system_id=id,
        hostname=f"{id}.example",
        encap_ip=Address("192.0.2.1"),
        encap_types=encaps,
        bridge="br-int",
        datapath_type="netdev",
        bridge_mappings=(),
        gateway_priority=None,
        datapath_id=1,
        claims=tuple(Claim(f"tap{place}", port) for place, port in enumerate(claims)),
    )

    def work(tx: Transaction) -> None:
        observe(tx, seen)

    api.commit(work)


def test_a_port_is_what_was_asked_for_and_the_rest_is_default(api: Client, red: str) -> None:
    subnet = four(api, red)
    made = api.make("port", network_id=red, name="vm1")
    (default,) = api.store.model.all(SecurityGroup)
    assert re.fullmatch(r"fa:16:3e(:[0-9a-f]{2}){3}", made["mac_address"])
    kept = {"id", "created_at", "updated_at", "mac_address"}
    assert {name: made[name] for name in made if name not in kept} == {
        "name": "vm1",
        "description": "",
        "project_id": "",
        "tenant_id": "",
        "network_id": red,
        "fixed_ips": [{"subnet_id": subnet, "ip_address": "10.0.0.2"}],
        "admin_state_up": True,
        "status": "DOWN",
        "device_id": "",
        "device_owner": "",
        "binding:host_id": "",
        "binding:vif_type": "unbound",
        "binding:vif_details": {},
        "binding:vnic_type": "normal",
        "binding:profile": {},
        "security_groups": [default.id],
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "dns_name": "",
        "dns_domain": "",
        "dns_assignment": [
            {"ip_address": "10.0.0.2", "hostname": "host-10-0-0-2", "fqdn": "host-10-0-0-2.openstacklocal."}
        ],
        "propagate_uplink_status": True,
        "ip_allocation": "immediate",
        "port_security_enabled": True,
        "revision_number": 1,
        "tags": [],
    }
    assert api.store.model.get(Tag, f"port/{made['id']}") is not None
    api.wires.active.add(made["id"])
    assert api.get(f"/v2.0/ports/{made['id']}")["port"] == {**made, "status": "ACTIVE"}


def test_a_port_gets_an_address_of_each_version_and_those_it_forms_itself(api: Client, red: str) -> None:
    four(api, red)
    six(api, red)
    slaac = api.make("subnet", network_id=red, ip_version=6, cidr="2001:db8:1::/64", ipv6_address_mode="slaac")["id"]
    port = api.make("port", network_id=red, mac_address="02:00:00:00:00:01")
    assert addresses(port) == ["10.0.0.2", "2001:db8::2", "2001:db8:1::ff:fe00:1"]
    only = api.make("port", network_id=red, mac_address="02:00:00:00:00:02", fixed_ips=[{"subnet_id": slaac}])
    assert addresses(only) == ["2001:db8:1::ff:fe00:2"]
    moved = api.put("port", port["id"], mac_address="02-00-00-00-00-03").body["port"]
    assert moved["mac_address"] == "02:00:00:00:00:03"
    assert addresses(moved) == ["10.0.0.2", "2001:db8::2", "2001:db8:1::ff:fe00:3"]
    refused = api.post("port", network_id=red, fixed_ips=[{"ip_address": "2001:db8:1::5"}])
    assert refused.fault == (
        400,
        "AllocationOnAutoAddressSubnet",
        f"IPv6 address 2001:db8:1::5 cannot be directly assigned to a port on subnet {slaac} as the subnet is "
        "configured for automatic addresses",
    )


def test_addresses_can_be_asked_for_in_every_way(api: Client, red: str) -> None:
    first, second = four(api, red), four(api, red, "10.0.1.0/24")
    both = [
        {"subnet_id": second},
        {"subnet_id": first, "ip_address": "10.0.0.9"},
        {"ip_address": "10.0.1.2"},
    ]
    port = api.make("port", network_id=red, fixed_ips=both)
    assert addresses(port) == ["10.0.0.9", "10.0.1.2", "10.0.1.3"]
    assert addresses(api.make("port", network_id=red, fixed_ips=[])) == []
    gateway = api.make("port", network_id=red, fixed_ips=[{"ip_address": "10.0.0.1"}])
    assert addresses(gateway) == ["10.0.0.1"]
    assert addresses(api.make("port", network_id=red)) == ["10.0.0.2"]


def test_an_update_keeps_gives_and_takes_addresses(api: Client, red: str) -> None:
    first, second = four(api, red), four(api, red, "10.0.1.0/24")
    port = api.make("port", network_id=red, fixed_ips=[{"subnet_id": first}])
    id = port["id"]
    more = api.put("port", id, fixed_ips=[{"subnet_id": first}, {"subnet_id": second}]).body["port"]
    assert addresses(more) == ["10.0.0.2", "10.0.1.2"]
    same = api.put("port", id, fixed_ips=more["fixed_ips"]).body["port"]
    assert same == more
    other = api.put("port", id, fixed_ips=[{"subnet_id": second, "ip_address": "10.0.1.7"}]).body["port"]
    assert addresses(other) == ["10.0.1.7"]
    taken = api.make("port", network_id=red, fixed_ips=[{"ip_address": "10.0.0.2"}, {"ip_address": "10.0.1.2"}])
    assert api.put("port", id, fixed_ips=taken["fixed_ips"]).fault == (
        409,
        "IpAddressAlreadyAllocated",
        f"IP address 10.0.0.2 already allocated in subnet {first}",
    )
    assert api.get(f"/v2.0/ports/{id}")["port"] == other


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"network_id": NOBODY},
            (404, "NetworkNotFound", f"Network {NOBODY} could not be found."),
        ),
        (
            {"network_id": None},
            (400, "HTTPBadRequest", "Invalid input for network_id. Reason: 'None' is not a valid UUID."),
        ),
        (
            {"mac_address": "x"},
            (400, "HTTPBadRequest", "Invalid input for mac_address. Reason: 'x' is not a valid MAC address."),
        ),
        ({"mac_address": "01:00:5e:00:00:01"}, (400, "HTTPBadRequest", None)),
        ({"mac_address": "00:00:00:00:00:00"}, (400, "HTTPBadRequest", None)),
        ({"mac_address": "fa:16:3e:00:00:01:02:03"}, (400, "HTTPBadRequest", None)),
        ({"mac_address": 7}, (400, "HTTPBadRequest", None)),
        (
            {"mac_address": "02:00:00:00:00:AA"},
            (409, "MacAddressInUse", None),
        ),
        (
            {"fixed_ips": None},
            (400, "HTTPBadRequest", "Invalid input for fixed_ips. Reason: Invalid data format for fixed IP: 'None'."),
        ),
        ({"fixed_ips": ["10.0.0.5"]}, (400, "HTTPBadRequest", None)),
        ({"fixed_ips": [{"ip_address": "10.0.0.500"}]}, (400, "HTTPBadRequest", None)),
        ({"fixed_ips": [{"ip_address": "010.0.0.5"}]}, (400, "HTTPBadRequest", None)),
        ({"fixed_ips": [{"subnet_id": "x"}]}, (400, "HTTPBadRequest", None)),
        (
            {"fixed_ips": [{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.5"}]},
            (400, "HTTPBadRequest", "Invalid input for fixed_ips. Reason: Duplicate IP address '10.0.0.5'."),
        ),
        (
            {"fixed_ips": [{}]},
            (
                400,
                "InvalidInput",
                "Invalid input for operation: IP allocation requires subnet_id or ip_address.",
            ),
        ),
        (
            {"fixed_ips": [{"ip_address": "192.0.2.1"}]},
            (
                400,
                "InvalidIpForNetwork",
                "IP address 192.0.2.1 is not a valid IP for any of the subnets on the specified network.",
            ),
        ),
        ({"fixed_ips": [{"ip_address": "10.0.0.0"}]}, (400, "InvalidIpForNetwork", None)),
        ({"fixed_ips": [{"ip_address": "10.0.0.255"}]}, (400, "InvalidIpForNetwork", None)),
        (
            {"fixed_ips": [{"subnet_id": NOBODY}]},
            (404, "SubnetNotFound", f"Subnet {NOBODY} could not be found."),
        ),
        (
            {"fixed_ips": [{"ip_address": "10.0.0.2"}]},
            (409, "IpAddressAlreadyAllocated", None),
        ),
        ({"binding:vnic_type": "direct"}, (400, "HTTPBadRequest", None)),
        ({"binding:profile": "x"}, (400, "HTTPBadRequest", None)),
        ({"binding:profile": {"x": "y" * 5000}}, (400, "InvalidInput", None)),
        ({"binding:host_id": 5}, (400, "HTTPBadRequest", None)),
        ({"binding:vif_type": "ovs"}, (400, "HTTPBadRequest", "Attribute 'binding:vif_type' not allowed in POST")),
        ({"port_security_enabled": "x"}, (400, "InvalidInput", None)),
    ],
)
def test_a_port_that_cannot_be_is_refused(
    api: Client, red: str, given: dict[str, object], fault: tuple[int, str, str | None]
) -> None:
    four(api, red)
    api.make("port", network_id=red, mac_address="02:00:00:00:00:aa")
    before = len(api.changes)
    status, kind, said = api.post("port", **{"network_id": red, **given}).fault
    assert (status, kind) == fault[:2]
    assert fault[2] in (None, said)
    assert len(api.changes) == before


def test_a_network_without_subnets_gives_no_address(api: Client, red: str) -> None:
    one, other = api.make("port", network_id=red), api.make("port", network_id=red, fixed_ips=[])
    assert [port["fixed_ips"] for port in (one, other)] == [[], []]
    assert [port["ip_allocation"] for port in (one, other)] == ["immediate", "none"]
    asked = api.post("port", network_id=red, fixed_ips=[{"ip_address": "10.0.0.5"}])
    assert asked.fault == (
        400,
        "InvalidInput",
        "Invalid input for operation: IP allocation requires subnets for network.",
    )


def test_a_subnet_of_another_network_is_refused(api: Client, red: str) -> None:
    four(api, red)
    blue = api.make("network")["id"]
    other = four(api, blue, "10.0.1.0/24")
    assert api.post("port", network_id=red, fixed_ips=[{"subnet_id": other}]).fault[:2] == (400, "InvalidInput")
    wrong = api.post("port", network_id=blue, fixed_ips=[{"subnet_id": other, "ip_address": "10.0.0.5"}])
    assert wrong.fault == (
        400,
        "InvalidIpForSubnet",
        "IP address 10.0.0.5 is not a valid IP for the specified subnet.",
    )


def test_two_networks_may_use_the_same_addresses(api: Client, red: str) -> None:
    blue = api.make("network")["id"]
    for network in (red, blue):
        four(api, network)
        made = api.make(
            "port",
            network_id=network,
            mac_address="02:00:00:00:00:01",
            fixed_ips=[{"ip_address": "10.0.0.5"}],
        )
        assert addresses(made) == ["10.0.0.5"]


def test_a_new_mac_address_can_be_drawn_or_chosen() -> None:
    with serving(Settings(base_mac="02:ab:cd:00:00:00")) as api:
        red = api.make("network")["id"]
        port = api.make("port", network_id=red)
        assert port["mac_address"].startswith("02:ab:cd:")
        drawn = api.put("port", port["id"], mac_address=None).body["port"]["mac_address"]
        assert drawn != port["mac_address"]
        other = api.make("port", network_id=red, mac_address="02:00:00:00:00:01")
        assert api.put("port", other["id"], mac_address=drawn).fault[1] == "MacAddressInUse"
        assert api.put("port", other["id"], mac_address=other["mac_address"]).status == 200


def test_the_rest_of_a_port_can_be_changed(api: Client, red: str) -> None:
    made = api.make("port", network_id=red)
    given = {
        "name": "n",
        "description": "d",
        "device_id": "vm",
        "device_owner": "compute:nova",
        "admin_state_up": False,
        "binding:profile": {"a": [1, None], "b": {"c": "é"}},
    }
    changed = api.put("port", made["id"], **given).body["port"]
    assert {name: changed[name] for name in given} == given
    assert api.put("port", made["id"], network_id=red).fault[2] == "Cannot update read-only attribute network_id"
    assert api.put("port", made["id"], **{"binding:profile": None}).body["port"]["binding:profile"] == {}


def test_a_port_is_bound_where_it_is_plugged(api: Client, red: str) -> None:
    made = api.make("port", network_id=red)
    hypervisor(api, made["id"])
    found = api.get(f"/v2.0/ports/{made['id']}")["port"]
    assert (found["binding:vif_type"], found["binding:host_id"]) == ("ovs", "hv1")
    assert found["binding:vif_details"] == {
        "port_filter": True,
        "connectivity": "l2",
        "ovs_hybrid_plug": False,
        "datapath_type": "netdev",
        "bridge_name": "br-int",
    }
    assert api.get("/v2.0/ports?binding:host_id=hv1")["ports"] == [found]
    hypervisor(api)
    assert api.get(f"/v2.0/ports/{made['id']}")["port"]["binding:vif_type"] == "unbound"


@pytest.mark.parametrize("host", ["hv1", "hv1.example"])
def test_nova_learns_at_once_how_to_plug_on_the_host_it_names(api: Client, red: str, host: str) -> None:
    hypervisor(api)
    made = api.make("port", network_id=red, **{"binding:host_id": host})
    assert (made["binding:vif_type"], made["binding:host_id"]) == ("ovs", host)
    assert made["binding:vif_details"]["bridge_name"] == "br-int"
    unbound = api.put("port", made["id"], **{"binding:host_id": None}).body["port"]
    assert (unbound["binding:vif_type"], unbound["binding:host_id"]) == ("unbound", "")
    hypervisor(api, made["id"])
    found = api.get(f"/v2.0/ports/{made['id']}")["port"]
    assert found["binding:vif_type"] == "unbound", "a client unbound it, so plugging does not bind it"


@pytest.mark.parametrize(
    ("host", "encaps", "reason"),
    [
        ("hv9", ("vxlan",), "no hypervisor is called hv9"),
        ("hv1", ("geneve",), "hypervisor hv1 offers encapsulations (geneve), not vxlan"),
    ],
)
def test_a_host_that_cannot_carry_the_port_fails_the_binding(
    api: Client, red: str, host: str, encaps: tuple[str, ...], reason: str
) -> None:
    hypervisor(api, encaps=encaps)
    made = api.make("port", network_id=red, **{"binding:host_id": host})
    assert (made["binding:vif_type"], made["binding:vif_details"]) == ("binding_failed", {"reason": reason})
    assert made["binding:host_id"] == host


def test_a_switch_without_a_database_can_be_named_as_a_host_and_carries_every_network(api: Client, red: str) -> None:
    def work(tx: Transaction) -> None:
        observe(tx, alone(1, {}))

    api.commit(work)
    made = api.make("port", network_id=red, **{"binding:host_id": "0000000000000001"})
    assert (made["binding:vif_type"], made["binding:host_id"]) == ("ovs", "0000000000000001")


def test_a_port_plugged_where_its_network_is_not_carried_fails_to_bind(api: Client, red: str) -> None:
    made = api.make("port", network_id=red)
    hypervisor(api, made["id"], encaps=("geneve",))
    found = api.get(f"/v2.0/ports/{made['id']}")["port"]
    assert found["binding:vif_type"] == "binding_failed"
    assert found["binding:vif_details"]["reason"] == "hypervisor hv1 offers encapsulations (geneve), not vxlan"

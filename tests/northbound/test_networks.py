"""Networks: the segment that carries each, and what keeps one from going."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.model.records import SecurityGroup, Tag
from northbound.api import Settings
from tests.northbound.served import Client, serving


def test_a_network_is_what_was_asked_for_and_the_rest_is_default(api: Client) -> None:
    made = api.make("network", name="red")
    assert {name: made[name] for name in made if name not in ("id", "created_at", "updated_at")} == {
        "name": "red",
        "description": "",
        "project_id": "",
        "tenant_id": "",
        "admin_state_up": True,
        "shared": False,
        "port_security_enabled": True,
        "status": "ACTIVE",
        "subnets": [],
        "mtu": 1450,
        "provider:network_type": "vxlan",
        "provider:physical_network": None,
        "provider:segmentation_id": 1,
        "router:external": False,
        "vlan_transparent": False,
        "is_default": False,
        "dns_domain": "",
        "availability_zones": [],
        "availability_zone_hints": [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "revision_number": 1,
        "tags": [],
    }
    assert api.get(f"/v2.0/networks/{made['id']}")["network"] == made
    assert api.store.model.get(Tag, f"network/{made['id']}") is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"provider:network_type": "stt"},
            "Invalid input for operation: network_type value 'stt' not supported.",
        ),
        (
            {"provider:network_type": "flat"},
            "Invalid input for operation: physical_network required for flat provider network.",
        ),
        ({"provider:segmentation_id": 5}, "Invalid input for operation: network_type required."),
        (
            {"provider:network_type": "vxlan", "provider:physical_network": "p"},
            "Invalid input for operation: provider:physical_network specified for vxlan network.",
        ),
        (
            {"provider:network_type": "vxlan", "provider:segmentation_id": 0},
            "Invalid input for operation: segmentation_id out of range (1 through 15728639).",
        ),
        (
            {"provider:network_type": "vxlan", "provider:segmentation_id": 0xF00000},
            "Invalid input for operation: segmentation_id out of range (1 through 15728639).",
        ),
        (
            {"provider:network_type": "vxlan", "provider:segmentation_id": "x"},
            "Invalid input for operation: 'x' is not an integer.",
        ),
        ({"mtu": 1451}, "Invalid input for operation: Requested MTU is too big, maximum is 1450."),
        ({"mtu": 10**30}, "Invalid input for operation: Requested MTU is too big, maximum is 1450."),
        ({"mtu": -1}, "Invalid input for mtu. Reason: '-1' should be non-negative."),
        ({"mtu": 1e400}, "Invalid input for operation: 'inf' is not an integer."),
        ({"admin_state_up": "maybe"}, "Invalid input for operation: 'maybe' cannot be converted to boolean."),
        ({"admin_state_up": None}, "Invalid input for operation: 'None' cannot be converted to boolean."),
        ({"port_security_enabled": "x"}, "Invalid input for operation: 'x' cannot be converted to boolean."),
        ({"vlan_transparent": True}, "Backend does not support VLAN Transparency."),
    ],
)
def test_a_network_that_nothing_can_carry_is_refused(api: Client, given: dict[str, object], message: str) -> None:
    answer = (
        api.ask("POST", "/v2.0/networks", '{"network": {"mtu": 1e400}}')
        if given == {"mtu": 1e400}
        else api.post("network", **given)
    )
    status, _, said = answer.fault
    assert (status, said) == (400, message)
    assert api.changes == []


def test_segments_are_counted_per_type_and_step_over_taken_ones(api: Client) -> None:
    taken = api.make("network", **{"provider:network_type": "vxlan", "provider:segmentation_id": "2"})
    assert taken["provider:segmentation_id"] == 2
    assert [api.make("network")["provider:segmentation_id"] for _ in range(2)] == [1, 3]
    geneve = api.make("network", **{"provider:network_type": "geneve"})
    assert (geneve["provider:segmentation_id"], geneve["mtu"]) == (1, 1450)
    again = api.post("network", **{"provider:network_type": "vxlan", "provider:segmentation_id": 2})
    assert again.fault == (
        409,
        "TunnelIdInUse",
        "Unable to create the network. The tunnel ID 2 is in use.",
    )


def test_segments_run_out_and_come_back() -> None:
    with serving(Settings(segments=(7, 9), network_type="geneve", underlay_mtu=9000)) as api:
        made = [api.make("network") for _ in range(3)]
        assert [each["provider:segmentation_id"] for each in made] == [7, 8, 9]
        assert made[0]["mtu"] == 8950
        assert api.post("network").fault == (
            503,
            "NoNetworkAvailable",
            "Unable to create the network. No project network is available for allocation.",
        )
        api.delete("network", made[1]["id"])
        assert api.make("network")["provider:segmentation_id"] == 8


def test_the_mtu_suits_the_underlay_and_ipv6(api: Client) -> None:
    made = api.make("network", mtu="1280")
    assert made["mtu"] == 1280
    api.make("subnet", network_id=made["id"], ip_version=6, cidr="2001:db8::/64")
    refused = api.put("network", made["id"], mtu=1279)
    assert refused.fault == (
        409,
        "NetworkMTUSubnetConflict",
        f"MTU of {made['id']} is not valid, subnet requires a minimum of 1280",
    )
    small = api.make("network", mtu=1000)
    assert api.post("subnet", network_id=small["id"], ip_version=6, cidr="2001:db8::/64").status == 409
    assert api.put("network", made["id"], mtu=0).body["network"]["mtu"] == 1450
    tiny = api.make("network", mtu=67)
    for subnet in ({"ip_version": 4, "cidr": "10.0.0.0/24"}, {"ip_version": 6, "cidr": "2001:db8::/64"}):
        assert "minimum of 68" in api.post("subnet", network_id=tiny["id"], **subnet).fault[2]
    assert api.put("network", tiny["id"], mtu=68).status == 200
    api.make("subnet", network_id=tiny["id"], ip_version=4, cidr="10.0.0.0/24")
    assert api.put("network", tiny["id"], mtu=67).fault[1] == "NetworkMTUSubnetConflict"


def test_a_network_can_be_changed_but_not_its_segment(api: Client) -> None:
    made = api.make("network", name="a")
    changed = api.put("network", made["id"], name="b", description="d", admin_state_up=False, shared=True).body[
        "network"
    ]
    assert {name for name in made if made[name] != changed[name]} - {"updated_at"} == {
        "name",
        "description",
        "admin_state_up",
        "shared",
        "revision_number",
    }
    assert api.put("network", made["id"], **{"provider:segmentation_id": 1}).status == 200
    for name, value in (("provider:segmentation_id", 2), ("provider:network_type", "geneve")):
        status, kind, said = api.put("network", made["id"], **{name: value}).fault
        assert (status, kind) == (400, "InvalidInput")
        assert name in said


def test_a_network_stays_shared_while_others_use_it(api: Client) -> None:
    made = api.make("network", name="pub", shared=True, project_id="a")
    port = api.make("port", network_id=made["id"], project_id="b")
    assert api.put("network", made["id"], shared=False).fault == (
        409,
        "InvalidSharedSetting",
        "Unable to reconfigure sharing settings for network pub. Multiple projects are using it.",
    )
    api.delete("port", port["id"])
    assert api.put("network", made["id"], shared=False).status == 200


def test_a_network_with_ports_stays_and_one_without_takes_its_subnets_along(api: Client) -> None:
    id = api.make("network")["id"]
    subnet = api.make("subnet", network_id=id, ip_version=4, cidr="10.0.0.0/24")["id"]
    port = api.make("port", network_id=id)["id"]
    api.make("port", network_id=id, device_owner="network:dhcp")
    assert api.get(f"/v2.0/networks/{id}")["network"]["subnets"] == [subnet]
    assert api.delete("network", id).fault == (
        409,
        "NetworkInUse",
        f"Unable to complete operation on network {id}. There are one or more ports still in use on the network, "
        f"id for these ports is: {port}.",
    )
    assert api.delete("port", port).status == 204
    assert api.delete("network", id).status == 204
    for kind in ("networks", "subnets", "ports"):
        assert api.get(f"/v2.0/{kind}")[kind] == []
    assert {tag.space for tag in api.store.model.all(Tag)} == {"bundle"}, "of the default security group"


def test_a_network_says_whether_its_ports_get_port_security(api: Client) -> None:
    open = api.make("network", port_security_enabled="false")["id"]
    assert api.get("/v2.0/networks?port_security_enabled=false&fields=id")["networks"] == [{"id": open}]
    free = api.make("port", network_id=open)
    assert (free["port_security_enabled"], free["security_groups"]) == (False, [])
    assert api.put("network", open, port_security_enabled=True).body["network"]["port_security_enabled"] is True
    assert api.make("port", network_id=open)["port_security_enabled"] is True
    assert api.get(f"/v2.0/ports/{free['id']}")["port"]["port_security_enabled"] is False


def test_the_first_network_of_a_project_brings_its_default_group(api: Client) -> None:
    api.make("network")
    api.make("network", project_id="p")
    api.make("network", project_id="p")
    assert [group.project_id for group in api.store.model.all(SecurityGroup)] == ["p"]


# ---- VLANs and flat networks -------------------------------------------------------------------------------------

PHYSICAL = Settings(
    vlan_ranges=(("physnet1", 100, 102), ("physnet1", 200, 200), ("physnet2", 1, 0)),
    flat_networks=frozenset({"physnet1", "physnet2"}),
    physical_network_mtus=(("physnet2", 9000),),
)


def provider(type: str, physical: str | None = None, number: int | str | None = None) -> dict[str, object]:
    """The provider attributes of a network; None is not given."""
    found = {"network_type": type, "physical_network": physical, "segmentation_id": number}
    return {f"provider:{name}": value for name, value in found.items() if value is not None}


@pytest.fixture
def wired() -> Iterator[Client]:
    with serving(PHYSICAL) as client:
        yield client


def test_a_network_is_on_the_vlan_or_the_wire_that_was_asked_for(wired: Client) -> None:
    vlan = wired.make("network", **provider("vlan", "physnet1", "4094"))
    assert {name: vlan[name] for name in (*provider("vlan", "physnet1", 4094), "mtu")} == {
        **provider("vlan", "physnet1", 4094), "mtu": 1500,
    }  # fmt: skip
    flat = wired.make("network", **provider("flat", "physnet2"))
    assert (flat["provider:physical_network"], flat["provider:segmentation_id"], flat["mtu"]) == (
        "physnet2",
        None,
        9000,
    )
    listed = wired.get("/v2.0/networks?provider:physical_network=physnet2")["networks"]
    assert [each["id"] for each in listed] == [flat["id"]]
    assert wired.make("network", **provider("flat", "physnet1"))["mtu"] == 1500, "beside the VLAN"
    assert wired.make("network", **provider("vlan", "physnet2", 4094)), "another wire, another VLAN"


def test_every_vlan_may_be_asked_for_where_the_operator_named_none() -> None:
    with serving() as api:
        assert api.make("network", **provider("vlan", "wire", 4094))["provider:segmentation_id"] == 4094
        assert api.make("network", **provider("vlan", "wire"))["provider:segmentation_id"] == 1
        assert api.post("network", **provider("vlan", "wire", 4095)).status == 400
        assert api.post("network", **provider("vlan")).status == 503, "of no wire there is none"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (provider("vlan", "physnet9", 7), "physical_network 'physnet9' unknown for VLAN provider network"),
        (provider("vlan", "physnet1", 0), "segmentation_id out of range (1 through 4094)"),
        (provider("vlan", "physnet1", 4095), "segmentation_id out of range (1 through 4094)"),
        (provider("vlan", "physnet1", -1), "segmentation_id out of range (1 through 4094)"),
        (provider("vlan", None, 7), "segmentation_id requires physical_network for VLAN provider network"),
        (provider("flat"), "physical_network required for flat provider network"),
        (provider("flat", "physnet9"), "physical_network 'physnet9' unknown for flat provider network"),
        (provider("flat", "physnet1", 7), "segmentation_id prohibited for flat provider network"),
        ({**provider("vlan", "physnet1", 7), "mtu": 1501}, "Requested MTU is too big, maximum is 1500"),
        ({**provider("flat", "physnet2"), "mtu": 9001}, "Requested MTU is too big, maximum is 9000"),
        ({"provider:physical_network": "physnet1"}, "network_type required"),
    ],
)
def test_what_no_wire_has_is_refused_as_neutron_refuses_it(
    wired: Client, given: dict[str, object], message: str
) -> None:
    status, kind, said = wired.post("network", **given).fault
    assert (status, kind, said) == (400, "InvalidInput", f"Invalid input for operation: {message}.")
    assert wired.changes == []


def test_a_vlan_and_a_wire_are_one_network_s(wired: Client) -> None:
    for given in (provider("vlan", "physnet1", 7), provider("flat", "physnet1")):
        wired.make("network", **given)
    assert wired.post("network", **provider("vlan", "physnet1", 7)).fault == (
        409, "VlanIdInUse", "Unable to create the network. The VLAN 7 on physical network physnet1 is in use.",
    )  # fmt: skip
    assert wired.post("network", **provider("flat", "physnet1")).fault == (
        409, "FlatNetworkInUse", "Unable to create the flat network. Physical network physnet1 is in use.",
    )  # fmt: skip


def test_vlans_are_handed_out_of_all_ranges_until_none_is_left_and_come_back(wired: Client) -> None:
    taken = wired.make("network", **provider("vlan", "physnet1", 101))
    made = [wired.make("network", **provider("vlan")) for _ in range(2)]
    made.append(wired.make("network", **provider("vlan", "physnet1")))
    assert [each["provider:segmentation_id"] for each in made] == [100, 102, 200]
    none = (503, "NoNetworkAvailable", "Unable to create the network. No project network is available for allocation.")
    assert wired.post("network", **provider("vlan")).fault == none
    assert wired.post("network", **provider("vlan", "physnet1")).fault == none
    assert wired.post("network", **provider("vlan", "physnet2")).fault == none, "it has no range"
    wired.delete("network", taken["id"])
    assert wired.make("network", **provider("vlan"))["provider:segmentation_id"] == 101


def test_tenants_may_have_vlans_for_a_default() -> None:
    with serving(Settings(network_type="vlan", vlan_ranges=(("a", 5, 5), ("b", 5, 6)))) as api:
        made = [api.make("network") for _ in range(3)]
        assert [(each["provider:physical_network"], each["provider:segmentation_id"]) for each in made] == [
            ("a", 5), ("b", 5), ("b", 6),
        ]  # fmt: skip
        assert made[0]["provider:network_type"] == "vlan"


def test_flat_networks_can_be_forbidden_and_any_wire_allowed() -> None:
    with serving(Settings(flat_networks=frozenset())) as api:
        assert api.post("network", **provider("flat", "a")).fault[2] == (
            "Invalid input for operation: Flat provider networks are disabled."
        )
    with serving() as api:
        assert api.make("network", **provider("flat", "whatever"))["provider:physical_network"] == "whatever"


def test_a_physical_network_has_a_number_as_long_as_a_network_is_on_it(wired: Client) -> None:
    made = [wired.make("network", **provider("vlan", "physnet1", vlan)) for vlan in (1, 2)]
    wired.delete("network", made[0]["id"])
    assert wired.store.model.get(Tag, "physical/physnet1") is not None
    wired.delete("network", made[1]["id"])
    assert wired.store.model.get(Tag, "physical/physnet1") is None


def test_the_segment_of_a_network_can_be_named_as_a_list_of_one(api: Client) -> None:
    def asked(**provider: object) -> dict[str, object]:
        return {f"provider:{name}": value for name, value in provider.items()}

    made = api.make("network", segments=[asked(network_type="geneve", segmentation_id=7)])
    assert (made["provider:network_type"], made["provider:segmentation_id"]) == ("geneve", 7)
    assert "segments" not in made
    assert api.make("network", segments=[])["provider:network_type"] == "vxlan"
    for attributes, fault in (
        (
            {"segments": [asked(network_type="vxlan")], **asked(network_type="vxlan")},
            ("SegmentsSetInConjunctionWithProviders", "Segments and provider values cannot both be set."),
        ),
        ({"segments": [asked(network_type="vxlan")] * 2}, ("InvalidInput", None)),
        ({"segments": [{}]}, ("InvalidInput", "Invalid input for operation: network_type required.")),
        ({"segments": [{"foo": 1}]}, ("HTTPBadRequest", "Unrecognized attribute(s) 'foo'")),
        ({"segments": "x"}, ("HTTPBadRequest", "Invalid input for segments. Reason: 'x' is not a list.")),
        (
            {"segments": [asked(network_type="zz")]},
            ("InvalidInput", "Invalid input for operation: network_type value 'zz' not supported."),
        ),
    ):
        status, kind, message = api.post("network", **attributes).fault
        assert (status, kind) == (400, fault[0])
        assert fault[1] in (None, message)

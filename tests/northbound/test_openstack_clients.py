"""The unmodified `openstack` command and openstacksdk, against a real socket, by all ways of saying who one is.

Each goes through every resource's life by each way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from controller.model.records import Chassis
from northbound.auth import Keystone, Service, Tokens
from tests.northbound.identity import Identity, tokens
from tests.northbound.served import Client, serving

sdk = pytest.importorskip("openstack")

# What the SDK and its libraries think of one another is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

COMMAND = Path(sys.executable).with_name("openstack")
DONE = "::done"


@dataclass
class Site:
    """An API, and how an administrator's clients find it: the command by variables, the SDK by arguments."""

    served: Client
    variables: dict[str, str]
    arguments: dict[str, Any]
    token: str = ""

    def get(self, path: str) -> Any:
        return self.served.get(path, **({"X_Auth_Token": self.token} if self.token else {}))


def none(_: Path, stack: ExitStack) -> Site:
    api = stack.enter_context(serving())
    found = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": api.url}
    return Site(api, found, {"auth_type": "none", "auth": {"endpoint": api.url}})


def versioned(_: Path, stack: ExitStack) -> Site:
    api = stack.enter_context(serving())
    found = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": f"{api.url}/v2.0"}
    return Site(api, found, {"auth_type": "none", "auth": {"endpoint": f"{api.url}/v2.0"}})


def by_tokens(directory: Path, stack: ExitStack) -> Site:
    file = tokens(directory / "tokens.toml", root=("p-ops", ["admin"]))
    api = stack.enter_context(serving(identity=Tokens(file)))
    found = {"OS_AUTH_TYPE": "admin_token", "OS_ENDPOINT": api.url, "OS_TOKEN": "root"}
    return Site(api, found, {"auth_type": "admin_token", "auth": {"endpoint": api.url, "token": "root"}}, "root")


def by_keystone(_: Path, stack: ExitStack) -> Site:
    keystone = stack.enter_context(Identity().running())
    keystone.add("root", "p-ops", "admin")
    api = stack.enter_context(
        serving(identity=Keystone(Service(keystone.url, "neutron", "secret", "service"), time.time))
    )
    keystone.network = api.url
    auth = {"auth_url": keystone.url, "username": "root", "password": "secret", "project_name": "p-ops"}
    domains = {"user_domain_name": "Default", "project_domain_name": "Default"}
    found = {f"OS_{name.upper()}": value for name, value in {**auth, **domains}.items()}
    return Site(
        api, {**found, "OS_IDENTITY_API_VERSION": "3"}, {"auth_type": "password", "auth": auth | domains}, "root"
    )


@pytest.fixture
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Where nobody is asked who it is, unless a test says otherwise."""
    with ExitStack() as stack:
        yield getattr(request, "param", none)(tmp_path, stack)


three_ways = pytest.mark.parametrize(
    "api", [none, by_tokens, by_keystone], indirect=True, ids=["none", "tokens", "keystone"]
)
with_keystone = pytest.mark.parametrize("api", [by_keystone], indirect=True, ids=["keystone"])
all_ways = pytest.mark.parametrize(
    "api", [none, versioned, by_tokens, by_keystone], indirect=True, ids=["none", "versioned", "tokens", "keystone"]
)


class Command:
    """The command, reading lines as long as a test lasts: it takes a second to start."""

    def __init__(self, variables: dict[str, str], complaints: IO[str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self.process = subprocess.Popen(
            [COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**kept, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1", **variables},
            text=True,
        )
        self.complaints = complaints

    def __call__(self, *lines: str) -> list[Any]:
        """What it prints, as JSON, when it is given lines, none of which it complains about."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n".join([*lines, f"!echo {DONE}", ""]))
        self.process.stdin.flush()
        printed = "".join(takewhile(lambda line: line.strip() != DONE, self.process.stdout)).strip()
        self.complaints.seek(0)
        assert self.complaints.read().strip() == "", "the status of a session says nothing"
        found = []
        while printed:
            value, end = json.JSONDecoder().raw_decode(printed)
            found.append(value)
            printed = printed[end:].strip()
        return found


@contextmanager
def commanded(variables: dict[str, str]) -> Iterator[Command]:
    """The command as it finds the API by these variables."""
    with TemporaryFile("w+") as complaints:
        command = Command(variables, complaints)
        with command.process:
            try:
                yield command
            finally:
                command.process.kill()


@pytest.fixture
def openstack(api: Site) -> Iterator[Command]:
    with commanded(api.variables) as command:
        yield command


@pytest.fixture
def cloud(api: Site) -> Iterator[Any]:
    """The SDK's cloud layer, as Ansible's modules and Nodepool use it."""
    cloud = sdk.connection.Connection(**api.arguments, region_name="r")
    yield cloud
    cloud.close()


@pytest.fixture
def network(cloud: Any) -> Any:
    """The SDK's network proxy."""
    return cloud.network


def test_the_command_works_with_a_token_of_ours(tmp_path: Path) -> None:
    file = tokens(tmp_path / "tokens.toml", red=("p-red", ["member"]), blue=("p-blue", ["member"]))
    with serving(identity=Tokens(file)) as api:
        api.ask("POST", "/v2.0/networks", {"network": {"name": "theirs"}}, X_Auth_Token="blue")
        found = {"OS_AUTH_TYPE": "admin_token", "OS_ENDPOINT": api.url, "OS_TOKEN": "red"}
        with commanded(found) as openstack:
            mine, networks = openstack("network create mine -f json", "network list -f json")
    assert mine["project_id"] == "p-red"
    assert [each["Name"] for each in networks] == ["mine"]


@three_ways
def test_the_command_runs_through_the_life_of_a_network(api: Site, openstack: Command) -> None:
    red, four, port, ports, vm, networks = openstack(
        "network create red --provider-network-type geneve --provider-segment 42 --mtu 1400 -f json",
        "subnet create four --network red --subnet-range 10.0.0.0/24 --dns-nameserver 192.0.2.53 -f json",
        "port create vm1 --network red --fixed-ip subnet=four,ip-address=10.0.0.9 -f json",
        "port list --network red --fixed-ip ip-address=10.0.0.9 -f json",
        "network set red --name crimson --disable",
        "subnet set four --gateway none --allocation-pool start=10.0.0.100,end=10.0.0.120 --no-allocation-pool",
        "port set vm1 --name vm2 --disable --host hv9",
        "port show vm2 -f json",
        "port delete vm2",
        "network list --long -f json",
        "subnet delete four",
        "network delete crimson",
    )
    assert (red["name"], red["provider:segmentation_id"], red["mtu"]) == ("red", 42, 1400)
    assert (four["gateway_ip"], four["network_id"]) == ("10.0.0.1", red["id"])
    assert port["fixed_ips"] == [{"subnet_id": four["id"], "ip_address": "10.0.0.9"}]
    assert [each["Name"] for each in ports] == ["vm1"]
    assert (vm["id"], vm["admin_state_up"], vm["binding_vif_type"]) == (port["id"], False, "binding_failed")
    assert [(each["Name"], each["State"]) for each in networks] == [("crimson", False)]
    for kind in ("networks", "subnets", "ports"):
        assert api.get(f"/v2.0/{kind}")[kind] == []


@three_ways
def test_the_command_runs_through_the_life_of_a_security_group(api: Site, openstack: Command) -> None:
    office, web, ssh, ping, lan, rules, shown, groups = openstack(
        "address group create office --address 192.0.2.0/24 --address 2001:db8::/32 -f json",
        "address group set office --address 198.51.100.0/24 --description offices",
        "address group unset office --address 192.0.2.0/24",
        "security group create web --description d --stateless -f json",
        "security group set web --name www --stateful",
        "security group rule create www --protocol tcp --dst-port 22 --remote-address-group office -f json",
        "security group rule create www --protocol icmp --ethertype IPv6 --icmp-type 128 --remote-group www -f json",
        "security group rule create www --egress --protocol any --remote-ip 10.0.0.0/8 -f json",
        "security group rule list www -f json",
        "security group show www -f json",
        "security group list -f json",
    )
    assert (office["name"], office["addresses"]) == ("office", ["192.0.2.0/24", "2001:db8::/32"])
    assert (web["name"], web["stateful"], len(web["rules"])) == ("web", False, 2)
    assert (ssh["port_range_min"], ssh["remote_address_group_id"]) == (22, office["id"])
    assert (ping["protocol"], ping["port_range_min"], ping["remote_group_id"]) == ("ipv6-icmp", 128, web["id"])
    assert (lan["direction"], lan["protocol"], lan["normalized_cidr"]) == ("egress", None, "10.0.0.0/8")
    assert len(rules) == 5
    assert (shown["name"], shown["stateful"], shown["revision_number"]) == ("www", True, 5)
    assert [(each["Name"], each["ID"]) for each in groups if each["Name"] == "www"] == [("www", web["id"])]
    (found,) = api.get("/v2.0/address-groups")["address_groups"]
    assert (found["addresses"], found["description"]) == (["2001:db8::/32", "198.51.100.0/24"], "offices")
    openstack(
        f"security group rule delete {ssh['id']}",
        "address group delete office",
        "security group delete www",
    )
    assert api.get("/v2.0/address-groups")["address_groups"] == []
    assert [each["name"] for each in api.get("/v2.0/security-groups")["security_groups"]] == ["default"]


@three_ways
def test_the_command_secures_a_port(api: Site, openstack: Command) -> None:
    _, web, plain, bare, free, paired, *seen = openstack(
        "network create red -f json",
        "security group create web -f json",
        "port create plain --network red -f json",
        "port create bare --network red --no-security-group -f json",
        "port create free --network red --no-security-group --disable-port-security -f json",
        "port create paired --network red --security-group web --allowed-address ip-address=10.0.0.9 -f json",
        "port set bare --security-group web",
        "port show bare -f json",
        "port set bare --no-security-group --disable-port-security",
        "port show bare -f json",
        "port set bare --enable-port-security --allowed-address ip-address=10.1.0.0/16,mac-address=02:00:00:00:00:01",
        "port show bare -f json",
        "port unset paired --security-group web",
        "port set paired --no-allowed-address",
        "port show paired -f json",
        "network set red --disable-port-security",
        "port create late --network red -f json",
    )
    names = {each["id"]: each["name"] for each in api.get("/v2.0/security-groups")["security_groups"]}

    def secured(port: Any) -> tuple[bool, list[str], list[str]]:
        groups = [names[id] for id in port["security_group_ids"]]
        return port["port_security_enabled"], groups, [pair["ip_address"] for pair in port["allowed_address_pairs"]]

    assert secured(plain) == (True, ["default"], [])
    assert secured(bare) == (True, [], [])
    assert secured(free) == (False, [], [])
    assert secured(paired) == (True, ["web"], ["10.0.0.9"])
    assert [secured(port) for port in seen] == [
        (True, ["web"], []),
        (False, [], []),
        (True, [], ["10.1.0.0/16"]),
        (True, [], []),
        (False, [], []),
    ]
    (listed,) = openstack("port set plain --security-group web", f"port list --security-group {web['id']} -f json")
    assert [each["Name"] for each in listed] == ["plain"]


@three_ways
def test_the_command_runs_through_the_life_of_a_router(api: Site, openstack: Command) -> None:
    made, _, four, _, door, first, second, less, ports, shown, routers = openstack(
        "router create edge --distributed --description d -f json",
        "network create red -f json",
        "subnet create four --network red --subnet-range 10.0.0.0/24 -f json",
        "subnet create six --network red --ip-version 6 --subnet-range 2001:db8::/64 -f json",
        "port create door --network red --fixed-ip subnet=six,ip-address=2001:db8::9 -f json",
        "router add subnet edge four",
        "router add port edge door",
        "router add route edge --route destination=192.0.2.0/24,gateway=10.0.0.9 -f json",
        "router set edge --route destination=198.51.100.0/24,gateway=10.0.0.9",
        "router add route edge --route destination=2001:db8:9::/48,gateway=2001:db8::7 -f json",
        "router remove route edge --route destination=192.0.2.0/24,gateway=10.0.0.9 -f json",
        "port list --router edge -f json",
        "router show edge -f json",
        "router list --long -f json",
    )
    assert (made["name"], made["distributed"], made["ha"], made["external_gateway_info"]) == ("edge", True, False, None)
    addresses = {each["ID"]: each["Fixed IP Addresses"] for each in ports}
    assert sorted(ip["ip_address"] for ips in addresses.values() for ip in ips) == ["10.0.0.1", "2001:db8::9"]
    assert door["id"] in addresses
    assert four["id"] in {each["subnet_id"] for each in shown["interfaces_info"]}
    assert {each["port_id"] for each in shown["interfaces_info"]} == addresses.keys()
    assert [len(each["routes"]) for each in (first, second, less)] == [1, 3, 2]
    assert shown["routes"] == [
        {"destination": "198.51.100.0/24", "nexthop": "10.0.0.9"},
        {"destination": "2001:db8:9::/48", "nexthop": "2001:db8::7"},
    ]
    assert [(each["Name"], each["Status"], each["State"]) for each in routers] == [("edge", "ACTIVE", True)]
    bare, listed = openstack(
        "router unset edge --route destination=198.51.100.0/24,gateway=10.0.0.9",
        "router set edge --no-route",
        "router set edge --name core --disable --description e",
        "router set core --centralized --ha",
        "router show core -f json",
        "router remove subnet core four",
        "router remove port core door",
        "port list -f json",
        "router delete core",
    )
    assert (bare["name"], bare["admin_state_up"], bare["description"]) == ("core", False, "e")
    assert (bare["routes"], bare["distributed"], bare["ha"]) == ([], False, True)
    assert listed == []
    assert api.get("/v2.0/routers")["routers"] == []


@three_ways
def test_the_command_runs_through_the_life_of_a_floating_ip(api: Site, openstack: Command) -> None:
    out, _, made, gates, *_, vm, one, shown, listed, set_, unset, pf, wide, forwards, changed, found = openstack(
        "network create out --external --default -f json",
        "subnet create pool --network out --subnet-range 203.0.113.0/24 --no-dhcp -f json",
        "router create edge --external-gateway out --disable-snat --fixed-ip ip-address=203.0.113.9 -f json",
        "router list --long -f json",
        "router unset edge --external-gateway",
        "router set edge --external-gateway out --enable-snat",
        "network create red -f json",
        "subnet create four --network red --subnet-range 10.0.0.0/24 -f json",
        "router add subnet edge four",
        "port create vm1 --network red --fixed-ip ip-address=10.0.0.9 -f json",
        "floating ip create out --port vm1 --description web --floating-ip-address 203.0.113.50 -f json",
        "floating ip show 203.0.113.50 -f json",
        "floating ip list --long --router edge -f json",
        "floating ip unset --port 203.0.113.50",
        "floating ip set --port vm1 203.0.113.50",
        "floating ip list --port vm1 -f json",
        "floating ip unset --port 203.0.113.50",
        "floating ip list --status DOWN -f json",
        "floating ip port forwarding create 203.0.113.50 --internal-ip-address 10.0.0.9 --port vm1 "
        "--internal-protocol-port 22 --external-protocol-port 2222 --protocol tcp --description ssh -f json",
        "floating ip port forwarding create 203.0.113.50 --internal-ip-address 10.0.0.9 --port vm1 "
        "--internal-protocol-port 8000:8009 --external-protocol-port 9000:9009 --protocol udp -f json",
        "floating ip port forwarding list 203.0.113.50 --sort-column Protocol -f json",
        "floating ip show 203.0.113.50 -f json",
        "network list --external -f json",
    )
    assert (out["router:external"], out["is_default"]) == (True, True)
    way = made["external_gateway_info"]
    assert (way["network_id"], way["enable_snat"]) == (out["id"], False)
    assert [ip["ip_address"] for ip in way["external_fixed_ips"]] == ["203.0.113.9"]
    assert gates[0]["External gateway info"] == way
    assert (one["floating_ip_address"], one["fixed_ip_address"], one["port_id"]) == (
        "203.0.113.50",
        "10.0.0.9",
        vm["id"],
    )
    assert (one["router_id"], one["description"], one["status"]) == (made["id"], "web", "DOWN")
    assert (shown["id"], shown["port_details"]["name"]) == (one["id"], "vm1")
    assert [(each["Floating IP Address"], each["Router"]) for each in listed] == [("203.0.113.50", made["id"])]
    assert [each["ID"] for each in set_] == [one["id"]]
    assert [(each["Fixed IP Address"], each["Port"]) for each in unset] == [(None, None)]
    assert (pf["external_port"], pf["internal_port"], pf["internal_port_id"]) == (2222, 22, vm["id"])
    assert (wide["external_port_range"], wide["internal_port_range"]) == ("9000:9009", "8000:8009")
    assert [each["ID"] for each in forwards] == [pf["id"], wide["id"]]
    assert changed["router_id"] == made["id"]
    assert [each["Name"] for each in found] == ["out"]
    (moved, less) = openstack(
        f"floating ip port forwarding set 203.0.113.50 {pf['id']} --external-protocol-port 2223 --description d",
        f"floating ip port forwarding show 203.0.113.50 {pf['id']} -f json",
        f"floating ip port forwarding delete 203.0.113.50 {pf['id']} {wide['id']}",
        "floating ip delete 203.0.113.50",
        "floating ip list -f json",
        "router unset edge --external-gateway",
        "network set out --internal",
    )
    assert (moved["external_port"], moved["description"], less) == (2223, "d", [])
    assert api.get(f"/v2.0/networks/{out['id']}")["network"]["router:external"] is False


@all_ways
def test_the_sdk_runs_through_the_lives_of_networks_subnets_and_ports(api: Site, network: Any) -> None:
    red = network.create_network(name="red", description="d", is_admin_state_up=True)
    assert network.find_network("red").id == red.id
    assert network.find_network("blue") is None
    four = network.create_subnet(network_id=red.id, ip_version=4, cidr="10.0.0.0/24", name="four")
    six = network.create_subnet(
        network_id=red.id, ip_version=6, cidr="2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac"
    )
    assert set(network.get_network(red.id).subnet_ids) == {four.id, six.id}
    port = network.create_port(network_id=red.id, name="vm1", mac_address="02:00:00:00:00:01")
    assert {ip["ip_address"] for ip in port.fixed_ips} == {"10.0.0.2", "2001:db8::ff:fe00:1"}
    assert network.find_port("vm1").id == port.id
    (found,) = network.ports(fixed_ips=["ip_address=10.0.0.2"])
    assert found.id == port.id
    assert [each.id for each in network.ports(network_id=red.id, mac_address=port.mac_address)] == [port.id]
    port = network.update_port(port, device_id="vm", device_owner="compute:nova", if_revision=port.revision_number)
    assert (port.device_id, port.revision_number) == ("vm", 2)
    with pytest.raises(sdk.exceptions.PreconditionFailedException):
        network.update_port(port.id, name="x", if_revision=1)
    four = network.update_subnet(four, gateway_ip=None, dns_nameservers=["192.0.2.1"])
    assert (four.gateway_ip, four.dns_nameservers) == (None, ["192.0.2.1"])
    with pytest.raises(sdk.exceptions.ConflictException, match="ports still in use"):
        network.delete_network(red)
    with pytest.raises(sdk.exceptions.ConflictException, match=r"IP address 10\.0\.0\.2 already allocated"):
        network.create_port(network_id=red.id, fixed_ips=[{"ip_address": "10.0.0.2"}])
    with pytest.raises(sdk.exceptions.BadRequestException, match="does not support VLAN Transparency"):
        network.create_network(name="x", is_vlan_transparent=True)
    network.delete_port(port)
    network.delete_subnet(four)
    network.delete_network(red)
    with pytest.raises(sdk.exceptions.NotFoundException):
        network.get_network(red.id)
    network.delete_network(red, ignore_missing=True)


def test_the_sdk_makes_many_and_reads_them_in_pages(api: Site, network: Any) -> None:
    red = network.create_network(name="red")
    network.create_subnet(network_id=red.id, ip_version=4, cidr="10.0.0.0/16")
    made = [*network.create_ports([{"network_id": red.id, "name": f"p{place:03}"} for place in range(120)])]
    assert len(made) == 120
    paged = [each.id for each in network.ports(limit=50, sort_key="name", sort_dir="desc")]
    assert paged == [each.id for each in reversed(made)]
    assert len([*network.networks(is_router_external=True)]) == 0
    assert network.find_available_ip() is None
    assert [each.id for each in network.networks(is_admin_state_up=True)] == [red.id]
    assert {each.alias for each in network.extensions()} >= {"binding", "provider"}
    assert network.find_extension("qos") is None
    bound = network.update_port(made[0], binding_host_id="hv9", binding_profile={"a": "b"})
    assert (bound.binding_vif_type, bound.binding_profile) == ("binding_failed", {"a": "b"})


@three_ways
def test_the_command_runs_through_the_lives_of_pools_scopes_and_policies(api: Site, openstack: Command) -> None:
    scope, _, pool, red, _, four, tagged, _, vm, rbac, rbacs = openstack(
        "address scope create lan --ip-version 4 -f json",
        "address scope set lan --name wan --share",
        "subnet pool create p4 --pool-prefix 10.0.0.0/16 --default-prefix-length 26 --address-scope wan --tag a -f json",
        "subnet pool set p4 --pool-prefix 10.1.0.0/16 --max-prefix-length 28 --default-quota 1024 --tag b --default",
        "subnet pool unset p4 --tag a",
        "subnet pool show p4 -f json",
        "network create red --tag a --tag b -f json",
        "network unset red --tag a",
        "subnet create four --network red --subnet-pool p4 --prefix-length 27 --service-type compute:nova -f json",
        "subnet set four --service-type network:x --host-route destination=10.9.0.0/24,gateway=10.0.0.9 --tag c",
        "subnet unset four --service-type network:x --host-route destination=10.9.0.0/24,gateway=10.0.0.9",
        "subnet show four -f json",
        "network list --tags b -f json",
        "port create vm --network red --device-owner compute:nova --dns-name vm --extra-dhcp-option name=mtu,value=1400 --tag x -f json",
        "port set vm --tag y --description d --extra-dhcp-option name=mtu,value=1300",
        "port unset vm --tag x",
        "port show vm -f json",
        "network rbac create --type network --action access_as_shared --target-all-projects red -f json",
        "network rbac list --type network -f json",
    )
    assert (pool["prefixes"], pool["max_prefixlen"], pool["default_quota"]) == (["10.0.0.0/15"], 28, 1024)
    assert (pool["tags"], pool["is_default"], pool["address_scope_id"]) == (["b"], True, scope["id"])
    assert (four["cidr"], four["subnetpool_id"], four["service_types"]) == ("10.0.0.0/27", pool["id"], ["compute:nova"])
    assert (four["host_routes"], four["tags"]) == ([], ["c"])
    assert [each["ID"] for each in tagged] == [red["id"]]
    assert (vm["tags"], vm["extra_dhcp_opts"][0]["opt_value"], vm["dns_name"]) == (["y"], "1300", "vm")
    assert [each["ID"] for each in rbacs] == [rbac["id"]]
    shown, used, sizes = openstack(
        f"network rbac show {rbac['id']} -f json",
        "ip availability show red -f json",
        f"network rbac delete {rbac['id']}",
        "port delete vm",
        "subnet delete four",
        "network delete red",
        "subnet pool delete p4",
        "address scope delete wan",
        "ip availability list -f json",
    )
    assert (shown["target_project_id"], shown["object_id"]) == ("*", red["id"])
    assert (used["total_ips"], used["used_ips"], sizes) == (29, 1, [])
    for kind in ("networks", "subnets", "ports", "subnetpools", "address-scopes", "rbac-policies"):
        assert [*api.get(f"/v2.0/{kind}").values()] == [[]]


@three_ways
def test_the_command_runs_through_the_lives_of_what_operators_have(api: Site, openstack: Command) -> None:
    hypervisor = Chassis(id="hv1", hostname="hv1", encap_types=("vxlan",), gateway_priority=1)
    api.served.commit(lambda tx: tx.put(hypervisor))
    agents = {each["agent_type"]: each["id"] for each in api.get("/v2.0/agents")["agents"]}
    wires = agents["Open vSwitch agent"]
    made, shown, rule, templates, listed, agent, zones = openstack(
        "network segment range create lan --shared --network-type vxlan --minimum 500 --maximum 505 -f json",
        "network segment range set lan --name wan --minimum 500 --maximum 507",
        "network segment range show wan -f json",
        "network segment range delete wan",
        "default security group rule create --protocol tcp --dst-port 22 --for-default-sg -f json",
        "default security group rule list --protocol tcp -f json",
        "network agent list -f json",
        f"network agent set {wires} --disable --description d",
        f"network agent show {wires} -f json",
        "availability zone list --network -f json",
        f"network agent delete {wires}",
    )
    assert (made["minimum"], made["available"], made["shared"]) == (500, ["500-505"], True)
    assert (shown["id"], shown["maximum"]) == (made["id"], 507)
    assert [each["ID"] for each in templates] == [rule["id"]]
    assert {each["ID"] for each in listed} == {*agents.values()}
    assert (agent["admin_state_up"], agent["description"]) == (False, "d")
    assert {each["Zone Name"] for each in zones} == {"nova"}
    openstack(f"default security group rule delete {rule['id']}")
    assert rule["id"] not in {
        each["id"] for each in api.get("/v2.0/default-security-group-rules")["default_security_group_rules"]
    }
    assert api.get("/v2.0/agents")["agents"] == []


@with_keystone
def test_the_command_gives_to_projects_what_is_theirs(api: Site, openstack: Command) -> None:
    """It looks every project up at Keystone itself: without one it refuses before it asks us."""
    friend, other = (f"{number:032x}" for number in (8, 7))
    limits, usage, after, lan, red, _, group, shown = openstack(
        "quota set --networks 12 --secgroup-rules 50 p9",
        "quota show p9 --network -f json",
        "quota show p9 --network --usage -f json",
        "quota delete --network p9",
        "quota show p9 --network -f json",
        "network segment range create lan --private --project p9 --network-type vxlan --minimum 500 --maximum 505 -f json",
        "network create red --project p9 -f json",
        f"network rbac create --type network --action access_as_shared --target-project {friend} red -f json",
        "security group create web --project p9 -f json",
        "network list --project p9 -f json",
    )
    assert {each["Resource"]: each["Limit"] for each in limits}["networks"] == 12
    assert {each["Resource"]: each["In Use"] for each in usage}["networks"] == 0
    assert {each["Resource"]: each["Limit"] for each in after}["networks"] == 100
    assert (lan["project_id"], lan["shared"], lan["available"]) == ("p9", False, ["500-505"])
    assert (red["project_id"], group["project_id"]) == ("p9", "p9")
    assert [each["ID"] for each in shown] == [red["id"]]
    (policy,) = api.get("/v2.0/rbac-policies")["rbac_policies"]
    assert policy["target_tenant"] == friend
    (moved,) = openstack(
        f"network rbac set --target-project {other} {policy['id']}", f"network rbac show {policy['id']} -f json"
    )
    assert (moved["target_project_id"], moved["object_id"]) == (other, red["id"])
    openstack("network delete red", "network segment range delete lan", "security group delete web")
    assert api.get("/v2.0/networks")["networks"] == api.get("/v2.0/rbac-policies")["rbac_policies"] == []


@with_keystone
def test_the_command_has_a_topology_made_for_its_project(api: Site, openstack: Command) -> None:
    """It learns from Keystone which project that is: without one it refuses before it asks us."""
    *_, topology = openstack(
        "network create out --external --default -f json",
        "subnet create pool --network out --subnet-range 203.0.113.0/24 -f json",
        "subnet pool create p4 --pool-prefix 10.0.0.0/16 --default-prefix-length 26 --default --share -f json",
        "network auto allocated topology create --check-resources -f json",
        "network auto allocated topology create -f json",
    )
    (allocated,) = api.get("/v2.0/networks?router:external=false")["networks"]
    assert topology["id"] == allocated["id"]
    openstack("network auto allocated topology delete")
    assert api.get("/v2.0/networks?router:external=false")["networks"] == []


@all_ways
def test_the_sdk_uses_pools_scopes_quotas_and_bindings(api: Site, network: Any) -> None:
    scope = network.create_address_scope(name="lan", ip_version=4)
    pool = network.create_subnet_pool(name="p4", prefixes=["10.0.0.0/16"], address_scope_id=scope.id)
    red = network.create_network(name="red")
    four = network.create_subnet(network_id=red.id, ip_version=4, subnet_pool_id=pool.id, prefix_length=28)
    assert (four.cidr, four.subnet_pool_id) == ("10.0.0.0/28", pool.id)
    assert network.get_network(red.id).ipv4_address_scope_id == scope.id
    network.set_tags(red, ["blue"])
    assert [each.id for each in network.networks(tags="blue")] == [red.id]
    quota = network.update_quota("p9", networks=3)
    assert (quota.networks, network.get_quota_default("p9").networks) == (3, 100)
    assert network.get_quota("p9", details=True).networks == {"limit": 3, "used": 0, "reserved": 0}
    network.delete_quota("p9")
    policy = network.create_rbac_policy(
        object_type="network", object_id=red.id, action="access_as_shared", target_project_id=red.id
    )
    assert [each.id for each in network.rbac_policies()] == [policy.id]
    network.delete_rbac_policy(policy)
    vm = network.create_port(network_id=red.id, device_owner="compute:nova")
    assert [each.status for each in network.port_bindings(vm)] == ["ACTIVE"]
    rule = network.create_default_security_group_rule(
        direction="ingress", protocol="icmp", used_in_default_sg=True, used_in_non_default_sg=False
    )
    assert rule.id in [each.id for each in network.default_security_group_rules()]
    assert [*network.agents()] == [*network.availability_zones()] == []
    lan = network.create_network_segment_range(
        name="lan", shared=False, project_id="p9", network_type="vxlan", minimum=500, maximum=505
    )
    assert network.update_network_segment_range(lan, maximum=506).available == [*range(500, 507)]
    network.delete_network_segment_range(lan)
    assert {each.default for each in network.network_segment_ranges()} == {True}
    assert [each.network_name for each in network.network_ip_availabilities()] == ["red"]


@all_ways
def test_the_sdk_runs_through_the_life_of_a_router(api: Site, cloud: Any, network: Any) -> None:
    out = network.create_network(name="out", is_router_external=True)
    pool = network.create_subnet(network_id=out.id, ip_version=4, cidr="203.0.113.0/24", is_dhcp_enabled=False)
    red = network.create_network(name="red")
    four = network.create_subnet(network_id=red.id, ip_version=4, cidr="10.0.0.0/24")
    six = network.create_subnet(network_id=red.id, ip_version=6, cidr="2001:db8::/64")
    edge = network.create_router(name="edge", description="d", is_distributed=True)
    assert (edge.is_admin_state_up, edge.is_distributed, edge.is_ha, edge.status) == (True, True, False, "ACTIVE")
    assert (edge.external_gateway_info, edge.routes) == (None, [])
    assert network.find_router("edge").id == edge.id
    assert [each.id for each in network.routers(name="edge", is_admin_state_up=True)] == [edge.id]

    first = network.add_interface_to_router(edge, subnet=four.id)
    assert (first["id"], first["subnet_ids"], first["network_id"]) == (edge.id, [four.id], red.id)
    assert network.get_port(first["port_id"]).fixed_ips == [{"subnet_id": four.id, "ip_address": "10.0.0.1"}]
    door = network.create_port(network_id=red.id, fixed_ips=[{"subnet_id": six.id, "ip_address": "2001:db8::9"}])
    assert network.add_interface_to_router(edge, port=door.id)["subnet_id"] == six.id
    taken = {each.id for each in network.ports(device_id=edge.id, device_owner="network:router_interface_distributed")}
    assert taken == {first["port_id"], door.id} == {each.id for each in cloud.list_router_interfaces(edge, "internal")}
    with pytest.raises(sdk.exceptions.BadRequestException, match="already has a port on subnet"):
        network.add_interface_to_router(edge, subnet=four.id)
    with pytest.raises(sdk.exceptions.ConflictException, match="cannot be deleted directly via the port API"):
        network.delete_port(door)
    with pytest.raises(sdk.exceptions.ConflictException, match="has ports still attached"):
        network.delete_router(edge)

    via = [{"destination": f"192.0.2.{low}/26", "nexthop": "10.0.0.9"} for low in (0, 64, 128)]
    edge = network.update_router(edge, routes=via[:1])
    assert network.add_extra_routes_to_router(edge, {"router": {"routes": via}}).routes == via
    assert network.remove_extra_routes_from_router(edge, {"router": {"routes": via[1:]}}).routes == via[:1]
    with pytest.raises(sdk.exceptions.BadRequestException, match="the nexthop is not connected with router"):
        network.add_extra_routes_to_router(
            edge, {"router": {"routes": [{"destination": "198.51.100.0/24", "nexthop": "192.168.0.1"}]}}
        )
    with pytest.raises(sdk.exceptions.ConflictException, match="required by one or more routes"):
        network.remove_interface_from_router(edge, subnet=four.id)
    assert network.update_router(edge, routes=[]).routes == []

    address = {"subnet_id": pool.id, "ip_address": "203.0.113.9"}
    way = {"network_id": out.id, "enable_snat": False, "external_fixed_ips": [address]}
    edge = network.update_router(edge, external_gateway_info=way)
    assert edge.external_gateway_info == way
    (gate,) = cloud.list_router_interfaces(edge, "external")
    assert (gate.device_owner, gate.fixed_ips) == ("network:router_gateway", [address])
    with pytest.raises(sdk.exceptions.ConflictException, match="ports still in use"):
        network.delete_network(out)
    edge = cloud.update_router(edge.id, name="core", ext_gateway_net_id=out.id, enable_snat=True)
    assert (edge.name, edge.external_gateway_info["enable_snat"]) == ("core", True)
    assert network.update_router(edge, external_gateway_info={}).external_gateway_info is None
    edge = network.update_router(edge, is_admin_state_up=False)
    edge = network.update_router(edge, is_distributed=False, is_ha=True)
    assert (edge.is_distributed, edge.is_ha, edge.is_admin_state_up) == (False, True, False)

    network.set_tags(edge, ["blue"])
    assert [each.name for each in network.routers(tags="blue")] == ["core"]
    assert network.remove_interface_from_router(edge, port=door.id)["port_id"] == door.id
    assert network.remove_interface_from_router(edge, subnet=four.id)["port_id"] == first["port_id"]
    with pytest.raises(sdk.exceptions.NotFoundException):
        network.remove_interface_from_router(edge, subnet=four.id)
    assert [*network.ports()] == []
    network.delete_router(edge)
    assert network.find_router("core") is None
    with pytest.raises(sdk.exceptions.NotFoundException):
        network.delete_router(edge, ignore_missing=False)


@all_ways
def test_the_sdk_runs_through_the_lives_of_floating_ips_and_port_forwardings(
    api: Site, cloud: Any, network: Any
) -> None:
    out = network.create_network(name="out", is_router_external=True)
    network.create_subnet(network_id=out.id, ip_version=4, cidr="203.0.113.0/24")
    red = network.create_network(name="red")
    four = network.create_subnet(network_id=red.id, ip_version=4, cidr="10.0.0.0/24")
    vm = network.create_port(network_id=red.id, name="vm", fixed_ips=[{"ip_address": "10.0.0.9"}])
    bare = network.create_port(network_id=red.id)
    spare = network.create_ip(floating_network_id=out.id)
    assert (spare.port_id, spare.fixed_ip_address, spare.router_id, spare.status) == (None, None, None, "DOWN")
    with pytest.raises(sdk.exceptions.NotFoundException, match="not reachable from subnet"):
        network.add_ip_to_port(vm, spare)
    edge = cloud.create_router(name="edge", ext_gateway_net_id=out.id)
    cloud.add_router_interface(edge, subnet_id=four.id)

    web = network.create_ip(
        floating_network_id=out.id, floating_ip_address="203.0.113.50", port_id=vm.id, description="web"
    )
    assert (web.name, web.fixed_ip_address, web.router_id) == ("203.0.113.50", "10.0.0.9", edge.id)
    assert (web.port_details["name"], network.find_ip("203.0.113.50").id) == ("vm", web.id)
    assert [each.id for each in network.ips(port_id=vm.id, router_id=edge.id)] == [web.id]
    assert [each.id for each in network.ips(floating_ip_address=spare.floating_ip_address)] == [spare.id]
    assert network.find_available_ip().id == spare.id
    with pytest.raises(sdk.exceptions.ConflictException, match="already has a floating IP"):
        network.update_ip(spare.id, port_id=vm.id)
    with pytest.raises(sdk.exceptions.ConflictException, match=r"IP address 203\.0\.113\.50 already allocated"):
        network.create_ip(floating_network_id=out.id, floating_ip_address="203.0.113.50")
    with pytest.raises(sdk.exceptions.ConflictException, match="required by one or more floating IPs"):
        network.remove_interface_from_router(edge, subnet=four.id)
    web = network.update_ip(web, description="www", if_revision=network.get_ip(web).revision_number)
    web = network.remove_ip_from_port(web)
    assert (web.description, web.port_id, web.fixed_ip_address, web.router_id) == ("www", None, None, None)
    assert network.add_ip_to_port(vm, web).router_id == edge.id
    web = network.update_ip(web.id, port_id=None)
    network.set_tags(web, ["blue"])
    assert [each.id for each in network.ips(tags="blue", status="DOWN")] == [web.id]

    inner = {"internal_port_id": vm.id, "internal_ip_address": "10.0.0.9"}
    ssh = network.create_floating_ip_port_forwarding(
        web, **inner, internal_port=22, external_port=2222, protocol="tcp", description="ssh"
    )
    assert (ssh.internal_port, ssh.external_port, ssh.protocol, ssh.description) == (22, 2222, "tcp", "ssh")
    wide = network.create_port_forwarding(
        floatingip_id=web.id, **inner, internal_port_range="53:60", external_port_range="1053:1060", protocol="udp"
    )
    assert (wide.internal_port, wide["external_port_range"]) == (None, "1053:1060")
    assert [each.id for each in network.floating_ip_port_forwardings(web, protocol="udp")] == [wide.id]
    assert {each.id for each in network.port_forwardings(web)} == {ssh.id, wide.id}
    assert network.find_floating_ip_port_forwarding(web, ssh.id).external_port == 2222
    assert network.get_ip(web).router_id == edge.id
    with pytest.raises(sdk.exceptions.BadRequestException, match="There is a port collision"):
        network.create_floating_ip_port_forwarding(web, **inner, internal_port=23, external_port=2222, protocol="tcp")
    with pytest.raises(sdk.exceptions.BadRequestException, match="already has a Port Forwarding binding"):
        network.update_ip(web.id, port_id=vm.id)
    with pytest.raises(sdk.exceptions.ConflictException, match="in use by Port Forwarding resources"):
        network.update_ip(web.id, port_id=bare.id)
    ssh = network.update_floating_ip_port_forwarding(web, ssh, external_port=2223, internal_port=23)
    assert (ssh.external_port, network.get_port_forwarding(ssh.id, web).internal_port) == (2223, 23)
    network.delete_floating_ip_port_forwarding(web, ssh)
    with pytest.raises(sdk.exceptions.NotFoundException):
        network.get_floating_ip_port_forwarding(web, ssh.id)
    network.delete_port_forwarding(wide.id, web)
    assert [*network.port_forwardings(web)] == []

    network.delete_ip(spare)
    assert cloud.delete_floating_ip(web.id)
    assert not cloud.delete_floating_ip(web.id)
    assert [*network.ips()] == []
    assert cloud.remove_router_interface(edge, subnet_id=four.id) is None
    assert cloud.delete_router("edge")
    assert {each.id for each in network.ports()} == {vm.id, bare.id}


@all_ways
def test_the_sdk_runs_through_the_lives_of_security_and_address_groups(api: Site, cloud: Any, network: Any) -> None:
    office = network.create_address_group(name="office", addresses=["192.0.2.0/24", "2001:db8::/32"])
    assert network.find_address_group("office").addresses == ["192.0.2.0/24", "2001:db8::/32"]
    more = network.add_addresses_to_address_group(office, ["198.51.100.0/24"])
    assert {*more.addresses} == {"192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"}
    less = network.remove_addresses_from_address_group(office, ["192.0.2.0/24"])
    assert {*less.addresses} == {"198.51.100.0/24", "2001:db8::/32"}
    with pytest.raises(sdk.exceptions.NotFoundException, match="not found"):
        network.remove_addresses_from_address_group(office, ["192.0.2.0/24"])
    assert network.update_address_group(office, name="offices", description="d").name == "offices"
    assert [each.id for each in network.address_groups(description="d")] == [office.id]

    web = network.create_security_group(name="web", description="d", stateful=False)
    assert {(each["direction"], each["ethertype"]) for each in web.security_group_rules} == {
        ("egress", "IPv4"),
        ("egress", "IPv6"),
    }
    assert {each.name for each in network.security_groups()} == {"default", "web"}
    ssh = network.create_security_group_rule(
        security_group_id=web.id,
        direction="ingress",
        ether_type="IPv4",
        protocol="tcp",
        port_range_min=22,
        port_range_max=22,
        remote_address_group_id=office.id,
    )
    assert (ssh.ether_type, ssh.port_range_max, ssh.remote_address_group_id) == ("IPv4", 22, office.id)
    ping, lan = network.create_security_group_rules(
        [
            {
                "security_group_id": web.id,
                "direction": "ingress",
                "ether_type": "IPv6",
                "protocol": "ipv6-icmp",
                "port_range_min": 128,
                "remote_group_id": web.id,
            },
            {"security_group_id": web.id, "direction": "egress", "remote_ip_prefix": "10.1.2.3/8"},
        ]
    )
    assert (ping.remote_group_id, ping.port_range_min, ping.port_range_max) == (web.id, 128, None)
    assert (lan.remote_ip_prefix, lan["normalized_cidr"], lan.protocol) == ("10.1.2.3/8", "10.0.0.0/8", None)
    assert network.find_security_group_rule(ssh.id).id == network.get_security_group_rule(ssh).id == ssh.id
    found = network.security_group_rules(security_group_id=web.id, direction="ingress", protocol="tcp")
    assert [each.id for each in found] == [ssh.id]
    assert [each.id for each in network.security_group_rules(remote_group_id=web.id)] == [ping.id]
    with pytest.raises(sdk.exceptions.ConflictException, match="Security group rule already exists"):
        network.create_security_group_rule(
            security_group_id=web.id, direction="egress", remote_ip_prefix="10.1.2.3/8", ether_type="IPv4"
        )
    with pytest.raises(sdk.exceptions.BadRequestException, match="port_range_min must be <= port_range_max"):
        cloud.create_security_group_rule("web", port_range_min=9, port_range_max=8, protocol="tcp")
    with pytest.raises(sdk.exceptions.ConflictException, match="in use"):
        network.delete_address_group(office)

    red = network.create_network(name="red")
    vm = network.create_port(network_id=red.id, security_group_ids=[web.id])
    assert vm.security_group_ids == [web.id]
    with pytest.raises(sdk.exceptions.ConflictException, match="in use"):
        network.delete_security_group(web)
    assert [each.id for each in network.ports(security_group_ids=[web.id])] == [vm.id]
    assert network.update_port(vm, security_groups=[]).security_group_ids == []
    www = cloud.update_security_group("web", name="www", description="e")
    assert (www.id, www.name, network.update_security_group(web, stateful=True).stateful) == (web.id, "www", True)
    network.set_tags(web, ["blue"])
    (tagged,) = network.security_groups(tags="blue")
    assert {each["id"] for each in tagged.security_group_rules} >= {ssh.id, ping.id, lan.id}

    assert cloud.delete_security_group_rule(lan.id)
    network.delete_security_group_rule(lan.id, ignore_missing=True)
    network.delete_security_group_rule(ssh)
    network.delete_address_group(office)
    assert [*network.address_groups()] == []
    assert cloud.delete_security_group("www")
    assert [each.name for each in network.security_groups()] == ["default"]
    assert [*network.security_group_rules(id=ping.id)] == []
    with pytest.raises(sdk.exceptions.NotFoundException):
        network.get_security_group(web.id)

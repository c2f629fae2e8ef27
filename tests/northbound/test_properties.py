"""Whatever a client sends, it gets an answer, and what is refused leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model import security
from controller.model.records import (
    FLOATING,
    GATEWAY,
    KINDS,
    ROUTER_INTERFACES,
    UNGUARDED,
    AddressGroup,
    Bundle,
    Counter,
    FloatingIp,
    Network,
    Policy,
    Port,
    PortForwarding,
    Record,
    Resource,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Tag,
)
from controller.model.store import Model, Transaction
from northbound.resources import COLLECTIONS
from tests.northbound.served import Client, serving

MANGLED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["10.0.0.0/24", "2001:db8::/64", "10.0.0.1", "::", "fa:16:3e:00:00:01", "slaac", "True", "tcp", "IPv6"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["subnet_id", "ip_address", "mac_address", "start"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


HOSTS = st.integers(0, 15).map(lambda last: f"10.0.0.{last}")
V6 = st.integers(0, 3).map(lambda last: f"2001:db8::{last:x}")
ADDRESSES = HOSTS | V6
MAC = "02:00:00:00:00:00"
NAMES = st.sampled_from(["", "a", "b"])
BLOCKS = st.sampled_from(["10.0.0.0/8", "10.0.0.1/24", "0.0.0.0/0", "2001:db8::/64"])
IDS = st.integers(0, 7).map("id-{}".format)
"""Stands for the id of something that exists."""
ENDS = IDS.flatmap(
    lambda id: st.sampled_from(
        [{"subnet_id": id}, {"subnet_id": id}, {"port_id": id}, {"subnet_id": id, "port_id": id}]
    )
)
"""What a router joins or leaves."""
ROUTES = st.lists(
    st.fixed_dictionaries({"destination": st.sampled_from(["10.9.0.0/16", "::/0"]), "nexthop": ADDRESSES}), max_size=2
)

POOLS: dict[str, type[Resource]] = {
    "network_id": Network,
    "subnet_id": Subnet,
    "port_id": Port,
    "device_id": Router,
    "security_groups": SecurityGroup,
    "security_group_id": SecurityGroup,
    "remote_group_id": SecurityGroup,
    "remote_address_group_id": AddressGroup,
    "floating_network_id": Network,
    "internal_port_id": Port,
}
"""Of what an attribute names the ids."""

WAYS = st.none() | st.fixed_dictionaries(
    {"network_id": IDS},
    optional={
        "enable_snat": st.booleans(),
        "external_fixed_ips": st.lists(
            st.fixed_dictionaries({}, optional={"ip_address": ADDRESSES, "subnet_id": IDS}), max_size=2
        ),
    },
)
"""`external_gateway_info`."""

SANE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "network": {
        "router:external": st.booleans(),
        "is_default": st.booleans(),
        "name": NAMES,
        "admin_state_up": st.booleans(),
        "shared": st.booleans(),
        "mtu": st.sampled_from([0, 68, 1279, 1280, 1450, 9000]),
        "provider:network_type": st.sampled_from(["vxlan", "geneve", "vlan"]),
        "provider:segmentation_id": st.integers(0, 4),
        "port_security_enabled": st.booleans(),
        "project_id": NAMES,
    },
    "subnet": {
        "network_id": IDS,
        "cidr": st.sampled_from(["10.0.0.0/28", "10.0.0.0/30", "10.0.0.16/28", "2001:db8::/64", "2001:db8:1::/120"]),
        "gateway_ip": st.none() | ADDRESSES,
        "allocation_pools": st.lists(st.fixed_dictionaries({"start": ADDRESSES, "end": ADDRESSES}), max_size=2),
        "enable_dhcp": st.booleans(),
        "ipv6_ra_mode": st.sampled_from(["slaac", "dhcpv6-stateful"]),
        "ipv6_address_mode": st.sampled_from(["slaac", "dhcpv6-stateless"]),
        "dns_nameservers": st.lists(ADDRESSES, max_size=2),
        "host_routes": st.lists(
            st.fixed_dictionaries({"destination": st.just("10.9.0.0/16"), "nexthop": ADDRESSES}), max_size=1
        ),
    },
    "port": {
        "network_id": IDS,
        "mac_address": st.none() | st.integers(0, 3).map("02:00:00:00:00:{:02x}".format),
        "fixed_ips": st.lists(
            st.fixed_dictionaries({}, optional={"ip_address": ADDRESSES, "subnet_id": IDS}), max_size=3
        ),
        "device_owner": st.sampled_from(["", "compute:nova", "network:dhcp", "network:router_interface"]),
        "device_id": st.just("") | IDS,
        "binding:host_id": st.none() | NAMES,
        "binding:profile": st.dictionaries(st.text(max_size=3), st.integers(), max_size=1),
        "name": NAMES,
        "project_id": NAMES,
        "port_security_enabled": st.booleans(),
        "security_groups": st.lists(IDS, max_size=3),
        "allowed_address_pairs": st.lists(
            st.fixed_dictionaries({"ip_address": ADDRESSES | BLOCKS}, optional={"mac_address": st.just(MAC)}),
            max_size=2,
        ),
    },
    "security_group": {"name": NAMES | st.just("default"), "stateful": st.booleans(), "project_id": NAMES},
    "security_group_rule": {
        "security_group_id": IDS,
        "direction": st.sampled_from(["ingress", "egress"]),
        "ethertype": st.sampled_from(["IPv4", "IPv6"]),
        "protocol": st.none() | st.sampled_from(["tcp", "6", "icmp", "any", "47", "ipv6-icmp"]),
        "port_range_min": st.none() | st.sampled_from([0, 1, 80, 300]),
        "port_range_max": st.none() | st.sampled_from([0, 80, 65535]),
        "remote_ip_prefix": BLOCKS,
        "remote_group_id": IDS,
        "remote_address_group_id": IDS,
    },
    "address_group": {"name": NAMES, "addresses": st.lists(BLOCKS, max_size=2)},
    "router": {
        "name": NAMES,
        "admin_state_up": st.booleans(),
        "distributed": st.none() | st.booleans(),
        "ha": st.booleans(),
        "routes": ROUTES,
        "project_id": NAMES,
        "external_gateway_info": WAYS,
    },
    "floatingip": {
        "floating_network_id": IDS,
        "floating_ip_address": st.none() | ADDRESSES,
        "subnet_id": st.none() | IDS,
        "port_id": st.none() | IDS,
        "fixed_ip_address": st.none() | ADDRESSES,
        "project_id": NAMES,
    },
}
ACTIONS: dict[str, st.SearchStrategy[Any]] = {
    "add_router_interface": ENDS,
    "remove_router_interface": ENDS,
    "add_extraroutes": st.fixed_dictionaries({"router": st.fixed_dictionaries({"routes": ROUTES})}),
    "remove_extraroutes": st.fixed_dictionaries({"router": st.fixed_dictionaries({"routes": ROUTES})}),
}
KIND = {each.name: each.kind for each in COLLECTIONS}


@st.composite
def bodies(draw: st.DrawFn, kind: str, create: bool) -> dict[str, Any]:
    """A body that makes sense, or one attribute of which does not."""
    required = {"network_id", "cidr", "security_group_id", "direction", "floating_network_id"} & SANE[kind].keys()
    offered = SANE[kind].keys() - required - ({"routes"} if create else set())
    names = draw(st.sets(st.sampled_from(sorted(offered)), max_size=2)) | required
    body = {name: draw(SANE[kind][name]) for name in sorted(names)}
    if "cidr" in body:
        body["ip_version"] = 6 if ":" in body["cidr"] else 4
    if draw(st.integers(0, 7)) == 7:
        body[draw(st.sampled_from(sorted(SANE[kind])) | st.text(max_size=5))] = draw(MANGLED)
    return body


FIXED = ("network_id", "ip_version", "cidr", "project_id", "floating_network_id", "floating_ip_address", "subnet_id")
"""What a body cannot change; rules are not changed at all."""


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, str, int, Any]:
    """A verb or an action, a kind, which of its resources, and a body."""
    verb = draw(st.sampled_from(["create", "create", "create", "bulk", "update", "update", "delete", "act", "act"]))
    place = draw(st.integers(0, 30))
    if verb == "act":
        action = draw(st.sampled_from(sorted(ACTIONS)))
        return action, "router", place, draw(ACTIONS[action])
    kind = draw(st.sampled_from(sorted(SANE)))
    if verb == "bulk":
        return verb, kind, place, draw(st.lists(bodies(kind, create=True), min_size=1, max_size=4))
    body = draw(bodies(kind, create=verb == "create"))
    if verb == "update":
        body = {name: value for name, value in body.items() if name not in FIXED or kind == "security_group_rule"}
    return verb, kind, place, body


def picture(model: Model) -> str:
    """Everything there is."""
    return repr([model.all(kind) for kind in KINDS])


def check(model: Model) -> None:
    """What must be true of every cloud."""
    for port in model.all(Port):
        assert model.get(Network, port.network_id) is not None
        assert model.get(Tag, f"port/{port.id}") is not None
        for ip in port.fixed_ips:
            subnet = model.get(Subnet, ip.subnet_id)
            assert subnet is not None
            assert subnet.network_id == port.network_id
    reserved = [each for port in model.all(Port) for each in port.reservations]
    assert len(reserved) == len(set(reserved)) == sum(len(port.fixed_ips) for port in model.all(Port))
    assert all(model.get(Network, subnet.network_id) for subnet in model.all(Subnet))
    for router in model.all(Router):
        check_router(model, router)
    for floating_ip in model.all(FloatingIp):
        check_floating_ip(model, floating_ip)
    for forwarding in model.all(PortForwarding):
        check_forwarding(model, forwarding)
    assert sum(port.device_owner == FLOATING for port in model.all(Port)) == len(model.all(FloatingIp))
    assert sum(network.is_default for network in model.all(Network)) <= 1
    check_security(model)


def check_router(model: Model, router: Router) -> None:
    """Its subnets are apart, one address on each network's IPv4 subnets, and its next hops are on them.

    Its gateway is on the external network that it names.
    """
    ports = model.where(Port, device_id=router.id)
    own = [port for port in ports if port.device_owner in ROUTER_INTERFACES]
    gateways = [port for port in ports if port.device_owner == GATEWAY]
    assert [port.network_id for port in gateways] == (
        [router.external_network_id] if router.external_network_id else []
    )
    for port in gateways:
        network = model.get(Network, port.network_id)
        assert network is not None
        assert network.external
    assert all(port.fixed_ips for port in own)
    assert all(sum(":" not in ip.ip_address for ip in port.fixed_ips) < 2 for port in own)
    with_ipv6 = [port.network_id for port in own if any(":" in ip.ip_address for ip in port.fixed_ips)]
    assert len(with_ipv6) == len(set(with_ipv6))
    joined = [id for port in (*own, *gateways) for id in port.subnets]
    cidrs = [ip_network(subnet.cidr) for subnet in (model.get(Subnet, id) for id in joined) if subnet]
    assert len(cidrs) == len(joined)
    assert not any(one.version == other.version and one.overlaps(other) for one, other in combinations(cidrs, 2))
    assert all(any(ip_address(route.nexthop) in cidr for cidr in cidrs) for route in router.routes)


def check_floating_ip(model: Model, floating_ip: FloatingIp) -> None:
    """Its port has its address, and its router is between it and what it stands for: a port, or port forwardings."""
    network, held = model.get(Network, floating_ip.floating_network_id), model.get(Port, floating_ip.floating_port_id)
    assert network is not None
    assert network.external
    assert held is not None
    assert (held.device_owner, held.device_id) == (FLOATING, floating_ip.id)
    assert [ip.ip_address for ip in held.fixed_ips] == [floating_ip.floating_ip_address]
    targets = [(each.internal_port_id, each.internal_ip_address) for each in forwardings(model, floating_ip)]
    if floating_ip.fixed_ip_address is not None:
        assert targets == [], "it does one or the other"
        targets = [(floating_ip.port_id, floating_ip.fixed_ip_address)]
    assert bool(floating_ip.port_id) == (floating_ip.fixed_ip_address is not None)
    assert bool(floating_ip.router_id) == bool(targets)
    for port_id, address in targets:
        port, router = model.get(Port, port_id), model.get(Router, floating_ip.router_id)
        assert port is not None
        assert router is not None
        assert router.external_network_id == floating_ip.floating_network_id
        (subnet,) = [ip.subnet_id for ip in port.fixed_ips if ip.ip_address == address]
        assert router.id in {door.device_id for door in model.where(Port, joined=subnet)}


def forwardings(model: Model, floating_ip: FloatingIp) -> tuple[PortForwarding, ...]:
    return model.where(PortForwarding, floatingip_id=floating_ip.id)


def check_forwarding(model: Model, one: PortForwarding) -> None:
    """No port stands for two, nor do two stand for one; who is forwarded to has no floating IP."""
    external = range(one.external_port_first, one.external_port_last + 1)
    internal = range(one.internal_port_first, one.internal_port_last + 1)
    assert len(external) >= 1
    assert len(internal) in (1, len(external))
    assert not model.where(FloatingIp, port_id=one.internal_port_id)
    for other in model.all(PortForwarding):
        if other.id == one.id or other.protocol != one.protocol:
            continue
        if other.floatingip_id == one.floatingip_id:
            assert not {other.external_port_first, other.external_port_last} & {*external}
        if (other.internal_port_id, other.internal_ip_address) == (one.internal_port_id, one.internal_ip_address):
            assert not {other.internal_port_first, other.internal_port_last} & {*internal}


def check_security(model: Model) -> None:
    rules, ports = model.all(SecurityGroupRule), model.all(Port)
    assert {bundle.id for bundle in model.all(Bundle)} == {rule.bundle for rule in rules}
    assert {policy.id for policy in model.all(Policy)} == {port.policy for port in ports} - {UNGUARDED}
    for rule in rules:
        assert model.get(SecurityGroup, rule.security_group_id) is not None
        assert rule.remote_group_id is None or model.get(SecurityGroup, rule.remote_group_id) is not None
    for port in ports:
        groups = [model.get(SecurityGroup, id) for id in port.groups]
        assert len({group.stateful if group else None for group in groups} | {None}) <= 2
        assert None not in groups
        assert port.port_security_enabled or not (groups or port.allowed_address_pairs)
    tagged: dict[str, type[Record]] = {
        "network": Network,
        "port": Port,
        "bundle": Bundle,
        "policy": Policy,
        "router": Router,
        "floatingip": FloatingIp,
    }
    for space, kind in tagged.items():
        tags = {tag.id for tag in model.all(Tag) if tag.space == space}
        assert tags == {f"{space}/{each.id}" for each in model.all(kind)}


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    with serving() as client:
        yield client


def ids(model: Model, kind: type[Resource]) -> list[str]:
    return [each.id for each in model.all(kind)]


def real(model: Model, value: Any, key: str = "") -> Any:
    """The body with ids of what exists in place of what stands for them."""
    if isinstance(value, dict):
        return {name: real(model, each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [real(model, each, key) for each in value]
    pool = ids(model, POOLS[key]) if key in POOLS else []
    if isinstance(value, str) and value.startswith("id-") and pool:
        return pool[int(value[3:]) % len(pool)]
    return value


def no_groups(tx: Transaction) -> None:
    """The default groups, too, which no request removes."""
    for group in tx.all(SecurityGroup):
        security.remove_group(tx, group)


def path_of(model: Model, kind: str, place: int, id: str = "") -> str:
    """Where a resource is, or where one is made; port forwardings are at the floating IP of a place."""
    if kind != "port_forwarding":
        return Client.path(kind, id)
    found = model.get(PortForwarding, id)
    known = ids(model, FloatingIp) or ["x"]
    return f"/v2.0/floatingips/{found.floatingip_id if found else known[place % len(known)]}/port_forwardings/{id}"


Step = tuple[str, str, int, Any]


def cleared(api: Client) -> None:
    """Nothing is left of what others made."""
    model = api.store.model
    for forwarding in model.all(PortForwarding):
        assert api.ask("DELETE", path_of(model, "port_forwarding", 0, forwarding.id)).status == 204
    for floating_ip in ids(model, FloatingIp):
        assert api.delete("floatingip", floating_ip).status == 204
    for router in ids(model, Router):
        assert api.put("router", router, routes=[], external_gateway_info=None).status in (200, 400)
        assert api.put("router", router, routes=[]).status == 200
        for port in model.where(Port, device_id=router):
            api.ask("PUT", f"/v2.0/routers/{router}/remove_router_interface", {"port_id": port.id})
    for kind in ("port", "router", "subnet", "network", "security_group", "address_group"):
        for id in ids(model, KIND[kind]):
            assert api.delete(kind, id).status == 204 or kind == "security_group"
        if kind == "security_group":
            api.commit(no_groups)
    assert all(not model.all(kind) for kind in KINDS if kind is not Counter)


def play(api: Client, step: Step) -> None:
    """Ask for one step; whatever the answer, the cloud is what it must be."""
    model = api.store.model
    verb, kind, place, sketch = step
    before = picture(model)
    body = real(model, sketch)
    if isinstance(body, dict) and body.get("internal_ip_address") == HELD:
        port = model.get(Port, body.get("internal_port_id", ""))
        body["internal_ip_address"] = port.fixed_ips[0].ip_address if port and port.fixed_ips else "10.0.0.1"
    known = ids(model, KIND[kind])
    one = known[place % len(known)] if known else "x"
    path = path_of(model, kind, place, "" if verb in ("create", "bulk") else one)
    path += f"/{verb}" if verb in ACTIONS else ""
    method = {"create": "POST", "bulk": "POST", "delete": "DELETE"}.get(verb, "PUT")
    sent = None if verb == "delete" else body if verb in ACTIONS else {f"{kind}s" if verb == "bulk" else kind: body}
    answer = api.ask(method, path, sent)
    assert answer.status in (200, 201, 204, 400, 404, 409), answer.text
    if answer.status >= 400:
        assert answer.body["NeutronError"].keys() == {"type", "message", "detail"}
        assert picture(model) == before, "a refusal left a trace"
    elif answer.status == 201:
        made = answer.body[f"{kind}s"] if verb == "bulk" else [answer.body[kind]]
        for each in made:
            assert api.get(path_of(model, kind, place, each["id"]))[kind] == each
    check(model)


@given(st.lists(steps(), min_size=5, max_size=25))
def test_no_history_breaks_the_cloud(api: Client, history: list[Step]) -> None:
    cleared(api)
    for cidr, version in (("10.0.0.0/28", 4), ("2001:db8::/64", 6)):
        network = api.make("network")["id"]
        api.make("subnet", network_id=network, cidr=cidr, ip_version=version)
    api.make("router")
    for step in history:
        play(api, step)


CROSSED = (
    ("10.0.0.0/29", "10.0.0.8/29", "2001:db8::/126", "2001:db8:1::/64"),
    ("10.0.0.0/28", "10.0.1.0/28", "2001:db8::/64"),
)
"""The subnets of two networks, some of which a router cannot join at once."""


IPS = st.lists(st.fixed_dictionaries({}, optional={"ip_address": ADDRESSES, "subnet_id": IDS}), min_size=1, max_size=2)
MOVES: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    **{(action, "router"): body for action, body in ACTIONS.items()},
    ("update", "router"): st.fixed_dictionaries({}, optional=SANE["router"]),
    ("create", "port"): st.fixed_dictionaries({"network_id": IDS}, optional={"fixed_ips": IPS}),
    ("update", "port"): st.fixed_dictionaries({"fixed_ips": IPS})
    | st.fixed_dictionaries({name: SANE["port"][name] for name in ("device_id", "device_owner")}),
    ("update", "subnet"): st.fixed_dictionaries({"gateway_ip": st.none() | ADDRESSES}),
    **{("delete", kind): st.none() for kind in ("port", "subnet", "router")},
}
JOIN = ("add_router_interface", "router")


@st.composite
def moves(draw: st.DrawFn) -> Step:
    """What is done to routers, and to what they hold."""
    verb, kind = move = draw(st.sampled_from([*MOVES, JOIN, JOIN, JOIN]))
    return verb, kind, draw(st.integers(0, 7)), draw(MOVES[move])


@given(st.lists(moves(), min_size=10, max_size=25))
def test_no_history_breaks_a_router(api: Client, history: list[Step]) -> None:
    cleared(api)
    for cidrs in CROSSED:
        network = api.make("network")["id"]
        for cidr in cidrs:
            api.make("subnet", network_id=network, cidr=cidr, ip_version=6 if ":" in cidr else 4)
    for _ in range(2):
        api.make("router")
    for step in history:
        play(api, step)


HELD = "held"
"""Stands for an address of the port that is named beside it."""
FORWARDED = {
    "protocol": st.sampled_from(["tcp", "tcp", "udp"]),
    "external_port_range": st.sampled_from(["22:23", "23:24", "25:26", "30:80", "22"]),
    "internal_port_range": st.sampled_from(["22:23", "22", "23", "80", "443"]),
    "internal_port_id": IDS,
    "internal_ip_address": st.just(HELD) | HOSTS,
}
OUTSIDE: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("create", "floatingip"): st.fixed_dictionaries({"floating_network_id": IDS}, optional={"port_id": IDS}),
    ("update", "floatingip"): st.fixed_dictionaries({"port_id": st.none() | IDS}, optional={"fixed_ip_address": HOSTS}),
    ("delete", "floatingip"): st.none(),
    ("create", "port_forwarding"): st.fixed_dictionaries(FORWARDED),
    ("update", "port_forwarding"): st.fixed_dictionaries({}, optional=FORWARDED),
    ("delete", "port_forwarding"): st.none(),
    ("update", "router"): st.fixed_dictionaries({"external_gateway_info": WAYS}, optional={"routes": ROUTES}),
    ("delete", "router"): st.none(),
    ("add_router_interface", "router"): ENDS,
    ("remove_router_interface", "router"): ENDS,
    ("create", "port"): st.fixed_dictionaries({"network_id": IDS}, optional={"fixed_ips": IPS}),
    ("update", "port"): st.fixed_dictionaries({"fixed_ips": IPS}),
    ("delete", "port"): st.none(),
    ("create", "subnet"): st.fixed_dictionaries(
        {"network_id": IDS, "cidr": st.sampled_from(["10.0.0.0/29", "10.0.3.0/29"]), "ip_version": st.just(4)}
    ),
    ("update", "network"): st.fixed_dictionaries({"router:external": st.booleans()}),
    ("delete", "network"): st.none(),
}
ASSOCIATE = ("update", "floatingip")
FORWARD = ("create", "port_forwarding")


@st.composite
def crossings(draw: st.DrawFn) -> Step:
    """What is done to floating IPs, and to what they go by."""
    verb, kind = move = draw(st.sampled_from([*OUTSIDE, ASSOCIATE, ASSOCIATE, FORWARD, FORWARD]))
    return verb, kind, draw(st.integers(0, 7)), draw(OUTSIDE[move])


@given(st.lists(crossings(), min_size=10, max_size=30))
def test_no_history_breaks_a_way_out(api: Client, history: list[Step]) -> None:
    cleared(api)
    outside = api.make("network", **{"router:external": True})["id"]
    api.make("subnet", network_id=outside, cidr="10.0.2.0/28", ip_version=4)
    inside = api.make("network")["id"]
    four = api.make("subnet", network_id=inside, cidr="10.0.0.0/28", ip_version=4)["id"]
    for _ in range(2):
        router = api.make("router", external_gateway_info={"network_id": outside})["id"]
        api.make("floatingip", floating_network_id=outside)
        for _ in range(3):
            api.make("port", network_id=inside)
    assert api.ask("PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": four}).status == 200
    for step in history:
        play(api, step)


@given(
    st.sampled_from(sorted(SANE)),
    st.one_of(
        MANGLED.map(json.dumps),
        st.text(max_size=20),
        st.dictionaries(
            st.sampled_from([*SANE, "ports", "networks", "security_groups", "security_group_rules"]), MANGLED
        ).map(json.dumps),
    ),
    st.sampled_from(["POST", "PUT"]),
)
def test_no_body_is_too_strange_for_an_answer(api: Client, kind: str, body: str, method: str) -> None:
    path = api.path(kind, "x" if method == "PUT" else "")
    answer = api.ask(method, path, body.encode("utf-8", "surrogatepass"))
    assert answer.status < 500, answer.text


@given(
    st.sampled_from(sorted(SANE)),
    st.lists(
        st.tuples(
            st.sampled_from(
                [*(name for each in COLLECTIONS for name in each.table), "limit", "marker", "sort_key", "sort_dir"]
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
            | st.sampled_from(["1", "asc", "name", "true"]),
        ),
        max_size=4,
    ),
)
def test_no_query_is_too_strange_for_an_answer(api: Client, kind: str, pairs: list[tuple[str, str]]) -> None:
    answer = api.ask("GET", f"{api.path(kind)}?{urlencode(pairs)}")
    assert answer.status < 500, answer.text

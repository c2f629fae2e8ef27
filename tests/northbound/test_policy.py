"""Two tenants, a reader and an administrator: what each may do to every resource, and that nothing of one shows to the
other, by no way of asking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from controller.model.bindings import Attendance
from controller.model.quotas import COUNTED
from controller.model.records import Address, Chassis
from northbound.api import Settings
from northbound.auth import Tokens
from northbound.policy import RULES, SEEN, subject
from northbound.resources import COLLECTIONS
from tests.northbound.identity import tokens
from tests.northbound.served import Answer, Client, serving

RED, BLUE = "p-red", "p-blue"
FRIEND = "22222222-2222-2222-2222-222222222222"
CALLERS = {
    "owner": (RED, ["member"]),
    "other": (BLUE, ["manager"]),
    "reader": (RED, ["reader"]),
    "admin": ("ops", ["admin"]),
    "service": ("services", ["service"]),
    "friend": (FRIEND, ["member"]),
}

PLURALS = {each.name: each.plural for each in COLLECTIONS}


@dataclass
class Cloud:
    api: Client

    def ask(self, caller: str, method: str, path: str, body: object = None) -> Answer:
        return self.api.ask(method, path, body, X_Auth_Token=caller)

    def make(self, caller: str, kind: str, **attributes: object) -> Any:
        answer = self.post(caller, kind, **attributes)
        assert answer.status == 201, answer.text
        return answer.body[kind]

    def post(self, caller: str, kind: str, **attributes: object) -> Answer:
        return self.ask(caller, "POST", Client.path(kind), {kind: attributes})

    def put(self, caller: str, kind: str, id: str, **attributes: object) -> Answer:
        return self.ask(caller, "PUT", Client.path(kind, id), {kind: attributes})

    def list(self, caller: str, kind: str, query: str = "") -> list[Any]:
        answer = self.ask(caller, "GET", f"{Client.path(kind)}?{query}")
        assert answer.status == 200, answer.text
        return list(answer.body[PLURALS[kind]])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with opened(tmp_path_factory) as found:
        yield found


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One in which nobody has made anything."""
    with opened(tmp_path_factory) as found:
        yield found


@contextmanager
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    file = tokens(tmp_path_factory.mktemp("auth") / "tokens.toml", **CALLERS)
    with serving(Settings(quotas=dict.fromkeys(COUNTED, -1)), identity=Tokens(file)) as api:
        yield Cloud(api)


def bodies(cloud: Cloud) -> dict[str, dict[str, object]]:
    """What makes one more of each resource in the red project, in an order in which each finds what it needs."""
    network = cloud.make("owner", "network")["id"]
    cloud.make("owner", "subnet", network_id=network, cidr="10.0.0.0/24", ip_version=4)
    group = cloud.make("owner", "security_group", name="web")["id"]
    outside = cloud.make("admin", "network", **{"router:external": True})["id"]
    cloud.make("admin", "subnet", network_id=outside, cidr="203.0.113.0/24", ip_version=4)
    return {
        "network": {"name": "n"},
        "subnet": {"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4},
        "port": {"network_id": network},
        "router": {"name": "r"},
        "floatingip": {"floating_network_id": outside},
        "security_group": {"name": "g"},
        "security_group_rule": {"security_group_id": group, "direction": "ingress", "protocol": "tcp"},
        "address_group": {"name": "a"},
        "subnetpool": {"name": "s", "prefixes": ["10.0.0.0/8"]},
        "address_scope": {"ip_version": 4},
        "rbac_policy": {
            "object_type": "network",
            "object_id": network,
            "action": "access_as_shared",
            "target_tenant": str(uuid4()),
        },
    }


def another(kind: str) -> dict[str, object]:
    """What changes a resource."""
    if kind == "rbac_policy":
        return {"target_tenant": str(uuid4())}
    return {"name" if kind == "address_scope" else "description": "changed"}


OPERATORS = {
    "default_security_group_rule": {
        "direction": "ingress",
        "protocol": "udp",
        "used_in_default_sg": False,
        "used_in_non_default_sg": False,
    },
    "network_segment_range": {"network_type": "geneve", "minimum": 7, "maximum": 9},
}
"""What only administrators make: for the whole cloud."""

MADE = [each.name for each in COLLECTIONS if each.create and not each.whole and each.name not in OPERATORS]
"""What is made by itself, for a project."""

Row = tuple[int, int, int, int]

#                owner other reader admin
OWN: dict[str, Row] = {
    "make":     (201,  400,  403,   201),
    "show":     (200,  404,  200,   200),
    "list":     (1,    0,    1,     1),
    "update":   (200,  404,  403,   200),
    "delete":   (204,  404,  403,   204),
}  # fmt: skip
ADMINS: dict[str, Row] = {
    "make":     (403,  403,  403,   201),
    "show":     (404,  404,  404,   200),
    "list":     (0,    0,    0,     1),
    "update":   (404,  404,  404,   200),
    "delete":   (404,  404,  404,   204),
}  # fmt: skip
EVERYBODYS: dict[str, Row] = {
    "show":     (200,  200,  200,   200),
    "list":     (1,    1,    1,     1),
}  # fmt: skip


def only(row: dict[str, Row], *verbs: str) -> dict[str, Row]:
    return {verb: row[verb] for verb in verbs}


MATRIX: dict[str, dict[str, Row]] = {
    **dict.fromkeys(MADE, OWN),
    "port_forwarding":             OWN | {"make": (201, 404, 403, 201), "list": (1, 404, 1, 1)},
    "binding":                     ADMINS | {"make": (403, 404, 403, 201), "list": (0, 404, 0, 1)},
    "auto_allocated_topology":     only(OWN, "show", "list", "delete"),
    "quota":                       only(OWN, "show", "list") | {"update": (403, 404, 403, 200),
                                                               "delete": (403, 404, 403, 204)},
    "network_segment_range":       ADMINS,
    "agent":                       only(ADMINS, "show", "list", "update", "delete"),
    "network_ip_availability":     only(ADMINS, "show", "list"),
    "default_security_group_rule": EVERYBODYS | {"make": (403, 403, 403, 201), "delete": (403, 403, 403, 204)},
    "availability_zone":           EVERYBODYS,
    "floatingip_pool":             EVERYBODYS,
}  # fmt: skip
"""By resource, verb and caller, for what is the owner's, or the cloud's: the status, or for lists how often it is there.
Another makes it for the owner by naming the owner's project; parts of a thing are where that thing is."""


def test_every_verb_of_every_resource_is_in_the_matrix() -> None:
    assert {kind: row.keys() for kind, row in MATRIX.items()} == {
        each.name: {
            "show",
            "list",
            *(["make"] if each.create else []),
            *(["update"] if each.update else []),
            *(["delete"] if each.delete else []),
        }
        for each in COLLECTIONS
    }


@dataclass
class Place:
    """Where there can be one of a resource: how it is made, or that it is there, and by what it goes in paths."""

    path: str
    body: dict[str, object]
    change: dict[str, object]
    key: str = "id"
    maker: str = "owner"
    present: str = ""
    renew: tuple[str, str, object] | None = None
    """Whose request has it there again."""


def place(cloud: Cloud, kind: str) -> Place:
    path = Client.path(kind) if "{" not in Client.path(kind) else ""
    if kind in OPERATORS:
        return Place(path, OPERATORS[kind], {"name": "changed"}, maker="admin")
    if kind in MADE:
        return Place(path, {**bodies(cloud)[kind], "project_id": RED}, another(kind))
    if kind == "quota":
        return Place(
            path, {}, {"network": 6000}, "project_id", present=RED, renew=("admin", "PUT", {"quota": {"network": 5000}})
        )
    if kind == "auto_allocated_topology":
        ready_for_topologies(cloud)
        return Place(path, {}, {}, "project_id", present=RED, renew=("owner", "GET", None))
    hypervisor = Chassis(
        id="hv9", hostname="hv9", encap_ip=Address("192.0.2.9"), encap_types=("vxlan",), gateway_priority=1
    )
    cloud.api.commit(lambda tx: tx.put(hypervisor))
    cloud.api.wires.seen["hv9"] = Attendance(alive=kind == "binding")
    if kind == "agent":
        (agent, *_) = cloud.list("admin", "agent", "host=hv9")
        return Place(path, {}, {"description": "changed"}, present=agent["id"])
    if kind == "availability_zone":
        return Place(path, {}, {}, "name", present="nova")
    if kind in ("floatingip_pool", "network_ip_availability"):
        key = "subnet_id" if kind == "floatingip_pool" else "network_id"
        outside = cloud.make("admin", "network", **{"router:external": True})["id"]
        subnet = cloud.make("admin", "subnet", network_id=outside, cidr="203.0.113.0/24", ip_version=4)
        return Place(path, {}, {}, key, present=subnet["id" if key == "subnet_id" else key])
    if kind == "binding":
        network = cloud.make("owner", "network")["id"]
        port = cloud.make("owner", "port", network_id=network, device_owner="compute:nova")["id"]
        return Place(f"/v2.0/ports/{port}/bindings", {"host": "hv9"}, {"vnic_type": "normal"}, "host", maker="admin")
    assert kind == "port_forwarding"
    floating, port = forwarding(cloud)
    asked = {"protocol": "tcp", "external_port": 80, "internal_port": 80, "internal_port_id": port["id"]}
    address = {"internal_ip_address": port["fixed_ips"][0]["ip_address"]}
    return Place(f"/v2.0/floatingips/{floating}/port_forwardings", asked | address, {"external_port": 81})


@pytest.mark.parametrize("kind", MATRIX)
def test_who_may_do_what_to_a_resource_of_one_project(cloud: Cloud, kind: str) -> None:
    where, verbs = place(cloud, kind), MATRIX[kind]
    plural = PLURALS[kind]
    found: dict[str, list[int]] = {verb: [] for verb in verbs}

    def there() -> str:
        """One of it, made if need be; its path."""
        if where.present:
            if where.renew:
                who, method, body = where.renew
                assert cloud.ask(who, method, f"{where.path}/{where.present}", body).status == 200
            return f"{where.path}/{where.present}"
        made = cloud.ask(where.maker, "POST", where.path, {kind: where.body})
        assert made.status == 201, made.text
        return f"{where.path}/{made.body[kind][where.key]}"

    for caller in ("owner", "other", "reader", "admin"):
        if "make" in verbs:
            made = cloud.ask(caller, "POST", where.path, {kind: where.body})
            found["make"].append(made.status)
            if made.status == 201:
                assert made.body[kind].get("project_id", RED) in (RED, None)
                assert cloud.ask("admin", "DELETE", f"{where.path}/{made.body[kind][where.key]}").status == 204
        one = there()
        found["show"].append(cloud.ask(caller, "GET", one).status)
        listed = cloud.ask(caller, "GET", where.path)
        keys = {str(each[where.key]) for each in listed.body[plural]} if listed.status == 200 else set()
        found["list"].append(int(one.rpartition("/")[2] in keys) if listed.status == 200 else listed.status)
        if "update" in verbs:
            found["update"].append(cloud.ask(caller, "PUT", one, {kind: where.change}).status)
        if "delete" in verbs:
            found["delete"].append(cloud.ask(caller, "DELETE", one).status)
            cloud.ask("admin", "DELETE", one)
            if kind == "agent":
                where = place(cloud, kind)
    assert {verb: tuple(statuses) for verb, statuses in found.items()} == verbs


def ready_for_topologies(cloud: Cloud) -> None:
    """A default way out, and a pool that is everybody's."""
    if not cloud.list("admin", "network", "is_default=true"):
        outside = cloud.make("admin", "network", **{"router:external": True, "is_default": True})["id"]
        cloud.make("admin", "subnet", network_id=outside, ip_version=4, cidr="203.0.113.0/24")
    if not cloud.list("admin", "subnetpool", "is_default=true"):
        pool = {"name": "p", "prefixes": ["2001:db8:9::/48"], "default_prefixlen": 64, "is_default": True}
        cloud.make("admin", "subnetpool", **pool, shared=True)


def forwarding(cloud: Cloud) -> tuple[str, Any]:
    """A floating IP of the owner's, and a port of its that port forwardings may lead to."""
    outside = cloud.make("admin", "network", **{"router:external": True})["id"]
    cloud.make("admin", "subnet", network_id=outside, cidr="203.0.113.0/24", ip_version=4)
    network = cloud.make("owner", "network")["id"]
    inside = cloud.make("owner", "subnet", network_id=network, cidr="10.0.0.0/24", ip_version=4)["id"]
    port = cloud.make("owner", "port", network_id=network)
    router = cloud.make("owner", "router", external_gateway_info={"network_id": outside})["id"]
    add = f"/v2.0/routers/{router}/add_router_interface"
    assert cloud.ask("owner", "PUT", add, {"subnet_id": inside}).status == 200
    return cloud.make("owner", "floatingip", floating_network_id=outside)["id"], port


@pytest.mark.parametrize("kind", MADE)
def test_what_is_anothers_answers_as_what_is_nowhere(cloud: Cloud, kind: str) -> None:
    id, nowhere = cloud.make("owner", kind, **bodies(cloud)[kind])["id"], str(uuid4())

    def answers(of: str) -> list[tuple[int, str]]:
        asked = [
            cloud.ask("other", "GET", Client.path(kind, of)),
            cloud.put("other", kind, of, **another(kind)),
            cloud.ask("other", "DELETE", Client.path(kind, of)),
            cloud.ask("other", "GET", f"{Client.path(kind)}?id={of}"),
            cloud.ask("other", "GET", f"{Client.path(kind)}?limit=1&marker={of}"),
            cloud.ask("other", "GET", f"{Client.path(kind)}?project_id={RED}&limit=5"),
        ]
        return [(answer.status, answer.text.replace(of, "ID")) for answer in asked]

    assert answers(id) == answers(nowhere)


def test_nobody_builds_upon_what_it_does_not_see(cloud: Cloud) -> None:
    network = cloud.make("owner", "network")["id"]
    subnet = cloud.make("owner", "subnet", network_id=network, cidr="10.0.0.0/24", ip_version=4)["id"]
    port = cloud.make("owner", "port", network_id=network)["id"]
    group, router = cloud.make("owner", "security_group", name="g")["id"], cloud.make("other", "router")["id"]
    mine = cloud.make("other", "network")["id"]
    my_group = cloud.make("other", "security_group", name="g")["id"]
    my_port = cloud.make("other", "port", network_id=mine)["id"]
    addresses = cloud.make("owner", "address_group", name="a")["id"]
    add = f"/v2.0/routers/{router}/add_router_interface"
    rule = {"security_group_id": my_group, "direction": "ingress"}

    refused = [
        cloud.post("other", "subnet", network_id=network, cidr="10.9.0.0/24", ip_version=4),
        cloud.post("other", "port", network_id=network),
        cloud.post("other", "port", network_id=mine, security_groups=[group]),
        cloud.post("other", "port", network_id=mine, fixed_ips=[{"subnet_id": subnet}]),
        cloud.put("other", "port", my_port, security_groups=[group]),
        cloud.post("other", "security_group_rule", security_group_id=group, direction="ingress"),
        cloud.post("other", "security_group_rule", **rule, remote_group_id=group),
        cloud.post("other", "security_group_rule", **rule, remote_address_group_id=addresses),
        cloud.ask("other", "PUT", add, {"subnet_id": subnet}),
        cloud.ask("other", "PUT", add, {"port_id": port}),
    ]
    assert [answer.status for answer in refused] == [404] * len(refused)
    assert cloud.list("admin", "port", f"network_id={network}&project_id={BLUE}") == []


def test_a_shared_network_is_used_by_all_and_shows_nobodys_ports(cloud: Cloud) -> None:
    network = cloud.make("admin", "network", project_id=RED, shared=True)["id"]
    cloud.make("owner", "subnet", network_id=network, cidr="10.0.0.0/24", ip_version=4)
    theirs, mine = (cloud.make(caller, "port", network_id=network)["id"] for caller in ("owner", "other"))
    assert [each["id"] for each in cloud.list("other", "port", f"network_id={network}")] == [mine]
    assert {each["id"] for each in cloud.list("owner", "port", f"network_id={network}")} == {mine, theirs}
    assert [each["network_id"] for each in cloud.list("other", "subnet", f"network_id={network}")] == [network]
    assert cloud.put("other", "network", network, name="mine").fault == (
        403,
        "PolicyNotAuthorized",
        "rule:update_network is disallowed by policy",
    )
    assert cloud.post("other", "port", network_id=network, fixed_ips=[{"ip_address": "10.0.0.77"}]).fault == (
        403,
        "PolicyNotAuthorized",
        "(rule:create_port and rule:create_port:fixed_ips:ip_address) is disallowed by policy",
    )
    assert cloud.ask("owner", "DELETE", Client.path("port", mine)).status == 204, "the network's owner may"


def test_an_external_network_is_everybodys_way_out_and_nobodys_to_change(cloud: Cloud) -> None:
    outside = cloud.make("admin", "network", **{"router:external": True})["id"]
    four = cloud.make("admin", "subnet", network_id=outside, cidr="203.0.113.0/24", ip_version=4)["id"]
    network = cloud.make("other", "network")["id"]
    inside = cloud.make("other", "subnet", network_id=network, cidr="10.0.0.0/24", ip_version=4)["id"]
    port = cloud.make("other", "port", network_id=network)["id"]
    router = cloud.make("other", "router", external_gateway_info={"network_id": outside})["id"]
    assert (
        cloud.ask("other", "PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": inside}).status == 200
    )
    floating = cloud.make("other", "floatingip", floating_network_id=outside, subnet_id=four, port_id=port)
    assert floating["router_id"] == router
    assert [each["id"] for each in cloud.list("other", "network", f"id={outside}")] == [outside]
    assert [each["id"] for each in cloud.list("other", "subnet", f"id={four}")] == [four]
    assert cloud.list("other", "port", f"network_id={outside}") == [], "gateways and floating IPs hide theirs"
    assert cloud.put("other", "network", outside, name="mine").status == 403
    assert cloud.post("other", "port", network_id=outside).status == 403
    for inner in ("enable_snat", "external_fixed_ips"):
        way = {"network_id": outside, inner: [] if inner.endswith("ips") else True}
        assert cloud.put("other", "router", router, external_gateway_info=way).fault == (
            403,
            "PolicyNotAuthorized",
            f"(rule:update_router and rule:update_router:external_gateway_info:{inner}) is disallowed by policy",
        )
    chosen = {"floating_network_id": outside, "floating_ip_address": "203.0.113.9"}
    assert cloud.post("owner", "floatingip", **chosen).fault == (
        403,
        "PolicyNotAuthorized",
        "(rule:create_floatingip and rule:create_floatingip:floating_ip_address) is disallowed by policy",
    )
    assert cloud.post("other", "floatingip", **chosen).status == 201, "a manager may"
    theirs = cloud.make("owner", "floatingip", floating_network_id=outside)["id"]
    assert cloud.put("owner", "floatingip", theirs, port_id=port).fault[:2] == (404, "PortNotFound")
    hidden = cloud.make("owner", "network")["id"]
    assert cloud.post("other", "router", external_gateway_info={"network_id": hidden}).status == 404
    assert cloud.post("other", "floatingip", floating_network_id=hidden).status == 404


def test_port_forwardings_are_where_their_floating_ip_is(cloud: Cloud) -> None:
    floating, _ = forwarding(cloud)
    path = f"/v2.0/floatingips/{floating}/port_forwardings"
    hidden = (404, "FloatingIPNotFound", f"Floating IP {floating} could not be found")
    assert cloud.ask("other", "POST", path, {"port_forwarding": {}}).fault[0] == 400
    assert cloud.ask("other", "GET", path).fault == hidden
    pools = cloud.ask("other", "GET", "/v2.0/floatingip_pools").body["floatingip_pools"]
    assert {each["project_id"] for each in pools} == {BLUE}


def test_nobody_but_administrators_sees_agents_and_sets_quotas(cloud: Cloud) -> None:
    assert cloud.list("owner", "agent") == []
    assert cloud.ask("owner", "GET", f"/v2.0/quotas/{RED}").status == 200
    assert cloud.ask("owner", "GET", f"/v2.0/quotas/{RED}/details").status == 200
    assert cloud.ask("other", "GET", f"/v2.0/quotas/{RED}").status == 404
    assert cloud.put("owner", "quota", RED, network=5).status == 403
    assert cloud.put("admin", "quota", RED, network=500).status == 200
    assert [each["project_id"] for each in cloud.list("owner", "quota")] == [RED]
    assert cloud.list("other", "quota") == []
    assert cloud.ask("owner", "DELETE", Client.path("quota", RED)).status == 403
    assert cloud.ask("admin", "DELETE", Client.path("quota", RED)).status == 204


def test_what_is_shared_with_a_project_is_used_by_it_alone(cloud: Cloud) -> None:
    network = cloud.make("owner", "network")["id"]
    group = cloud.make("owner", "security_group", name="g")["id"]
    scope = cloud.make("owner", "address_scope", ip_version=4)["id"]
    pool = cloud.make("owner", "subnetpool", name="p", prefixes=["10.0.0.0/8"], address_scope_id=scope)["id"]
    asked = {"action": "access_as_shared", "target_tenant": FRIEND}
    for kind, id in (("network", network), ("security_group", group), ("address_scope", scope), ("subnetpool", pool)):
        assert cloud.ask("friend", "GET", Client.path(kind, id)).status == 404
        cloud.make("owner", "rbac_policy", object_type=kind, object_id=id, **asked)
        assert cloud.ask("friend", "GET", Client.path(kind, id)).body[kind]["shared"] is True
        assert cloud.ask("friend", "DELETE", Client.path(kind, id)).status == 403
        assert cloud.ask("other", "GET", Client.path(kind, id)).status == 404
        everybody = {**asked, "object_type": kind, "object_id": id, "target_tenant": "*"}
        assert cloud.post("owner", "rbac_policy", **everybody).status == 403, "for all is an administrator's"
    assert cloud.post("friend", "port", network_id=network, security_groups=[group]).status == 201
    mine = cloud.make("friend", "network")["id"]
    cut = {"network_id": mine, "ip_version": 4, "subnetpool_id": pool, "prefixlen": 24}
    assert cloud.post("friend", "subnet", **cut).status == 201
    assert cloud.post("other", "subnet", **{**cut, "network_id": cloud.make("other", "network")["id"]}).status == 404
    theirs = {"name": "x", "prefixes": ["11.0.0.0/8"], "address_scope_id": scope}
    assert cloud.post("friend", "subnetpool", **theirs).status == 201
    assert cloud.post("other", "subnetpool", **theirs).status == 404
    assert cloud.put("friend", "subnetpool", pool, name="mine").status == 403
    onboard = f"/v2.0/subnetpools/{pool}/onboard_network_subnets"
    assert cloud.ask("friend", "PUT", onboard, {"network_id": mine}).status == 403
    assert cloud.ask("owner", "PUT", onboard, {"network_id": mine}).status == 404


def shared_with_friend(kind: str, id: str) -> dict[str, object]:
    return {"object_type": kind, "object_id": id, "action": "access_as_shared", "target_tenant": FRIEND}


def test_an_address_group_of_another_cannot_be_changed_as_if_it_were_not_there(cloud: Cloud) -> None:
    group = cloud.make("owner", "address_group", name="a")["id"]
    cloud.make("owner", "rbac_policy", **shared_with_friend("address_group", group))
    assert cloud.ask("friend", "GET", Client.path("address_group", group)).status == 200
    assert cloud.put("friend", "address_group", group, name="x").status == 404
    assert cloud.put("reader", "address_group", group, name="x").status == 403
    assert cloud.ask("friend", "DELETE", Client.path("address_group", group)).status == 403


ADMINISTRATORS = [
    ("network", {"shared": True}),
    ("network", {"router:external": True}),
    ("network", {"is_default": True}),
    ("network", {"provider:network_type": "geneve"}),
    ("network", {"provider:network_type": "geneve", "provider:segmentation_id": 77}),
    ("port", {"binding:host_id": "hv1"}),
    ("port", {"binding:profile": {"a": 1}}),
    ("subnetpool", {"shared": True}),
    ("subnetpool", {"is_default": True}),
    ("address_scope", {"shared": True}),
    ("router", {"distributed": True}),
    ("router", {"ha": True}),
]


@pytest.mark.parametrize(("kind", "attributes"), ADMINISTRATORS, ids=str)
def test_some_attributes_are_an_administrators(cloud: Cloud, kind: str, attributes: dict[str, object]) -> None:
    body = bodies(cloud)[kind]
    status, type, message = cloud.post("owner", kind, **body, **attributes).fault
    assert (status, type) == (403, "PolicyNotAuthorized")
    assert f"rule:create_{kind}:{next(iter(attributes))}" in message
    assert cloud.post("admin", kind, **body, **attributes).status == 201


def test_attributes_that_a_tenant_does_not_see_it_cannot_ask_for(cloud: Cloud) -> None:
    made = cloud.make("owner", "network")
    assert {name for name in made if name.startswith("provider:")} == set()
    number = cloud.ask("admin", "GET", f"/v2.0/networks/{made['id']}").body["network"]["provider:segmentation_id"]
    mine = [each["id"] for each in cloud.list("owner", "network", f"provider:segmentation_id={number}")]
    assert mine == [made["id"]], "as of its own, and of no other's"
    cloud.make("owner", "rbac_policy", **shared_with_friend("network", made["id"]))
    assert made["id"] in [each["id"] for each in cloud.list("friend", "network")]
    assert cloud.list("friend", "network", f"provider:segmentation_id={number}") == []
    assert cloud.list("owner", "network", f"id={made['id']}&fields=id&fields=provider:segmentation_id") == [
        {"id": made["id"]}
    ]
    assert [each["id"] for each in cloud.list("admin", "network", f"provider:segmentation_id={number}")] == [made["id"]]
    port = cloud.make("owner", "port", network_id=made["id"])
    assert {name for name in port if name.startswith("binding:")} == {"binding:vnic_type"}
    assert "distributed" not in cloud.make("owner", "router")


def test_a_service_binds_ports_of_others(cloud: Cloud) -> None:
    network = cloud.make("owner", "network")["id"]
    port = cloud.make("service", "port", network_id=network, project_id=RED, device_owner="compute:nova")
    bound = cloud.put("service", "port", port["id"], **{"binding:host_id": "hv1"})
    assert (bound.status, bound.body["port"]["binding:host_id"]) == (200, "hv1")
    assert cloud.put("service", "network", network, name="x").status == 403


def test_bindings_of_ports_are_a_services(cloud: Cloud) -> None:
    network = cloud.make("owner", "network")["id"]
    port = cloud.make("owner", "port", network_id=network, device_owner="compute:nova")["id"]
    path = f"/v2.0/ports/{port}/bindings"
    asked = {"binding": {"host": "hv8"}}
    assert cloud.ask("other", "GET", path).fault[1] == "PortNotFound"
    assert cloud.ask("owner", "GET", path).body == {"bindings": []}
    assert cloud.ask("owner", "POST", path, asked).fault == (
        403,
        "PolicyNotAuthorized",
        "rule:create_port_binding is disallowed by policy",
    )
    for method, body in (("GET", None), ("PUT", asked), ("DELETE", None)):
        assert cloud.ask("owner", method, f"{path}/hv8", body).status == 404
    assert cloud.ask("owner", "PUT", f"{path}/hv8/activate").status == 404
    for who in ("service", "admin"):
        assert len(cloud.ask(who, "GET", path).body["bindings"]) == 1
        assert cloud.ask(who, "POST", path, asked).fault[1] == "PortBindingError", "nobody knows the host"


def test_a_project_asks_for_a_network_of_its_own(empty: Cloud) -> None:
    path = "/v2.0/auto-allocated-topology"
    outside = empty.make("admin", "network", **{"router:external": True, "is_default": True})["id"]
    empty.make("admin", "subnet", network_id=outside, ip_version=4, cidr="203.0.113.0/24")
    pool = {"name": "p", "prefixes": ["2001:db8:9::/48"], "default_prefixlen": 64, "is_default": True}
    mine = empty.make("admin", "subnetpool", **pool)["id"]
    assert empty.ask("owner", "GET", f"{path}/None").status == 409, "the pool is not the project's"
    assert empty.ask("admin", "DELETE", Client.path("subnetpool", mine)).status == 204
    empty.make("admin", "subnetpool", **pool, shared=True)
    topology = empty.ask("owner", "GET", f"{path}/None").body["auto_allocated_topology"]
    assert topology["project_id"] == RED
    assert empty.ask("reader", "GET", f"{path}/{RED}").body["auto_allocated_topology"] == topology
    assert empty.ask("reader", "DELETE", f"{path}/{RED}").status == 403
    for method in ("GET", "DELETE"):
        assert empty.ask("other", method, f"{path}/{RED}").status == 404
    assert empty.ask("other", "GET", path).body == {"auto_allocated_topologies": []}
    assert empty.ask("owner", "DELETE", f"{path}/None").status == 204


def test_a_default_group_is_made_for_ones_own_project_alone(cloud: Cloud) -> None:
    fresh = str(uuid4())
    assert cloud.list("other", "security_group", f"project_id={fresh}") == []
    assert cloud.list("admin", "security_group", f"project_id={fresh}&fields=name") == [{"name": "default"}]


def test_every_verb_of_every_collection_has_its_rule() -> None:
    verbs = [
        f"{verb}_{subject(each)}"
        for each in COLLECTIONS
        for verb in ("create", "get", "update", "delete")
        if verb == "get" or getattr(each, verb)
    ]
    actions = [action for each in COLLECTIONS for action in each.actions]
    assert set(verbs + actions) - RULES.keys() == set()
    attributes = {f"{subject(each)}:{name}" for each in COLLECTIONS for name in each.table}
    of_attributes = {rule.partition("_")[2] for rule in [*RULES, *SEEN] if ":" in rule}
    assert {
        each for each in of_attributes if each not in attributes and each.rpartition(":")[0] not in attributes
    } == set()


def test_only_an_administrator_removes_a_default_group_and_it_comes_back_when_it_is_needed(cloud: Cloud) -> None:
    (group,) = cloud.list("friend", "security_group", f"name=default&project_id={FRIEND}")
    for port in cloud.list("friend", "port"):
        assert cloud.ask("admin", "DELETE", Client.path("port", port["id"])).status == 204
    assert cloud.ask("friend", "DELETE", Client.path("security_group", group["id"])).fault == (
        409,
        "SecurityGroupCannotRemoveDefault",
        "Insufficient rights for removing default security group.",
    )
    assert cloud.ask("admin", "DELETE", Client.path("security_group", group["id"])).status == 204
    (another,) = cloud.list("friend", "security_group", f"name=default&project_id={FRIEND}")
    assert another["id"] != group["id"]


@pytest.mark.parametrize("id", [str(uuid4()), "seen by blue alone"])
def test_what_is_made_in_what_is_not_there_is_not_found(cloud: Cloud, id: str) -> None:
    theirs = {kind: cloud.make("other", kind, name="theirs")["id"] for kind in ("network", "security_group")}
    network, group = (id, id) if "-" in id else theirs.values()
    rule = {"security_group_id": group, "direction": "ingress"}
    assert cloud.post("owner", "port", network_id=network).fault[:2] == (404, "NetworkNotFound")
    assert cloud.post("owner", "security_group_rule", **rule).fault[:2] == (404, "SecurityGroupNotFound")
    for kind, made in theirs.items():
        cloud.ask("other", "DELETE", Client.path(kind, made))

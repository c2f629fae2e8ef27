"""What groups, rules and ports leave in the model: bundles, policies, generations and zones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.errors import Exists, NotFound
from controller.model import security
from controller.model.bindings import Claim, Hypervisor, observe
from controller.model.records import (
    CLOSED,
    UNGUARDED,
    Address,
    AddressGroup,
    AddressPair,
    Binding,
    Bundle,
    Cidr,
    FixedIp,
    Mac,
    Policy,
    Port,
    Quarantine,
    SecurityGroup,
    SecurityGroupRule,
    Tag,
)
from controller.model.store import Change, Model, Transaction


class World:
    """A model, and the changes that the API makes of it."""

    def __init__(self) -> None:
        self.model = Model()

    def commit(self, work: Callable[[Transaction], object]) -> None:
        tx = Transaction(self.model)
        work(tx)
        self.model.apply(Change(self.model.revision + 1, "", tx.writes()))

    def group(self, id: str, *rules: SecurityGroupRule, **more: Any) -> None:
        def work(tx: Transaction) -> None:
            tx.insert(SecurityGroup(id=id, **more))
            for each in rules:
                security.add_rule(tx, each)

        self.commit(work)

    def port(self, id: str, *groups: str, addresses: Iterable[str] = (), **more: Any) -> None:
        """The port is made or changed."""
        ips = tuple(FixedIp("subnet", Address(each)) for each in addresses)
        new = Port(
            id=id,
            network_id=f"network-of-{id}",
            mac_address=Mac("02:00:00:00:00:01"),
            fixed_ips=ips,
            security_groups=groups,
            **more,
        )

        def work(tx: Transaction) -> None:
            old = tx.get(Port, id)
            security.settle(tx, old, tx.put(new))

        self.commit(work)

    def no_port(self, id: str) -> None:
        def work(tx: Transaction) -> None:
            old = tx.need(Port, id)
            tx.delete(Port, id)
            security.settle(tx, old, None)

        self.commit(work)

    def remove(self, id: str) -> None:
        self.commit(lambda tx: security.remove_rule(tx, tx.need(SecurityGroupRule, id)))

    def get(self, id: str) -> SecurityGroup:
        found = self.model.get(SecurityGroup, id)
        assert found is not None
        return found

    def bundles(self) -> list[str]:
        return [each.id for each in self.model.all(Bundle)]

    def policies(self) -> list[str]:
        return [each.id for each in self.model.all(Policy)]

    def tags(self, space: str) -> dict[str, int]:
        return {tag.id.removeprefix(f"{space}/"): tag.number for tag in self.model.all(Tag) if tag.space == space}


def allow(id: str, group: str = "web", **more: Any) -> SecurityGroupRule:
    said = {"direction": "ingress", "ethertype": "IPv4", **more}
    return SecurityGroupRule(id=id, security_group_id=group, **said)


@pytest.fixture
def world() -> World:
    return World()


# --- bundles


@pytest.mark.parametrize(
    ("more", "bundle"),
    [
        ({}, "web/ingress/IPv4/all/any"),
        ({"protocol": "tcp"}, "web/ingress/IPv4/some/any"),
        ({"protocol": "0"}, "web/ingress/IPv4/some/any"),
        ({"ethertype": "IPv6", "direction": "egress"}, "web/egress/IPv6/all/any"),
        ({"remote_ip_prefix": "10.0.0.9/24"}, "web/ingress/IPv4/all/10.0.0.0/24"),
        ({"remote_ip_prefix": "0.0.0.0/0"}, "web/ingress/IPv4/all/any"),
        ({"remote_group_id": "db"}, "web/ingress/IPv4/all/db"),
        ({"remote_address_group_id": "office"}, "web/ingress/IPv4/all/office"),
    ],
)
def test_a_rule_is_of_the_bundle_of_those_about_the_same(world: World, more: dict[str, Any], bundle: str) -> None:
    world.group("web", allow("r", **more))
    assert world.bundles() == [bundle]
    assert world.tags("bundle") == {bundle: 1}


def test_a_bundle_says_what_its_rules_share(world: World) -> None:
    world.group("web", allow("r", protocol="tcp", remote_ip_prefix="10.0.0.9/24"))
    (bundle,) = world.model.all(Bundle)
    assert bundle == Bundle(
        id="web/ingress/IPv4/some/10.0.0.0/24",
        security_group_id="web",
        direction="ingress",
        ethertype="IPv4",
        any_protocol=False,
        remote_ip_prefix=Cidr("10.0.0.0/24"),
    )


def test_a_bundle_lasts_from_its_first_rule_to_its_last(world: World) -> None:
    world.group("web", allow("a", protocol="tcp"), allow("b", protocol="udp"))
    world.remove("a")
    assert world.tags("bundle") == {"web/ingress/IPv4/some/any": 1}
    world.remove("b")
    assert (world.bundles(), world.tags("bundle")) == ([], {})
    world.commit(lambda tx: security.add_rule(tx, allow("c", protocol="tcp")))
    assert world.tags("bundle") == {"web/ingress/IPv4/some/any": 2}, "a number that was given back rests"


def test_a_rule_exists_once_and_goes_once(world: World) -> None:
    world.group("web", allow("a"))
    with pytest.raises(Exists):
        world.commit(lambda tx: security.add_rule(tx, allow("a", protocol="tcp")))
    assert world.bundles() == ["web/ingress/IPv4/all/any"]
    world.remove("a")
    with pytest.raises(NotFound):
        world.commit(lambda tx: security.remove_rule(tx, allow("a")))


def test_with_a_group_go_the_rules_that_name_it_and_theirs_are_judged_again(world: World) -> None:
    world.group("web", allow("own"), allow("self", remote_group_id="web"))
    world.group("db", allow("naming", "db", remote_group_id="web"), allow("other", "db"))
    world.commit(lambda tx: security.remove_group(tx, tx.need(SecurityGroup, "web")))
    assert [each.id for each in world.model.all(SecurityGroupRule)] == ["other"]
    assert world.tags("bundle").keys() == {"db/ingress/IPv4/all/any"}
    assert [(each.id, each.narrowed) for each in world.model.all(SecurityGroup)] == [("db", 1)]


# --- the default group


def test_a_project_has_one_default_group_whose_ports_hear_one_another(world: World) -> None:
    for _ in range(2):
        world.commit(lambda tx: security.default_group(tx, "p", 7))
    world.commit(lambda tx: security.default_group(tx, "q", 7))
    one, other = sorted(world.model.all(SecurityGroup), key=lambda each: each.project_id)
    assert (one.name, one.project_id, one.default, one.created_at) == ("default", "p", True, 7)
    assert other.project_id == "q"
    rules = [
        (rule.direction, rule.ethertype, rule.protocol, rule.remote_group_id, rule.project_id)
        for rule in world.model.where(SecurityGroupRule, security_group_id=one.id)
    ]
    assert sorted(rules, key=str) == [
        ("egress", "IPv4", None, None, "p"),
        ("egress", "IPv6", None, None, "p"),
        ("ingress", "IPv4", None, one.id, "p"),
        ("ingress", "IPv6", None, one.id, "p"),
    ]
    assert len(world.tags("bundle")) == 8


def test_a_second_default_group_of_a_project_cannot_be(world: World) -> None:
    world.commit(lambda tx: security.default_group(tx, "p", 7))
    with pytest.raises(Exists):
        world.group("g", project_id="p", default=True)


# --- policies


def test_ports_in_the_same_groups_are_under_one_policy(world: World) -> None:
    world.group("web")
    world.group("db")
    world.port("p1", "web", "db")
    world.port("p2", "db", "web")
    assert world.model.all(Policy) == (Policy(id="db,web", groups=("db", "web")),)
    world.port("p3")
    world.port("p4", port_security_enabled=False)
    assert world.tags("policy") == {"db,web": 1, CLOSED: 2}
    world.port("p1", "web")
    world.no_port("p2")
    world.no_port("p3")
    assert world.tags("policy") == {"web": 3}
    world.port("p1", port_security_enabled=False)
    assert (world.policies(), world.tags("policy")) == ([], {})
    world.port("p1", "db", "web")
    assert world.tags("policy") == {"db,web": 4}


# --- generations


def test_a_rule_that_goes_is_a_new_generation_and_one_that_comes_is_not(world: World) -> None:
    world.group("web", allow("a"), allow("b", protocol="tcp"))
    assert world.get("web").narrowed == 0
    world.remove("a")
    assert world.get("web").narrowed == 1
    world.remove("b")
    assert world.get("web").narrowed == 2
    world.commit(lambda tx: security.add_rule(tx, allow("c")))
    assert world.get("web").narrowed == 2


def test_addresses_that_members_lose_are_a_new_generation_where_rules_name_the_group(world: World) -> None:
    world.group("web")
    world.group("db", allow("r", "db", remote_group_id="web"))
    pair = AddressPair(Mac("02:00:00:00:00:02"), Cidr("10.1.0.0/16"))
    world.port("p1", "web", addresses=["10.0.0.1", "10.0.0.2"], allowed_address_pairs=(pair,))

    def seen() -> tuple[int, int]:
        return world.get("web").members_narrowed, world.get("db").members_narrowed

    world.port("p1", "web", addresses=["10.0.0.1", "10.0.0.2", "10.0.0.3"], allowed_address_pairs=(pair,))
    assert seen() == (0, 0), "more addresses"
    world.port("p1", "web", addresses=["10.0.0.1", "10.0.0.2"], allowed_address_pairs=(pair,))
    assert seen() == (1, 0), "one address less"
    world.port("p1", "web", addresses=["10.0.0.1", "10.0.0.2"])
    assert seen() == (2, 0), "one pair less"
    world.port("p1", "web", "db", addresses=["10.0.0.1", "10.0.0.2"], name="n")
    assert seen() == (2, 0), "one group more"
    world.port("p1", "db", addresses=["10.0.0.1", "10.0.0.2"])
    assert seen() == (3, 0), "not in the group any more"
    world.port("p1", "web", addresses=["10.0.0.1"])
    world.no_port("p1")
    assert seen() == (4, 0), "db is named by no rule"
    world.port("p2", "web")
    world.no_port("p2")
    assert seen() == (4, 0), "a port without addresses"


def test_blocks_that_an_address_group_loses_are_a_new_generation(world: World) -> None:
    def put(*addresses: str) -> int:
        def work(tx: Transaction) -> None:
            old = tx.get(AddressGroup, "a") or tx.insert(AddressGroup(id="a"))
            security.put_addresses(tx, old, replace(old, addresses=tuple(map(Cidr, addresses))))

        world.commit(work)
        found = world.model.get(AddressGroup, "a")
        assert found is not None
        assert found.addresses == addresses
        return found.narrowed

    assert [put("10.0.0.0/8"), put("10.1.0.0/16", "10.0.0.0/8"), put("10.1.0.0/16"), put(), put()] == [0, 0, 1, 2, 2]


# --- zones


def plug(world: World, *ports: str) -> None:
    seen = Hypervisor(
        system_id="hv1",
        hostname="",
        encap_ip=None,
        encap_types=(),
        bridge="br-int",
        datapath_type="",
        bridge_mappings=(),
        gateway_priority=None,
        datapath_id=1,
        claims=tuple(Claim(f"tap-{port}", port) for port in ports),
    )
    world.commit(lambda tx: observe(tx, seen))


def zone(world: World, port: str) -> int:
    (binding,) = world.model.where(Binding, port_id=port)
    return binding.zone


def test_connections_are_forgotten_when_a_port_goes_or_is_tracked_no_more(world: World) -> None:
    world.group("web")
    world.group("app")
    world.group("raw", stateful=False)
    world.port("p1", "web")
    world.port("p2", "web")
    plug(world, "p1", "p2")
    assert (zone(world, "p1"), zone(world, "p2")) == (1, 2)
    zones = []
    steps: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
        (("web", "app"), {}),
        ((), {}),
        (("raw",), {}),
        ((), {"port_security_enabled": False}),
        (("web",), {}),
        ((), {"port_security_enabled": False}),
    )
    for groups, more in steps:
        world.port("p1", *groups, **more)
        zones.append(zone(world, "p1"))
    assert zones == [1, 1, 3, 3, 3, 4]
    world.no_port("p1")
    assert zone(world, "p1") == 5
    assert zone(world, "p2") == 2
    assert [each.zone for each in world.model.all(Quarantine)] == [1, 3, 4]


# --- any history


GROUPS = st.sampled_from(["g0", "g1", "g2"])
PORTS = st.sampled_from(["p0", "p1", "p2"])
BLOCKS = st.sets(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]))
REMOTES = st.sampled_from(
    [
        {},
        {"remote_ip_prefix": "10.0.0.1/8"},
        {"remote_ip_prefix": "0.0.0.0/0"},
        {"remote_group_id": "g0"},
        {"remote_group_id": "g1"},
        {"remote_address_group_id": "a"},
    ]
)


class AnyHistory(RuleBasedStateMachine):
    """Bundles and policies are those that are needed, and whatever is allowed no more is judged again."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.commit(lambda tx: tx.insert(AddressGroup(id="a")))
        self.made = 0
        self.before = self.allowed()

    @property
    def model(self) -> Model:
        return self.world.model

    def exists(self, *ids: str | None) -> bool:
        return all(id is None or self.model.get(SecurityGroup, id) is not None for id in ids)

    @rule(id=GROUPS, stateful=st.booleans())
    def make_group(self, id: str, stateful: bool) -> None:
        if not self.exists(id):
            self.world.commit(lambda tx: security.make_group(tx, SecurityGroup(id=id, stateful=stateful)))

    @rule(id=GROUPS)
    def remove_group(self, id: str) -> None:
        if self.exists(id) and not self.model.where(Port, groups=id):
            self.world.commit(lambda tx: security.remove_group(tx, tx.need(SecurityGroup, id)))

    @rule(
        group=GROUPS,
        direction=st.sampled_from(["ingress", "egress"]),
        protocol=st.sampled_from([None, "tcp", "17"]),
        remote=REMOTES,
    )
    def add_rule(self, group: str, direction: str, protocol: str | None, remote: dict[str, str]) -> None:
        if self.exists(group, remote.get("remote_group_id")):
            self.made += 1
            new = allow(f"r{self.made}", group, direction=direction, protocol=protocol, **remote)
            self.world.commit(lambda tx: security.add_rule(tx, new))

    @precondition(lambda self: self.model.all(SecurityGroupRule))
    @rule(which=st.integers(0, 99))
    def remove_rule(self, which: int) -> None:
        rules = sorted(self.model.all(SecurityGroupRule), key=lambda each: (each.bundle, each.id))
        self.world.remove(rules[which % len(rules)].id)

    @rule(id=PORTS, groups=st.lists(GROUPS, unique=True), last=st.sets(st.integers(1, 3)), guarded=st.booleans())
    def put_port(self, id: str, groups: list[str], last: set[int], guarded: bool) -> None:
        kept = [group for group in groups if guarded and self.exists(group)]
        addresses = [f"10.0.0.{each}" for each in sorted(last)]
        self.world.port(id, *kept, addresses=addresses, port_security_enabled=guarded)

    @rule(id=PORTS)
    def delete_port(self, id: str) -> None:
        if self.model.get(Port, id) is not None:
            self.world.no_port(id)

    @rule(blocks=BLOCKS)
    def put_addresses(self, blocks: set[str]) -> None:
        def work(tx: Transaction) -> None:
            old = tx.need(AddressGroup, "a")
            security.put_addresses(tx, old, replace(old, addresses=tuple(map(Cidr, sorted(blocks)))))

        self.world.commit(work)

    @invariant()
    def bundles_are_those_of_the_rules(self) -> None:
        wanted = {
            rule.bundle: Bundle(
                id=rule.bundle,
                security_group_id=rule.security_group_id,
                direction=rule.direction,
                ethertype=rule.ethertype,
                any_protocol=rule.protocol is None,
                remote_ip_prefix=rule.normalized_cidr,
                remote_group_id=rule.remote_group_id,
                remote_address_group_id=rule.remote_address_group_id,
            )
            for rule in self.model.all(SecurityGroupRule)
        }
        assert {bundle.id: bundle for bundle in self.model.all(Bundle)} == wanted
        assert self.world.tags("bundle").keys() == wanted.keys()

    @invariant()
    def policies_are_those_of_the_ports(self) -> None:
        wanted = {port.policy: port.groups for port in self.model.all(Port) if port.policy != UNGUARDED}
        assert {policy.id: policy.members for policy in self.model.all(Policy)} == wanted
        assert self.world.tags("policy").keys() == wanted.keys()

    @invariant()
    def rules_name_groups_that_exist(self) -> None:
        for each in self.model.all(SecurityGroupRule):
            assert self.exists(each.security_group_id, each.remote_group_id)

    @invariant()
    def what_is_allowed_no_more_is_judged_again(self) -> None:
        after = self.allowed()
        for group, (allowed, generation) in self.before.items():
            if group in after:
                assert after[group][1] >= generation
                assert after[group][1] > generation or allowed <= after[group][0]
        self.before = after

    def allowed(self) -> dict[str, tuple[set[tuple[str, str, str | None, str]], int]]:
        """What the rules of each group allow, a peer at a time, and the generation that its ports are under."""
        return {
            group.id: (
                {
                    (rule.direction, rule.ethertype, rule.protocol, peer)
                    for rule in self.model.where(SecurityGroupRule, security_group_id=group.id)
                    for peer in self.peers(rule)
                },
                max([group.narrowed, *self.narrowed(group)]),
            )
            for group in self.model.all(SecurityGroup)
        }

    def peers(self, rule: SecurityGroupRule) -> Iterable[str]:
        if rule.remote_group_id is not None:
            return {each for port in self.model.where(Port, groups=rule.remote_group_id) for each in port.addresses}
        if rule.remote_address_group_id is not None:
            (group,) = self.model.all(AddressGroup)
            return group.addresses
        return [rule.normalized_cidr or "any"]

    def narrowed(self, group: SecurityGroup) -> Iterable[int]:
        for bundle in self.model.where(Bundle, security_group_id=group.id):
            if bundle.remote_group_id is not None:
                yield self.world.get(bundle.remote_group_id).members_narrowed
            if bundle.remote_address_group_id is not None:
                yield self.model.all(AddressGroup)[0].narrowed


TestAnyHistory = AnyHistory.TestCase

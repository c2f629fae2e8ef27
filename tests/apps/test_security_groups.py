"""Security groups in flows: how few they are, what a change costs, and that nothing is left behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flows.action import Table
from controller.flows.fields import (
    CT_NW_SRC,
    CT_PROTO4,
    CT_TP_DST,
    CT_ZONE,
    ETH_DST,
    ETH_SRC,
    FRAGMENT,
    IPV4_FRAG,
    SYN,
    TCP_FLAGS,
    cover,
    ct_state,
)
from controller.flows.match import Match
from controller.flows.packet import packet
from controller.flows.pipeline import (
    CHECKED,
    CT_GEN,
    CT_POLICY,
    DIRECTION,
    DST,
    EGRESS,
    GUARD,
    IN_RULES,
    INGRESS,
    OUT_RULES,
    POLICY,
    VERDICT,
    ZONE,
    Guard,
    Verdict,
    Why,
)
from controller.flows.trace import Committed, Switch, trace, translate
from controller.model import security
from controller.model.records import Address, Mac, SecurityGroup
from tests.cloud import Allowed, Cloud, address_group, egress, group, hypervisor, ingress, network, no_port, port

TCP80 = ingress("tcp", 80, remote_group_id="web")
VIRTUAL = "02:00:00:00:00:99"


def web(*allowed: Allowed) -> Cloud:
    """Network red; vm1 and vm2 on hv1, vm3 on hv2, all in group web (policy 1) that allows this."""
    cloud = Cloud()
    cloud.commit(network("red", 100), address_group("ag", "10.0.0.3/32"), group("web", *allowed))
    for last in (1, 2, 3):
        cloud.commit(port(f"vm{last}", "red", f"02:00:00:00:00:0{last}", f"10.0.0.{last}", groups=["web"]))
    cloud.commit(hypervisor(1, "vm1", "vm2"), hypervisor(2, "vm3"))
    return cloud


def own(cloud: Cloud, chassis: str = "hv1") -> list[str]:
    """The flows of groups, without those that are the same on every hypervisor whatever the model."""
    same = Cloud()
    same.commit(hypervisor(1))
    return sorted(set(cloud.flows(chassis, "security_groups")) - set(same.flows("hv1", "security_groups")))


def judging(cloud: Cloud) -> list[str]:
    """Those of them on hv1 that have to do with what is allowed: all but table GIVEN_BACK's."""
    return [text for text in own(cloud) if "table=19" not in text]


def test_a_rule_is_a_flow_a_policy_a_flow_a_member_and_a_flow_a_service() -> None:
    assert judging(web(TCP80)) == [
        "table=14,priority=50,conj_id=1 actions=load:0x1->NXM_NX_REG0[8..9],set_field:0x1->reg8",
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_proto=6,ct_tp_dst=80 actions=conjunction(1,3/3)",
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.1 actions=conjunction(1,2/3)",
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.2 actions=conjunction(1,2/3)",
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.3 actions=conjunction(1,2/3)",
        "table=14,priority=50,ip,ct_state=-inv+trk,ip_frag=later,ct_nw_proto=6 actions=conjunction(1,3/3)",
        "table=14,priority=50,reg0=0x400/0x400,reg11=0x1 actions=conjunction(1,1/3)",
        "table=16,priority=100,reg10=0x1 actions=load:0x1->NXM_NX_REG3[0..15],set_field:0x1->reg11,resubmit(,17)",
        "table=16,priority=100,reg10=0x2 actions=load:0x2->NXM_NX_REG3[0..15],set_field:0x1->reg11,resubmit(,17)",
        "table=17,priority=100,reg11=0x1 actions=load:0x0->NXM_NX_REG5[0..27],load:0x2->NXM_NX_REG0[12..13]",
        "table=18,priority=110,reg11=0x1,ct_mark=0x0/0xfffffff,ct_label=0x100000000/0xffffffff00000000 actions=load:0x2->NXM_NX_REG0[8..9]",
    ]


def test_what_allows_everything_needs_no_conjunction() -> None:
    cloud = web(egress(), egress(ethertype="IPv6"))
    assert [text for text in own(cloud) if "table=14" in text] == [
        "table=14,priority=60,ip,reg0=0x0/0x400,reg11=0x1 actions=load:0x1->NXM_NX_REG0[8..9],set_field:0x1->reg8",
        "table=14,priority=60,ipv6,reg0=0x0/0x400,reg11=0x1 actions=load:0x1->NXM_NX_REG0[8..9],set_field:0x2->reg8",
    ]


def test_a_group_that_is_deleted_fails_nowhere_on_its_way_out(caplog: pytest.LogCaptureFixture) -> None:
    """A remote of its rules goes only after the group: whether that was stateful is asked for nobody any more."""
    cloud = web()
    before = own(cloud)
    cloud.commit(group("bare", ingress("tcp", 80, remote_address_group_id="ag"), stateful=False))
    cloud.commit(lambda tx: security.remove_group(tx, tx.need(SecurityGroup, "bare")))
    assert own(cloud) == before
    assert cloud.engine.failures == {}
    assert caplog.records == []


def test_two_groups_that_allow_everything_do_not_quarrel() -> None:
    cloud = web(egress())
    cloud.commit(group("other", egress()))
    cloud.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["web", "other"]))
    assert cloud.engine.conflicts == {}
    assert cloud.engine.failures == {}


def test_of_fragments_that_conntrack_gives_back_only_the_ports_own_go_on() -> None:
    """Those that it sends, from any of its MACs; and those for it or for a group. Three flows a port, and two more a
    MAC of its address pairs."""
    flows = web().flows("hv1", "security_groups")
    vm1 = "ct_zone=1,reg0={},reg10=0x1 actions=load:0x1->NXM_NX_REG0[14..15]"
    into, out = vm1.format("0x400/0x400"), vm1.format("0x0/0x400")
    assert sorted(text for text in flows if "table=19" in text and "reg10=0x1" in text) == [
        f"table=19,priority=100,eth_dst=01:00:00:00:00:00/01:00:00:00:00:00,{into}",
        f"table=19,priority=100,eth_dst=02:00:00:00:00:01,{into}",
        f"table=19,priority=100,eth_src=02:00:00:00:00:01,{out}",
    ]
    cloud = web()
    cloud.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["web"], pairs=[(VIRTUAL, "10.0.0.99")]))
    more = set(cloud.flows("hv1", "security_groups")) - set(flows)
    assert {f"table=19,priority=100,eth_dst={VIRTUAL},{into}", f"table=19,priority=100,eth_src={VIRTUAL},{out}"} <= more


@pytest.mark.parametrize("verdict", [Verdict.DENIED, Verdict.CURRENT], ids=["looked_up", "remembered"])
@pytest.mark.parametrize(
    ("table", "zone", "source", "target", "is_own"),
    [
        (OUT_RULES, 1, "vm1", "vm2", True),
        (OUT_RULES, 2, "vm1", "vm2", False),
        (OUT_RULES, 1, "vm2", "vm1", False),
        (IN_RULES, 1, "vm2", "vm1", True),
        (IN_RULES, 2, "vm2", "vm1", False),
        (IN_RULES, 1, "vm1", "vm2", False),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else str(value),
)
def test_a_fragment_of_another_zone_or_another_way_goes_nowhere(
    table: Table, zone: int, source: str, target: str, is_own: bool, verdict: Verdict
) -> None:
    """Conntrack of user space gives such ones back, with the registers of the port that asked, here vm1."""
    macs = {name: Mac(f"02:00:00:00:00:0{last}") for last, name in enumerate(("vm1", "vm2"), start=1)}
    asked = (CHECKED(1), VERDICT(verdict), DIRECTION(EGRESS if table is OUT_RULES else INGRESS))
    said = (ct_state("+trk+new"), CT_ZONE(zone), ETH_SRC(macs[source]), ETH_DST(macs[target]), IPV4_FRAG(FRAGMENT, 3))
    whys = trace(Switch.of(web().engine.desired("hv1")), packet(*asked, *said), table=table).whys
    assert (Why.FOREIGN_FRAGMENT not in whys) == is_own


def test_without_a_group_nothing_is_allowed() -> None:
    cloud = Cloud()
    cloud.commit(network("red", 100), port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1"), hypervisor(1, "vm1"))
    assert judging(cloud) == [
        "table=16,priority=100,reg10=0x1 actions=load:0x1->NXM_NX_REG3[0..15],set_field:0x1->reg11,resubmit(,17)",
        "table=17,priority=100,reg11=0x1 actions=load:0x0->NXM_NX_REG5[0..27],load:0x2->NXM_NX_REG0[12..13]",
        "table=18,priority=110,reg11=0x1,ct_mark=0x0/0xfffffff,ct_label=0x100000000/0xffffffff00000000 actions=load:0x2->NXM_NX_REG0[8..9]",
    ]


def test_a_port_without_port_security_asks_nobody() -> None:
    cloud = Cloud()
    vm1 = port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", guarded=False)
    cloud.commit(network("red", 100), vm1, hypervisor(1, "vm1"))
    assert own(cloud) == ["table=16,priority=100,reg10=0x1 actions=load:0x1->NXM_NX_REG0[12..13]"]


def test_stateless_rules_are_tested_on_each_packet() -> None:
    cloud = Cloud()
    icmp = ingress("icmp", 8, 0, ethertype="IPv4")
    cloud.commit(
        network("red", 100), group("bare", ingress("udp", 53, remote_ip_prefix="10.0.0.0/8"), icmp, stateful=False)
    )
    cloud.commit(port("vm1", "red", "02:00:00:00:00:01", "10.0.0.1", groups=["bare"]), hypervisor(1, "vm1"))
    assert [text for text in own(cloud) if "table=14" in text and "conj_id" not in text] == [
        "table=14,priority=50,ip,nw_proto=1,icmp_type=8,icmp_code=0 actions=conjunction(1,2/2)",
        "table=14,priority=50,ip,nw_proto=1,ip_frag=later actions=conjunction(1,2/2)",
        "table=14,priority=50,ip,nw_proto=17,ip_frag=later actions=conjunction(2,3/3)",
        "table=14,priority=50,ip,nw_proto=17,udp_dst=53 actions=conjunction(2,3/3)",
        "table=14,priority=50,ip,nw_src=10.0.0.0/255.0.0.0 actions=conjunction(2,2/3)",
        "table=14,priority=50,reg0=0x400/0x400,reg11=0x1 actions=conjunction(1,1/2),conjunction(2,1/3)",
    ]
    assert "table=17,priority=100,reg11=0x1 actions=load:0x0->NXM_NX_REG5[0..27],load:0x3->NXM_NX_REG0[12..13]" in own(
        cloud
    )


def test_fragments_behind_what_was_remembered_are_judged_by_what_is() -> None:
    """Eight flows a hypervisor; what is no fragment meets none of them."""
    again = "load:0x0->NXM_NX_REG0[8..9],resubmit(,17),resubmit(,18),goto_table:46"
    alone = "load:0x0->NXM_NX_REG0[8..9],load:0x3->NXM_NX_REG0[12..13],resubmit(,18),goto_table:46"
    assert [text for text in web().flows("hv1", "security_groups") if "table=45" in text and "reg0=0x4" in text] == [
        f"table=45,priority=115,ct_state=-inv+trk,reg0=0x4200/0xc200 actions={again}",
        f"table=45,priority=117,ip,ct_state=-inv+trk,ct_nw_proto=132,reg0=0x4200/0xc200 actions={alone}",
        f"table=45,priority=117,ipv6,ct_state=-inv+trk,ct_nw_proto=132,reg0=0x4200/0xc200 actions={alone}",
        "table=45,priority=127,ct_state=+inv+trk,reg0=0x4000/0xc000 actions=set_field:0x1b->reg8,goto_table:62",
    ]


KEPT = ("+trk+new", CT_POLICY(1))
"""What conntrack says of what it was just told to remember, under the policy of `web`."""


@pytest.mark.parametrize(
    ("state", "known", "port", "part", "why"),
    [
        (*KEPT, 81, 1, None),
        (*KEPT, 0, FRAGMENT, None),
        ("+trk+new", CT_POLICY(0), 81, 1, Why.INGRESS_DENIED),
        ("+trk+est", CT_POLICY(1) & CT_GEN(7), 81, 1, Why.INGRESS_CUT),
        ("+trk+est", CT_POLICY(2), 81, 1, Why.INGRESS_CUT),
        ("+trk+inv", CT_POLICY(1), 80, 1, Why.NOT_TRACKED),
    ],
    ids=["kept", "kept_later", "denied", "of_before", "of_others", "too_late"],
)
@pytest.mark.parametrize("verdict", [Verdict.CURRENT, Verdict.ANEW])
def test_a_fragment_that_comes_back_with_what_is_remembered_passes_only_if_its_own_connection_is(
    state: str, known: Match, port: int, part: int, why: Why | None, verdict: Verdict
) -> None:
    """Conntrack of user space gives back, behind `ct(commit)`, those of whatever datagram found no room before."""
    asked = (CHECKED(1), POLICY(1), DST(1), VERDICT(verdict), DIRECTION(INGRESS), GUARD(Guard.STATEFUL), TCP_FLAGS(SYN))
    said = (known, CT_ZONE(1), CT_NW_SRC(Address("10.0.0.2")), CT_PROTO4(6), CT_TP_DST(port), ct_state(state))
    frame = packet(*asked, *said, ETH_DST(Mac("02:00:00:00:00:01"))).put(IPV4_FRAG, part)
    traced = trace(Switch.of(web(TCP80).engine.desired("hv1")), frame, table=IN_RULES)
    assert traced.whys == ({why} if why is not None else set())


def test_what_comes_back_before_it_was_remembered_is_remembered_first() -> None:
    asked = (
        CHECKED(1),
        POLICY(1),
        DST(1),
        ZONE(1),
        VERDICT(Verdict.CURRENT),
        DIRECTION(INGRESS),
        GUARD(Guard.STATEFUL),
    )
    said = (CT_ZONE(1), CT_NW_SRC(Address("10.0.0.2")), CT_PROTO4(6), CT_TP_DST(80), ct_state("+trk+new"))
    frame = packet(*asked, *said, ETH_DST(Mac("02:00:00:00:00:01"))).put(IPV4_FRAG, 1)
    done = translate(Switch.of(web(TCP80).engine.desired("hv1")), frame, IN_RULES)
    assert [type(effect) for effect in done.effects] == [Committed]


def test_sctp_by_ports_is_tested_on_each_packet_where_conntrack_reads_no_ports_of_it() -> None:
    cloud = web(ingress("sctp", 3000, 3001))
    assert [text for text in own(cloud) if "nw_proto=132" in text] == [
        "table=14,priority=50,ip,ct_state=+rel-inv+trk,ct_nw_proto=132,ct_tp_dst=0 actions=conjunction(1,2/2)",
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_proto=132,ct_tp_dst=3000/65534 actions=conjunction(1,2/2)",
        "table=14,priority=50,ip,ct_state=-inv+trk,ip_frag=later,ct_nw_proto=132 actions=conjunction(1,2/2)",
        "table=14,priority=50,ip,nw_proto=132,ct_state=+rpl-inv+trk,sctp_src=3000/65534,ct_nw_proto=132,ct_tp_dst=0 actions=conjunction(1,2/2)",
        "table=14,priority=50,ip,nw_proto=132,ct_state=-rpl-inv+trk,sctp_dst=3000/65534,ct_nw_proto=132,ct_tp_dst=0 actions=conjunction(1,2/2)",
    ]
    cloud.commit(group("web", ingress("sctp")))
    assert [text for text in own(cloud) if "nw_proto=132" in text] == [
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_proto=132 actions=conjunction(1,2/2)"
    ]


def test_such_sctp_is_remembered_under_no_policy_and_so_never_taken_for_current() -> None:
    found = [text for text in web().flows("hv1", "security_groups") if "table=46,priority=95,ip," in text]
    assert [text.partition("exec(")[2] for text in found] == [
        "move:NXM_NX_REG8[]->NXM_NX_CT_LABEL[0..31]))",
        "move:NXM_NX_REG8[]->NXM_NX_CT_LABEL[0..31],move:NXM_NX_REG1[]->NXM_NX_CT_LABEL[64..95]))",
    ]
    assert [text.partition(" ")[0] for text in found] == [
        "table=46,priority=95,ip,ct_state=+est-inv+trk,ct_nw_proto=132,ct_tp_dst=0,reg0=0x100/0x300",
        "table=46,priority=95,ip,ct_state=+new-inv+trk,ct_nw_proto=132,ct_tp_dst=0,reg0=0x100/0x300",
    ]


def test_one_member_more_is_one_flow_on_each_hypervisor_that_asks() -> None:
    cloud = web(TCP80)
    cloud.commit(port("vm4", "red", "02:00:00:00:00:04", "10.0.0.4", groups=["web"]))
    member = "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.4 actions=conjunction(1,2/3)"
    assert {chassis: cloud.sent(chassis) for chassis in cloud.delta} == {"hv1": [member], "hv2": [member]}
    cells = [name for name in cloud.engine.log if name.startswith("security_groups.") and "remote" in name]
    assert cells == ["security_groups.remote[web/ingress/IPv4/some/web 10.0.0.4]"]


def test_a_member_that_leaves_is_judged_anew_by_two_flows_a_policy() -> None:
    cloud = web(TCP80)
    cloud.commit(no_port("vm3"))
    assert [text for text in cloud.sent("hv1") if "table=17" in text or "table=18" in text or "14" in text] == [
        "- 14",
        "table=17,priority=100,reg11=0x1 actions=load:0x1->NXM_NX_REG5[0..27],load:0x2->NXM_NX_REG0[12..13]",
        "table=18,priority=110,reg11=0x1,ct_mark=0x1/0xfffffff,ct_label=0x100000000/0xffffffff00000000 actions=load:0x2->NXM_NX_REG0[8..9]",
    ]


def test_a_rule_more_judges_nothing_anew() -> None:
    cloud = web(TCP80)
    cloud.commit(group("web", TCP80, ingress("tcp", 443, remote_group_id="web")))
    assert cloud.sent("hv2") == [
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_proto=6,ct_tp_dst=443 actions=conjunction(1,3/3)"
    ]


def test_a_rule_less_takes_its_flow_and_makes_a_new_generation() -> None:
    cloud = web(TCP80, ingress("tcp", 443, remote_group_id="web"))
    cloud.commit(group("web", TCP80))
    assert [text for text in cloud.sent("hv2") if not text.startswith("table=18")] == [
        "- 14",
        "- 18",
        "table=17,priority=100,reg11=0x1 actions=load:0x1->NXM_NX_REG5[0..27],load:0x2->NXM_NX_REG0[12..13]",
    ]


def test_the_last_port_of_a_group_takes_all_its_flows_along() -> None:
    cloud = web(TCP80, ingress("udp", remote_address_group_id="ag"), egress())
    cloud.commit(address_group("ag", "10.9.0.0/16"))
    assert any("10.9.0.0" in text for text in own(cloud, "hv2"))
    cloud.commit(hypervisor(2))
    assert own(cloud, "hv2") == []


def test_an_address_of_two_groups_stays_while_one_of_them_has_it() -> None:
    cloud = web(TCP80, ingress("udp", 53, remote_address_group_id="ag"))
    named = [text for text in own(cloud) if "10.0.0.3" in text]
    assert named == [
        "table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.3 actions=conjunction(1,2/3),conjunction(2,2/3)"
    ]
    cloud.commit(address_group("ag"))
    named = [text for text in own(cloud) if "10.0.0.3" in text]
    assert named == ["table=14,priority=50,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.3 actions=conjunction(2,2/3)"]


PORTS = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)).map(sorted)


@given(PORTS, st.lists(st.integers(0, 0xFFFF), max_size=20))
def test_masks_cover_a_range_exactly(ends: list[int], probes: list[int]) -> None:
    first, last = ends
    blocks = [*cover(first, last)]
    assert len(blocks) <= 30
    assert sum(0x10000 - mask for _, mask in blocks) == last - first + 1
    for probe in (*probes, first, last, first - 1, last + 1):
        assert any(probe & mask == value for value, mask in blocks if 0 <= probe <= 0xFFFF) == (first <= probe <= last)


# ---- the budget -----------------------------------------------------------------------------------------------

SERVICES = st.sampled_from(
    [
        ("tcp", 22, None),
        ("tcp", 80, 90),
        ("udp", 53, None),
        ("sctp", 3868, None),
        ("icmp", 8, 0),
        ("47", None, None),
        (None, None, None),
    ]
)
REMOTES = st.sampled_from(
    [
        {},
        {"remote_group_id": "g0"},
        {"remote_group_id": "g1"},
        {"remote_ip_prefix": "10.0.0.0/8"},
        {"remote_address_group_id": "ag"},
    ]
)
RULES = st.builds(
    lambda way, service, remote: way(*service, **remote), st.sampled_from([ingress, egress]), SERVICES, REMOTES
)


@given(
    st.lists(RULES, max_size=8, unique_by=repr),
    st.lists(RULES, max_size=8, unique_by=repr),
    st.lists(st.sampled_from([(), ("g0",), ("g1",), ("g0", "g1")]), min_size=1, max_size=8),
)
def test_flows_add_up_and_never_multiply(
    one: list[Allowed], other: list[Allowed], ports: list[tuple[str, ...]]
) -> None:
    """At most 4 P ports + 8 S policies + M remotes + L services + R bundles, one of SCTP by ports three; see docs/security-groups.md."""
    cloud = Cloud()
    cloud.commit(network("red", 100), address_group("ag", "192.0.2.0/24"), group("g0", *one), group("g1", *other))
    for last, groups in enumerate(ports, start=1):
        cloud.commit(port(f"vm{last}", "red", f"02:00:00:00:00:{last:02x}", f"10.0.0.{last}", groups=groups))
    cloud.commit(hypervisor(1, *(f"vm{last}" for last in range(1, len(ports) + 1))))
    assert cloud.engine.failures == {}
    assert cloud.engine.conflicts == {}

    present = {name for groups in ports for name in groups}
    rules = [(name, rule) for name, rules in (("g0", one), ("g1", other)) if name in present for rule in rules]
    members = {
        name: {f"10.0.0.{n}" for n, groups in enumerate(ports, start=1) if name in groups} for name in ("g0", "g1")
    }
    remotes = {
        (rule["direction"], address)
        for _, rule in rules
        for address in (
            *members.get(str(rule.get("remote_group_id")), ()),
            *([str(rule["remote_ip_prefix"])] if "remote_ip_prefix" in rule else ()),
            *(["192.0.2.0/24"] if "remote_address_group_id" in rule else ()),
        )
    }
    services = sum(
        {"tcp": 1, "udp": 1, "icmp": 1, "47": 1, "sctp": 3}[str(name)] if first != 80 else len([*cover(80, 90)])
        for name, first in {(rule["protocol"], rule["port_range_min"]) for _, rule in rules if rule["protocol"]}
    )
    portless = {rule["protocol"] for _, rule in rules if rule["port_range_min"] is not None}
    bundles = {
        (name, rule["direction"], rule["protocol"] is None, *sorted(map(str, rule.items()))[-1:])
        for name, rule in rules
    }
    policies = set(ports)
    assert len(own(cloud)) <= 4 * len(ports) + 8 * len(policies) + len(remotes) + services + len(portless) + (
        "sctp" in portless
    ) + len(bundles)


def test_only_a_port_that_asks_conntrack_cuts_connections() -> None:
    """Before a stateless receiver, a packet may still bear what conntrack said of it in its sender's zone."""
    assert [text for text in web().flows("hv1", "security_groups") if "table=46,priority=80" in text] == [
        "table=46,priority=80,ct_state=+est+trk,reg0=0x2000/0x3300 actions=set_field:0x21->reg8,goto_table:62",
    ]

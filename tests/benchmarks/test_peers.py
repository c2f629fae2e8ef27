"""What the benchmark beside OVN makes of what it measured, and of the paths that it forwards over."""

import pytest

from tests.benchmarks.peers.driver import GUESTS, TENANT, Spot, halves, own, spots
from tests.benchmarks.peers.plane import Lookup, Way, passes
from tests.benchmarks.peers.steps import Line
from tests.benchmarks.peers.table import tables, within


def changed(peer: str, ports: int, ms: float, others: float) -> Line:
    return Line("change", peer, ports, "all", "rule added", {"ms": ms}, others)


def test_a_table_compares_medians_and_says_what_is_wanted() -> None:
    lines = [changed("ovn", 3000, ms, 0.1) for ms in (900, 1000, 5000)] + [changed("weft", 3000, 40, 0.02)]
    assert tables(lines, ["plane: no time was left"]).splitlines() == [
        "| ports | measured | OVN | Weft | Weft/OVN | wanted |  | others |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 3000 all | rule added, ms | 1,000 | 40 | 1/25 | ≤ 1/20 | yes | 10 / 2 % |",
        "",
        "* Not measured: plane: no time was left",
    ]


def test_a_change_that_takes_longer_in_a_larger_cloud_is_told() -> None:
    lines = [changed("weft", 100, 8, 0.0), changed("weft", 3000, 16, 0.0)]
    assert tables(lines, []).splitlines()[-1] == "| rule added | 8 ms | 16 ms | 2 | ≤ 1.5 | **no** |"


def forwarded(peer: str, figure: str, *values: float) -> list[Line]:
    """What each round found of a path."""
    return [Line("plane", peer, 100, "few", "across", {"round": n, figure: value}) for n, value in enumerate(values)]


def judgement(figure: str, ovn: list[float], weft: list[float], bare: list[float]) -> list[str]:
    """The row of that figure."""
    lines = [line for peer, values in zip(("ovn", "weft", "bare"), (ovn, weft, bare), strict=True)
             for line in forwarded(peer, figure, *values)]  # fmt: skip
    return [cell.strip() for cell in tables(lines, []).splitlines()[-1].split("|")[1:-1]]


def test_forwarding_is_compared_round_by_round_with_the_other_and_with_a_bare_pipeline() -> None:
    # a machine that gets slower changes no quotient, and medians of their own would say 30/20 here
    assert judgement("CPU s/GB", [10, 20, 40], [9, 30, 36], [8, 25, 32]) == [
        "across", "CPU s/GB", "20", "30", "25", "0.90 (0.90 to 1.50)", "1.12 (1.12 to 1.20)", "≤ 1, ≤ 1.05", "open",
        "0 / 0 / 0 %",
    ]  # fmt: skip


def test_a_figure_is_missed_only_when_it_can_be_told_from_one_that_is_not() -> None:
    even, dearer = [10.0] * 6, [10.0, 10.1, 10.1, 10.1, 10.2, 9.9]
    assert judgement("CPU s/GB", even, even, even)[-2] == "yes"
    assert judgement("CPU s/GB", even, dearer, even)[-2] == "open"
    assert judgement("CPU s/GB", even, [10.1] * 6, even)[-2] == "**no**"
    assert judgement("CPU s/GB", even[1:], [10.1] * 5, even[1:])[-2] == "open"
    assert judgement("connections/s", even, [9.9] * 6, even)[-2] == "**no**"
    assert judgement("connections/s", even, [10.1] * 6, even)[-2] == "yes"


def test_rounds_that_only_one_of_them_has_are_compared_with_none() -> None:
    lines = [*forwarded("ovn", "CPU s/GB", 1, 2), *forwarded("weft", "CPU s/GB", 1), *forwarded("bare", "CPU s/GB", 1)]
    assert "1.00 (1.00 to 1.00)" in tables(lines, []).splitlines()[-1]


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 0, 0), (3, 0, 2), (5, 0, 4), (6, 0, 5), (8, 0, 7), (9, 1, 7), (12, 2, 9), (15, 3, 11)],
)
def test_a_median_lies_between_the_values_that_a_table_of_the_binomial_distribution_names(
    count: int, low: int, high: int
) -> None:
    """Conover, Practical Nonparametric Statistics, section 3.2: of few values, all that there are."""
    assert within([float(n) for n in range(count)]) == (low, high)


def test_passes_are_told_each_way_whatever_the_traffic_was() -> None:
    """As Open vSwitch 3.1.0 says it, of a guest that sent to another hypervisor and was answered."""
    common = "packet_type(ns=0,id=0),eth_type(0x0800),ipv4(frag=no)"
    tunnel = "tunnel(tun_id=0x1,src=192.0.2.12,dst=192.0.2.11,geneve(),flags(-df-csum+key)),"
    onto = "tnl_push(tnl_port(genev_sys_6081),header(size=50,type=5),out_port(br-phy)),phy0"
    assert passes(
        [
            "flow-dump from the main thread:",
            f"ct_state(-trk),recirc_id(0),in_port(tap0),{common}, packets:9000, bytes:1, actions:ct(zone=1),recirc(0x1)",
            f"ct_state(+trk),recirc_id(0x1),in_port(tap0),{common}, packets:9000, bytes:1, actions:{onto}",
            f"recirc_id(0),in_port(phy0),{common}, packets:2000, bytes:1, actions:tnl_pop(genev_sys_6081)",
            f"{tunnel}recirc_id(0),in_port(genev_sys_6081),{common}, packets:2000, bytes:1, actions:ct(zone=1),recirc(0x2)",
            f"{tunnel}recirc_id(0x2),in_port(genev_sys_6081),{common}, packets:2000, bytes:1, actions:tap0",
            f"recirc_id(0),in_port(wire0),{common}, packets:10, bytes:1, actions:drop",
        ]
    ) == {"tap0": 2, "phy0": 3}


def test_a_bare_pipeline_translates_a_new_connection_and_follows_a_known_one() -> None:
    way = Way("in_port=tap", (Lookup(1), Lookup(2, "src=192.0.2.1")), "output:wire")
    common = "cookie=0xba5e,priority=65535,ip"
    assert [*way.flows(100)] == [
        f"table=0,{common},in_port=tap,actions=ct(table=100,zone=1)",
        f"table=100,{common},ct_state=+trk-new,actions=goto_table:101",
        f"table=100,{common},ct_state=+trk+new,actions=ct(commit,zone=1),goto_table:101",
        f"table=101,{common},actions=ct(table=102,zone=2,nat)",
        f"table=102,{common},ct_state=+trk-new,actions=goto_table:103",
        f"table=102,{common},ct_state=+trk+new,actions=ct(commit,zone=2,nat(src=192.0.2.1),table=103)",
        f"table=103,{common},actions=output:wire",
    ]


def test_no_two_ports_of_the_largest_cloud_share_what_must_be_their_own() -> None:
    tenants = 3000 // TENANT
    every = [spot for tenant in range(tenants) for spot in spots(tenant)]
    assert len({spot.mac for spot in every}) == len({spot.name for spot in every}) == len(every) == 3000
    outside = [Spot(tenant, 0, number).floating for tenant in range(tenants) for number in (0, 1)]
    outside += map(own, range(tenants))
    assert len({*outside}) == len(outside)
    assert sum(map(len, halves(tenants).values())) + len(GUESTS) == len(every)

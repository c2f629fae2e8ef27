"""What the benchmark beside OVN makes of what it measured, and of the paths that it forwards over."""

from tests.benchmarks.peers.driver import GUESTS, TENANT, Spot, halves, own, spots
from tests.benchmarks.peers.plane import Lookup, Way
from tests.benchmarks.peers.steps import Line
from tests.benchmarks.peers.table import tables


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


def test_forwarding_is_compared_with_the_other_and_with_a_bare_pipeline() -> None:
    costs = {"ovn": 10.0, "weft": 9.0, "bare": 8.0}
    lines = [Line("plane", peer, 100, "few", "across", {"CPU s/GB": cost}) for peer, cost in costs.items()]
    row = "| across | CPU s/GB | 10 | 9 | 8 | 0.90 | 1.12 | ≤ 1, ≤ 1.05 | **no** | 0 / 0 / 0 % |"
    assert tables(lines, []).splitlines()[-1] == row


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

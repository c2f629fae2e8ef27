"""What `weft trace` says of a packet is what becomes of it: every guest to every other, by rules, tunnels and routers."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from mininet_scenarios import traced
from mininet_scenarios.errors import Unsettled
from mininet_scenarios.frames import tagged, udp
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.processes import wait_until
from northbound import explain, past

PLACES = {"server": "hv1", "client": "hv1", "stranger": "hv2", "closed": "hv2", "trusted": "hv1"}


@dataclass(frozen=True, slots=True)
class Cast:
    """Guests of network red, `remote` on blue behind a router. `server` lets ICMP in, and TCP 80 of `client` alone."""

    lab: Lab
    guests: tuple[Guest, ...]

    def foretold(self, sender: Guest, target: str, **more: object) -> bool:
        """Does the trace end in `delivered`?"""
        answer = self.lab.api.post("/v1/trace", {"from": sender.name, "to": target, **more})
        assert answer["behind"] == {}
        return bool(answer["fate"] == "delivered")

    def pairs(self) -> Iterator[tuple[Guest, Guest]]:
        """Everybody and everybody else."""
        return permutations(self.guests, 2)


@pytest.fixture(scope="module")
def cast(lab: Lab) -> Cast:
    """On two hypervisors, all with both families."""
    red = lab.network("red", cidr=["10.0.0.0/24", "fd00:a::/64"], project="p", gateways=True)
    blue = lab.network("blue", cidr=["10.0.1.0/24", "fd00:b::/64"], project="p", type="geneve", gateways=True, mtu=1400)
    lab.router("r", red, blue, project="p")
    groups = {name: lab.group(name, project="p") for name in ("server", "client", "stranger", "remote")}
    for ethertype in ("IPv4", "IPv6"):
        lab.rule(groups["server"], ethertype=ethertype, protocol="icmp")
        lab.rule(groups["server"], ethertype=ethertype, protocol="tcp", ports=80, remote=groups["client"])
        lab.rule(groups["stranger"], ethertype=ethertype, protocol="tcp", ports=(81, 90))
    lab.rule(groups["client"], prefix="10.0.1.0/24")
    lab.rule(groups["remote"], protocol="icmp", prefix="10.0.0.10/31")
    for ethertype, prefix in (("IPv4", "10.0.0.14/32"), ("IPv6", "fd00:a::14/128")):
        lab.rule(groups["remote"], ethertype=ethertype, prefix=prefix)
    for name in PLACES:
        groups.setdefault(name, {})
    guests = []
    for number, (name, on) in enumerate([*PLACES.items(), ("remote", "hv2")], start=10):
        network, part = (blue, "b") if name == "remote" else (red, "a")
        guests.append(
            lab.guest(
                name,
                network=network,
                on=on,
                ip=[f"10.0.{part == 'b':d}.{number}", f"fd00:{part}::{number}"],
                mac=f"02:00:00:00:00:{number}",
                security_groups=[groups[name]["id"]] if groups[name] else [],
                port_security_enabled=name != "trusted",
            )
        )
    lab.converged()
    return Cast(lab, tuple(guests))


@pytest.mark.parametrize("version", [4, 6])
def test_who_is_said_to_reach_whom_by_icmp_does(lab: Lab, cast: Cast, version: int) -> None:
    """Routers and addresses that nobody has are pinged, too."""
    red, blue, none = (
        ("10.0.0.1", "10.0.1.1", "10.0.0.99") if version == 4 else ("fd00:a::1", "fd00:b::1", "fd00:b::99")
    )
    asked = [(one, other.address(version)) for one, other in cast.pairs()]
    asked += [
        (one, address) for one in cast.guests for address in (red, blue, none, "192.0.2.77")[: 3 + (version == 4)]
    ]
    pings = [one.ping(address, count=2) for one, address in asked]
    happened = [(one.name, address, ping.wait().lost == 0) for (one, address), ping in zip(asked, pings, strict=True)]
    assert [(one.name, address, cast.foretold(one, address)) for one, address in asked] == happened
    assert {reached for *_, reached in happened} == {True, False}


def test_who_is_said_to_reach_whom_by_tcp_does(lab: Lab, cast: Cast) -> None:
    happened, foretold = {}, {}
    for one, other in cast.pairs():
        if one.name in ("server", "closed"):
            continue  # as senders they are like others here
        pair = (one.name, other.name)
        happened[pair] = one.reaches(other, "tcp", 80, 81, patience_s=0.3)
        foretold[pair] = {port for port in (80, 81) if cast.foretold(one, other.name, proto="tcp", dport=port)}
    assert foretold == happened
    assert {len(ports) for ports in happened.values()} == {0, 1, 2}


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_said_not_to_fit_the_next_network_does_not(lab: Lab, cast: Cast, version: int) -> None:
    trusted, remote = cast.guests[4], cast.guests[5].address(version)
    headers = 28 if version == 4 else 48
    for size, fits in ((1400, True), (1401, False)):
        assert cast.foretold(trusted, remote, size=size) is fits
        ping = ("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", str(size - headers), remote)
        assert ("1 received" in trusted.run(*ping, codes=(0, 1))) is fits


def test_the_command_tells_the_way_and_ends_in_the_fate(lab: Lab, cast: Cast) -> None:
    weft = lab.controller.weft
    way = weft("trace", "--from", "client", "--to", "server", "--proto", "tcp", "--dport", "80").splitlines()
    assert [line for line in way if line.startswith("hv1 in_done ") and "from members of security group" in line]
    assert way[-1] == "delivered"
    routed = weft("trace", "--from", "server", "--to", "remote").splitlines()
    assert [line for line in routed if " tunnel " in line and "geneve" in line]
    assert {line.split()[0] for line in routed} == {"hv1", "hv2", "delivered"}
    denied = weft("trace", "--from", "closed", "--to", "server", codes=(1,)).splitlines()
    assert denied[-1] == "dropped: EGRESS_DENIED no egress rule of its port's security groups allows"
    weft("trace", "--from", "nobody", "--to", "server", codes=(2,))


def test_what_is_dropped_is_counted_and_said_to_be_whose(lab: Lab, cast: Cast) -> None:
    """A denied conversation shows by reason in the metrics, and who drops a tagged frame by name."""
    client, server = cast.guests[1], cast.guests[0]
    denied = f'weft_dropped_packets_total{{chassis="{PLACES["server"]}",reason="INGRESS_DENIED"}}'
    before = metrics(lab)
    assert not client.reaches(server, "tcp", 81, patience_s=0.3)
    client.sends(tagged(udp(server.mac, client.mac, client.ip, server.ip, 7, b"tagged"), 7))
    wait_until("the tagged frame is counted", lambda: "" if " TAGGED " in drops(lab) else drops(lab), 5)
    assert [line for line in drops(lab).splitlines() if " TAGGED " in line and "client" in line]
    lab.eventually("the denied conversation is counted", lambda: metrics(lab)[denied] > before[denied], 5)
    after = metrics(lab)
    assert after['weft_chassis_connected{chassis="hv2"}'] == 1
    assert after['weft_chassis_lag_revisions{chassis="hv1"}'] == 0
    assert after["weft_commit_seconds_count"] > 0 < after["weft_cells_run_total"]
    assert after['weft_records{kind="port"}'] == len(lab.api.get("/v2.0/ports")["ports"])


def drops(lab: Lab) -> str:
    """What an operator is told of drops."""
    return lab.controller.weft("drops", "hv1")


def metrics(lab: Lab) -> dict[str, float]:
    """What Prometheus reads."""
    with urllib.request.urlopen(f"{lab.api.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_what_keeps_two_apart_and_what_they_cost_is_told(lab: Lab, cast: Cast) -> None:
    weft = lab.controller.weft
    assert weft("why", "client", "server", "--proto", "tcp", "--dport", "80").splitlines() == ["delivered"]
    denied = weft("why", "client", "server", "--proto", "tcp", "--dport", "81", codes=(1,)).splitlines()
    assert denied[-1].startswith("dropped: INGRESS_DENIED ")
    assert denied[-2].startswith("on hv1, table in_done: ")
    assert weft("why-down", "server") == f"port {cast.guests[0].port_id} is ACTIVE\n"
    lab.api.put(f"/v2.0/ports/{cast.guests[3].port_id}", {"port": {"admin_state_up": False}})
    down = weft("why-down", "closed", codes=(1,)).splitlines()
    assert down == ["The port is administratively down (admin_state_up is false)."]
    assert weft("why", "client", "closed", codes=(1,)).splitlines()[0] == f"closed: {down[0]}"
    lab.api.put(f"/v2.0/ports/{cast.guests[3].port_id}", {"port": {"admin_state_up": True}})
    lab.converged()
    wait_until("both had the last change", lambda: "" if all_had(lab, "closed") else str(newest(lab, "closed")), 5)
    assert newest(lab, "closed")["changes"][0]["attributes"]["admin_state_up"] == [False, True]
    cost = weft("cost", cast.guests[0].port_id).splitlines()
    assert [line for line in cost if line.startswith("classify") and line.endswith("2 on 1 hypervisors")]
    assert (
        weft("repair", "--chassis", "hv1", "--object", cast.guests[0].port_id)
        == "hv1: 0 flows and 0 groups put right\n"
    )
    (group,) = lab.api.get("/v2.0/security-groups?name=remote")["security_groups"]
    assert weft("repair", "--object", group["id"]) == "hv2: 0 flows and 0 groups put right\n", "and hv1 is left alone"
    assert weft("repair").splitlines() == [f"{name}: 0 flows and 0 groups put right" for name in ("hv1", "hv2")]


def newest(lab: Lab, called: str) -> dict[str, Any]:
    """The last change of an object."""
    found: dict[str, Any] = lab.api.get(f"/v1/history?object={called}&limit=1")["events"][0]
    return found


def all_had(lab: Lab, called: str) -> bool:
    """Did both hypervisors acknowledge it, after it was made?"""
    event = newest(lab, called)
    assert all(at > event["at"] for at in event["acknowledged"].values())
    return {*event["acknowledged"]} == {"hv1", "hv2"}


def test_what_a_bundle_kept_says_the_same(lab: Lab, cast: Cast, tmp_path: Path) -> None:
    """The controller is asked, then the file."""
    weft, hv1, file = lab.controller.weft, lab.hypervisors["hv1"], tmp_path / "bundle"
    conntrack = tmp_path / "conntrack"
    assert cast.guests[1].reaches(cast.guests[0], "tcp", 80)
    hv1.ofctl("add-flow", hv1.bridge, "table=250,priority=9,ip,actions=drop")
    conntrack.write_text(hv1.appctl("dpctl/dump-conntrack"))
    manifest = json.loads(weft("bundle", str(file), "--conntrack", f"hv1={conntrack}", "--json"))
    assert (manifest["chassis"], manifest["moved"], manifest["unreachable"]) == (["hv1", "hv2"], [], {})
    asked = {"from": "client", "to": "server", "proto": "tcp", "dport": 80}
    with past.opened(file) as yesterday:
        told = yesterday.get("/v1/diff")
        assert [len(each["foreign"]) for each in told["chassis"]] == [1, 0]
        for path in ("/v1/diff", "/v1/chassis", "/v1/flows/hv1", f"/v1/cost/{cast.guests[0].port_id}"):
            assert yesterday.get(path) == lab.api.get(path)
        assert yesterday.post("/v1/trace", asked) == lab.api.post("/v1/trace", asked)
        assert yesterday.get("/v1/drops?chassis=hv1")["drops"]
    dump = hv1.ofctl("dump-flows", hv1.bridge)
    hv1.ofctl("--strict", "del-flows", hv1.bridge, "table=250,priority=9,ip")
    explained = weft("explain", "-", "--bundle", str(file), stdin=dump)
    assert explained == weft("explain", "-", stdin=dump)
    assert explained.endswith(" 1 foreign\n")
    assert_all_is_explained(lab, cast)
    assert " from members of security group " in weft("conn", "hv1", "--bundle", str(file))


def assert_all_is_explained(lab: Lab, cast: Cast) -> None:
    """Whatever Open vSwitch prints, of hv1: in every version's form, and what the datapath and conntrack have."""
    hv1, (server, client, *_) = lab.hypervisors["hv1"], cast.guests
    how = [("10",), ("10", "--no-stats"), ("13", "--names"), ("14",), ("15", "--no-stats")]
    dumps = [hv1.ofctl("-O", f"OpenFlow{version}", *more, "dump-flows", hv1.bridge) for version, *more in how]
    dumps += [hv1.ofctl("-O", f"OpenFlow{version}", "dump-groups", hv1.bridge) for version in (11, 15)]
    packet = f"in_port={client.tap},tcp,dl_src={client.mac},dl_dst={server.mac},nw_src={client.ip},nw_dst={server.ip}"
    dumps.append(hv1.appctl("ofproto/trace", hv1.bridge, f"{packet},nw_ttl=64,tp_src=7,tp_dst=80"))
    for dump in dumps:
        found = explain.read(dump.splitlines())
        asked = {"cookies": explain.cookies(found), "groups": explain.groups(found)}
        answer = lab.api.post("/v1/explain", asked)
        counted = [line for line in found if line.counts]
        assert len(counted) > 1
        known = answer["flows"].keys() | {explain.group_key(int(id)) for id in answer["groups"]}
        assert [line.text for line in counted if line.key not in known] == []
    assert client.reaches(server, "tcp", 80)  # what nobody uses for ten seconds, the datapath forgets
    rest = "\n".join((hv1.appctl("dpctl/dump-flows", "-m"), *(connections := hv1.connections())))
    said = lab.controller.weft("explain", "-", "--chassis", "hv1", stdin=rest)
    assert 'from port "client"' in said
    assert 'out to port "server"' in said
    assert said.count(", begun by ") == len(connections)


def test_a_guest_that_is_unplugged_is_an_address_that_nobody_has(lab: Lab, cast: Cast) -> None:
    server, client = cast.guests[:2]
    assert (cast.foretold(client, server.ip), client.pings(server)) == (True, True)
    server.unplug()
    lab.converged()
    assert "has an interface with this port's id" in lab.controller.weft("why-down", "server", codes=(1,))
    assert (cast.foretold(client, server.ip), client.pings(server, count=1)) == (False, False)
    server.plug()
    lab.converged()
    assert (cast.foretold(client, server.ip), client.pings(server)) == (True, True)
    lab.settles()


def test_what_is_foretold_happens_to_a_packet_that_is_sent_and_no_guest_gets_it(lab: Lab, cast: Cast) -> None:
    """To the same hypervisor and another one, through a router, allowed and denied, of both families."""
    server, client, stranger, _, trusted, _ = (guest.name for guest in cast.guests)
    asked: list[dict[str, object]] = [
        {"from": client, "to": server},
        {"from": client, "to": server, "proto": "tcp", "dport": 81},
        {"from": stranger, "to": cast.guests[0].address(6), "proto": "icmp"},
        {"from": trusted, "to": cast.guests[5].address(6), "proto": "udp", "dport": 5, "size": 1200},
        {"from": client, "to": "10.0.0.1"},
    ]
    with lab.sniff(*cast.guests) as heard:
        answers = [lab.api.post("/v1/trace", {**each, "live": True}) for each in asked]
    assert [answer["live"]["trouble"] for answer in answers] == [None] * len(asked)
    assert [
        (each, answer["live"]) for each, answer in zip(asked, answers, strict=True) if not answer["live"]["agrees"]
    ] == []
    assert {answer["fate"] for answer in answers} == {"delivered", "dropped"}
    assert {each["chassis"] for answer in answers for each in answer["live"]["seen"]} == {"hv1", "hv2"}
    assert heard.copies(b"weft") == {}
    said = lab.controller.weft("trace", "--live", "--from", client, "--to", server).splitlines()
    assert said[-2:] == ["live: as foretold", "delivered"]
    assert said[-3].startswith('live: found on hv1, table deliver, for port "server" ')


def test_open_vswitch_goes_the_same_way_stage_by_stage(lab: Lab, cast: Cast) -> None:
    """On every hypervisor on the way of every pair, of both families; what goes another way is found."""
    hv1, (server, client, *_) = lab.hypervisors["hv1"], cast.guests
    with traced.Comparison(lab.api, lab.hypervisors) as comparison:
        for one, other in cast.pairs():
            for version in (4, 6):
                asked = {"from": one.name, "to": other.address(version), "proto": "udp", "dport": 7, "ofproto": True}
                comparison.compare(asked)
        assert (comparison.packets, comparison.stages > 200) == (60, True)
        astray = f"table=36,priority=40000,dl_dst={server.mac}"
        hv1.ofctl("add-flow", hv1.bridge, f"{astray},actions=set_field:0xa->reg8,goto_table:62")
        with pytest.raises(Unsettled, match=r"hv1: tables foretold .*\(36, 100\).*\nseen .*\(36, 40000\), \(62, "):
            comparison.compare({"from": client.name, "to": server.name, "proto": "tcp", "dport": 80, "ofproto": True})
        hv1.ofctl("--strict", "del-flows", hv1.bridge, astray)
    command = lab.controller.weft("trace", "--ofproto", "--from", "client", "--to", "closed", codes=(1,)).splitlines()
    assert [line for line in command if line.startswith("hv1: ovs-appctl ofproto/trace-packet-out br-int ")]


def test_a_lab_does_not_settle_while_a_flow_a_group_or_a_meter_has_no_reason(lab: Lab, cast: Cast) -> None:
    hv1 = lab.hypervisors["hv1"]
    cookies, groups = hv1.cookies(), hv1.own_groups()
    assert len(cookies) > 300
    assert groups
    assert lab.unknown([*cookies, "0xa7ffffffffffffff"], [*groups, 0x1000_0ABC]) == [
        "0xa7ffffffffffffff",
        "group 268438204",
    ]
    hv1.ofctl("-O", "OpenFlow14", "add-meter", hv1.bridge, "meter=7,kbps,band=type=drop,rate=1000")
    with pytest.raises(Unsettled, match=r"Nobody knows why hv1 has these\.\nmeter 7"):
        lab.settles()
    hv1.ofctl("-O", "OpenFlow14", "del-meter", hv1.bridge, "meter=7")
    lab.settles()


def test_a_packet_that_meets_what_it_should_not_is_found_where_it_is(lab: Lab, cast: Cast) -> None:
    """A flow of somebody else's drops, at a table of its own, what is foretold to arrive; and a route leads astray."""
    hv1, (server, client, *_) = lab.hypervisors["hv1"], cast.guests
    astray = f"table=36,priority=40000,dl_dst={server.mac}"
    hv1.ofctl("add-flow", hv1.bridge, f"{astray},actions=set_field:0xa->reg8,goto_table:62")
    answer = lab.api.post("/v1/trace", {"from": client.name, "to": server.name, "live": True})
    hv1.ofctl("--strict", "del-flows", hv1.bridge, astray)
    assert answer["fate"] == "delivered"
    assert answer["live"]["agrees"] is False
    assert [(each["table"], each["words"]) for each in answer["live"]["seen"]] == [("drop", "UNKNOWN_UNICAST")]
    hv1.ofctl("add-flow", hv1.bridge, f"{astray},actions=drop")
    told = lab.controller.weft("trace", "--live", "--from", "client", "--to", "server", codes=(1,)).splitlines()
    hv1.ofctl("--strict", "del-flows", hv1.bridge, astray)
    assert told[-2:] == ["live: not found at any end within 2 s", "delivered"]
    lab.settles()

"""Connections under security groups: cut when no rule allows them any more, and untouched by all else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from mininet_scenarios.captures import Frame
from mininet_scenarios.frames import IPV4, IPV6, datagram, icmp, ipv4, tcp, token
from mininet_scenarios.guarded import Cast, allow_both, gather
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab
from mininet_scenarios.talk import Talk

VERSIONS = (4, 6)
CUT_S = 1.0
"""How long after the API has answered something may still come through."""


@pytest.fixture(scope="module")
def cast(lab: Lab) -> Cast:
    """Four guests, each in group `out`."""
    return gather(lab)


@pytest.fixture(autouse=True)
def quiet(cast: Cast) -> Iterator[None]:
    """No conversation outlives its scenario."""
    yield
    for guest in cast:
        guest.hangs_up()


@dataclass(frozen=True, slots=True)
class Line:
    """A direction of a conversation: the end that hears, and the caller's port."""

    end: Talk
    caller: int

    def is_whole(self) -> bool:
        """Is nothing missing, and has it not ended?"""
        return not self.end.lost(self.caller) and self.caller not in self.end.ended()


def talk(
    caller: Guest, answerers: Iterable[Guest], port: int, protocol: str = "tcp", *, mute: bool = False
) -> list[Line]:
    """A conversation with each guest by either IP version, in both directions; of a `mute` caller, the answers."""
    lines = []
    for answerer in answerers:
        for version in VERSIONS:
            listener = answerer.listens(port, protocol, version=version)
            talker = caller.talks(answerer, port, protocol, version=version, mute=mute)
            talker.flows()
            (number,) = talker.heard()
            lines += [Line(end, number) for end in ([talker] if mute else [talker, listener])]
    return lines


def stops(lines: Iterable[Line], after: float) -> None:
    """Assert that they were alive, and that nothing more comes through from a second after a time on."""
    time.sleep(max(0.0, after + CUT_S + 0.5 - time.time()))
    for line in lines:
        assert after - 0.5 < line.end.last(line.caller) < after + CUT_S


def resumes(lines: Iterable[Line]) -> None:
    """Wait until they go on, all of them."""
    for line in lines:
        line.end.flows(line.caller, timeout_s=10)


def test_a_rule_that_goes_takes_its_connections_and_no_others(lab: Lab, cast: Cast) -> None:
    """Cases SG03, SG06: and they are there again with the rule, the same 5-tuples."""
    a, b, c, d = cast
    web = lab.group("web", project="red", born=False)
    rules = [lab.rule(web, protocol="tcp", ports=80, prefix="10.0.0.1/32")]
    rules.append(lab.rule(web, ethertype="IPv6", protocol="tcp", ports=80, prefix="fd00::1/128"))
    for protocol in ("tcp", "udp"):
        lab.rule(web, protocol=protocol, ports=80, prefix="10.0.0.4/32")
    unused = lab.rule(web, protocol="udp", ports=(1, 1000), prefix="10.0.0.0/8")
    cast.under(b=web, c=web)
    cut = talk(a, (b, c), 80)
    others = [d.talks(other, 80, count=50) for other in (b, c)]
    for other in (b, c):
        others += (other.listens(80, "udp"), d.talks(other, 80, "udp", count=50))
    for each in others:
        each.flows(count=50)

    lab.remove(unused)
    lab.converged()
    resumes(cut)
    for rule in rules:
        lab.remove(rule)
    stops(cut, time.time())
    allow_both(lab, web, protocol="tcp", ports=80)
    resumes(cut)
    assert all(line.is_whole() for line in cut), "TCP repeats what was not acknowledged"
    for each in others:
        each.flows(count=50)
        assert (each.lost(), each.ended()) == ({}, {})
        assert each.longest_silence() < 1
    lab.settles()


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_connection_is_cut_though_only_its_answers_flow(lab: Lab, cast: Cast, direction: str) -> None:
    """Case SG04: media that is asked for once. No packet of the direction that the rule is about goes by any more."""
    a, b, c, _d = cast
    asks, answers = lab.group("asks", project="red", born=False), lab.group("answers", project="red", born=False)
    out = allow_both(lab, asks, "egress", protocol="udp", ports=5000)
    let_in = allow_both(lab, answers, protocol="udp", ports=5000)
    cast.under(a=asks, b=answers, c=answers)
    heard = talk(a, (b, c), 5000, "udp", mute=True)
    gone, group = (let_in, answers) if direction == "ingress" else (out, asks)
    for rule in gone:
        lab.remove(rule)
    stops(heard, time.time())
    allow_both(lab, group, direction, protocol="udp", ports=5000)
    resumes(heard)
    lab.settles()


def test_a_member_that_leaves_takes_its_connections_along(lab: Lab, cast: Cast) -> None:
    """Case SG07: those of the members that stay live on."""
    a, b, c, d = cast
    clients, web = lab.group("clients", project="red", born=False), lab.group("web", project="red")
    allow_both(lab, web, protocol="tcp", ports=80, remote=clients)
    cast.under(a=(clients, cast.out), b=web, c=web, d=(clients, cast.out))
    cut = talk(a, (b, c), 80)
    stays = [d.talks(other, 80) for other in (b, c)]
    for each in stays:
        each.flows()
    lab.regroup(a, cast.out)
    stops(cut, time.time())
    for each in stays:
        each.flows()
        assert (each.lost(), each.ended()) == ({}, {})
        assert each.longest_silence() < 1
    lab.regroup(a, clients, cast.out)
    resumes(cut)
    lab.settles()


def test_an_address_pair_that_goes_takes_its_connections_along(lab: Lab, cast: Cast) -> None:
    """Case SG07: by the pair's address the guest is heard as a member, until the pair is gone."""
    a, b, c, _d = cast
    clients, web = lab.group("clients", project="red"), lab.group("web", project="red")
    allow_both(lab, web, protocol="tcp", ports=80, remote=clients)
    cast.under(a=clients, b=web, c=web)
    lab.change(a, allowed_address_pairs=[{"ip_address": "10.0.0.101"}])
    lab.converged()
    a.ip_batch("addr add 10.0.0.101/24 dev eth0", f"route add {c.ip}/32 dev eth0 src 10.0.0.101")
    by_pair, own = call_from(a, c), call_from(a, b)
    lab.change(a, allowed_address_pairs=[])
    stops(by_pair, time.time())
    resumes(own)
    a.ip_batch(f"route del {c.ip}/32 dev eth0", "addr del 10.0.0.101/24 dev eth0")
    lab.settles()


def call_from(caller: Guest, answerer: Guest) -> list[Line]:
    """A conversation from whatever address the caller's routes say, in both directions."""
    listener, talker = answerer.listens(80), caller.talks(answerer, 80)
    talker.flows()
    (number,) = talker.heard()
    return [Line(talker, number), Line(listener, number)]


def test_a_group_that_is_taken_from_a_port_and_given_back(lab: Lab, cast: Cast) -> None:
    """Case SG08."""
    a, b, c, _d = cast
    web, ssh = lab.group("web", project="red"), lab.group("ssh", project="red")
    for group, port in ((web, 80), (ssh, 22)):
        allow_both(lab, group, protocol="tcp", ports=port)
    cast.under(b=(web, ssh), c=(web, ssh))
    cut, stays = talk(a, (b, c), 80), talk(a, (b, c), 22)
    for guest in (b, c):
        lab.regroup(guest, ssh)
    stops(cut, time.time())
    resumes(stays)
    for guest in (b, c):
        lab.regroup(guest, web, ssh)
    resumes((*cut, *stays))
    assert max(line.end.longest_silence() for line in stays) < 1
    assert all(line.is_whole() for line in (*cut, *stays))
    lab.settles()


def test_what_is_forgotten_is_taken_up_again_by_who_may_begin_it(lab: Lab, cast: Cast) -> None:
    """Case SG12: conntrack forgets; packets in the middle of a connection are then judged as if they began one."""
    a, b, c, _d = cast
    web = lab.group("web", project="red", born=False)
    allow_both(lab, web, protocol="tcp", ports=80)
    allow_both(lab, web, protocol="udp", ports=5000)
    cast.under(b=web, c=web)
    both_speak = talk(a, (b, c), 80)
    only_answers = talk(a, (b, c), 5000, "udp", mute=True)
    for hypervisor in lab.hypervisors.values():
        hypervisor.forget_connections()
    forgotten = time.time()
    resumes(both_speak)
    assert all(line.is_whole() for line in both_speak)
    stops(only_answers, forgotten)
    lab.settles()


def test_a_reset_from_nowhere_harms_no_connection(lab: Lab, cast: Cast) -> None:
    """Case SG13: a segment that is out of the window does not arrive."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    lab.rule(web, protocol="tcp", ports=80)
    cast.under(b=web, c=web)
    for other in (b, c):
        ends = [other.listens(80), a.talks(other, 80, from_port=40000)]
        for end in ends:
            end.flows()
        far_off = token()
        with lab.sniff(other) as heard:
            for flags in (0x04, 0x14):  # RST; RST and ACK
                reset = tcp(a.ip, other.ip, (40000, 80), 0x12345678, flags, far_off)
                a.sends(ipv4((other.mac, a.mac), a.ip, other.ip, 6, reset))
        assert heard.copies(far_off) == {}
        for end in ends:
            end.flows()
            assert (end.lost(), end.ended()) == ({}, {})
        for guest in (a, other):
            guest.hangs_up()
    lab.settles()


def test_a_connection_that_was_lost_is_begun_anew_from_the_same_port(lab: Lab, cast: Cast) -> None:
    """Case SG12: a machine loses power, and conntrack does not hear of it."""
    a, b, c, _d = cast
    web = lab.group("web", project="red")
    allow_both(lab, web, protocol="tcp", ports=80)
    cast.under(b=web, c=web)
    for other, version, both in product((b, c), VERSIONS, (False, True)):
        took = a.reopens(other, 80, 20_000 + both, both=both, version=version)
        assert took is not None, f"{other} by IPv{version}, both: {both}"
        assert took < 0.9, "none of it is sent again a second later"
    lab.settles()


@pytest.mark.parametrize("version", VERSIONS)
def test_errors_about_a_connection_need_no_rule_while_it_is_allowed(lab: Lab, cast: Cast, version: int) -> None:
    """Cases SG14, SG15: nobody has a rule about ICMP, and errors come through while what they are about may."""
    a, b, c, _d = cast
    asks, answers = lab.group("asks", project="red", born=False), lab.group("answers", project="red", born=False)
    lab.rule(asks, "egress", ethertype=f"IPv{version}", protocol="udp", ports=5000)
    rule = lab.rule(answers, ethertype=f"IPv{version}", protocol="udp", ports=5000)
    cast.under(a=asks, b=answers, c=answers)
    mark = token() * 4
    begun: dict[Guest, bytes] = {}
    for other in (b, c):
        with lab.sniff(a, other) as heard:
            a.sends_datagram(other, 5000, mark, version=version)
            a.sends_datagram(other, 5000, bytes(3000), version=version)
        assert len(errors(heard.at(a), other)) == 2, "that nobody listens, of a datagram in fragments, too"
        begun[other] = next(frame.raw[14:] for frame in heard.at(other) if mark in frame.raw).removesuffix(mark)
    told, strange = token(), token()
    with lab.sniff(a) as heard:
        for other, packet in begun.items():
            refuse(other, a, packet + told)
            refuse(other, a, packet[:-8] + datagram(1, 2, strange))
    assert heard.copies(told) == {"a": 2}
    assert heard.copies(strange) == {}, "there is no such connection"
    lab.remove(rule)
    lab.converged()
    late = token()
    with lab.sniff(a) as heard:
        for other, packet in begun.items():
            refuse(other, a, packet + late)
    assert heard.copies(late) == {}
    lab.settles()


def errors(frames: Iterable[Frame], sender: Guest) -> list[Frame]:
    """The messages "port unreachable" of a guest among frames."""
    return [
        frame
        for frame in frames
        if frame.src == sender.mac
        and (
            (frame.ethertype == IPV4 and frame.raw[23] == 1 and frame.raw[34:36] == bytes((3, 3)))
            or (frame.ethertype == IPV6 and frame.raw[20] == 58 and frame.raw[54:56] == bytes((1, 4)))
        )
    ]


def refuse(sender: Guest, target: Guest, packet: bytes) -> None:
    """Say "port unreachable" about a packet (RFC 792, RFC 4443 section 3.1)."""
    if packet[0] >> 4 == 4:
        sender.sends_raw(target, socket.IPPROTO_ICMP, icmp(3, 3, bytes(4) + packet))
    else:  # the kernel writes the checksum
        sender.sends_raw(target, socket.IPPROTO_ICMPV6, bytes((1, 4)) + bytes(6) + packet, version=6)

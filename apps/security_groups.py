"""Security groups: a port sends and receives what some rule of its groups allows, and the answers to it.

Both halves of a frame's way are guarded alike, the sender's by egress rules, the receiver's by ingress rules:

    OUT_PORT / IN_PORT    whose policy?     PORT_POLICY: zone, policy     GENERATION: generation, conntrack or not
    OUT_TRACK / IN_TRACK  conntrack in the port's own zone
    OUT_RULES / IN_RULES  new: EVALUATE     known: RECALL, and EVALUATE only if the policy is another than it was
    OUT_DONE / IN_DONE    remember the connection with policy, generation and bundle; or drop

Rules are tested on the tuple in which a connection began, so the same flows judge its first packet, its answers, errors
about it and fragments of it; and it is judged by the rules of the direction it began in. A change that allows less
gives the policy a new generation: a connection is judged once more, and goes on with the new one. One that no rule
allows any more is not remembered as such: each packet of it is judged, and dropped, until a rule allows it again.
Packets that nobody tracks (`stateless` groups) are tested each for itself.

Rules are conjunctive matches of up to three dimensions, all at one priority, so that they add up and never multiply:

    policy    a flow a policy and direction
    remote    a flow an address, for as many bundles as name it
    protocol  a flow a distinct protocol and port, for as many bundles as have it

and a bundle has one flow more, its verdict. Limits: of a packet that nobody tracks, later fragments are judged by
protocol alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.flows.action import Action, Apart, Commit, Move, Table, Track, goto, resubmit
from controller.flows.app import app, everywhere, guarding, host, remotes, under
from controller.flows.attachment import LISTED_ADDRESSES, MEMBER_ADDRESSES, attached
from controller.flows.fields import (
    ARP,
    CONJ_ID,
    CT_PROTO4,
    CT_PROTO6,
    CT_ZONE,
    ETH_DST,
    ETH_SRC,
    GROUP_BIT,
    HOP_LIMIT,
    ICMPV6_TYPE,
    IPV4,
    IPV4_FRAG,
    IPV6,
    IPV6_DST,
    IPV6_FRAG,
    IPV6_SRC,
    ND_ADVERTISEMENT,
    ND_SOLICITATION,
    ORIGINAL4,
    ORIGINAL6,
    PACKET4,
    PACKET6,
    RST,
    SCTP,
    SYN,
    SYN_ACK,
    TCP6_FLAGS,
    TCP_FLAGS,
    UDP6_DST,
    UDP6_SRC,
    UDP_DST,
    UDP_SRC,
    Headers,
    cover,
    ct_state,
    unread,
    within,
)
from controller.flows.flow import Clause, Flow
from controller.flows.match import ANY, Field, Match, Set
from controller.flows.pipeline import (
    AGAIN,
    CHECKED,
    CT_BUNDLE,
    CT_GEN,
    CT_OPENER,
    CT_POLICY,
    DELIVER,
    DIRECTION,
    DROP,
    DST,
    EGRESS,
    EVALUATE,
    GEN,
    GENERATION,
    GIVEN_BACK,
    GUARD,
    IN_DONE,
    IN_PORT,
    IN_RULES,
    IN_TRACK,
    INGRESS,
    L2_DISPATCH,
    OUT_DONE,
    OUT_PORT,
    OUT_RULES,
    OUT_TRACK,
    POLICY,
    PORT_POLICY,
    RECALL,
    SRC,
    VERDICT,
    WHOSE,
    WHY,
    ZONE,
    Guard,
    Verdict,
    Whose,
    Why,
)
from controller.model.protocols import ports, protocol_number, type_and_code
from controller.model.records import AddressGroup, Bundle, Policy, Port, SecurityGroup, SecurityGroupRule
from controller.model.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One half of a frame's way: the tables in order, whose port is asked, and where allowed frames go on."""

    port: Table
    track: Table
    rules: Table
    done: Table
    onward: Table
    guest: Field[int]
    direction: int
    control: tuple[Match, ...]
    unguarded: Why
    cut: Why


MLD: Final = tuple(ICMPV6_TYPE(type) & within(IPV6_DST, "ff00::/8") for type in (130, 131, 132, 143))
"""Multicast listener discovery (RFC 2710, RFC 3810): a switch or router may have to hear it whatever the rules.

To groups alone, so that it is no way past the rules to one guest; groups are never routed.
"""
ADVERTISEMENT: Final = ICMPV6_TYPE(134) & within(IPV6_SRC, "fe80::/10")
"""A router's, on the link (RFC 4861 section 6.1.2): what was routed is none."""
NEIGHBOURS: Final = (ARP, *(match & HOP_LIMIT(255) for match in (ND_SOLICITATION, ND_ADVERTISEMENT)))
"""What neighbours on the link ask and tell, as far as SERVICE lets it pass; never routed (RFC 4861 section 7.1)."""

OUT: Final = Half(
    port=OUT_PORT, track=OUT_TRACK, rules=OUT_RULES, done=OUT_DONE, onward=L2_DISPATCH, guest=SRC, direction=EGRESS,
    control=(UDP_SRC(68) & UDP_DST(67), UDP6_SRC(546) & UDP6_DST(547), ICMPV6_TYPE(133), *MLD),
    unguarded=Why.EGRESS_UNGUARDED, cut=Why.EGRESS_CUT,
)  # fmt: skip
IN: Final = Half(
    port=IN_PORT, track=IN_TRACK, rules=IN_RULES, done=IN_DONE, onward=DELIVER, guest=DST, direction=INGRESS,
    control=(UDP_SRC(67) & UDP_DST(68), UDP6_SRC(547) & UDP6_DST(546), ADVERTISEMENT, *MLD, *NEIGHBOURS),
    unguarded=Why.INGRESS_UNGUARDED, cut=Why.INGRESS_CUT,
)  # fmt: skip
FAMILIES: Final[Mapping[str, Match]] = {"IPv4": IPV4, "IPv6": IPV6}
DIRECTIONS: Final[Mapping[str, int]] = {"egress": EGRESS, "ingress": INGRESS}
FRAGMENTS: Final = (IPV4_FRAG(1, 1), IPV6_FRAG(1, 1))
GUARDED: Final = GUARD(Guard.STATEFUL, Guard.STATEFUL & Guard.STATELESS)


# ---- what is the same for all ports ---------------------------------------------------------------------------


def machine(view: View) -> Iterator[Flow]:
    """How both halves ask, and what becomes of the answer."""
    for half in (OUT, IN):
        yield from ask(half)
        yield from judge(half)
        yield from conclude(half)
    yield from recall()


def ask(half: Half) -> Iterator[Flow]:
    """Whose groups are asked; then to conntrack, or past it. DHCP, MLD and router discovery need no rule.

    Of the copies for the members of a network each goes to conntrack apart, for what comes back with it (see `judge`).
    What was found of the port asked before is forgotten: so `weft prove` need not carry it along to the next one.
    """
    nobodys = (ZONE.set(0), POLICY.set(0), GEN.set(0), WHY.set(0))
    anew = (*afresh(half), VERDICT.set(Verdict.DENIED), GUARD.set(Guard.UNKNOWN), *nobodys)
    yield Flow(half.port, "ask", ANY, (Move(half.guest, CHECKED), *anew, resubmit(PORT_POLICY), goto(half.track)))
    for match in half.control:
        yield Flow(half.track, "control", GUARDED & match, (goto(half.onward),))
    for family in FAMILIES.values():
        yield Flow(half.track, "guard", GUARD(Guard.STATEFUL) & family, (Apart((Track(ZONE, half.rules),)),))
    yield Flow(half.track, "guard", GUARD(Guard.STATELESS), (resubmit(EVALUATE), goto(half.done)))
    yield Flow(half.track, "guard", GUARD(Guard.OFF), (goto(half.onward),))


def afresh(half: Half) -> tuple[Set, ...]:
    """What a packet bears that goes to conntrack: the direction of this half, and no fragment's owner is known."""
    return (DIRECTION.set(half.direction), WHOSE.set(Whose.UNASKED), AGAIN.set(0))


def judge(half: Half) -> Iterator[Flow]:
    """What conntrack said decides what is asked.

    In user space Open vSwitch before 3.2.6, 3.3.5, 3.4.3 and 3.5.1 gives back, with the packets it was asked about,
    fragments of any others (lib/ipf.c): those whose time is over, as +inv, and those that found no room behind their
    own. They bear the registers of where they are, and the zone, the MACs and the connection of where they came from.
    """
    asked = (WHOSE.set(Whose.FOREIGN), resubmit(GIVEN_BACK), resubmit(half.rules))
    for fragment in FRAGMENTS:
        yield Flow(half.rules, "fragment", WHOSE(Whose.UNASKED) & fragment, asked)
    yield Flow(half.rules, "foreign", WHOSE(Whose.FOREIGN), (WHY.set(Why.FOREIGN_FRAGMENT), goto(DROP)))
    yield from doubt(half)
    yield from given_back(half)
    yield Flow(half.rules, "kept", VERDICT(Verdict.CURRENT) & ct_state("+trk-inv"), (goto(half.done),))
    yield Flow(half.rules, "known", ct_state("+trk-new-inv"), (resubmit(RECALL), goto(half.done)))
    yield Flow(half.rules, "new", ct_state("+trk+new-inv"), (resubmit(EVALUATE), goto(half.done)))


def given_back(half: Half) -> Iterator[Flow]:
    """Fragments behind `ct(commit)`, where those of a datagram that is denied, or not yet judged, may be given back.

    What was really remembered just now says so: its connection is of this policy, in the generation of now. Any other
    is judged as if it came back from where it was first asked about, and so is what was remembered while rules changed.
    SCTP whose ports conntrack did not read is remembered under no policy: its fragments are tested each for itself.
    What has run out of time (+inv) says nothing about a connection, whatever its flags.
    """
    own, unjudged = WHOSE(Whose.OWN), VERDICT.set(Verdict.DENIED)
    remembered = own & VERDICT(Verdict.CURRENT, Verdict.CURRENT & Verdict.ANEW) & ct_state("+trk-inv")
    yield Flow(half.rules, "lost", own & ct_state("+trk+inv"), (WHY.set(Why.NOT_TRACKED), goto(DROP)))
    asked = (unjudged, AGAIN.set(1), resubmit(GENERATION), resubmit(RECALL), goto(half.done))
    yield Flow(half.rules, "again", remembered, asked)
    for proto in (CT_PROTO4, CT_PROTO6):
        yield Flow(half.done, "again", AGAIN(1) & VERDICT(Verdict.ALLOWED) & proto(SCTP), (goto(half.onward),))


def doubt(half: Half) -> Iterator[Flow]:
    """Segments out of their connection's window: perhaps the connection is no more, and conntrack has not heard.

    If it is still allowed, who begins it anew is let through (RFC 9293 section 3.5.1): whoever has it still, answers
    with what the window allows, at which the other resets it, within the window again. Whoever has it no more agrees
    (SYN, ACK): then conntrack forgets it. Out of the window guests may reset what they began or answered; they hear no
    such reset. In user space alone: a kernel's conntrack does all this itself, and says nothing of what it doubts.
    """
    doubted, current = ct_state("+trk+inv"), VERDICT(Verdict.CURRENT)
    for flags in (TCP_FLAGS, TCP6_FLAGS):
        for flag in (SYN, RST) if half is OUT else (SYN,):
            yield Flow(half.rules, "doubted", doubted & flags(flag, flag), (resubmit(RECALL), goto(half.done)))
        agreed = current & doubted & flags(SYN_ACK, SYN_ACK)
        yield Flow(half.done, "anew", agreed, (VERDICT.set(Verdict.ANEW), resubmit(half.done)))
    anew = VERDICT(Verdict.ANEW)
    for family in FAMILIES.values():  # Open vSwitch commits nothing that a flow knows to be +inv
        yield Flow(half.done, "forgotten", anew & family, (*afresh(half), Commit(ZONE, (), half.rules, force=True)))
    yield Flow(half.rules, "anew", anew & doubted, (goto(half.onward),))
    beside = GUARD(Guard.STATEFUL) & doubted
    yield Flow(half.done, "doubted", beside, (WHY.set(Why.NOT_TRACKED), goto(DROP)))


def recall() -> Iterator[Flow]:
    """A connection that was judged under another policy is judged again, by the rules of the direction it began in."""
    for one, other in ((EGRESS, INGRESS), (INGRESS, EGRESS)):
        answer = ct_state("+trk+rpl") & DIRECTION(one)
        yield Flow(RECALL, "reply", answer, (DIRECTION.set(other), resubmit(EVALUATE)))
    yield Flow(RECALL, "stale", ANY, (resubmit(EVALUATE),))


def conclude(half: Half) -> Iterator[Flow]:
    """Onward or dropped; and remembered, which leads through RULES once more. An error about a connection (+rel)
    changes nothing in it.

    SCTP whose ports conntrack did not read is remembered under no policy, so that each packet is judged: another port's
    may be of the same connection. It is remembered anew each time, which holds the fragments of what is denied.

    Only of a port that asks conntrack is a connection cut: before another, ct_state may be the sender's still.
    """
    done, onward = half.done, goto(half.onward)
    allowed = VERDICT(Verdict.ALLOWED)
    yield Flow(done, "known", VERDICT(Verdict.CURRENT), (onward,))
    yield Flow(done, "stateless", GUARD(Guard.STATELESS) & allowed, (onward,))
    by, opener = Move(WHY, CT_BUNDLE), Move(SRC, CT_OPENER)
    judged = (Move(GEN, CT_GEN), Move(POLICY, CT_POLICY), by)
    for family in FAMILIES.values():
        proto = CT_PROTO4 if family == IPV4 else CT_PROTO6
        new, known = allowed & ct_state("+trk+new") & family, allowed & ct_state("+trk+est") & family
        yield Flow(done, "opened", new, keep(half, *judged, opener))
        yield Flow(done, "judged_again", known, keep(half, *judged))
        yield Flow(done, "unread", allowed & unread(family, proto, "+new"), keep(half, by, opener))
        yield Flow(done, "unread", allowed & unread(family, proto, "+est"), keep(half, by))
    yield Flow(done, "related", allowed & ct_state("+trk+rel-new-est"), (onward,))
    cut = GUARD(Guard.STATEFUL) & VERDICT(Verdict.DENIED) & ct_state("+trk+est")
    yield Flow(done, "cut", cut, (WHY.set(half.cut), goto(DROP)))


def keep(half: Half, *writes: Move) -> tuple[Action, ...]:
    """Remember the connection; it comes back as one that need not be judged."""
    return (*afresh(half), VERDICT.set(Verdict.CURRENT), Commit(ZONE, writes, half.rules))


# ---- ports and policies ---------------------------------------------------------------------------------------


def guest(view: View, port: Port) -> Iterator[Flow]:
    """The port's policy, and where its connections are kept."""
    placed = attached(view, port.id)
    if placed is None:
        return
    checked = CHECKED(view.tag("port", port.id))
    if port.port_security_enabled:
        policy = POLICY.set(view.tag("policy", port.policy))
        yield Flow(PORT_POLICY, "port", checked, (ZONE.set(placed.zone), policy, resubmit(GENERATION)))
        yield from own(port, checked & CT_ZONE(placed.zone))
    else:
        yield Flow(PORT_POLICY, "port", checked, (GUARD.set(Guard.OFF),))


def own(port: Port, checked: Match) -> Iterator[Flow]:
    """The fragments that the port sends, and those that are sent to it or to a group."""
    out, into = checked & DIRECTION(EGRESS), checked & DIRECTION(INGRESS)
    for mac in {port.mac_address, *(pair.mac_address for pair in port.allowed_address_pairs)}:
        yield Flow(GIVEN_BACK, "own", out & ETH_SRC(mac), (WHOSE.set(Whose.OWN),))
        yield Flow(GIVEN_BACK, "own", into & ETH_DST(mac), (WHOSE.set(Whose.OWN),))
    yield Flow(GIVEN_BACK, "own", into & GROUP_BIT, (WHOSE.set(Whose.OWN),))


def policy(view: View, policy: Policy) -> Iterator[Flow | Clause]:
    """What holds for every port under a policy: its generation, and the bundles that may allow something."""
    tag = view.tag("policy", policy.id)
    key = POLICY(tag)
    current = view.derive(generation, policy.id)
    stateful = all(view.derive(is_stateful, group) for group in policy.groups)
    guard = GUARD.set(Guard.STATEFUL if stateful else Guard.STATELESS)
    yield Flow(GENERATION, "policy", key, (GEN.set(current), guard))
    if stateful:
        allowed = key & CT_POLICY(tag) & CT_GEN(current)
        yield Flow(RECALL, "current", allowed, (VERDICT.set(Verdict.CURRENT),))
    found = [bundle for group in policy.groups for bundle in view.derive(bundles, group)]
    for direction, way in DIRECTIONS.items():
        asked = key & DIRECTION(way)
        own = [bundle for bundle in found if bundle.direction == direction]
        for bundle in own:
            if dimensions(bundle) > 1:
                yield clause(view, bundle, asked, 1)
        for ethertype, family in FAMILIES.items():
            all_of = [bundle for bundle in own if bundle.ethertype == ethertype and dimensions(bundle) == 1]
            if all_of:
                yield Flow(EVALUATE, "all", asked & family, allow(min(view.tag("bundle", each.id) for each in all_of)))


def generation(view: View, policy: str) -> int:
    """The newest number among the groups of a policy and those that their rules name."""
    groups = view.need(Policy, policy).groups
    return max((view.derive(_narrowed, group) for group in groups), default=0)


def _narrowed(view: View, group: str) -> int:
    numbers = [view.need(SecurityGroup, group).narrowed]
    for bundle in view.derive(bundles, group):
        if bundle.remote_group_id is not None:
            numbers.append(view.need(SecurityGroup, bundle.remote_group_id).members_narrowed)
        if bundle.remote_address_group_id is not None:
            numbers.append(view.need(AddressGroup, bundle.remote_address_group_id).narrowed)
    return max(numbers)


def bundles(view: View, group: str) -> tuple[Bundle, ...]:
    """The bundles of a group, by id."""
    return view.where(Bundle, security_group_id=group)


def is_stateful(view: View, group: str) -> bool:
    """Does conntrack follow what a group allows?"""
    return view.need(SecurityGroup, group).stateful


# ---- bundles and rules ----------------------------------------------------------------------------------------


def dimensions(bundle: Bundle) -> int:
    """How many things must hold at once: the policy, the remote if it is not everybody, the protocol if not any."""
    return 1 + has_remote(bundle) + (not bundle.any_protocol)


def has_remote(bundle: Bundle) -> bool:
    """Is a bundle about some remotes only?"""
    return any((bundle.remote_ip_prefix, bundle.remote_group_id, bundle.remote_address_group_id))


def clause(view: View, bundle: Bundle, match: Match, k: int) -> Clause:
    """A bundle's share of a conjunctive flow."""
    return Clause(EVALUATE, "rule", match, view.tag("bundle", bundle.id), k, dimensions(bundle))


def allow(tag: int) -> tuple[Action, ...]:
    """It is allowed, by this bundle."""
    return (VERDICT.set(Verdict.ALLOWED), WHY.set(tag))


def verdict(view: View, bundle: Bundle) -> Iterator[Flow | Clause]:
    """All dimensions of a bundle hold; and that of a remote that is a block of addresses."""
    if dimensions(bundle) > 1:
        tag = view.tag("bundle", bundle.id)
        yield Flow(EVALUATE, "rule", CONJ_ID(tag), allow(tag))
    if bundle.remote_ip_prefix is not None:
        yield from remote(view, bundle.id, bundle.remote_ip_prefix)


def remote(view: View, bundle_id: str, address: str) -> Iterator[Clause]:
    """The remote is this address, or in this block of them."""
    bundle = view.need(Bundle, bundle_id)
    headers = headers_of(view, bundle)
    end = headers.destination if bundle.direction == "egress" else headers.source
    yield clause(view, bundle, within(end, address), 2)


def protocol(view: View, rule: SecurityGroupRule) -> Iterator[Clause]:
    """What a rule says of protocol, ports, ICMP type and code; and fragments, which bear none of these but the first.

    Their datagram is held until it is whole, and its first fragment is judged by all of the rule. That a connection
    is of protocol 0 cannot be tested (see `fields`): a stateful rule for it allows nothing.
    """
    bundle = view.need(Bundle, rule.bundle)
    if bundle.any_protocol or (not protocol_number(rule) and view.derive(is_stateful, bundle.security_group_id)):
        return
    headers, k = headers_of(view, bundle), dimensions(bundle)
    proto = headers.proto(protocol_number(rule) or 0)
    matches = [*services(rule, headers, proto)]
    for match in matches:
        yield clause(view, bundle, match, k)
    if matches and matches != [proto]:
        yield clause(view, bundle, proto & headers.later, k)


def services(rule: SecurityGroupRule, headers: Headers, proto: Match) -> Iterator[Match]:
    """The first packets that a rule allows. Of protocols whose ports Open vSwitch cannot see, none is by port.

    Of SCTP whose ports conntrack did not read, each packet that goes to such a port, or answers from there; and errors
    about it, whichever port they mean.
    """
    number = protocol_number(rule) or 0
    type, code = type_and_code(rule)
    between = ports(rule)
    if between is not None:
        fields = [(proto, headers.high[number])] if number in headers.high else []
        fields += headers.unread if number == SCTP else ()
        yield from (match & field(*block) for match, field in fields for block in cover(*between))
        if number == SCTP and headers.unread:
            yield unread(FAMILIES[rule.ethertype], headers.proto, "+rel")
    elif type is not None:
        yield proto & headers.low[number](type) & (ANY if code is None else headers.high[number](code))
    else:
        yield proto


def headers_of(view: View, bundle: Bundle) -> Headers:
    """What a bundle is tested on: the tuple a connection began with, or each packet for itself."""
    stateful = view.derive(is_stateful, bundle.security_group_id)
    if bundle.ethertype == "IPv6":
        return ORIGINAL6 if stateful else PACKET6
    return ORIGINAL4 if stateful else PACKET4


APP = app(
    "security_groups",
    everywhere(machine),
    host(Port, guest),
    under(Policy, policy),
    guarding(Bundle, verdict),
    guarding(SecurityGroupRule, protocol),
    remotes(MEMBER_ADDRESSES, remote),
    remotes(LISTED_ADDRESSES, remote),
)

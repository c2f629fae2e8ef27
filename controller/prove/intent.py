"""Is what arrives what the model wants (`wanted`)? What is missing, and what is too much, of every pair of ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from controller.model.records import Port
from controller.prove.claims import Suspicion
from controller.prove.cloud import Cloud, Survey
from controller.prove.conntrack import BELIEVED
from controller.prove.outside import EXCESS, MISSING, Outside
from controller.prove.promise import Promise
from controller.prove.routes import Way
from controller.prove.rules import Test
from controller.prove.sets import Maybe, Set, union
from controller.prove.states import State
from controller.prove.values import number_of
from controller.prove.wanted import Receiver, Wanted

REWRITTEN: Final = "rewritten"
_GROUP: Final = 1 << 40
_IN_PARTS: Final = "ports that hear what wires tell, for MAC addresses of which part is known"
_FULL48: Final = (1 << 48) - 1


class Intent:
    """What arrives beside what should."""

    def __init__(self, cloud: Cloud, promise: Promise) -> None:
        self.cloud, self.space, self.wanted = cloud, cloud.space, Wanted(cloud, promise)

    @property
    def unjudged(self) -> Collection[tuple[str, str]]:
        """What nothing is asked about, and of what."""
        return self.wanted.unjudged

    def compared(self, survey: Survey, crowds: Collection[str]) -> Iterator[Suspicion]:
        """What arrives from these networks and should not, and what should and does not."""
        arrived = self._arrived(survey)
        for receivers in self.wanted.receivers_on.values():
            for receiver in receivers:
                at = self.cloud.by_port[receiver.port.id]
                for network in filter(crowds.__contains__, self.wanted.networks_of(receiver)):
                    for crossed in (False, True):
                        states = arrived.get((at.chassis, at.ofport, network, crossed), [])
                        yield from self._compared(receiver, network, crossed, states)
        yield from Outside(self.wanted).compared(survey, crowds)
        yield from self._rewritten(survey)

    def _arrived(self, survey: Survey) -> dict[tuple[str, int, str, bool], list[State]]:
        """What came to ports, by crowd, of what begins connections."""
        found: dict[tuple[str, int, str, bool], list[State]] = defaultdict(list)
        for each in survey.arrived:
            states = [state for state in each.states if self.cloud.algebra.value(state, BELIEVED) == 0]
            found[each.chassis, each.port, each.crowd, each.crossed] += states
        return found

    def _come(self, states: Iterable[State], crossed: bool) -> Set:
        """Packets as they were sent."""
        algebra = self.cloud.algebra
        come = union(map(algebra.as_sent, states), self.space.nothing)
        return algebra.forgotten(come) if crossed else come

    def _compared(
        self, receiver: Receiver, network: str, crossed: bool, states: Sequence[State]
    ) -> Iterator[Suspicion]:
        space, at, asked = (
            self.space,
            self.cloud.by_port[receiver.port.id],
            self.wanted.asked_of(receiver, network, crossed),
        )
        come = self._come(states, crossed) & asked
        wanted = self.wanted.due(receiver, network, crossed) & asked & self.wanted.sound(crossed)
        ways = self.wanted.ways(network).get(receiver.port.id, ())
        if come == wanted and not ways:
            return
        senders = self.cloud.senders(
            here
            for each in self.wanted.receivers_on[network]
            for here in [self.cloud.by_port[each.port.id]]
            if (here.chassis != at.chassis) == crossed and here is not at
        )
        name = f"port {receiver.port.id}"
        if (more := come & ~wanted & senders) != space.nothing:
            sentence = f"it reaches {name}, which its security groups, or the sender's, do not allow"
            yield Suspicion(EXCESS, sentence, more, at.chassis, at.ofport, at)
        if (less := wanted & ~come & senders) != space.nothing:
            sentence = f"it should reach {name} on {at.chassis}, and does not"
            yield Suspicion(MISSING, sentence, self.wanted.sendable(less, network), at.chassis, at.ofport, at)
        elif ways:
            yield from self._by_ways(receiver, network, crossed, states, ways, senders)

    def _by_ways(
        self,
        receiver: Receiver,
        network: str,
        crossed: bool,
        states: Sequence[State],
        ways: Sequence[Way],
        senders: Set,
    ) -> Iterator[Suspicion]:
        """Of several next hops each is taken, and no other router: which one it was the sender's MAC address tells."""
        space, at, algebra = self.space, self.cloud.by_port[receiver.port.id], self.cloud.algebra
        if (
            crossed and self.wanted.physical(receiver.port.network_id) is not None
        ):  # where routers bear their hypervisor's MAC
            for router, to, _ in (each for way in ways for each in way.end.chosen):
                self.wanted.leave("routes with several next hops over wires", f"{router} {to}")
            return
        asked = self.wanted.asked_of(receiver, network, crossed) & senders
        routed = asked & union(
            (
                space.is_("eth_dst", number_of(each.mac_address))
                for each in self.wanted.routes.by_network.get(network, ())
            ),
            space.nothing,
        )
        left = [*states]
        sent = self.wanted.sent(network, receiver.port, crossed) & self.wanted.allowed(receiver.port, "ingress")
        for source in dict.fromkeys(way.end.source for way in ways):
            test = Test("eth_src", number_of(source), _FULL48)
            come = self._come((algebra.narrowed(state, test) for state in left), crossed) & routed
            left = [algebra.less(state, test) for state in left]
            mine = [way for way in ways if way.end.source == source]
            self._told_apart(mine)
            wanted = union(map(self.wanted.routed, mine), space.nothing) & sent & routed & self.wanted.sound(crossed)
            chosen = next((f", by {_words(way)}" for way in mine if way.end.chosen), "")
            if (less := wanted & ~come) != space.nothing:
                sentence = f"it should reach port {receiver.port.id} on {at.chassis}{chosen}, and does not"
                yield Suspicion(
                    MISSING, sentence, self.wanted.sendable(less, network), at.chassis, at.ofport, at, how=True
                )
            if (more := come & ~wanted) != space.nothing:
                sentence = (
                    f"it reaches port {receiver.port.id} by a router that no route leads over{chosen and ' then'}"
                )
                yield Suspicion(
                    EXCESS, sentence, self.wanted.sendable(more, network), at.chassis, at.ofport, at, how=True
                )
        if (more := self._come(left, crossed) & routed) != space.nothing:
            sentence = f"it reaches port {receiver.port.id} by a router that no route leads over"
            yield Suspicion(EXCESS, sentence, self.wanted.sendable(more, network), at.chassis, at.ofport, at, how=True)

    def _told_apart(self, ways: Sequence[Way]) -> None:
        """Next hops behind which the way is the same at last are not told apart."""
        for place, way in enumerate(ways):
            for other in ways[:place]:
                if way.mac == other.mac and way.end.packets & other.end.packets != self.space.nothing:
                    router, to, _ = way.end.chosen[0]
                    self.wanted.leave("routes whose next hops lead to one router", f"{router} {to}")

    def _rewritten(self, survey: Survey) -> Iterator[Suspicion]:
        """What arrives with a MAC address of somebody else."""
        macs = {
            (at.chassis, at.ofport): {
                number_of(port.mac_address),
                *(number_of(p.mac_address) for p in port.allowed_address_pairs),
            }
            for at in self.cloud.by_port.values()
            if (port := self.cloud.rows.get(Port, at.port_id)) is not None and port.port_security_enabled
        }
        for each in survey.arrived:
            own = macs.get((each.chassis, each.port))
            if own is None:
                continue
            sets = []
            for state in each.states:
                if isinstance(self.cloud.algebra.value(state, "eth_dst"), Maybe):
                    self.wanted.leave(
                        "ports that hear what wires tell, for MAC addresses of which part is known",
                        f"{each.chassis} {each.port}",
                    )
                    continue
                left = self.cloud.algebra.less(state, Test("eth_dst", _GROUP, _GROUP))
                for mac in own:
                    left = self.cloud.algebra.less(left, Test("eth_dst", mac, (1 << 48) - 1))
                sets.append(left.packets)
            if (wrong := union(sets, self.space.nothing)) != self.space.nothing:
                at = self.cloud.guest(each.chassis, each.port)
                sentence = f"it reaches port {at.port_id if at else ''} for a MAC address that is not the port's"
                yield Suspicion(REWRITTEN, sentence, wrong, each.chassis, each.port, at)


def _words(way: Way) -> str:
    """Which next hops are taken."""
    return ", ".join(f"route {to} of router {router} via {hop}" for router, to, hop in way.end.chosen)

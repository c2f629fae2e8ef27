"""A packet that a switch handed over, and what comes of it: what is sent, what is asked, what is known from then on.

All of these are values: an app says them, and `controller.southbound` does them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from controller.flows.action import Action, resubmit
from controller.flows.fields import ETH_DST
from controller.flows.match import register
from controller.flows.pipeline import L3_OUT, NEIGH_HIT, Why
from controller.model.addresses import unpacked
from controller.model.records import Address, Mac

IPV4: Final = 0x0800
REGISTERS: Final = tuple(register(f"reg{number}", f"reg{number}") for number in range(16))


@dataclass(frozen=True, slots=True)
class Punted:
    """A frame, or its start, that a flow of table TRAP handed over, as it was then, and the registers it had.

    `in_port` is the OpenFlow port it came by; `source`, `router` and `net_in` are keys (SRC, RTR, NET_IN, and NET,
    the network that it was on, or was routed to). `registers` are all of them, by number; `chassis` is whose switch it
    was.
    """

    why: Why
    in_port: int
    source: int
    router: int
    net_in: int
    net: int
    frame: bytes
    registers: Mapping[int, int] = field(default_factory=dict)
    chassis: str = ""

    @property
    def next_hop(self) -> Address:
        """To whom it was routed, who may be of another IP version than the packet."""
        words = [self.registers.get(number, 0) for number in (4, 12, 13, 14, 15)]
        return unpacked(b"".join(word.to_bytes(4) for word in (words[:1] if words[0] else words[1:])))

    def resumed(self, mac: Mac) -> Resumed:
        """It goes on where it was, behind the look-up of its next hop."""
        kept: list[Action] = [REGISTERS[number].set(value) for number, value in sorted(self.registers.items())]
        onward = (*kept, ETH_DST.set(mac), NEIGH_HIT.set(1), resubmit(L3_OUT))
        return Resumed(self.in_port, onward, self.frame)


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame to send out of an OpenFlow port of the same switch."""

    port: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Resumed:
    """A frame that goes on in the same switch, as if it had come by an OpenFlow port, by these actions."""

    in_port: int
    actions: tuple[Action, ...]
    frame: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """A frame to send out of some OpenFlow ports of a chassis; so often, a second apart."""

    chassis: str
    ports: tuple[int, ...]
    frame: bytes
    times: int = 1


Outgoing = Reply | Resumed
"""What the switch that handed a packet over is to send."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Somebody wants the MAC address of an address that no flow knows; those who may hold it are to be asked.

    `then` says what is sent once it is known; replies that come with it are sent when it stays unknown. `anew`: they
    are asked even if it is known, by somebody who would take the address for its own.
    """

    network_id: str
    address: Address
    questions: tuple[Said, ...]
    then: Callable[[Mac], Outgoing]
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """A port may hold an address, and said that it does, at a MAC address: asked, or `unasked`, of its own accord.

    `port_id` is "" for a physical host on the network's wire.

    `frame` is what all the network should hear of it when that is news, unless a switch has told them; else empty.
    """

    network_id: str
    address: Address
    mac: Mac
    port_id: str
    unasked: bool
    frame: bytes = b""


@dataclass(frozen=True, slots=True)
class Announced:
    """A guest says of its own accord where an address is that the model gives it: all its network should hear `frame`.

    Who remembers another MAC address sends to who had the address before.
    """

    network_id: str
    address: Address
    port_id: str
    frame: bytes


Outcome = Outgoing | Sought | Heard | Announced

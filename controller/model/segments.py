"""The types that a network may be of, as declarations: what carries its frames, and how its segments are numbered.

overlay     a tunnel between hypervisors; the number names the network in all of the cloud
physical    the wire of a physical network that an operator has; frames bear the number as a VLAN tag, or none
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Type:
    """One type of network. `overhead` is what it takes of the MTU below it, in bytes, over IPv4.

    `first` and `last` are the numbers that its frames can bear: none if it has no numbers.
    """

    overhead: int = 0
    physical: bool = False
    first: int = 0
    last: int = 0

    @property
    def numbered(self) -> bool:
        """Has each network a number?"""
        return bool(self.last)


RESERVED: Final = 17
"""The last numbers of overlays, from the one that no field holds: hypervisors use them among themselves."""

TYPES: Final[Mapping[str, Type]] = {
    "vxlan": Type(overhead=50, first=1, last=(1 << 24) - RESERVED),
    "geneve": Type(overhead=50, first=1, last=(1 << 24) - RESERVED),
    "gre": Type(overhead=42, first=1, last=(1 << 32) - RESERVED),
    "vlan": Type(physical=True, first=1, last=4094),
    "flat": Type(physical=True),
}
"""Every type by its name in the API (`provider:network_type`)."""

IPV6_MORE: Final = 20
"""What each tunnel takes more over IPv6, whose header is that much longer."""

PHYSICAL: Final = frozenset(name for name, type in TYPES.items() if type.physical)
"""The types whose networks are on a wire."""

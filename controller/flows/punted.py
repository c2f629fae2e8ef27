"""A packet that a switch handed over, and what is sent in answer to it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.flows.pipeline import Why


@dataclass(frozen=True, slots=True)
class Punted:
    """A frame, or its start, that a flow of table TRAP handed over, as it was then, and the registers it had.

    `in_port` is the OpenFlow port it came by; `source`, `router` and `net_in` are keys (SRC, RTR, NET_IN, and NET,
    the network that it was on, or was routed to).
    """

    why: Why
    in_port: int
    source: int
    router: int
    net_in: int
    net: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame to send out of an OpenFlow port of the same switch."""

    port: int
    frame: bytes

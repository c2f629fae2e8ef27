"""What the fleet tells of itself: how far each chassis has got, who is no member, where packets leave, or end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from controller.flows.pipeline import Why
from controller.model.records import Chassis
from controller.southbound.explained import Explanation
from controller.southbound.member import Member


class State(Enum):
    """How far a chassis has got, in words; what it waits for, if it waits."""

    IN_STEP = "in step"
    BEHIND = "catching up"
    NO_SWITCH = "waits for its switch: ovs-vswitchd must connect to the controller's OpenFlow port"
    NO_DATABASE = "waits for its database: ovsdb-server must run, and ovs-vsctl get-manager must name the controller"
    DATABASE_LOST = "in step, but its database is lost: interfaces plugged now are not seen"


@dataclass(frozen=True, slots=True)
class Status:
    """One chassis as its operator should see it.

    `flows` is how many it should hold, `problem` "" when all is well; no gateway is active on one that is `drained`,
    and on one that is `recovering` only if there is no other.
    """

    chassis: Chassis
    member: Member
    flows: int
    state: State
    problem: str
    drained: bool
    recovering: bool


@dataclass(frozen=True, slots=True)
class Outside:
    """Where something leaves for the outside, the best chassis first, and which of them does it; `distributed` when it
    is where the guest is, and no gateway."""

    chassis: tuple[str, ...]
    active: str | None
    distributed: bool = False


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who connected and is no member, and why."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """How much a switch has dropped for one reason since it started, by its own count."""

    why: Why
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Culprit:
    """A flow that decides that packets are dropped, and how many it decided so since it was added."""

    why: Why
    packets: int
    bytes: int
    flow: Explanation

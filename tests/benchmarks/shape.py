"""Clouds of a given shape: as many networks, ports and hypervisors as a benchmark wants, spread evenly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from apps import APPS
from controller.flows.engine import Engine
from controller.model.store import Change, Model, Transaction
from tests.cloud import Work, egress, group, hypervisor, ingress, network, port


@dataclass(frozen=True, slots=True)
class Shape:
    """`networks` of `size` ports; each stands on `homes` of `chassis` hypervisors, with as many ports on each."""

    networks: int
    size: int
    homes: int
    chassis: int

    @property
    def ports(self) -> int:
        """How many ports there are in all."""
        return self.networks * self.size

    def home(self, network: int, member: int) -> int:
        """The hypervisor, counted from 0, of a port: its place among the ports of its network counts from 0 too."""
        return (network * self.homes + member % self.homes) % self.chassis

    def members(self) -> Iterator[tuple[int, int]]:
        """Every port: its network and its place in it."""
        return ((network, member) for network in range(self.networks) for member in range(self.size))


class Cloud:
    """The records of a shape without any I/O, and the engine over them; ports and networks are called by numbers.

    With `default_groups` each network is a project's, and its ports are in that project's default group; else nobody lets
    anything in.
    """

    def __init__(self, shape: Shape, *, default_groups: bool = False) -> None:
        self.shape, self._default_groups = shape, default_groups
        self.model = Model()
        self._plugged: list[list[str]] = [[] for _ in range(shape.chassis)]
        self._sizes = [0] * shape.networks
        works: list[Work] = [network(f"net{each}", each + 1) for each in range(shape.networks)]
        works += [_default_group(each) for each in range(shape.networks) if default_groups]
        works += [self.new_port(each) for each, _ in shape.members()]
        works += [self.joined(each) for each in range(shape.chassis)]
        self.write(*works)

    def engine(self) -> Engine:
        """The engine, from scratch."""
        return Engine(self.model, APPS)

    def write(self, *works: Work) -> Change:
        """Change the model and nothing else."""
        tx = Transaction(self.model)
        for work in works:
            work(tx)
        change = Change(self.model.revision + 1, "req-benchmark", tx.writes())
        self.model.apply(change)
        return change

    def new_port(self, network: int) -> Work:
        """One port more on a network, plugged where its turn is when that hypervisor is `joined` next."""
        member = self._sizes[network]
        self._sizes[network] += 1
        id = f"port{network}.{member}"
        self._plugged[self.shape.home(network, member)].append(id)
        high, low = divmod(member, 250)
        mac = f"02:{network >> 8:02x}:{network & 255:02x}:00:{high:02x}:{low + 1:02x}"
        groups = [f"default{network}"] if self._default_groups else ()
        return port(id, f"net{network}", mac, f"10.0.{high}.{low + 1}", groups=groups)

    def last_home(self, network: int) -> int:
        """The hypervisor of a network's newest port."""
        return self.shape.home(network, self._sizes[network] - 1)

    def joined(self, chassis: int) -> Work:
        """A hypervisor as it is now: its interfaces, their claims and their OpenFlow ports."""
        return hypervisor(chassis + 1, *self._plugged[chassis])


def _default_group(network: int) -> Work:
    """What Neutron gives each project: out to everybody, in from each other."""
    id = f"default{network}"
    allowed = [
        each for version in ("IPv4", "IPv6") for each in (egress(ethertype=version), ingress(ethertype=version, remote_group_id=id))
    ]  # fmt: skip
    return group(id, *allowed)

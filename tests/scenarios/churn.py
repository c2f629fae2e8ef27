"""Random churn of a whole cloud: whatever happens, in whatever order, it ends as the model says, and memory stays flat.

Ports are made, deleted, plugged, moved, renamed, taken down and up, restricted to hosts; networks are made, taken down
and deleted; hypervisors die and come back; the controller is killed, and interfaces change while it is dead. What is
drawn depends on the seed alone; how far it gets in some time, on the machine.

    python -m tests.scenarios.churn [--seconds 600] [--seed N]

The controller is killed in the first sixth alone: the memory of the one that lives on is what is looked at, from when
zones are given back as fast as they are taken, and only in runs that last until then.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.southbound.zones import AGAIN_S
from mininet_scenarios.hosts import Guest
from mininet_scenarios.lab import Lab, Network
from mininet_scenarios.rows import Row, concluded, show

MACHINES = 3
"""How many guests a hypervisor has."""
NETWORKS, PORTS, PROJECTS = 4, 24, 4
"""No more than these at a time, so that memory has no reason to grow: a project keeps its default group for good."""
GROWTH_MIB = 1.0
"""What Python takes from the system at a time (an arena: Objects/obmalloc.c of 3.11): memory that is flat moves by less.
In ten minutes some 4,000 steps lie between what is compared, so what leaves 250 bytes a step is found. What leaves less
is found by those who count (`tests.census`)."""
SETTLED_S = AGAIN_S + 10.0
"""So long after its start a controller has more and more conntrack zones in quarantine, and caches that are not full."""
HEAVY_EVERY = 60
"""One step in so many restarts something."""
CHECK_EVERY_S = 30.0


@dataclass(slots=True)
class Wire:
    """A port, and the guest that is plugged for it, if one is."""

    id: str
    network: Network
    ip: str
    mac: str
    up: bool = True
    host: str | None = None
    guest: Guest | None = None


class Churn:
    """The churn of one lab; `rows` says what came of it once `run` has ended."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab, self._draw = lab, random.Random(seed)
        self._names = itertools.count(1)
        self._networks: dict[str, Network] = {}
        self._closed: set[str] = set()
        self._wires: list[Wire] = []
        self._guests: list[Guest] = []
        self._life_mib: list[tuple[float, float]] = []
        self._minutes_mib: list[float] = []
        self.counts: Counter[str] = Counter()
        self._pairs = 0
        self._silent: list[str] = []

    # Steps; each leaves what it did in `self`, and one that cannot be done now does nothing

    def make_network(self) -> None:
        """A new network; they all have the same subnet."""
        if len(self._networks) < NETWORKS:
            kind = self._draw.choice(("vxlan", "geneve"))
            number = next(self._names)
            project = f"project-{number % PROJECTS}"
            made = self._lab.network(f"net{number}", cidr="10.0.0.0/24", project=project, type=kind)
            self._networks[made.id] = made

    def delete_network(self) -> None:
        """Delete a network with all its ports; their interfaces stay plugged, for nobody."""
        if len(self._networks) > 2:
            network = self._draw.choice(list(self._networks.values()))
            for wire in [wire for wire in self._wires if wire.network is network]:
                self._delete(wire)
            self._lab.api.delete(f"/v2.0/networks/{network.id}")
            del self._networks[network.id]
            self._closed.discard(network.id)

    def close_network(self) -> None:
        """Take a network down, or up."""
        if self._networks:
            id = self._draw.choice(list(self._networks))
            self._closed ^= {id}
            self._lab.api.put(f"/v2.0/networks/{id}", {"network": {"admin_state_up": id not in self._closed}})

    def make_port(self) -> None:
        """A new port."""
        if self._networks and len(self._wires) < PORTS:
            self._port(self._draw.choice(list(self._networks.values())))

    def _port(self, network: Network) -> Wire:
        taken = {wire.ip for wire in self._wires if wire.network is network}
        last = self._draw.choice([n for n in range(2, 100) if f"10.0.0.{n}" not in taken])
        ip, mac = f"10.0.0.{last}", f"02:00:00:00:00:{last:02x}"
        made = self._lab.port(f"port{next(self._names)}", network=network, ip=ip, mac=mac)
        self._wires.append(Wire(made["id"], network, ip, mac))
        return self._wires[-1]

    def delete_port(self) -> None:
        """Delete a port; its interface, if it has one, stays plugged for nobody."""
        if len(self._wires) > 5:
            self._delete(self._draw.choice(self._wires))

    def _delete(self, wire: Wire) -> None:
        self._lab.api.delete(f"/v2.0/ports/{wire.id}")
        self._wires.remove(wire)

    def plug(self) -> None:
        """Plug a guest for a port: one that had none, or whose port is left without; or move the port there."""
        if self._wires:
            wire, guest = self._draw.choice(self._wires), self._draw.choice(self._guests)
            old, first = wire.guest, self._draw.random() < 0.5
            if old is not None and old is not guest and first:
                self._free(old)
            self._wire(guest, wire)
            if old is not None and old is not guest and not first:
                self._free(old)
                wire.guest = guest

    def _wire(self, guest: Guest, wire: Wire) -> None:
        self._free(guest)
        guest.port_id = wire.id
        guest.becomes(wire.ip, wire.mac)
        guest.plug()
        wire.guest = guest

    def unplug(self) -> None:
        """Unplug a guest."""
        self._free(self._draw.choice(self._guests))

    def _free(self, guest: Guest) -> None:
        guest.unplug()
        for wire in self._wires:
            if wire.guest is guest:
                wire.guest = None

    def rename(self) -> None:
        """Rename a port."""
        self._put({"name": f"port{next(self._names)}"})

    def take_down(self) -> None:
        """Take a port down, or up."""
        if wire := self._put({}):
            wire.up = not wire.up
            self._lab.api.put(f"/v2.0/ports/{wire.id}", {"port": {"admin_state_up": wire.up}})

    def restrict(self) -> None:
        """Restrict a port to a host, most often the one where it is, or unbind it."""
        if wire := self._put({}):
            here = wire.guest.hypervisor.name if wire.guest else ""
            wire.host = self._draw.choice((here, here, here, "", *self._lab.hypervisors))
            self._lab.api.put(f"/v2.0/ports/{wire.id}", {"port": {"binding:host_id": wire.host}})

    def _put(self, attributes: dict[str, object]) -> Wire | None:
        if not self._wires:
            return None
        wire = self._draw.choice(self._wires)
        if attributes:
            self._lab.api.put(f"/v2.0/ports/{wire.id}", {"port": attributes})
        return wire

    def restart_hypervisor(self) -> None:
        """Kill one or both daemons of a hypervisor, and start them again."""
        hypervisor = self._draw.choice(list(self._lab.hypervisors.values()))
        switch, database = self._draw.choice(((True, False), (False, True), (True, True)))
        hypervisor.crash(switch=switch, database=database)
        hypervisor.revive()

    def kill_controller(self) -> None:
        """Kill the controller, change what is plugged, and start it again."""
        self._lab.controller.kill()
        for _ in range(self._draw.randrange(4)):
            self._draw.choice((self.plug, self.unplug))()
        self._lab.controller.start()
        self._life_mib = []

    # The run

    def run(self, *, seconds: float = math.inf, steps: float = math.inf) -> None:
        """Churn for so long, or for so many steps; look now and then whether all is as it should be.

        Raises what the lab raises.
        """
        nothing = self._lab.network("nothing", cidr="10.0.0.0/24", project="nobody")
        for name in self._lab.hypervisors:
            for number in range(MACHINES):
                guest = self._lab.machine(
                    f"{name}-{number}", network=nothing, on=name, ip="10.0.0.254", mac="02:00:00:00:00:fe"
                )
                self._guests.append(guest)
        light: dict[Callable[[], None], int] = {
            self.make_network: 2, self.delete_network: 1, self.close_network: 1, self.make_port: 8, self.delete_port: 4,
            self.plug: 8, self.unplug: 2, self.rename: 4, self.take_down: 4, self.restrict: 2,
        }  # fmt: skip
        start = time.monotonic()
        checked = start
        for step in itertools.count(1):
            passed = max(step / steps, (time.monotonic() - start) / seconds)
            if passed > 1:
                break
            if step % HEAVY_EVERY == 0:
                kill = passed < 1 / 6 and step // HEAVY_EVERY % 2
                chosen = self.kill_controller if kill else self.restart_hypervisor
            else:
                (chosen,) = self._draw.choices(list(light), list(light.values()))
            chosen()
            self.counts[chosen.__name__] += 1
            if step % 20 == 0:
                self._look(time.monotonic() - start)
            if time.monotonic() > checked + CHECK_EVERY_S:
                self.settles()
                checked = time.monotonic()
        self.settles()
        self._ask()

    def settles(self) -> None:
        """`Lab.settles`, once the lab knows which guests are to be wired."""
        for guest in self._guests:
            guest.plugged = False
        for wire in self._wires:
            guest_ = wire.guest
            if guest_ is not None:
                guest_.plugged = wire.host in (None, guest_.hypervisor.name)
                guest_.network_id = wire.network.id
        self._lab.settles()

    def _look(self, seconds: float) -> None:
        """Remember how much memory the controller has now."""
        self._life_mib.append((seconds, self._resident_mib()))
        if seconds >= 60 * (len(self._minutes_mib) + 1):
            self._minutes_mib.append(self._life_mib[-1][1])

    def _resident_mib(self) -> float:
        daemon = self._lab.controller.daemon
        assert daemon is not None
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def _ask(self) -> None:
        """Take all up that is down, plug who is idle, let guests ping each other, and remember who could not."""
        for id in self._closed:
            self._lab.api.put(f"/v2.0/networks/{id}", {"network": {"admin_state_up": True}})
        for wire in self._wires:
            if not wire.up:
                self._lab.api.put(f"/v2.0/ports/{wire.id}", {"port": {"admin_state_up": True}})
        while not self._networks:
            self.make_network()
        for guest in self._guests:
            if not guest.plugged:
                network = next(iter(self._networks.values()))
                self._wire(guest, self._port(network))
        self.settles()
        for network in self._networks.values():
            wired = [wire for wire in self._wires if wire.network is network and wire.guest and wire.guest.plugged]
            for one, other in itertools.pairwise(wired):
                assert one.guest is not None
                self._pairs += 1
                if not one.guest.pings(other.ip, count=2):
                    self._silent.append(f"{one.guest} to {other.guest}")

    def rows(self) -> Iterator[Row]:
        """What had to be seen at the end, and what was."""
        steps = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        yield Row(f"{self.counts.total()} steps", "settled", f"settled; {steps}", True)
        yield Row.equal(f"{self._pairs} pairs of guests ping each other", "all", ", ".join(self._silent) or "all")
        yield from self._memory()

    def _memory(self) -> Iterator[Row]:
        began = self._life_mib[0][0] if self._life_mib else 0.0
        settled = [mib for at, mib in self._life_mib if at > began + SETTLED_S]
        part = len(settled) // 3
        if part:
            first, last = statistics.median(settled[:part]), statistics.median(settled[-part:])
            minutes = ", ".join(f"{mib:.1f}" for mib in self._minutes_mib)
            seen = f"{first:.1f} MiB, then {last:.1f} MiB; each minute: {minutes}"
            wanted = f"grows by less than {GROWTH_MIB:g} MiB"
            yield Row("memory of the controller", wanted, seen, last < first + GROWTH_MIB)


def main(arguments: Sequence[str] | None = None) -> int:
    """Churn, and end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="churn", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--seed", type=int, default=None, help="what to draw (another one each time)")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)

    def play() -> list[Row]:
        with Lab(hypervisors=3) as lab:
            churn = Churn(lab, seed)
            churn.run(seconds=options.seconds)
            rows = list(churn.rows())
            print(show(rows))
            return rows

    return concluded(play)


if __name__ == "__main__":
    sys.exit(main())

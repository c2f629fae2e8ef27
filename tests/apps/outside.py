"""A small cloud with an outside: what tests of gateways, translation and floating IPs begin with."""

from __future__ import annotations

from tests.cloud import Cloud, floating_ip, gateway, hypervisor, interface, network, port, router, subnet

RED_MAC, GATE_MAC, FLOATING_MAC = "02:00:00:00:0a:01", "02:00:00:00:0e:10", "02:00:00:00:0e:64"


def add_outside(cloud: Cloud) -> None:
    """Guests vm1 (10.0.0.1, hv1) and vm2 (10.0.0.2, hv2) of red (key 1), whose router r (key 1) has 172.24.0.10 on ext
    (key 2), a flat network; hv2 and hv3 may be its gateway, hv2 first. hv1 is on the wire, too."""
    cloud.commit(lambda tx: tx.tag("physical", "phys"))
    cloud.commit(network("red", 100), network("ext", None, "flat", physical_network="phys", external=True, mtu=1500))
    cloud.commit(
        subnet("red4", "red", "10.0.0.0/24", "10.0.0.254"), subnet("ext4", "ext", "172.24.0.0/24", "172.24.0.1")
    )
    cloud.commit(*(port(f"vm{n}", "red", f"02:00:00:00:00:0{n}", f"10.0.0.{n}") for n in (1, 2)))
    cloud.commit(
        hypervisor(1, "vm1", physical=("phys",), watches=(2, 3)),
        hypervisor(2, "vm2", physical=("phys",), priority=20),
        hypervisor(3, physical=("phys",), priority=10, watches=(2,)),
    )
    cloud.commit(router("r", external_network_id="ext"))
    cloud.commit(
        interface("r-red", "r", "red", RED_MAC, red4="10.0.0.254"),
        gateway("r-ext", "r", "ext", GATE_MAC, ext4="172.24.0.10"),
    )


def add_floating(cloud: Cloud, port: str = "vm1", fixed: str = "10.0.0.1") -> None:
    """The floating IP 172.24.0.100 stands for vm1."""
    cloud.commit(floating_ip("f", "ext", FLOATING_MAC, "172.24.0.100", "r", port, fixed))

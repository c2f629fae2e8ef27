"""What a lab uses of Mininet, which ships no types and imports deprecated modules: it is imported here alone."""

from __future__ import annotations

import warnings

__all__ = ["CLI", "Mininet", "Node", "OVSSwitch", "RemoteController", "empty_topology"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # mininet 2.3.0.dev6 imports distutils
    from mininet.cli import CLI
    from mininet.net import Mininet
    from mininet.node import Node, OVSSwitch, RemoteController


def empty_topology() -> Mininet:
    """A Mininet to put nodes into."""
    # Mininet() would raise limits of the whole machine first (fs.file-max, kernel.pty.max): tell it that it has.
    Mininet.inited = True
    return Mininet(topo=None, build=False)

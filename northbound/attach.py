"""`weft attach`: the one command by which a hypervisor joins, printed or run.

It is run on the hypervisor. `set-manager` replaces the managers that are there, so if there are any, attach
offers to add Weft's beside them instead.
"""

from __future__ import annotations

import argparse
import ipaddress
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence

from controller.errors import Invalid

DEFAULT_PORT = 6640
BACKOFF_MS = 1000
ENCAPS = frozenset({"vxlan", "geneve", "gre"})


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `weft attach`."""
    parser.add_argument(
        "controller", metavar="CONTROLLER[:PORT]", help=f"where weft serve is (port {DEFAULT_PORT}); IPv6 in [ ]"
    )
    parser.add_argument("--encap-ip", required=True, help="this hypervisor's address on the underlay")
    parser.add_argument("--encap-type", default="geneve,vxlan", help="encapsulations it offers (default geneve,vxlan)")
    parser.add_argument("--system-id", default=socket.gethostname(), help="its name (default: the host name)")
    parser.add_argument("--bridge-mappings", help="physnet1:br-ex,...")
    parser.add_argument("--datapath-type", choices=("system", "netdev"), help="kernel or userspace datapath")
    parser.add_argument("--gateway-priority", type=int, help="may host SNAT, with this rank")
    parser.add_argument("--availability-zone", help="the zone that it is in (default nova)")
    parser.add_argument("--bridge", help="the integration bridge (default br-int)")
    parser.add_argument("--add", action="store_true", help="keep the managers that are there")
    parser.add_argument("--run", action="store_true", dest="execute", help="run the command, too")


def command(options: argparse.Namespace, managers: Sequence[str] = ()) -> list[str]:
    """The ovs-vsctl command; `managers` are kept beside ours. Raises Invalid.

    `max_backoff` is how many ms a hypervisor waits between two attempts to reach a controller that is away. A manager
    that is in-band, as by default, has hidden flows on every bridge, which ovs-vswitchd makes anew whenever it wakes.
    """
    target = _target(options.controller)
    try:
        ipaddress.ip_address(options.encap_ip)
    except ValueError:
        raise Invalid("--encap-ip", f"'{options.encap_ip}' is no IP address") from None
    types = options.encap_type.split(",")
    if not ENCAPS.issuperset(types):
        raise Invalid("--encap-type", f"'{options.encap_type}' is no list of {', '.join(sorted(ENCAPS))}")
    keys = {
        "system-id": options.system_id,
        "weft-encap-ip": options.encap_ip,
        "weft-encap-type": options.encap_type,
        "weft-bridge-mappings": options.bridge_mappings,
        "weft-datapath-type": options.datapath_type,
        "weft-gateway-priority": options.gateway_priority,
        "weft-availability-zone": options.availability_zone,
        "weft-bridge": options.bridge,
    }
    words = [f"external_ids:{key}={value}" for key, value in keys.items() if value is not None]
    settings = [f"max_backoff={BACKOFF_MS}", "connection_mode=out-of-band"]
    manage = ["set-manager", *managers, target, "--", "set", "manager", target, *settings]
    return ["ovs-vsctl", "set", "Open_vSwitch", ".", *words, "--", *manage]


def _target(controller: str) -> str:
    """Where ovsdb-server is to connect (ovsdb(7)); an IPv6 address with a port is in brackets."""
    try:
        port, host = DEFAULT_PORT, str(ipaddress.ip_address(controller.strip("[]")))
    except ValueError:
        host, colon, after = controller.rpartition(":") if ":" in controller else (controller, "", "")
        port = int(after) if after.isdecimal() else DEFAULT_PORT
        host = host.removeprefix("[").removesuffix("]")
        if not host or (colon and not after.isdecimal()) or not 0 < port < 1 << 16:
            raise Invalid("CONTROLLER", f"'{controller}' is not HOST, HOST:PORT or [IPV6]:PORT") from None
    return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"


def run(options: argparse.Namespace) -> int:
    """Print or run it."""
    there = _managers()
    target = _target(options.controller)
    theirs = [each for each in there if each != target]
    if theirs and not options.add:
        print(
            f"weft: this replaces the managers {' '.join(theirs)}; with --add they are kept beside Weft",
            file=sys.stderr,
        )
    words = command(options, theirs if options.add else ())
    print(shlex.join(words))
    failed = options.execute and subprocess.run(words, check=False).returncode
    return 2 if failed else 0


def _managers() -> list[str]:
    try:
        found = subprocess.run(
            ["ovs-vsctl", "--timeout=5", "get-manager"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return []  # not on a hypervisor: the command is only printed
    return found.stdout.split()

"""What becomes of one packet, and why a port is down, or does not reach an address."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from northbound.commands import connections
from northbound.commands.asking import Add, command, controller, print_json

SENDER = "the port that sends, by id or name; or the address of a host of a physical network"

TRACED = {
    "sport": "the source port (default: 49152)",
    "dport": "the destination port",
    "type": "the ICMP type (default: an echo request)",
    "code": "the ICMP code (default: 0)",
    "ttl": "TTL or hop limit (default: 64)",
    "size": "bytes of the IP packet (default: few)",
}
"""The numbers that a traced packet may have."""


def add_trace(add: Add) -> None:
    """`weft trace`."""
    way = command(add("trace", help="what becomes of one packet, and why"), _trace)
    way.add_argument("--from", required=True, metavar="PORT", help="the port that sends, by id or name")
    way.add_argument("--to", required=True, metavar="ADDRESS|PORT", help="an IP address, or a port by id or name")
    way.add_argument("--source", metavar="ADDRESS", help="the address that the packet bears (default: the port's)")
    way.add_argument("--proto", help="tcp, udp, icmp, sctp or a number (default: icmp)")
    for name, what in TRACED.items():
        way.add_argument(f"--{name}", type=int, metavar="N", help=what)
    way.add_argument("--installed", action="store_true", help="through what switches hold, not what they should")
    way.add_argument(
        "--conntrack",
        action="append",
        default=[],
        metavar="CHASSIS[=FILE]",
        help=f"what connections it has: {connections.TEXT}",
    )
    way.add_argument("--ofproto", action="store_true", help="tell the commands that ask each Open vSwitch the same")
    way.add_argument("--live", action="store_true", help="send it, too, marked; ends 1 unless it ends as foretold")


def _trace(options: argparse.Namespace) -> int:
    asked = {name: getattr(options, name) for name in ("from", "to", "source", "proto", *TRACED)}
    asked |= {name: True for name in ("live", "installed", "ofproto") if getattr(options, name)}
    if options.conntrack or (options.installed and options.bundle):
        asked["conntrack"] = {**connections.all_kept(options), **dict(map(connections.named, options.conntrack))}
    answer = controller(options).post("/v1/trace", {name: value for name, value in asked.items() if value is not None})
    if options.json:
        print_json(answer)
    else:
        from northbound import tracing  # which loads what traces

        for line in tracing.text(answer):
            print(line)
    agrees = not options.live or answer["live"]["agrees"]
    return 0 if agrees and answer["fate"] == "delivered" else 1


def add_why_down(add: Add) -> None:
    """`weft why-down`."""
    down = command(add("why-down", help="why a port is not ACTIVE"), _why_down)
    down.add_argument("port", help="by id or name")


def _why_down(options: argparse.Namespace) -> int:
    answer = controller(options).get(f"/v1/why-down/{quote(options.port, safe='')}")
    if options.json:
        print_json(answer)
    else:
        print("\n".join(answer["reasons"]) or f"port {answer['port']} is {answer['status']}")
    return 1 if answer["reasons"] else 0


def add_why(add: Add) -> None:
    """`weft why`."""
    apart = command(add("why", help="why a port does not reach an address"), _why)
    apart.add_argument("from", metavar="PORT|ADDRESS", help=SENDER)
    apart.add_argument("to", metavar="ADDRESS|PORT", help="an IP address, or a port by id or name")
    apart.add_argument("--proto", help="tcp, udp, icmp, sctp or a number (default: icmp)")
    apart.add_argument("--dport", type=int, metavar="N", help="the destination port")


def _why(options: argparse.Namespace) -> int:
    asked = {name: getattr(options, name) for name in ("from", "to", "proto", "dport")}
    answer = controller(options).post("/v1/why", asked)
    if options.json:
        print_json(answer)
    else:
        from northbound import why  # which loads what the controller is made of

        print("\n".join(why.told(answer)))
    return 0 if answer["fate"] == "delivered" and not any(answer["ports"].values()) else 1

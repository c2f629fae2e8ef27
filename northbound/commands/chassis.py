"""The hypervisors: how far each has got, which may be gateways, which are gone, which to put right."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from northbound.client import NotThere, Unanswered
from northbound.commands.asking import CHASSIS, Add, command, controller, print_json


def add_chassis(add: Add) -> None:
    """`weft chassis`."""
    chassis = add("chassis", help="the hypervisors").add_subparsers(required=True, metavar="ACTION")
    listing = command(chassis.add_parser("list", help="each hypervisor and how far it has got"), _chassis_list)
    listing.add_argument(
        "--wait", type=float, default=0, metavar="SECONDS", help="until all are in step, at most so long"
    )
    drain = command(
        chassis.add_parser("drain", help="move the gateways of routers to others"), _chassis_drain, asks=False
    )
    drain.add_argument("chassis", help=CHASSIS)
    drain.add_argument("--undo", action="store_true", help="let gateways be active there again")
    forget = command(
        chassis.add_parser("delete", help="forget a hypervisor that is gone for good"), _chassis_delete, asks=False
    )
    forget.add_argument("chassis", help=CHASSIS)


def _chassis_list(options: argparse.Namespace) -> int:
    client = controller(options)
    answer = client.get("/v1/chassis")
    deadline = time.monotonic() + options.wait
    while not _all_in_step(answer) and time.monotonic() < deadline:
        print(_progress(answer), file=sys.stderr)
        time.sleep(1)
        answer = client.get("/v1/chassis")
    well = _all_in_step(answer)
    if options.json:
        print_json(answer)
        return 0 if well else 1
    print(f"{'NAME':<16} {'HOSTNAME':<16} {'REVISION':>8} {'APPLIED':>8} {'FLOWS':>7}  {'UNDERLAY':<24} STATE")
    for chassis in answer["chassis"]:
        applied = "-" if chassis["applied_revision"] is None else chassis["applied_revision"]
        underlay = f"{chassis['encap_ip'] or '-'} {','.join(chassis['encap_types'])}"
        print(
            f"{chassis['name']:<16} {chassis['hostname']:<16} {chassis['revision']:>8} {applied:>8} "
            f"{chassis['flows']:>7}  {underlay:<24} {chassis['state']}"
        )
        refused = (each["error"] for each in chassis["refused_flows"])
        for trouble in filter(None, (chassis["problem"], *refused, chassis["advice"])):
            print(f"    {trouble}")
    for stranger in answer["strangers"]:
        print(f"    {stranger['address']}: {stranger['reason']}")
    return 0 if well else 1


def _all_in_step(answer: Mapping[str, Any]) -> bool:
    return all(_is_in_step(chassis) for chassis in answer["chassis"])


def _is_in_step(chassis: Mapping[str, Any]) -> bool:
    at = chassis["applied_revision"] == chassis["revision"]
    well = chassis["state"] == "in step" and not chassis["problem"] and not chassis["refused_flows"]
    return bool(chassis["connected"] and at and well)


def _progress(answer: Mapping[str, Any]) -> str:
    behind = [
        f"{each['name']} {each['problem'] or each['state']}" for each in answer["chassis"] if not _is_in_step(each)
    ]
    return f"{len(answer['chassis']) - len(behind)} of {len(answer['chassis'])} in step; " + "; ".join(behind[:3])


def _chassis_drain(options: argparse.Namespace) -> int:
    answer = controller(options).put(f"/v1/chassis/{quote(options.chassis, safe='')}", {"gateway": options.undo})
    if options.json:
        print_json(answer)
    elif answer["chassis"]["gateway_priority"] is None:
        print(f"{options.chassis} has no weft-gateway-priority: it is no gateway anyway")
    return 0


def _chassis_delete(options: argparse.Namespace) -> int:
    controller(options).delete(f"/v1/chassis/{quote(options.chassis, safe='')}")
    return 0


def add_repair(add: Add) -> None:
    """`weft repair`."""
    repair = command(
        add("repair", help="dump a switch and put right what is not as it should be"),
        _repair,
        asks=False,
    )
    repair.add_argument("chassis", nargs="*", help=f"{CHASSIS} (default: all that are connected)")
    repair.add_argument("--chassis", dest="only", action="append", default=[], metavar="NAME", help="the same")
    repair.add_argument("--object", metavar="ID|NAME", help="only what this object wants there; nothing is removed")


def _repair(options: argparse.Namespace) -> int:
    client = controller(options)
    connected = [each["name"] for each in client.get("/v1/chassis")["chassis"] if each["connected"]]
    named = [*options.chassis, *options.only]
    wanted = named or connected
    if not wanted:
        raise Unanswered("no hypervisor is connected, so there is nothing to repair")
    query = f"?{urlencode({'object': options.object})}" if options.object else ""
    done = {}
    for name in wanted:
        try:
            done[name] = client.post(f"/v1/repair/{quote(name, safe='')}{query}", {})
        except NotThere:
            if named or not options.object or (name == wanted[-1] and not done):
                raise  # else it wants nothing there, and something elsewhere
    if options.json:
        print_json(done)
        return 0
    for name, each in done.items():
        print(f"{name}: {each['flow_mods']} flows and {each['group_mods']} groups put right")
    return 0

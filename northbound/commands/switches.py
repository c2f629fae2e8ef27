"""What switches should hold, what they hold otherwise, what they drop; proved, and counted."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote, urlencode

from northbound import explain, verdict
from northbound.client import Unanswered
from northbound.commands.asking import CHASSIS, Add, at_least_one, command, controller, print_json

PROOF_S = 1800
"""A proof of a large cloud takes its time."""
DIFFERENCES = {
    "missing": "-",
    "unwanted": "+",
    "altered": "~",
    "foreign": "foreign",
    "refused": "refused",
    "conflicts": "conflict",
}
"""The kinds of difference in `/v1/diff`, and the sign of each in the text."""


def add_flows(add: Add) -> None:
    """`weft flows`."""
    flows = command(add("flows", help="what a hypervisor's switch should hold"), _flows)
    flows.add_argument("chassis", help=CHASSIS)
    flows.add_argument("--object", metavar="ID|NAME", help="only those that this object wants")
    flows.add_argument("--counts", action="store_true", help="with the packets and bytes that the switch has counted")
    flows.add_argument("--plain", action="store_true", help="without the reasons (ovs-ofctl add-flows reads both)")
    flows.add_argument("--groups", action="store_true", help="the groups instead, as ovs-ofctl add-groups reads them")


def _flows(options: argparse.Namespace) -> int:
    asked = {"object": options.object, "counts": "true" if options.counts else None}
    query = urlencode({name: value for name, value in asked.items() if value})
    answer = controller(options).get(f"/v1/flows/{quote(options.chassis, safe='')}?{query}")
    if options.json:
        print_json(answer)
        return 0
    for entry in answer["groups"] if options.groups else answer["flows"]:
        if not options.plain:
            counted = f"{entry['packets']} packets, {entry['bytes']} bytes: " if "packets" in entry else ""
            print(f"# {counted}{explain.sentence(entry)}")
        print(f"cookie={entry['cookie']},{entry['text']}" if entry["cookie"] else entry["text"])
    return 0


def add_drops(add: Add) -> None:
    """`weft drops`."""
    dropped = command(add("drops", help="which flows decide that packets are dropped, and whose"), _drops)
    dropped.add_argument("chassis", nargs="*", help=f"{CHASSIS} (default: all that are connected)")
    dropped.add_argument("--top", type=at_least_one, default=20, metavar="N", help="how many at the most (default: 20)")


def _drops(options: argparse.Namespace) -> int:
    query = "&".join(f"chassis={quote(name, safe='')}" for name in options.chassis)
    answer = controller(options).get(f"/v1/drops?{query}")
    code = 2 if answer["unreachable"] and not answer["chassis"] else 0
    if options.json:
        print_json(answer)
        return code
    for each in answer["drops"][: options.top]:
        whose = explain.objects(each["flow"])
        said = f"{each['sentence']} -> {whose}" if whose else each["sentence"]
        print(f"{each['chassis']} {each['packets']:>9} {each['reason']:<17} {said}")
    for name in answer["unreachable"]:
        print(f"{name} ? not connected, so not asked")
    print(f"{sum(each['packets'] for each in answer['drops'])} packets dropped by {len(answer['drops'])} flows")
    return code


def add_diff(add: Add) -> None:
    """`weft diff`."""
    command(add("diff", help="where switches hold something else than they should"), _diff)


def _diff(options: argparse.Namespace) -> int:
    answer = controller(options).get("/v1/diff")
    different = bool(answer["failures"]) or any(each[kind] for each in answer["chassis"] for kind in DIFFERENCES)
    code = 1 if different else 2 if answer["unreachable"] else 0
    if options.json:
        print_json(answer)
        return code
    for chassis in answer["chassis"]:
        for kind, sign in DIFFERENCES.items():
            for text in chassis[kind]:
                print(f"{chassis['name']} {sign} {text}")
                if why := chassis["why"].get(text):
                    print(f"      # {explain.sentence(why)}")
    for cell, reason in answer["failures"].items():
        print(f"failed {cell}: {reason}")
    for name in answer["unreachable"]:
        print(f"{name} ? not connected, so not compared")
    away = f"; {len(answer['unreachable'])} not compared" if answer["unreachable"] else ""
    print(f"{len(answer['chassis'])} hypervisors compared, {'they differ' if different else 'no difference'}{away}")
    return code


def add_prove(add: Add) -> None:
    """`weft prove`."""
    proof = command(
        add("prove", help="prove over what switches hold that tenants are apart, and what else is claimed"),
        _prove,
    )
    proof.add_argument("--reaches", metavar="PORT", help="prove instead that only those of --only reach this port")
    proof.add_argument("--only", metavar="PORT,...", default="", help="ports by id or name, with commas between them")
    proof.add_argument(
        "--live",
        action="store_true",
        help="send each packet that is against a claim, marked, and say what became of it",
    )


def _prove(options: argparse.Namespace) -> int:
    asked: dict[str, Any] = {} if options.reaches is None else {"reaches": options.reaches}
    if options.only:
        asked["only"] = [each for each in options.only.split(",") if each]
    if options.live:
        if options.bundle:
            raise Unanswered("--live sends packets, and a file has no switches to send them: leave out one of the two")
        asked["live"] = True
    answer = controller(options).post("/v1/prove", asked, PROOF_S)
    if options.json:
        print_json(answer)
    else:
        for line in verdict.text(answer):
            print(line)
    return 1 if answer["count"] else 0 if answer["proven"] else 2


def add_cost(add: Add) -> None:
    """`weft cost`."""
    cost = command(add("cost", help="how many flows an object has, and on how many switches"), _cost)
    cost.add_argument("id", metavar="OBJECT", help="a network, port, router, security group ..., by id or name")


def _cost(options: argparse.Namespace) -> int:
    answer = controller(options).get(f"/v1/cost/{quote(options.id, safe='')}")
    if options.json:
        print_json(answer)
        return 0
    for each in answer["cost"]:
        print(f"{each['app']:<16} {each['rule']:<16} {each['flows']:>6} on {each['hosts']} hypervisors")
    print(f"{answer['total']} flows and groups in all")
    return 0

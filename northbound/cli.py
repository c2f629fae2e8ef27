"""The command `weft`.

    weft serve                 run the controller
    weft token                 make a token for `--auth tokens FILE`
    weft attach CONTROLLER     print (or run) the command by which this hypervisor joins
    weft chassis list          the hypervisors, and how far each has got
    weft chassis drain NAME    move the gateways of routers to others
    weft flows CHASSIS         what a hypervisor's switch should hold, and why
    weft apply FILE            make a topology in a file true, after showing the difference
    weft export                what there is, as such a file
    weft drops [CHASSIS...]    what is dropped, why, and whose it is
    weft diff                  where switches hold something else
    weft prove                 prove that tenants are apart, and the rest, over what switches hold
    weft bundle FILE           keep the model and what switches hold in a file, to ask later
    weft explain FILE|-        annotate dumps of flows, groups, connections, the datapath, and ofproto/trace
    weft trace --from --to     what becomes of one packet, and why
    weft history [OBJECT]      what changed, when, on whose behalf, and when hypervisors had it
    weft blame COOKIE          which change made a flow what it is
    weft at TIME [COMMAND]     the model and the flows as they were
    weft why-down PORT         why a port is not ACTIVE
    weft why PORT ADDRESS      why a port does not reach an address
    weft cost ID               how many flows an object has, and on how many switches
    weft repair [CHASSIS...]   dump switches, and put right what is not as it should be
    weft conn CHASSIS [FILE|-] whose connections a hypervisor has, and which rules allow them

Client commands ask the controller at `--url` or `WEFT_URL`; those that only ask take `--bundle FILE`, too, and then ask
what `weft bundle` kept. They end 0 when all is well, 1 when what was asked
about is not, 2 when they could not run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from controller.errors import WeftError
from northbound import attach, config, conn, explain, tracing, verdict
from northbound.client import Client, Unanswered

DEFAULT_URL = "http://127.0.0.1:9696"
PROOF_S = 1800
"""A proof of a large cloud takes its time."""
READER_GONE = 128 + signal.SIGPIPE
"""The exit code of what SIGPIPE ends, as a shell tells it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with ExitStack() as options.opened:
            return int(options.run(options))
    except BrokenPipeError:  # `weft flows hv1 | head`: whoever read has read enough, and Python's exit must not flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        print(f"weft: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        return 2
    except (WeftError, Unanswered) as error:
        print(f"weft: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weft", description="Virtual networks on Open vSwitch.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version of Weft and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the controller")
    config.add_options(serve)
    serve.set_defaults(run=_serve)

    token = commands.add_parser("token", help="make a token: what goes into the FILE of --auth tokens FILE")
    token.add_argument("--project", required=True, help="the id of the project it speaks for")
    token.add_argument("--role", action="append", required=True, help="admin, manager, member, reader or service")
    token.add_argument("--user", default="", help="whose it is, for whoever reads the file")
    token.set_defaults(run=_token)

    join = commands.add_parser("attach", help="print or run the command by which this hypervisor joins")
    attach.add_options(join)
    join.set_defaults(run=attach.run)

    chassis = commands.add_parser("chassis", help="the hypervisors").add_subparsers(required=True, metavar="ACTION")
    listing = _client(chassis.add_parser("list", help="each hypervisor and how far it has got"), _chassis_list)
    listing.add_argument(
        "--wait", type=float, default=0, metavar="SECONDS", help="until all are in step, at most so long"
    )
    drain = _client(
        chassis.add_parser("drain", help="move the gateways of routers to others"), _chassis_drain, asks=False
    )
    drain.add_argument("chassis", help=CHASSIS)
    drain.add_argument("--undo", action="store_true", help="let gateways be active there again")
    forget = _client(
        chassis.add_parser("delete", help="forget a hypervisor that is gone for good"), _chassis_delete, asks=False
    )
    forget.add_argument("chassis", help=CHASSIS)

    flows = _client(commands.add_parser("flows", help="what a hypervisor's switch should hold"), _flows)
    flows.add_argument("chassis", help=CHASSIS)
    flows.add_argument("--object", metavar="ID", help="only those that this object wants")
    flows.add_argument("--counts", action="store_true", help="with the packets and bytes that the switch has counted")
    flows.add_argument("--plain", action="store_true", help="without the reasons (ovs-ofctl add-flows reads both)")
    flows.add_argument("--groups", action="store_true", help="the groups instead, as ovs-ofctl add-groups reads them")

    dropped = _client(
        commands.add_parser("drops", help="which flows decide that packets are dropped, and whose"), _drops
    )
    dropped.add_argument("chassis", nargs="*", help=f"{CHASSIS} (default: all that are connected)")
    dropped.add_argument("--top", type=int, default=20, metavar="N", help="how many at the most (default: 20)")

    applied = _client(commands.add_parser("apply", help="make a topology in a file true"), _apply, asks=False)
    applied.add_argument("file", metavar="FILE|-", help="a topology, in YAML (docs/topologies.md)")
    applied.add_argument("--dry-run", action="store_true", help="show the difference alone; ends 1 if there is one")
    applied.add_argument("--project", default="", metavar="ID", help="whose resources these are")

    exported = _client(commands.add_parser("export", help="what there is, as a topology for apply"), _export)
    exported.add_argument("name", nargs="?", default="exported", help="the topology's name (default: exported)")
    exported.add_argument("--project", default="", metavar="ID", help="of this project alone")

    _client(commands.add_parser("diff", help="where switches hold something else than they should"), _diff)

    proof = _client(
        commands.add_parser(
            "prove", help="prove over what switches hold that tenants are apart, and what else is claimed"
        ),
        _prove,
    )
    proof.add_argument("--reaches", metavar="PORT", help="prove instead that only those of --only reach this port")
    proof.add_argument("--only", metavar="PORT,...", default="", help="ports by id or name, with commas between them")

    kept = _client(
        commands.add_parser("bundle", help="keep the model and what switches hold in a file"), _bundle, asks=False
    )
    kept.add_argument("file", metavar="FILE|-", help="what to write (docs/debugging.md has the format)")
    kept.add_argument(
        "--chassis", action="append", metavar="NAME", help="dump this one; default: all that are connected"
    )
    kept.add_argument("--no-dumps", action="store_true", help="the model and the dictionary of flows alone")
    kept.add_argument(
        "--conntrack",
        action="append",
        default=[],
        metavar="CHASSIS[=FILE]",
        help=f"add the connections of a hypervisor: the text of `{shlex.join(DUMP_CONNTRACK)}` (default: run it here)",
    )

    what = _client(commands.add_parser("explain", help="annotate what Open vSwitch prints"), _explain)
    what.add_argument(
        "file",
        metavar="FILE|-",
        help="what ovs-ofctl dump-flows, dump-groups, or ovs-appctl ofproto/trace, dpctl/dump-flows -m, "
        "dpctl/dump-conntrack printed",
    )
    what.add_argument("--chassis", metavar="NAME", help="whose datapath or connections these are, if there are several")

    way = _client(commands.add_parser("trace", help="what becomes of one packet, and why"), _trace)
    _trace_options(way)
    way.add_argument("--live", action="store_true", help="send it, too, marked; ends 1 unless it ends as foretold")

    down = _client(commands.add_parser("why-down", help="why a port is not ACTIVE"), _why_down)
    down.add_argument("port", help="by id or name")

    apart = _client(commands.add_parser("why", help="why a port does not reach an address"), _why)
    apart.add_argument("from", metavar="PORT|ADDRESS", help=SENDER)
    apart.add_argument("to", metavar="ADDRESS|PORT", help="an IP address, or a port by id or name")
    apart.add_argument("--proto", help="tcp, udp, icmp, sctp or a number (default: icmp)")
    apart.add_argument("--dport", type=int, metavar="N", help="the destination port")

    cost = _client(commands.add_parser("cost", help="how many flows an object has, and on how many switches"), _cost)
    cost.add_argument("id", help="the id of a network, port, router, security group ...")

    changed = _client(
        commands.add_parser("history", help="what changed, when, on whose behalf, and when hypervisors had it"),
        _history,
        asks=False,
    )
    changed.add_argument("object", nargs="?", default="", help="an object by id or name (default: everything)")
    changed.add_argument("--limit", type=int, default=20, metavar="N", help="so many changes (default: 20)")

    who = _client(commands.add_parser("blame", help="which change made a flow what it is"), _blame, asks=False)
    who.add_argument("flow", metavar="COOKIE|LINE", help="its cookie, or its line of a dump")
    who.add_argument("--chassis", metavar="NAME", help="on this hypervisor (default: any)")
    who.add_argument("--most", type=int, metavar="N", help="go back so many changes at the most")

    then = _client(commands.add_parser("at", help="the model and the flows as they were"), _at, asks=False)
    then.add_argument(
        "time", metavar="TIME", help="like 2026-11-26T10:30 or 10:30 (local), 15m, 2h or 3d (ago), or r41 (a revision)"
    )
    then.add_argument("--save", metavar="FILE", help="keep it, as a file for --bundle")
    then.add_argument("command", nargs=argparse.REMAINDER, help="any command that takes --bundle, asked of that time")

    repair = _client(
        commands.add_parser("repair", help="dump a switch and put right what is not as it should be"),
        _repair,
        asks=False,
    )
    repair.add_argument("chassis", nargs="*", help=f"{CHASSIS} (default: all that are connected)")
    repair.add_argument("--chassis", dest="only", action="append", default=[], metavar="NAME", help="the same")
    repair.add_argument("--object", metavar="ID|NAME", help="only what this object wants there; nothing is removed")

    whose = _client(commands.add_parser("conn", help="whose connections a hypervisor has, and what allows them"), _conn)
    whose.add_argument("chassis", help=CHASSIS)
    whose.add_argument(
        "file", metavar="FILE|-", nargs="?", help=f"the text of `{shlex.join(DUMP_CONNTRACK)}` (default: run it here)"
    )
    return parser


class _Version(argparse.Action):
    """Prints the version; asked for what is installed only then, which takes longer than most commands."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"weft {version('weft')}")
        parser.exit()


def _client(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], *, asks: bool = True
) -> argparse.ArgumentParser:
    """A command that speaks to a controller; one that `asks` and changes nothing may ask an archive instead."""
    url = os.environ.get("WEFT_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, help=f"the controller's API (WEFT_URL, default {DEFAULT_URL})")
    token = os.environ.get("WEFT_TOKEN") or os.environ.get("OS_TOKEN", "")
    parser.add_argument("--token", default=token, help="an administrator's token (WEFT_TOKEN, OS_TOKEN)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    if asks:
        parser.add_argument("--bundle", metavar="FILE", help="ask what `weft bundle` kept in this file instead")
    parser.set_defaults(run=run, bundle=None)
    return parser


def _controller(options: argparse.Namespace) -> Client:
    """Whom a command asks."""
    if not options.bundle:
        return Client(options.url, options.token)
    from northbound import past  # which loads all that the controller is made of

    opened: Client = options.opened.enter_context(past.opened(Path(options.bundle)))
    return opened


def _trace_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", required=True, metavar="PORT", help="the port that sends, by id or name")
    parser.add_argument("--to", required=True, metavar="ADDRESS|PORT", help="an IP address, or a port by id or name")
    parser.add_argument("--source", metavar="ADDRESS", help="the address that the packet bears (default: the port's)")
    parser.add_argument("--proto", help="tcp, udp, icmp, sctp or a number (default: icmp)")
    for name, what in TRACED.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=what)


SENDER = "the port that sends, by id or name; or the address of a host of a physical network"
CHASSIS = "its name, as in `weft chassis list`"

TRACED = {
    "sport": "the source port (default: 49152)",
    "dport": "the destination port",
    "type": "the ICMP type (default: an echo request)",
    "code": "the ICMP code (default: 0)",
    "ttl": "TTL or hop limit (default: 64)",
    "size": "bytes of the IP packet (default: few)",
}
"""The numbers that a traced packet may have."""


def _serve(options: argparse.Namespace) -> int:
    from northbound.daemon import run  # what the client commands need not load

    return run(config.read(options))


def _token(options: argparse.Namespace) -> int:
    """The token goes to stderr, once; what the file needs of it to stdout: `weft token ... >> FILE`."""
    from northbound.auth import digest  # which loads an HTTP client

    token = secrets.token_urlsafe(32)
    print(f"token: {token}", file=sys.stderr)
    print("[[token]]")
    for key, value in (
        ("sha256", digest(token)), ("project", options.project), ("roles", options.role), ("user", options.user),
    ):  # fmt: skip
        print(f"{key} = {json.dumps(value)}")
    return 0


def _print_json(answer: object) -> None:
    print(json.dumps(answer, indent=2))


def _chassis_list(options: argparse.Namespace) -> int:
    client = _controller(options)
    answer = client.get("/v1/chassis")
    deadline = time.monotonic() + options.wait
    while not _all_in_step(answer) and time.monotonic() < deadline:
        print(_progress(answer), file=sys.stderr)
        time.sleep(1)
        answer = client.get("/v1/chassis")
    well = _all_in_step(answer)
    if options.json:
        _print_json(answer)
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
    answer = _controller(options).put(f"/v1/chassis/{quote(options.chassis, safe='')}", {"gateway": options.undo})
    if options.json:
        _print_json(answer)
    elif answer["chassis"]["gateway_priority"] is None:
        print(f"{options.chassis} has no weft-gateway-priority: it is no gateway anyway")
    return 0


def _chassis_delete(options: argparse.Namespace) -> int:
    _controller(options).delete(f"/v1/chassis/{quote(options.chassis, safe='')}")
    return 0


def _flows(options: argparse.Namespace) -> int:
    asked = {"object": options.object, "counts": "true" if options.counts else None}
    query = urlencode({name: value for name, value in asked.items() if value})
    answer = _controller(options).get(f"/v1/flows/{quote(options.chassis, safe='')}?{query}")
    if options.json:
        _print_json(answer)
        return 0
    for entry in answer["groups"] if options.groups else answer["flows"]:
        if not options.plain:
            counted = f"{entry['packets']} packets, {entry['bytes']} bytes: " if "packets" in entry else ""
            print(f"# {counted}{explain.sentence(entry)}")
        print(f"cookie={entry['cookie']},{entry['text']}" if entry["cookie"] else entry["text"])
    return 0


def _apply(options: argparse.Namespace) -> int:
    from northbound import apply  # which loads all resources

    return apply.run(options, Client(options.url, options.token, options.project))


def _export(options: argparse.Namespace) -> int:
    from northbound import apply

    print(apply.export(_controller(options), options.name, options.project), end="")
    return 0


def _drops(options: argparse.Namespace) -> int:
    query = "&".join(f"chassis={quote(name, safe='')}" for name in options.chassis)
    answer = _controller(options).get(f"/v1/drops?{query}")
    if options.json:
        _print_json(answer)
        return 0
    for each in answer["drops"][: options.top]:
        print(f"{each['chassis']} {each['packets']:>9} {each['reason']:<17} {explain.sentence(each['flow'])}")
    print(f"{sum(each['packets'] for each in answer['drops'])} packets dropped by {len(answer['drops'])} flows")
    return 0


def _prove(options: argparse.Namespace) -> int:
    asked: dict[str, Any] = {} if options.reaches is None else {"reaches": options.reaches}
    if options.only:
        asked["only"] = [each for each in options.only.split(",") if each]
    answer = _controller(options).post("/v1/prove", asked, PROOF_S)
    if options.json:
        _print_json(answer)
    else:
        for line in verdict.text(answer):
            print(line)
    return 1 if answer["count"] else 0 if answer["proven"] else 2


def _diff(options: argparse.Namespace) -> int:
    answer = _controller(options).get("/v1/diff")
    different = bool(answer["failures"]) or any(each[kind] for each in answer["chassis"] for kind in DIFFERENCES)
    if options.json:
        _print_json(answer)
        return 1 if different else 0
    for chassis in answer["chassis"]:
        for kind, sign in DIFFERENCES.items():
            for text in chassis[kind]:
                print(f"{chassis['name']} {sign} {text}")
    for cell, reason in answer["failures"].items():
        print(f"failed {cell}: {reason}")
    for name in answer["unreachable"]:
        print(f"{name} ? not connected, so not compared")
    print(f"{len(answer['chassis'])} hypervisors compared, {'they differ' if different else 'no difference'}")
    return 1 if different else 0


DIFFERENCES = {
    "missing": "-",
    "unwanted": "+",
    "altered": "~",
    "foreign": "foreign",
    "refused": "refused",
    "conflicts": "conflict",
}
"""The kinds of difference in `/v1/diff`, and the sign of each in the text."""


def _text(name: str) -> str:
    """What a file holds, or what comes in."""
    if name == "-":
        return sys.stdin.read()
    with open(name, encoding="utf-8", errors="replace") as file:
        return file.read()


def _why_down(options: argparse.Namespace) -> int:
    answer = _controller(options).get(f"/v1/why-down/{quote(options.port, safe='')}")
    if options.json:
        _print_json(answer)
    else:
        print("\n".join(answer["reasons"]) or f"port {answer['port']} is {answer['status']}")
    return 1 if answer["reasons"] else 0


def _why(options: argparse.Namespace) -> int:
    asked = {name: getattr(options, name) for name in ("from", "to", "proto", "dport")}
    answer = _controller(options).post("/v1/why", asked)
    if options.json:
        _print_json(answer)
    else:
        from northbound import why  # which loads what the controller is made of

        print("\n".join(why.told(answer)))
    return 0 if answer["fate"] == "delivered" else 1


def _cost(options: argparse.Namespace) -> int:
    answer = _controller(options).get(f"/v1/cost/{quote(options.id, safe='')}")
    if options.json:
        _print_json(answer)
        return 0
    for each in answer["cost"]:
        print(f"{each['app']:<16} {each['rule']:<16} {each['flows']:>6} on {each['hosts']} hypervisors")
    print(f"{answer['total']} flows and groups in all")
    return 0


def _bundle(options: argparse.Namespace) -> int:
    from northbound import archive

    given = dict(_conntrack(each) for each in options.conntrack)
    asked = [("chassis", name) for name in options.chassis or ()] + [("dumps", "false")] * options.no_dumps
    content = _controller(options).fetch(f"/v1/bundle?{urlencode(asked)}")
    made = archive.opened("what the controller sent", io.BytesIO(content))
    if given:
        content = archive.packed(archive.with_conntrack(made.members, given))
    if options.file == "-":
        sys.stdout.buffer.write(content)
    else:
        _keep(Path(options.file), content)
    manifest = made.manifest
    if options.json:
        print(json.dumps(manifest, indent=2), file=sys.stderr if options.file == "-" else sys.stdout)
    for name, reason in manifest["unreachable"].items():
        print(f"weft: without a dump of {name}: {reason}", file=sys.stderr)
    for name in manifest["moved"]:
        print(f"weft: {name} kept changing: its dump may be a little older than the model", file=sys.stderr)
    return 1 if manifest["unreachable"] else 0


def _conntrack(said: str) -> tuple[str, str]:
    """A chassis, and the text of its conntrack dump. Raises Unanswered, OSError."""
    name, given, file = said.partition("=")
    return name, _text(file) if given else _own_connections(name)


def _keep(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _history(options: argparse.Namespace) -> int:
    query = urlencode({"object": options.object, "limit": options.limit})
    answer = _controller(options).get(f"/v1/history?{query}")
    if options.json:
        _print_json(answer)
        return 0
    from northbound import annals

    for event in answer["events"]:
        print("\n".join(annals.text(event)))
    if not answer["events"]:
        print(f"no change of {options.object or 'anything'} is remembered")
    return 0


def _blame(options: argparse.Namespace) -> int:
    found = re.search(r"0x[0-9a-fA-F]{1,16}", options.flow)
    if found is None:
        raise Unanswered(f"'{options.flow}' has no cookie like 0xa7...")
    asked = {"cookie": found[0].lower(), "chassis": options.chassis, "most": options.most}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = _controller(options).get(f"/v1/blame?{query}")
    if options.json:
        _print_json(answer)
        return 0
    from northbound import annals

    print(answer["flow"]["text"])
    print(f"    # {explain.sentence(answer['flow'])}")
    if answer["event"]:
        print("\n".join(annals.text(answer["event"])))
    else:
        print("it is older than what is remembered, or than was looked at (--most)")
    return 0


def _at(options: argparse.Namespace) -> int:
    when, client = urlencode(_moment(options.time)), _controller(options)
    if options.save or options.command:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(options.save or f"{directory}/then")
            _keep(file, client.fetch(f"/v1/bundle?{when}"))
            return main([*options.command, "--bundle", str(file)]) if options.command else 0
    answer = client.get(f"/v1/at?{when}")
    if options.json:
        _print_json(answer)
        return 0
    from northbound import annals

    print(f"revision {answer['revision']}: " + ", ".join(f"{n} {kind}" for kind, n in answer["records"].items() if n))
    print("\n".join(annals.text(answer["since"])) if answer["since"] else "nothing changed since")
    return 0


_AGO = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _moment(said: str) -> Mapping[str, Any]:
    """A time, as `/v1` takes it. Raises Unanswered."""
    if ago := re.fullmatch(r"(\d+)([smhd])", said):
        return {"time": time.time() - int(ago[1]) * _AGO[ago[2]]}
    if revision := re.fullmatch(r"r(\d+)", said):
        return {"revision": int(revision[1])}
    try:
        if re.fullmatch(r"\d?\d:\d\d(:\d\d(\.\d+)?)?", said):
            said = f"{datetime.now().date()}T{said.rjust(5, '0')}"
        return {"time": datetime.fromisoformat(said).timestamp()}
    except ValueError:
        raise Unanswered(f"'{said}' is no time like 2026-11-26T10:30, 10:30, 15m or r41") from None


def _repair(options: argparse.Namespace) -> int:
    client = _controller(options)
    connected = [each["name"] for each in client.get("/v1/chassis")["chassis"] if each["connected"]]
    wanted = [*options.chassis, *options.only] or connected
    query = f"?{urlencode({'object': options.object})}" if options.object else ""
    done = {name: client.post(f"/v1/repair/{quote(name, safe='')}{query}", {}) for name in wanted}
    if options.json:
        _print_json(done)
        return 0
    for name, each in done.items():
        print(f"{name}: {each['flow_mods']} flows and {each['group_mods']} groups put right")
    return 0


def _conn(options: argparse.Namespace) -> int:
    client, path = _controller(options), f"/v1/conn/{quote(options.chassis, safe='')}"
    lines = _connections(options).splitlines()
    found: list[Mapping[str, Any]] = []
    for start in range(0, max(1, len(lines)), LINES):
        found += client.post(path, {"dump": "\n".join(lines[start : start + LINES])})["connections"]
    if options.json:
        _print_json({"connections": found})
    else:
        for line in conn.text(found):
            print(line)
    return 0


def _connections(options: argparse.Namespace) -> str:
    """The dump that is named, or kept, or made here. Raises Unanswered, BadArchive."""
    if options.file:
        return _text(options.file)
    if not options.bundle:
        return _own_connections(options.chassis)
    from northbound import archive

    kept = archive.read(Path(options.bundle)).conntrack.get(options.chassis)
    if kept is None:
        raise Unanswered(
            f"{options.bundle} has no connections of {options.chassis}; `weft bundle --conntrack` adds them"
        )
    return kept


def _trace(options: argparse.Namespace) -> int:
    asked = {name: getattr(options, name) for name in ("from", "to", "source", "proto", *TRACED)}
    if options.live:
        asked["live"] = True
    answer = _controller(options).post("/v1/trace", {name: value for name, value in asked.items() if value is not None})
    if options.json:
        _print_json(answer)
    else:
        for line in tracing.text(answer):
            print(line)
    agrees = not options.live or answer["live"]["agrees"]
    return 0 if agrees and answer["fate"] == "delivered" else 1


LINES = 2_000
"""Lines of a dump that are asked about at once: the controller serves switches, too."""


DUMP_CONNTRACK = ("ovs-appctl", "dpctl/dump-conntrack")
"""What tells the connections of a hypervisor; run on it, as root."""


OWN_NAME = ("ovs-vsctl", "--timeout=5", "--if-exists", "get", "Open_vSwitch", ".", "external_ids:system-id")


def _own_connections(chassis: str) -> str:
    """The dump of the hypervisor that this runs on, which must be that chassis. Raises Unanswered."""
    piped = f"run this on {chassis}, or pipe its dump in: `{shlex.join(DUMP_CONNTRACK)} | weft conn {chassis} -`"
    own = _printed(OWN_NAME, piped).strip().strip('"')
    if own != chassis:
        raise Unanswered(f"this is {own or 'no hypervisor of Weft'}, not {chassis}; {piped}")
    return _printed(DUMP_CONNTRACK, piped)


def _printed(command: Sequence[str], otherwise: str) -> str:
    """What a command prints. Raises Unanswered."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unanswered(f"{command[0]} cannot be run here; {otherwise}") from error
    if done.returncode:
        raise Unanswered(f"`{shlex.join(command)}` failed here; {otherwise}")
    return done.stdout


def _explain(options: argparse.Namespace) -> int:
    found = explain.read(_text(options.file).splitlines())
    known = {**_dictionary(options, found), **_joined(options, found)}
    explained = explain.explain(found, known)
    if options.json:
        _print_json(explain.as_json(explained))
    else:
        for line in explain.text(explained):
            print(line)
    return 0


def _dictionary(options: argparse.Namespace, lines: Sequence[explain.Line]) -> Mapping[str, Any]:
    """Why there are these flows and groups. Raises Unanswered, BadArchive."""
    cookies, groups = explain.cookies(lines), explain.groups(lines)
    if not cookies and not groups:
        return {}
    if options.bundle:
        from northbound import archive

        return archive.read(Path(options.bundle)).dictionary
    answer = _controller(options).post("/v1/explain", {"cookies": cookies, "groups": groups})
    return {**answer["flows"], **{explain.group_key(int(id)): entry for id, entry in answer["groups"].items()}}


def _joined(options: argparse.Namespace, lines: Sequence[explain.Line]) -> Mapping[str, str]:
    """Whose the connections and the flows of a datapath are, in words. Raises Unanswered, BadArchive."""
    connections, decisions = (explain.of(lines, sort) for sort in (explain.Sort.CONNECTION, explain.Sort.DATAPATH))
    if not connections and not decisions:
        return {}
    client = _controller(options)
    name = quote(options.chassis or _only_chassis(client), safe="")
    known: dict[str, str] = {}
    for start in range(0, len(connections), LINES):
        dump = "\n".join(connections[start : start + LINES])
        found = client.post(f"/v1/conn/{name}", {"dump": dump})["connections"]
        known.update((each["text"], conn.sentence(each)) for each in found if conn.is_known(each))
    for start in range(0, len(decisions), LINES):
        dump = "\n".join(decisions[start : start + LINES])
        flows = client.post(f"/v1/datapath/{name}", {"dump": dump})["flows"]
        known.update((each["text"], each["words"]) for each in flows if each["words"])
    return known


def _only_chassis(client: Client) -> str:
    """Raises Unanswered when there are several."""
    names = [each["name"] for each in client.get("/v1/chassis")["chassis"]]
    if len(names) != 1:
        raise Unanswered(f"say whose dump it is: --chassis NAME, one of {', '.join(names) or 'none'}")
    return str(names[0])

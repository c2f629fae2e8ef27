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
    weft prove                 prove that tenants are apart, and the rest, over what switches hold; --live sends
                               what is against it
    weft bundle FILE           keep the model and what switches hold in a file, to ask later
    weft explain FILE|-        annotate dumps of flows, groups, connections, the datapath, and ofproto/trace
    weft trace --from --to     what becomes of one packet, and why; --live sends it, too
    weft history [OBJECT]      what changed, when, on whose behalf, and when hypervisors had it
    weft blame COOKIE          which change made a flow what it is
    weft at TIME [COMMAND]     the model and the flows as they were
    weft why-down PORT         why a port is not ACTIVE
    weft why PORT ADDRESS      why a port does not reach an address
    weft cost OBJECT           how many flows an object has, and on how many switches
    weft repair [CHASSIS...]   dump switches, and put right what is not as it should be
    weft conn CHASSIS [FILE|-] whose connections a hypervisor has, and which rules allow them

Client commands ask the controller at `--url` or `WEFT_URL`; those that only ask take `--bundle FILE`, too, and then ask
what `weft bundle` kept. They end 0 when all is well, 1 when what was asked
about is not, 2 when they could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from io import TextIOWrapper

from controller.errors import WeftError
from northbound import attach, config
from northbound.client import Unanswered
from northbound.commands import bundle, chassis, dumps, history, packets, switches, topologies

READER_GONE = 128 + signal.SIGPIPE
"""The exit code of what SIGPIPE ends, as a shell tells it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to end
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
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


class _Parser(argparse.ArgumentParser):
    """Lets options stand between operands of which some may be left out: `weft conn hv1 --json -`.

    Before 3.12.7 Python takes what may be left out for left out as soon as an option comes (bpo-15112).
    """

    def parse_known_args(  # type: ignore[override]  # the base has overloads for namespaces of other types
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As the base does, but for commands that have operands and take no other command."""
        own = [action for action in self._actions if not action.option_strings]
        if self._nested or any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in own):
            return super().parse_known_args(args, namespace)
        self._nested = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._nested = False

    _nested = False
    """Is this asked by `parse_known_intermixed_args`, which asks twice?"""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="weft", description="Virtual networks on Open vSwitch.")
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

    add = commands.add_parser
    chassis.add_chassis(add)
    switches.add_flows(add)
    switches.add_drops(add)
    topologies.add_apply(add)
    topologies.add_export(add)
    switches.add_diff(add)
    switches.add_prove(add)
    bundle.add_bundle(add)
    dumps.add_explain(add)
    packets.add_trace(add)
    packets.add_why_down(add)
    packets.add_why(add)
    switches.add_cost(add)
    history.add_history(add)
    history.add_blame(add)
    history.add_at(add, main)
    chassis.add_repair(add)
    dumps.add_conn(add)
    return parser


class _Version(argparse.Action):
    """Prints the version; asked for what is installed only then, which takes longer than most commands."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"weft {version('weft')}")
        parser.exit()


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

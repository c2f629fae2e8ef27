"""The text of a hypervisor's conntrack dump: of a file, of an archive, or made here."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from northbound.client import Unanswered
from northbound.commands.asking import read_text

DUMP_CONNTRACK = ("ovs-appctl", "dpctl/dump-conntrack")
"""What tells the connections of a hypervisor; run on it, as root."""
TEXT = f"the text of `{shlex.join(DUMP_CONNTRACK)}` (default: run it here)"
"""What is to be given, for the help."""
OWN_NAME = ("ovs-vsctl", "--timeout=5", "--if-exists", "get", "Open_vSwitch", ".", "external_ids:system-id")


def of(options: argparse.Namespace) -> str:
    """The dump that is named, or kept, or made here. Raises Unanswered, BadArchive."""
    if options.file:
        return read_text(options.file)
    if not options.bundle:
        return made_here(options.chassis)
    from northbound import archive

    kept = archive.read(Path(options.bundle)).conntrack.get(options.chassis)
    if kept is None:
        raise Unanswered(
            f"{options.bundle} has no connections of {options.chassis}; `weft bundle --conntrack` adds them"
        )
    return kept


def named(said: str) -> tuple[str, str]:
    """A chassis, and the text of its conntrack dump. Raises Unanswered, OSError."""
    name, given, file = said.partition("=")
    return name, read_text(file) if given else made_here(name)


def all_kept(options: argparse.Namespace) -> Mapping[str, str]:
    """The dumps in an archive."""
    if not options.bundle:
        return {}
    from northbound import archive

    return archive.read(Path(options.bundle)).conntrack


def made_here(chassis: str) -> str:
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

"""Writes `docs/pipeline.md` from the declarations in `pipeline`: `python -m controller.flows.pipeline_doc`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from controller.flows import pipeline
from controller.flows.action import GroupKind
from controller.flows.match import Field
from controller.flows.pipeline import (
    APPS,
    CONNECTION,
    ENCAPS,
    GROUP_KINDS,
    MISSES,
    REGISTERS,
    TABLES,
    TUNNEL_PORTS,
    Guard,
    Verdict,
    Why,
)


def markdown() -> str:
    """The page."""
    return "\n".join([*_head(), *_tables(), *_registers(), *_connections(), *_groups(), *_drops(), *_cookies(), ""])


def _head() -> Iterator[str]:
    yield "# The pipeline"
    yield ""
    yield "Generated from `controller/flows/pipeline.py` by `make docs`; a test keeps the two equal."
    yield ""
    drawing = (pipeline.__doc__ or "").split("\n\n")[2]
    yield "```"
    yield from (line.removeprefix("    ") for line in drawing.splitlines())
    yield "```"


def _tables() -> Iterator[str]:
    yield from _section("Tables")
    for table in TABLES:
        yield f"### {table.number} {table.name}"
        yield ""
        yield table.purpose
        yield ""
        yield from _rows(("priority", "reason"), priority_rows(table.priorities))
        yield ""
        for what, names in (
            ("matches", [field.name for field in table.matches]),
            ("sets", [field.name for field in table.sets]),
            ("next", list(table.nexts)),
            ("groups", [kind.name for kind in table.groups]),
            ("goes on after conntrack in", list(table.tracks)),
            ("remembers a connection with", [field.name for field in table.commits]),
        ):
            if names:
                yield f"* {what}: {', '.join(sorted(set(names)))}"
        if table.outputs:
            yield "* outputs frames"
        if table in MISSES:
            yield f"* matches nothing: dropped as {MISSES[table].name}"
        yield ""


def priority_rows(priorities: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """A line a reason; one for reasons that differ by a number alone, if a rule gives their priorities."""
    families: dict[str, list[tuple[int, int]]] = {}
    for name, priority in priorities.items():
        stem, _, end = name.rpartition("_")
        family, number = (f"{stem}_N", int(end)) if end.isdecimal() else (name, 0)
        families.setdefault(family, []).append((number, priority))
    for family, members in families.items():
        start, step = members[0][1], members[-1][1] - members[-2][1] if len(members) > 1 else 0
        if step and members == [(number, start + step * number) for number in range(len(members))]:
            yield f"{start} + {step} x N", f"{family}, N from 0 to {len(members) - 1}"
        else:
            names = (name for name in priorities if family in (name, f"{name.rpartition('_')[0]}_N"))
            yield from ((str(priorities[name]), name) for name in names)


def _registers() -> Iterator[str]:
    yield from _section("Registers")
    yield from _fields(REGISTERS)
    yield ""
    yield from _rows(
        ("encapsulation", "ENCAP", "tunnel port"),
        ((name, str(code), TUNNEL_PORTS[name]) for name, code in ENCAPS.items()),
    )
    for what in (Verdict, Guard):
        yield ""
        yield from _values(what)


def _connections() -> Iterator[str]:
    yield from _section("Connections")
    yield "What conntrack keeps of a connection, in the zone of the port that was checked."
    yield ""
    yield from _fields(CONNECTION)


def _fields(fields: Iterable[tuple[Field[Any], str]]) -> Iterator[str]:
    yield from _rows(
        ("field", "where", "meaning"),
        ((field.name, f"{field.wire}[{field.shift}..{field.shift + (field.bits or field.width) - 1}]", meaning)
         for field, meaning in fields),
    )  # fmt: skip


def _values(what: type[IntEnum]) -> Iterator[str]:
    yield from _rows((what.__name__.upper(), "name"), ((str(int(value)), value.name) for value in what))


def _groups() -> Iterator[str]:
    yield from _section("Groups")
    yield from _rows(
        ("kind", "ids", "what it does"),
        ((kind.name, f"{kind.base:#x} + {_number(kind)}", kind.purpose) for kind in GROUP_KINDS),
    )


def _number(kind: GroupKind) -> str:
    match kind:
        case pipeline.PART:
            return "16 x network key + part"
        case pipeline.ECMP:
            return "16 x router key + route"
    return "network key"


def _drops() -> Iterator[str]:
    yield from _section("Reasons to drop")
    yield "Each has one flow, and so one counter, in table drop: `ovs-ofctl dump-flows br-int table=62`. A frame ..."
    yield ""
    yield from _rows(("WHY", "name", "what happened"), ((str(int(why)), why.name, why.sentence) for why in Why))


def _cookies() -> Iterator[str]:
    yield from _section("Cookies")
    yield f"`{pipeline.OWNER:#x}` (8 bits), app (8 bits), hash of table, priority, match and instructions (48 bits)."
    yield "A cookie depends on nothing else, so an unchanged model has unchanged flows whatever happened in between."
    yield ""
    yield from _rows(("app", "number"), ((name, str(number)) for name, number in APPS.items()))


def _section(title: str) -> tuple[str, ...]:
    return ("", f"## {title}", "")


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    print(markdown(), end="")

"""A flow's match and instructions as OpenFlow 1.4 bytes: spelled out, or by a template for all flows of its form.

    match          see `oxm`
    instructions   apply-actions (8) | action (a multiple of 8)... | goto-table (8); either may be absent

Templates are not written down but found, by spelling out flows with all bits of one number set. Sections are those of
the OpenFlow Switch Specification 1.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Final, NamedTuple, cast

from controller.errors import Oversized
from controller.flows.action import Conjunction, Goto, GroupKind, Output
from controller.flows.flow import Flow, Form
from controller.flows.match import Field, match_text
from controller.southbound.actions import encode_action
from controller.southbound.messages import BUNDLED, MAX_MESSAGE
from controller.southbound.oxm import encode_match

_OFPIT_GOTO_TABLE: Final = 1  # ofp_instruction_type
_OFPIT_APPLY_ACTIONS: Final = 4
_GOTO_TABLE: Final = Struct("!HHB3x")
_APPLY_ACTIONS: Final = Struct("!HH4x")
_PLACE: Final = Struct("!BH")
_FLOW_MOD_BYTES: Final = 48
"""Of a flow-mod up to its match (section 7.3.4.2)."""


def spelled(flow: Flow) -> tuple[bytes, int]:
    """Match and instructions, and where the latter begin.

    Raises Undeclared for what the encoder does not know, Oversized when the flow's actions fit into no message.
    """
    match = encode_match(flow.match)
    return match + _instructions(flow, len(match)), len(match)


def _instructions(flow: Flow, match_length: int) -> bytes:
    """Apply-actions, then goto-table; none for a flow that does nothing, which is a drop."""
    actions = flow.actions
    goto = b""
    if actions and isinstance(actions[-1], Goto):
        goto = _GOTO_TABLE.pack(_OFPIT_GOTO_TABLE, 8, actions[-1].table.number)
        actions = actions[:-1]
    if not actions:
        return goto
    parts = [encode_action(action) for action in actions]
    taken = _FLOW_MOD_BYTES + match_length + _APPLY_ACTIONS.size + len(goto)
    fit = fitting(parts, taken)
    if fit < len(parts):
        place = f"table={flow.table.number},priority={flow.priority}"
        raise Oversized(f"The flow {place},{match_text(flow.match)}", "actions", len(parts), fit)
    length = _APPLY_ACTIONS.size + sum(map(len, parts))
    return b"".join((_APPLY_ACTIONS.pack(_OFPIT_APPLY_ACTIONS, length), *parts, goto))


def fitting(parts: Sequence[bytes], taken: int) -> int:
    """How many of these fit into a message beside `taken` bytes, and that message into a bundle."""
    room = MAX_MESSAGE - BUNDLED - taken
    return sum(end <= room for end in accumulate(map(len, parts)))


class Template(NamedTuple):
    """How all flows of a form are written: by additions.

    Match and instructions together are a number, of `size` bytes: `base` if all that may differ is 0, plus each number
    that a flow has, shifted to its place. `fixed` are the bits where no number may reach. `start` is where instructions
    begin. Without a `size` the flows of the form are spelled out. `seed` has hashed table and priority.
    """

    table: int
    priority: int
    seed: blake2b
    base: int = 0
    shifts: tuple[int, ...] = ()
    fixed: int = 0
    size: int = 0
    start: int = 0


def template(form: Form) -> Template:
    """The template of a form, found once and remembered with it. Raises what encoding a flow of the form raises."""
    if not isinstance(form.memo, Template):
        object.__setattr__(form, "memo", _template(form))
    return cast("Template", form.memo)


def _template(form: Form) -> Template:
    """Without a size when a number has several places, or there may be any number of them."""
    table, priority = form.table.number, form.priority
    without = Template(table, priority, blake2b(_PLACE.pack(table, priority), digest_size=6))
    if Conjunction in form.kinds:
        return without
    tops = _tops(form)
    bare, start = spelled(form.flow([0] * len(tops)))
    base = int.from_bytes(bare)
    fixed = (1 << 8 * len(bare)) - 1
    shifts = []
    for at, top in enumerate(tops):
        full, _ = spelled(form.flow([top if other == at else 0 for other in range(len(tops))]))
        place = int.from_bytes(full) ^ base
        shift = _zeros(place) - _zeros(top)
        if place != top << max(shift, 0):
            return without
        fixed &= ~place
        shifts.append(shift)
    return without._replace(base=base, shifts=tuple(shifts), fixed=fixed, size=len(bare), start=start)


def _tops(form: Form) -> list[int]:
    """All the bits that each number of a flow of this form may have."""
    tops = [part.mask for part in form.pattern.parts if part.value is None]
    for kind in form.kinds:
        if isinstance(kind, Field):
            tops.append(kind.full)
        elif kind is Output or isinstance(kind, GroupKind):
            tops.append(0xFFFFFFFF)
    return tops


def _zeros(number: int) -> int:
    """How many bits that are 0 a number ends in; none for 0."""
    return max((number & -number).bit_length() - 1, 0)

"""What a switch holds otherwise than desired, in the words of an operator: a plan that is told, not applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from controller.flows.flow import Key
from controller.southbound.explained import Explanation
from controller.southbound.reconcile import AddFlow, Installed, Plan, PutGroup, Refusal, Step, WireKey


@dataclass(frozen=True, slots=True)
class Difference:
    """What one switch holds otherwise than desired, in words a flow dump uses.

    `why` are the reasons of what is, or was, ours, by those words.
    """

    chassis: str
    missing: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    why: Mapping[str, Explanation] = field(default_factory=dict)


def compare(chassis: str, plan: Plan, installed: Installed, refusals: Mapping[Key | WireKey, Refusal]) -> Difference:
    """A plan in the words of an operator: what is missing, unwanted, altered; entries that were refused apart."""
    missing: list[str] = []
    unwanted: list[str] = []
    altered: list[str] = []
    for step in plan.steps:
        match step:
            case AddFlow(_, flow):
                kind = altered if flow.key in installed.flows else missing
            case PutGroup(_, group):
                kind = altered if group.id in installed.groups else missing
            case _:
                unwanted.append(_unwanted(step, installed))
                continue
        if step.key not in refusals:
            kind.append(step.text)
    told = {**refusals, **{refusal.key: refusal for refusal in plan.refusals}}
    refused = [f"{each.what}: {each.error}" for each in told.values()]
    foreign = [flow.text for flow in installed.foreign]
    foreign += [f"group_id={group.id}" for group in installed.foreign_groups]
    return Difference(chassis, tuple(missing), tuple(unwanted), tuple(altered), tuple(foreign), tuple(refused))


def _unwanted(step: Step, installed: Installed) -> str:
    """A flow as the dump showed it, or a group by its id."""
    found = installed.flows.get(cast("WireKey", step.key))
    return found.text if found else f"group_id={step.key[1]}"

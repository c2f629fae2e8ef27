"""What is asked for of packets on their way is told table by table."""

from __future__ import annotations

from controller.prove.live import NOTHING, Liveness
from controller.prove.rules import actions, rule


def liveness(*lines: str) -> Liveness:
    return Liveness([rule(line, {}) for line in lines], [])


def test_a_register_is_asked_for_until_it_is_written() -> None:
    found = liveness(
        "table=1,priority=1 actions=goto_table:2",
        "table=2,priority=1 actions=set_field:0x1->reg6,goto_table:3",
        "table=3,priority=1,reg6=0x1,reg7=0x2 actions=output:1",
    )
    full = (1 << 32) - 1
    assert (found.at(1).get("reg6"), found.at(1).get("reg7")) == (None, full)
    assert found.at(3).get("reg6") == full


def test_what_is_written_in_part_is_asked_for_in_the_rest() -> None:
    found = liveness(
        "table=1,priority=1 actions=load:0x1->NXM_NX_REG0[0..3],goto_table:2", "table=2,reg0=0x1 actions=drop"
    )
    assert found.at(1)["reg0"] == 0xFFFFFFF0


def test_what_a_subroutine_may_leave_as_it_is_is_asked_for_before_it() -> None:
    found = liveness(
        "table=1,priority=1 actions=resubmit(,2),goto_table:3",
        "table=2,reg1=0x1 actions=set_field:0x1->reg6",
        "table=3,reg6=0x1 actions=output:1",
    )
    assert found.at(1)["reg6"] == (1 << 32) - 1


def test_what_conntrack_says_is_not_asked_for_before_it_but_its_zone_is() -> None:
    found = liveness(
        "table=1,priority=1 actions=ct(table=2,zone=NXM_NX_REG3[0..15],exec(move:NXM_NX_REG9[]->NXM_NX_CT_MARK[]))",
        "table=2,ct_state=+new+trk,ct_mark=0x1,reg6=0x5 actions=output:1",
    )
    asked = found.at(1)
    assert not {"ct_state", "ct_mark"} & asked.keys()
    assert {"reg3", "reg6", "reg9"} <= asked.keys()
    assert found.before(actions("drop", {}), 1, NOTHING) == NOTHING

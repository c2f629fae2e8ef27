"""What a switch is yet to have is told once, in order, and no more of it at a time than the log takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.model.store import MOST_AT_ONCE
from controller.southbound.member import Member


@given(st.lists(st.tuples(st.integers(1, 700), st.booleans(), st.booleans()), max_size=12))
def test_whatever_comes_between_each_revision_is_had_once(batches: list[tuple[int, bool, bool]]) -> None:
    """Batches of so many revisions, each for the switch or not; after some it acknowledges what there was before them."""
    member, revision = Member("hv1"), 0
    owed: list[int] = []
    had: list[int] = []
    for size, mine, answers in batches:
        before, first, revision = revision, revision + 1, revision + size
        if mine:
            member.owe(first, revision)
            owed += range(first, revision + 1)
        if answers:
            had += _had(member, before)
            assert had == [each for each in owed if each <= before]
    had += _had(member, revision)
    assert had == owed


def _had(member: Member, revision: int) -> list[int]:
    spans = [*member.had(revision)]
    assert all(last - first < MOST_AT_ONCE for first, last in spans)
    return [each for first, last in spans for each in range(first, last + 1)]


def test_what_follows_one_another_is_one_span() -> None:
    member = Member("hv1")
    member.owe(1, 3)
    member.owe(4, 9)
    member.owe(11, 12)
    assert [*member.had(11)] == [(1, 9), (11, 11)]
    assert [*member.had(12)] == [(12, 12)]

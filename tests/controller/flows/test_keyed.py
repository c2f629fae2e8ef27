"""A dict by key, which is told from a plain one by nothing but its size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.flows.flow import Key
from controller.flows.keyed import Keyed
from controller.flows.match import ANY
from controller.flows.pipeline import DST, NET, SRC

MATCHES = (ANY, NET(1), NET(2), SRC(1), NET(1) & SRC(1), NET(1) & SRC(2), DST(1))
flows = st.tuples(st.sampled_from((4, 36)), st.sampled_from((1, 2)), st.sampled_from(MATCHES))
keys: st.SearchStrategy[Key] = st.one_of(flows, st.tuples(st.just("group"), st.integers(1, 3)))


@given(st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(0, 9))), max_size=30))
def test_it_holds_what_a_dict_does_and_tells_what_is_tested(steps: list[tuple[Key, int | None]]) -> None:
    plain, keyed = dict[Key, int](), Keyed[int]()
    for key, value in steps:
        if value is not None:
            plain[key] = value
            keyed[key] = value
        elif key in plain:
            del plain[key]
            keyed.drop(key)
        assert keyed.get(key) == plain.get(key)
    assert (dict(keyed.items()), keyed.keys()) == (plain, {*plain})
    assert sorted(keyed.values()) == sorted(plain.values())
    told = {(table, at, each) for table in (4, 36) for at, some in keyed.patterns(table).items() for each in some}
    assert told == {(key[0], key[1], key[2].pattern) for key in plain if len(key) == 3}

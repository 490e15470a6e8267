from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxq.plan.groups import merge_groups

GROUPS = st.lists(st.frozensets(st.integers(0, 12).map(str), min_size=1, max_size=4), max_size=8)


@given(GROUPS)
def test_groups_that_share_a_member_become_one(groups: list[frozenset[str]]) -> None:
    merged = merge_groups(groups)
    members = [name for group in merged for name in group]
    assert len(members) == len(set(members))
    assert set(members) == {name for group in groups for name in group}
    for group in groups:
        assert sum(group <= whole for whole in merged) == 1
    assert merge_groups(merged) == merged


@given(GROUPS)
def test_nothing_is_united_without_a_link(groups: list[frozenset[str]]) -> None:
    for whole in merge_groups(groups):
        first, *rest = [group for group in groups if group <= whole]
        reached = set(first)
        while linked := [group for group in rest if group & reached]:
            reached.update(*linked)
            rest = [group for group in rest if group not in linked]
        assert reached == whole


def test_the_first_member_decides_the_order() -> None:
    groups = [frozenset(text) for text in ("ab", "cd", "ef", "da")]
    assert merge_groups(groups) == [frozenset("ef"), frozenset("abcd")]


def test_a_chain_is_one_group() -> None:
    groups = [frozenset(text) for text in ("ab", "cd", "bc")]
    assert merge_groups(groups) == [frozenset("abcd")]


def test_no_groups_are_none() -> None:
    assert merge_groups([]) == []

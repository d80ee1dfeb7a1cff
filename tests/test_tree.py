"""Nested lists, tuples and dicts are taken apart and put together in one order."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tinygrad7.tree import leaves, matched, rebuild, tree_map
from tinygrad7.walk import contributions

Pair = namedtuple("Pair", "a b")
TREES = st.recursive(
    st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(TREES)
def test_what_is_taken_apart_can_be_put_together(tree: Any) -> None:
    assert rebuild(tree, iter(leaves(tree))) == tree
    assert leaves(tree_map(lambda x: x + 1, tree)) == [x + 1 for x in leaves(tree)]
    assert matched(tree, tree_map(lambda x: -x, tree), "twin") == [-x for x in leaves(tree)]


def test_named_tuples_keep_their_type_and_dicts_their_order() -> None:
    found = tree_map(lambda x: x * 2, {"z": Pair(1, [2]), "a": (3,)})
    assert found == {"z": Pair(2, [4]), "a": (6,)} and type(found["z"]) is Pair and list(found) == ["z", "a"]


def test_dicts_are_matched_by_key_and_other_forms_refused() -> None:
    assert matched({"a": 1, "b": [2]}, {"b": [20], "a": 10}, "v") == [10, 20]
    told = (
        r"^v must be nested like the value it belongs to: a list of 2 entries is needed there, not a list of 1 entries$"
    )
    with pytest.raises(ValueError, match=told):
        matched([1, 2], [3], "v")
    with pytest.raises(
        ValueError, match=r"a dict of the keys \['a'\] is needed there, not a dict of the keys \['b'\]$"
    ):
        matched({"a": 1}, {"b": 1}, "v")
    with pytest.raises(ValueError, match=r"a tuple of 1 entries is needed there, not a float$"):
        matched((1,), 2.0, "v")


def test_an_output_of_an_op_has_no_rule_of_its_own() -> None:
    row, _ = tg.unstack(tg.tensor(np.ones((2, 2)), requires_grad=True))
    with pytest.raises(TypeError, match="an output of an op has no rule of its own"):
        next(iter(contributions(row._node, row._value)))

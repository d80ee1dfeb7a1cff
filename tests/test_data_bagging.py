"""Bagging: training sets drawn with replacement."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad7.data import bagging


def test_bags_are_drawn_with_replacement_and_know_what_they_left_out() -> None:
    x, y = np.arange(1000), -np.arange(1000)
    bags = bagging(x, y, members=5, rng=0)
    assert len(bags) == 5
    for bag in bags:
        np.testing.assert_array_equal(bag.arrays[0], -bag.arrays[1])
        np.testing.assert_array_equal(bag.arrays[0], bag.chosen)
        assert sorted({*bag.chosen.tolist(), *bag.left_out.tolist()}) == list(range(1000))
        assert not set(bag.chosen.tolist()) & set(bag.left_out.tolist())
        assert abs(len(bag.left_out) / 1000 - np.exp(-1)) < 0.05
    assert not np.array_equal(bags[0].chosen, bags[1].chosen)
    np.testing.assert_array_equal(bagging(x, members=1, rng=0)[0].chosen, bags[0].chosen)


def test_bagging_refuses_what_gives_no_bag() -> None:
    with pytest.raises(ValueError, match=r"got lengths \[\]"):
        bagging(members=2)
    with pytest.raises(ValueError, match=r"got lengths \[2, 3\]"):
        bagging(np.zeros(2), np.zeros(3), members=2)
    with pytest.raises(ValueError, match=r"got lengths \[0\]"):
        bagging(np.zeros(0), members=2)
    with pytest.raises(ValueError, match="bagging: members must be a whole number of at least 1, not 0"):
        bagging(np.zeros(2), members=0)

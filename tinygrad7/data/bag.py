"""Bagging: training sets for the members of an ensemble."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad7.random import generator
from tinygrad7.settings import check_whole


class Bag(NamedTuple):
    """One member's training set: ``arrays``, the indices ``chosen`` (with repeats), those ``left_out``."""

    arrays: tuple[Any, ...]
    chosen: np.ndarray
    left_out: np.ndarray


def bagging(*arrays: Any, members: int, rng: np.random.Generator | int | None = None) -> list[Bag]:
    """For each of ``members`` models, as many examples as there are, drawn with replacement (Breiman, 1996).

    ``arrays`` have the examples along axis 0. About 1/e of them are left out of a bag; they can validate its member.
    Raises ``ValueError`` for no arrays, unequal lengths, no examples, or fewer than one member."""
    lengths = [len(a) for a in arrays]
    if not lengths or len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(f"bagging: needs arrays of one, positive number of examples; got lengths {lengths}")
    check_whole("bagging", members=members)
    draw, n, bags = generator(rng), lengths[0], []
    for _ in range(members):
        chosen = draw.integers(n, size=n)
        left_out = np.setdiff1d(np.arange(n), chosen)
        bags.append(Bag(tuple([a[chosen] for a in arrays]), chosen, left_out))
    return bags

"""Random numbers: one NumPy generator, drawn on the host whatever the device, so that one seed gives one run.

Every random op takes ``rng=``: a ``numpy.random.Generator``, a seed, or None for the generator of ``tg.seed``.
"""

from __future__ import annotations

import numpy as np

from tinygrad7.context import STATE

_default: list[np.random.Generator] = []  # made when first used: importing numpy.random costs 20 ms


def seed(n: int | None) -> None:
    """Start the generator of all random ops without ``rng=`` from ``n`` ≥ 0 (None: from the system's entropy)."""
    if n is not None and (not hasattr(n, "__index__") or n < 0):
        raise ValueError(f"seed: the seed is an integer from 0 on, or None, not {n!r}")
    _default[:] = [np.random.default_rng(n)]


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """The generator that ``rng=`` means: itself, a new one from a seed, or the default one for None.

    Inside a ``checkpoint`` its state is noted, so that the computation can be repeated with the same numbers.
    """
    if isinstance(rng, np.random.Generator):
        found = rng
    elif rng is None:
        if not _default:
            seed(None)
        found = _default[0]
    elif isinstance(rng, int | np.integer):
        return np.random.default_rng(int(rng))
    else:
        raise TypeError(f"rng must be a numpy.random.Generator, a seed or None, not {type(rng).__name__}")
    noted = STATE.get().generators
    if noted is not None and id(found) not in noted:
        noted[id(found)] = (found, found.bit_generator.state)
    return found

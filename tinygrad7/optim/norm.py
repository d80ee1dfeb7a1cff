"""The norm of many arrays together, without overflow or underflow."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad7.backend import Array, xp

# Between these a sum of squares is as exact as its dtype allows: nothing has overflowed, and what has underflowed is
# too small to count.
_SAFE = {"float32": (1e-20, 1e38), "float64": (1e-270, 1e308)}


def norm_of(arrays: Iterable[Array]) -> float:
    """‖(a, b, ...)‖₂ of flat arrays, as a Python number; nan or inf only where an element is."""
    arrays = [a for a in arrays if a.size]
    total, safe = 0.0, True
    for a in arrays:
        low, high = _SAFE.get(a.dtype.name, (math.inf, 0.0))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            square = float(a.dot(a)) if high else 0.0
        safe = safe and low < square < high
        total += square
    if safe and total < 1e308:
        return math.sqrt(total)
    peak = max((float(abs(a).max()) for a in arrays), default=0.0)
    if not 0.0 < peak < math.inf:
        return peak
    total = 0.0
    for a in arrays:
        scaled = a.astype(xp(a).float64) / peak
        total += float(scaled.dot(scaled))
    return peak * math.sqrt(total)

"""Preconditioned conjugate gradients, stopped as Martens (2010) stops them."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinygrad7.backend import Array


def dot(a: Array, b: Array) -> float:
    """aᵀ b as a Python number."""
    return float(a.dot(b))


def conjugate_gradients(
    product: Callable[[Array], Array],
    b: Array,
    start: Array,
    preconditioner: Array | None = None,
    *,
    iterations: int = 250,
    tolerance: float = 5e-4,
    spacing: float = 1.3,
) -> tuple[list[Array], list[float], int]:
    """Minimise the quadratic φ(x) = ½ xᵀ A x − bᵀ x from ``start``, where ``product(x)`` = A x, A positive definite.

    ``preconditioner``: the diagonal of M in M⁻¹ A. Stops after ``iterations``, or when the last k = max(10, i / 10)
    iterations have gained less than k · ``tolerance`` of −φ. Returns the iterates worth trying (those at i = 1.3ʲ and
    the last), φ at each, and the number of iterations. Source: Martens, 2010, sections 4.4 and 4.6.
    """
    x = start.copy()
    r = product(x) - b
    y = r / preconditioner if preconditioner is not None else r
    p = -y
    ry = dot(r, y)
    values = [0.5 * (dot(r, x) - dot(b, x))]
    kept: list[Array] = []
    phis: list[float] = []
    due, i = 1.0, 0
    for i in range(1, iterations + 1):
        ap = product(p)
        curved = dot(p, ap)
        if not (curved > 0 and ry > 0) or not math.isfinite(curved):  # rounding has won, or r = 0: nothing better
            break
        alpha = ry / curved
        x = x + alpha * p
        r = r + alpha * ap
        values.append(0.5 * (dot(r, x) - dot(b, x)))
        if i >= due:
            kept.append(x)
            phis.append(values[-1])
            while due <= i:
                due = math.ceil(due * spacing)
        k = max(10, i // 10)
        if i > k and values[i] < 0 and values[i] - values[i - k] > k * tolerance * values[i]:
            break
        y = r / preconditioner if preconditioner is not None else r
        before, ry = ry, dot(r, y)
        p = -y + (ry / before) * p
    if not kept or kept[-1] is not x:
        kept.append(x)
        phis.append(values[-1])
    return kept, phis, i

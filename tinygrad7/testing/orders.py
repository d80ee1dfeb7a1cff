"""One order of derivative at one point: rules against measured slopes, and J against its transpose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygrad7.backend import Array, to_numpy, xp
from tinygrad7.testing.numeric import Line
from tinygrad7.testing.problem import Flat, directions, evaluate, inner, pull, push, rounding

_MOST = 4096  # elements looked at one by one after a random direction has found something


class Mismatch(Exception):
    """A derivative that is not what was measured: in which input, at which element (None: along a direction)."""

    def __init__(self, input: int, element: tuple[int, ...] | None, what: str) -> None:
        super().__init__(what)
        self.input, self.element, self.what = input, element, what


@dataclass(frozen=True)
class Kink:
    """A point whose one-sided slopes differ, with a gradient between them. Infinite slopes: the function jumps."""

    input: int
    element: tuple[int, ...] | None
    analytic: float
    left: float
    right: float


def check_order(
    flat: Flat, slopes: Flat, point: list[Array], bars: list[Array], rng: np.random.Generator, level: int
) -> Kink | None:
    """Check Jᵀ ū of ``flat`` at ``point`` (float64). ``slopes`` is what is measured: the same function, cheaper.

    Returns a kink if there is one; raises ``Mismatch`` for a derivative that is wrong, ``ValueError`` at the edge of
    the domain.
    """
    found = pull(flat, point, bars)
    eps = rounding(flat, point)
    vs = directions(point, rng)
    kinks = [_check_input(slopes, point, bars, found, j, vs[j], eps, level) for j in range(len(point))]
    _check_adjoint(flat, point, bars, found, vs, eps)
    return next((kink for kink in kinks if kink is not None), None)


def _line(flat: Flat, point: list[Array], bars: list[Array], j: int, v: Array, eps: float, level: int) -> Line:
    """Σ ⟨ū, y⟩ along direction v of input j."""

    def phi(s: float) -> tuple[float, float]:
        moved = [p + s * v if i == j else p for i, p in enumerate(point)]
        with np.errstate(all="ignore"):
            return inner(bars, evaluate(flat, moved, record=level > 1))

    largest = float(xp(v).abs(xp(v).where(v == 0, 0, point[j])).max())  # of the elements that are moved
    rest = (10 * eps if eps < 1e-10 else eps) * sum(float(xp(bar).abs(bar).sum()) for bar in bars)
    return Line(phi, eps, largest, rest)


def _relative(eps: float) -> float:
    return max(1e-6, 100 * math.pow(eps, 0.8))


def _check_input(
    flat: Flat, point: list[Array], bars: list[Array], found: list[Array], j: int, v: Array, eps: float, level: int
) -> Kink | None:
    if not point[j].size:
        return None
    if not np.isfinite(to_numpy(found[j])).all():
        element = tuple(np.argwhere(~np.isfinite(to_numpy(found[j])))[0].tolist())
        raise Mismatch(j, element, f"it is {float(to_numpy(found[j])[element])}, where the function is finite")
    line = _line(flat, point, bars, j, v, eps, level)
    expected, size = inner([found[j]], [v])
    tolerance = _relative(eps) * size
    agrees, kinked = line.agrees(expected, tolerance), line.kink()
    if agrees and not kinked:
        return None
    if not line.finite():
        raise ValueError(
            "check_gradients: the function is not finite on both sides of these inputs (they are at the edge of its "
            "domain); move them inwards"
        )
    kink = _one_by_one(flat, point, bars, found, j, eps, level)
    if kink is not None:
        return kink
    if line.jump():
        return Kink(j, None, expected, -math.inf, math.inf)
    sides = line.sides(line.steps[-1])
    if kinked and line.between(expected, tolerance):
        return Kink(j, None, expected, *sides)
    what = f"along a random direction the rules give {expected:.9g}, central differences {line.best(expected):.9g}"
    raise Mismatch(j, None, what)


def _one_by_one(
    flat: Flat, point: list[Array], bars: list[Array], found: list[Array], j: int, eps: float, level: int
) -> Kink | None:
    """Something is odd along a direction: which element, and is it a kink or an error? The largest error is raised."""
    kink: Kink | None = None
    worst: tuple[float, Mismatch] | None = None
    gradient = to_numpy(found[j])
    for count, element in enumerate(np.ndindex(*gradient.shape)):
        if count == _MOST:
            break
        unit = xp(point[j]).zeros(point[j].shape, np.float64)
        unit[element] = 1.0
        line = _line(flat, point, bars, j, unit, eps, level)
        expected = float(gradient[element])
        tolerance = _relative(eps) * abs(expected)
        if line.jump():
            kink = kink or Kink(j, element, expected, -math.inf, math.inf)
        elif line.kink() and line.between(expected, tolerance):
            kink = kink or Kink(j, element, expected, *line.sides(line.steps[-1]))
        elif not line.agrees(expected, tolerance):
            measured = line.best(expected)
            what = f"the rules give {expected:.9g}, central differences {measured:.9g}"
            if worst is None or abs(measured - expected) > worst[0]:
                worst = abs(measured - expected), Mismatch(j, element, what)
    if worst is not None:
        raise worst[1]
    return kink


def _check_adjoint(
    flat: Flat, point: list[Array], bars: list[Array], found: list[Array], vs: list[Array], eps: float
) -> None:
    """⟨ū, J v⟩ = ⟨Jᵀ ū, v⟩, where J v comes from the recorded rules and Jᵀ ū from the rules on arrays."""
    forward, size = inner(bars, push(flat, point, bars, vs))
    back, other = inner(found, vs)
    if not abs(forward - back) <= 1e3 * eps * (size + other) + 1e-12:
        j = max(range(len(found)), key=lambda i: inner([found[i]], [vs[i]])[1])
        raise Mismatch(j, None, f"⟨u, J v⟩ is {forward:.12g} but ⟨Jᵀ u, v⟩ is {back:.12g}: the recorded rules differ")

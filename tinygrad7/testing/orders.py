"""One order of derivative at one point: rules against measured slopes, and J against its transpose."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinygrad7.backend import Array, to_numpy, xp
from tinygrad7.testing.numeric import Line
from tinygrad7.testing.problem import Flat, directions, evaluate, gradient_rounding, inner, pull, push, rounding

_MOST = 4096  # elements looked at one by one after a random direction has found something


@dataclass(frozen=True)
class Kink:
    """A point whose one-sided slopes differ, with a gradient between them. Infinite slopes: the function jumps."""

    input: int
    element: tuple[int, ...] | None
    analytic: float
    left: float
    right: float


class Mismatch(Exception):
    """A derivative that is not what was measured: in which input, at which element (None: along a direction).

    ``kink``: the slopes of the two sides, where it is those that it does not agree with. ``infinite``: it is not
    finite."""

    def __init__(
        self,
        input: int,
        element: tuple[int, ...] | None,
        what: str,
        kink: Kink | None = None,
        *,
        infinite: bool = False,
    ) -> None:
        super().__init__(what)
        self.input, self.element, self.what, self.kink, self.infinite = input, element, what, kink, infinite


class Order:
    """Jᵀ ū of ``flat`` at ``point`` (float64), and what is measured there.

    ``slopes`` is what is measured: the same function, cheaper; ``names`` what messages call the inputs."""

    def __init__(
        self, flat: Flat, slopes: Flat, point: list[Array], bars: list[Array], names: list[str] | None = None
    ) -> None:
        self.flat, self.slopes, self.point, self.bars = flat, slopes, point, bars
        self.names = names or [str(j) for j in range(len(point))]
        self.found = pull(flat, point, bars)
        self.eps, self.grain = rounding(flat, point, bars)
        self.relative = max(1e-6, 100 * math.pow(self.eps, 0.8))

    def check(self, rng: np.random.Generator) -> Kink | None:
        """A kink if there is one; raises ``Mismatch`` for a derivative that is wrong, ``ValueError`` at the edge of the
        domain."""
        vs = directions(self.point, rng)
        kinks = [self._check_input(j, v) for j, v in enumerate(vs) if v.size]
        if self.eps > 1e-10:  # coarse: where nothing cancels, most is seen
            steepest = [abs(v) * xp(v).sign(g) for v, g in zip(vs, self.found, strict=True)]
            kinks += [self._check_input(j, v) for j, v in enumerate(steepest) if xp(v).any(v)]
        self._check_adjoint(vs)
        return next((kink for kink in kinks if kink is not None), None)

    @functools.cached_property
    def rest(self) -> float:
        """By how much the rules may be off, for they round, too. Looked at only where something is odd."""
        eps, size = gradient_rounding(self.flat, self.point, self.bars)
        constant = sum(float(xp(bar).abs(bar).sum()) for bar in self.bars)  # slopes that depend on no input round, too
        return (10 * eps if eps < 1e-10 else eps) * (size + constant)

    def _line(self, j: int, v: Array) -> Line:
        """Σ ⟨ū, y⟩ along direction v of input j."""

        def phi(s: float) -> tuple[float, float]:
            moved = [p + s * v if i == j else p for i, p in enumerate(self.point)]
            try:
                with np.errstate(all="ignore"):
                    return inner(self.bars, evaluate(self.slopes, moved))
            except Exception as error:
                error.add_note(
                    f"check_gradients had moved input {self.names[j]} by up to {abs(s):.3g}, to measure a slope. If it "
                    "is not to be differentiated, close over it: check_gradients(lambda x: f(x, targets), x)"
                )
                raise

        largest = float(xp(v).abs(xp(v).where(v == 0, 0, self.point[j])).max())  # of the elements that are moved
        return Line(phi, self.eps, largest, self.grain)

    def _check_input(self, j: int, v: Array) -> Kink | None:
        gradient = to_numpy(self.found[j])
        if not np.isfinite(gradient).all():
            element = tuple(np.argwhere(~np.isfinite(gradient))[0].tolist())
            raise Mismatch(j, element, f"it is {float(gradient[element])}, where the function is finite", infinite=True)
        line = self._line(j, v)
        expected, size = inner([self.found[j]], [v])
        tolerance = self.relative * size
        if self._clear(line, expected, tolerance):
            return None
        if not line.finite():
            raise ValueError(
                "check_gradients: the function is not finite on both sides of these inputs (they are at the edge of "
                "its domain); move them inwards"
            )
        kink = self._one_by_one(j, v)
        if kink is not None:
            return kink
        if line.jump():
            return Kink(j, None, expected, -math.inf, math.inf)
        here = Kink(j, None, expected, *line.sides(line.steps[-1])) if line.kink() else None
        if here is not None and line.between(expected, tolerance):
            return here
        measured = line.best(expected)
        what = f"along a random direction the rules give {expected:.9g}, central differences {measured:.9g}"
        raise Mismatch(j, None, what, here or Kink(j, None, expected, measured, measured))

    def _clear(self, line: Line, expected: float, tolerance: float) -> bool:
        """Whether along this line all is smooth, and as expected."""
        if line.agrees(expected, tolerance) and not line.kink():
            return True
        line.rest = self.rest
        return line.agrees(expected, tolerance) and not line.kink()

    def _suspects(self, j: int, v: Array) -> Iterator[tuple[int, ...]]:
        """The elements of those stretches along which something is odd; all, where they are few."""
        size, width = v.size, math.isqrt(v.size)
        for start in range(0, size, width):
            stretch = range(start, min(start + width, size))
            if size > 16:
                part = xp(v).zeros(size, np.float64)
                part[start : start + width] = v.reshape(-1)[start : start + width]
                part = part.reshape(v.shape)
                expected, terms = inner([self.found[j]], [part])
                if self._clear(self._line(j, part), expected, self.relative * terms):
                    continue
            yield from [tuple([int(i) for i in np.unravel_index(place, v.shape)]) for place in stretch]

    def _one_by_one(self, j: int, v: Array) -> Kink | None:
        """Something is odd along ``v``: which element? Is it a kink or an error? The largest error is raised."""
        kink: Kink | None = None
        worst: tuple[float, Mismatch] | None = None
        gradient, like = to_numpy(self.found[j]), self.point[j]
        for element in itertools.islice(self._suspects(j, v), _MOST):
            unit = xp(like).zeros(like.shape, np.float64)
            unit[element] = 1.0
            line = self._line(j, unit)
            line.rest = self.rest
            expected = float(gradient[element])
            tolerance = self.relative * abs(expected)
            if line.jump():
                kink = kink or Kink(j, element, expected, -math.inf, math.inf)
                continue
            here = Kink(j, element, expected, *line.sides(line.steps[-1])) if line.kink() else None
            if here is not None and line.between(expected, tolerance):
                kink = kink or here
            elif not line.agrees(expected, tolerance):
                measured = line.best(expected)
                what = f"the rules give {expected:.9g}, central differences {measured:.9g}"
                error = abs(measured - expected) if here is None else 0.0  # beside a kink nothing was measured
                if worst is None or error > worst[0]:
                    worst = error, Mismatch(j, element, what, here or Kink(j, element, expected, measured, measured))
        if worst is not None:
            raise worst[1]
        return kink

    def _check_adjoint(self, vs: list[Array]) -> None:
        """⟨ū, J v⟩ = ⟨Jᵀ ū, v⟩, where J v comes from the recorded rules and Jᵀ ū from the rules on arrays."""
        forward, size = inner(self.bars, push(self.flat, self.point, self.bars, vs))
        back, other = inner(self.found, vs)
        slack = 1e3 * self.eps * (size + other)
        if not abs(forward - back) <= slack and not abs(forward - back) <= slack + self.rest:
            j = max(range(len(self.found)), key=lambda i: inner([self.found[i]], [vs[i]])[1])
            what = f"⟨u, J v⟩ is {forward:.12g} but ⟨Jᵀ u, v⟩ is {back:.12g}: the recorded rules differ"
            raise Mismatch(j, None, what)

"""Derivatives measured: a function along a line, its central and one-sided slopes, and whether it has a kink there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable


class Line:
    """A function of one number s, measured around s = 0.

    ``phi(s)`` gives the value and the size of the terms that it was summed from, which bounds its rounding error
    (``eps`` relative) together with ``grain``, the size of what was rounded on the way. ``rest``: by how much the
    slopes that it is held against may be off, which are computed, too.
    ``reach`` is the size of the largest number that is moved: the function is expected to change over a length like it
    (over 1 if it is 0). Slopes are central differences of fourth order; four steps are tried, since a kink or the
    edge of a domain may lie between them, and finer ones for a function that changes faster.
    """

    def __init__(self, phi: Callable[[float], tuple[float, float]], eps: float, reach: float, grain: float) -> None:
        self.phi, self.eps, self.reach, self.grain, self.rest = phi, eps, reach, grain, 0.0
        scale = min(max(reach, 1e-3), 1e6) if reach else 1.0
        self.steps = [eps**0.2 * scale / 8**k for k in range(4)]
        finest = 1e5 * eps * max(reach, 1.0)  # beyond it rounding would hide an error of a thousandth
        self.finer = [h for h in (self.steps[-1] / 8**k for k in range(1, 8)) if h > finest]
        self.size = 0.0
        self._known: dict[float, float] = {}

    def at(self, s: float) -> float:
        if s not in self._known:
            self._known[s], size = self.phi(s)
            self.size = max(self.size, size) if math.isfinite(size) else self.size
        return self._known[s]

    def slope(self, h: float) -> float:
        """(8 (φ(h) − φ(−h)) − (φ(2h) − φ(−2h))) / 12 h, exact up to h⁴."""
        return (8 * (self.at(h) - self.at(-h)) - (self.at(2 * h) - self.at(-2 * h))) / (12 * h)

    def noise(self, h: float) -> float:
        """What rounding may do to a slope."""
        return self.eps * max(20 * self.size, 10 * self.grain) / h

    def sides(self, h: float) -> tuple[float, float]:
        """The slopes on the left and on the right."""
        return (self.at(0.0) - self.at(-h)) / h, (self.at(h) - self.at(0.0)) / h

    def doubt(self, steps: list[float], expected: float) -> dict[float, float]:
        """For each of ``steps`` but the first, by how much its slope may be off: rounding, and a step 8 times as large.

        That one's error is 4096 times as large, so a part of what the two differ by is more than enough. But beside a
        kink in a higher derivative (x |x| at 0) it is 8 times as large: what three steps in a row differ by tells.
        ``expected`` is the slope that the rules give: rounding moves the numbers that are moved, too."""
        found: dict[float, float] = {}
        before = math.nan
        for larger, h in itertools.pairwise(steps):
            apart = abs(self.slope(h) - self.slope(larger))
            ratio = apart / before if before > 0 else 0.0
            part = max(1 / 64, 1.5 * ratio / (1 - ratio)) if ratio < 0.25 else 1 / 64
            rounding = self.noise(h) + self.eps * self.reach * abs(expected) / h
            found[h] = rounding + part * apart if math.isfinite(apart) else math.inf
            before = apart
        return found

    def agrees(self, expected: float, tolerance: float) -> bool:
        """Whether ``expected`` is the slope, as one of those steps says which can be trusted.

        A step that is too small agrees with anything, one that is too large with nothing: neither has a say. Beside a
        kink two large steps may agree with each other, so a small one that is sure to 2e-4 has a say too."""
        return any(self._agree(steps, expected, tolerance) for steps in (self.steps, self.steps + self.finer))

    def _agree(self, steps: list[float], expected: float, tolerance: float) -> bool:
        doubt = self.doubt(steps, expected)
        trusted = max(tolerance, 2e-4 * abs(expected), 3 * min(doubt.values()))
        near = [h for h, d in doubt.items() if d <= trusted]
        return any(abs(self.slope(h) - expected) <= tolerance + doubt[h] + self.rest for h in near)

    def best(self, expected: float) -> float:
        """The measured slope: that of the step which can be trusted best."""
        doubt = self.doubt(self.steps + self.finer, expected)
        return self.slope(min(doubt, key=lambda h: doubt[h]))

    def between(self, expected: float, tolerance: float) -> bool:
        """Whether ``expected`` lies between the one-sided slopes, taken to h → 0: a rule often gives one of them."""
        h = self.steps[-1]
        sides = [(8 * near - far) / 7 for near, far in zip(self.sides(h), self.sides(8 * h), strict=True)]
        slack = tolerance + 2 * self.noise(h) + 1e-5 * (abs(sides[0]) + abs(sides[1]))
        return min(sides) - slack <= expected <= max(sides) + slack

    def _gap(self, h: float) -> float:
        left, right = self.sides(h)
        gap = abs(right - left)
        return gap if gap > 1e-4 * (abs(left) + abs(right)) + 4 * self.noise(h) else 0.0

    def kink(self) -> bool:
        """Whether the one-sided slopes stay apart however small the step: a smooth function's approach each other."""
        h = self.steps[0]
        if not self._gap(h) > 0.75 * self._gap(2 * h) or self.size <= 100 * self.rest:
            return False
        small, smaller = self.steps[2:] if self.eps < 1e-10 else self.steps[1:3]
        if not self._gap(smaller) > 0.75 * self._gap(small) > 0:
            return False
        return len(self.finer) < 2 or self._gap(self.finer[1]) > 0.75 * self._gap(smaller)

    def jump(self) -> bool:
        """Whether the values on the two sides stay apart however small the step, while those on one side meet."""
        wide, small = self.steps[1], self.steps[3]
        near, nearest = (abs(self.at(h) - self.at(-h)) for h in (wide, small))
        meet = max(abs(self.at(sign * small) - self.at(sign * small / 8)) for sign in (1, -1)) < 0.25 * nearest
        return nearest > 0.5 * near and nearest > 1e3 * self.eps * self.size and meet

    def finite(self) -> bool:
        """Whether the function is finite here and, at the smallest step, on both sides."""
        h = self.steps[-1]
        return all(math.isfinite(self.at(s)) for s in (0.0, h, -h, 2 * h, -2 * h))

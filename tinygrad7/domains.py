"""Where the property tests may try an op: each domain is a function of a ``pick`` that gives example arguments.

``pick`` draws small things: ``pick.array(shape, low, high)``, ``pick.shape(...)``, ``pick.integer(low, high)``,
``pick.choice(options)``. ``tinygrad7.testing`` gives one that Hypothesis drives (so examples shrink) and one driven by
a random generator. A domain returns ``(arguments, keywords)``; float64 arrays stand at the tensor arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Shape = tuple[int, ...]
Call = tuple[tuple[Any, ...], dict[str, Any]]
Interval = tuple[float, float]


class Pick(Protocol):
    """The small decisions that a domain is made of."""

    def together(self, decide: Callable[[Any], Any]) -> Any:
        """``decide(pick)``, as decisions that belong together: an example shrinks by losing all of them at once."""

    def integer(self, low: int, high: int) -> int:
        """A whole number, low ≤ n ≤ high."""

    def choice(self, options: Any) -> Any:
        """One of ``options`` (a sequence), the simplest first."""

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> Shape:
        """A shape."""

    def array(
        self,
        shape: Shape,
        low: float = -3.0,
        high: float = 3.0,
        *,
        away: tuple[float, ...] = (),
        distinct: bool = False,
    ) -> np.ndarray:
        """float64 values between low and high, at least 0.1 away from each of ``away``; with ``distinct``, no two
        nearer to each other than 0.01 (so that no maximum is tied)."""

    def integers(self, shape: Shape, low: int, high: int) -> np.ndarray:
        """An int64 array, low ≤ n ≤ high."""

    def broadcastable(self, count: int) -> tuple[Shape, ...]:
        """Shapes that broadcast together."""


Domain = Callable[[Pick], Call]


def _elementwise(domain: Domain) -> Domain:
    """Say of a domain that its op works element by element: its rules give what has the output's shape and dtype."""
    domain.elementwise = True  # type: ignore[attr-defined]
    return domain


def elementwise(interval: Interval = (-3, 3), *, away: tuple[float, ...] = (), **keywords: Any) -> Domain:
    """One array of any shape with values in ``interval``; ``keywords`` map names to their options."""

    def domain(pick: Pick) -> Call:
        x = pick.array(pick.shape(), *interval, away=away)
        return (x,), {name: pick.choice(options) for name, options in keywords.items()}

    return _elementwise(domain)


def broadcastable(
    a: Interval = (-3, 3), b: Interval = (-3, 3), *, away_a: tuple[float, ...] = (), away_b: tuple[float, ...] = ()
) -> Domain:
    """Two arrays whose shapes broadcast."""

    def domain(pick: Pick) -> Call:
        s, t = pick.broadcastable(2)
        return (pick.array(s, *a, away=away_a), pick.array(t, *b, away=away_b)), {}

    return _elementwise(domain)


def apart() -> Domain:
    """Two arrays whose shapes broadcast, and which are nowhere nearly equal."""

    def domain(pick: Pick) -> Call:
        (a, b), _ = broadcastable()(pick)
        return (a, np.where(b < 0, b - 3.1, b + 3.1)), {}

    return _elementwise(domain)


def pick_axis(pick: Pick, ndim: int, *, several: bool = True) -> Any:
    """An ``axis`` argument: None, an axis (also negative) or a tuple of axes."""
    options: list[Any] = [None, *range(-ndim, ndim)]
    if several and ndim >= 2:
        options += [(0, 1), (-1, 0)]
    return pick.choice(options)


def reduction(interval: Interval = (-3, 3), *, several: bool = True, distinct: bool = False, **keywords: Any) -> Domain:
    """An array with ``axis`` and ``keepdims``."""

    def domain(pick: Pick) -> Call:
        shape = pick.shape()
        x = pick.array(shape, *interval, distinct=distinct)
        given = {"axis": pick_axis(pick, len(shape), several=several), "keepdims": pick.choice([False, True])}
        return (x,), given | {name: pick.choice(options) for name, options in keywords.items()}

    return domain

"""The small decisions that an op's domain asks for (``tinygrad7.domains.Pick``), made by a random generator."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad7.domains import Call, Pick, Shape
from tinygrad7.op import REGISTRY, Op

_MOST_VALUES = 100_000  # to choose from


@functools.cache
def grid(low: float, high: float, away: tuple[float, ...] = (), dense: int = 64) -> np.ndarray:
    """Multiples of a power of two between low and high, simplest first, none within 0.1 of ``away``.

    Exact in float16 too; neighbours are at least 1/64 apart unless the interval is too short for that, and further
    where it is long. Raises ``ValueError`` for an interval that is none, or that has nothing away from ``away``.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"values between {low} and {high}: the lower limit comes first, and both are finite")
    fine = 64.0
    while (high - low) * fine < dense and low < high:
        fine *= 2
    while (high - low) * fine > max(_MOST_VALUES, 2 * dense):
        fine /= 2
    values = np.arange(math.ceil(low * fine), math.floor(high * fine) + 1) / fine
    values = values if len(values) and low < high else np.array([low], np.float64)
    for a in away:
        values = values[np.abs(values - a) >= 0.1]
    if not len(values):
        raise ValueError(f"no value between {low} and {high} is 0.1 away from all of {away}")
    whole = values == np.round(values)
    return values[np.lexsort((values < 0, np.abs(values), ~whole))]


class GeneratorPick:
    """Decisions by ``rng``: quick, and the same for the same seed."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def together(self, decide: Any) -> Any:
        return decide(self)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def choice(self, options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> Shape:
        return tuple([self.integer(min_side, max_side) for _ in range(self.integer(min_dims, max_dims))])

    def array(
        self,
        shape: Shape,
        low: float = -3.0,
        high: float = 3.0,
        *,
        away: tuple[float, ...] = (),
        distinct: bool = False,
    ) -> np.ndarray:
        count = math.prod(shape)
        if distinct:
            values = grid(low, high, away, 2 * count)
            return self.rng.choice(values, count, replace=False).reshape(shape)
        x = self.rng.uniform(low, high, shape)
        for _ in range(100):
            near = functools.reduce(np.logical_or, [np.abs(x - a) < 0.1 for a in away], np.zeros(shape, bool))
            if not near.any():
                break
            x = np.where(near, self.rng.uniform(low, high, shape), x)
        return x

    def integers(self, shape: Shape, low: int, high: int) -> np.ndarray:
        return self.rng.integers(low, high + 1, shape)

    def broadcastable(self, count: int) -> tuple[Shape, ...]:
        return broadcastable(self, count)


def broadcastable(pick: Pick, count: int) -> tuple[Shape, ...]:
    """``count`` shapes that broadcast together, equal ones among them."""
    full = pick.shape()
    shapes = []
    for _ in range(count):
        kept = full[pick.choice([0, 0, 1, len(full)]) :]
        shapes.append(tuple([pick.choice([n, n, 1]) for n in kept]))
    return tuple(shapes)


def op_of(op: Any) -> Op:
    """The op that is meant: itself, the function that ``primitive`` made of it, or its registered name."""
    found = REGISTRY.get(op) if isinstance(op, str) else getattr(op, "op", op)
    if not isinstance(found, Op):
        name = repr(op) if isinstance(op, str) else getattr(op, "__name__", type(op).__name__)
        raise TypeError(f"{name} is no op that tg.primitive registered; check a function of ops with check_gradients")
    return found


def draw_call(op: Op, pick: Pick) -> Call:
    """Arguments of one call of ``op``, from its domain. A domain may be a list of intervals, one an argument."""
    if op.domain is None:
        raise ValueError(f"{op.name} has no domain: give @primitive one, so that the tests know where to try it")
    if callable(op.domain):
        args, kwargs = op.domain(pick)
        return args, kwargs
    shapes = pick.broadcastable(len(op.domain))
    return tuple([pick.array(s, *interval) for s, interval in zip(shapes, op.domain, strict=True)]), {}


def examples(op: Any, rng: np.random.Generator | int | None = None, count: int | None = None) -> Iterator[Call]:
    """Example calls ``(args, kwargs)`` of an op, given by itself or by name; endless unless ``count`` is given."""
    found = op_of(op)
    pick = GeneratorPick(np.random.default_rng(rng))
    while count is None or count > 0:
        yield draw_call(found, pick)
        count = None if count is None else count - 1

"""Schedules: a learning rate (or any hyperparameter of a link) as a function of the step, counted from 0.

Give one wherever a number may stand: ``Adam(params, warmup(cosine(1e-3, 10_000), 500))``, ``scale(-constant(0.1))``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

Number = float | Callable[[int], float]


class Schedule:
    """A function of the step, with a name; ``-schedule`` and ``number * schedule`` are schedules too."""

    def __init__(self, function: Callable[[int], float], name: str) -> None:
        self.function, self.name = function, name

    def __call__(self, step: int) -> float:
        return self.function(step)

    def __neg__(self) -> Schedule:
        return -1.0 * self

    def __mul__(self, factor: float) -> Schedule:
        return Schedule(functools.partial(_times, factor, self.function), f"{factor:g} * {self.name}")

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return self.name


def negative(value: Number) -> Number:
    """−value, for a number, a schedule or any function of the step."""
    if not callable(value):
        return -value
    return -value if isinstance(value, Schedule) else -Schedule(value, getattr(value, "__name__", "schedule"))


def constant(value: float) -> Schedule:
    """α_t = α"""
    return Schedule(functools.partial(_constant, value), f"constant({value:g})")


def step_decay(value: float, every: int, factor: float = 0.1) -> Schedule:
    """Smaller by a factor now and then.   α_t = α γ^⌊t / every⌋"""
    if every < 1:
        raise ValueError(f"step_decay: every must be at least 1 step, got {every}")
    return Schedule(functools.partial(_decayed, value, every, factor), f"step_decay({value:g}, {every}, {factor:g})")


def cosine(value: float, steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine, from α to ``end`` in ``steps`` steps.   α_t = end + (α − end) (1 + cos(π t / steps)) / 2

    It stays at ``end`` afterwards. Source: Loshchilov and Hutter, 2017.
    """
    if steps < 1:
        raise ValueError(f"cosine: steps must be at least 1, got {steps}")
    return Schedule(functools.partial(_cosine, value, steps, end), f"cosine({value:g}, {steps}, {end:g})")


def warmup(after: Number, steps: int) -> Schedule:
    """A linear rise to what ``after`` (a number or schedule) starts with.   α_t = α₀ (t + 1) / steps  for t < steps

    Then ``after``, counted from there.
    """
    if steps < 1:
        raise ValueError(f"warmup: steps must be at least 1, got {steps}")
    later: Callable[[int], float] = after if callable(after) else constant(after)
    name = repr(later) if isinstance(later, Schedule) else getattr(later, "__name__", "schedule")
    return Schedule(functools.partial(_warmed, later, steps), f"warmup({name}, {steps})")


# ---- the functions, each by a name, so that an optimizer can be pickled ----------------------------------------------


def _times(factor: float, function: Callable[[int], float], step: int) -> float:
    return factor * function(step)


def _constant(value: float, step: int) -> float:
    return value


def _decayed(value: float, every: int, factor: float, step: int) -> float:
    return value * factor ** (step // every)


def _cosine(value: float, steps: int, end: float, step: int) -> float:
    return end + (value - end) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


def _warmed(later: Callable[[int], float], steps: int, step: int) -> float:
    return later(0) * (step + 1) / steps if step < steps else later(step - steps)

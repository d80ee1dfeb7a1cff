"""Bare NumPy calls, no engine: the floor under every NumPy engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], float]


def _ops(data: dict[str, Any]) -> Step:
    x, w, b = data["x"], data["w"], data["b"]

    def step() -> float:
        h, tape = x, []
        for _ in range(333):
            y = np.tanh(h * w + b)
            tape.append((h, y))
            h = y
        g, gw, gb = np.ones_like(h), np.zeros_like(h), np.zeros_like(h)
        for before, after in reversed(tape):
            g = g - g * after * after
            gb += g
            gw += g * before
            g = g * w
        return float(h.sum())

    return step


def _forward(data: dict[str, Any]) -> Step:
    x, w, b = data["x"], data["w"], data["b"]

    def step() -> float:
        h = x
        for _ in range(333):
            h = np.tanh(h * w + b)
        return float(h.sum())

    return step


WORKS = {"ops": _ops, "ops-0d": _ops, "no-grad": _forward}

"""The small works in MyGrad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mygrad as mg

Step = Callable[[], float]


def _ops(data: dict[str, Any]) -> Step:
    x, w, b = (mg.tensor(data[name]) for name in "xwb")

    def step() -> float:
        h = x
        for _ in range(333):
            h = mg.tanh(h * w + b)
        loss = h.sum()
        loss.backward()
        return float(loss.data)

    return step


def _adds(data: dict[str, Any]) -> Step:
    x = mg.tensor(data["x"])

    def step() -> float:
        y = x
        for _ in range(200_000):
            y = y + 1.0
        loss = y.sum()
        loss.backward()
        return float(loss.data)

    return step


WORKS = {"ops": _ops, "ops-0d": _ops, "adds": _adds}

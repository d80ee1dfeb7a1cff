"""The small works in HIPS autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as np
from autograd import value_and_grad

Step = Callable[[], float]


def _ops(data: dict[str, Any]) -> Step:
    x, w, b = data["x"], data["w"], data["b"]

    def loss(x: Any, w: Any, b: Any) -> Any:
        h = x
        for _ in range(333):
            h = np.tanh(h * w + b)
        return np.sum(h)

    both = value_and_grad(loss, (0, 1, 2))
    return lambda: float(both(x, w, b)[0])


def _adds(data: dict[str, Any]) -> Step:
    x = data["x"]

    def loss(x: Any) -> Any:
        for _ in range(200_000):
            x = x + 1.0
        return np.sum(x)

    both = value_and_grad(loss)
    return lambda: float(both(x)[0])


WORKS = {"ops": _ops, "ops-0d": _ops, "adds": _adds}

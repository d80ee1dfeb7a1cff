"""What the tests of optimizers share: a step, PyTorch's network, every configuration, and numbers to try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import leaf
from tinygrad7.optim import (
    SGD,
    Adam,
    AdamW,
    RMSprop,
)

TORCH = Path(__file__).parent / "data" / "torch_optim.npz"


def give(parameter: Any, gradient: Any) -> None:
    parameter.grad = tg.tensor(np.broadcast_to(np.asarray(gradient, parameter.dtype), parameter.shape))


def one_step(make: Any, w: Any, g: Any, dtype: Any = np.float64) -> np.ndarray:
    """``w`` after one step of ``make([w])`` with gradient ``g``."""
    parameter = leaf(w, dtype=dtype)
    give(parameter, g)
    make([parameter]).step()
    return parameter.numpy()


MAKE = {
    "sgd": lambda p: SGD(p, 0.02),
    "sgd_momentum": lambda p: SGD(p, 0.01, momentum=0.9),
    "sgd_nesterov_l2": lambda p: SGD(p, 0.01, momentum=0.8, nesterov=True, l2=0.1),
    "rmsprop": lambda p: RMSprop(p, 0.01, beta=0.95, eps=1e-6),
    "rmsprop_momentum_l2": lambda p: RMSprop(p, 0.003, momentum=0.9, l2=0.05),
    "adam": lambda p: Adam(p, 0.02),
    "adam_l2": lambda p: Adam(p, 0.02, betas=(0.8, 0.99), eps=1e-6, l2=0.1),
    "adamw": lambda p: AdamW(p, 0.02, decoupled_decay=0.1),
    "sgd_clip_norm": lambda p: SGD(p, 0.1, momentum=0.5, clip_norm=1.0),
    "adam_clip_value": lambda p: Adam(p, 0.02, clip_value=0.05),
}


def network(data: Any) -> tuple[dict[str, Any], Any]:
    w = {name: leaf(data[f"start.{name}"], name) for name in ("W1", "b1", "W2", "b2")}
    x, target = tg.tensor(data["x"]), tg.tensor(data["target"])

    def loss() -> Any:
        error = tg.tanh(x @ w["W1"] + w["b1"]) @ w["W2"] + w["b2"] - target
        return (error * error).sum()

    return w, loss


def train(loss: Any, optimizer: Any, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        j = loss()
        j.backward()
        optimizer.step()
        losses.append(j.item())
    return losses


numbers = st.floats(-10, 10, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
vectors = st.lists(numbers, min_size=1, max_size=5)
rates = st.floats(1e-3, 1.0)

"""A small model, its optimizer and its data, with which the loop and what surrounds it are tested."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad7 as tg
from tinygrad7 import nn, optim
from tinygrad7.data import batches

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((40, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype(np.float32)


def mse(model: Any, x: Any, y: Any) -> Any:
    return tg.mse_loss(model(x), y)


def make(seed: int = 0, dropout: float = 0.0) -> tuple[Any, Any, Any, np.random.Generator]:
    """A model, its optimizer, a training stream and the generator of its dropout."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(3, 8, rng=rng), nn.Tanh(), nn.Dropout(dropout, rng=rng), nn.Linear(8, 1, rng=rng))
    optimizer = optim.Adam(list(model.named_parameters()), 0.02, clip_norm=1.0)
    return model, optimizer, batches(X, Y, batch=8, rng=seed), rng


def weights(model: Any) -> np.ndarray:
    return np.concatenate([a.ravel() for a in model.state_dict().values()])

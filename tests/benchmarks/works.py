"""What is measured: the name, the inputs (the same for every engine) and the bound of each piece of work."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """One row: ``bound`` is the ratio to ``against`` that must be reached, ``aim`` the one hoped for."""

    name: str
    what: str
    against: str
    bound: float
    aim: float | None = None
    engines: tuple[str, ...] = ("tinygrad7", "torch")
    tolerance: float = 1e-3


ENGINES = ("tinygrad7", "torch", "autograd", "mygrad")
WORKS = [
    Work("ops", "1,000 ops (mul, add, tanh) on (32,), forward and backward", "torch", 0.6, 0.4, (*ENGINES, "numpy")),
    Work("ops-0d", "the same on 0-d tensors", "torch", 0.6, None, (*ENGINES, "numpy")),
    Work("adds", "200,000 sequential adds, forward and backward", "torch", 1.0, None, ENGINES),
    Work("no-grad", "1,000 ops forward under no_grad", "numpy", 3.5, None, ("tinygrad7", "numpy")),
    Work("loop-50", "loop over x[t], T = 50, time per step", "torch", 1.0, None),
    Work("loop-1000", "loop over x[t], T = 1,000, time per step", "torch", 1.0, None),
    Work("char-256", "char-LM step, LSTM H 256, T 64, B 32, V 96, clip, Adam", "torch", 1.45, 1.0),
    Work("char-64", "the same, H 64, T 32, B 16", "torch", 1.05, 0.8),
    Work("rnn", "tanh RNN step, T 100, B 32, I 64, H 128, SGD; fused", "torch", 0.8, 0.55),
    Work("rnn-unrolled", "the same unrolled op by op", "torch", 0.8, 0.6),
    Work("residual", "50 residual blocks, D = H = 64, batch 32, SGD with momentum", "torch", 0.75, 0.5),
    Work("mlp", "MLP 784-512-512-10, batch 128, SGD", "torch", 1.0, 0.8),
    Work("conv", "two 3 × 3 convolutions (1 → 16 → 32), pool, linear, batch 32, 28 × 28", "torch", 1.2, 0.9),
    Work("elementwise", "sum(tanh(x w + b) sigmoid(x)), 1024 × 1024, op by op", "torch", 1.6, 1.0),
]
BY_NAME = {work.name: work for work in WORKS}


def inputs(name: str) -> dict[str, Any]:
    """The arrays of one work, from a fixed seed: float32, weights in tinygrad7's layout."""
    rng = np.random.default_rng(7)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    if name in ("ops", "no-grad", "adds"):
        return {"x": normal(32), "w": normal(32, scale=0.5), "b": normal(32, scale=0.1)}
    if name == "ops-0d":
        return {"x": normal(), "w": normal(scale=0.5), "b": normal(scale=0.1)}
    if name.startswith("loop"):
        return {"x": normal(int(name.partition("-")[2]), 32, 16)}
    if name.startswith("char"):
        hidden, steps, batch, vocabulary = (256, 64, 32, 96) if name == "char-256" else (64, 32, 16, 96)
        codes = rng.integers(0, vocabulary, (steps + 1, batch))
        scale = hidden**-0.5
        return {
            "x": np.eye(vocabulary, dtype=np.float32)[codes[:-1]],
            "targets": codes[1:],
            "w_ih": rng.uniform(-scale, scale, (4 * hidden, vocabulary)).astype(np.float32),
            "w_hh": rng.uniform(-scale, scale, (4 * hidden, hidden)).astype(np.float32),
            "b": rng.uniform(-scale, scale, 4 * hidden).astype(np.float32),
            "w": rng.uniform(-scale, scale, (vocabulary, hidden)).astype(np.float32),
            "c": np.zeros(vocabulary, np.float32),
        }
    if name.startswith("rnn"):
        return {
            "x": normal(100, 32, 64),
            "target": normal(32, 128),
            "w_ih": normal(128, 64, scale=0.1),
            "w_hh": normal(128, 128, scale=0.08),
            "b": normal(128, scale=0.1),
        }
    if name == "residual":
        return {
            "x": normal(32, 64),
            "target": normal(32, 64),
            "blocks": [
                (normal(64, 64, scale=0.1), np.zeros(64, np.float32), normal(64, 64, scale=0.02)) for _ in range(50)
            ],
        }
    if name == "mlp":
        sizes = (784, 512, 512, 10)
        layers = [(normal(o, i, scale=i**-0.5), np.zeros(o, np.float32)) for i, o in itertools.pairwise(sizes)]
        return {"x": normal(128, 784), "targets": rng.integers(0, 10, 128), "layers": layers}
    if name == "conv":
        return {
            "x": normal(32, 1, 28, 28),
            "targets": rng.integers(0, 10, 32),
            "w1": normal(16, 1, 3, 3, scale=0.3),
            "b1": np.zeros(16, np.float32),
            "w2": normal(32, 16, 3, 3, scale=0.1),
            "b2": np.zeros(32, np.float32),
            "w": normal(10, 32 * 12 * 12, scale=0.01),
            "b": np.zeros(10, np.float32),
        }
    if name == "elementwise":
        return {"x": normal(1024, 1024), "w": normal(1024, 1024), "b": normal(1024, 1024)}
    raise KeyError(name)

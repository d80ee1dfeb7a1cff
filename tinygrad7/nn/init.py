"""Initial values. Each returns a host array in the default dtype, drawn from ``rng`` (a generator, a seed or None).

``shape`` is that of a weight as PyTorch lays it out: ``(out, in)`` or ``(out, in, *window)``. With fan-in n_i =
in × window and fan-out n_o = out × window, Xavier keeps the variance of forward and backward signals about level
through linear layers, Kaiming that of the forward signal through rectifiers, and orthogonal keeps lengths exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.context import STATE
from tinygrad7.random import generator

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


def gain(nonlinearity: str, slope: float = 0.01) -> float:
    """What keeps variance through an activation: √2 for relu, 5/3 for tanh, √(2 / (1 + slope²)) for leaky_relu.

    Raises ``ValueError`` for a name that is none of linear, sigmoid, tanh, relu, leaky_relu."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ValueError(f"gain: {nonlinearity!r} is not known; use one of {', '.join([*_GAINS, 'leaky_relu'])}")
    return _GAINS[nonlinearity]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a weight ``(out, in, *window)``. Raises ``ValueError`` for fewer than two axes."""
    if len(shape) < 2:
        raise ValueError(f"a weight of shape {shape} has no fan-in and fan-out; at least (out, in) is needed")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def uniform(shape: Any, low: float = 0.0, high: float = 1.0, *, rng: Any = None) -> np.ndarray:
    """Uniform in [low, high)."""
    return np.asarray(generator(rng).uniform(low, high, shape), STATE.get().dtype)


def normal(shape: Any, mean: float = 0.0, std: float = 1.0, *, rng: Any = None) -> np.ndarray:
    """Normal with this mean and standard deviation."""
    return np.asarray(generator(rng).normal(mean, std, shape), STATE.get().dtype)


def constant(shape: Any, value: float) -> np.ndarray:
    """``value`` everywhere."""
    return np.full(shape, value, STATE.get().dtype)


def zeros(shape: Any) -> np.ndarray:
    """Zeros."""
    return constant(shape, 0.0)


def ones(shape: Any) -> np.ndarray:
    """Ones."""
    return constant(shape, 1.0)


def xavier_uniform(shape: tuple[int, ...], *, gain: float = 1.0, rng: Any = None) -> np.ndarray:
    """Uniform in ±gain √(6 / (n_i + n_o)). Glorot and Bengio, 2010."""
    bound = gain * math.sqrt(6 / sum(fans(shape)))
    return uniform(shape, -bound, bound, rng=rng)


def xavier_normal(shape: tuple[int, ...], *, gain: float = 1.0, rng: Any = None) -> np.ndarray:
    """Normal with standard deviation gain √(2 / (n_i + n_o)). Glorot and Bengio, 2010."""
    return normal(shape, 0, gain * math.sqrt(2 / sum(fans(shape))), rng=rng)


def kaiming_uniform(shape: tuple[int, ...], *, gain: float = math.sqrt(2), rng: Any = None) -> np.ndarray:
    """Uniform in ±gain √(3 / n_i). He et al., 2015."""
    bound = gain * math.sqrt(3 / fans(shape)[0])
    return uniform(shape, -bound, bound, rng=rng)


def kaiming_normal(shape: tuple[int, ...], *, gain: float = math.sqrt(2), rng: Any = None) -> np.ndarray:
    """Normal with standard deviation gain / √n_i. He et al., 2015."""
    return normal(shape, 0, gain / math.sqrt(fans(shape)[0]), rng=rng)


def fan_in_uniform(shape: tuple[int, ...], fan_in: int, *, rng: Any = None) -> np.ndarray:
    """Uniform in ±1/√fan_in, with which PyTorch starts weights and biases of linear and convolutional layers."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return uniform(shape, -bound, bound, rng=rng)


def orthogonal(shape: tuple[int, ...], *, gain: float = 1.0, rng: Any = None) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer, of the weight as a matrix ``(out, in × window)``, times gain.

    Uniform over orthogonal matrices: the Q of a normal matrix, with the signs of R's diagonal. Saxe et al., 2014."""
    if len(shape) < 2:
        raise ValueError(f"orthogonal: a shape of at least (out, in) is needed, not {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator(rng).normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(STATE.get().dtype)


def forget_bias(hidden: int, value: float = 1.0) -> np.ndarray:
    """The bias (4H) of an LSTM, gates in the order i, f, o, g: zero but for the forget gate's ``value``.

    The cell then remembers until it learns to forget. Gers et al., 2000; Jozefowicz et al., 2015."""
    bias = zeros(4 * hidden)
    bias[hidden : 2 * hidden] = value
    return bias

"""The gates of an LSTM step as one CUDA kernel, and their backward as another: in place of some eight launches, one.

They take what the array forms in ``recurrent_kernels.py`` take, and give the same. One thread an element of (H, B).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad7.backend import Array, xp

SOURCE = r"""
extern "C" __global__ void lstm_forward(real* gates, real* new_c, real* h, const long long n) {
    // gates (5, n), more than an int may count: the pre-activations of o, i, f (halved) and g, and the cell before
    const long long k = (long long)blockDim.x * blockIdx.x + threadIdx.x;
    if (k >= n) return;
    const real half = 0.5, c_before = gates[4 * n + k];
    const real o = half * tanh(gates[k]) + half, i = half * tanh(gates[n + k]) + half;
    const real f = half * tanh(gates[2 * n + k]) + half, g = tanh(gates[3 * n + k]);
    const real c = f * c_before + i * g;
    gates[k] = o; gates[n + k] = i; gates[2 * n + k] = f; gates[3 * n + k] = g;
    new_c[k] = c;
    h[k] = o * tanh(c);
}

extern "C" __global__ void lstm_backward(real* d, const real* gates, const real* new_c, const real* dh, real* dc,
                                         const long long n) {
    // d (5, n): from row 1 on the cotangents of the pre-activations of o, i, f, g
    const long long k = (long long)blockDim.x * blockIdx.x + threadIdx.x;
    if (k >= n) return;
    const real one = 1, o = gates[k], i = gates[n + k], f = gates[2 * n + k], g = gates[3 * n + k];
    const real t = tanh(new_c[k]), bar_h = dh[k], bar_c = dc[k] + bar_h * o * (one - t * t);
    d[n + k] = bar_h * t * o * (one - o);
    d[2 * n + k] = bar_c * g * i * (one - i);
    d[3 * n + k] = bar_c * gates[4 * n + k] * f * (one - f);
    d[4 * n + k] = bar_c * i * (one - g * g);
    dc[k] = bar_c * f;
}
"""

REAL = {"float32": "float", "float64": "double"}  # what the kernels are compiled for; float16 takes the array forms
THREADS = 256


@functools.cache
def _kernel(module: Any, dtype: str, name: str) -> Any:
    """A kernel, which CuPy compiles at its first launch on each device and keeps for the others."""
    return module.RawModule(code=SOURCE, options=(f"-Dreal={REAL[dtype]}",)).get_function(name)


def _launch(name: str, *arrays: Array) -> None:
    m, n = xp(arrays[0]), arrays[-1].size
    if n:
        kernel = _kernel(m, str(arrays[0].dtype), name)
        kernel(((n + THREADS - 1) // THREADS,), (THREADS,), (*arrays, m.int64(n)))


def _forward(gates: Array, new_c: Array, h: Array, pair: Array, half: Array) -> None:
    _launch("lstm_forward", gates, new_c, h)


def _factors(d: Array, gates: Array, new_c: Array, one: Array) -> None:
    """Nothing to do beforehand: the backward kernel reads the gates themselves."""


def _backward(d: Array, gates: Array, new_c: Array, dh: Array, dc: Array) -> None:
    _launch("lstm_backward", d, gates, new_c, dh, dc)


STEP: tuple[Callable[..., None], ...] = (_forward, _factors, _backward)

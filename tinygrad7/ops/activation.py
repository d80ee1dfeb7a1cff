"""Activations: what a unit does with its sum, element by element. (``tanh`` is in ``elementwise``.)"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.arrays import floating, operand
from tinygrad7.backend import xp
from tinygrad7.declare import primitive
from tinygrad7.domains import elementwise
from tinygrad7.ops.elementwise import clip, exp, tanh, where
from tinygrad7.ops.erf import error_function


@primitive("σ", domain=elementwise())
def sigmoid(x: Any) -> Any:
    """Logistic function.   y = 1 / (1 + e⁻ˣ)      x̄ = ȳ y (1 − y)"""
    with np.errstate(over="ignore"):  # e⁻ˣ = ∞ gives y = 0, as it should
        return 1 / (1 + xp(x).exp(-floating(x)))


sigmoid.vjp(x=lambda g, y: g * (y * (1 - y)))


@primitive("relu", domain=elementwise(away=(0.0,)))
def relu(x: Any) -> Any:
    """Rectifier.   y = max(x, 0)      x̄ = ȳ [x > 0]      (0 at the kink)"""
    return xp(x).maximum(x, 0)


relu.vjp(x=lambda g, y: where(y > 0, g, 0))


@primitive("leaky relu", domain=elementwise(away=(0.0,), slope=[0.01, 0.3]))
def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """Leaky rectifier.   y = x if x > 0 else slope · x      x̄ = ȳ (1 if x > 0 else slope)"""
    return xp(x).where(x > 0, x, operand(slope) * x)


leaky_relu.vjp(x=lambda g, x, slope: where(x > 0, g, slope * g))


@primitive("elu", domain=elementwise(away=(0.0,), alpha=[1.0, 0.5]))
def elu(x: Any, alpha: float = 1.0) -> Any:
    """Exponential linear unit.   y = x if x > 0 else α (eˣ − 1)      x̄ = ȳ (1 if x > 0 else y + α)

    Clevert, Unterthiner and Hochreiter, 2016."""
    x = floating(x)
    return xp(x).where(x > 0, x, operand(alpha) * xp(x).expm1(xp(x).minimum(x, 0)))


elu.vjp(x=lambda g, x, y, alpha: where(x > 0, g, g * (y + alpha)))


@primitive("silu", domain=elementwise())
def silu(x: Any) -> Any:
    """Sigmoid-weighted unit (swish).   y = x σ(x)      x̄ = ȳ (σ(x) + y (1 − σ(x)))"""
    return x * sigmoid.op.forward(x)


def _silu_rule(g: Any, x: Any, y: Any) -> Any:
    s = sigmoid(x)
    return g * (s + y * (1 - s))


silu.vjp(x=_silu_rule)


@primitive("softplus", domain=elementwise())
def softplus(x: Any) -> Any:
    """Smooth rectifier.   y = ln(1 + eˣ)      x̄ = ȳ σ(x)      (no overflow: max(x, 0) + ln(1 + e^−|x|))"""
    x, m = floating(x), xp(x)
    return m.maximum(x, 0) + m.log1p(m.exp(-m.abs(x)))


softplus.vjp(x=lambda g, x: g * sigmoid(x))


@primitive("erf", domain=elementwise())
def erf(x: Any) -> Any:
    """Error function.   y = 2/√π ∫₀ˣ e^(−s²) ds      x̄ = ȳ 2/√π e^(−x²)"""
    return error_function(floating(x))


erf.vjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))


@primitive("gelu", domain=elementwise(approximate=["none", "tanh"]))
def gelu(x: Any, approximate: str = "none") -> Any:
    """Gaussian error linear unit.   y = x Φ(x)      x̄ = ȳ (Φ(x) + x e^(−x²/2) / √(2π))

    Φ is the normal distribution function. ``approximate="tanh"``: y = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))).
    Raises ``ValueError`` for another ``approximate``. Hendrycks and Gimpel, 2016."""
    x = floating(x)
    if approximate == "tanh":
        c = xp(x).clip(x, -_FAR, _FAR)
        return 0.5 * x * (1 + xp(x).tanh(_GELU * (c + 0.044715 * c * c * c)))
    if approximate != "none":
        raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")
    return 0.5 * x * (1 + erf.op.forward(x * math.sqrt(0.5)))


_GELU = math.sqrt(2 / math.pi)
_FAR = 40  # from here on Φ and tanh are 0 or 1 in float64, and in float16 x³ is still finite


def _gelu_rule(g: Any, x: Any, approximate: str) -> Any:
    x = clip(x, -_FAR, _FAR)
    if approximate == "none":
        return g * (0.5 * (1 + erf(x * math.sqrt(0.5))) + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi)))
    t = tanh(_GELU * (x + 0.044715 * x * x * x))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (_GELU * (1 + 3 * 0.044715 * x * x)))


gelu.vjp(x=_gelu_rule)

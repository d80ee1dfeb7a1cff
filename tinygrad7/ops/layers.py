"""The ops that layers are made of: the affine map, dropout, and the normalisations."""

from __future__ import annotations

from typing import Any

from tinygrad7.arrays import as_array, scalar
from tinygrad7.backend import device_of, is_array, to_device, xp
from tinygrad7.declare import primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import describe, told
from tinygrad7.ops.elementwise import sqrt, square
from tinygrad7.ops.reduce import mean, narrow, sum_to, wide
from tinygrad7.ops.shape import _reshape
from tinygrad7.random import generator
from tinygrad7.tensor import Tensor, value_of


def _linear_domain(pick: Pick) -> Call:
    inputs, outputs = pick.integer(1, 3), pick.integer(1, 3)
    x = pick.array((*pick.shape(0, 2), inputs))
    b = pick.choice([None, pick.array((outputs,))])
    return ((x, pick.array((outputs, inputs))) if b is None else (x, pick.array((outputs, inputs)), b)), {}


@primitive("W x + b", domain=_linear_domain, method=False)
def _linear(x: Any, w: Any, b: Any = None) -> Any:
    """Affine map of the last axis.   y = x Wᵀ + b      x̄ = ȳ W      W̄ = ȳᵀ x      b̄ = Σ ȳ over rows"""
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(f"the last axis of x {x.shape} must be {w.shape[1]}, the inputs of W {w.shape}")
    y = x @ w.T if x.ndim < 3 else (x.reshape(-1, w.shape[1]) @ w.T).reshape(*x.shape[:-1], w.shape[0])
    if b is None:
        return y
    if b.dtype != y.dtype:
        return y + b
    y += b
    return y


def _rows(x: Any) -> Any:
    return x if x.ndim == 2 else _reshape(x, (-1, x.shape[-1]))


def _linear_x(g: Any, w: Any) -> Any:
    return g @ w if g.ndim < 3 else _reshape(_rows(g) @ w, (*g.shape[:-1], w.shape[1]))


_linear.vjp(x=_linear_x, w=lambda g, x: _rows(g).T @ _rows(x), b=lambda g: g)


def _dropout_domain(pick: Pick) -> Call:
    shape = pick.shape()
    return (pick.array(shape), pick.integers(shape, 0, 1) * 2.0), {}


@primitive("dropout", domain=_dropout_domain, static=("mask",), method=False)
def _dropout(x: Any, mask: Any) -> Any:
    """Units switched off.   y = m x      x̄ = ȳ m"""
    return x * mask


_dropout.vjp(x=lambda g, mask: g * mask)


def dropout(x: Any, rho: float = 0.5, *, training: bool = True, rng: Any = None, mode: str = "inverted") -> Any:
    """Each element set to 0 with probability ρ.   y = m x / (1 − ρ), m ~ Bernoulli(1 − ρ)      x̄ = ȳ m / (1 − ρ)

    Outside training y = x. ``mode="classic"`` is the lecture's: y = m x in training, y = (1 − ρ) x outside. The mask is
    drawn on the host from ``rng`` (a generator, a seed, or None for that of ``tg.seed``). Raises ``ValueError`` unless
    0 ≤ ρ < 1. Srivastava et al., 2014; the lecture's slide "Stochastic Regularization"."""
    rho = scalar(rho)
    if not isinstance(rho, int | float):
        raise TypeError(f"dropout: rho is the probability of dropping a unit, a number, not {describe(rho)}")
    if not 0 <= rho < 1:
        raise ValueError(f"dropout: rho is the probability of dropping a unit, 0 <= rho < 1, not {rho}")
    if mode not in ("inverted", "classic"):
        raise ValueError(f"dropout: mode must be 'inverted' or 'classic', not {mode!r}")
    x = x if isinstance(x, Tensor) or is_array(x) else told("dropout", as_array, x)
    if x.dtype.kind != "f":
        raise TypeError(f"dropout: x must be floats, not {x.dtype}: convert it with .astype('float32')")
    if rho == 0 or not training:
        return x if mode == "inverted" or rho == 0 else x * (1 - rho)
    keep = generator(rng).random(x.shape, dtype="float32") >= rho
    mask = keep.astype(x.dtype)
    if mode == "inverted":
        mask /= 1 - rho
    mask = to_device(mask, device_of(value_of(x)))
    return _dropout(x, Tensor(mask) if isinstance(x, Tensor) else mask)


# ---- normalisation -----------------------------------------------------------------------------------------------


def _normalise_domain(pick: Pick) -> Call:
    x = pick.array((pick.integer(2, 3), pick.integer(2, 3), pick.integer(1, 3)), distinct=True)
    axes = pick.choice([(0, 2), (1, 2)])
    shape = (x.shape[1], 1) if axes == (0, 2) else x.shape[1:]
    w, b = pick.choice([(None, None), (pick.array(shape), pick.array(shape))])
    return (x, w, b, axes, 0.1), {}


def _normalise_composed(x: Any, w: Any, b: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any, Any]:
    """Normalisation in small ops."""
    z = wide(x)
    centre = mean(z, axes, True)
    spread = mean(square(z - centre), axes, True)
    y = narrow((z - centre) / sqrt(spread + eps), x)
    y = y if w is None else y * w
    return (y if b is None else y + b), narrow(centre, x), narrow(spread, x)


@primitive(
    "normalise",
    domain=_normalise_domain,
    static=("axes", "eps"),
    reference=_normalise_composed,
    outputs=3,
    method=False,
)
def _normalise(x: Any, w: Any, b: Any, axes: tuple[int, ...], eps: float) -> Any:
    """Mean 0 and variance 1 over axes, then scaled and moved.   y = w x̂ + b, x̂ = (x − m) / √(v + ε), with m and v

    x̄ = (h − mean h − x̂ mean(h x̂)) / √(v + ε), h = ȳ w      w̄ = Σ ȳ x̂      b̄ = Σ ȳ
    and m̄/n + 2 v̄ (x − m)/n is added to x̄, for those who use m and v too."""
    z = wide(x)
    centre = z.mean(axis=axes, keepdims=True)
    x_hat = z - centre
    spread = (x_hat * x_hat).mean(axis=axes, keepdims=True)
    scale = 1 / xp(x).sqrt(spread + eps)
    x_hat *= scale
    plain = narrow(x_hat, x)
    y = plain * w if w is not None else plain
    if b is not None:
        y = y + b if y is plain or b.dtype != y.dtype else xp(x).add(y, b, out=y)
    return (y, narrow(centre, x), narrow(spread, x)), (x_hat, scale)


def _normalise_rule(g: Any, w: Any, b: Any, axes: Any, residuals: Any, needs: Any) -> tuple[Any, ...]:
    bar, centre_bar, spread_bar = g
    x_hat, scale = residuals
    product = bar * x_hat
    w_bar = sum_to(product, w.shape) if needs[1] else None
    b_bar = sum_to(bar, b.shape) if needs[2] else None
    if not needs[0]:
        return None, w_bar, b_bar
    h = bar
    if w is not None:
        h = bar * w
        product *= w
    count = x_hat.size // scale.size
    level = centre_bar / count - scale * h.mean(axis=axes, keepdims=True)
    slope = 2 * spread_bar / (scale * count) - scale * product.mean(axis=axes, keepdims=True)
    return h * scale + (x_hat * slope + level), w_bar, b_bar


_normalise.joint_vjp(_normalise_rule)

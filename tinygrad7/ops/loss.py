"""Losses. Each takes predictions first and what they should have been second, and gives the mean over the batch.

``cross_entropy`` is fused, since every classifier and language model ends in it; the others are short compositions
of ops, and drawings show them as such.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.arrays import as_array, from_python
from tinygrad7.backend import Array, device_of, is_array, numbers, to_device, xp
from tinygrad7.declare import primitive
from tinygrad7.domains import Call, Pick
from tinygrad7.messages import ShapeError, told
from tinygrad7.ops.activation import relu, softplus
from tinygrad7.ops.elementwise import abs, square, where
from tinygrad7.ops.indexing import take_along_axis
from tinygrad7.ops.reduce import log_softmax, mean, sum, wide
from tinygrad7.tensor import Tensor, value_of


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")


def _floating(x: Any, name: str, what: str) -> Any:
    """``x`` as a tensor or array, of a floating dtype."""
    x = x if isinstance(x, Tensor) or is_array(x) else as_array(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: {what} must be floats, not {x.dtype}: convert them with .astype('float32')")
    return x


def _beside(value: Any, x: Any, name: str, what: str) -> tuple[Array, Array]:
    """``value`` as a plain array, where it came from (to be checked there) and on the device of ``x``.

    A tensor that lives elsewhere raises."""
    place = device_of(value_of(x))
    if not isinstance(value, Tensor):
        plain = value if is_array(value) else told(name, lambda value: from_python(value, np.float64), value)
        given = told(name, lambda value: as_array(value, device=device_of(value)), plain)
        return given, to_device(given, place)
    if value.device != place:
        raise TypeError(
            f"{name}: {what} live on {value.device}, the predictions on {place}: move one with .to({place!r})"
        )
    return value._value, value._value


def _reduced(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)


# ---- cross-entropy -----------------------------------------------------------------------------------------------


def _cross_entropy_domain(pick: Pick) -> Call:
    lead, classes = pick.shape(0, 2), pick.integer(1, 4)
    logits = pick.array((*lead, classes))
    targets: Any = pick.integers(lead, 0, classes - 1)
    if pick.choice([False, True]):
        targets = np.abs(pick.array((*lead, classes)))
    mask: Any = None
    if pick.choice([False, True]):
        mask = pick.integers(lead, 0, 1).astype(bool)
        mask[(0,) * len(lead)] = True
    return (logits, targets, mask, pick.choice(["mean", "sum", "none"])), {}


def _composed(logits: Any, targets: Any, mask: Any = None, reduction: str = "mean") -> Any:
    """Cross-entropy in small ops: −log softmax at the target, or −Σ t log softmax."""
    if mask is not None:  # not even the slope of what is left out is computed: it may be NaN
        logits = where(mask[..., None] != 0, logits, 0)
    log_p = log_softmax(wide(logits))
    if value_of(targets).dtype.kind in "iu":
        loss = -take_along_axis(log_p, targets[..., None])[..., 0]
    else:
        none = (value_of(targets) == 0) & (value_of(log_p) == -np.inf)  # 0 · log 0 is 0
        loss = -sum(where(none, 0, targets * where(none, 0, log_p)), -1)
    if mask is not None:
        loss = where(mask != 0, loss * mask, 0)
    kept = sum(loss) / _rows(mask, loss) if reduction == "mean" and mask is not None else _reduced(loss, reduction)
    return kept if kept.dtype == logits.dtype else kept.astype(logits.dtype)


def _rows(mask: Array, loss: Any) -> Array:
    """How many rows a mask keeps, in the dtype of the losses: a 0-d array, which the host need not wait for."""
    return mask.sum(dtype=loss.dtype)


@primitive(
    "cross-entropy",
    domain=_cross_entropy_domain,
    static=("targets", "mask", "reduction"),
    reference=_composed,
    method=False,
)
def _cross_entropy(logits: Any, targets: Any, mask: Any = None, reduction: str = "mean") -> Any:
    """Softmax and cross-entropy in one.   y = mean of ln Σ e^z − z_t      z̄ = ȳ (softmax z − onehot t) / rows"""
    m = xp(logits)
    e = wide(logits)
    e = e - _largest(e)
    if targets.dtype.kind in "iu":
        at_target = e.reshape(-1, e.shape[-1])[m.arange(targets.size), targets.reshape(-1)].reshape(targets.shape)
        m.exp(e, out=e)
        total = e @ m.ones(e.shape[-1], e.dtype)  # a product sums rows seven times as fast as .sum(axis=-1)
        loss = m.log(total) - at_target
    else:
        at_target = m.where(targets == 0, 0, targets * m.where(targets == 0, 0, e)).sum(axis=-1)
        m.exp(e, out=e)
        total = e @ m.ones(e.shape[-1], e.dtype)
        loss = targets.sum(axis=-1) * m.log(total) - at_target
    if mask is not None:
        loss = m.where(mask != 0, loss * mask, 0)
    rows: Any = 1.0
    if reduction == "mean":
        rows = float(loss.size) if mask is None else _rows(mask, loss)
    if reduction != "none":
        loss = loss.sum() / rows
    return loss.astype(logits.dtype, copy=False), (e, total, rows)


def _largest(z: Array) -> Array:
    """The maximum of each row, kept as an axis: rows are folded in halves, in a quarter of the time of ``max``."""
    while z.shape[-1] > 8:
        half = (z.shape[-1] + 1) // 2
        z = xp(z).maximum(z[..., :half], z[..., -half:])
    top = z[..., :1]
    for i in range(1, z.shape[-1]):
        top = xp(z).maximum(top, z[..., i : i + 1])
    return top


def _cross_entropy_rule(g: Any, targets: Any, mask: Any, residuals: Any) -> tuple[Any]:
    e, total, rows = residuals
    m, g = xp(e), wide(g)
    share = g / rows if mask is None else (g / rows) * mask
    share = m.broadcast_to(share, total.shape).astype(e.dtype, copy=False)
    if targets.dtype.kind in "iu":
        z = e * (share / total)[..., None]
        flat = z.reshape(-1, z.shape[-1])  # a copy where the logits were not contiguous
        flat[m.arange(targets.size), targets.reshape(-1)] -= share.reshape(-1)
        z = flat.reshape(z.shape)
    else:
        z = e * (share * targets.sum(axis=-1) / total)[..., None] - targets * share[..., None]
    return (z if mask is None else m.where((mask != 0)[..., None], z, 0),)


_cross_entropy.joint_vjp(_cross_entropy_rule)


def cross_entropy(logits: Any, targets: Any, *, mask: Any = None, reduction: str = "mean") -> Any:
    """Cross-entropy of a softmax, in nats.   y = mean of ln Σ e^z − z_t      z̄ = ȳ (softmax z − onehot t) / rows

    ``logits`` (..., C), classes last; the loss has their dtype. ``targets``: integers (...) in [0, C), or probabilities
    (..., C). ``mask`` (...): rows where it is 0 count neither in value nor in gradient, and their targets may be
    anything; the mean is over the others. ``reduction``: 'mean', 'sum', or 'none' for a loss a row. Raises
    ``ShapeError`` for targets or a mask of another shape, ``IndexError`` for a class outside, ``ValueError`` for an
    empty batch, a mask that keeps nothing, or one with negative numbers, infinities or NaN.
    """
    _check_reduction("cross_entropy", reduction)
    logits = _floating(logits, "cross_entropy", "logits")
    if not logits.ndim:
        raise ShapeError("cross_entropy: logits have shape (); classes stand on the last axis: (batch, classes)")
    lead, classes = logits.shape[:-1], logits.shape[-1]
    if 0 in logits.shape:
        raise ValueError(f"cross_entropy: logits of shape {logits.shape} hold no row; is the batch empty?")
    seen, t = _beside(targets, logits, "cross_entropy", "targets")
    given, kept = _check_mask(mask, logits, lead, reduction)
    if t.dtype.kind == "f":
        if t.shape != logits.shape:
            hint = "; class indices must be integers: targets.astype('int64')" if t.shape == lead else ""
            raise ShapeError(
                f"cross_entropy: probabilities must have the shape of the logits, {logits.shape}, not {t.shape}{hint}"
            )
        if isinstance(targets, Tensor) and targets.requires_grad:
            return _composed(logits, targets, kept, reduction)
        return _cross_entropy(logits, Tensor(t) if isinstance(targets, Tensor) else t, kept, reduction)
    if t.dtype.kind == "b":
        raise TypeError("cross_entropy: targets are booleans: class indices are integers, probabilities floats")
    if t.shape != lead:
        hint = "; one-hot targets must be floats: targets.astype('float32')" if t.shape == logits.shape else ""
        raise ShapeError(
            f"cross_entropy: class indices must have shape {lead} for logits {logits.shape}, not {t.shape}{hint}"
        )
    if kept is not None:
        t = xp(t).where(kept != 0, t, 0)
        seen = xp(seen).where(given != 0, seen, 0) if xp(seen) is xp(given) else t
    _check_classes("cross_entropy", seen, classes)
    return _cross_entropy(logits, t, kept, reduction)


def _check_classes(name: str, targets: Array, classes: int) -> None:
    low, high = numbers(targets.min(), targets.max())
    if low < 0 or high >= classes:
        raise IndexError(
            f"{name}: targets run from {low} to {high}, but there are {classes} classes: 0 to {classes - 1}"
        )


def _check_mask(mask: Any, logits: Any, lead: tuple[int, ...], reduction: str) -> tuple[Any, Any]:
    """The mask where it came from, and in the dtype of the logits beside them."""
    if mask is None:
        return None, None
    seen, kept = _beside(mask, logits, "cross_entropy", "the values of mask")
    if kept.shape != lead:
        raise ShapeError(f"cross_entropy: mask must have shape {lead} for logits {logits.shape}, not {kept.shape}")
    right, some = numbers(((seen >= 0) & (seen < np.inf)).all(), (seen != 0).any())
    if not right:
        raise ValueError(
            f"cross_entropy: mask says how much each row counts, 0 (left out) or more, but it runs from "
            f"{float(seen.min()):g} to {float(seen.max()):g}; use 0 and 1, booleans, or finite weights"
        )
    if reduction == "mean" and not some:
        raise ValueError("cross_entropy: the mask keeps nothing, so there is no mean; leave such a batch out")
    return seen, kept.astype(logits.dtype)


# ---- the others --------------------------------------------------------------------------------------------------


def _pair(y: Any, t: Any, name: str) -> tuple[Any, Any]:
    """Predictions and targets of one shape, the targets in the predictions' dtype unless they are tensors."""
    y = _floating(y, name, "predictions")
    if not isinstance(t, Tensor):
        t = to_device(told(name, as_array, t, y.dtype), device_of(value_of(y)))
    if t.shape != y.shape:
        raise ShapeError(
            f"{name}: predictions have shape {y.shape}, targets {t.shape}; they must be equal, "
            "or differences would broadcast"
        )
    if not y.size:
        raise ValueError(f"{name}: predictions of shape {y.shape} hold nothing; is the batch empty?")
    return y, t


def mse_loss(predictions: Any, targets: Any, *, reduction: str = "mean") -> Any:
    """Squared error, averaged over all elements.   y = mean (p − t)²      p̄ = 2 ȳ (p − t) / n

    ``reduction``: 'mean', 'sum' or 'none'. Raises ``ShapeError`` unless shapes are equal, ``ValueError`` if empty."""
    _check_reduction("mse_loss", reduction)
    p, t = _pair(predictions, targets, "mse_loss")
    return _reduced(square(p - t), reduction)


def l1_loss(predictions: Any, targets: Any, *, reduction: str = "mean") -> Any:
    """Absolute error, averaged over all elements.   y = mean |p − t|      p̄ = ȳ sign(p − t) / n      (0 at p = t)

    ``reduction``: 'mean', 'sum' or 'none'. Raises ``ShapeError`` unless shapes are equal, ``ValueError`` if empty."""
    _check_reduction("l1_loss", reduction)
    p, t = _pair(predictions, targets, "l1_loss")
    return _reduced(abs(p - t), reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, *, reduction: str = "mean") -> Any:
    """Cross-entropy of σ(z) against t, in nats.   y = mean ln(1 + e^z) − z t      z̄ = ȳ (σ(z) − t) / n

    ``targets`` have the shape of the logits and lie in [0, 1]. ``reduction``: 'mean', 'sum' or 'none'. Raises
    ``ShapeError`` unless the shapes are equal, ``ValueError`` for targets outside [0, 1] or an empty batch."""
    name = "binary_cross_entropy_with_logits"
    _check_reduction(name, reduction)
    z, t = _pair(logits, targets, name)
    low, high = numbers(value_of(t).min(), value_of(t).max())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name}: targets are probabilities, but these run from {low:g} to {high:g}; use 0 and 1, or values between"
        )
    return _reduced(softplus(z) - z * t, reduction)


def hinge_loss(scores: Any, targets: Any, margin: float = 1.0, *, reduction: str = "mean") -> Any:
    """Multiclass hinge loss.   y = mean over rows of Σ over j ≠ t of max(0, s_j − s_t + margin)

    ``scores`` (..., C), ``targets`` integers (...). s̄_j = ȳ [s_j − s_t + margin > 0] / rows for j ≠ t, and minus their
    sum for j = t. Weston and Watkins, 1999. Raises as ``cross_entropy`` does."""
    _check_reduction("hinge_loss", reduction)
    s = _floating(scores, "hinge_loss", "scores")
    seen, t = _beside(targets, s, "hinge_loss", "targets")
    if not s.ndim or t.shape != s.shape[:-1] or t.dtype.kind not in "iu":
        raise ShapeError(
            f"hinge_loss: scores {s.shape} need integer targets of shape {s.shape[:-1]}, not {t.shape} {t.dtype}"
        )
    if 0 in s.shape:
        raise ValueError(f"hinge_loss: scores of shape {s.shape} hold no row; is the batch empty?")
    _check_classes("hinge_loss", seen, s.shape[-1])
    other = xp(t).arange(s.shape[-1]) != t[..., None]
    excess = relu(s - take_along_axis(s, t[..., None]) + margin)
    return _reduced(sum(where(other, excess, 0), -1), reduction)

"""Gradient transforms: the links of which every optimizer is a chain.

A link takes the update ``u`` (at first the gradient) and returns the next one; what the last link returns is added to
the weights. So L2 regularisation and decoupled weight decay are the same arithmetic at two places of the chain: before
the gradient is rescaled, and after. The design is Optax's (DeepMind, 2020); the arrays are flat and updated in place.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad7.backend import Array
from tinygrad7.optim.schedules import Number


class Now:
    """What a link may want to know of the step that is being taken, and where it may write.

    ``count``: updates of these parameters, this one included. ``step``: steps of the optimizer before this one (what
    schedules see). ``out``: the array to return; ``spare``: room for one intermediate. ``vectors``: these parameters
    have fewer than two axes (biases, the gains of normalisation). ``xp``: NumPy or CuPy.
    """

    __slots__ = ("count", "out", "spare", "step", "vectors", "xp")

    count: int
    step: int
    out: Array
    spare: Array
    vectors: bool
    xp: Any


class Link:
    """One gradient transform. Write your own by subclassing: name the arrays that it keeps, define ``update``."""

    keeps: tuple[str, ...] = ()  # per-parameter arrays, zero at first; they go into the state dict under these names

    def update(self, u: Array, w: Array, now: Now, *kept: Array) -> Array:
        """The next update, in ``now.out`` or a kept array. ``u`` and ``w`` are read only; kept arrays are written."""
        raise NotImplementedError

    def __repr__(self) -> str:
        said = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.default is parameter.empty:
                said.append(repr(value))
            elif value != parameter.default:
                said.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(said)})"


class Chain:
    """Links in the order in which they are applied. Made by ``chain(...)``."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = tuple(links)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.links))})"


def chain(*links: Link | Chain) -> Chain:
    """One transform made of several, first to last: ``chain(clip_by_norm(5.0), scale_by_adam(), scale(-1e-3))``.

    Chains inside are spliced in. Raises ``TypeError`` for what is no link, ``ValueError`` where ``decoupled_decay``
    stands before a link that rescales by history, since that is no longer decoupled.
    """
    flat: list[Link] = []
    for link in links:
        if isinstance(link, Chain):
            flat.extend(link.links)
        elif isinstance(link, Link):
            flat.append(link)
        else:
            raise TypeError(f"chain: {link!r} is no link; use clip_by_norm(...), scale_by_adam(), scale(-lr) ...")
    for i, link in enumerate(flat):
        after = [other for other in flat[i:] if other.keeps or isinstance(other, clip_by_norm | clip_by_value)]
        if isinstance(link, decoupled_decay) and after:
            raise ValueError(
                f"chain: decoupled_decay stands before {type(after[0]).__name__}, so the decay would go through "
                "it, as L2 does: move decoupled_decay to just before scale(-lr), or write add_l2 if L2 is meant"
            )
    return Chain(flat)


def at(value: Number, step: int) -> float:
    """A number, or what a schedule says of this step."""
    return value(step) if callable(value) else value


def check(link: str, name: str, value: Any, low: float = 0.0, high: float = math.inf, *, open_low: bool = False) -> Any:
    """``value`` if it is a schedule or a number in [low, high); raises ``ValueError`` that names link and argument."""
    if callable(value):
        return value
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        raise TypeError(f"{link}: {name} must be a number or a schedule, got {value!r}")
    if not (low < value if open_low else low <= value) or not (value < high or value == high == math.inf):
        bounds = f"{'(' if open_low else '['}{low:g}, {high:g})"
        raise ValueError(f"{link}: {name} must lie in {bounds}, got {value:g}")
    return float(value)


# ---- clipping ----------------------------------------------------------------------------------------------------


class clip_by_norm(Link):
    """Gradient clipping.   u ← u η / ‖u‖  if ‖u‖ > η, otherwise u unchanged.

    The norm is that of all parameters together (of every group whose chain holds this very link), and is kept in
    ``optimizer.grad_norm``; η = inf only measures. A norm that is not finite raises ``FloatingPointError``, or leaves
    everything as it is for this step with ``nonfinite="skip"``. Source: the lecture's "gradient clipping".
    """

    def __init__(self, eta: float, *, nonfinite: str = "raise") -> None:
        if nonfinite not in ("raise", "skip"):
            raise ValueError(f"clip_by_norm: nonfinite must be 'raise' or 'skip', got {nonfinite!r}")
        self.eta, self.nonfinite = check("clip_by_norm", "eta", eta, open_low=True), nonfinite

    def rate(self, norm: float) -> float:
        """What the update is multiplied with."""
        return self.eta / norm if norm > self.eta else 1.0


class clip_by_value(Link):
    """Every element into [−η, η].   u ← min(max(u, −η), η)"""

    def __init__(self, eta: float) -> None:
        self.eta = check("clip_by_value", "eta", eta, open_low=True)

    def update(self, u: Array, w: Array, now: Now) -> Array:
        return now.xp.clip(u, -self.eta, self.eta, out=now.out)


# ---- regularisation ----------------------------------------------------------------------------------------------


class add_l2(Link):
    """The gradient of the regulariser λ/2 ‖w‖².   u ← u + λ w

    ``biases=False`` leaves out parameters of fewer than two axes.
    """

    def __init__(self, lam: Number, *, biases: bool = True) -> None:
        self.lam, self.biases = check(type(self).__name__, "lam", lam), biases

    def update(self, u: Array, w: Array, now: Now) -> Array:
        if now.vectors and not self.biases:
            return u
        now.xp.multiply(w, at(self.lam, now.step), out=now.spare)
        return now.xp.add(u, now.spare, out=now.out)


class add_l1(add_l2):
    """The gradient of the regulariser λ Σ |w|.   u ← u + λ sign(w)"""

    def update(self, u: Array, w: Array, now: Now) -> Array:
        if now.vectors and not self.biases:
            return u
        now.xp.sign(w, out=now.spare)
        now.spare *= at(self.lam, now.step)
        return now.xp.add(u, now.spare, out=now.out)


class decoupled_decay(add_l2):
    """Decoupled weight decay.   u ← u + λ w, just before scale(−α), so that w ← (1 − α λ) w − α u

    For SGD without momentum this is L2 regularisation (the lecture's "weight decay"); for Adam, whose rescaling it does
    not go through, it is not. Source: Loshchilov and Hutter, 2019.
    """


# ---- history -----------------------------------------------------------------------------------------------------


class momentum(Link):
    """Heavy ball.   p ← μ p + u      u ← p"""

    keeps = ("momentum",)

    def __init__(self, mu: float) -> None:
        self.mu = check(type(self).__name__, "mu", mu, high=1.0)

    def update(self, u: Array, w: Array, now: Now, p: Array) -> Array:
        p *= self.mu
        p += u
        return p


class nesterov(momentum):
    """Nesterov's momentum as Sutskever et al. (2013) write it.   p ← μ p + u      u ← u + μ p"""

    def update(self, u: Array, w: Array, now: Now, p: Array) -> Array:
        p *= self.mu
        p += u
        now.xp.multiply(p, self.mu, out=now.spare)
        return now.xp.add(u, now.spare, out=now.out)


class scale_by_rms(Link):
    """RMSprop (Hinton, 2012).   v ← β v + (1 − β) u²      u ← u / (√v + ε)"""

    keeps = ("rms",)

    def __init__(self, beta: float = 0.99, eps: float = 1e-8) -> None:
        self.beta = check("scale_by_rms", "beta", beta, high=1.0)
        self.eps = check("scale_by_rms", "eps", eps)

    def update(self, u: Array, w: Array, now: Now, v: Array) -> Array:
        spare = now.spare
        now.xp.multiply(u, u, out=spare)
        spare *= 1 - self.beta
        v *= self.beta
        v += spare
        now.xp.sqrt(v, out=spare)
        spare += self.eps
        return now.xp.divide(u, spare, out=now.out)


class scale_by_adam(Link):
    """Adam (Kingma and Ba, 2015).   m ← β₁ m + (1 − β₁) u    v ← β₂ v + (1 − β₂) u²    u ← m̂ / (√v̂ + ε)

    with the bias corrections m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ).
    """

    keeps = ("adam_m", "adam_v")

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.beta1 = check("scale_by_adam", "beta1", beta1, high=1.0)
        self.beta2 = check("scale_by_adam", "beta2", beta2, high=1.0)
        self.eps = check("scale_by_adam", "eps", eps)

    def update(self, u: Array, w: Array, now: Now, m: Array, v: Array) -> Array:
        # The factors 1 − β are left out of the sums and put into the two corrections: two passes fewer.
        xp, spare = now.xp, now.spare
        m *= self.beta1
        m += u
        xp.multiply(u, u, out=spare)
        v *= self.beta2
        v += spare
        first = (1 - self.beta1**now.count) / (1 - self.beta1)
        second = (1 - self.beta2**now.count) / (1 - self.beta2)
        xp.sqrt(v, out=spare)
        spare *= first / math.sqrt(second)
        spare += first * self.eps
        return xp.divide(m, spare, out=now.out)


class scale(Link):
    """A number or a schedule times the update.   u ← c u      ``scale(-lr)`` is gradient descent's α."""

    def __init__(self, factor: Number) -> None:
        if not callable(factor) and (not isinstance(factor, int | float | np.number) or not math.isfinite(factor)):
            raise ValueError(f"scale: the factor must be a finite number or a schedule, got {factor!r}")
        self.factor: Number = factor

    def update(self, u: Array, w: Array, now: Now) -> Array:
        return now.xp.multiply(u, at(self.factor, now.step), out=now.out)


def fresh(chains: list[Chain]) -> list[Chain]:
    """Copies, so that a rate set on one optimizer changes no other; links shared among the chains stay shared."""
    return copy.deepcopy(chains)

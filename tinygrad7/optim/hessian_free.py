"""Hessian-free optimization: Newton steps on the Gauss-Newton curvature, found by conjugate gradients.

Sources: Martens, "Deep learning via Hessian-free optimization", 2010; Martens and Sutskever, "Learning recurrent neural
networks with Hessian-free optimization", 2011, which the lecture cites, for structural damping.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad7.backend import Array, to_device, to_numpy
from tinygrad7.context import enable_grad, no_grad
from tinygrad7.grad import gradients
from tinygrad7.optim.conjugate import conjugate_gradients, dot
from tinygrad7.optim.curvature import Curvature, Forward, Loss, split
from tinygrad7.optim.flat import Block
from tinygrad7.optim.links import check
from tinygrad7.optim.parameters import check_state, groups_of, named_parameters


@dataclass(frozen=True)
class HessianFreeStep:
    """What one step did: the loss on the gradient's batch before and after, iterations of conjugate gradients, the
    damping λ under which they ran, ρ = actual / predicted reduction before the line search, that search's rate, and the
    gradient's norm."""

    loss: float
    new_loss: float
    iterations: int
    damping: float
    rho: float
    rate: float
    grad_norm: float


class HessianFree:
    """Hessian-free optimization.   w ← w + δ,   δ ≈ argmin gᵀδ + ½ δᵀ (Jᵀ H J + λ I + λ μ Kᵀ K) δ

    J is the Jacobian of the network's outputs, H the Hessian of a convex loss in them, K the Jacobian of the hidden
    states. ``damping`` λ is adapted by the Levenberg-Marquardt rule (× ⅔ where ρ > ¾, × 3/2 where ρ < ¼);
    ``structural`` μ holds the hidden states near those that the model was made at. At most ``iterations`` of conjugate
    gradients a step, started at ``warm_start`` times the last direction, stopped at a relative gain of ``tolerance``
    per iteration; ``preconditioner``: samples for an estimate of the diagonal (0: none), raised to ``exponent``.

    ``step(forward, loss)`` takes a large batch; ``curvature=`` a second pair on a smaller one for the products. Raises
    ``ValueError`` for parameters of several dtypes or devices, ``FloatingPointError`` for a loss that is not finite.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        damping: float = 1.0,
        structural: float = 0.0,
        iterations: int = 100,
        tolerance: float = 5e-4,
        warm_start: float = 0.95,
        preconditioner: int = 0,
        exponent: float = 0.75,
        seed: int = 0,
    ) -> None:
        groups = named_parameters(groups_of(params))
        names, tensors = zip(*[pair for group in groups for pair in group], strict=True)
        kinds = sorted({f"{t.dtype} on {t.device}" for t in tensors})
        if len(kinds) > 1:
            raise ValueError(f"HessianFree: parameters must be of one dtype on one device, got {' and '.join(kinds)}")
        self.block = Block(list(tensors), list(names), [], False)
        self.damping = check("HessianFree", "damping", damping, open_low=True)
        self.structural = check("HessianFree", "structural", structural)
        self.iterations = int(check("HessianFree", "iterations", iterations, low=1))
        self.tolerance = check("HessianFree", "tolerance", tolerance)
        self.warm_start = check("HessianFree", "warm_start", warm_start)
        self.preconditioner = int(check("HessianFree", "preconditioner", preconditioner))
        self.exponent, self.seed = check("HessianFree", "exponent", exponent), seed
        self.direction = self.block.module.zeros_like(self.block.values)  # where the last CG run ended
        self.steps = 0

    def step(self, forward: Forward, loss: Loss, *, curvature: tuple[Forward, Loss] | None = None) -> HessianFreeStep:
        """One update. ``forward()`` gives the outputs, or ``(outputs, states)`` for structural damping (states
        ``(..., cases, units)``, a tensor or a list of them); ``loss(outputs)`` a scalar, a mean over cases."""
        block = self.block
        if not block.follow():
            raise ValueError("HessianFree: a parameter has changed its dtype or device; make a new optimizer")
        start = block.values.copy()
        try:
            return self._step(start, forward, loss, curvature or (forward, loss))
        except BaseException:  # a model that raised, or Ctrl-C: no trial stays in the weights
            block.values[...] = start
            raise

    def _step(self, start: Array, forward: Forward, loss: Loss, curvature: tuple[Forward, Loss]) -> HessianFreeStep:
        """``step`` from the weights ``start``; trials are written into the parameters."""
        block = self.block
        before, gradient = self._gradient(forward, loss)
        found, models, iterations = self._directions(gradient, *curvature)
        self.direction = found[-1]

        def value(delta: Array) -> float:
            block.values[...] = start + delta
            with no_grad():
                return float(loss(split(forward())[0]).item())

        # Back over the iterates: a later one fits the quadratic model better, an earlier one may fit the function.
        best, after = len(found) - 1, value(found[-1])
        while best > 0:
            earlier = value(found[best - 1])
            if earlier >= after:
                break
            best, after = best - 1, earlier
        rho = (after - before) / models[best] if models[best] < 0 else -math.inf
        delta, rate = found[best], 1.0
        slope = dot(gradient, delta)
        while not after <= before + 0.01 * rate * min(slope, 0.0):
            rate *= 0.8
            if rate < 1e-5:
                rate, after = 0.0, before
                break
            after = value(rate * delta)
        report = HessianFreeStep(before, after, iterations, self.damping, rho, rate, math.sqrt(dot(gradient, gradient)))
        if rho > 0.75:
            self.damping *= 2 / 3
        elif not rho >= 0.25:
            self.damping *= 3 / 2
        block.values[...] = start + rate * delta
        block.stamp([True] * len(block.tensors))
        self.steps += 1
        return report

    def _gradient(self, forward: Forward, loss: Loss) -> tuple[float, Array]:
        """The loss and its gradient, flat."""
        with enable_grad():
            outputs, _ = split(forward())
            j = loss(outputs)
        if j.shape != ():
            raise ValueError(f"HessianFree: loss must give a scalar, got shape {j.shape}; take its mean over the cases")
        if outputs._node is None:
            raise ValueError("HessianFree: forward gives a constant; it must compute from the parameters, recorded")
        if j._node is None:
            raise ValueError("HessianFree: loss gives a constant; it must compute from the outputs")
        if not math.isfinite(j.item()):
            raise FloatingPointError(
                f"HessianFree: the loss is {j.item()} before the step; look with tg.detect_anomaly()"
            )
        parts = gradients([j], self.block.tensors, unreached="zero")
        return float(j.item()), self.block.module.concatenate([g._value.reshape(-1) for g in parts])

    def _directions(self, gradient: Array, forward: Forward, loss: Loss) -> tuple[list[Array], list[float], int]:
        """Conjugate gradients on the damped model."""
        matrix, lam = Curvature(self.block, forward, loss), self.damping
        if self.structural and not matrix.cases:
            raise ValueError(
                "HessianFree: structural damping needs the hidden states: forward must give (outputs, states)"
            )
        diagonal = None
        if self.preconditioner:
            rng = np.random.default_rng([self.seed, self.steps])
            diagonal = (matrix.diagonal(self.preconditioner, rng) + lam) ** self.exponent
        return conjugate_gradients(
            lambda v: matrix.product(v, lam * self.structural) + lam * v,
            -gradient,
            self.warm_start * self.direction,
            diagonal,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on bit for bit, as plain numbers and arrays under flat names."""
        parts = zip(self.block.names, self.block.parts(self.direction), strict=True)
        directions = {f"{name}.direction": np.array(to_numpy(part)) for name, part in parts}
        return {"steps": self.steps, "damping": self.damping, **directions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave. Raises ``KeyError`` or ``ValueError`` naming what does not fit."""
        check_state(state, self.state_dict())
        self.steps, self.damping = int(state["steps"]), float(state["damping"])
        for name, part in zip(self.block.names, self.block.parts(self.direction), strict=True):
            part[...] = to_device(np.asarray(state[f"{name}.direction"], part.dtype), self.block.device)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters (``step`` neither reads nor leaves any)."""
        for tensor in self.block.tensors:
            tensor.grad = None

"""Hessian-free optimization: Newton steps on the Gauss-Newton curvature, found by conjugate gradients.

Nothing of the size of the Hessian is ever made. The products G v = Jᵀ H J v come from the tape: Jᵀu is recorded once
as a function of u; being linear in u, its own pullback is J. So one product is two walks over a tape that stays.

Sources: Martens, "Deep learning via Hessian-free optimization", 2010; Martens and Sutskever, "Learning recurrent neural
networks with Hessian-free optimization", 2011 (structural damping), which the lecture cites; Chapelle and Erhan,
"Improved preconditioner for Hessian-free optimization", 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad7.backend import Array, to_device, xp
from tinygrad7.context import enable_grad, no_grad
from tinygrad7.grad import gradients, reachable, walk
from tinygrad7.optim.conjugate import conjugate_gradients, dot
from tinygrad7.optim.flat import Block
from tinygrad7.optim.parameters import groups_of, named_parameters
from tinygrad7.tensor import Tensor

Forward = Callable[[], Any]
Loss = Callable[[Any], Tensor]


@dataclass
class Report:
    """One step of ``HessianFree``: loss before and after on the gradient's batch, ρ = actual / predicted reduction."""

    loss: float
    new_loss: float
    iterations: int
    damping: float
    rho: float
    rate: float
    grad_norm: float


class Curvature:
    """v ↦ (Jᵀ H J + c Kᵀ K) v at the present parameters: J the Jacobian of the outputs, H the loss's Hessian in them,
    K the Jacobian of the states. Vectors are flat, in the order of the block's parameters."""

    def __init__(self, block: Block, forward: Forward, loss: Loss) -> None:
        self.block = block
        with enable_grad():
            outputs, self.states = _split(forward())
            self.roots = [outputs, *self.states]
            self.cases = [state.shape[-2] if state.ndim > 1 else 1 for state in self.states]
            self.seeds = [_leaf_like(root) for root in self.roots]
            pulled = gradients(self.roots, block.tensors, self.seeds, create_graph=True, unreached="zero")
            self.held = _leaf_like(outputs)
            slope = gradients([loss(self.held)], [self.held], create_graph=True, unreached="zero")[0]
        self.pulled, self.slope = pulled, slope
        self.leaves = [tensor._node for tensor in block.tensors]
        self.pull_tape = reachable([root._node for root in self.roots])
        self.push_tape = reachable([g._node for g in pulled if g._node is not None], self.seeds[0]._node.birth)
        self.slope_tape = reachable([slope._node]) if slope._node is not None else []

    def pull(self, bars: list[Array]) -> Array:
        """Jᵀ of cotangents of the roots, flat."""
        found = walk(self.pull_tape, self._start(self.roots, bars), wanted=set(self.leaves))
        module, flat = self.block.module, []
        for leaf, tensor in zip(self.leaves, self.block.tensors, strict=True):
            g = found.get(leaf)
            flat.append(module.zeros(tensor.size, tensor.dtype) if g is None else g.reshape(-1))
        return module.concatenate(flat)

    def push(self, v: Array) -> list[Array]:
        """J v for every root."""
        starts = self.block.starts
        parts = [v[a:b].reshape(t.shape) for a, b, t in zip(starts, starts[1:], self.block.tensors, strict=False)]
        nodes = [seed._node for seed in self.seeds]
        found = walk(self.push_tape, self._start(self.pulled, parts), wanted=set(nodes))
        return [
            xp(v).zeros(root.shape, root.dtype) if found.get(node) is None else found[node]
            for node, root in zip(nodes, self.roots, strict=True)
        ]

    def hessian(self, jv: Array) -> Array:
        """H of the loss times a tangent of the outputs."""
        node = self.held._node
        found = walk(self.slope_tape, self._start([self.slope], [jv]), wanted={node}) if self.slope_tape else {}
        return found.get(node, jv * 0)

    def product(self, v: Array, structural: float) -> Array:
        """(Jᵀ H J + structural · Kᵀ K / cases) v"""
        jv, *kv = self.push(v)
        bars = [self.hessian(jv), *(k * (structural / n) for k, n in zip(kv, self.cases, strict=True))]
        return self.pull(bars)

    def diagonal(self, samples: int, rng: np.random.Generator) -> Array:
        """An estimate of the diagonal of Jᵀ H J for an H that is diagonal or nearly so.

        E (Jᵀ H^½ r)² over random signs r, with H^½ taken from H 1, which for a diagonal H is its diagonal.
        """
        h = self.hessian(xp(self.held._data).ones(self.held.shape, self.held.dtype))
        root = xp(h).sqrt(abs(h))
        rest = [xp(h).zeros(s.shape, s.dtype) for s in self.states]
        total = 0.0
        for _ in range(samples):
            signs = to_device(rng.integers(0, 2, h.shape).astype(h.dtype) * 2 - 1, self.block.device)
            pulled = self.pull([root * signs, *rest])
            total = total + pulled * pulled
        return total / samples

    @staticmethod
    def _start(tensors: list[Tensor], bars: list[Array]) -> dict[Any, Array]:
        """Cotangents by node; of tensors that share a node, the sum."""
        start: dict[Any, Array] = {}
        for tensor, bar in zip(tensors, bars, strict=True):
            node = tensor._node
            if node is not None:
                start[node] = start[node] + bar if node in start else bar
        return start


def _leaf_like(t: Tensor) -> Tensor:
    from tinygrad7.tensor import tensor

    return tensor(t._data, requires_grad=True)


def _split(result: Any) -> tuple[Tensor, list[Tensor]]:
    """What ``forward`` gave: outputs, and the hidden states for structural damping."""
    if isinstance(result, Tensor):
        return result, []
    outputs, states = result
    return outputs, list(states) if isinstance(states, list | tuple) else [states]


class HessianFree:
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
        names = named_parameters(groups_of(params))[0]
        self.block = Block([t for _, t in names], [n for n, _ in names], [], False)
        self.damping, self.structural = damping, structural
        self.iterations, self.tolerance, self.warm_start = iterations, tolerance, warm_start
        self.preconditioner, self.exponent, self.seed = preconditioner, exponent, seed
        self.direction = self.block.module.zeros_like(self.block.values)
        self.steps = 0
        self.grad_norm: float | None = None

    def step(self, forward: Forward, loss: Loss, *, curvature: tuple[Forward, Loss] | None = None) -> Report:
        block = self.block
        block.follow()
        theta = block.values.copy()
        before, g = self._gradient(forward, loss)
        norm = math.sqrt(dot(g, g))
        matrix = Curvature(block, *(curvature or (forward, loss)))
        lam, mu = self.damping, self.structural
        scale = None
        if self.preconditioner:
            rng = np.random.default_rng([self.seed, self.steps])
            scale = (matrix.diagonal(self.preconditioner, rng) + lam) ** self.exponent
        found, phis, count = conjugate_gradients(
            lambda v: matrix.product(v, lam * mu) + lam * v,
            -g,
            self.warm_start * self.direction,
            scale,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        self.direction = found[-1]

        def at(delta: Array) -> float:
            block.values[...] = theta + delta
            return self._value(forward, loss)

        # Backtrack over the iterates of CG: a later one fits the model better, an earlier one may fit the function.
        best, value = len(found) - 1, at(found[-1])
        last_value = value
        while best > 0:
            earlier = at(found[best - 1])
            if not (earlier < value or not math.isfinite(value)):
                break
            best, value = best - 1, earlier
        delta = found[best]
        rate, slope = 1.0, dot(g, delta)
        while not value <= before + 0.01 * rate * min(slope, 0.0) and rate > 0.8**60:
            rate *= 0.8
            value = at(rate * delta)
        if not value <= before:
            rate, value = 0.0, before
        # the quadratic model with damping, at the last iterate
        rho = (last_value - before) / phis[-1] if phis[-1] < 0 else -math.inf
        if not rho >= 0.25:
            self.damping *= 1.5
        elif rho > 0.75:
            self.damping /= 1.5
        block.values[...] = theta + rate * delta
        for tensor in block.tensors:
            tensor._node.written("an optimizer step")
        self.steps += 1
        self.grad_norm = norm
        return Report(before, value, count, lam, rho, rate, norm)

    def _gradient(self, forward: Forward, loss: Loss) -> tuple[float, Array]:
        block = self.block
        with enable_grad():
            j = loss(_split(forward())[0])
        parts = gradients([j], block.tensors, unreached="zero")
        return float(j.item()), block.module.concatenate([g._data.reshape(-1) for g in parts])

    def _value(self, forward: Forward, loss: Loss) -> float:
        with no_grad():
            return float(loss(_split(forward())[0]).item())

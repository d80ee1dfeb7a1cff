"""Products with the Gauss-Newton matrix, from a tape that is recorded once and played many times.

Jᵀu is recorded as a function of u. It is linear in u, so its own pullback is J: a product G v = Jᵀ H J v is two
walks over tapes that stay, and H, the loss's Hessian in the outputs, is a third and small one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import Array, to_device
from tinygrad7.context import enable_grad, no_grad
from tinygrad7.grad import gradients
from tinygrad7.optim.flat import Block
from tinygrad7.tensor import Tensor, tensor
from tinygrad7.walk import reachable, walk

Forward = Callable[[], Any]
Loss = Callable[[Any], Tensor]


class Curvature:
    """G = Jᵀ H J + c Σ Kᵀ K / cases at the present parameters.

    J: the Jacobian of the outputs, H: the Hessian of the loss in them, K: the Jacobian of the hidden states, whose next
    to last axis counts the cases. Vectors are flat, in the order of the block's parameters.
    """

    def __init__(self, block: Block, forward: Forward, loss: Loss) -> None:
        self.block = block
        with enable_grad():
            outputs, states = split(forward())
            self.roots = [outputs, *states]
            self.cases = [state.shape[-2] if state.ndim > 1 else 1 for state in states]
            self.seeds = [tensor(root, requires_grad=True) for root in self.roots]
            self.pulled = gradients(self.roots, block.tensors, self.seeds, create_graph=True, unreached="zero")
            self.held = tensor(outputs, requires_grad=True)
            self.slope = gradients([loss(self.held)], [self.held], create_graph=True, unreached="zero")[0]
        self.leaves = [t._node for t in block.tensors]
        self._pull_tape = _tape(self.roots)
        self._push_tape = _tape(self.pulled, self.seeds)
        self._slope_tape = _tape([self.slope], [self.held])

    def pull(self, bars: list[Array]) -> Array:
        """Jᵀ and Kᵀ: from cotangents of outputs and states to a vector."""
        found = _play(self._pull_tape, self.roots, bars, self.leaves)
        zeros = self.block.module.zeros
        pairs = zip(found, self.block.tensors, strict=True)
        return self.block.module.concatenate([zeros(t.size, t.dtype) if g is None else g.reshape(-1) for g, t in pairs])

    def push(self, v: Array) -> list[Array]:
        """J and K: from a vector to tangents of outputs and states."""
        found = _play(self._push_tape, self.pulled, self.block.parts(v), [seed._node for seed in self.seeds])
        pairs = zip(found, self.roots, strict=True)
        return [self.block.module.zeros(root.shape, root.dtype) if g is None else g for g, root in pairs]

    def hessian(self, tangent: Array) -> Array:
        """H times a tangent of the outputs."""
        found = _play(self._slope_tape, [self.slope], [tangent], [self.held._node])[0]
        return tangent * 0 if found is None else found

    def product(self, v: Array, structural: float = 0.0) -> Array:
        """(Jᵀ H J + c Σ Kᵀ K / cases) v, where c = ``structural``."""
        tangent, *moves = self.push(v)
        return self.pull(
            [self.hessian(tangent), *(k * (structural / n) for k, n in zip(moves, self.cases, strict=True))]
        )

    def diagonal(self, samples: int, rng: np.random.Generator) -> Array:
        """An estimate of the diagonal of Jᵀ H J, for an H that is diagonal or nearly so.

        The mean of (Jᵀ √H r)² over random signs r, with H's row sums for its diagonal. Source: Chapelle and Erhan,
        2011.
        """
        module = self.block.module
        root = module.sqrt(abs(self.hessian(module.ones(self.held.shape, self.held.dtype))))
        rest = [module.zeros(r.shape, r.dtype) for r in self.roots[1:]]
        total = module.zeros_like(self.block.values)
        for _ in range(samples):
            signs = 2 * rng.integers(0, 2, root.shape).astype(root.dtype) - 1
            pulled = self.pull([root * to_device(signs, self.block.device), *rest])
            total += pulled * pulled
        return total / samples


def split(result: Any) -> tuple[Tensor, list[Tensor]]:
    """What ``forward()`` gave: outputs, and hidden states if it gave ``(outputs, states)``."""
    outputs, states = result if isinstance(result, tuple) and len(result) == 2 else (result, [])
    states = [states] if isinstance(states, Tensor) else list(states)
    for value in (outputs, *states):
        if not isinstance(value, Tensor):
            raise TypeError(
                "HessianFree: forward() must return the outputs, a tensor, or (outputs, states); "
                f"got a {type(value).__name__}"
            )
    return outputs, states


def _tape(roots: list[Tensor], ends: list[Tensor] | None = None) -> list[Any]:
    """The tape from ``roots`` back to its leaves, or to what is on the way to ``ends``."""
    oldest = min(end._node.birth for end in ends if end._node is not None) if ends else 0
    return reachable([root._node for root in roots if root._node is not None], oldest)


def _play(tape: list[Any], roots: list[Tensor], bars: list[Array], wanted: list[Any]) -> list[Any]:
    """The cotangents of ``wanted`` (None where nothing arrives), for cotangents of ``roots``."""
    start: dict[Any, Array] = {}
    for root, bar in zip(roots, bars, strict=True):
        node = root._node
        if node is not None:
            start[node] = start[node] + bar if node in start else bar
    with no_grad():
        found = walk(tape, start, wanted=set(wanted))
    return [found.get(node) for node in wanted]

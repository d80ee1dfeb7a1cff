"""Looking into a backward pass: which time step gave which part of a gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygrad7.backend import Array, writable_array
from tinygrad7.context import Setting
from tinygrad7.node import Leaf, Node
from tinygrad7.op import PICKED
from tinygrad7.tensor import Tensor
from tinygrad7.walk import contributions, refuse_stale
from tinygrad7.wengert import Tape

ByStep = dict[int | None, Array]


def gradients_by_step(loss: Tensor, params: Tensor | Iterable[Tensor]) -> list[ByStep]:
    """What each time step contributed to the gradient of each parameter: the summands of ū = Σₜ z̄(t) x(t).

    One dict for each parameter, from the step (None: outside all steps) to an array of the parameter's shape; the sum
    over the steps is what ``backward`` gives. Fused recurrent ops are replaced by their unrolled reference, checkpoints
    by what is computed inside. An op outside all steps passes on the parts apart, so a weight transposed once before
    the loop is told apart too. The graph stays as it was. Raises ``ValueError`` for a loss that is not scalar or a
    parameter that is no leaf.

    Source: the lecture's slide "Backprop Through Time"."""
    params = [params] if isinstance(params, Tensor) else list(params)
    if loss.size != 1:
        raise ValueError(f"gradients_by_step: the loss must be scalar, this one has shape {loss.shape}")
    for p in params:
        if not isinstance(p, Tensor) or not isinstance(p._node, Leaf):
            raise ValueError("gradients_by_step: every parameter must be a leaf made with requires_grad=True")
    tape = Tape(loss)
    refuse_stale(tape.nodes[::-1])
    while any(isinstance(node, Node) and (node.plan.op.unrolls or node.saved is None) for node in tape.nodes):
        tape = tape.expand(lambda node: node.plan.op.unrolls)  # there may be more of them inside
    found = _walk_by_step(tape)
    return [_in_time(found.get(p._node, {})) for p in params]


def _in_time(parts: ByStep) -> ByStep:
    """What came from outside all steps first, then step by step."""
    steps = sorted(parts, key=lambda step: (step is not None, step or 0))
    return {step: writable_array(parts[step]) for step in steps}


def _walk_by_step(tape: Tape) -> dict[Any, ByStep]:
    """Play the tape backwards with cotangents kept apart by the step that they came from."""
    bars: dict[Any, dict[int | None, Any]] = {node: {None: bar} for node, bar in tape.bars().items()}
    leaves: dict[Any, ByStep] = {}
    with Setting(recording=False):
        for node in reversed(tape.nodes):
            parts = bars.pop(node, None)
            if parts is None:
                continue
            if isinstance(node, Leaf):
                leaves[node] = parts
                continue
            step = node.scope.step if node.scope is not None else None
            if step is not None:  # here the parts of one step meet, whatever step they came back from
                parts = {step: _merge(list(parts.values()))}
            for label, bar in parts.items():
                if node.plan is PICKED:
                    outputs = bars.setdefault(node.parents[0], {})
                    if label not in outputs:
                        outputs[label] = [None] * len(node.parents[0].shape)
                    outputs[label][node.params[0]] = bar
                else:
                    for parent, part in contributions(node, bar):
                        _add(bars.setdefault(parent, {}), label, part)
    return leaves


def _add(parts: dict[int | None, Any], label: int | None, part: Any) -> None:
    parts[label] = parts[label] + part if label in parts else part


def _merge(parts: list[Any]) -> Any:
    """The sum of cotangents; for an op of several outputs, output by output."""
    if not isinstance(parts[0], list):
        return sum(parts[1:], parts[0])
    columns = [[b for b in column if b is not None] for column in zip(*parts, strict=True)]
    return [sum(column[1:], column[0]) if column else None for column in columns]

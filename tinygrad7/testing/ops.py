"""The test of one op, from its domain alone: what ``primitive`` promises for every op, also for a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import to_device, to_numpy
from tinygrad7.context import STATE, enable_grad
from tinygrad7.grad import gradients
from tinygrad7.op import Op
from tinygrad7.tensor import tensor, value_of
from tinygrad7.testing.check import GradientError, Verdict, check_gradients
from tinygrad7.testing.picks import examples, op_of
from tinygrad7.testing.problem import directions


def check_op(op: Any, *, count: int = 10, order: int = 2, rng: Any = 0) -> list[Verdict]:
    """Check the gradients of an op (a function made by ``primitive``, or a registered name) at calls of its domain.

    Raises ``GradientError`` at the first call whose gradient is wrong, or where a fused op and its reference give
    different values. ``count``: how many calls are drawn from ``rng`` (a generator or seed).
    """
    found = op_of(op)
    generator = np.random.default_rng(rng)
    calls = examples(found, generator, count)
    return [check_call(found, *call, order=order, rng=int(generator.integers(2**32))) for call in calls]


def check_call(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any], *, order: int = 2, rng: Any = 0) -> Verdict:
    """Check the gradients of one call with respect to all of its floating tensor arguments together."""
    f, operands = of_tensors(op, args, kwargs)
    if op.reference is not None:
        _check_value(op, f, of_tensors(op, args, kwargs, op.reference)[0], operands)
    if op.joint is not None and len(operands) > 1:
        _check_needs(op, f, operands)
    return check_gradients(f, *operands, order=order, rng=rng)


def _check_value(op: Op, fused: Callable[..., Any], reference: Callable[..., Any], operands: list[Any]) -> None:
    """A fused op and its reference give the same: shapes and dtypes, and in float64 values."""
    for dtype in (np.float32, np.float64):
        tensors = [tensor(x, dtype=dtype) for x in operands]
        pairs = [y if isinstance(y, tuple) else (y,) for y in (fused(*tensors), reference(*tensors))]
        values = [[to_numpy(value_of(y)) for y in ys] for ys in pairs]
        kinds = [[(y.shape, str(y.dtype)) for y in ys] for ys in values]
        if kinds[0] != kinds[1]:
            raise GradientError(f"{op.name} gives {kinds[0]}, its reference {kinds[1]}")
    for k, (y, z) in enumerate(zip(*values, strict=True)):
        apart = float(np.abs(y - z).max()) if y.size else 0.0
        if not apart <= 1e-9 * (1 + float(np.abs(z).max(initial=0))):
            raise GradientError(f"{op.name} and its reference differ by {apart:.3g} in output {k}")


def _check_needs(op: Op, f: Callable[..., Any], operands: list[Any]) -> None:
    """A joint rule gives an argument the same gradient whether the others need one or not."""

    def pulled(needed: range) -> list[Any]:
        xs = [tensor(x, dtype=np.float64, requires_grad=i in needed) for i, x in enumerate(operands)]
        y = f(*xs)
        ys = y if isinstance(y, tuple) else (y,)
        bars = directions([value_of(y) for y in ys], np.random.default_rng(0))
        return [to_numpy(value_of(g)) for g in gradients(ys, [xs[i] for i in needed], bars, unreached="zero")]

    with enable_grad():
        together = pulled(range(len(operands)))
        for i, wanted in enumerate(together):
            (alone,) = pulled(range(i, i + 1))
            if not np.allclose(alone, wanted, rtol=1e-9, atol=1e-12, equal_nan=True):
                raise GradientError(
                    f"{op.name}: argument {i} has another gradient where no other argument needs one; does the joint "
                    "rule mistake its places in needs?"
                )


def tensor_places(op: Op, args: tuple[Any, ...]) -> list[int]:
    """Where among ``args`` those stand that have a derivative and a floating value."""
    return [i for i in op.places(len(args)) if np.asarray(args[i]).dtype.kind == "f"]


def of_tensors(
    op: Op, args: tuple[Any, ...], kwargs: dict[str, Any], function: Callable[..., Any] | None = None
) -> tuple[Callable[..., Any], list[Any]]:
    """The call (of ``function``, the op itself unless given) as one of its tensor arguments alone, and their values."""
    function = function or op.call
    places = tensor_places(op, args)
    args, kwargs = _placed(args), {name: _placed(value) for name, value in kwargs.items()}

    def call(*operands: Any) -> Any:
        full = list(args)
        for i, operand in zip(places, operands, strict=True):
            full[i] = operand
        return function(*full, **kwargs)

    return call, [args[i] for i in places]


def _placed(value: Any) -> Any:
    """Arrays, also inside tuples, where new tensors live."""
    if isinstance(value, tuple):
        return tuple([_placed(v) for v in value])
    return to_device(value, STATE.get().device) if isinstance(value, np.ndarray) else value

"""The test of one op, from its domain alone: what ``primitive`` promises for every op, also for a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import to_device
from tinygrad7.context import STATE
from tinygrad7.op import REGISTRY, Op
from tinygrad7.testing.check import Verdict, check_gradients
from tinygrad7.testing.picks import examples


def check_op(op: Any, *, count: int = 10, order: int = 2, rng: Any = 0) -> list[Verdict]:
    """Check the gradients of an op (a function made by ``primitive``, or a registered name) at calls of its domain.

    Raises ``GradientError`` at the first call whose gradient is wrong. ``count``: how many calls are drawn from
    ``rng`` (a generator or seed).
    """
    found = REGISTRY[op] if isinstance(op, str) else getattr(op, "op", op)
    generator = np.random.default_rng(rng)
    calls = examples(found, generator, count)
    return [check_call(found, *call, order=order, rng=int(generator.integers(2**32))) for call in calls]


def check_call(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any], *, order: int = 2, rng: Any = 0) -> Verdict:
    """Check the gradients of one call with respect to all of its floating tensor arguments together."""
    f, operands = of_tensors(op, args, kwargs)
    return check_gradients(f, *operands, order=order, rng=rng)


def tensor_places(op: Op, args: tuple[Any, ...]) -> list[int]:
    """Where among ``args`` those stand that have a derivative and a floating value."""
    places = range(len(args)) if op.variadic else [op.positional.index(op.names[i]) for i in op.tensors]
    return [i for i in places if i < len(args) and np.asarray(args[i]).dtype.kind == "f"]


def of_tensors(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
    """The call as a function of its tensor arguments alone, and their values."""
    places = tensor_places(op, args)
    args, kwargs = _placed(args), {name: _placed(value) for name, value in kwargs.items()}

    def call(*operands: Any) -> Any:
        full = list(args)
        for i, operand in zip(places, operands, strict=True):
            full[i] = operand
        return op.call(*full, **kwargs)

    return call, [args[i] for i in places]


def _placed(value: Any) -> Any:
    """Arrays, also inside tuples, where new tensors live."""
    if isinstance(value, tuple):
        return tuple([_placed(v) for v in value])
    return to_device(value, STATE.get().device) if isinstance(value, np.ndarray) else value

"""The checker is itself checked: no wrong rule of any op gets past it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tests.test_ops import OWN_TEST
from tinygrad7.op import REGISTRY, Op
from tinygrad7.ops.reduce import sum_to
from tinygrad7.testing import GradientError, check_op, examples
from tinygrad7.testing.ops import of_tensors

RNG = np.random.default_rng(0)


# For every registered op and every tensor argument, a rule that is wrong in one way must make the op's own test fail.


def scaled(gradient: Any, shape: tuple[int, ...]) -> Any:
    return gradient * 1.001


def sign_flipped(gradient: Any, shape: tuple[int, ...]) -> Any:
    return -gradient


def axis_summed(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Summed over its last axis and stretched again: what a forgotten or superfluous ``sum`` makes of it."""
    axis = next((i for i in reversed(range(len(gradient.shape))) if gradient.shape[i] > 1), None)
    return gradient if axis is None else tg.broadcast_to(tg.sum(gradient, axis, True), gradient.shape)


def broadcast_left(gradient: Any, shape: tuple[int, ...]) -> Any:
    """The broadcast not undone: of what was stretched, the first part instead of the sum."""
    while len(gradient.shape) > len(shape):
        gradient = gradient[0]
    for axis, n in enumerate(shape):
        if gradient.shape[axis] != n:
            gradient = gradient[(slice(None),) * axis + (slice(0, n),)]
    return gradient


def something_added(gradient: Any, shape: tuple[int, ...]) -> Any:
    return gradient + 0.01


MUTANTS = [scaled, sign_flipped, axis_summed, broadcast_left, something_added]


def with_more(rule: Callable[..., Any], extra: str, change: Callable[..., Any]) -> Callable[..., Any]:
    """``rule`` with a parameter ``extra`` besides its own (the tape reads the names), and its result changed."""
    names = list(inspect.signature(rule).parameters)
    known = extra in names

    def mutant(*values: Any) -> Any:
        given = values if known else values[:-1]
        return change(rule(*given), values[names.index(extra) if known else -1], dict(zip(names, values, strict=False)))

    parameters = [
        inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in [*names, *([] if known else [extra])]
    ]
    mutant.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return mutant


@contextmanager
def mutated(op: Op, argument: str, position: int, mutant: Callable[..., Any], differed: list[bool]) -> Iterator[None]:
    """The rule of one argument replaced. ``differed`` collects whether what it gives is another gradient."""

    def change(right: Any, shape: Any) -> Any:
        wrong = mutant(right, shape)
        differed.append(not np.array_equal(host(undone(right, shape)), host(undone(wrong, shape))))
        return wrong

    rules, into, joint = dict(op.rules), dict(op.into), op.joint
    extra = f"{argument}_shape"
    try:
        if joint is not None:

            def joint_change(results: Any, shape: Any, given: Any) -> Any:
                results = list(results)
                if results[position] is not None:
                    results[position] = change(results[position], shape)
                return results

            op.joint = with_more(joint, extra, joint_change)
        else:

            def rule_change(right: Any, shape: Any, given: Any) -> Any:
                return change(right, shape[given["index"]] if op.variadic and "index" in given else shape)

            op.rules[argument] = with_more(op.rules[argument], extra, rule_change)
            op.into.pop(argument, None)
        op.forget_plans()
        yield
    finally:
        op.rules, op.into, op.joint = rules, into, joint
        op.forget_plans()


def undone(gradient: Any, shape: tuple[int, ...]) -> Any:
    """As the engine does: summed over what was stretched."""
    return gradient if gradient.shape == shape else sum_to(gradient, shape)


BROADCASTING = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"]
OWN = sorted(n for n, op in REGISTRY.items() if op.module.startswith("tinygrad7.") and n != "transfer")
ARGUMENTS = [
    (name, argument, k)
    for name in OWN
    for op in [REGISTRY[name]]
    for k, argument in enumerate([op.variadic] if op.variadic else [op.names[i] for i in op.tensors])
]


class NothingWrong(Exception):
    """The mutant gives the right gradients: there is nothing to sum or to undo, or the gradient is zero everywhere."""


def play(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """One call and its backward, at random cotangents."""
    f, operands = of_tensors(op, args, kwargs)
    leaves = [tg.tensor(a, requires_grad=True) for a in operands]
    ys = f(*leaves)
    ys = [y for y in (ys if isinstance(ys, tuple) else (ys,)) if y.requires_grad]
    tg.gradients(ys, leaves, [RNG.normal(size=y.shape) for y in ys], unreached="zero")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    ("name", "argument", "position"), ARGUMENTS, ids=lambda v: str(v) if isinstance(v, str) else ""
)
def test_no_wrong_rule_gets_past_the_ops_own_test(name: str, argument: str, position: int, mutant: Any) -> None:
    op = REGISTRY[name]
    differed: list[bool] = []
    with mutated(op, argument, position, mutant, differed):
        for args, kwargs in examples(op, 0, 2 * OWN_TEST["count"]):
            play(op, args, kwargs)
        try:
            if not any(differed):
                raise NothingWrong
            check_op(op, order=1, **OWN_TEST)  # the first of the two orders; the calls and directions are the same
        except GradientError:
            return
        except NothingWrong:
            pass
    assert not any(differed), f"{name}: a rule for {argument} that is wrong ({mutant.__name__}) passes"
    assert mutant is not something_added
    assert mutant not in (scaled, sign_flipped) or name == "sign"
    assert mutant is not broadcast_left or name not in BROADCASTING


def test_the_rules_are_whole_again_after_the_mutants() -> None:
    for name in OWN:
        check_op(name, count=1, order=1)

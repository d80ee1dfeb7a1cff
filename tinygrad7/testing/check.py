"""``check_gradients``: no gradient is believed until this has tried to break it."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad7.backend import Array, device_of, to_numpy, writable_array, xp
from tinygrad7.context import Setting
from tinygrad7.grad import gradients
from tinygrad7.messages import user_line
from tinygrad7.node import Leaf
from tinygrad7.ops.elementwise import add, multiply
from tinygrad7.ops.reduce import sum
from tinygrad7.tensor import Tensor
from tinygrad7.testing.blame import find_op
from tinygrad7.testing.orders import Kink, Mismatch, Order
from tinygrad7.testing.problem import (
    Flat,
    Problem,
    differentiate,
    directions,
    evaluate,
    gradient_rounding,
    pull,
    variables,
)
from tinygrad7.walk import reachable


class GradientError(AssertionError):
    """A gradient that is wrong; the message names the op, the input and element, both numbers, and the line."""


@dataclass(frozen=True)
class Verdict:
    """What a check found: ``status`` is "pass" or "at a kink" (what is wrong raises), ``order`` how far it went."""

    status: str
    order: int
    detail: str = ""

    @property
    def at_kink(self) -> bool:
        return self.status == "at a kink"

    def __str__(self) -> str:
        return self.status + (f": {self.detail}" if self.detail else "")


def check_gradients(f: Callable[..., Any], *inputs: Any, order: int = 2, rng: Any = None) -> Verdict:
    """Try to break the derivatives of ``f`` at ``inputs``; a ``Verdict`` if that fails, ``GradientError`` if not.

    ``inputs``: arrays, tensors, numbers, and nested lists, tuples and dicts of them. What is floating is
    differentiated, the rest is passed on; ``f`` receives tensors and returns one or a nest of them. Checked are, at
    every order up to ``order`` and in float64: slopes along random directions against central differences, and
    ⟨u, J v⟩ = ⟨Jᵀ u, v⟩. Then, in the precision of the inputs: the same gradients, their dtype, shape and device,
    that two backwards add exactly twice, that no input changed, and that nothing of the graph stays alive with the
    garbage collector off. ``rng`` (a generator or seed) chooses the directions.

    Where the one-sided slopes differ (relu at 0), the verdict is "at a kink" if the gradient lies between them, or is
    made of subgradients that do, op by op; what is smooth is then looked at a little beside. Raises ``ValueError``
    where ``f`` is not finite at or beside the inputs, or gives different values in two calls.

    What is seen is an error of a thousandth of the slope along a random direction, of half a hundredth where something
    is computed in float32, and in float16 a wrong sign: one of 0.1 % in a single element of many may be missed. Check
    small inputs whose elements are of one size.
    """
    if order < 1:
        raise ValueError(f"check_gradients: order={order} checks nothing; use 1, 2, ...")
    return check_at(user_line(), f, inputs, order, rng)


def check_at(where: str, f: Callable[..., Any], inputs: tuple[Any, ...], order: int, rng: Any = None) -> Verdict:
    """``check_gradients``, for the line ``where`` of the user's file."""
    generator = np.random.default_rng(0 if rng is None else rng)
    problem = Problem(f, inputs)
    if not problem.values:
        raise TypeError("check_gradients: no input has a floating dtype, so there is nothing to differentiate")
    copies = [v.copy() for v in problem.arrays()]
    point = [v.astype(np.float64) for v in problem.values]
    bars = directions(_check_function(problem, point, copies, where), generator)
    kink, why, done = _check_orders(problem, point, bars, order, generator, where)
    if kink is None:
        _check_precision(problem, problem.values, bars, where)
    else:
        done = max(done, _check_beside(problem, bars, order, generator, where))
    _check_backward(problem, bars, where)
    _check_unmutated(problem, copies, where)
    _check_lifetime(problem, where)
    return Verdict("pass", done) if kink is None else Verdict("at a kink", done, why)


def _check_orders(
    problem: Problem, point: list[Array], bars: list[Array], order: int, rng: np.random.Generator, where: str
) -> tuple[Kink | None, str, int]:
    """Each order in turn, up to a kink: that, what is to say of it, and how far it went."""
    flat: Flat = problem.flat
    slopes = flat
    for level in range(1, order + 1):
        try:
            kink, made_of = Order(flat, slopes, point, bars, problem.names).check(rng), ""
        except Mismatch as found:
            with Setting(recording=True):
                blamed, made_of = find_op(problem.flat, point, level)
            if blamed or not made_of or found.kink is None:
                raise GradientError(_report(problem, found, blamed, level, where)) from None
            kink = found.kink  # each op's subgradient is right; one made of several need not be between the slopes
        if kink is not None:
            return kink, _at_kink(problem, kink, made_of), level
        flat, slopes = differentiate(flat, bars, again=True), differentiate(flat, bars, again=level > 1)
        bars = directions(point, rng)
    return None, "", order


def _check_beside(problem: Problem, bars: list[Array], order: int, rng: np.random.Generator, where: str) -> int:
    """What a kink hides is looked for a little beside it, on both sides. How far that went."""
    done, where = 0, f"{where}, beside a kink at these inputs"
    vs = directions(problem.values, rng)
    for sign in (0.01, -0.01):
        beside = [(p + sign * v).astype(p.dtype) for p, v in zip(problem.values, vs, strict=True)]
        try:
            point = [p.astype(np.float64) for p in beside]
            kink, _, far = _check_orders(problem, point, bars, order, rng, where)
            done = max(done, far)
            if kink is None:
                _check_precision(problem, beside, bars, where)
        except ValueError:  # out of the domain
            pass
    return done


def _at_kink(problem: Problem, kink: Kink, made_of: str) -> str:
    place = _place(problem, kink.input, kink.element)
    if not math.isfinite(kink.left):
        return f"{place}: the function jumps here"
    sides = f"the slopes {kink.left:.6g} and {kink.right:.6g} of its two sides"
    lies = f"is made of subgradients ({made_of} has a kink here), beside" if made_of else "lies between"
    return f"{place}: the gradient {kink.analytic:.6g} {lies} {sides}"


def _place(problem: Problem, k: int, element: tuple[int, ...] | None) -> str:
    return f"input {problem.names[k]}" + (f", element {element}" if element is not None else "")


def _report(problem: Problem, found: Mismatch, blamed: str, level: int, where: str) -> str:
    place = _place(problem, found.input, found.element)
    nth = {1: "gradient", 2: "second derivative"}.get(level, f"derivative of order {level}")
    lines = [f"check_gradients: the {nth} is wrong for {place}: {found.what}"]
    if found.infinite:
        tail = "every op passes by itself: an infinite slope meets 0 on the way, as that of a root at 0 does"
    else:
        tail = "every op on the tape passes by itself: is the gradient cut on the way (.detach(), .data, .numpy())?"
    lines.append(f"  {blamed or tail}")
    lines.append(f"  checked at {where}")
    return "\n".join(lines)


def _check_function(problem: Problem, point: list[Array], copies: list[Array], where: str) -> list[Array]:
    """The function's values: finite, the same in two calls, and nothing that it is given is written into."""
    with Setting(recording=True):
        xs = variables(point)
        try:
            first = [writable_array(y._value) for y in problem.flat(xs)]
        except Exception as error:
            if len(xs) > 1:
                error.add_note(
                    "check_gradients gives every floating input as a tensor to be differentiated. What is not meant "
                    "so is closed over: check_gradients(lambda x: f(x, 0.5), x)"
                )
            raise
    leaves: list[Any] = [x._node for x in xs]
    written = [name for leaf, name in zip(leaves, problem.names, strict=True) if leaf.stamp]
    if written:
        raise GradientError(
            f"check_gradients: the function writes into input {', '.join(written)} (t.assign)\n  checked at {where}"
        )
    _check_unmutated(problem, copies, where)
    for a, b in zip(first, evaluate(problem.flat, point), strict=True):
        if not _same(a, b):
            raise ValueError(
                "check_gradients: two calls with the same inputs give different values; pass the function a fixed seed "
                "(rng=0), or leave its randomness out"
            )
        if not np.isfinite(to_numpy(a)).all():
            raise ValueError("check_gradients: the function is not finite at these inputs; choose others")
    return first


def _check_precision(problem: Problem, values: list[Array], bars: list[Array], where: str) -> None:
    """The gradients in the precision of ``values`` against those in float64."""
    if all(v.dtype == np.float64 for v in values):
        return
    own_bars = [b.astype(y.dtype) for b, y in zip(bars, evaluate(problem.flat, values), strict=True)]
    point = [v.astype(np.float64) for v in values]
    size = lambda: gradient_rounding(problem.flat, point, bars, rules=False)[1]
    found = zip(pull(problem.flat, values, own_bars), pull(problem.flat, point, bars), problem.names, strict=True)
    for low, exact, name in found:
        if low.dtype != np.float64:
            _compare(to_numpy(low), to_numpy(exact), name, where, size)


def _check_backward(problem: Problem, bars: list[Array], where: str) -> None:
    """In the inputs' own precision: dtype, shape and device of ``.grad``, and that two backwards add up."""
    with Setting(recording=True):
        xs = variables(problem.values)
        ys = problem.flat(xs)
        own_bars = [b.astype(y.dtype) for b, y in zip(bars, ys, strict=True)]
        live = [y for y in ys if y._node is not None]
        if not live:
            return
        terms = [sum(multiply(y, Tensor(b))) for y, b in zip(ys, own_bars, strict=True) if y._node is not None]
        loss = terms[0]
        for term in terms[1:]:
            loss = add(loss, term)
    mine = {id(x._node) for x in xs}
    others = [n for n in reachable([loss._node]) if isinstance(n, Leaf) and id(n) not in mine]
    kept = [(leaf, leaf.grad) for leaf in others]  # of tensors that f closes over
    loss.backward(retain_graph=True)
    once = [None if x.grad is None else x.grad.copy() for x in xs]
    loss.backward()
    for leaf, grad in kept:
        leaf.grad = grad
    for x, name, first in zip(xs, problem.names, once, strict=True):
        twice = x.grad
        if first is None or twice is None:
            continue
        found = (first.shape, first.dtype, device_of(first))
        if found != (x.shape, x.dtype, x.device):
            raise GradientError(
                f"check_gradients: input {name} is {x.shape} {x.dtype} on {x.device}, its gradient {found[0]} "
                f"{found[1]} on {found[2]}\n  checked at {where}"
            )
        if not _same(twice, 2 * first):
            raise GradientError(
                f"check_gradients: two backwards did not add exactly twice for input {name}: does a rule write "
                f"into what it was given?\n  checked at {where}"
            )


def _same(a: Array, b: Array) -> bool:
    """Whether two runs gave the same: to the last bit on the host; but for rounding on a device, which adds up what
    goes to one element, or comes back from one that was taken twice, in any order."""
    x, y = to_numpy(a), to_numpy(b)
    if device_of(a) == "cpu":
        return np.array_equal(x, y, equal_nan=True)
    slack = 16 * float(np.finfo(x.dtype).eps) * float(np.nanmax(np.abs(y), initial=0))
    return np.allclose(x, y, 0.0, slack, equal_nan=True)


def _compare(low: np.ndarray, exact: np.ndarray, name: str, where: str, size: Callable[[], float]) -> None:
    """A gradient in low precision against that in float64. ``size``: of what is rounded before the rules get it."""
    eps = float(np.finfo(low.dtype).eps)
    tolerance = (1e-4 if eps < 1e-5 else 0.05) * (np.abs(exact) + (np.abs(exact).max() if exact.size else 0.0)) + eps
    apart = np.abs(low.astype(np.float64) - exact)
    wrong = np.argwhere(~(apart <= tolerance))
    if len(wrong) and len(wrong := np.argwhere(~(apart <= tolerance + 4 * eps * size()))):
        i = tuple(wrong[0].tolist())
        raise GradientError(
            f"check_gradients: input {name}, element {i}: the gradient in {low.dtype} is {float(low[i]):.6g}, "
            f"in float64 {float(exact[i]):.6g}: the op loses its precision, or overflows\n  checked at {where}"
        )


def _check_unmutated(problem: Problem, copies: list[Array], where: str) -> None:
    for value, copy, name in zip(problem.arrays(), copies, problem.array_names, strict=True):
        if not np.array_equal(to_numpy(value), to_numpy(copy), equal_nan=value.dtype.kind == "f"):
            raise GradientError(f"check_gradients: the value of input {name} was changed\n  checked at {where}")


def _check_lifetime(problem: Problem, where: str) -> None:
    """Every node leads to a leaf, so if no leaf outlives the result, no node does."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        with Setting(recording=True):
            xs: Any = variables(problem.values)
            alive = [weakref.ref(x._node) for x in xs]
            ys: Any = problem.flat(xs)
            bars = [Tensor(xp(y._value).ones(y.shape, y.dtype)) for y in ys]
            found: Any = gradients(ys, xs, bars, create_graph=True, unreached="zero")  # what rules keep is seen too
            del xs, ys, found
        held = [name for ref, name in zip(alive, problem.names, strict=True) if ref() is not None]
    finally:
        if enabled:
            gc.enable()
    if held:
        raise GradientError(
            f"check_gradients: the graph of input {', '.join(held)} is still alive after its result is gone: something "
            f"keeps a tensor of it (a list, an attribute, a cycle); keep t.detach() instead\n  checked at {where}"
        )

"""Which op is it? Every entry of a tape replayed and checked by itself, from the oldest on."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from tinygrad7.backend import Array, writable_array
from tinygrad7.context import Setting
from tinygrad7.messages import AnomalyError, in_scope
from tinygrad7.node import Leaf, Node
from tinygrad7.op import PICKED, arguments, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.testing.orders import Mismatch, Order
from tinygrad7.testing.problem import Flat, differentiate, directions, evaluate, variables
from tinygrad7.wengert import Tape


def find_op(flat: Flat, point: list[Array], level: int) -> tuple[str, str]:
    """A sentence that names the first op on the tape whose own derivative of order ``level`` or below is wrong; and,
    where none is, the name of the first that is at a kink."""
    at_kink = ""
    try:
        with Setting(watch=True):  # so that every node knows the user's line
            ys = flat(variables(point))
    except AnomalyError:
        ys = flat(variables(point))
    tape = Tape([y for y in ys if y._node is not None])
    while any(isinstance(node, Node) and node.plan.segment is not None for node in tape.nodes):
        tape = tape.expand(lambda node: node.plan.segment is not None)  # what is inside a checkpoint, op by op
    values: dict[Any, Any] = {}
    for node in tape.nodes:
        if isinstance(node, Leaf):
            values[node] = node.data
        elif node.plan is PICKED:
            values[node] = values[node.parents[0]][node.params[0]]
        else:
            args, kwargs = call_of(node, values)
            with Setting(recording=False):
                values[node] = node.plan.op.call(*args, **kwargs)
            sentence, kinked = _check_node(node, args, kwargs, level)
            if sentence:
                return sentence, ""
            at_kink = at_kink or (node.plan.op.name if kinked else "")
    return "", at_kink


def call_of(node: Node, values: dict[Any, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with which the op of ``node`` was called, on plain arrays."""
    operands = [
        values[x] if isinstance(x, Node | Leaf) else x._value if isinstance(x, Tensor) else x for x in inputs(node)
    ]
    return arguments(node, operands)


def _check_node(node: Node, args: list[Any], kwargs: dict[str, Any], level: int) -> tuple[str, bool]:
    """A sentence that says what is wrong with an op, and whether it is at a kink."""
    op = node.plan.op
    live = [i for i, needed in zip(op.places(len(args)), node.plan.live, strict=True) if needed]

    def alone(xs: list[Tensor]) -> list[Tensor]:
        full = list(args)
        for i, x in zip(live, xs, strict=True):
            full[i] = x
        y = op.call(*full, **kwargs)
        return list(y) if isinstance(y, tuple) else [y]

    rng = np.random.default_rng(0)
    flat: Flat = alone
    slopes, point = flat, [writable_array(args[i]) for i in live]
    bars = directions(evaluate(flat, point), rng)
    try:
        for order in range(1, level + 1):
            if Order(flat, slopes, point, bars).check(rng) is not None:
                return "", True
            flat, slopes = differentiate(flat, bars, again=True), differentiate(flat, bars, again=order > 1)
            bars = directions(point, rng)
    except Mismatch as found:
        return _sentence(node, found, live[found.input]), False
    except ValueError:  # not finite: nothing can be measured here
        pass
    return "", False


def _sentence(node: Node, found: Mismatch, place: int) -> str:
    op = node.plan.op
    name = op.variadic or op.positional[place]
    argument = f"{name}[{place}]" if op.variadic else name
    element = "" if found.element is None else f", element {found.element}"
    scope = node.scope
    line = f", recorded at {scope.name}" if scope is not None and scope.kind == "line" else ""
    rule = op.joint or op.rules.get(name)
    where = f" (its rule: {_where_defined(rule)})" if rule is not None else ""
    return f"the op to blame is {op.name}{in_scope(scope)}, argument {argument!r}{element}: {found.what}{line}{where}"


def _where_defined(rule: Any) -> str:
    code = inspect.unwrap(rule).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"

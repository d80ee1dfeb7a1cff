"""Recording: what happens when an op is called. It runs on arrays, and puts itself on the tape.

There are three recorders, each of which makes the public function of an op: for ops of one argument, of two, and for
all others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.arrays import HELD, NUMBERS, operand, own
from tinygrad7.backend import Array
from tinygrad7.context import STATE, Scope, State, check_dtype
from tinygrad7.messages import AnomalyError, explain, finite, report_forward, user_line
from tinygrad7.names import ARGUMENTS
from tinygrad7.node import BIRTH, Node
from tinygrad7.op import BOTH, LEFT, ONE, PICKED, RIGHT, Op, no_rule
from tinygrad7.tensor import Tensor, value_of

# The first two fill the slots of Node and Tensor themselves: a constructor costs as much again as what it fills.
_new: Any = object.__new__
_ndarray = np.ndarray


def unary(op: Op) -> Any:
    forward, ufunc, elementwise = op.forward, op.ufunc or op.forward, op.elementwise

    def call(x):  # type: ignore[no-untyped-def]
        if not isinstance(x, Tensor):
            return forward(operand(x))
        a = x._value
        try:
            y = (ufunc if type(a) is _ndarray else forward)(a)
        except Exception as error:
            raise explain(op.name, (x,), error) from error
        state, parent = STATE.get(), x._node
        result = _new(Tensor)
        result._value, result._node, result._info = y, None, None
        if parent is not None and state.recording:
            plan = op.both or op.plan(ONE)
            node = result._node = Node()
            node.birth = next(BIRTH)
            node.plan = plan
            node.parents = (parent,)
            node.constants = node.params = ()
            node.saved = plan.keep(a, None, y) if plan.keep else ()
            node.scope = state.scope
            node.shape, node.dtype = (parent.shape, parent.dtype) if elementwise else (y.shape, y.dtype)
        return watched(op, (a,), result, state) if state.watch else result

    return call


def binary(op: Op) -> Any:
    forward, ufunc, elementwise = op.forward, op.ufunc or op.forward, op.elementwise

    def call(a, b):  # type: ignore[no-untyped-def]
        state = STATE.get()
        try:
            if isinstance(a, Tensor):
                u, up = a._value, a._node
            else:
                u, up = (a if type(a) in NUMBERS else operand(a)), None
            if isinstance(b, Tensor):
                v, vp = b._value, b._node
            else:
                v, vp = (b if type(b) in NUMBERS else operand(b)), None
                if not isinstance(a, Tensor):
                    return forward(u, v)
            y = (ufunc if type(u) is _ndarray else forward)(u, v)
        except Exception as error:
            raise explain(op.name, (a, b), error) from error
        result = _new(Tensor)
        result._value, result._node, result._info = y, None, None
        if state.recording and (up is not None or vp is not None):
            parents: tuple[Any, ...]
            constants: tuple[Any, ...]
            if vp is None:
                plan, parents, constants = op.left or op.plan(LEFT), (up,), (constant(b),)
                v = value_of(constants[0])
            elif up is None:
                plan, parents, constants = op.right or op.plan(RIGHT), (vp,), (constant(a),)
                u = value_of(constants[0])
            else:
                plan, parents, constants = op.both or op.plan(BOTH), (up, vp), ()
            node = result._node = Node()
            node.birth = next(BIRTH)
            node.parents = parents
            node.constants = constants
            node.params = ()
            node.saved = plan.keep(u, v, y) if plan.keep else ()
            node.scope = state.scope
            first: Any = parents[0]
            last: Any = y if constants else vp
            if elementwise and first.shape == last.shape and first.dtype is last.dtype:
                node.plan, node.shape, node.dtype = plan.even, first.shape, first.dtype
            else:
                node.plan, node.shape, node.dtype = plan, y.shape, y.dtype
        return watched(op, (u, v), result, state) if state.watch else result

    return call


def general(op: Op) -> Any:
    def call(*args, **kwargs):  # type: ignore[no-untyped-def]
        given = _complete(op, args, kwargs)
        count = len(args) if op.variadic else 0
        tensors = range(count) if op.variadic else op.tensors
        raw: list[Any] = list(given)
        wrap = recorded = False
        for i, value in enumerate(given):
            if isinstance(value, Tensor):
                raw[i], wrap = value._value, True
                if value._node is not None:
                    if i not in tensors:
                        raise TypeError(no_rule(op, op.keywords[i - count] if op.variadic else op.names[i]))
                    recorded = True
            elif i in tensors and (value is not None or _needed(op, i)):
                raw[i] = _operand(op, value, given)
        result = _run(op, raw, count, given)
        residuals = None
        if op.reference is not None:
            result, residuals = result
        if not wrap:
            return result
        for y in (result,) if op.outputs is None else result:
            if y.dtype.char not in HELD:
                _check_result(op, y, given)
        state = STATE.get()
        if not recorded or not state.recording:
            done = tuple(Tensor(y) for y in result) if op.outputs is not None else Tensor(result)
            return watched(op, raw, done, state) if state.watch else done
        parents: list[Any] = []
        constants: list[Any] = []
        live: list[bool] = []
        for i in tensors:
            value = given[i]
            live.append(isinstance(value, Tensor) and value._node is not None)
            if live[-1]:
                parents.append(value._node)
            else:
                constants.append(constant(value))
                raw[i] = value_of(constants[-1])
        plan = op.plan(tuple(live))
        params = []
        for i, value in enumerate(given):
            if i not in tensors:
                if not isinstance(value, Tensor):
                    raw[i] = own(value)
                params.append(raw[i])
        several = op.outputs is not None
        node = Node.make(
            plan,
            tuple(parents),
            plan.save(tuple(raw), result, residuals),
            state.scope,
            tuple([y.shape for y in result]) if several else result.shape,
            tuple([y.dtype for y in result]) if several else result.dtype,
            tuple(constants),
            tuple(params),
        )
        done = project(node, result) if several else Tensor(result, node)
        return watched(op, raw, done, state) if state.watch else done

    return call


def _needed(op: Op, i: int) -> bool:
    """Whether an operand cannot be None. Fused ops may do without one (a bias), and users' ops decide themselves."""
    return op.builtin and op.reference is None and bool(op.variadic or op.defaults.get(op.names[i], 0) is not None)


def _operand(op: Op, value: Any, given: tuple[Any, ...]) -> Any:
    try:
        return operand(value)
    except (TypeError, ValueError) as error:
        raise explain(op.name, given, error) from error


def _check_result(op: Op, y: Array, given: tuple[Any, ...]) -> None:
    """Raise for a result of a dtype that no tensor has: something that was given had it."""
    try:
        check_dtype(y.dtype)
    except TypeError as error:
        raise explain(op.name, given, error) from error


def _complete(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call in the order of the signature, defaults filled in."""
    if len(args) == len(op.names) and not (kwargs or op.keywords or op.variadic):
        return args
    given, used = list(args), 0
    for name in op.keywords if op.variadic else op.names[len(args) :]:
        if name in kwargs:
            given.append(kwargs[name])
            used += 1
        elif name in op.defaults:
            given.append(op.defaults[name])
    fits = len(given) - len(args) == len(op.keywords) if op.variadic else len(given) == len(op.names)
    if fits and used == len(kwargs) and (op.variadic or len(args) <= len(op.positional)):
        return tuple(given)
    try:
        op.signature.bind(*args, **kwargs)
    except TypeError as error:
        meant = [f"; {theirs} is called {ours} here" for theirs, ours in ARGUMENTS.items() if theirs in kwargs]
        raise TypeError(f"{op.name}{op.signature}: {error}{''.join(meant)}") from None
    raise AssertionError(f"{op.name}: the signature takes what this function does not")


def _run(op: Op, raw: list[Any], count: int, given: tuple[Any, ...]) -> Any:
    forward = op.forward
    split = count if op.variadic else len(op.positional)
    try:
        return forward(*raw[:split], **dict(zip(op.keywords, raw[split:], strict=True)))
    except Exception as error:
        raise explain(op.name, given, error) from error


def project(node: Node, outputs: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """A tensor for each output of an op that has several; each has a node of its own that says which it is."""
    return tuple(
        [
            Tensor(y, Node.make(PICKED, (node,), (), node.scope, y.shape, y.dtype, (), (k,)))
            for k, y in enumerate(outputs)
        ]
    )


def constant(value: Any) -> Any:
    """An operand without gradient as a node remembers it: a constant tensor, a Python number or None.

    A tensor of its own, so that what is assigned to the user's later changes nothing here."""
    if isinstance(value, Tensor):
        return Tensor(value._value, None, value._info)
    if type(value) in NUMBERS or value is None:
        return value
    array = operand(value)
    check_dtype(array.dtype)
    return Tensor(own(array))


def watched(op: Op, operands: Any, result: Any, state: State) -> Any:
    """Under ``detect_anomaly``: note the user's line on the node, and stop if the output is the first to go wrong."""
    outputs = result if isinstance(result, tuple) else (result,)
    where = user_line()
    bad = not finite(*(t._value for t in outputs)) and finite(*operands)
    scope = Scope(state.scope, where, kind="line", bad=bad)
    for t in outputs:
        if isinstance(t._node, Node):
            t._node.scope = scope
            if t._node.plan is PICKED:
                t._node.parents[0].scope = scope
    if not bad:
        return result
    raise _anomaly(op, operands, outputs, state.scope, where)  # no name holds it here: a frame in a cycle stays


def _anomaly(op: Op, operands: Any, outputs: tuple[Tensor, ...], scope: Any, where: str) -> AnomalyError:
    values = [t._value for t in outputs]
    error = AnomalyError(report_forward(op.name, operands, values, scope, where, unrolls=op.unrolls and op.builtin))
    error.output = outputs[0]
    return error

"""Recording: ``primitive`` turns a function on arrays into an op that puts itself on the tape.

Forward functions see arrays only. Derivative rules are written in operators and other ops, so the same rule gives
arrays for arrays and a recorded graph for tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.arrays import NUMBERS, operand, own
from tinygrad7.backend import Array, xp
from tinygrad7.context import STATE, Scope, State, check_dtype
from tinygrad7.messages import AnomalyError, explain, finite, report_forward, user_line
from tinygrad7.names import ARGUMENTS
from tinygrad7.node import BIRTH, Node
from tinygrad7.op import BOTH, LEFT, ONE, PICKED, REGISTRY, RIGHT, Op, no_rule, saved_by
from tinygrad7.tensor import NUMPY, Tensor, value_of
from tinygrad7.userop import checked_forward, checked_joint, checked_rule

# ---- primitive ---------------------------------------------------------------------------------------------------


def primitive(
    label: str | None = None,
    *,
    method: str | bool = True,
    domain: Any = None,
    static: tuple[str, ...] = (),
    reference: Callable[..., Any] | None = None,
    outputs: int | None = None,
    unrolls: bool = False,
    ufunc: bool = True,
) -> Callable[[Callable[..., Any]], Any]:
    """Register a function on arrays as an op: it is recorded, drawn, listed and tested from this one declaration.

    ``label``: its name in drawings. ``method``: the name under which it is a method of ``Tensor`` (True: its own
    name, where tensors have nothing of that name; False: none). ``domain``: a function of a ``pick`` (see
    ``tinygrad7.domains``) that gives example arguments, for the property tests; or a list of intervals, one for each
    argument. ``static``: arguments that never have a gradient. ``ufunc``: whether NumPy's ufunc of the same name does
    for NumPy arrays what the forward function of this package's elementwise op does, as quickly; then it is called
    without the function around it.

    Rules follow under it, one for each argument that can have a gradient::

        @tg.primitive("cube", domain=[(-2, 2)])
        def cube(x):
            \"\"\"Third power.   y = x³      x̄ = 3 ȳ x²\"\"\"
            return x * x * x
        cube.vjp(x=lambda g, x: 3 * g * x * x)

    A rule takes the cotangent ``g`` and then, by name, what is to be saved for it: an argument, ``y`` (the output,
    unless an argument is called so), ``x_shape`` (the shape of an argument x); where the arguments are ``*xs`` also
    ``index`` (which of them). A joint rule may name ``residuals`` and ``needs`` (which arguments need a gradient) too.

    With ``reference`` (the same computation in small ops) the function is a fused one: it returns ``(outputs,
    residuals)``, has one joint rule, ``f.joint_vjp(rule)``, which gives a gradient for each tensor argument (None
    where ``needs`` says that none is wanted), and is differentiated again by replaying the reference. ``outputs`` is
    the number of its outputs if there are several (0: as many as the forward function returns); ``unrolls`` says that
    the reference runs over time steps.
    """

    if callable(label):  # @primitive without parentheses
        return primitive()(label)

    def register(forward: Callable[..., Any]) -> Any:
        op = Op(forward, label or forward.__name__.strip("_"), domain, reference, outputs)
        if not op.builtin:
            op.forward = checked_forward(op)
        unknown = [static] if isinstance(static, str) else sorted(set(static) - set(op.names))
        if unknown:
            raise TypeError(f"primitive: static={static!r} must be a tuple of arguments of {op.name}{op.signature}")
        op.static = frozenset(static)
        op.unrolls = unrolls or (
            reference is not None and not op.builtin
        )  # a user's may: gradients_by_step looks inside
        known = REGISTRY.get(op.name)
        if known is not None and known.builtin and known.module != op.module:
            raise ValueError(f"primitive: {op.name!r} is already an op of tinygrad7; choose another name")
        plain = reference is None and outputs is None and not static and op.positional == op.names and not op.defaults
        recorder = {1: _unary, 2: _binary}.get(len(op.names), _general) if plain else _general
        op.lean = recorder is not _general
        op.tensors = list(range(len(op.names))) if op.lean else []
        op.elementwise = op.lean and op.builtin and getattr(domain, "elementwise", False)
        namesake = getattr(np, op.name, None)
        op.ufunc = namesake if ufunc and op.elementwise and isinstance(namesake, np.ufunc) else None
        public: Any = functools.wraps(forward)(recorder(op))
        op.call = public
        public.op = op
        public.vjp = functools.partial(_vjp, public)
        public.joint_vjp = functools.partial(_joint_vjp, op)
        public.kernel = functools.partial(_kernel, op)
        REGISTRY[op.name] = op
        return _publish(public, forward.__name__, method)

    return register


def function(*, method: str | bool = True) -> Callable[[Any], Any]:
    """Publish a function composed of ops as a method of ``Tensor`` and under NumPy's name, as ``primitive`` does."""
    return lambda f: _publish(f, f.__name__, method)


def _publish(public: Any, name: str, method: str | bool) -> Any:
    ours = public.__module__.startswith("tinygrad7.")
    wanted = method if isinstance(method, str) else name if method and not name.startswith("_") else ""
    if wanted and (ours or _free(wanted, insist=isinstance(method, str))):
        setattr(Tensor, wanted, public)
    namesake = getattr(np, name, None)
    if ours and callable(namesake):
        NUMPY[namesake] = public
    return public


def _free(name: str, *, insist: bool) -> bool:
    """Whether a user's op may become the method ``name``: what tensors have stays theirs."""
    there = getattr(Tensor, name, None)
    if there is None or not getattr(getattr(there, "op", None), "builtin", True):
        return True
    if insist:
        raise ValueError(f"primitive: tensors have a method {name!r} already; choose another name, or method=False")
    return False


def _vjp(
    public: Any, *unnamed: Any, into: dict[str, Callable[..., None]] | None = None, **rules: Callable[..., Any]
) -> Any:
    """Give the derivative rule of each argument: ``multiply.vjp(a=lambda g, b: g * b, b=lambda g, a: g * a)``.

    ``into`` may add, for an argument, a function ``(buffer, g, ...)`` that adds the contribution in place.
    """
    op: Op = public.op
    if unnamed:
        raise TypeError(
            f"{op.name}.vjp: name the argument that a rule is for, {op.name}.vjp({op.names[0]}=lambda g: ...)"
        )
    unknown = sorted(set(rules) - set(op.names))
    if unknown:
        raise TypeError(f"{op.name}.vjp: {unknown} are not arguments of {op.name}{op.signature}")
    if not op.builtin:
        rules = {name: checked_rule(op, name, rule) for name, rule in rules.items()}
    op.takes.update({name: saved_by(op, rule, name) for name, rule in rules.items()})
    op.rules.update(rules)
    op.into.update(into or {})
    if not op.lean:
        op.tensors = [i for i, name in enumerate(op.names) if name in op.rules]
    op.forget_plans()
    if op.rules and not op.variadic:  # a rule that names something unknown is refused here, not in the first backward
        op.plan(tuple([op.names[i] in op.rules for i in op.tensors]))
    return public


def _joint_vjp(op: Op, rule: Callable[..., Any]) -> Callable[..., Any]:
    if op.variadic:
        raise TypeError(f"{op.name}.joint_vjp: a fused op names each of its arguments, without *{op.variadic}")
    op.tensors = [i for i, name in enumerate(op.names) if name in op.positional and name not in op.static]
    op.takes[""] = saved_by(op, rule)
    op.joint = rule if op.builtin else checked_joint(op, rule)
    op.forget_plans()
    op.plan((True,) * len(op.tensors))  # a rule that names something unknown is refused here
    return rule


def _kernel(op: Op, module: str, f: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``f`` in place of the forward function of a fused op for arrays of ``module`` ('numpy', 'cupy')."""
    if op.reference is None:
        raise TypeError(f"{op.name}.kernel: only fused ops (with reference=) have kernels of their own")
    if not op.kernels:  # from now on the arrays decide, at every call
        plain = op.forward
        op.forward = lambda *args, **kwargs: op.kernels.get(xp(args[0]).__name__, plain)(*args, **kwargs)
    op.kernels[module] = f
    return f


# ---- the three recorders: one argument, two arguments, anything --------------------------------------------------

# The first two fill the slots of Node and Tensor themselves: a constructor costs as much again as what it fills.
_new: Any = object.__new__
_ndarray = np.ndarray


def _unary(op: Op) -> Any:
    forward, ufunc, elementwise = op.forward, op.ufunc or op.forward, op.elementwise

    def call(x):  # type: ignore[no-untyped-def]
        if not isinstance(x, Tensor):
            return forward(operand(x))
        a = x._data
        try:
            y = (ufunc if type(a) is _ndarray else forward)(a)
        except Exception as error:
            raise explain(op.name, (x,), error) from error
        state, parent = STATE.get(), x._node
        result = _new(Tensor)
        result._data, result._node, result._info = y, None, None
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


def _binary(op: Op) -> Any:
    forward, ufunc, elementwise = op.forward, op.ufunc or op.forward, op.elementwise

    def call(a, b):  # type: ignore[no-untyped-def]
        state = STATE.get()
        try:
            if isinstance(a, Tensor):
                u, up = a._data, a._node
            else:
                u, up = (a if type(a) in NUMBERS else operand(a)), None
            if isinstance(b, Tensor):
                v, vp = b._data, b._node
            else:
                v, vp = (b if type(b) in NUMBERS else operand(b)), None
                if not isinstance(a, Tensor):
                    return forward(u, v)
            y = (ufunc if type(u) is _ndarray else forward)(u, v)
        except Exception as error:
            raise explain(op.name, (a, b), error) from error
        result = _new(Tensor)
        result._data, result._node, result._info = y, None, None
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


def _general(op: Op) -> Any:
    def call(*args, **kwargs):  # type: ignore[no-untyped-def]
        given = _complete(op, args, kwargs)
        count = len(args) if op.variadic else 0
        tensors = range(count) if op.variadic else op.tensors
        raw: list[Any] = list(given)
        wrap = recorded = False
        for i, value in enumerate(given):
            if isinstance(value, Tensor):
                raw[i], wrap = value._data, True
                if value._node is not None:
                    if i not in tensors:
                        raise TypeError(no_rule(op, op.keywords[i - count] if op.variadic else op.names[i]))
                    recorded = True
            elif value is not None and i in tensors:
                raw[i] = operand(value)
        result = _run(op, raw, count, given)
        residuals = None
        if op.reference is not None:
            result, residuals = result
        if not wrap:
            return result
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
        return Tensor(value._data, None, value._info)
    if type(value) in NUMBERS or value is None:
        return value
    array = operand(value)
    check_dtype(array.dtype)
    return Tensor(own(array))


def watched(op: Op, operands: Any, result: Any, state: State) -> Any:
    """Under ``detect_anomaly``: note the user's line on the node, and stop if the output is the first to go wrong."""
    outputs = result if isinstance(result, tuple) else (result,)
    where = user_line()
    bad = not finite(*(t._data for t in outputs)) and finite(*operands)
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
    values = [t._data for t in outputs]
    error = AnomalyError(report_forward(op.name, operands, values, scope, where, unrolls=op.unrolls and op.builtin))
    error.output = outputs[0]
    return error

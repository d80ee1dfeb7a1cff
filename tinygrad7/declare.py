"""Declaring: ``primitive`` turns a function on arrays into an op that is recorded, drawn, listed and tested.

Forward functions see arrays only. Derivative rules are written in operators and other ops, so the same rule gives
arrays for arrays and a recorded graph for tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import xp
from tinygrad7.op import REGISTRY, Op, saved_by
from tinygrad7.tape import binary, general, unary
from tinygrad7.tensor import NUMPY, Tensor
from tinygrad7.userop import checked_forward, checked_joint, checked_rule


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
        recorder = {1: unary, 2: binary}.get(len(op.names), general) if plain else general
        op.lean = recorder is not general
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
    for name, rule in rules.items():
        saved_by(op, rule, name)  # a rule that takes its arguments otherwise is refused here
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
    saved_by(op, rule)
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

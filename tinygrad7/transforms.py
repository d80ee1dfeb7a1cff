"""Functions into functions: gradients, Jacobians and Hessians of ``f``, and their products with vectors.

Every transform takes arrays, numbers, tensors and nested lists, tuples and dicts of them; ``f`` receives tensors. What
comes back is recorded while an enclosing transform traces, so they compose to any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad7.arrays import as_array
from tinygrad7.backend import is_array, xp
from tinygrad7.context import STATE, Setting
from tinygrad7.grad import alias, gradients
from tinygrad7.ops.shape import stack
from tinygrad7.tensor import Tensor, tensor
from tinygrad7.tree import leaves, matched, rebuild, tree_map

Fun = Callable[..., Any]


class _Tracing(Setting):
    """Inside, ops are recorded and a further transform knows that its result must be."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(recording=True, depth=STATE.get().depth + 1)


def _recorded(*trees: Any) -> bool:
    """Whether somebody outside wants to differentiate through this transform's result."""
    state = STATE.get()
    live = any(isinstance(t, Tensor) and t.requires_grad for t in leaves(trees))
    return state.recording and (state.depth > 0 or live)


def _variable(value: Any) -> Tensor:
    """A new variable with this value, through which gradients reach the tensor it was made from."""
    if isinstance(value, Tensor) and value.requires_grad:
        return alias(value)
    if not isinstance(value, Tensor):
        value = tensor(float(value) if type(value) is int else value)
    if value.dtype.kind != "f":
        raise TypeError(f"cannot differentiate with respect to a {value.dtype} value: give it a floating dtype")
    return tensor(value, requires_grad=True, name=value.name)


def _constants(args: tuple[Any, ...]) -> list[Any]:
    """The arguments as f sees those that are not differentiated: floating arrays as constant tensors."""
    return [tree_map(lambda v: tensor(v) if is_array(v) and v.dtype.kind == "f" else v, arg) for arg in args]


def _variables(tree: Any) -> Any:
    return tree_map(_variable, tree)


def _called(f: Fun, inner: Any, kwargs: Any = None) -> Any:
    """f of the arguments ``inner``, in lists and dicts of its own: what it puts into them or takes out stays there."""
    return f(*tree_map(lambda value: value, inner), **(kwargs or {}))


def _outputs(y: Any, what: str) -> list[Tensor]:
    found = leaves(y)
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(
                f"{what}: the function returned a {type(t).__name__}, not a tensor; did it use .numpy(), .item() or "
                "plain NumPy on its argument?"
            )
    return found


def _scalar(y: Any, what: str, instead: str = "") -> Tensor:
    """The one number that f must give."""
    found = _outputs(y, what.partition(":")[0]) if not isinstance(y, list | tuple | dict) else []
    if len(found) != 1 or found[0].size != 1:
        shape = f"shape {found[0].shape}" if found else f"a {type(y).__name__}"
        raise ValueError(f"{what} must return one scalar tensor, it returned {shape}{instead}")
    return found[0]


def _result(tree: Any, keep: bool) -> Any:
    """The tensors of a result, as constants unless they are to stay recorded."""
    return tree if keep else tree_map(lambda t: Tensor(t._value) if isinstance(t, Tensor) else t, tree)


def _chosen(args: tuple[Any, ...], argnums: int | tuple[int, ...], name: str) -> tuple[int, ...]:
    numbers = tuple(argnums) if isinstance(argnums, list | tuple) else (argnums,)
    for n in numbers:
        if not isinstance(n, int):
            raise TypeError(f"{name}: argnums is the number of an argument, or several, not {argnums!r}")
        if not -len(args) <= n < len(args):
            raise ValueError(f"{name}: argnums={argnums!r}, but the function was called with {len(args)} argument(s)")
    return tuple([n % len(args) for n in numbers])


def _function(f: Any, name: str) -> None:
    if not callable(f):
        raise TypeError(
            f"{name}: it takes a function, not a {type(f).__name__}; of a recorded loss use tg.gradients(loss, [x])"
        )


def value_and_grad(f: Fun, argnums: int | tuple[int, ...] = 0) -> Fun:
    """The function that gives ``(f(x), ∂f/∂x)`` for a scalar f; the gradient is nested like the argument.

    ``argnums``: with respect to which argument, or which ones (then a tuple). An input that f does not depend on
    has gradient zero. Raises ``ValueError`` if f is not scalar, ``TypeError`` if it does not return a tensor."""
    _function(f, "grad")

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        keep = _recorded(args, kwargs)
        chosen = _chosen(args, argnums, "grad")
        with _Tracing():
            inner = _constants(args)
            for n in chosen:
                inner[n] = _variables(args[n])
            y = _called(f, inner, kwargs)
            out = _scalar(y, "grad: the function", "; use vjp or jacobian")
            trees = tuple([inner[n] for n in chosen])
            found = gradients([out], leaves(trees), create_graph=keep, unreached="zero")
        grads = rebuild(trees, iter(found))
        return _result(y, keep), _result(grads[0] if isinstance(argnums, int) else grads, keep)

    return wrapped


def grad(f: Fun, argnums: int | tuple[int, ...] = 0) -> Fun:
    """The gradient function of a scalar f: ``grad(f)(x)`` is ∂f/∂x, nested like x. See ``value_and_grad``."""
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return wrapped


def vjp(f: Fun, *xs: Any) -> tuple[Any, Fun]:
    """``y, pull = vjp(f, *xs)``: y = f(*xs) and the function that pulls a cotangent ȳ back, x̄ = Jᵀ ȳ, one entry per x.

    ``pull`` may be called as often as one likes. Raises ``ValueError`` for a ȳ whose shape is not y's."""
    keep = _recorded(xs)
    with _Tracing():
        inner = tuple([_variables(x) for x in xs])
        y = _called(f, inner)
        outputs = _outputs(y, "vjp")

    def pull(cotangent: Any) -> tuple[Any, ...]:
        seeds = _like(cotangent, y, "vjp: the cotangent")
        again = keep or _recorded(cotangent)
        found = gradients(outputs, leaves(inner), seeds, create_graph=again, unreached="zero")
        return tuple(_result(rebuild(inner, iter(found)), again))

    return _result(y, keep), pull


def _like(values: Any, tree: Any, what: str) -> list[Any]:
    """The leaves of ``values`` as tensors, each with the dtype and device of its place in ``tree``, shapes checked."""
    result = []
    for value, model in zip(matched(tree, values, what), leaves(tree), strict=True):
        if not isinstance(value, Tensor):
            value = Tensor(as_array(value, device=model.device).astype(model.dtype))
        if value.shape != model.shape:
            raise ValueError(f"{what} has shape {value.shape}, the value {model.shape}; they must be equal")
        result.append(value)
    return result


def jvp(f: Fun, xs: Any, vs: Any) -> tuple[Any, Any]:
    """``y, ẏ = jvp(f, xs, vs)``: f at the tuple of arguments ``xs`` and its derivative along ``vs``, ẏ = J v."""
    xs, vs = (tuple(a) if isinstance(a, list | tuple) else (a,) for a in (xs, vs))
    keep = _recorded(xs, vs)
    with _Tracing():
        inner = tuple([_variables(x) for x in xs])
        directions = _like(vs, inner, "jvp: the direction")
        y = _called(f, inner)
        outputs = _outputs(y, "jvp")
        found = _push(outputs, leaves(inner), directions, keep)
    return _result(y, keep), _result(rebuild(y, iter(found)), keep)


def _push(outputs: list[Tensor], variables: list[Tensor], directions: list[Tensor], keep: bool) -> list[Any]:
    """J v by two pullbacks: ȳ ↦ Jᵀ ȳ is linear, so the pullback of *it* maps v to J v, whatever ȳ was."""
    bars = [tensor(xp(t._value).zeros(t.shape, t.dtype), requires_grad=True, device=t.device) for t in outputs]
    pulled = gradients(outputs, variables, bars, create_graph=True, unreached="zero")
    return gradients(pulled, bars, directions, create_graph=keep, unreached="zero")


def jacobian(f: Fun, argnums: int = 0) -> Fun:
    """The function that gives the matrix of all derivatives: for y of shape S and x of shape R, shape S + R.

    Nested like y, and inside it like x. One backward for each element of y."""
    _function(f, "jacobian")
    if not isinstance(argnums, int):
        raise TypeError(f"jacobian: argnums is the number of one argument, not {argnums!r}; f((a, b)) takes several")

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (n,) = _chosen(args, argnums, "jacobian")
        keep = _recorded(args, kwargs)
        with _Tracing():
            inner = _constants(args)
            inner[n] = _variables(args[n])
            y = _called(f, inner, kwargs)
            variables = leaves(inner[n])
            blocks = [_rows(out, variables, keep) for out in _outputs(y, "jacobian")]
        return _result(rebuild(y, iter([rebuild(inner[n], iter(block)) for block in blocks])), keep)

    return wrapped


def _rows(out: Tensor, variables: list[Tensor], keep: bool) -> list[Any]:
    """For each variable, the derivatives of every element of ``out`` stacked."""
    m = xp(out._value)
    rows: list[list[Tensor]] = [[] for _ in variables]
    for i in range(out.size):
        seed = m.zeros(out.size, out.dtype)
        seed[i] = 1
        found = gradients([out], variables, [Tensor(seed.reshape(out.shape))], create_graph=keep, unreached="zero")
        for row, value in zip(rows, found, strict=True):
            row.append(value)
    return [
        stack(row).reshape(out.shape + v.shape) if row else Tensor(m.zeros(out.shape + v.shape, v.dtype))
        for row, v in zip(rows, variables, strict=True)
    ]


def hessian(f: Fun, argnums: int = 0) -> Fun:
    """The matrix of second derivatives of a scalar f: for x of shape R, shape R + R (nested twice for nested x)."""
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Fun, x: Any, v: Any) -> Any:
    """Hessian times vector for a scalar f, H v, without the matrix: the gradient of ⟨∇f, v⟩ (Pearlmutter, 1994).

    Raises ``ValueError`` if f is not scalar."""
    return _hvp("hvp: the function", f, x, v)


def _hvp(what: str, f: Fun, x: Any, v: Any) -> Any:
    keep = _recorded(x, v)
    with _Tracing():
        inner = _variables(x)
        variables = leaves(inner)
        directions = _like(v, inner, "hvp: the vector")
        out = _scalar(_called(f, (inner,)), what)
        first = gradients([out], variables, create_graph=True, unreached="zero")
        found = gradients(first, variables, directions, create_graph=keep, unreached="zero")
    return _result(rebuild(inner, iter(found)), keep)


def ggnvp(f: Fun, loss: Fun, x: Any, v: Any) -> Any:
    """Generalized Gauss-Newton product, Jᵀ H J v, with J the Jacobian of f at x and H the Hessian of ``loss`` at f(x).

    Positive semidefinite for a convex loss, unlike the Hessian of loss(f(x)) (Schraudolph, 2002; Martens, 2010)."""
    keep = _recorded(x, v)
    with _Tracing():
        inner = _variables(x)
        z = _called(f, (inner,))
        outputs = _outputs(z, "ggnvp")
        forward = _push(outputs, leaves(inner), _like(v, inner, "ggnvp: the vector"), keep)
        curved = _hvp("ggnvp: the loss", loss, z if keep else _result(z, False), rebuild(z, iter(forward)))
        found = gradients(outputs, leaves(inner), leaves(curved), create_graph=keep, unreached="zero")
    return _result(rebuild(inner, iter(found)), keep)

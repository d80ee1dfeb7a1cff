"""What errors say: the op, the shapes and dtypes it met, where in the user's code, and the change that mends it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import DeviceError, device_of, is_array, to_numpy, xp
from tinygrad7.context import Scope, path
from tinygrad7.node import Leaf, Node
from tinygrad7.tensor import value_of

_PACKAGE = os.path.dirname(__file__) + os.sep


class ShapeError(ValueError):
    """Operands whose shapes do not fit together."""


class AnomalyError(ArithmeticError):
    """Raised under ``detect_anomaly``. ``output`` is the tensor that went wrong (forward), ready to be drawn."""

    output: Any = None
    blamed = False  # does it say already whose derivative rule it was?


def describe(value: Any) -> str:
    """An operand in a message: ``(32, 64) float32``, ``3.0``."""
    data = value_of(value)
    if is_array(data):
        place = device_of(data)
        return f"{data.shape} {data.dtype}" + ("" if place == "cpu" else f" on {place}")
    return repr(data) if len(repr(data)) < 40 else type(data).__name__


def explain(name: str, args: tuple[Any, ...], error: Exception) -> Exception:
    """The error of a forward function, told with the op's ``name``, what it met, and what would mend it."""
    if getattr(error, "explained", False):
        return error
    arrays = [value_of(a) for a in args]
    found = ", ".join(describe(a) for a in args)
    places = sorted({device_of(a) for a in arrays if is_array(a) and a.ndim})
    if len(places) > 1:
        new: Exception = TypeError(
            f"{name}: operands live on {' and '.join(places)} ({found}): move one with t.to({places[0]!r})"
        )
    elif "different from the current device" in str(error):  # CuPy's words; it computes on the current one alone
        place = next((device_of(a) for a in arrays if device_of(a) != "cpu"), "cuda:0")
        new = DeviceError(f"{name}: {error} Move the data, or compute under with tg.device({place!r}) (met {found})")
    elif (isinstance(error, ValueError) and not isinstance(error, np.linalg.LinAlgError)) or (
        name == "matmul" and any(isinstance(a, int | float) for a in arrays)
    ):
        new = ShapeError(f"{name}: {_mend(name, args, error)} (met {found})")
    elif isinstance(error, IndexError):
        new = IndexError(f"{name}: {_in_our_words(name, args, error)} (met {found})")
    elif isinstance(error, OverflowError):
        new = OverflowError(f"{name}: {_in_our_words(name, args, error)} (met {found})")
    elif isinstance(error, TypeError | AttributeError):
        new = TypeError(f"{name}: {_in_our_words(name, args, error)} (met {found})")
    else:
        return error
    new.explained = True  # type: ignore[attr-defined]
    return new


def told(name: str, f: Callable[..., Any], *args: Any) -> Any:
    """``f(*args)`` of NumPy's, with its errors told as those of ``name``."""
    try:
        return f(*args)
    except Exception as error:
        raise explain(name, args, error) from error


def _mend(name: str, args: tuple[Any, ...], error: Exception) -> str:
    said = _in_our_words(name, args, error)
    arrays = [value_of(a) for a in args]
    shapes = [a.shape for a in arrays if is_array(a)]
    if said != str(error):
        return said
    if "broadcast" in said and len(shapes) == 2:
        return f"shapes {shapes[0]} and {shapes[1]} {_APART}"
    if name == "matmul" and (len(shapes) < len(arrays) or not all(shapes)):
        return "a matrix product needs at least one axis on both sides; multiply by a number with *"
    if name == "matmul" and len(shapes) == 2:
        a, b = shapes
        inner = b[-2] if len(b) > 1 else b[0]
        return (
            f"shapes {a} and {b} cannot be multiplied: the last axis of a ({a[-1]}) must equal the "
            f"{'second to last' if len(b) > 1 else 'only'} axis of b ({inner}); transpose one with .T?"
        )
    lists = re.search(r"could not be broadcast together with shapes (.*\S)", said)  # of which some were lists
    return f"shapes {lists[1]} {_APART}" if lists else said


_APART = (
    "do not broadcast: compared from the right, sizes must be equal or 1; insert an axis with x[:, None], or transpose "
    "one of them"
)
OUT_OF_BOUNDS = "axis {0} is out of bounds: shape {shape} has {1} axes, counted from 0, or from the end with -1"

_NOT_WHOLE = (
    "object cannot be interpreted as an integer|expected a sequence of integers|only integer scalar arrays|"
    "an integer is required|integer argument expected"
)

# What NumPy says (a pattern), and what is said in its place, by which ops ("": by all). {0}, {1}: what the pattern
# found; {shape}: that of the first array; {args[1]}: the second argument.
_IN_OUR_WORDS = (
    ("", "nested lists are ragged|inhomogeneous shape",
     "the nested lists are ragged: those on one level must have one length"),
    ("stack", r"axis (-?\d+) is out of bounds for array of dimension (\d+)",
     "axis {0} is out of bounds: parts of shape {shape} give {1} axes, counted from 0, or from the end with -1"),
    ("", r"axis (-?\d+) is out of bounds for array of dimension (\d+)", OUT_OF_BOUNDS),
    ("", "duplicate value in 'axis'", "an axis comes twice in {args[1]}"),
    ("reshape", r"cannot reshape array of size (\d+)",
     "cannot reshape array of size {0} into shape {args[1]}: the sizes must multiply to {0}; -1 is whatever is left"),
    ("reshape", "can only specify one unknown dimension", "only one size can be -1, but in {args[1]} there are more"),
    ("broadcast_to", "broadcast together|more dimensions than allowed",
     "shape {shape} cannot be stretched to {args[1]}: compared from the right, sizes must be equal or 1; "
     "insert an axis with x[:, None]"),
    ("broadcast_to", "must be non-negative", "a size cannot be negative, as in {args[1]}"),
    ("concatenate", r"along dimension (\d+), the array at index (\d+) has size (\d+) and the array at index (\d+) has "
     r"size (\d+)", "along axis {0}, part {1} has size {2} and part {3} has {4}; sizes may differ only along the axis "
     "of joining"),
    ("concatenate", r"the array at index (\d+) has (\d+) dimension\(s\) and the array at index (\d+) has (\d+)",
     "part {0} has {1} axes and part {2} has {3}; give each the same number, with x[None], or use tg.stack"),
    ("concatenate", "zero-dimensional arrays", "numbers have no axis to be joined along; use tg.stack"),
    ("stack", "must have the same shape", "all parts must have one shape; tg.concatenate joins along an axis"),
    ("getitem", r"index (-?\d+) is out of bounds for axis (\d+) with size (\d+)",
     "index {0} is out of bounds: axis {1} of shape {shape} has {2} places, counted from 0, or from the end with -1"),
    ("getitem", r"too many indices for array: array is \d+-dimensional, but (\d+) were indexed",
     "too many indices: {0} for shape {shape}, which takes one an axis; None in an index makes a new axis"),
    ("getitem", r"along axis (\d+); size of axis is (\d+) but size of corresponding boolean axis is (\d+)",
     "a mask must be as long as what it chooses from: along axis {0} of shape {shape} that is {1}, and it has {2}"),
    ("getitem", r"indexing arrays could not be broadcast together with shapes (.*?) *$",
     "index arrays of shapes {0} do not broadcast: they are read side by side, one element of each for one place"),
    ("getitem", "only integers, slices",
     "an index is made of integers, slices, None, ... and integer or boolean arrays, not of {args[1]}"),
    ("getitem", "slice indices must be integers|only integer scalar arrays",
     "the ends and the step of a slice are whole numbers or None"),
    ("getitem", "slice step cannot be zero", "the step of a slice cannot be 0"),
    ("getitem", "a single ellipsis", "an index may have one '...', which stands for all axes that are not named"),
    ("getitem", "not subscriptable", "a number has no axis to index; x.reshape(1) has one"),
    ("einsum", "included output subscript '(.)' which never", "the output names '{0}', which stands in no operand"),
    ("einsum", "includes output subscript '(.)' multiple", "the output names '{0}' twice; a letter is one axis of it"),
    ("einsum", "invalid subscript '(.)'", "'{0}' is no subscript: they are letters, with ',', '...' and '->' between"),
    ("argmax", "empty sequence", "nothing has no largest element: axis {args[1]} of shape {shape} is empty"),
    ("argmin", "empty sequence", "nothing has no smallest element: axis {args[1]} of shape {shape} is empty"),
    ("stack concatenate", "not iterable|cannot be iterated", "give what is to be joined as a list, [a, b]"),
    ("broadcast_to", "not supported between|non-scalar to a scalar", "a shape is a whole number or a tuple of them"),
    ("roll", "not iterable", "sizes, axes and shifts are whole numbers, or tuples of them"),
    ("roll", "shape mismatch", "give one shift for each axis, or one for all"),
    ("zeros ones full", "Use .. not None", "a shape is a whole number or a tuple of them; () is that of one number"),
    ("zeros ones full eye normal uniform", "maximum allowed dimension|array is too big",
     "so many elements fit into no memory"),
    ("zeros ones full", "negative dimensions", "a size cannot be negative, as in {args[0]}"),
    ("eye normal uniform", "negative dimensions", "a size cannot be negative"),
    ("full", "could not broadcast", "the value must be one number, or fit into shape {args[0]}"),
    ("arange", "maximum allowed size|cannot compute length",
     "from {args[0]} to {args[1]} by {args[2]} is further than memory reaches"),
    ("normal", "scale < 0", "std must be 0 or more, not {args[1]}"),
    ("normal", "not convert|real number|shape mismatch", "mean and std are numbers, or arrays that fit the shape"),
    ("uniform", "not convert|real number|shape mismatch", "low and high are numbers, or arrays that fit the shape"),
    ("uniform", "exceeds valid bounds", "low and high must be finite, not {args[0]} and {args[1]}"),
    ("uniform", "high - low < 0", "low must not be above high, but {args[0]} is above {args[1]}"),
    ("cumsum argmax argmin", _NOT_WHOLE, "axis is one whole number, or None for all elements in a row"),
    ("sum mean var std max min prod logsumexp norm", _NOT_WHOLE,
     "an axis is a whole number or a tuple of them, keepdims True or False"),
    ("", _NOT_WHOLE, "sizes, axes and shifts are whole numbers, or tuples of them"),
    ("isclose allclose", "unsupported operand|promoted|not supported", "operands are numbers and arrays of numbers"),
    ("", "did not contain a loop with signature matching types", "operands are numbers and arrays of numbers"),
)  # fmt: skip


def _in_our_words(name: str, args: tuple[Any, ...], error: Exception) -> str:
    """NumPy's message as the op ``name`` says it: with the shape that it met, and what would mend it."""
    for ops, pattern, ours in _IN_OUR_WORDS:
        found = re.search(pattern, str(error), re.IGNORECASE) if not ops or name in ops.split() else None
        if found:
            shape = next((value_of(a).shape for a in args if is_array(value_of(a))), ())
            return ours.format(*found.groups(), shape=shape, args=[describe(a) for a in args])
    return str(error)


def in_scope(scope: Scope | None) -> str:
    """Where an op was recorded, as the end of a phrase: `` in rnn/t=4``, or nothing."""
    names = path(scope)
    return f" in {'/'.join(names)}" if names else ""


def user_line() -> str:
    """The nearest line of the call stack that is not this package's: ``train.py:12``."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "?"


def statistics(a: Any) -> str:
    """An operand in an anomaly report: ``(3,) float32, min -1 max 4 mean 0.5, 1 nan, 0 inf``."""
    if not is_array(a) or a.dtype.kind != "f" or not a.size:
        return describe(a)
    values = to_numpy(a)
    nan, inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    finite = values[np.isfinite(values)].astype(np.float64)
    spread = (
        f"min {finite.min():.4g} max {finite.max():.4g} mean {finite.mean():.4g}" if finite.size else "nothing finite"
    )
    return f"{describe(a)}, {spread}, {nan} nan, {inf} inf"


def finite(*values: Any) -> bool:
    """Whether every floating array among ``values`` (also inside tuples) is finite."""
    for value in values:
        if isinstance(value, tuple | list):
            if not finite(*value):
                return False
        elif is_array(value) and value.dtype.kind == "f" and not bool(xp(value).isfinite(value).all()):
            return False
        elif isinstance(value, float) and not np.isfinite(value):
            return False
    return True


def report_forward(
    name: str, operands: Any, outputs: list[Any], scope: Scope | None, where: str, *, unrolls: bool = False
) -> str:
    """The first value that is not finite came out of a forward function (which ``unrolls``: at which time step)."""
    if unrolls:
        scope = Scope(scope, "t", _first_bad(outputs[0]), kind="step")
    lines = [f"{name} gave the first value that is not finite, forward{in_scope(scope)}, at {where}"]
    lines += [f"  operand {i}: {statistics(a)}" for i, a in enumerate(operands)]
    lines += [f"  result:    {statistics(a)}" for a in outputs]
    return "\n".join(lines)


def _first_bad(y: Any) -> int:
    """The time step of outputs (T, ...) at which they first were not finite; run backwards in time, the last one."""
    values = to_numpy(y)
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    return int(bad[0] if not len(bad) or bad[-1] == len(values) - 1 else bad[-1])


def report_backward(node: Node, bar: Any, contribution: Any) -> None:
    """Raise: the first value that is not finite came out of a derivative rule. The node is marked for drawings."""
    saved = [a for a in node.plan.values(node.saved) if is_array(a)]
    lines = [
        _blamed(node),
        *[f"  cotangent: {statistics(b)}" for b in (bar if isinstance(bar, tuple) else (bar,))],
        *[f"  saved {i}:   {statistics(a)}" for i, a in enumerate(saved)],
        f"  gradient:  {statistics(contribution)}",
    ]
    raise AnomalyError("\n".join(lines))


def report_recorded(node: Node, error: AnomalyError) -> None:
    """Raise: under ``create_graph`` an op within a derivative rule gave the first value that is not finite."""
    if not getattr(error, "blamed", False):
        new = AnomalyError(f"{_blamed(node)}\n  in it, {error}")
        new.output, new.blamed = error.output, True
        raise new from None
    raise error


def _blamed(node: Node) -> str:
    """Whose rule it was, and where that op was recorded; the node is marked."""
    scope = node.scope
    where = scope.name if scope is not None and scope.kind == "line" else "unknown (record under detect_anomaly too)"
    parent = scope.parent if scope is not None and scope.kind == "line" else scope
    node.scope = Scope(parent, where, kind="line", bad=True)
    return (
        f"the rule of {node.plan.op.name} gave the first gradient that is not finite, backward{in_scope(scope)}, "
        f"for the op recorded at {where}"
    )


def report_sum(node: Node, parent: Node | Leaf, old: Any, contribution: Any) -> None:
    """Raise: two contributions to one gradient are finite, their sum is not."""
    lines = [
        f"adding what {where_is(node)} contributes to the gradient of {where_is(parent)} gave the first value that is "
        "not finite, backward",
        f"  before:       {statistics(old)}",
        f"  contribution: {statistics(contribution)}",
    ]
    raise AnomalyError("\n".join(lines))


def where_is(node: Node | Leaf) -> str:
    """A node in words: ``tanh (32, 128) in rnn/t=4``, ``leaf 'w'``."""
    if isinstance(node, Leaf):
        return f"leaf {node.name!r}" if node.name else f"a leaf of shape {node.shape}"
    return f"{node.plan.op.name} {node.shape}{in_scope(node.scope)}"


def played_twice(node: Node, tape: list[Any]) -> str:
    """Backward met a node whose saved values an earlier backward has used and dropped."""
    users = [n for n in tape if node in n.parents]
    carried = f"The tensor that carried it in is the result of {where_is(node)}"
    if users:
        carried += f", used here by {where_is(users[-1])}"
    return (
        f"backward has already been through {where_is(node)} and dropped what it saved. {carried}. If it is a state "
        "carried over from earlier steps, cut it there: state = tg.truncate(state). If one graph is really to be "
        "played twice, call the first backward with retain_graph=True"
    )


def report_stale(node: Node | None, leaf: Leaf) -> str:
    """Backward met a node that saved an array which has been written into since (None: a checkpointed segment)."""
    name = repr(leaf.name) if leaf.name else f"of shape {leaf.shape}"
    met = f"{where_is(node)}: it saved the value of" if node is not None else "a checkpoint: it computes again from"
    by = "an optimizer step" if "optimizer" in leaf.stamped_by else f"{leaf.stamped_by}()"
    return (
        f"backward through {met} leaf {name}, which {by} has changed since. The "
        "gradient would belong to neither value: call backward before changing the leaf, or compute the forward again"
        + (" (is a state carried over the step? cut it with tg.truncate)" if "optimizer" in by else "")
    )

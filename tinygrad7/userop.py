"""A user's own op: its functions are held to what they promise, where this package's own are tested to keep it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad7.arrays import NUMBERS, lent
from tinygrad7.backend import is_array
from tinygrad7.op import Op


def checked_forward(op: Op) -> Callable[..., Any]:
    """A user's forward function, held to giving arrays and to leaving its arguments as they are."""
    forward, fused, several = op.forward, op.reference is not None, op.outputs is not None

    @functools.wraps(forward)
    def checked(*args: Any, **kwargs: Any) -> Any:
        result = _lending(f"{op.name}: the forward function", forward, args, kwargs)
        if fused and not (isinstance(result, tuple) and len(result) == 2):
            raise _told(f"{op.name}: the forward function must return {wanted()}, it returned {_kind(result)}")
        found = result[0] if fused else result
        if not several and type(found) in NUMBERS and not any(map(is_array, args)):  # of numbers alone: a number
            return result
        if not (isinstance(found, tuple) and all(map(is_array, found)) if several else is_array(found)):
            raise _told(f"{op.name}: the forward function must return {wanted()}, it returned {_kind(found)}")
        if op.outputs and len(found) != op.outputs:
            raise _told(f"{op.name}: the forward function returned {len(found)} arrays, not outputs={op.outputs}")
        for y in found if several else (found,):
            if y.dtype.kind not in "fiub":
                raise _told(f"{op.name}: the forward function returned {y.dtype}; a tensor holds real numbers")
        return result

    def wanted() -> str:
        arrays = "a tuple of arrays" if several else "an array"
        return f"({arrays}, residuals)" if fused else arrays

    return checked


def checked_rule(op: Op, name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    """A user's rule, held to giving an array or, recorded, a tensor, and to leaving what it is given as it is."""
    what = f"{op.name}: the rule of {name!r}"

    @functools.wraps(rule)
    def checked(*args: Any) -> Any:
        return _cotangent(_lending(what, rule, args, {}), name, args, what)

    return checked


def checked_joint(op: Op, rule: Callable[..., Any]) -> Callable[..., Any]:
    """A user's joint rule, held to giving a cotangent for each tensor argument, and to leaving what it is given."""
    what, names = f"{op.name}: the joint rule", [op.names[i] for i in op.tensors]

    @functools.wraps(rule)
    def checked(*args: Any) -> Any:
        parts = _lending(what, rule, args, {})
        if not isinstance(parts, tuple | list) or len(parts) != len(names):
            found = f"{len(parts)} values" if isinstance(parts, tuple | list) else _kind(parts)
            wanted = f"({', '.join(names)}{',' * (len(names) == 1)})"
            raise TypeError(f"{what} must return a tuple of the cotangents of {wanted}, it returned {found}")
        return tuple(
            [p if p is None else _cotangent(p, name, args, what) for p, name in zip(parts, names, strict=True)]
        )

    return checked


def _cotangent(part: Any, name: str, args: tuple[Any, ...], what: str) -> Any:
    """What a user's rule returned, if it is the cotangent of an argument: an array for arrays, a tensor for tensors."""
    if hasattr(part, "_node") and not any(hasattr(a, "_node") for a in args):
        part = part._value  # of a rule that makes constants with tg.tensor
    if hasattr(part, "dtype") and part.dtype.kind in "fiub":
        return part
    raise TypeError(f"{what} must return the cotangent of {name!r}, an array, it returned {_kind(part)}")


def _kind(value: Any) -> str:
    return f"an array of {value.dtype}" if is_array(value) else f"a {type(value).__name__}"


def _lending(what: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A user's function called with arrays that it cannot write into: others hold them too."""
    try:
        return function(*lent(args), **kwargs)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise _told(f"{what} writes into an array that it was given: make a new one, x * 2 and not x *= 2") from error


def _told(message: str) -> TypeError:
    """An error that says all there is to say, and is not explained again."""
    error = TypeError(message)
    error.explained = True  # type: ignore[attr-defined]
    return error

"""What comes in: numbers, nested lists and arrays of others become arrays of one of the backends."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import Array, is_array, to_device
from tinygrad7.context import STATE, check_dtype

NUMBERS = frozenset({int, float, bool})  # the Python numbers that ops take as they are
HELD = "?bBhHiIlLqQefd"  # the dtypes of tensors, by NumPy's letters
_PLAIN = frozenset(map(np.dtype, HELD + "g"))  # the dtypes that ops take: those of tensors, and longdouble


def as_array(value: Any, dtype: Any = None, device: str = "cpu") -> Array:
    """``value`` as an array: arrays keep their dtype, Python floats take the default one. May share memory."""
    if hasattr(value, "_node"):
        raise TypeError("expected an array, got a tensor")
    if not is_array(value):
        value = from_python(value, dtype)
    if value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
        check_dtype(value.dtype)
    if type(value) is not np.ndarray and isinstance(value, np.ndarray):
        value = _plain_array(value)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if dtype is not None and value.dtype != dtype:
        value = value.astype(dtype)
    return to_device(value, device)


def _plain_array(value: np.ndarray) -> np.ndarray:
    """A subclass's values without what it means by operators: ``np.matrix`` multiplies otherwise. May share memory."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        error = TypeError(
            "a masked array has elements without value: use array.filled(0) and the mask in tg.where(~array.mask, x, 0)"
        )
        error.explained = True  # type: ignore[attr-defined]
        raise error
    return np.asarray(value)


def from_python(value: Any, dtype: Any = None) -> np.ndarray:
    """Numbers and nested lists of them, floats in the default dtype unless one is given; may hold constant tensors."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError("the nested lists are ragged (their lengths differ)") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(_no_number(value, array))
    if dtype is None and array.dtype.kind == "f" and not hasattr(value, "__array__"):
        strong = [d for d in _dtypes(value) if d.kind == "f"]
        return array.astype(np.result_type(*strong) if strong else STATE.get().dtype)
    return array


def _dtypes(value: Any) -> set[np.dtype]:
    """The dtypes of the arrays, tensors and NumPy scalars in nested lists; Python numbers have none."""
    if isinstance(value, list | tuple):
        return set().union(*[_dtypes(v) for v in value if type(v) not in NUMBERS])
    return {np.dtype(value.dtype)} if hasattr(value, "dtype") else set()


def _no_number(value: Any, array: np.ndarray) -> str:
    """What is said of a value that is no number, nor nested lists of them."""
    odd = next((v for v in array.ravel().tolist() if np.asarray(v).dtype.kind not in "fiub"), value)
    shown = repr(odd) if len(repr(odd)) < 40 else f"a {type(odd).__name__}"
    hint = {
        type(None): " (a .grad that no backward has filled?)",
        int: " (an integer of more than 64 bits: write it as a float)",
        complex: " (a tensor is real: keep its .real and .imag apart)",
    }.get(type(odd), "")
    return f"{shown} is no number or array of numbers{hint}"


def operand(value: Any) -> Any:
    """A raw operand as the forward function takes it: numbers and arrays stay, lists become what ``tensor`` reads."""
    if type(value) in NUMBERS or (type(value) is np.ndarray and value.dtype in _PLAIN):
        return value
    if is_array(value) and not isinstance(value, np.ndarray) and value.dtype in _PLAIN:  # a NumPy scalar, a CuPy array
        return value
    return as_array(value, device=STATE.get().device)


def scalar(value: Any) -> Any:
    """A 0-d array or constant tensor as the Python number that it holds; anything else as it is."""
    held = getattr(value, "_value", value)
    return held.item() if is_array(held) and not held.ndim and getattr(value, "_node", None) is None else value


def floating(x: Array) -> Array:
    """``x``, integers and booleans as float64: −x of an unsigned integer wraps round, eˣ of a small one is float16."""
    return x if not hasattr(x, "dtype") or x.dtype.kind == "f" else x.astype(np.float64)


def own(value: Any) -> Any:
    """``value``, copied if it is an array (or a sequence that holds arrays): later writes to it change nothing here."""
    if isinstance(value, tuple | list):
        copies = [own(v) for v in value]
        return copies if isinstance(value, list) else tuple(copies)
    return value.copy() if hasattr(value, "flags") and value.ndim else value


def lent(value: Any) -> Any:
    """``value`` for a user's function: a NumPy array, also in a tuple, as a view that cannot be written into."""
    if isinstance(value, tuple):
        return tuple([lent(v) for v in value])
    if type(value) is not np.ndarray:
        return value
    view = value.view()
    view.flags.writeable = False
    return view

"""Small tools that many tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import is_array, to_device, to_numpy
from tinygrad7.context import STATE
from tinygrad7.tensor import Tensor, tensor

NUMPY_2_1 = hasattr(np, "unstack")  # what 2.0 has not: functions, clip's min=, reshape's shape=, the norm ∞ of nothing


def leaf(value: Any = (1.0, 2.0, 3.0), name: str | None = None, dtype: Any = np.float64, **kwargs: Any) -> Tensor:
    """A leaf, in float64 unless said otherwise."""
    return tensor(np.asarray(value, dtype), requires_grad=True, name=name, **kwargs)


def host(value: Any) -> Any:
    """Tensors and device arrays (also inside lists, tuples and dicts) as NumPy arrays; anything else as it is."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: host(v) for key, v in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)([host(v) for v in value])
    return to_numpy(value) if is_array(value) else value


def placed(value: Any) -> Any:
    """NumPy arrays in an op's arguments, also inside tuples, as arrays of the default device."""
    if isinstance(value, tuple):
        return tuple([placed(v) for v in value])
    return to_device(value, STATE.get().device) if isinstance(value, np.ndarray) else value

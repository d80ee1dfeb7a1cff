"""Nested states as what a file can hold without pickle: a JSON text and named arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad7.backend import is_array, to_numpy

_PLAIN = (str, int, float, bool, type(None))


def pack(tree: Any) -> tuple[str, dict[str, np.ndarray]]:
    """The JSON skeleton of ``tree`` (dicts, lists, tuples, numbers, strings, None, arrays) and its arrays by path.

    Raises ``TypeError`` naming the path of anything else."""
    arrays: dict[str, np.ndarray] = {}

    def take(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {"dict": [[key, take(part, f"{path}/{key}")] for key, part in value.items()]}
        if isinstance(value, list | tuple):
            return {type(value).__name__: [take(part, f"{path}/{i}") for i, part in enumerate(value)]}
        if is_array(value):
            name = path.lstrip("/") or "value"
            while name in arrays:  # keys may hold a slash
                name += "'"
            host = to_numpy(value)
            if host.dtype.hasobject:
                raise TypeError(
                    f"checkpoint: {path.lstrip('/')} is an array of Python objects, for which pickle is needed"
                )
            native = host.astype(host.dtype.newbyteorder("="), copy=False)
            arrays[name] = np.ascontiguousarray(native).reshape(np.shape(value))
            return {"array": name}
        if type(value) in _PLAIN:
            return value
        raise TypeError(
            f"checkpoint: {path.lstrip('/')} is a {type(value).__name__}; a state holds dicts with text keys, lists, "
            "tuples, arrays, numbers, strings and None"
        )

    return json.dumps(take(tree, "")), arrays


def unpack(skeleton: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """The tree of which ``pack`` made ``skeleton`` and ``arrays``."""
    make: dict[str, Callable[[Any], Any]] = {
        "dict": lambda pairs: {key: build(part) for key, part in pairs},
        "list": lambda parts: [build(part) for part in parts],
        "tuple": lambda parts: tuple([build(part) for part in parts]),
        "array": lambda name: arrays[name],
    }

    def build(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        return make[kind](content)

    return build(json.loads(skeleton))

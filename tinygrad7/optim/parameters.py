"""What an optimizer is given: tensors, (name, tensor) pairs, or groups of them with options of their own; and state."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad7.node import Leaf
from tinygrad7.tensor import Tensor


def groups_of(params: Any) -> list[dict[str, Any]]:
    """``params`` as groups, each a dict of its own."""
    if isinstance(params, Tensor | str) or not isinstance(params, Iterable) or hasattr(params, "named_parameters"):
        raise TypeError(
            f"an optimizer takes a list of parameters, got a {type(params).__name__}; "
            "of a module pass module.parameters() or module.named_parameters()"
        )
    if isinstance(params, dict):
        params = [params] if "params" in params else params.items()
    items = list(params)
    if not any(isinstance(item, dict) for item in items):
        return [{"params": items}]
    for item in items:
        if not isinstance(item, dict) or "params" not in item:
            raise TypeError('parameter groups must all be dicts with a "params" entry, {"params": [...], "lr": 0.1}')
    return [{**item, "params": list(groups_of(item["params"])[0]["params"])} for item in items]


def named_parameters(groups: list[dict[str, Any]]) -> list[list[tuple[str, Tensor]]]:
    """Every parameter with its name, unique in the optimizer."""
    found: list[list[tuple[str | None, Tensor]]] = []
    seen: dict[int, str] = {}
    for group in groups:
        found.append([])
        for item in group["params"]:
            pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
            name, tensor = item if pair else (getattr(item, "name", None), item)
            words = f"parameter {name!r}" if name else f"parameter {len(seen)}"
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{words} is a {type(tensor).__name__}, not a tensor")
            if not isinstance(tensor._node, Leaf):
                kind = "a constant: make it with requires_grad=True" if tensor._node is None else "a recorded result"
                raise TypeError(f"{words} of shape {tensor.shape} is {kind}; optimizers change leaves only")
            if id(tensor) in seen:
                raise ValueError(
                    f"{words} is given twice (first as {seen[id(tensor)]}); it would be updated twice a step"
                )
            seen[id(tensor)] = words
            found[-1].append((name, tensor))
    if not seen:
        raise ValueError("no parameters: the list is empty (a generator that was used up before?)")
    names = [name for group in found for name, _ in group]
    unique = {name for name in names if name is not None and names.count(name) == 1}
    place = itertools.count()

    def full(name: str | None) -> str:
        number = next(place)
        return name if name in unique else f"{number}" if name is None else f"{number}.{name}"

    return [[(full(name), tensor) for name, tensor in group] for group in found]


def check_state(state: dict[str, Any], own: dict[str, Any]) -> None:
    """Raise ``KeyError`` or ``ValueError`` where the keys and shapes of ``state`` are not those of ``own``."""
    missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if missing or unknown:
        raise KeyError(
            f"optimizer state: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}; it must come from "
            "an optimizer of the same chain over parameters of the same names"
        )
    for key, value in own.items():
        found, wanted = np.shape(state[key]), np.shape(value)
        if found != wanted:
            raise ValueError(f"optimizer state {key!r} has shape {found}, expected {wanted}")

"""Nested lists, tuples and dicts of values: taking them apart and putting them together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """The values of ``tree`` in order (dicts in the order of their keys' insertion)."""
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    if isinstance(tree, list | tuple):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def rebuild(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the same form as ``tree`` whose leaves are the next ``values``."""
    if isinstance(tree, dict):
        return {key: rebuild(branch, values) for key, branch in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[rebuild(branch, values) for branch in tree])
    if isinstance(tree, list | tuple):
        return type(tree)([rebuild(branch, values) for branch in tree])
    return next(values)


def tree_map(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """``f`` of every leaf of ``tree`` (and the leaves of ``others`` beside it), nested like ``tree``."""
    columns = [leaves(tree), *(leaves(other) for other in others)]
    if any(len(column) != len(columns[0]) for column in columns):
        counts = " and ".join(str(len(column)) for column in columns)
        raise ValueError(f"trees of {counts} leaves do not match: nest both in the same way")
    return rebuild(tree, iter([f(*row) for row in zip(*columns, strict=True)]))

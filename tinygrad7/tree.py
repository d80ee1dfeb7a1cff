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


def tree_map(f: Callable[[Any], Any], tree: Any) -> Any:
    """``f`` of every leaf of ``tree``, nested like ``tree``."""
    return rebuild(tree, iter([f(leaf) for leaf in leaves(tree)]))


def matched(tree: Any, other: Any, what: str) -> list[Any]:
    """What ``other`` has in the places of the leaves of ``tree``, in their order; dicts are matched by key.

    ``what`` names ``other`` in the ``ValueError`` that is raised where it is nested otherwise."""
    if isinstance(tree, dict):
        if isinstance(other, dict) and other.keys() == tree.keys():
            return [leaf for key, branch in tree.items() for leaf in matched(branch, other[key], what)]
        wanted = f"a dict of the keys {list(tree)}"
    elif isinstance(tree, list | tuple):
        if isinstance(other, list | tuple) and len(other) == len(tree):
            return [leaf for branch, twin in zip(tree, other, strict=True) for leaf in matched(branch, twin, what)]
        wanted = f"a {type(tree).__name__} of {len(tree)} entries"
    else:
        return [other]
    found = f"a dict of the keys {list(other)}" if isinstance(other, dict) else f"a {type(other).__name__}"
    found += f" of {len(other)} entries" if isinstance(other, list | tuple) else ""
    raise ValueError(f"{what} must be nested like the value it belongs to: {wanted} is needed there, not {found}")

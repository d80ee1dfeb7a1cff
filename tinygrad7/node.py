"""What the tape is made of: one ``Node`` an op that was recorded, one ``Leaf`` a tensor that asked for a gradient.

Pointers go backwards only. A node knows the nodes it was computed from and the arrays its rules will need; it never
knows the tensor that it made. So there is no reference cycle, and a graph dies with the last tensor that holds it.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

from tinygrad7.backend import Array
from tinygrad7.context import STATE, Scope

BIRTH = itertools.count(1)  # one count for the process: sorting by birth is a topological order

# Leaves that were written into since they were made. Backward looks here only when it meets a node older than
# the newest write, so an ordinary training step never does.
WRITTEN: weakref.WeakSet[Leaf] = weakref.WeakSet()
_newest_write = [0]


class Node:
    """One recorded op.

    ``plan``: the op, which of its arguments need a gradient and what their rules save. ``parents``: the nodes of
    those arguments, in order; ``constants``: the other tensor arguments, in order (constant tensors, Python numbers).
    ``saved``: what the plan keeps, dropped (None) by backward. ``params``: the remaining arguments (``axis`` ...).
    ``shape`` and ``dtype`` are the output's; for an op of several outputs, tuples of theirs. Made by ``make``, or by a
    recorder that fills the slots itself, which is quicker (see ``docs/decisions.md``).
    """

    __slots__ = ("birth", "constants", "dtype", "params", "parents", "plan", "saved", "scope", "shape")
    birth: int
    plan: Any  # an op.Plan
    parents: tuple[Any, ...]
    constants: tuple[Any, ...]
    saved: Any
    params: tuple[Any, ...]
    scope: Scope | None
    shape: Any
    dtype: Any

    @classmethod
    def make(
        cls,
        plan: Any,
        parents: tuple[Any, ...],
        saved: Any,
        scope: Scope | None,
        shape: Any,
        dtype: Any,
        constants: tuple[Any, ...] = (),
        params: tuple[Any, ...] = (),
    ) -> Node:
        node = cls()
        node.birth = next(BIRTH)
        node.plan, node.parents, node.constants, node.params = plan, parents, constants, params
        node.saved, node.scope, node.shape, node.dtype = saved, scope, shape, dtype
        return node


class _NoPlan:
    """In the place of a leaf's plan: there is no rule to run."""

    rules, exact = None, False


class Leaf:
    """A tensor that asked for a gradient, seen from the tape: here ``.grad`` collects."""

    __slots__ = ("__weakref__", "birth", "data", "dtype", "grad", "name", "scope", "shape", "stamp", "stamped_by")
    plan = _NoPlan
    parents: tuple[Any, ...] = ()
    saved: tuple[Any, ...] = ()

    def __init__(self, data: Array, name: str | None = None) -> None:
        self.birth = next(BIRTH)
        self.data = data
        self.shape: tuple[int, ...] = data.shape
        self.dtype: np.dtype = data.dtype
        self.grad: Array | None = None
        self.name = name
        self.scope = STATE.get().scope
        self.stamp = 0  # the birth count when the array was last written into
        self.stamped_by = ""

    def written(self, by: str) -> None:
        """Stamp the leaf: its array has just been written into by ``by`` ('assign', 'an optimizer step')."""
        if not self.stamp:  # once in, it stays in
            WRITTEN.add(self)
        self.stamp = _newest_write[0] = next(BIRTH)
        self.stamped_by = by


def newest_write() -> int:
    """The birth count of the last write into any leaf."""
    return _newest_write[0]


class Cut:
    """Left on a tensor by ``detach``: what it was cut from, in words, so that drawings can show the cut.

    A leaf is kept itself: it shares its memory, and only a leaf that is there can say that it was written into."""

    __slots__ = ("birth", "leaf", "name", "op", "scope")

    def __init__(self, node: Node | Leaf) -> None:
        self.leaf = node if isinstance(node, Leaf) else None
        self.op = node.plan.op.label if isinstance(node, Node) else "leaf"
        self.name = node.name if isinstance(node, Leaf) else None
        self.scope, self.birth = node.scope, node.birth

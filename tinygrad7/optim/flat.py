"""Parameters side by side in one array, so that a step is a few vectorised passes however many there are.

A ``Block`` takes parameters of one dtype and device over: their values move into one flat array and the tensors become
views of it. What an optimizer keeps for them (momentum ...) lies in flat arrays of the same layout. The passes go over
``Piece``s small enough to stay in the processor's cache: several small parameters, or a part of a big one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import Array, device_of, xp
from tinygrad7.node import Leaf
from tinygrad7.tensor import Tensor

CHUNK = 32768  # elements of a piece on the CPU; a GPU takes everything at once


class Piece:
    """A stretch of a block: whose it is, and views of its values, kept arrays and scratch. ``u``: its update so far."""

    __slots__ = ("block", "first", "gathered", "kept", "last", "out", "part", "spare", "u", "w")

    def __init__(self, block: Block, first: int, last: int, start: int, stop: int) -> None:
        self.block, self.first, self.last = block, first, last
        offset = block.starts[first]
        self.part = slice(start - offset, stop - offset) if last == first + 1 else None
        self.w = block.values[start:stop]
        self.kept = [[array[start:stop] for array in arrays] for arrays in block.kept]
        self.gathered = xp(self.w).empty_like(self.w) if self.part is None else None
        own = xp(self.w).empty_like(self.w) if block.persistent else block.scratch[0]
        self.out, self.spare = own[: stop - start], block.scratch[1][: stop - start]
        self.u: Array = None

    def read(self, gradients: list[Array]) -> None:
        """Take the gradient in: a view of one parameter's, or several put side by side."""
        if self.part is not None:
            self.u = gradients[self.first][self.part]
        else:
            self.u = xp(self.w).concatenate(gradients[self.first : self.last], out=self.gathered)


class Block:
    """Parameters of one dtype and device, with what a chain keeps for them.

    ``kept``: for each link, its flat arrays. ``counts``: how many updates each parameter has had. ``persistent``: the
    chain changes the update before it has been seen whole (something stands before a clip_by_norm).
    """

    def __init__(self, tensors: list[Tensor], names: list[str], keeps: list[tuple[str, ...]], persistent: bool) -> None:
        self.tensors, self.names, self.persistent = tensors, names, persistent
        model = tensors[0]._value
        self.module, self.device, self.vectors = xp(model), device_of(model), model.ndim < 2
        self.starts = [0]
        for tensor in tensors:
            self.starts.append(self.starts[-1] + tensor.size)
        total = self.starts[-1]
        self.values = self.module.empty_like(model, shape=(total,))  # CuPy takes 0 for no shape
        self.kept = [[self.module.zeros_like(model, shape=(total,)) for _ in arrays] for arrays in keeps]
        self.keeps = keeps
        self.counts = [0] * len(tensors)
        self.views: list[Array] = [None] * len(tensors)
        for i in range(len(tensors)):
            self.adopt(i)
        self.chunk = CHUNK if self.module is np else max(total, 1)
        self.scratch = [self.module.empty_like(model, shape=(min(self.chunk, total),)) for _ in range(2)]
        self._together: list[Piece] | None = None
        self._apart: dict[int, list[Piece]] = {}

    def __reduce__(self) -> Any:
        """Copied or pickled is what it was made from and what it keeps: views of one array must be made anew."""
        return _again, (self.tensors, self.names, self.keeps, self.persistent, self.counts, self.kept)

    def kept_by_name(self) -> list[tuple[str, Array]]:
        """The kept arrays under their names; a name that two links use is numbered by its place in the chain."""
        names = [name for names in self.keeps for name in names]
        return [
            (name if names.count(name) == 1 else f"{name}_{place}", array)
            for place, (names_here, arrays) in enumerate(zip(self.keeps, self.kept, strict=True))
            for name, array in zip(names_here, arrays, strict=True)
        ]

    def adopt(self, i: int) -> None:
        """Make tensor ``i`` a view of the flat array, with the value that it has now."""
        tensor = self.tensors[i]
        view = self.values[self.starts[i] : self.starts[i + 1]].reshape(tensor.shape)
        view[...] = tensor._value
        tensor._value = self.views[i] = view
        if isinstance(tensor._node, Leaf):
            tensor._node.data = view

    def parts(self, flat: Array) -> list[Array]:
        """Views of a flat array, one for each tensor and of its shape."""
        cuts = zip(self.starts, self.starts[1:], self.tensors, strict=False)
        return [flat[start:stop].reshape(tensor.shape) for start, stop, tensor in cuts]

    def follow(self) -> bool:
        """Adopt again what was bound to another array since (by another optimizer, a deep copy, ``module.to``).

        False where a tensor no longer fits into this block.
        """
        for i, tensor in enumerate(self.tensors):
            if tensor._value is not self.views[i]:
                if tensor._value.dtype != self.values.dtype or device_of(tensor._value) != self.device:
                    return False
                self.adopt(i)
        return True

    def gradients(self) -> list[Array]:
        """The gradient of every tensor, flat, or None."""
        found = [tensor._node.grad for tensor in self.tensors]  # type: ignore[union-attr]
        return [gradient if gradient is None else gradient.reshape(-1) for gradient in found]

    def pieces(self, gradients: list[Array]) -> list[Piece]:
        """The pieces that have a gradient, with it read; their parameters' counts are level within a piece."""
        present = [i for i, gradient in enumerate(gradients) if gradient is not None]
        if not present:
            return []
        if len(present) == len(gradients) and self.counts.count(self.counts[0]) == len(self.counts):
            if self._together is None:
                self._together = self._cut(range(len(self.tensors)), merge=True)
            chosen = self._together
        else:
            for i in present:
                if i not in self._apart:
                    self._apart[i] = self._cut([i], merge=False)
            chosen = [piece for i in present for piece in self._apart[i]]
        for piece in chosen:
            piece.read(gradients)
        return chosen

    def _cut(self, indices: Any, merge: bool) -> list[Piece]:
        """Neighbours merged up to the chunk size, bigger tensors cut."""
        pieces: list[Piece] = []
        first: int | None = None
        last = 0
        for i in indices:
            start, stop = self.starts[i], self.starts[i + 1]
            if first is not None and stop - self.starts[first] > self.chunk:
                pieces.append(Piece(self, first, last, self.starts[first], start))
                first = None
            if merge and stop - start < self.chunk:
                first, last = i if first is None else first, i + 1
                continue
            pieces += [Piece(self, i, i + 1, a, min(a + self.chunk, stop)) for a in range(start, stop, self.chunk)]
        if first is not None:
            pieces.append(Piece(self, first, last, self.starts[first], self.starts[last]))
        return pieces

    def stamp(self, gradients: list[Array]) -> None:
        """Tell the leaves that have a gradient that they were written into, and count the update."""
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                self.counts[i] += 1
                self.tensors[i]._node.written("an optimizer step")  # type: ignore[union-attr]


def _again(
    tensors: list[Tensor],
    names: list[str],
    keeps: list[tuple[str, ...]],
    persistent: bool,
    counts: list[int],
    kept: list[list[Array]],
) -> Block:
    """A block of these tensors that goes on from ``counts`` and ``kept``."""
    block = Block(list(tensors), list(names), keeps, persistent)
    block.counts = list(counts)
    for arrays, olds in zip(block.kept, kept, strict=True):
        for array, old in zip(arrays, olds, strict=True):
            array[...] = old
    return block

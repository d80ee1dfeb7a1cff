"""``Tape``: the recorded computation as the list that Wengert wrote in 1964, one line an op, to read and play with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, overload

from tinygrad7.backend import Array, to_numpy
from tinygrad7.context import Setting, path
from tinygrad7.grad import call_reference, starting_bar
from tinygrad7.messages import describe, report_stale
from tinygrad7.node import Leaf, Node
from tinygrad7.op import PICKED, arguments, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.walk import fill, reachable, saved_arrays, walk


@dataclass(frozen=True)
class Entry:
    """One line of a tape. ``inputs``: the indices of the entries it was computed from; ``op``: "leaf" for a leaf."""

    index: int
    op: str
    inputs: tuple[int, ...]
    shape: Any
    dtype: Any
    scope: tuple[str, ...]
    step: int | None
    saved_bytes: int
    name: str | None
    text: str

    def __str__(self) -> str:
        dtypes = self.dtype if isinstance(self.dtype, tuple) else (self.dtype,)
        shapes = self.shape if isinstance(self.dtype, tuple) else (self.shape,)
        kinds = ", ".join(f"{s} {d}" for s, d in zip(shapes, dtypes, strict=True))
        line = f"%{self.index} = {self.text}   {kinds}" + (f"   {'/'.join(self.scope)}" if self.scope else "")
        return line.replace("\n", "\\n")  # in a name: an entry is one line


class Tape:
    """The Wengert list of ``y`` (a recorded tensor or several): every op that led to it, oldest first.

    A sequence of ``Entry``: it has a length, can be indexed, sliced, iterated and printed. ``backward`` is the playing
    of it from the end to the beginning; ``cotangents`` shows the bar of every entry on the way."""

    def __init__(self, y: Any) -> None:
        self.outputs: list[Tensor] = [y] if isinstance(y, Tensor) or not hasattr(y, "__iter__") else list(y)
        for t in self.outputs:
            if not isinstance(t, Tensor) or t._node is None:
                what = f"a constant of shape {t.shape}" if isinstance(t, Tensor) else f"a {type(t).__name__}"
                raise ValueError(f"Tape: a recorded tensor is needed, this is {what}; give an input requires_grad=True")
        self.nodes: list[Any] = reachable([t._node for t in self.outputs])[::-1]
        self.place: dict[Any, int] = {node: i for i, node in enumerate(self.nodes)}

    def __len__(self) -> int:
        return len(self.nodes)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self._entry(i) for i in range(*index.indices(len(self.nodes)))]
        if not -len(self.nodes) <= index < len(self.nodes):
            raise IndexError(f"entry {index} of a tape of {len(self.nodes)}")
        return self._entry(index % len(self.nodes))

    def __iter__(self) -> Iterator[Entry]:
        return (self._entry(i) for i in range(len(self.nodes)))

    def _entry(self, i: int) -> Entry:
        node = self.nodes[i]
        places = tuple([self.place[parent] for parent in node.parents])
        names = path(node.scope)
        step = node.scope.step if node.scope is not None else None
        if isinstance(node, Leaf):
            return Entry(i, "leaf", (), node.shape, node.dtype, names, step, 0, node.name, node.name or "leaf")
        if node.plan is PICKED:
            text = f"%{places[0]}[{node.params[0]}]"
        else:
            words = [f"%{self.place[x]}" if isinstance(x, Node | Leaf) else _constant(x) for x in inputs(node)]
            text = f"{node.plan.op.name}({', '.join(words + _statics(node))})"
        saved = sum(a.nbytes for a in {id(a): a for a in saved_arrays(node.saved)}.values())
        return Entry(i, node.plan.op.name, places, node.shape, node.dtype, names, step, saved, None, text)

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} entries, {self.nbytes:,} bytes saved>"

    @property
    def nbytes(self) -> int:
        """Bytes that the rules of this tape keep alive: each memory once, however many views of it are saved."""
        nodes = [node for node in self.nodes if isinstance(node, Node)]
        owners = [_owner(a) for node in nodes for a in saved_arrays(node.saved)]
        return sum({id(a): a.nbytes for a in owners}.values())

    def values(self) -> list[Any]:
        """The forward value of every entry (a tuple for an op of several outputs), computed again from the leaves.

        Raises ``RuntimeError`` if a leaf has been written into since the tape was recorded."""
        found = self.again(recording=False)
        return [tuple(t._value for t in v) if isinstance(v, tuple) else v._value for v in found]

    def cotangents(self, seed: Any = None) -> list[Any]:
        """The bar of every entry: the derivative of the output (times ``seed``) with respect to it.

        None where none arrives. The tape stays as it was; one that backward has already played is recorded again first.
        Raises ``ValueError`` for an output that is not scalar, without a seed of its shape."""
        if any(isinstance(node, Node) and node.saved is None for node in self.nodes):
            again = self.again()
            played = Tape([again[self.place[t._node]] for t in self.outputs])
            bars = dict(zip(played.nodes, played.cotangents(seed), strict=True))
            return [bars.get(node) for node in nodes_of(again)]
        bars = self.bars(seed)
        found: dict[Any, Any] = {}
        with Setting(recording=False):
            walk(self.nodes[::-1], bars, visit=lambda node, bar: found.__setitem__(node, _kept(node, bar)))
        return [found.get(node) for node in self.nodes]

    def bars(self, seed: Any = None) -> dict[Any, Any]:
        """The cotangents of the outputs that playing starts from: ``seed`` for one, a list of them for several."""
        several = len(self.outputs) > 1
        seeds = [seed] if not several else [None] * len(self.outputs) if seed is None else list(seed)
        if len(seeds) != len(self.outputs):
            raise ValueError(f"cotangents: {len(self.outputs)} outputs but {len(seeds)} seeds; give one for each")
        found: dict[Any, Any] = {}
        for y, s in zip(self.outputs, seeds, strict=True):
            bar = starting_bar(y, s, "cotangents")
            found[y._node] = found[y._node] + bar if y._node in found else bar
        return found

    def expand(self, chosen: Callable[[Node], bool] | None = None) -> Tape:
        """This tape with every fused op replaced by its reference, recorded again (or those for which ``chosen``)."""
        again = self.again(chosen or (lambda node: True))
        return Tape([again[self.place[t._node]] for t in self.outputs])

    def again(self, expand: Callable[[Node], bool] = lambda node: False, *, recording: bool = True) -> list[Any]:
        """Every entry computed once more, from the leaves: a tensor each, or a tuple for an op of several outputs.

        Fused ops for which ``expand`` holds by their references. Raises ``RuntimeError`` if a leaf has been written
        into since the tape was recorded."""
        for node in self.nodes:
            for parent in node.parents:
                if type(parent) is Leaf and parent.stamp > node.birth:
                    raise RuntimeError(report_stale(node, parent))
        done: list[Any] = []
        for node in self.nodes:
            if isinstance(node, Leaf):
                done.append(Tensor(node.data, node))
                continue
            if node.plan is PICKED:
                done.append(done[self.place[node.parents[0]]][node.params[0]])
                continue
            operands = [done[self.place[x]] if isinstance(x, Node | Leaf) else x for x in inputs(node)]
            with Setting(recording=recording, scope=node.scope, watch=False):
                done.append(_compute(node, operands, expand(node)))
        return done


def nodes_of(again: list[Any]) -> list[Any]:
    """The nodes of entries that were computed again, recorded."""
    return [v[0]._node.parents[0] if isinstance(v, tuple) else v._node for v in again]


def _compute(node: Node, operands: list[Any], expand: bool) -> Any:
    op = node.plan.op
    if node.plan.segment is not None:
        return node.plan.segment.run(operands, stored=not expand)
    if expand and op.reference is not None:
        return call_reference(node, operands)
    args, kwargs = arguments(node, operands)
    return op.call(*args, **kwargs)


def _kept(node: Any, bar: Any) -> Any:
    """A cotangent as the caller may keep it: later contributions go into buffers, so it is copied."""
    bar = fill(node, bar) if isinstance(node, Node) else bar
    return tuple(b.copy() for b in bar) if isinstance(bar, tuple) else bar.copy()


def _owner(a: Array) -> Array:
    """The array whose memory ``a`` is a view of; itself if it is none."""
    while getattr(a, "base", None) is not None and hasattr(a.base, "nbytes"):
        a = a.base
    return a


def _constant(x: Any) -> str:
    if isinstance(x, Tensor):
        return x.name or (f"{to_numpy(x._value).item():.6g}" if x.size == 1 else f"const{x.shape}")
    return repr(x)


def _statics(node: Node) -> list[str]:
    """The arguments that are no tensors, where they differ from their defaults: ``axis=0``."""
    op = node.plan.op
    names = op.keywords if op.variadic else [n for i, n in enumerate(op.names) if i not in op.tensors]
    pairs = zip(names, node.params, strict=False)
    return [f"{n}={_short(v)}" for n, v in pairs if not (n in op.defaults and _same(v, op.defaults[n]))]


def _same(a: Any, b: Any) -> bool:
    return not hasattr(a, "shape") and type(a) is type(b) and bool(a == b)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))}{',' * (len(value) == 1)})"
    if isinstance(value, slice):  # as it is written: 1:, ::-2
        return ":".join("" if v is None else str(v) for v in (value.start, value.stop, value.step)).removesuffix(":")
    if value is Ellipsis:
        return "..."
    return describe(value) if getattr(value, "size", 0) > 4 else str(value)

"""Trading time for memory, and cutting graphs: ``checkpoint`` and ``truncate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad7.arrays import own
from tinygrad7.backend import Array, xp
from tinygrad7.context import STATE, Setting
from tinygrad7.grad import alias, pull_back
from tinygrad7.messages import report_stale
from tinygrad7.node import BIRTH, WRITTEN, Leaf, Node
from tinygrad7.op import Op, Plan
from tinygrad7.tape import constant, project
from tinygrad7.tensor import Tensor
from tinygrad7.tree import leaves, rebuild, tree_map
from tinygrad7.walk import reachable, saved_arrays, shares


def truncate(state: Any) -> Any:
    """The state (a tensor, or nested ones) cut from its past, for truncated backpropagation through time.

    The values stay, no gradient goes back through them, the old graph can be freed, and drawings show the cut."""
    return tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, state)


def _checkpoint(*inputs: Any) -> Any:
    """A function whose inside is forgotten and computed again in backward.   y = f(x)      x̄ = Jᵀ ȳ"""


CHECKPOINT = Op(_checkpoint, "checkpoint", None, None, 0)
CHECKPOINT.unrolls = True  # there may be time steps inside


def checkpoint(f: Callable[..., Any], *xs: Any) -> Any:
    """``f(*xs)``, storing only inputs and outputs: backward computes f again to get what its rules need.

    Gradients reach the arguments and every tensor that f closes over (a module's parameters), and are bit for bit
    those without it: generators that f draws from (dropout) are put back for the second run. Over √T segments of a
    long recurrent graph, memory grows as √T (Chen et al., 2016). ``f`` returns a tensor or nested tensors. It runs
    twice: what else it changes (batch norm's running averages) is changed twice, and no other thread may draw from
    its generators meanwhile. Backward raises ``RuntimeError`` where f, run again, computes other values, or from other
    tensors, than it did first."""
    state = STATE.get()
    if not state.recording:
        return f(*xs)
    segment = _Segment(f, tree_map(_remembered, xs))
    start = next(BIRTH)
    inner = tree_map(_inside, xs)
    variables = _live(inner)  # before f, which may put other values into a list or dict of them
    with Setting(generators=segment.noted):
        result = f(*inner)
    if state.generators is not None:
        for key, found in segment.noted.items():
            state.generators.setdefault(key, found)
    if not _live(result):
        return result
    segment.ran(result, variables, start)
    plan = _SegmentPlan(segment)
    values = segment.values
    shapes, dtypes = tuple([y.shape for y in values]), tuple([y.dtype for y in values])
    node = Node.make(plan, segment.parents, (), state.scope, shapes, dtypes)
    made = iter(project(node, tuple(values)))
    return rebuild(result, iter([next(made) if _needs(t) else t for t in leaves(result)]))


class _Segment:
    """One call of ``checkpoint``: what is needed to run it again, and what the first run found."""

    def __init__(self, f: Callable[..., Any], xs: tuple[Any, ...]) -> None:
        self.f, self.xs = f, xs
        self.noted: dict[int, tuple[np.random.Generator, Any]] = {}  # generators, in the states that f found
        self.settings = {"dtype": STATE.get().dtype, "device": STATE.get().device}  # of what f makes

    def ran(self, result: Any, variables: list[Tensor], start: int) -> None:
        """The first run is over: it began at birth ``start``, and gave ``result`` from ``variables``."""
        outputs, self.born = _live(result), next(BIRTH)
        self.places = [i for i, t in enumerate(leaves(result)) if _needs(t)]
        self.values = [t._value for t in outputs]
        self.arguments = [Tensor(x._value, x._node) for x in _live(self.xs)]
        self.closed = _closed_over([t._node for t in outputs], start, {x._node for x in variables})
        self.parents = (*[x._node for x in self.arguments], *self.closed)

    def run(self, operands: Sequence[Tensor], stored: bool) -> tuple[Tensor, ...]:
        """The outputs from other arguments (for ``Tape``), ``stored`` as one entry again, or op by op."""
        args = self._filled(operands)
        with Setting(**self.settings), _put_back(self.noted):
            found = leaves(checkpoint(self.f, *args) if stored else self.f(*args))
        return tuple([found[i] for i in self.places])

    def pull(self, bars: Any, sofar: dict[Any, Any], *, recorded: bool) -> dict[Any, Any]:
        """The cotangents of what f was computed from: those that ``sofar`` has, and what this segment adds to them.

        f is run once more, recorded, and played from the cotangents ``bars`` of its outputs. It goes on from the sums
        so far, so that they are added up op by op in the order that they have without a checkpoint."""
        changed = [leaf for leaf in list(WRITTEN) if leaf.stamp > self.born]
        arrays = [t._value for t in self.arguments]
        _refuse_stale([leaf for leaf in changed if leaf in self.closed], arrays, changed)
        start = next(BIRTH)
        with Setting(recording=True, **self.settings), _put_back(self.noted):
            inner = tree_map(_inside, self._filled(self.arguments))
            variables = [x._node for x in _live(inner)]
            outputs = _live(self.f(*inner))
        targets = variables + self.closed
        if changed:  # also what f closes over may be a view of a leaf
            nodes = reachable([t._node for t in outputs], 0, set(targets))
            _refuse_stale([], [a for node in nodes for a in saved_arrays(node.saved)], changed)
        self._check(outputs, set(variables), start)
        pairs = list(zip(self.parents, targets, strict=True))
        first = dict(reversed(pairs))  # of a tensor that was given twice, the first place
        begin = {first[parent]: sofar[parent] for parent in first if parent in sofar}
        seeds = [b if isinstance(b, Tensor) else Tensor(b) for b in bars]
        with Setting(recording=recorded):
            found = pull_back(outputs, seeds, set(targets), recorded=recorded, ends=set(targets), sofar=begin)
            totals: dict[Any, Any] = {}
            for parent, target in pairs:
                if target in found:
                    totals[parent] = totals[parent] + found[target] if parent in totals else found[target]
        return totals

    def contributions(self, bars: Any) -> list[Any]:
        """What this segment alone contributes to each of its parents, as arrays."""
        totals, zeros = self.pull(bars, {}, recorded=False), xp(self.values[0]).zeros
        return [totals.pop(node) if node in totals else zeros(node.shape, node.dtype) for node in self.parents]

    def _filled(self, operands: Sequence[Tensor]) -> Any:
        """The arguments with ``operands`` in the places of those that need a gradient."""
        live = iter(operands)
        return rebuild(self.xs, iter([next(live) if _needs(x) else x for x in leaves(self.xs)]))

    def _check(self, outputs: list[Tensor], variables: set[Any], start: int) -> None:
        """Raise unless the second run computed the same, from the same."""
        if len(outputs) != len(self.values):
            raise RuntimeError(
                f"checkpoint: the function gave {len(self.values)} output(s) that need a gradient when it ran first "
                f"and {len(outputs)} when it ran again for backward; it must compute the same both times"
            )
        if not all(_same(t._value, y) for t, y in zip(outputs, self.values, strict=True)):
            raise RuntimeError(
                "checkpoint: the function gave other values when it ran again for backward than when it ran first; "
                "what it reads beside its arguments must not change in between (a constant assigned to, a list, "
                "a generator of its own): pass it as an argument"
            )
        if _closed_over([t._node for t in outputs], start, variables) != self.closed:
            raise RuntimeError(
                "checkpoint: the function used other tensors when it ran again for backward than when it ran first; a "
                "name that it closes over has been given to another in between (the variable of a loop?): pass the "
                "tensor as an argument, or bind it, lambda x, w=w: ..."
            )


class _SegmentPlan(Plan):
    """The plan of one checkpointed segment: its joint rule runs f again."""

    __slots__ = ()

    def __init__(self, segment: _Segment) -> None:
        self.op, self.live, self.segment = CHECKPOINT, (True,) * len(segment.parents), segment
        self.sources, self.rules, self.keep, self.exact = {}, None, None, False
        self.joint = (segment.contributions, None)


def _needs(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _live(tree: Any) -> list[Tensor]:
    """The tensors in ``tree`` that need a gradient."""
    return [t for t in leaves(tree) if _needs(t)]


def _inside(x: Any) -> Any:
    """An argument as f sees it: a variable of its own, cut from what came before."""
    return alias(x) if _needs(x) else x


def _closed_over(roots: list[Any], start: int, inside: set[Any]) -> list[Any]:
    """The nodes from before the segment that its inside uses, other than through its arguments; oldest first."""
    found: dict[Any, None] = {}
    for node in reachable(roots, start):
        if node in inside:
            continue
        for parent in node.parents:
            if parent.birth < start and parent not in inside:
                found[parent] = None
    found.update({root: None for root in roots if root.birth < start})
    return sorted(found, key=lambda node: node.birth)


@contextmanager
def _put_back(noted: dict[int, tuple[np.random.Generator, Any]]) -> Iterator[None]:
    """Generators in the states that the first run found, and afterwards as they were."""
    now = [(rng, rng.bit_generator.state) for rng, _ in noted.values()]
    for rng, then in noted.values():
        rng.bit_generator.state = then
    try:
        yield
    finally:
        for rng, state in now:
            rng.bit_generator.state = state


def _remembered(x: Any) -> Any:
    """An argument for the second run: later writes to an array or constant, or ``assign``, change nothing in it."""
    return x if _needs(x) else constant(x) if isinstance(x, Tensor) else own(x)


def _same(a: Array, b: Array) -> bool:
    """Whether two runs gave the same, to half the digits: which kernel runs may depend on where memory lies."""
    if a.shape != b.shape or a.dtype != b.dtype or not a.size:
        return bool(a.shape == b.shape and a.dtype == b.dtype)
    near = float(np.finfo(a.dtype).eps) ** 0.5
    size = abs(xp(b).nan_to_num(b, posinf=0.0, neginf=0.0)).max()
    return bool(xp(a).allclose(a, b, near, near * float(size), equal_nan=True))


def _refuse_stale(found: list[Leaf], arrays: list[Array], changed: list[Leaf]) -> None:
    """Raise for a leaf in ``found``, or one of ``changed`` that shares memory with one of ``arrays``."""
    for leaf in found + [leaf for leaf in changed if any(shares(a, leaf.data) for a in arrays)]:
        raise RuntimeError(report_stale(None, leaf))

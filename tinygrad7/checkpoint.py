"""Trading time for memory, and cutting graphs: ``checkpoint`` and ``truncate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from tinygrad7.tape import project
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


def checkpoint(f: Callable[..., Any], *xs: Any) -> Any:
    """``f(*xs)``, storing only inputs and outputs: backward computes f again to get what its rules need.

    Gradients reach the arguments and every tensor that f closes over (a module's parameters), and are bit for bit
    those without it: generators that f draws from (dropout) are put back for the second run. Over √T segments of a
    long recurrent graph, memory grows as √T (Chen et al., 2016). ``f`` returns a tensor or nested tensors."""
    state = STATE.get()
    if not state.recording:
        return f(*xs)
    noted: dict[int, tuple[np.random.Generator, Any]] = {}
    start = next(BIRTH)
    inner = tree_map(_inside, list(xs))
    with Setting(generators=noted):
        result = f(*inner)
    if state.generators is not None:
        for key, found in noted.items():
            state.generators.setdefault(key, found)
    outputs = [t for t in leaves(result) if isinstance(t, Tensor) and t.requires_grad]
    if not outputs:
        return result
    born = next(BIRTH)
    xs = tuple(tree_map(_remembered, list(xs)))
    outer, inside = [], set()
    for x, variable in zip(leaves(list(xs)), leaves(inner), strict=True):
        if isinstance(variable, Tensor) and variable.requires_grad:
            outer.append(x)
            inside.add(variable._node)
    closed = _closed_over([t._node for t in outputs], start, inside)
    parents = (*[x._node for x in outer], *closed)
    values = [t._data for t in outputs]
    tensors = [Tensor(x._data, x._node) for x in outer]

    def rule(bars: Any, *_: Any) -> list[Array]:
        found = _again(f, xs, tensors, closed, bars, noted, born, values, recorded=False)
        return [t._data for t in found]

    def rule_recorded(bars: Any) -> list[Tensor]:
        return _again(f, xs, tensors, closed, bars, noted, born, values, recorded=True)

    def run(operands: list[Tensor]) -> tuple[Tensor, ...]:
        """The segment's outputs again, from other tensors in the places of its arguments (for Tape)."""
        live = iter(operands)
        given = [next(live) if isinstance(x, Tensor) and x.requires_grad else x for x in leaves(list(xs))]
        with _put_back(noted):
            again = f(*rebuild(list(xs), iter(given)))
        return tuple([t for t, kept in zip(leaves(again), live_outputs, strict=True) if kept])

    plan = _SegmentPlan((True,) * len(parents), rule, rule_recorded, run)
    live_outputs = [isinstance(t, Tensor) and t.requires_grad for t in leaves(result)]
    shapes, dtypes = tuple([y.shape for y in values]), tuple([y.dtype for y in values])
    node = Node.make(plan, parents, (), state.scope, shapes, dtypes)
    made = iter(project(node, tuple(values)))
    kept = [next(made) if live else t for t, live in zip(leaves(result), live_outputs, strict=True)]
    return rebuild(result, iter(kept))


class _SegmentPlan(Plan):
    """The plan of one checkpointed segment: its joint rule runs f again."""

    __slots__ = ("run",)

    def __init__(
        self, live: tuple[bool, ...], rule: Callable[..., Any], recorded: Callable[..., Any], run: Callable[..., Any]
    ) -> None:
        self.op, self.live, self.sources, self.rules, self.keep = CHECKPOINT, live, [], None, None
        self.joint, self.recorded, self.run, self.exact = (rule, None), recorded, run, False


def _inside(x: Any) -> Any:
    """An argument as f sees it: a variable of its own, cut from what came before."""
    return alias(x) if isinstance(x, Tensor) and x.requires_grad else x


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


def _again(
    f: Callable[..., Any],
    xs: Any,
    tensors: list[Tensor],
    closed: list[Any],
    bars: Any,
    noted: Any,
    born: int,
    values: list[Array],
    *,
    recorded: bool,
) -> list[Tensor]:
    """Run f once more, recorded, and pull the cotangents of its outputs back to its inputs."""
    changed = [leaf for leaf in list(WRITTEN) if leaf.stamp > born]
    _refuse_stale([leaf for leaf in changed if leaf in closed], [t._data for t in tensors], changed)
    live = iter(tensors)
    given = [next(live) if isinstance(x, Tensor) and x.requires_grad else x for x in leaves(list(xs))]
    with Setting(recording=True), _put_back(noted):
        inner = [_inside(x) for x in given]
        result = f(*rebuild(list(xs), iter(inner)))
    outputs = [t for t in leaves(result) if isinstance(t, Tensor) and t.requires_grad]
    if len(outputs) != len(bars):
        raise RuntimeError(
            f"checkpoint: the function gave {len(bars)} output(s) that need a gradient when it ran first and "
            f"{len(outputs)} when it ran again for backward; it must compute the same both times"
        )
    targets = [x._node for x in inner if isinstance(x, Tensor) and x.requires_grad] + closed
    if changed:  # also what f closes over may be a view of a leaf
        run = reachable([t._node for t in outputs], 0, set(targets))
        _refuse_stale([], [a for node in run for a in saved_arrays(node.saved)], changed)
    if not all(_same(t._data, y) for t, y in zip(outputs, values, strict=True)):
        raise RuntimeError(
            "checkpoint: the function gave other values when it ran again for backward than when it ran first; what it "
            "reads beside its arguments must not change in between (a constant that was assigned to, a list, a "
            "generator of its own): pass it as an argument"
        )
    seeds = [b if isinstance(b, Tensor) else Tensor(b) for b in bars]
    with Setting(recording=recorded):
        found = pull_back(outputs, seeds, set(targets), recorded=recorded, ends=set(targets))
    zeros = xp(seeds[0]._data).zeros
    return [Tensor(zeros(n.shape, n.dtype)) if found.get(n) is None else _tensor(found[n]) for n in targets]


def _remembered(x: Any) -> Any:
    """An argument for the second run: later writes to an array or constant, or ``assign``, change nothing in it."""
    if isinstance(x, Tensor):
        return x if x.requires_grad else Tensor(x._data, None, x._info)
    return own(x)


def _same(a: Array, b: Array) -> bool:
    """Whether two runs gave the same, to half the digits: which kernel runs may depend on where memory lies."""
    if a.shape != b.shape or not a.size:
        return bool(a.shape == b.shape)
    near = float(np.finfo(a.dtype).eps) ** 0.5
    size = abs(xp(b).nan_to_num(b, posinf=0.0, neginf=0.0)).max()
    return bool(xp(a).allclose(a, b, near, near * float(size), equal_nan=True))


def _refuse_stale(found: list[Leaf], arrays: list[Array], changed: list[Leaf]) -> None:
    """Raise for a leaf in ``found``, or one of ``changed`` that shares memory with one of ``arrays``."""
    for leaf in found + [leaf for leaf in changed if any(shares(a, leaf.data) for a in arrays)]:
        raise RuntimeError(report_stale(None, leaf))


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)

"""Walking: the tape played backwards.

The tape of a result is every node it was computed from, sorted by birth. ``reachable`` finds it without recursion;
``walk`` plays it from the newest entry to the oldest, each time asking the entry's rules what its cotangent (the
lecture's bar) contributes to its parents. Cotangents live in a dict of the call, so calls nest and threads do not meet.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad7.backend import Array, writable_array, xp
from tinygrad7.context import STATE, Scope, Setting
from tinygrad7.messages import finite, played_twice, report_backward, report_stale
from tinygrad7.node import WRITTEN, Leaf, Node, newest_write
from tinygrad7.ops.convert import astype
from tinygrad7.ops.reduce import sum_to
from tinygrad7.tape import PICKED, inputs
from tinygrad7.tensor import Tensor, as_array

_sum_to = sum_to.op.forward
_BY_BIRTH = operator.attrgetter("birth")


def reachable(roots: Iterable[Node | Leaf], oldest: int = 0, ends: Any = ()) -> list[Node | Leaf]:
    """The tape of ``roots``: every node they were computed from, newest first.

    It goes back to birth ``oldest``, and not beyond a node in ``ends``."""
    stack = list(roots)
    seen = set(stack)
    while stack:
        node = stack.pop()
        for parent in () if node in ends else node.parents:
            if parent not in seen and parent.birth >= oldest:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=_BY_BIRTH, reverse=True)


def walk(
    tape: list[Node | Leaf],
    bars: dict[Any, Any],
    *,
    wanted: set[Any] | None = None,
    drop: bool = False,
    visit: Callable[[Any, Any], None] | None = None,
) -> dict[Any, Any]:
    """Play ``tape`` (newest first) backwards from the cotangents ``bars`` of its roots; return those that stay.

    What stays is the cotangent of every leaf, and of every node in ``wanted``. With ``wanted``, only nodes
    on a way to one of them are played. ``drop`` frees what each node saved once it has been used; ``visit(node, bar)``
    sees every cotangent when it is complete. A bar is an array that is passed on, not copied; once a second
    contribution has come it belongs to this call (``owned``) and further ones are added in place.
    """
    needed = _on_the_way(tape, wanted) if wanted is not None else None
    written = newest_write()
    watch = STATE.get().watch
    special = needed is not None or visit is not None
    owned: set[Any] = set()
    kept: dict[Any, Any] = {}
    for node in tape:
        bar = bars.pop(node, None)
        if bar is None:
            continue
        if special:
            if visit is not None:
                visit(node, bar)
            if needed is not None and node in wanted:  # type: ignore[operator]
                kept[node] = bar.copy() if node in owned else bar
        saved, plan, parents = node.saved, node.plan, node.parents
        if saved is None:
            raise RuntimeError(played_twice(node, tape))
        if node.birth < written and type(node) is Node:
            check_stale(node)
        if bar.__class__ is list:  # of an op of several outputs, not all of which need have been used
            bar = fill(node, bar)
        rules, exact = plan.rules, plan.exact
        if rules is None:
            if type(node) is Leaf:
                if needed is None:
                    kept[node] = bar if node in owned else bar.copy()
                continue
            if plan is PICKED:
                _pick(bars, node, bar)
                continue
            rules = _joint_rules(node, bar)
        for i, f, pick, into in rules:
            parent = parents[i]
            if needed is not None and parent not in needed:
                continue
            old = bars.get(parent)
            if into is not None:
                if parent not in owned:
                    old = bars[parent] = _buffer(parent, bar, old)
                    owned.add(parent)
                _add_into(into, old, bar, pick, saved)
                continue
            if pick is None:
                part = f(bar)
            elif pick is True:
                part = f(bar, saved)
            elif pick.__class__ is int:
                part = f(bar, saved[pick])
            else:
                part = f(bar, *pick(saved))
            given = node if exact else part
            if given.shape != parent.shape:
                part = _sum_to(part, parent.shape)
            if given.dtype is not parent.dtype and part.dtype != parent.dtype:
                part = part.astype(parent.dtype)
            if watch and not finite(part) and finite(bar, saved):
                report_backward(node, bar, part)
            if old is None:
                bars[parent] = part
            elif parent in owned:
                old += part
                bars[parent] = old
            else:
                bars[parent] = old + part
                owned.add(parent)
        if drop:
            node.saved = None
    return kept


def _buffer(parent: Any, bar: Any, old: Any) -> Array:
    """An array for the cotangent of ``parent`` that rules may add into."""
    return xp(bar).zeros(parent.shape, parent.dtype) if old is None else writable_array(old.copy())


def _add_into(into: Any, buffer: Any, bar: Any, pick: Any, saved: Any) -> None:
    _apply(lambda g, *rest: into(buffer, g, *rest), bar, pick, saved)


def _apply(rule: Any, bar: Any, pick: Any, saved: Any) -> Any:
    """A rule called with the cotangent and what it picks of the saved values (see ``tape.Plan``)."""
    if pick is None:
        return rule(bar)
    if pick is True:
        return rule(bar, saved)
    return rule(bar, saved[pick]) if type(pick) is int else rule(bar, *pick(saved))


def _on_the_way(tape: list[Node | Leaf], wanted: set[Any]) -> set[Any]:
    """The nodes of ``tape`` from which a way leads back to one of ``wanted``."""
    found = set(wanted)
    for node in reversed(tape):
        for parent in node.parents:
            if parent in found:
                found.add(node)
                break
    return found


def _pick(bars: dict[Any, Any], node: Node, bar: Any) -> None:
    """Hand the cotangent of one output of an op to that op, which waits for those of all its outputs."""
    parent = node.parents[0]
    if parent not in bars:
        bars[parent] = [None] * len(parent.shape)
    k = node.params[0]
    bars[parent][k] = bar if bars[parent][k] is None else bars[parent][k] + bar


def fill(node: Node, bar: Any) -> Any:
    """The cotangents of all outputs of ``node``: zeros for those that nothing used."""
    if not isinstance(bar, list):
        return bar
    some = next(b for b in bar if b is not None)
    module = xp(some._data if isinstance(some, Tensor) else some)
    make = (lambda s, d: Tensor(module.zeros(s, d))) if isinstance(some, Tensor) else module.zeros
    return tuple(
        [make(s, d) if b is None else b for b, s, d in zip(bar, node.shape, node.dtype, strict=True)]
    )


def _joint_rules(node: Node, bar: Any) -> list[tuple[int, Any, Any, Any]]:
    """What a joint rule gives each parent, in the form of a plan's rules."""
    return [(i, lambda _, part=part: part, None, None) for i, (_, part) in enumerate(_joint(node, bar))]


def _joint(node: Node, bar: Any) -> Iterable[tuple[Any, Any]]:
    """Parents of a node with a joint rule, with what the rule gives each."""
    rule, pick = node.plan.joint
    bar, saved = fill(node, bar), node.saved
    result = _apply(rule, bar, pick, saved)
    given = [c for c, live in zip(result, node.plan.live, strict=True) if live]
    return zip(node.parents, given, strict=True)


def check_stale(node: Node) -> None:
    """Raise if an array that ``node`` saved has been written into since."""
    arrays = [a for a in saved_arrays(node.saved) if isinstance(a, np.ndarray) or hasattr(a, "get")]
    for leaf in list(WRITTEN):
        if leaf.stamp > node.birth and any(_shares(a, leaf.data) for a in arrays):
            raise RuntimeError(report_stale(node, leaf))


def _shares(a: Array, b: Array) -> bool:
    return type(a) is type(b) and bool(xp(a).may_share_memory(a, b))


def saved_arrays(saved: Any) -> list[Array]:
    """The arrays in what a node saved, also those inside tuples, lists and dicts."""
    if isinstance(saved, tuple | list):
        return [a for value in saved for a in saved_arrays(value)]
    if isinstance(saved, dict):
        return [a for value in saved.values() for a in saved_arrays(value)]
    return [saved] if hasattr(saved, "nbytes") else []


# ---- the same walk, recorded: for derivatives of derivatives -----------------------------------------------------


def walk_recorded(tape: list[Node | Leaf], bars: dict[Any, Any], wanted: set[Any]) -> dict[Any, Any]:
    """As ``walk``, on tensors: the rules are recorded, so what comes out can be differentiated again."""
    needed = _on_the_way(tape, wanted)
    written = newest_write()
    kept: dict[Any, Any] = {}
    for node in tape:
        bar = bars.pop(node, None)
        if bar is None:
            continue
        if node in wanted:
            kept[node] = bar
        if type(node) is Leaf:
            continue
        plan = node.plan
        if plan is PICKED:
            _pick(bars, node, bar)
            continue
        if node.saved is None:
            raise RuntimeError(played_twice(node, tape))
        if node.birth < written:
            check_stale(node)
        with Setting(scope=Scope(node.scope, "backward", kind="backward")):  # drawings tell the two passes apart
            for parent, contribution in _joint_recorded(node, bar) if plan.joint else _rules_recorded(node, bar, needed):
                if parent not in needed:
                    continue
                if contribution.shape != parent.shape:
                    contribution = sum_to(contribution, parent.shape)
                if contribution.dtype != parent.dtype:
                    contribution = astype(contribution, parent.dtype)
                old = bars.get(parent)
                bars[parent] = contribution if old is None else old + contribution
    return kept


def _rules_recorded(node: Node, bar: Any, needed: set[Any]) -> Iterable[tuple[Any, Tensor]]:
    plan = node.plan
    bar = fill(node, bar)
    operands = [_tensor_of(node, i, None) for i in range(len(plan.live))]
    values = zip(plan.sources, plan.values(node.saved), strict=True)
    saved: Any = [_wrapped(node, source, value, operands) for source, value in values]
    for parent, (_, f, pick, _) in zip(node.parents, plan.rules, strict=True):
        if parent in needed:
            yield parent, _apply(f, bar, pick, saved[0] if pick is True else saved)


def _wrapped(node: Node, source: tuple[Any, ...], value: Any, operands: list[Any]) -> Any:
    """A saved value with its place in the graph: the output and the arguments as tensors, the rest as it is."""
    if source[0] == "y":
        return Tensor(value, node)
    if source[0] == "args":
        return tuple([_tensor_of(node, i, v) for i, v in enumerate(value)])
    if source[0] == "arg":
        tensors = range(len(node.plan.live)) if node.plan.op.variadic else node.plan.op.tensors
        if source[1] in tensors:
            return _tensor_of(node, list(tensors).index(source[1]), value)
    return value


def _tensor_of(node: Node, index: int, value: Any) -> Any:
    """The tensor argument ``index`` of ``node``, rebuilt around its value."""
    parent = inputs(node)[index]
    return Tensor(value, parent) if isinstance(parent, Node | Leaf) else parent


def _joint_recorded(node: Node, bar: Any) -> Iterable[tuple[Any, Tensor]]:
    """A fused op has no recorded rule: its reference is replayed, recorded, and differentiated instead."""
    plan = node.plan
    op = plan.op
    bars = fill(node, bar)
    if plan.recorded is not None:
        return zip(node.parents, plan.recorded(bars), strict=True)
    values = [value for source, value in zip(plan.sources, node.saved, strict=True) if source[0] == "arg"]
    places = [source[1] for source in plan.sources if source[0] == "arg"]
    operands = [_tensor_of(node, i, values[places.index(p)]) for i, p in enumerate(op.tensors)]
    outer = [alias(t) if isinstance(t, Tensor) and t._node is not None else t for t in operands]
    outputs = call_reference(node, outer)
    live = [t for t in outer if isinstance(t, Tensor) and t._node is not None]
    ys, gs = (outputs, bars) if isinstance(outputs, tuple) else ((outputs,), (bars,))
    results = gradients(ys, live, gs, create_graph=True, unreached="zero")
    return zip(node.parents, results, strict=True)


def call_reference(node: Node, operands: Sequence[Any]) -> Any:
    """The reference of a fused op on ``operands``, with the node's other arguments, in the node's scope."""
    op = node.plan.op
    statics = iter(node.params)
    given = dict(zip([op.names[i] for i in op.tensors], operands, strict=True))
    full = {name: given[name] if name in given else next(statics) for name in op.names}
    with Setting(scope=node.scope, recording=True):
        return op.reference(*[full[n] for n in op.positional], **{n: full[n] for n in op.keywords})


def alias(x: Tensor) -> Tensor:
    """The same value under a new node: a variable of its own, through which gradients reach ``x``."""
    return astype(x, x.dtype)


# ---- what people call --------------------------------------------------------------------------------------------


def _seed(y: Tensor, seed: Any, what: str) -> Any:
    """The cotangent to start from: ones for a scalar, else ``seed`` checked against the output."""
    if seed is None:
        if y.size != 1:
            raise ValueError(
                f"{what} starts at a scalar, this output has shape {y.shape}: take a loss of it, y.sum() or y.mean(), "
                "or give a seed of that shape"
            )
        return xp(y._data).ones(y.shape, y.dtype)
    value = seed._data if isinstance(seed, Tensor) else as_array(seed, device=y.device)
    if value.shape != y.shape:
        raise ValueError(f"{what}: the seed has shape {value.shape}, the output {y.shape}; they must be equal")
    return value.astype(y.dtype)


def backward(self: Tensor, seed: Any = None, *, retain_graph: bool = False) -> None:
    """Play the tape of this tensor backwards and add into ``.grad`` of every leaf.

    ``seed`` is the cotangent of the tensor (1 for a scalar). What the ops saved is dropped on the way, so a graph is
    played once, unless ``retain_graph``. Raises ``ValueError`` for a non-scalar without a seed, ``RuntimeError`` for a
    tensor that nothing recorded, for a graph already played, and where a saved value has been written into since.
    """
    node = self._node
    if node is None:
        raise RuntimeError(
            "backward: this tensor is a constant, no recorded op leads to it. Give an input requires_grad=True, and "
            "compute outside tg.no_grad() and without .detach() on the way"
        )
    bar = _seed(self, seed, "backward")
    with Setting(recording=False):
        for leaf, gradient in walk(reachable([node]), {node: bar}, drop=not retain_graph).items():
            leaf.grad = writable_array(gradient if leaf.grad is None else leaf.grad + gradient)


Tensor.backward = backward  # type: ignore[method-assign]


def gradients(
    ys: Any, xs: Any, seeds: Any = None, *, create_graph: bool = False, unreached: str = "error"
) -> list[Tensor]:
    """The gradients of recorded tensors ``ys`` with respect to recorded tensors ``xs``, a list like ``xs``.

    ``seeds``: a cotangent for each y (1 for scalars). With ``create_graph`` the results are recorded and can be
    differentiated again. The graph stays as it was. An x that no y depends on raises ``ValueError``, or
    gives zeros with ``unreached="zero"``.
    """
    ys = [ys] if isinstance(ys, Tensor) else list(ys)
    xs = [xs] if isinstance(xs, Tensor) else list(xs)
    seeds = [None] * len(ys) if seeds is None else [seeds] if isinstance(seeds, Tensor) or not isinstance(seeds, list | tuple) else list(seeds)
    if len(seeds) != len(ys):
        raise ValueError(f"gradients: {len(ys)} outputs but {len(seeds)} seeds; give one for each")
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"gradients: xs[{i}] is a {type(x).__name__}; tensors of a recorded graph are needed")
        if x._node is None and unreached != "zero":
            raise ValueError(f"gradients: xs[{i}] {x.shape} is a constant: it needs requires_grad=True, or an op before it")
    wanted = {x._node for x in xs if x._node is not None}
    with Setting(recording=create_graph):
        found = pull_back(ys, seeds, wanted, recorded=create_graph)
    results = []
    for i, x in enumerate(xs):
        value = found.get(x._node)
        if value is None:
            if unreached != "zero":
                name = repr(x.name) if x.name else f"xs[{i}] of shape {x.shape}"
                raise ValueError(f'gradients: the output does not depend on {name}; use unreached="zero" if it need not')
            value = xp(x._data).zeros(x.shape, x.dtype)
        results.append(value if isinstance(value, Tensor) else Tensor(value))
    return results


def pull_back(ys: Any, seeds: Any, wanted: set[Any], *, recorded: bool, ends: Any = ()) -> dict[Any, Any]:
    """The cotangents of the nodes ``wanted``, as arrays or as recorded tensors; ``ends`` as in ``reachable``."""
    bars: dict[Any, Any] = {}
    for y, seed in zip(ys, seeds, strict=True):
        if not isinstance(y, Tensor):
            raise TypeError(f"gradients: an output is a {type(y).__name__}; a recorded tensor is needed")
        if y._node is None:
            continue
        bar: Any = _seed(y, seed, "gradients")
        if recorded:
            bar = seed if isinstance(seed, Tensor) else Tensor(bar)
        bars[y._node] = bars[y._node] + bar if y._node in bars else bar
    if not wanted:
        return {}
    tape = reachable(bars, min(node.birth for node in wanted), ends)
    return walk_recorded(tape, bars, wanted) if recorded else walk(tape, bars, wanted=wanted)


def contributions(node: Node, bar: Any) -> Iterable[tuple[Any, Array]]:
    """Each parent of ``node`` with what the cotangent ``bar`` of node contributes to it, in its shape and dtype."""
    if node.plan is PICKED:
        raise TypeError("an output of an op has no rule of its own")
    if node.plan.joint is not None:
        pairs: Iterable[tuple[Any, Any]] = _joint(node, bar)
    else:
        saved, bar = node.saved, fill(node, bar)
        pairs = [
            (parent, _apply(f, bar, pick, saved))
            for parent, (_, f, pick, _) in zip(node.parents, node.plan.rules, strict=True)
        ]
    for parent, c in pairs:
        yield parent, (c if c.shape == parent.shape else sum_to(c, parent.shape)).astype(parent.dtype, copy=False)

"""Gradients: ``backward`` and ``gradients``, and the walk recorded, for derivatives of derivatives."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad7.arrays import as_array
from tinygrad7.backend import writable_array, xp
from tinygrad7.context import Scope, Setting
from tinygrad7.messages import AnomalyError, played_twice, report_recorded
from tinygrad7.node import Leaf, Node
from tinygrad7.op import PICKED, arguments, inputs
from tinygrad7.ops.convert import astype
from tinygrad7.ops.reduce import sum_to
from tinygrad7.tensor import Tensor
from tinygrad7.walk import apply_rule, fill, hand_over, on_the_way, reachable, refuse_stale, unbroadcast, walk

# ---- the walk of walk.py, recorded: for derivatives of derivatives -----------------------------------------------


def walk_recorded(tape: list[Any], bars: dict[Any, Any], wanted: set[Any], ends: Any = ()) -> dict[Any, Any]:
    """As ``walk``, on tensors: the rules are recorded, so what comes out can be differentiated again."""
    needed = on_the_way(tape, wanted)
    refuse_stale(tape, needed)
    kept: dict[Any, Any] = {}
    for node in tape:
        bar = bars.pop(node, None)
        if bar is None:
            continue
        if node in wanted:
            kept[node] = bar
        if type(node) is Leaf or node in ends:
            continue
        plan = node.plan
        if plan is PICKED:
            hand_over(bars, node, bar)
            continue
        if node.saved is None:
            raise RuntimeError(played_twice(node, tape))
        with Setting(scope=Scope(node.scope, "backward", kind="backward")):  # drawings tell the two passes apart
            if plan.segment is not None:
                bars.update(plan.segment.pull(fill(node, bar), bars, recorded=True))
                continue
            try:
                pairs = list(_joint_recorded(node, bar) if plan.joint else _rules_recorded(node, bar, needed))
            except AnomalyError as error:
                report_recorded(node, error)
            for parent, contribution in pairs:
                if parent not in needed:
                    continue
                if contribution.shape != parent.shape:
                    contribution = unbroadcast(sum_to, contribution, node, parent)
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
            yield parent, apply_rule(f, bar, pick, saved[0] if pick is True else saved)


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
    args, kwargs = arguments(node, operands)
    with Setting(scope=node.scope):
        return node.plan.op.reference(*args, **kwargs)


def alias(x: Tensor) -> Tensor:
    """The same value under a new node: a variable of its own, through which gradients reach ``x``."""
    return astype(x, x.dtype)  # type: ignore[no-any-return]


# ---- what people call --------------------------------------------------------------------------------------------


def starting_bar(y: Tensor, seed: Any, what: str) -> Any:
    """The cotangent to start from: ones for a scalar, else ``seed`` checked against the output."""
    if seed is None:
        if y.size != 1:
            raise ValueError(
                f"{what} starts at a scalar, this output has shape {y.shape}: take a loss of it, y.sum() or y.mean(), "
                "or give a seed of that shape"
            )
        return xp(y._value).ones(y.shape, y.dtype)
    value = seed._value if isinstance(seed, Tensor) else as_array(seed, device=y.device)
    if value.shape != y.shape:
        raise ValueError(f"{what}: the seed has shape {value.shape}, the output {y.shape}; they must be equal")
    return value.astype(y.dtype)


_COLLECTING = threading.Lock()  # threads may share leaves: what one adds between another's reading and writing is lost


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
    bar = starting_bar(self, seed, "backward")
    with Setting(recording=False):
        found = walk(reachable([node]), {node: bar}, drop=not retain_graph)
    with _COLLECTING:
        for leaf, gradient in found.items():
            leaf.grad = writable_array(gradient if leaf.grad is None else leaf.grad + gradient)


Tensor.backward = backward  # type: ignore[assignment, method-assign]


def gradients(
    ys: Any, xs: Any, seeds: Any = None, *, create_graph: bool = False, unreached: str = "error"
) -> list[Tensor]:
    """The gradients of recorded tensors ``ys`` with respect to recorded tensors ``xs``, a list like ``xs``.

    ``seeds``: a cotangent for each y (1 for scalars). With ``create_graph`` the results are recorded and can be
    differentiated again. The graph stays as it was. An x that no y depends on raises ``ValueError``, or
    gives zeros with ``unreached="zero"``.
    """
    if unreached not in ("error", "zero"):
        raise ValueError(f"gradients: unreached must be 'error' or 'zero', not {unreached!r}")
    ys, xs = (list(a) if hasattr(a, "__iter__") and not isinstance(a, Tensor) else [a] for a in (ys, xs))
    if seeds is None:
        seeds = [None] * len(ys)
    seeds = list(seeds) if isinstance(seeds, list | tuple) else [seeds]
    if len(seeds) != len(ys):
        raise ValueError(f"gradients: {len(ys)} outputs but {len(seeds)} seeds; give one for each")
    if unreached != "zero" and all(isinstance(y, Tensor) and y._node is None for y in ys):
        raise ValueError(
            "gradients: the output is a constant, no recorded op leads to it; if it was made of gradients, take those "
            "with create_graph=True"
        )
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"gradients: xs[{i}] is a {type(x).__name__}; tensors of a recorded graph are needed")
        if x._node is None and unreached != "zero":
            raise ValueError(
                f"gradients: xs[{i}] {x.shape} is a constant: it needs requires_grad=True, or an op before it"
            )
    wanted = {x._node for x in xs if x._node is not None}
    with Setting(recording=create_graph):
        found = pull_back(ys, seeds, wanted, recorded=create_graph)
    results = []
    for i, x in enumerate(xs):
        value = found.get(x._node)
        if value is None:
            if unreached != "zero":
                name = repr(x.name) if x.name else f"xs[{i}] of shape {x.shape}"
                raise ValueError(
                    f'gradients: the output does not depend on {name}; use unreached="zero" if it need not'
                )
            value = xp(x._value).zeros(x.shape, x.dtype)
        results.append(value if isinstance(value, Tensor) else Tensor(value))
    return results


def pull_back(
    ys: Any, seeds: Any, wanted: set[Any], *, recorded: bool, ends: Any = (), sofar: dict[Any, Any] | None = None
) -> dict[Any, Any]:
    """The cotangents of the nodes ``wanted``, as arrays or as recorded tensors; ``ends`` as in ``walk``.

    They are added to those in ``sofar``."""
    bars: dict[Any, Any] = dict(sofar or {})
    for y, seed in zip(ys, seeds, strict=True):
        if not isinstance(y, Tensor):
            raise TypeError(f"gradients: an output is a {type(y).__name__}; a recorded tensor is needed")
        if y._node is None:
            continue
        bar: Any = starting_bar(y, seed, "gradients")
        if recorded:
            bar = astype(seed, y.dtype) if isinstance(seed, Tensor) else Tensor(bar)
        bars[y._node] = bars[y._node] + bar if y._node in bars else bar
    if not wanted:
        return {}
    tape = reachable(bars, min(node.birth for node in wanted), ends)
    return walk_recorded(tape, bars, wanted, ends) if recorded else walk(tape, bars, wanted=wanted, ends=ends)

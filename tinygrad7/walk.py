"""Walking: the tape played backwards.

The tape of a result is every node it was computed from, sorted by birth. ``reachable`` finds it without recursion;
``walk`` plays it from the newest entry to the oldest, each time asking the entry's rules what its cotangent (the
lecture's bar) contributes to its parents. Cotangents live in a dict of the call, so calls nest and threads do not meet.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from tinygrad7.backend import Array, writable_array, xp
from tinygrad7.context import STATE
from tinygrad7.messages import ShapeError, finite, played_twice, report_backward, report_stale, report_sum
from tinygrad7.node import WRITTEN, Leaf, Node, newest_write
from tinygrad7.op import PICKED
from tinygrad7.ops.reduce import sum_to
from tinygrad7.tensor import Tensor, value_of

_sum_to = sum_to.op.forward
_BY_BIRTH = operator.attrgetter("birth")


def reachable(roots: Iterable[Any], oldest: int = 0, ends: Any = ()) -> list[Any]:
    """The tape of ``roots``: every node they were computed from, newest first.

    It goes back to birth ``oldest``, and not beyond a node in ``ends``."""
    tape = list(dict.fromkeys(roots))
    seen = set(tape)
    see, push = seen.add, tape.append
    if oldest or ends:
        for node in tape:  # the list grows while it is read, and ends up nearly sorted
            for parent in () if node in ends else node.parents:
                if parent not in seen and parent.birth >= oldest:
                    see(parent)
                    push(parent)
    else:  # backward's case, with nothing to ask
        for node in tape:
            for parent in node.parents:
                if parent not in seen:
                    see(parent)
                    push(parent)
    tape.sort(key=_BY_BIRTH, reverse=True)
    return tape


def walk(
    tape: list[Any],
    bars: dict[Any, Any],
    *,
    wanted: set[Any] | None = None,
    ends: Any = (),
    drop: bool = False,
    visit: Callable[[Any, Any], None] | None = None,
) -> dict[Any, Any]:
    """Play ``tape`` (newest first) backwards from the cotangents ``bars`` of its roots; return those that stay.

    What stays are the cotangents of the nodes in ``wanted``, or else of all leaves. With ``wanted``, only nodes on a
    way to one of them are played, and none in ``ends`` (some of the wanted). ``drop`` frees what each node saved once
    it has been used; ``visit(node, bar)`` sees every cotangent when it is complete. A bar is an array that is passed
    on, not copied; once a second contribution has come it belongs to this call (``owned``) and further ones are added
    in place.
    """
    needed = on_the_way(tape, wanted) if wanted is not None else None
    refuse_stale(tape, needed)
    watch = STATE.get().watch
    special = needed is not None or visit is not None
    owned: set[Any] = set()
    kept: dict[Any, Any] = {}
    take, bar_of = bars.pop, bars.get
    for node in tape:
        bar = take(node, None)
        if bar is None:
            continue
        if special:
            if visit is not None:
                visit(node, bar)
            if needed is not None and node in wanted:  # type: ignore[operator]
                kept[node] = bar
                if node in ends:
                    continue
        saved, plan, parents = node.saved, node.plan, node.parents
        if saved is None:
            raise RuntimeError(played_twice(node, tape))
        rules, exact = plan.rules, plan.exact
        if not exact and bar.__class__ is list:  # of an op of several outputs, not all of which need have been used
            bar = fill(node, bar)
        if rules is None:
            if type(node) is Leaf:
                if needed is None:
                    kept[node] = bar if node in owned else bar.copy()
                continue
            if plan is PICKED:
                hand_over(bars, node, bar)
                continue
            if plan.segment is not None:
                bars.update(plan.segment.pull(bar, bars, recorded=False))
                continue
            rules = _joint_rules(node, bar)
        for i, f, pick, into in rules:
            parent = parents[i]
            if needed is not None and parent not in needed:
                continue
            old = bar_of(parent)
            if into is not None:
                if parent not in owned:
                    old = bars[parent] = _buffer(parent, bar, old)
                    owned.add(parent)
                before: Any = old.copy() if watch else None  # type: ignore[union-attr]
                _add_into(into, old, bar, pick, saved)
                if watch and finite(bar, before) and not finite(old):
                    report_sum(node, parent, before, bar)
                continue
            if f is None:
                part = bar
            elif pick is None:
                part = f(bar)
            elif pick is True:
                part = f(bar, saved)
            elif pick.__class__ is int:
                part = f(bar, saved[pick])
            else:
                part = f(bar, *pick(saved))
            if not exact:
                if part.shape != parent.shape:
                    part = unbroadcast(_sum_to, part, node, parent)
                if part.dtype is not parent.dtype and part.dtype != parent.dtype:
                    part = part.astype(parent.dtype)
            if watch:
                if not finite(part) and finite(bar, saved):
                    report_backward(node, bar, part)
                if old is not None and finite(old, part) and not finite(old + part):
                    report_sum(node, parent, old, part)
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


def unbroadcast(sum_to: Any, part: Any, node: Node, parent: Any) -> Any:
    """``part`` summed over the axes along which ``parent`` was stretched; raises if a rule gave another shape."""
    if len(part.shape) >= len(parent.shape):
        fitting = sum_to(part, parent.shape)
        if fitting.shape == parent.shape:
            return fitting
    raise ShapeError(
        f"the rule of {node.plan.op.name} gave a cotangent of shape {part.shape} for an argument of shape "
        f"{parent.shape}: it must have the shape of the argument, or of the output {node.shape} where the argument "
        "was broadcast"
    )


def _buffer(parent: Any, bar: Any, old: Any) -> Array:
    """An array for the cotangent of ``parent`` that rules may add into."""
    return xp(bar).zeros(parent.shape, parent.dtype) if old is None else writable_array(old.copy())


def _add_into(into: Any, buffer: Any, bar: Any, pick: Any, saved: Any) -> None:
    apply_rule(lambda g, *rest: into(buffer, g, *rest), bar, pick, saved)


def apply_rule(rule: Any, bar: Any, pick: Any, saved: Any) -> Any:
    """A rule called with the cotangent and what it picks of the saved values (see ``op.Plan``)."""
    if pick is None:
        return rule(bar) if rule is not None else bar
    if pick is True:
        return rule(bar, saved)
    return rule(bar, saved[pick]) if type(pick) is int else rule(bar, *pick(saved))


def on_the_way(tape: list[Any], wanted: set[Any]) -> set[Any]:
    """The nodes of ``tape`` from which a way leads back to one of ``wanted``."""
    found = set(wanted)
    for node in reversed(tape):
        for parent in node.parents:
            if parent in found:
                found.add(node)
                break
    return found


def hand_over(bars: dict[Any, Any], node: Node, bar: Any) -> None:
    """Hand the cotangent of one output of an op to that op, which waits for those of all its outputs."""
    parent = node.parents[0]
    if parent not in bars:
        bars[parent] = [None] * len(parent.shape)
    bars[parent][node.params[0]] = bar  # one node stands for each output


def fill(node: Node, bar: Any) -> Any:
    """The cotangents of all outputs of ``node``: zeros for those that nothing used."""
    if not isinstance(bar, list):
        return bar
    some = next(b for b in bar if b is not None)
    module = xp(value_of(some))
    make = (lambda s, d: Tensor(module.zeros(s, d))) if isinstance(some, Tensor) else module.zeros
    return tuple([make(s, d) if b is None else b for b, s, d in zip(bar, node.shape, node.dtype, strict=True)])


def _joint_rules(node: Node, bar: Any) -> list[tuple[int, Any, Any, Any]]:
    """What a joint rule gives each parent, in the form of a plan's rules."""
    rule, pick = node.plan.joint
    parts = apply_rule(rule, bar, pick, node.saved)
    given = [part for part, live in zip(parts, node.plan.live, strict=True) if live]
    return [(i, lambda _, part=part: part, None, None) for i, part in enumerate(given)]


def refuse_stale(tape: list[Any], needed: set[Any] | None = None) -> None:
    """Raise if an array that a node of ``tape`` saved has been written into since (``needed``: of these nodes alone).

    In a training step every op is younger than the last write, and nothing but the oldest of them is looked at."""
    oldest = next((node for node in reversed(tape) if type(node) is Node), None)
    if oldest is None or oldest.birth > newest_write():
        return
    changed = [leaf for leaf in list(WRITTEN) if leaf.stamp > oldest.birth]
    for node in tape:
        if type(node) is Node and (needed is None or node in needed):
            arrays = saved_arrays(node.saved)
            for leaf in changed:
                if leaf.stamp > node.birth and any(shares(a, leaf.data) for a in arrays):
                    raise RuntimeError(report_stale(node, leaf))


def shares(a: Array, b: Array) -> bool:
    """Whether two arrays may have memory in common."""
    return type(a) is type(b) and bool(xp(a).may_share_memory(a, b))


def saved_arrays(saved: Any) -> list[Array]:
    """The arrays in what a node saved, also those inside tuples and lists."""
    if isinstance(saved, tuple | list):
        return [a for value in saved for a in saved_arrays(value)]
    return [saved] if hasattr(saved, "nbytes") else []


def contributions(node: Node, bar: Any) -> Iterable[tuple[Any, Array]]:
    """Each parent of ``node`` with what the cotangent ``bar`` of node contributes to it, in its shape and dtype."""
    if node.plan is PICKED:
        raise TypeError("an output of an op has no rule of its own")
    bar = fill(node, bar)
    for i, f, pick, _ in node.plan.rules or _joint_rules(node, bar):
        parent, part = node.parents[i], apply_rule(f, bar, pick, node.saved)
        part = part if part.shape == parent.shape else unbroadcast(sum_to, part, node, parent)
        yield parent, part.astype(parent.dtype, copy=False)

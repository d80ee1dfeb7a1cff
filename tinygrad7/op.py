"""What is known of an op: its signature and rules (``Op``), and what one way of using it saves (``Plan``).

A derivative rule is a function of the cotangent ``g`` and whatever else it names: the output ``y``, an argument, or
the shape of an argument (``x_shape``). The names are the save list, worked out once, when the rule is given.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad7.node import Node

REGISTRY: dict[str, Op] = {}
ONE, LEFT, RIGHT, BOTH = (True,), (True, False), (False, True), (True, True)  # which arguments are live


_MOST_PLANS = 256  # of one op: joining many tensors may have as many plans as there are choices of live ones


class Op:
    """What the tape knows of an op: its name, label, signature, rules and tests' domain."""

    def __init__(
        self, forward: Callable[..., Any], label: str, domain: Any, reference: Any, outputs: int | None
    ) -> None:
        self.forward, self.label, self.domain, self.reference = forward, label, domain, reference
        self.name = forward.__name__.strip("_")
        self.doc = inspect.getdoc(forward) or ""
        self.outputs = outputs  # None: one array; 0: a tuple whose length depends on the input
        parameters = [p.replace(annotation=p.empty) for p in inspect.signature(forward).parameters.values()]
        self.signature = inspect.Signature(parameters)  # as messages show it
        kinds = [(p.name, p.kind) for p in parameters]
        self.variadic = next((name for name, kind in kinds if kind is inspect.Parameter.VAR_POSITIONAL), None)
        self.names = [name for name, kind in kinds]
        self.positional = [name for name, kind in kinds if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        self.keywords = [name for name, kind in kinds if kind is inspect.Parameter.KEYWORD_ONLY]
        if any(kind is inspect.Parameter.VAR_KEYWORD for _, kind in kinds):
            raise TypeError(f"primitive: {self.name}{self.signature} must name each of its arguments, without **")
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.rules: dict[str, Callable[..., Any]] = {}
        self.into: dict[str, Callable[..., None]] = {}
        self.joint: Callable[..., Any] | None = None
        self.kernels: dict[str, Callable[..., Any]] = {}
        self.tensors: list[int] = []  # positions of the arguments that can have a gradient
        self.lean = False  # recorded by _unary or _binary?
        self.elementwise = False  # do all rules give what has the output's shape and dtype?
        self.ufunc: Any = None  # what the recorders call in place of ``forward`` for NumPy arrays
        self.plans: dict[Any, Plan] = {}
        self.both: Plan | None = None  # the plans of one- and two-argument ops, where the recorders find them fast
        self.left: Plan | None = None
        self.right: Plan | None = None
        self.call: Callable[..., Any] = forward
        self.module = forward.__module__
        self.builtin = self.module.startswith("tinygrad7.")
        self.static: frozenset[str] = frozenset()
        self.unrolls = False

    def plan(self, live: Any) -> Plan:
        """The plan for one choice of arguments that need a gradient (positions, as a tuple of booleans)."""
        plan = self.plans.get(live)
        if plan is None:
            if len(self.plans) >= _MOST_PLANS:
                self.plans.clear()
            plan = self.plans[live] = Plan(self, live)
            if all(live):
                self.both = plan
            elif live == LEFT:
                self.left = plan
            elif live == RIGHT:
                self.right = plan
        return plan

    def places(self, count: int) -> list[int]:
        """Where, in a call with ``count`` positional arguments, those stand that can have a gradient."""
        return list(range(count)) if self.variadic else [i for i in self.tensors if i < count]

    def forget_plans(self) -> None:
        """New rules: plans made for the old ones are void."""
        self.plans.clear()
        self.both = self.left = self.right = None


class Plan:
    """For one op and one choice of live arguments: what is saved, and the rule of each live argument.

    ``sources`` says where each saved value comes from, and at which place it is saved: ("y",), ("arg", position),
    ("shape", position), ("args", count), ("shapes", count), ("residuals",), ("index", place) or ("needs", live).
    ``rules`` is aligned with the node's parents; each entry is (place of the parent, rule, pick, into), with None for a
    rule that passes the cotangent on as it is. ``pick`` says which saved values the rule takes beside the cotangent:
    None, True (the one that there is), the place of one, or an ``itemgetter`` of several. ``exact`` says that what the
    rules give has the shape and dtype of its parent, since the op is elementwise and nothing was stretched or
    promoted; ``even`` is the plan for such a call.
    """

    __slots__ = ("even", "exact", "joint", "keep", "live", "op", "rules", "segment", "sources")

    def __init__(self, op: Op, live: tuple[bool, ...]) -> None:
        self.op, self.live = op, live
        self.sources: dict[tuple[Any, ...], int] = {}
        self.rules: Any = []
        self.joint: Any = None
        self.exact = op.elementwise and len(live) == 1
        self.segment: Any = None  # what ``checkpoint`` runs again
        if op.joint is not None:
            tensors = [("arg", position) for position in op.tensors]
            self.rules = None
            self.joint = (op.joint, self._pick([self._source(name, None) for name in saved_by(op, op.joint)]))
            self._pick(tensors)  # a reference is replayed on all of them for higher orders
        else:
            known: dict[str, list[str]] = {}
            for index, needed in enumerate(live):
                if needed:
                    self.rules.append(self._rule(index, known))
        if self._alone():  # the value is saved as it is, not in a tuple
            self.rules = [(i, f, None if pick is None else _WHOLE, into) for i, f, pick, into in self.rules]
        self.keep = self._keeper()
        self.even = self
        if op.elementwise and not self.exact:
            self.even = copy.copy(self)
            self.even.exact = True

    def _rule(self, index: int, known: dict[str, list[str]]) -> tuple[int, Any, Any, Any]:
        """The entry for one live argument; ``known``: what the rules that were met take (of ``*xs`` it is one rule)."""
        op = self.op
        name = op.variadic if op.variadic else op.names[op.tensors[index]]
        if name not in op.rules:
            raise TypeError(no_rule(op, name))
        rule = op.rules[name]
        if name not in known:
            known[name] = saved_by(op, rule, name)
        sources = [self._source(wanted, index) for wanted in known[name]]
        f = None if rule.__code__.co_code == _PASS_ON else rule
        return len(self.rules), f, self._pick(sources), op.into.get(name)

    def _source(self, name: str, index: int | None) -> tuple[Any, ...]:
        op = self.op
        count = len(self.live)
        if name not in op.names and (name == "y" or (name == "residuals" and op.reference is not None)):
            return (name,)
        if name not in op.names and name in ("index", "needs"):
            return (name, index if name == "index" else self.live)
        if op.variadic and name == op.variadic:
            return ("args", count)
        if op.variadic and name == f"{op.variadic}_shape":
            return ("shapes", count)
        shape = name.endswith("_shape") and name not in op.names
        name = name.removesuffix("_shape") if shape else name
        if name not in op.names:
            raise TypeError(f"{op.name}: a rule names {name!r}, which is neither g, y nor one of {op.names}")
        position = op.names.index(name)
        if op.variadic:  # statics come after the operands
            position = count + op.keywords.index(name)
        return ("shape" if shape else "arg", position)

    def _pick(self, sources: list[tuple[Any, ...]]) -> Any:
        spots = [self.sources.setdefault(source, len(self.sources)) for source in sources]
        return None if not spots else spots[0] if len(spots) == 1 else operator.itemgetter(*spots)

    def _keeper(self) -> Callable[[Any, Any, Any], Any] | None:
        """For ops of one or two arguments: from (first, second, y) the values to save; None where there are none."""
        if not self.sources:
            return None
        spots = tuple([2 if source[0] == "y" else source[1] for source in self.sources if source[0] in ("y", "arg")])
        if len(spots) == len(self.sources) and spots in _KEEPERS:
            return _KEEPERS[spots]
        return lambda a, b, y: self.save((a, b), y)

    def values(self, saved: Any) -> Any:
        """What a node of this plan saved, aligned with ``sources``."""
        return (saved,) if self._alone() else saved

    def _alone(self) -> bool:
        """Whether one array is all that is saved, by an op of one or two arguments."""
        return len(self.sources) == 1 and self.op.lean

    def save(self, args: tuple[Any, ...], y: Any, residuals: Any = None) -> Any:
        """The values of ``sources`` for a call with these (unwrapped, complete) arguments."""
        kept: list[Any] = []
        for source in self.sources:
            kind = source[0]
            if kind == "arg":
                kept.append(args[source[1]])
            elif kind == "shape":
                kept.append(getattr(args[source[1]], "shape", ()))
            elif kind == "y":
                kept.append(y)
            elif kind == "residuals":
                kept.append(residuals)
            elif kind == "args":
                kept.append(args[: source[1]])
            elif kind == "shapes":
                kept.append(tuple(a.shape for a in args[: source[1]]))
            else:
                kept.append(source[1])
        return kept[0] if self._alone() else tuple(kept)


def no_rule(op: Op, name: str) -> str:
    """What is said when a gradient is wanted for an argument without a rule."""
    if name == "axis":
        return (
            f"{op.name}: an axis is a number, not a tensor; several tensors are given as a list, [a, b], and compared "
            "with each other by tg.maximum and tg.minimum"
        )
    lacking = not op.builtin and name not in op.static
    mend = f", which has no rule: give it one with {op.name}.vjp({name}=lambda g: ...), or" if lacking else ";"
    return f"{op.name}: no gradient can flow into {name!r}{mend} pass it as an array, or .detach() it, if none is meant"


def saved_by(op: Op, rule: Callable[..., Any], name: str = "") -> list[str]:
    """The names that a rule takes beside the cotangent: what is saved for it. No ``name``: it is the joint rule."""
    what = f"{op.name}: the rule of {name!r}" if name else f"{op.name}: the joint rule"
    parameters = list(inspect.signature(rule).parameters.values())
    if not parameters or any(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters):
        raise TypeError(f"{what} must take the cotangent first, and by position what it saves: lambda g, y: ...")
    first = parameters[0].name
    if first in op.names and first != "g":
        raise TypeError(
            f"{what} must take the cotangent first, and then by name what it saves: lambda g, {first}: ..., "
            f"not lambda {first}: ..."
        )
    return [p.name for p in parameters[1:]]


_PASS_ON = (lambda g: g).__code__.co_code  # a rule that does no more than this need not be called
_WHOLE = True  # the pick of a rule that takes the one saved value
_KEEPERS: dict[tuple[int, ...], Callable[[Any, Any, Any], Any]] = {
    (0,): lambda a, b, y: a,
    (1,): lambda a, b, y: b,
    (2,): lambda a, b, y: y,
    (0, 1): lambda a, b, y: (a, b),
    (1, 0): lambda a, b, y: (b, a),
    (0, 2): lambda a, b, y: (a, y),
    (2, 1): lambda a, b, y: (y, b),
}


# Beside an op of several outputs stands one small node for each of them, which says which one it is.
def _output(outputs: Any) -> Any:
    return outputs


PICKED = Op(_output, "output", None, None, None).plan(())
PICKED.rules = None


def inputs(node: Node) -> list[Any]:
    """The tensor arguments of a node in order: a node where a gradient flows, else the constant."""
    parents, constants = iter(node.parents), iter(node.constants)
    return [next(parents) if live else next(constants) for live in node.plan.live] or list(node.parents)


def arguments(node: Node, operands: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """A call of the node's op with ``operands`` in the places of its tensor arguments: positional and keyword."""
    op, statics = node.plan.op, iter(node.params)
    if op.variadic:
        return list(operands), dict(zip(op.keywords, statics, strict=True))
    given = dict(zip([op.names[i] for i in op.tensors], operands, strict=True))
    full = {name: given[name] if name in given else next(statics) for name in op.names}
    return [full[name] for name in op.positional], {name: full[name] for name in op.keywords}

"""A tape played once more with everything kept: values, bars, and every summand of every bar, for the tape player."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from tinygrad7.backend import xp
from tinygrad7.context import Setting
from tinygrad7.draw.values import norm, statistics
from tinygrad7.node import Leaf
from tinygrad7.op import PICKED, Op, inputs
from tinygrad7.walk import contributions, fill, hand_over
from tinygrad7.wengert import Tape, nodes_of

REARRANGING = {"transpose", "reshape", "astype", "transfer"}  # the sum of what passes through is the sum of the parts


@dataclass(slots=True)
class Part:
    """One summand of a bar: entry ``entry`` sends it to entry ``parent``, the ``arrived``-th ``of`` so many."""

    entry: int
    parent: int
    argument: str
    arrived: int
    of: int
    norm: float
    text: str
    total: str  # the sum so far


class Replay:
    """``value(node)`` and ``bar(node)`` of every entry; ``parts``: what each entry sends back.

    The entries in ``told`` are put in words. The tape that is given stays as it was."""

    def __init__(self, tape: Tape, told: set[int]) -> None:
        result = tape.outputs[0]
        self.scalar = len(tape.outputs) == 1 and result.size == 1
        again = tape.again()
        nodes = nodes_of(again)
        self.place = tape.place
        self.values = [tuple(t._value for t in v) if isinstance(v, tuple) else v._value for v in again]
        self.bars: list[Any] = [None] * len(nodes)
        self.parts: dict[int, list[Part]] = {}
        self.arriving: dict[int, list[Part]] = {}
        if self.scalar:
            with Setting(recording=False, watch=False):
                self._back(nodes, tape.place[result._node], result, told)

    def value(self, node: Any) -> Any:
        return self.values[self.place[node]]

    def bar(self, node: Any) -> Any:
        at = self.place.get(node)  # a constant is on no tape
        return None if at is None else self.bars[at]

    def _back(self, nodes: list[Any], root: int, result: Any, told: set[int]) -> None:
        """Play backwards, one summand at a time."""
        place = {node: i for i, node in enumerate(nodes)}
        uses = [0] * len(nodes)
        for node in nodes:
            for parent in node.parents:
                uses[place[parent]] += 1
        bars: dict[Any, Any] = {nodes[root]: xp(result._value).ones(result.shape, result.dtype)}
        for i in range(len(nodes) - 1, -1, -1):
            node = nodes[i]
            bar = bars.pop(node, None)
            if bar is None:
                continue
            if type(node) is Leaf:
                self.bars[i] = bar
                continue
            bar = self.bars[i] = fill(node, bar)
            if node.plan is PICKED:
                hand_over(bars, node, bar)
                continue
            live = [k for k, x in enumerate(inputs(node)) if hasattr(x, "plan")]
            for slot, (parent, part) in zip(live, contributions(node, bar), strict=True):
                to = place[parent]
                bars[parent] = total = part if parent not in bars else bars[parent] + part
                before = self.arriving.setdefault(to, [])
                size = norm(part) or 0.0
                words = (statistics(part), statistics(total)) if i in told or to in told else ("", "")
                made = Part(
                    i,
                    to,
                    self.argument(node, slot),
                    len(before) + 1,
                    uses[to],
                    size if math.isfinite(size) else 0.0,
                    *words,
                )
                before.append(made)
                self.parts.setdefault(i, []).append(made)

    def argument(self, node: Any, k: int) -> str:
        """What the formulas call argument ``k``."""
        op: Op = node.plan.op
        if op.variadic:
            return f"x{chr(0x2080 + k + 1)}" if k < 9 else "x"
        return op.names[op.tensors[k]] if k < len(op.tensors) else "x"

    def sums(self, tape: Tape) -> list[tuple[int, list[Part], str]]:
        """Every leaf with the summands of its gradient: (entry, summands, through which op).

        A weight that is, say, transposed once before a loop receives one summand: the many arrive one entry later."""
        found = []
        for i, node in enumerate(tape.nodes):
            parts = self.arriving.get(i, [])
            if type(node) is not Leaf or not parts:
                continue
            via, at = "", parts
            while len(at) == 1 and tape.nodes[at[0].entry].plan.op.name in REARRANGING and at[0].entry in self.arriving:
                entry = at[0].entry
                via, at = tape.nodes[entry].plan.op.label, self.arriving[entry]
            found.append((i, at, via) if len(at) > 1 else (i, parts, ""))
        return found


def formulas(op: Op) -> tuple[str, list[str], str]:
    """From an op's docstring: its formula, its derivative rules, and its first words."""
    paragraphs = [[p.strip() for p in re.split(r"\s{3,}|\n", text) if p.strip()] for text in op.doc.split("\n\n")]
    first = paragraphs[0]
    equations = [p for p in first if "=" in p and not p.startswith("(")]
    rules = [p for p in equations if _barred(p)]
    forward = [p for p in equations if p not in rules]
    rules = rules or [p for text in paragraphs[1:] for p in text if _barred(p)]
    return ", ".join(forward), rules, "  ".join(p for p in first if p not in equations)


def _barred(text: str) -> bool:
    """Whether this says what a bar is: ``x̄ = ȳ y``."""
    left, equals, _ = text.partition("=")
    bars = [c for c in unicodedata.normalize("NFD", left) if c in "\u0304\u0305"]
    return bool(equals and bars) and len(left) < 12

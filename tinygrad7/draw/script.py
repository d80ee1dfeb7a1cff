"""What the tape player says, event by event: the tape forward, the seed, the tape backward, and the gradients' sums."""

from __future__ import annotations

import itertools
from typing import Any

from tinygrad7.draw.layout import Drawing
from tinygrad7.draw.model import Box
from tinygrad7.draw.replay import Replay, formulas
from tinygrad7.draw.values import barred, heat, norm, statistics, symbols
from tinygrad7.draw.words import shape_text
from tinygrad7.node import Leaf
from tinygrad7.op import PICKED, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.wengert import Tape

EVENTS = 2000  # above this many, entries are played several at a time
TICKS = 48  # the most summands that the list of gradients draws apart
GRADIENTS = 12  # the most weights in it


class Script:
    """What the player shows, event by event: the tape forward, the seed, the tape backward."""

    def __init__(self, tape: Tape, drawing: Drawing, played: Replay) -> None:
        self.tape, self.picture, self.played = tape, drawing.picture, played
        self.names = symbols(self.picture)
        self.notes: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.into: dict[Box, list[tuple[int, Any]]] = {}
        for k, edge in enumerate(self.picture.edges):
            self.into.setdefault(edge.dst, []).append((k, edge))
        order = range(len(tape.nodes))
        groups = self._groups(order, forward=True)
        self.events += [self._event(group, "f") for group in groups]
        self.forward = len(self.events)
        self.event_of: dict[int, int] = {}
        if played.scalar:
            root = tape.place[tape.outputs[0]._node]
            name = barred(self.name(root))
            self.events.append({"d": "s", "b": [self.box(root)], "t": f"{name} = 1", "e": []})
            for group in self._groups(reversed(order), forward=False):
                self.event_of |= dict.fromkeys(group, len(self.events))
                self.events.append(self._event(group, "b"))
        self.gradients = self._gradients()

    def _groups(self, order: Any, *, forward: bool) -> list[list[int]]:
        """Entries that are played together: leaves in a row, the outputs of one op, what is folded."""
        groups: list[list[int]] = []
        kinds: list[str] = []
        spare: dict[int, list[int]] = {}  # outputs that wait for their op, which a backward pass comes to after them
        at: dict[int, int] = {}
        for i in order:
            node = self.tape.nodes[i]
            kind = "fold" if self.picture.box_of[node].kind == "fold" else ""
            if type(node) is Leaf and forward and not kind:
                kind = "given"
            elif not kind and type(node) is not Leaf and node.plan is PICKED:
                main = self.tape.place[node.parents[0]]
                if forward and main in at:
                    groups[at[main]].append(i)
                else:
                    spare.setdefault(main, []).append(i)
                continue
            if kind and kinds and kinds[-1] == kind:
                groups[-1].append(i)
            else:
                groups.append([i, *spare.get(i, [])])
                kinds.append(kind)
            at[i] = len(groups) - 1
        if len(groups) > EVENTS:
            size = -(-len(groups) // EVENTS)
            if forward:
                self.notes.append(f"{len(self.tape):,} entries are many: {size} are played in one step.")
            groups = [list(itertools.chain.from_iterable(groups[k : k + size])) for k in range(0, len(groups), size)]
        return groups

    def box(self, i: int) -> int:
        return self.picture.box_of[self.tape.nodes[i]].number

    def name(self, i: int) -> str:
        """What the value of an entry is called."""
        node = self.tape.nodes[i]
        box = self.picture.box_of[node]
        if type(node) is Leaf:
            return node.name or (box.label if box.kind == "parameter" else f"%{i}")
        if node.plan is PICKED:
            return f"{self.name(self.tape.place[node.parents[0]])}[{node.params[0]}]"
        return self.names[box] if box.kind == "op" else f"%{i}"

    def _event(self, group: list[int], phase: str) -> dict[str, Any]:
        boxes = list(dict.fromkeys(self.box(i) for i in group))
        event: dict[str, Any] = {"d": phase, "e": [group[0], group[-1]], "n": len(group), "b": boxes}
        node = self.tape.nodes[group[0]]
        box = self.picture.box_of[node]
        mains = [i for i in group if type(self.tape.nodes[i]) is Leaf or self.tape.nodes[i].plan is not PICKED]
        if len(mains) > 1 or box.kind == "fold":
            return event | self._many(mains, phase)
        entry = self.tape[group[0]]
        scope = " / ".join(entry.scope)
        if type(node) is Leaf:
            event |= {"t": self.name(group[0]), "s": scope, "w": str(entry), "leaf": 1}
        else:
            forward, rules, remark = formulas(node.plan.op)
            event |= {
                "t": node.plan.op.label.replace("-", "−"),
                "h": remark,
                "s": scope,
                "w": str(entry),
                "f": forward,
                "r": rules,
            }
            into = [(k, edge) for k, edge in self.into.get(box, []) if not edge.cut and self._feeds(edge.src, node)]
            # nothing is sent back to a constant
            event["i"] = [k for k, edge in into if phase == "f" or edge.src.kind != "input"]
        event["rows"] = self._operands(node) if phase == "f" else self._contributions(group[0])
        event["out"] = [self._shown(i, phase) for i in (group if len(group) == 1 else group[1:])]
        return event

    def _feeds(self, source: Box, node: Any) -> bool:
        """Whether a box is where one of the op's arguments comes from (``is``: tensors compare by element)."""
        given = inputs(node)
        own = {id(x) for x in given if x is not None}
        return any(hasattr(x, "plan") and self.picture.box_of[x] is source for x in given) or (
            source.kind in ("input", "cut") and id(source.nodes[0]) in own
        )

    def _many(self, mains: list[int], phase: str) -> dict[str, Any]:
        """One event for several entries."""
        nodes = [self.tape.nodes[i] for i in mains]
        if all(type(node) is Leaf for node in nodes) and len(nodes) <= 40:
            return {
                "t": "given",
                "h": "Leaves: what the computation starts from.",
                "out": [self._shown(i, phase) for i in mains],
            }
        edges = sorted({k for node in nodes for k, _ in self.into.get(self.picture.box_of[node], [])})
        fold = any(self.picture.box_of[node].kind == "fold" for node in nodes)
        return {"t": "⋯", "h": f"{len(mains):,} entries{', folded in the drawing' if fold else ''}", "i": edges}

    def _shown(self, i: int, phase: str) -> list[Any]:
        """Name, value, shape and heat strip of an entry's value or bar."""
        node = self.tape.nodes[i]
        value = self.played.value(node) if phase == "f" else self.played.bar(node)
        name = self.name(i) if phase == "f" else barred(self.name(i))
        if value is None or isinstance(value, tuple):
            return [name, f"{len(value)} outputs" if value is not None else "nothing arrives", "", []]
        size = "" if value.size == 1 else f"  ‖·‖ {norm(value):.2g}" if phase == "b" else ""
        return [name, statistics(value) + size, shape_text(value.shape), heat(value)]

    def _operands(self, node: Any) -> list[list[str]]:
        """An op's arguments: what the formula calls each, what it is here, its value."""
        if type(node) is Leaf:
            return []
        rows = []
        for k, x in enumerate(inputs(node)):
            if x is None:
                continue
            if isinstance(x, Tensor):
                name = x.name or ("constant" if x.size > 1 else self.played.argument(node, k))
                value = statistics(x._value)
            elif hasattr(x, "plan"):
                found = self.played.value(x)
                name, value = self.name(self.tape.place[x]), "" if isinstance(found, tuple) else statistics(found)
                made = "" if type(x) is Leaf else f" {x.plan.op.label}"
            else:
                name, value = self.played.argument(node, k), str(x)
            source = f"%{self.tape.place[x]}{made}" if hasattr(x, "plan") else ""
            rows.append([self.played.argument(node, k), name, value, source])
        return rows

    def _contributions(self, i: int) -> list[list[str]]:
        """What an entry's rule sends to each argument, and what has arrived there so far."""
        rows = []
        for part in self.played.parts.get(i, []):
            count = f"{part.arrived} of {part.of}" if part.of > 1 else ""
            rows.append([barred(part.argument), barred(self.name(part.parent)), part.text, count, part.total])
        return rows

    def _gradients(self) -> list[dict[str, Any]]:
        """The weights with the summands of their gradients, as they arrive: those that are used most often first."""
        rows = []
        for leaf, place, via in self.played.sums(self.tape):
            arriving: dict[int, list[Any]] = {}
            for part in place:
                if part.entry in self.event_of:
                    arriving.setdefault(self.event_of[part.entry], []).append(part)
            if not arriving:
                continue
            name = self.name(leaf)
            ticks = [[at, len(group), sum(p.norm for p in group), group[-1].total] for at, group in arriving.items()]
            size = -(-len(ticks) // TICKS)
            ticks = [[part[-1][0], sum(t[1] for t in part), sum(t[2] for t in part), part[-1][3]]
                     for part in (ticks[k : k + size] for k in range(0, len(ticks), size))]  # fmt: skip
            top = max(t[2] for t in ticks) or 1.0
            ticks = [[at, count, round(length / top, 3), total] for at, count, length, total in ticks]
            rows.append(
                {"n": name, "bar": barred(name), "b": self.box(leaf), "via": via, "of": place[0].of, "ticks": ticks}
            )
        rows.sort(key=lambda row: -row["of"])  # type: ignore[operator]
        if len(rows) > GRADIENTS:
            self.notes.append(f"{len(rows) - GRADIENTS:,} more weights stand in the drawing only.")
        return rows[:GRADIENTS]

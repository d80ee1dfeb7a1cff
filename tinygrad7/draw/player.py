"""The tape player: one HTML file in which a tape is stepped through, forward and then backward, entry by entry.

The page holds everything itself: the drawing as SVG, what there is to say of every step as JSON, and the style and
script that stand beside this file (``player.html``, ``player.css``, ``player.js``). It asks no network for anything.
"""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from tinygrad7.draw.columns import arrange
from tinygrad7.draw.dot import clean
from tinygrad7.draw.fold import AUTO
from tinygrad7.draw.fold import fold as fold_picture
from tinygrad7.draw.layout import Drawing, layout, text_width
from tinygrad7.draw.model import Box, Picture, build, shape_text
from tinygrad7.draw.replay import Replay, formulas
from tinygrad7.draw.svg import TITLE_SIZE, escape, points_of, style, svg
from tinygrad7.draw.values import barred, heat, norm, statistics, symbols
from tinygrad7.node import Leaf
from tinygrad7.op import PICKED, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.wengert import Tape

BOXES = 600  # above this many the player draws modules, then steps, in the place of ops
EVENTS = 2000  # above this many, entries are played several at a time
TICKS = 48  # the most summands that the list of gradients draws apart
GRADIENTS = 12  # the most weights in it


def save_player(
    y: Any,
    path: str | os.PathLike[str],
    *,
    level: str = "op",
    fold: Any = "auto",
    time: str = "LR",
    expand: bool = False,
) -> None:
    """Write the player of ``y``, a recorded tensor or a ``Tape``, to ``path``.

    What is folded is played in one step. A result that is not scalar is played forward only. Raises ``ValueError`` for a
    constant, ``RuntimeError`` where a leaf has been written into since the tape was recorded."""
    Path(path).write_text(page(y, level=level, fold=fold, time=time, expand=expand), encoding="utf-8")


def page(y: Any, *, level: str = "op", fold: Any = "auto", time: str = "LR", expand: bool = False) -> str:
    """The text of that file."""
    tape = y if isinstance(y, Tape) else Tape(y)
    tape = tape.expand() if expand else tape
    notes: list[str] = []
    budget = AUTO if fold == "auto" or fold is True else None if fold is False else int(fold)
    picture = _picture(tape, level, budget)
    for coarser in ("module", "step"):
        if level == "op" and fold == "auto" and len(picture.boxes) > BOXES:
            notes.append(f"{len(picture.boxes):,} boxes would be too many: one box for each {coarser}.")
            picture = _picture(tape, coarser, budget)
    folded = sum(box.stand for box in picture.boxes if box.kind == "fold")
    if folded:
        notes.append(f"{folded:,} nodes are folded; what is folded is played in one step.")
    told = {i for i, node in enumerate(tape.nodes) if picture.box_of[node].kind != "fold"}
    played = Replay(tape, told if len(told) <= EVENTS else set())
    if not played.scalar:
        notes.append(f"The result has shape {shape_text(tape.outputs[0].shape)}: only a scalar is played backward.")
    drawing = layout(_annotated(picture, played), time)
    script = _Script(tape, drawing, played)
    notes += script.notes
    result = tape.outputs[0]
    value = f" = {statistics(result._data)}" if result.size == 1 else ""
    title = f"{script.names[picture.box_of[result._node]]}{value}"
    subtitle = f"{len(tape):,} entries on the tape, {len(picture.boxes):,} boxes"
    data = {
        "title": title,
        "notes": notes,
        "forward": script.forward,
        "events": script.events,
        "grads": script.gradients,
    }
    data |= _geometry(drawing)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    resource = files("tinygrad7.draw").joinpath
    parts = {
        "TITLE": escape(title), "SUBTITLE": escape(subtitle), "NOTES": escape(" ".join(notes)),
        "STYLE": style() + resource("player.css").read_text(encoding="utf-8"),
        "DRAWING": svg(drawing, player=True, title=f"The computation graph of {title}"),
        "DATA": text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
        "SCRIPT": resource("player.js").read_text(encoding="utf-8"),
    }  # fmt: skip
    template = resource("player.html").read_text(encoding="utf-8")
    return clean(re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], template))  # one pass: names may hold {{DATA}} too


def _picture(tape: Tape, level: str, budget: int | None) -> Picture:
    picture = build(tape.outputs[0], level, tape.nodes, [t._node for t in tape.outputs])
    arrange(picture)
    fold_picture(picture, budget)
    return picture


def _annotated(picture: Picture, played: Replay) -> Picture:
    """With values and bars, in few words: the rest stands beside the drawing."""
    names = symbols(picture)
    for box in picture.boxes:
        if box.kind in ("fold", "module", "step") or not box.nodes:
            continue
        node = box.nodes[0]
        value = node._data if isinstance(node, Tensor) else played.value(node)
        if not isinstance(value, tuple):
            if value.size == 1 and not (box.is_source and box.label == statistics(value)):
                box.lines.append(f"= {statistics(value)}")
            box.strip = heat(value)
        bar = played.bar(node)
        if bar is not None and not isinstance(bar, tuple):
            name = barred(names[box])
            box.lines.append(f"{name} = {statistics(bar)}" if bar.size == 1 else f"‖{name}‖ = {norm(bar):.2g}")
    return picture


def _geometry(drawing: Drawing) -> dict[str, Any]:
    """Where everything lies, for the page to close blocks: boxes, blocks, edges, with y pointing down."""
    height = drawing.size[1]
    place = {cluster.scope: k for k, cluster in enumerate(drawing.clusters)}
    inside: dict[Box, int] = {box: k for k, cluster in enumerate(drawing.clusters) for box in cluster.members}
    counts = [0] * len(drawing.clusters)
    parents = [place.get(cluster.parent, -1) for cluster in drawing.clusters]
    for box, k in inside.items():
        while k >= 0:
            counts[k] += len(box.nodes)
            k = parents[k]
    flat = drawing.flat
    boxes = []
    for box in drawing.picture.boxes:
        along, over = box.across > 1, box.up > 1 or box.kind == "fold"
        boxes.append([round(v, 1) for v in (box.x, height - box.y, box.w, box.h)]
                     + [int(along if flat else over), int(over if flat else along), inside.get(box, -1)])  # fmt: skip
    blocks = []
    for k, c in enumerate(drawing.clusters):
        l, b, r, t = c.box
        title = c.title.partition("   ")[0]
        blocks.append(
            [round(v, 1) for v in (l, height - t, r, height - b)]
            + [parents[k], title, counts[k], round(text_width(title, TITLE_SIZE) + 28)]
        )
    edges = [
        [e.src.number, e.dst.number, [round(v, 1) for point in points_of(e, height) for v in point]]
        for e in drawing.picture.edges
    ]
    return {"size": [round(v, 1) for v in drawing.size], "boxes": boxes, "clusters": blocks, "edges": edges}


class _Script:
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
            if not forward and self.played.bar(node) is None:
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
            groups = [sum(groups[k : k + size], []) for k in range(0, len(groups), size)]
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
        event: dict[str, Any] = {"d": phase, "e": [group[0], group[-1]], "b": boxes}
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
            event |= {"t": node.plan.op.label, "h": remark, "s": scope, "w": str(entry), "f": forward, "r": rules}
            into = [(k, edge) for k, edge in self.into.get(box, []) if not edge.cut and self._feeds(edge.src, node)]
            event["i"] = [
                k for k, edge in into if phase == "f" or edge.src.kind != "input"
            ]  # nothing goes to a constant
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
                name, value = x.name or "constant", statistics(x._data)
            elif hasattr(x, "plan"):
                found = self.played.value(x)
                name, value = self.name(self.tape.place[x]), "" if isinstance(found, tuple) else statistics(found)
                made = "" if type(x) is Leaf else f" {x.plan.op.label}"
            else:
                name, value = "number", str(x)
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

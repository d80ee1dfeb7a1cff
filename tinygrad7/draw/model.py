"""From a tape to a picture: boxes, edges and the scopes that they stand in, before anything has a place.

A ``Box`` stands for one entry of the tape, or for several where a level or a fold collects them; ``nodes`` holds which.
A ``Picture`` is what every later stage reads: folding, placing, routing, DOT text, and the tape player.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad7.context import Scope, chain
from tinygrad7.draw.words import module_title, op_label, shape_text, short
from tinygrad7.node import Cut, Leaf, Node
from tinygrad7.op import PICKED, inputs
from tinygrad7.tensor import Tensor
from tinygrad7.walk import reachable


@dataclass(slots=True, eq=False)
class Box:
    """One box. ``kind``: op, parameter, input, cut, module, step or fold; ``path``: the scopes around it."""

    kind: str
    label: str
    order: float  # birth of the first entry that it stands for
    path: tuple[Scope, ...] = ()
    shape: Any = None
    dtype: Any = None
    nodes: list[Any] = field(default_factory=list)
    note: str = ""  # a second line: shape, detail of a module, nodes in a fold
    tip: str = ""
    bad: bool = False
    root: bool = False
    gradient: bool = False  # made by the rules of a backward pass that was recorded
    uses: int = 0
    lines: list[str] = field(default_factory=list)  # values and bars
    strip: list[str] = field(default_factory=list)  # colours of a small heat strip
    norm: float | None = None  # of its cotangent
    variadic: bool = False
    op: str = ""  # the op's own label, without what it was given
    own: Scope | None = None  # the scope that it stands for
    stand: int = 1  # how many boxes of the unfolded picture it stands for
    number: int = 0
    # the time axis (columns.py) and the place (place.py, layout.py)
    column: Any = None  # numbers, or None outside the time axis
    band: Any = None
    role: Any = None
    zone: str = ""
    X: int = 0
    Y: int = 0
    across: int = 1  # grid cells
    up: int = 1
    shift: float = 0.0  # along time, where several share a cell
    x: float = 0.0
    y: float = 0.0
    w: float = 0.0
    h: float = 0.0

    @property
    def is_source(self) -> bool:
        """Whether it is a leaf or a constant: nothing was computed to get it."""
        return self.kind in ("parameter", "input", "cut")


@dataclass(slots=True, eq=False)
class Edge:
    """``src`` is used by ``dst`` as argument ``slot``; ``output``: which of several outputs; ``count``: how often."""

    src: Box
    dst: Box
    slot: int = 0
    output: int | None = None
    count: int = 1
    cut: bool = False
    row: Any = None  # the role in whose row it leaves or enters a fold
    points: list[tuple[float, float]] = field(default_factory=list)  # a cubic Bézier path
    reach: bool = False  # whether src and dst stand in different columns


@dataclass(slots=True, eq=False)
class Picture:
    """Boxes and edges of one drawing; ``box_of`` finds the box of a tape node."""

    boxes: list[Box]
    edges: list[Edge]
    box_of: dict[Any, Box]
    entries: int
    columns: list[Any] = field(default_factory=list)
    bands: list[Any] = field(default_factory=list)
    scale: Any = None  # colours of edges by gradient norm (values.py)
    backward: bool = False


def build(y: Tensor, level: str = "op", tape: list[Node | Leaf] | None = None, roots: Any = None) -> Picture:
    """The picture of everything that ``y`` was computed from (``tape``: those nodes, oldest first, where known)."""
    nodes = tape if tape is not None else reachable([y._node])[::-1] if y._node is not None else []
    maker = _Maker(level, nodes)
    for node in nodes:
        if isinstance(node, Leaf):
            maker.leaf(node)
        elif node.plan is PICKED:
            maker.box_of[node] = maker.box_of[node.parents[0]]
            maker.box_of[node].nodes.append(node)
        else:
            maker.op(node)
    if y._node is None:
        maker.constant(y)
    boxes = maker.finish()
    for root in roots or [y._node]:
        (maker.box_of[root] if root is not None else boxes[0]).root = True
    return Picture(boxes, maker.edges, maker.box_of, len(nodes))


class _Maker:
    def __init__(self, level: str, nodes: list[Any]) -> None:
        self.level = level
        self.boxes: list[Box] = []
        self.edges: list[Edge] = []
        self.box_of: dict[Any, Box] = {}
        self.constants: dict[int, Box] = {}
        self.owned: dict[Any, Box] = {}
        self.merged: dict[Any, Edge] = {}
        self.paths: dict[Any, tuple[Scope, ...]] = {None: ()}
        self.mirrors: dict[Scope, Scope] = {}
        self.births: dict[int, Any] | None = None
        self.nodes = nodes
        self.containers: set[Scope] = set()
        if level == "module":  # a module that holds other modules stays open; one that holds none becomes a box
            for node in nodes:
                modules = [s for s in self.path(node.scope) if s.kind == "module"]
                self.containers.update(modules[:-1])

    def path(self, scope: Scope | None) -> tuple[Scope, ...]:
        found = self.paths.get(scope)
        if found is None:
            found = chain(scope)
            if any(s.kind == "backward" for s in found):
                found = self.mirrored(found)
            self.paths[scope] = found
        return found

    def mirrored(self, path: tuple[Scope, ...]) -> tuple[Scope, ...]:
        """Blocks of their own for what a recorded backward pass computed, beside those of the forward pass."""
        copies: list[Scope] = []
        for scope in path:
            if scope.kind != "backward":
                copy = self.mirrors.get(scope)
                if copy is None:
                    outer = copies[-1] if copies else None
                    copy = self.mirrors[scope] = Scope(outer, scope.name, scope.index, scope.kind, "backward")
                copies.append(copy)
        return tuple(copies)

    def owner(self, path: tuple[Scope, ...]) -> int | None:
        """How much of ``path`` lies outside the box that collects it at this level; None where nothing does."""
        if self.level == "op":
            return None
        for i, scope in enumerate(path):
            if scope.kind == "step" and self.level == "step":
                return i
            if scope.kind == "module" and self.level == "module" and scope not in self.containers:
                return i
        return None

    def add(self, box: Box) -> Box:
        self.boxes.append(box)
        return box

    def leaf(self, leaf: Leaf) -> None:
        box = Box(
            "parameter",
            leaf.name or short(leaf.data) or shape_text(leaf.shape),
            leaf.birth,
            (),
            leaf.shape,
            leaf.dtype,
            [leaf],
        )
        if leaf.name or box.label != shape_text(leaf.shape):
            box.note = shape_text(leaf.shape)
        box.tip = f"leaf {leaf.name or ''} {leaf.shape} {leaf.dtype}"
        self.box_of[leaf] = self.add(box)

    def op(self, node: Node) -> None:
        path = self.path(node.scope)
        cut = self.owner(path)
        if cut is not None:
            scope = path[cut]
            box = self.owned.get(scope)
            if box is None:
                label = (
                    f"{scope.name} = {scope.index}" if scope.kind == "step" else module_title(scope).partition("   ")[0]
                )
                box = Box(scope.kind, label, node.birth, path[:cut], op=scope.name, own=scope)
                box.tip = " / ".join(s.label for s in path[: cut + 1])
                self.owned[scope] = self.add(box)
            box.nodes.append(node)
        else:
            box = self.add(Box("op", node.plan.op.label, node.birth, path, node.shape, node.dtype, [node]))
            box.note = shape_text(node.shape)
            box.variadic, box.op = node.plan.op.variadic is not None, node.plan.op.label
        box.shape, box.dtype = node.shape, node.dtype
        scope_ = node.scope
        if scope_ is not None:
            box.bad |= scope_.bad
            while scope_ is not None and scope_.kind == "line":
                scope_ = scope_.parent
            if scope_ is not None and (scope_.kind == "backward" or any(s.detail == "backward" for s in path)):
                box.gradient, box.op = True, "∂" + box.op
        self.box_of[node] = box
        self.arguments(node, box, cut is None)

    def arguments(self, node: Node, box: Box, single: bool) -> None:
        numbers: list[tuple[int, Any]] = []
        given = inputs(node) if node.constants else node.parents
        for slot, value in enumerate(given):
            kind = type(value)
            if kind is Node or kind is Leaf:
                output = value.params[0] if kind is Node and value.plan is PICKED else None
                source = self.box_of[value]
            elif isinstance(value, Tensor):
                small = value._info is None and value.size == 1 and value.ndim == 0
                if small:
                    numbers.append((slot, value.item()))
                    continue
                output, source = None, self.constant(value)
            else:
                if value is not None:
                    numbers.append((slot, value))
                continue
            if source is box:
                continue
            if single:
                self.edges.append(Edge(source, box, slot, output))
            else:
                key = (source, box)
                if key in self.merged:
                    self.merged[key].count += 1
                    continue
                self.merged[key] = edge = Edge(source, box, -1, output)
                self.edges.append(edge)
            source.uses += 1
        if single:
            box.label = op_label(node, numbers)

    def constant(self, value: Tensor) -> Box:
        found = self.constants.get(id(value._value))
        if found is not None:
            return found
        info = value._info
        name = info if isinstance(info, str) else None
        box = Box("input", name or short(value._value) or shape_text(value.shape), 0, (), value.shape, value.dtype)
        if name or box.label != shape_text(value.shape):
            box.note = shape_text(value.shape)
        box.nodes = [value]
        box.tip = f"constant {name or ''} {value.shape} {value.dtype}"
        if isinstance(info, Cut):
            self.cut(box, info)
        self.constants[id(value._value)] = self.add(box)
        return box

    def cut(self, box: Box, info: Cut) -> None:
        """A constant that ``detach`` or ``truncate`` made: the cut, with the op before it where that is drawn."""
        where = self.path(info.scope)
        box.kind, box.label = "cut", "✂"
        box.note = info.name or f"{info.op} {where[-1].label}" if where else info.name or info.op
        box.tip = "the gradient stops here"
        if self.births is None:
            self.births = {node.birth: node for node in self.nodes}
        before = self.births.get(info.birth)
        if before is not None and before in self.box_of:
            box.note = ""
            self.edges.append(Edge(self.box_of[before], box, cut=True))

    def finish(self) -> list[Box]:
        sources: dict[Box, float] = {}
        for edge in self.edges:  # a constant has no birth: it comes just before its first use
            if edge.src.order == 0 and edge.dst.order:
                sources[edge.src] = min(sources.get(edge.src, edge.dst.order), edge.dst.order)
        for box, order in sources.items():
            box.order = order - 0.5
        self.boxes.sort(key=lambda b: (b.order, not b.is_source))
        if self.level == "module":
            self.boxes = self.absorb()
        for number, box in enumerate(self.boxes):
            box.number = number
        return self.boxes

    def absorb(self) -> list[Box]:
        """At the level of modules a module's own parameters are counted in its box, not drawn beside it."""
        users: dict[Box, list[Edge]] = {}
        for edge in self.edges:
            if edge.src.kind == "parameter":
                users.setdefault(edge.src, []).append(edge)
        totals: dict[Box, int] = {}
        gone: set[Box] = set()
        for box, edges in users.items():
            if box.nodes[0].name and all(e.dst.kind == "module" for e in edges):
                gone.add(box)
                for user in {e.dst for e in edges}:
                    totals[user] = totals.get(user, 0) + int(np.prod(box.shape, dtype=int))
                edges[0].dst.nodes.append(box.nodes[0])
                self.box_of[box.nodes[0]] = edges[0].dst
        self.edges = [e for e in self.edges if e.src not in gone]
        for box in self.boxes:
            if box.kind == "module":
                count = f"{totals[box]:,} parameters" if box in totals else ""
                box.note = "\n".join(t for t in (box.note, f"→ {shape_text(box.shape)}", count) if t)
        return [b for b in self.boxes if b not in gone]

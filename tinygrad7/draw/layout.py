"""Coordinates: from grid cells and ways to points. The unit is Graphviz's, the point (1/72 inch).

Everything is worked out *along* time and *across* it, and turned only at the end, so ``time="TB"`` is the same picture
lying on its side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinygrad7.draw.blocks import Cluster, blocks
from tinygrad7.draw.grid import Grid
from tinygrad7.draw.model import Box, Picture
from tinygrad7.draw.place import place
from tinygrad7.draw.points import TRACK, points, ports
from tinygrad7.draw.route import Channels, Way, route

GAP = 24.0  # the narrowest channel between columns
ROW = 18.0  # and between rows
PAD = 9.0  # from a box to the border of the block around it, and from border to border
TITLE = 15.0
GRAIN = 20.0  # widths of boxes are multiples of it: calmer to look at, and 10 steps look like 1,000
LABEL, NOTE = 13.0, 8.5  # font sizes

_NARROW = frozenset("ijltfrI.,:;'|![](){} ·`-")
_WIDE = frozenset("mwMW@⋯—%…✂")


@dataclass(slots=True, eq=False)
class Drawing:
    """A picture with coordinates, ready to be written. ``size``: width and height."""

    picture: Picture
    clusters: list[Cluster]
    size: tuple[float, float]
    flat: bool  # time runs from left to right


def text_width(text: str, size: float) -> float:
    """About how wide ``text`` is in a sans-serif font of ``size`` points."""
    units = 0.0
    for c in text:
        if c in _NARROW:
            units += 0.34
        elif c in _WIDE or ord(c) > 0x2E7F:
            units += 0.95
        elif "\u0300" <= c <= "\u036f":
            continue
        else:
            units += 0.7 if c.isupper() else 0.57
    return units * size


def measure(box: Box) -> None:
    """Width and height that a box's text needs."""
    label, note = box.label, box.note
    w = text_width(label if len(label) < 40 else label[:40], LABEL) + (14 if len(label) < 3 else 18)
    h = 24.0
    if note:
        lines = note.split("\n")
        w = max(w, *(text_width(line[:60], NOTE) + 14 for line in lines))
        h += 10.5 * len(lines)
    if box.is_source and box.uses > 1:
        w = max(w, text_width(f"{note}  ×{box.uses:04}", NOTE) + 14)
        h += 0 if note else 10.5
    if box.lines:
        w = max(w, *(text_width(line, NOTE) + 14 for line in box.lines))
        h += 11 * len(box.lines)
    if box.strip:
        w, h = max(w, 64.0), h + 9
    if box.kind == "fold":
        w = max(w, 118.0)
    box.w, box.h = GRAIN * math.ceil(w / GRAIN), max(h, 26.0)


def layout(picture: Picture, time: str = "LR") -> Drawing:
    """Coordinates for every box, edge and block."""
    flat = time == "LR"
    for box in picture.boxes:
        measure(box)
    grid = place(picture)
    _share(grid, flat)
    ways, channels = route(grid)
    _widen(ways, flat)
    clusters = blocks(picture)
    plan = _Plan(grid, clusters, channels, flat)
    plan.boxes()
    plan.blocks()
    ports(ways, flat)
    for way in ways:
        way.edge.points = points(plan, way)
    plan.turn()
    return Drawing(picture, clusters, plan.size, flat)


def _share(grid: Grid, flat: bool) -> None:
    """Several sources in one cell stand side by side."""
    for boxes in grid.shared.values():
        extents = [box.w if flat else box.h for box in boxes]
        at = -(sum(extents) + 10 * (len(boxes) - 1)) / 2
        for box, extent in zip(boxes, extents, strict=True):
            box.shift = at + extent / 2
            at += extent + 10


def _widen(ways: list[Way], flat: bool) -> None:
    """Room for every edge that arrives from below."""
    arriving: dict[Box, int] = {}
    for way in ways:
        if way.end == "S" and way.edge.dst.across == 1:
            arriving[way.edge.dst] = arriving.get(way.edge.dst, 0) + 1
    for box, count in arriving.items():
        if flat:
            box.w = max(box.w, 11.0 * count + 10)
        else:
            box.h = max(box.h, 11.0 * count + 10)


class _Plan:
    """Where columns, rows and the channels between them lie."""

    def __init__(self, grid: Grid, clusters: list[Cluster], channels: Channels, flat: bool) -> None:
        self.grid, self.clusters, self.flat = grid, clusters, flat
        boxes = grid.picture.boxes
        xs = sorted({box.X for box in boxes} | {box.X + box.across - 1 for box in boxes})
        ys = sorted({y for box in boxes for y in (box.Y, box.Y + box.up - 1)})
        self.xs, self.ys = range(xs[0], xs[-1] + 1), range(ys[0], ys[-1] + 1)
        wide = dict.fromkeys(self.xs, 0.0)
        high = dict.fromkeys(self.ys, 0.0)
        for box in boxes:
            a, c = (box.w, box.h) if flat else (box.h, box.w)
            if box.across == 1:
                wide[box.X] = max(wide[box.X], a + 2 * abs(box.shift))
            if box.up == 1:
                high[box.Y] = max(high[box.Y], c)
        computed = {y for box in boxes if not box.is_source for y in range(box.Y, box.Y + box.up)}
        left = dict.fromkeys(range(xs[0], xs[-1] + 2), 0)
        right = dict(left)
        low = dict.fromkeys(range(ys[0], ys[-1] + 2), 0)
        top = dict(low)
        for cluster in clusters:
            x, y, r, t = cluster.cells
            a, b, c, d = cluster.sides
            left[x], right[r + 1] = max(left[x], a), max(right[r + 1], c)
            low[y], top[t + 1] = max(low[y], b), max(top[t + 1], d)
        title_side = TITLE if flat else 0.0
        title_end = 0.0 if flat else TITLE
        self.left: dict[int, float] = {}  # edges of columns and rows
        self.right: dict[int, float] = {}
        self.low: dict[int, float] = {}
        self.top: dict[int, float] = {}
        self.track_x: dict[int, float] = {}
        self.track_y: dict[int, float] = {}
        self.end_x: dict[int, float] = {}  # where the channel's free part begins and ends
        self.begin_x: dict[int, float] = {}
        at = 0.0
        for x in self.xs:
            self.end_x[x] = at
            at += PAD * right[x]
            steep = channels.curved.get(x, 0)
            room = GAP + (10 if steep > 1 else 0) if x > xs[0] else 4.0
            self.track_x[x] = at + room / 2
            at += room + TRACK * channels.across.get(x, 0)
            at += (PAD + title_end) * left[x]
            self.begin_x[x] = at
            self.left[x] = at
            at += wide[x]
            self.right[x] = at
        last = xs[-1] + 1
        self.end_x[last] = at
        self.track_x[last] = at + PAD * right[last] + 8
        at += PAD * right[last] + TRACK * channels.across.get(last, 0) + (14 if channels.across.get(last) else 0)
        self.begin_x[last] = at
        self.width = at
        at = 0.0
        for y in self.ys:
            at += (PAD + title_side) * top[y]
            gap = ROW if y in computed or y - 1 in computed else ROW / 2
            room = (gap if high[y] else 0.0) if y > ys[0] else 4.0
            self.track_y[y] = at + room / 2
            at += room + TRACK * channels.up.get(y, 0) + PAD * low[y]
            self.low[y] = at
            at += high[y]
            self.top[y] = at
        last = ys[-1] + 1
        self.track_y[last] = at + (PAD + title_side) * top[last] + 8
        at += (PAD + title_side) * top[last] + TRACK * channels.up.get(last, 0) + (12 if channels.up.get(last) else 0)
        self.height = at
        self.size = (self.width, self.height) if flat else (self.height, self.width)

    def boxes(self) -> None:
        for box in self.grid.picture.boxes:
            a, c = (box.w, box.h) if self.flat else (box.h, box.w)
            l, r = self.left[box.X], self.right[box.X + box.across - 1]
            b, t = self.low[box.Y], self.top[box.Y + box.up - 1]
            box.x, box.y = (l + r) / 2 + box.shift, (b + t) / 2
            if box.across > 1:
                a = r - l
            if box.kind == "fold":
                a, c = r - l, t - b
            if not self.flat:
                a, c = c, a
            box.w, box.h = a, c

    def row_y(self, box: Box, row: int) -> float:
        return box.y if box.up == 1 else (self.low[row] + self.top[row]) / 2

    def half(self, box: Box) -> tuple[float, float]:
        """Half of a box's extent along and across."""
        return (box.w / 2, box.h / 2) if self.flat else (box.h / 2, box.w / 2)

    def blocks(self) -> None:
        side = TITLE if self.flat else 0.0
        end = 0.0 if self.flat else TITLE
        for cluster in self.clusters:
            x, y, r, t = cluster.cells
            a, b, c, d = cluster.sides
            cluster.box = (
                self.left[x] - (PAD + end) * a, self.low[y] - PAD * b,
                self.right[r] + PAD * c, self.top[t] + (PAD + side) * d,
            )  # fmt: skip

    def turn(self) -> None:
        """From along and across to x and y; for ``TB`` time runs down and what was below stands left."""
        if self.flat:
            return
        h = self.width
        for box in self.grid.picture.boxes:
            box.x, box.y = box.y, h - box.x
        for edge in self.grid.picture.edges:
            edge.points = [(c, h - a) for a, c in edge.points]
        for cluster in self.clusters:
            l, b, r, t = cluster.box
            cluster.box = (b, h - r, t, h - l)

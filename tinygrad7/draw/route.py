"""Ways for edges through the grid, so that none runs through a box.

An edge leaves a box to the side of its flow, keeps to its row as long as that is free, changes rows in the channel
between two columns, and arrives from the side or, where the column is clear, from below. Only where neither row is free
does it take a track in the channel between two rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from tinygrad7.draw.grid import Grid
from tinygrad7.draw.model import Box, Edge


@dataclass(slots=True, eq=False)
class Way:
    """How one edge runs. ``kind``: "row" (curves at ``channel``), "up" (vertical), "tap" (along a row, then up or
    down), "side" (up the channel beside the column, from or to a bar), "around" (by a track between two rows).
    ``start`` and ``end``: the sides of the boxes, as E, W, N, S."""

    edge: Edge
    kind: str
    start: str
    end: str
    low: int  # row at the source
    high: int  # row at the target
    channel: int = 0  # column channel: the one left of this grid column
    channel2: int = 0
    row: int = 0  # row channel: the one below this grid row
    first: int = 0  # tracks
    second: int = 0
    third: int = 0
    out: float = 0.0  # port offsets along the sides
    into: float = 0.0


@dataclass(slots=True, eq=False)
class Channels:
    """How many tracks each channel between columns (``across``) and between rows (``up``) needs."""

    across: dict[int, int] = field(default_factory=dict)
    up: dict[int, int] = field(default_factory=dict)
    curved: dict[int, int] = field(default_factory=dict)  # how many rows curves climb in a column channel


def route(grid: Grid) -> tuple[list[Way], Channels]:
    """A way for every edge, with its tracks."""
    rows: dict[int, list[int]] = {}
    columns: dict[int, list[int]] = {}
    for x, y in sorted(grid.cells):
        rows.setdefault(y, []).append(x)
        columns.setdefault(x, []).append(y)
    for line in rows.values():
        line.sort()
    finder = _Finder(grid, rows, columns)
    ways = [finder.way(edge) for edge in grid.picture.edges]
    return ways, _tracks(ways)


class _Finder:
    def __init__(self, grid: Grid, rows: dict[int, list[int]], columns: dict[int, list[int]]) -> None:
        self.grid, self.rows, self.columns = grid, rows, columns

    def open_row(self, y: int, a: int, b: int) -> bool:
        """Whether row ``y`` is empty from column ``a`` to column ``b`` (both included)."""
        line = self.rows.get(y, [])
        return bisect_left(line, a) == bisect_right(line, b)

    def open_column(self, x: int, a: int, b: int) -> bool:
        line = self.columns.get(x, [])
        return bisect_left(line, a) == bisect_right(line, b)

    def row_of(self, box: Box, edge: Edge) -> int:
        """The row on which an edge touches a box; of a fold, the row of the op inside it."""
        if box.up > 1:
            row = box.Y + (edge.row.y if edge.row is not None else 0)
            return min(max(row, box.Y), box.Y + box.up - 1)
        return box.Y

    def way(self, edge: Edge) -> Way:
        a, b = edge.src, edge.dst
        y, v = self.row_of(a, edge), self.row_of(b, edge)
        if a.across > 1 or b.across > 1:
            return self.bar(edge, y, v)
        if a.X == b.X:
            return self.same_column(edge, y, v)
        right = b.X > a.X
        start, end = ("E", "W") if right else ("W", "E")
        near, far = (a.X + 1, b.X - 1) if right else (b.X + 1, a.X - 1)
        after, before = (a.X + 1, b.X) if right else (a.X, b.X + 1)  # channels beside the source, beside the target
        bottom = b.Y
        if (a.is_source or a.zone == "rail") and bottom > a.Y and (a.column is None or b.column is None):
            clear = self.open_column(b.X, a.Y, bottom - 1)
            if clear and self.open_row(y, near, far):
                return Way(edge, "tap", start, "S", y, bottom)
        if y == v and self.open_row(y, near, far):
            return Way(edge, "row", start, end, y, v, before)
        if y != v:
            if a.zone == "rail" and self.open_row(y, near, far):
                return Way(edge, "step", start, end, y, v, before)
            if self.open_row(y, near, far):
                return Way(edge, "row", start, end, y, v, before)
            if self.open_row(v, near, far):
                return Way(edge, "row", start, end, y, v, after)
        row = v + 1 if y >= v else v
        return Way(edge, "around", start, end, y, v, after, before, row)

    def same_column(self, edge: Edge, y: int, v: int) -> Way:
        a, b = edge.src, edge.dst
        if v > y and self.open_column(a.X, a.Y + a.up, b.Y - 1):
            return Way(edge, "up", "N", "S", y, v)
        if v < y and self.open_column(a.X, b.Y + b.up, a.Y - 1):
            return Way(edge, "up", "S", "N", y, v)
        if a.is_source:  # what is put in enters from the left
            return Way(edge, "loop", "W", "W", y, v, a.X)
        return Way(edge, "loop", "E", "E", y, v, a.X + 1)

    def bar(self, edge: Edge, y: int, v: int) -> Way:
        a, b = edge.src, edge.dst
        if a.across > 1 and b.across > 1:
            return Way(edge, "up", "N" if v > y else "S", "S" if v > y else "N", y, v)
        if a.across > 1:
            if a.X + a.across <= b.X or b.X < a.X:
                right = a.X + a.across <= b.X
                near, far = (a.X + a.across, b.X - 1) if right else (b.X + 1, a.X - 1)
                if self.open_row(y, near, far) or self.open_row(v, near, far):
                    return Way(
                        edge,
                        "row",
                        "E" if right else "W",
                        "W" if right else "E",
                        y,
                        v,
                        (b.X if right else b.X + 1) if self.open_row(y, near, far) else (near if right else far + 1),
                    )
                return Way(edge, "around", "E" if right else "W", "W" if right else "E", y, v, near, b.X, v)
            up = v > y
            low, high = (a.Y + 1, b.Y - 1) if up else (b.Y + b.up, a.Y - 1)
            if self.open_column(b.X, low, high):
                return Way(edge, "up", "N" if up else "S", "S" if up else "N", y, v)
            return Way(edge, "side", "N" if up else "S", "W", y, v, b.X)
        if a.X < b.X:
            near, far = a.X + 1, b.X - 1
            if self.open_row(y, near, far):
                return Way(edge, "row", "E", "W", y, v, b.X)
            if self.open_row(v, near, far):
                return Way(edge, "row", "E", "W", y, v, a.X + 1)
            return Way(edge, "around", "E", "W", y, v, a.X + 1, b.X, v)
        up = v > y
        low, high = (a.Y + a.up, b.Y - 1) if up else (b.Y + 1, a.Y - 1)
        if self.open_column(a.X, low, high):
            return Way(edge, "up", "N" if up else "S", "S" if up else "N", y, v)
        return Way(edge, "side", "E", "S" if up else "N", y, v, a.X + 1)


def _tracks(ways: list[Way]) -> Channels:
    """Give every stretch that runs in a channel a track of its own; stretches from one box share theirs."""
    channels = Channels()
    across: dict[int, list[tuple[float, float, int, Way, str]]] = {}
    up: dict[int, list[tuple[float, float, int, Way, str]]] = {}
    for way in ways:
        y, v = sorted((float(way.low), float(way.high)))
        net = id(way.edge.src)
        if way.kind in ("side", "step", "loop"):
            across.setdefault(way.channel, []).append((y, v, net, way, "first"))
        elif way.kind == "around":
            between = way.row - 0.5
            low, high = sorted((float(way.low), between))
            across.setdefault(way.channel, []).append((low, high, net, way, "first"))
            low, high = sorted((float(way.high), between))
            across.setdefault(way.channel2, []).append((low, high, net, way, "second"))
            a, b = sorted((float(way.channel), float(way.channel2)))
            up.setdefault(way.row, []).append((a - 0.25, b + 0.25, net, way, "third"))
        elif way.kind == "row":
            channels.curved[way.channel] = max(channels.curved.get(way.channel, 0), int(v - y))
    for spans, counts in ((across, channels.across), (up, channels.up)):
        for channel, stretches in spans.items():
            counts[channel] = _colour(stretches)
    return channels


def _colour(stretches: list[tuple[float, float, int, Way, str]]) -> int:
    """Left-edge colouring: the fewest tracks on which no two stretches of different boxes overlap."""
    nets: dict[int, list[float]] = {}
    for a, b, net, _, _ in stretches:
        span = nets.setdefault(net, [a, b])
        span[0], span[1] = min(span[0], a), max(span[1], b)
    ends: list[float] = []
    track: dict[int, int] = {}
    for net, (a, b) in sorted(nets.items(), key=lambda n: n[1]):
        for k, end in enumerate(ends):
            if end < a:
                ends[k] = b
                break
        else:
            k = len(ends)
            ends.append(b)
        track[net] = k
    for _, _, net, way, name in stretches:
        setattr(way, name, track[net])
    return len(ends)

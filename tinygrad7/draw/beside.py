"""What stands beside the columns: before them, after them, and the leaves and constants under single boxes."""

from __future__ import annotations

from typing import Any

from tinygrad7.draw.grid import Grid, group_of, is_first_state
from tinygrad7.draw.model import Box
from tinygrad7.draw.nest import nest


def restarts(grid: Grid, group: int) -> dict[Box, int]:
    """Sources that start the state anew in the middle of a loop (a cut, a reset), with their columns."""
    found: dict[Box, int] = {}
    first = min((k for k, c in enumerate(grid.picture.columns) if c.group == group), default=0)
    for box in grid.picture.boxes:
        if box.zone == "source" and box.band is not None and box.column is not None and box.kind != "fold":
            band = grid.picture.bands[box.band]
            if band.group == group and not band.reverse and box.column > first and is_first_state(grid, box):
                found[box] = box.column
    return found


def _waiting(grid: Grid, group: int) -> list[Box]:
    """Boxes that stand left of the columns of ``group``, those nearest to the columns first."""
    found: list[Box] = []
    chosen: set[Box] = set()
    for box in reversed(grid.picture.boxes):
        users = [e.dst for e in grid.out[box] if not e.cut]
        if box.zone == "pre" and group_of(grid, box) == group:
            chosen.add(box)
        elif box.zone == "source" and users:
            ahead = any(u in chosen or u.zone in ("rail", "bar", "pre") for u in users) and group_of(grid, box) == group
            starts = box.band is not None and grid.picture.bands[box.band].group == group and is_first_state(grid, box)
            if ahead or (starts and box not in grid.placed):
                chosen.add(box)
        if box in chosen:
            found.append(box)
    return found


def depth_before(grid: Grid, group: int) -> int:
    depth: dict[Box, int] = {}
    for box in _waiting(grid, group):
        depth[box] = 1 + max((depth.get(e.dst, 1 if e.dst.zone == "rail" else 0) for e in grid.out[box]), default=0)
    return max(depth.values(), default=1)


def before(grid: Grid, group: int, left: int, right: int) -> None:
    for box in _waiting(grid, group):
        users = [e.dst for e in grid.out[box] if e.dst in grid.placed]
        if box in grid.placed or not users:
            continue
        to = min(users, key=lambda u: (u.X, u.Y))
        if box.band is not None and grid.picture.bands[box.band].reverse and is_first_state(grid, box):
            grid.put(box, right, grid.near(right, to.Y))
            continue
        x = left if box.is_source and to.zone not in ("rail", "bar", "pre") else to.X - 1
        grid.put(box, x, grid.near(x, to.Y))


def after(grid: Grid, left: int) -> None:
    """What uses the results of the columns, to their right, on the row where it leaves them (all, without columns)."""
    boxes = [box for box in grid.picture.boxes if box.zone == "post"]
    if not boxes:
        return
    inside = set(boxes)
    vertices: dict[Any, Any] = {}
    for box in boxes:
        path = tuple(s for s in box.path if s.kind != "step")
        vertices[box] = (path, box.order, "main")
    edges = [(e.src, e.dst) for box in boxes for e in grid.into[box] if e.src in inside and not e.cut]
    entries = [
        box
        for box in boxes
        if any(e.src in grid.placed and e.src.zone in ("step", "bar", "fold") for e in grid.into[box])
    ]
    exits = [box for box in boxes if box.root]
    row = 0
    if entries:
        row = next(
            e.src.Y + e.src.up - 1 if e.src.zone == "fold" else e.src.Y
            for e in grid.into[entries[0]]
            if e.src in grid.placed
        )
    elif head := _head(grid, boxes):
        vertices[head] = ((), head.order, "main")
        edges += [(head, e.dst) for e in grid.out[head] if e.dst in inside]
        entries = [head]
        head.zone = "post"
    spots, _, _, port = nest(vertices, edges, (), (), exits, entries)
    for box, (x, y) in spots.items():
        grid.put(box, left + x, row + y - port)


def _head(grid: Grid, boxes: list[Box]) -> Box | None:
    """The source that a picture without time begins with: the data, rather than a parameter."""
    for box in boxes:
        sources = [e.src for e in sorted(grid.into[box], key=lambda e: e.slot) if e.src.is_source and not e.cut]
        if sources:
            return min(sources, key=lambda s: s.kind == "parameter")
    return None


def sources(grid: Grid) -> None:
    """Leaves and constants below what uses them: directly below where the block allows it, else under everything."""
    floor: dict[int, int] = {}
    for x, y in grid.cells:
        floor[x] = min(floor.get(x, y), y)
    lowest = min(floor.values(), default=0)
    wide: list[Box] = []
    together: dict[Box, list[Box]] = {}
    for box in grid.picture.boxes:
        users = [e.dst for e in grid.out[box] if e.dst in grid.placed and not e.cut]
        if box in grid.placed or not users:
            continue
        if len({u.X for u in users}) > 2:
            wide.append(box)
        else:
            together.setdefault(min(users, key=lambda u: (u.X, u.Y)), []).append(box)
    for to, boxes in together.items():
        x = to.X
        if to.zone in ("step", "fold"):
            y = _input_row(grid, to, x)
        elif to.path:
            y = min(floor[x], lowest) - 1
        else:
            y = to.Y - 1
        while (x, y) in grid.cells:
            y -= 1
        clear = grid.clear(x, y, to.Y)
        alone = [b for b in boxes if not clear or b.kind == "cut" or len({e.dst for e in grid.out[b]}) > 1]
        beside = [box for box in boxes if box not in alone]
        for box in beside:
            grid.put(box, x, y)
        if len(beside) > 1:
            grid.shared[x, y] = beside
        for box in alone:  # its edges leave to the side, where nothing may stand
            while (x, y) in grid.cells:
                y -= 1
            grid.put(box, x, y)
        floor[x] = min(floor.get(x, y), y)
    for box in wide:
        x = min(e.dst.X for e in grid.out[box])
        y = min(floor.values()) - 1
        grid.put(box, x, y)
        floor[x] = y


def _input_row(grid: Grid, to: Box, x: int) -> int:
    """Just under the band that ``to`` belongs to, and under its rails."""
    row = min([grid.base[to.band], *(box.Y for box in grid.placed_rails(to.band))]) - 1
    while (x, row) in grid.cells:
        row -= 1
    return row

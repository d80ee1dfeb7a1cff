"""The grid: every box gets a column ``X`` and a row ``Y`` of one grid for the whole picture.

From left to right: what comes before the first step, the steps, what comes after. From the bottom to the top, for each
band: ops on the whole sequence (bars), inputs, shared parameters on rails of their own, the ops of the steps.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from tinygrad7.draw.columns import Role
from tinygrad7.draw.model import Box, Edge, Picture
from tinygrad7.draw.nest import nest


class Grid:
    """The picture's cells. ``cells`` holds what stands where; ``into`` and ``out`` the edges of each box."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.cells: dict[tuple[int, int], Box] = {}
        self.into: dict[Box, list[Edge]] = {box: [] for box in picture.boxes}
        self.out: dict[Box, list[Edge]] = {box: [] for box in picture.boxes}
        for edge in picture.edges:
            self.into[edge.dst].append(edge)
            self.out[edge.src].append(edge)
        self.placed: set[Box] = set()
        self.shared: dict[tuple[int, int], list[Box]] = {}  # sources that stand side by side in one cell
        self.base: dict[int, int] = {}  # the lowest row of each band
        self.rails: dict[int | None, list[Box]] = {}

    def put(self, box: Box, x: int, y: int, across: int = 1, up: int = 1) -> None:
        box.X, box.Y, box.across, box.up = x, y, across, up
        for i in range(across):
            for j in range(up):
                self.cells[x + i, y + j] = box
        self.placed.add(box)

    def free(self, x: int, y: int) -> bool:
        return (x, y) not in self.cells

    def clear(self, x: int, low: int, high: int) -> bool:
        """Whether nothing stands in column ``x`` strictly between two rows."""
        return all((x, y) not in self.cells for y in range(low + 1, high))

    def placed_rails(self, band: int | None) -> list[Box]:
        """The rails under a band."""
        if not self.rails:
            for box in self.placed:
                if box.zone == "rail":
                    below = min((e.dst.band for e in self.out[box] if e.dst.band is not None), default=None)
                    self.rails.setdefault(below, []).append(box)
        return self.rails.get(band, [])

    def near(self, x: int, y: int) -> int:
        """The free row of column ``x`` nearest to ``y``, looking below first."""
        for away in range(1 << 30):
            for row in (y - away, y + away):
                if (x, row) not in self.cells:
                    return row
        raise AssertionError


def place(picture: Picture) -> Grid:
    """Give every box its cell."""
    grid = Grid(picture)
    right = 0
    if picture.bands:
        groups = sorted({band.group for band in picture.bands})
        for group in groups:
            right = _group(grid, group, right) + 1
    _after(grid, right)
    _sources(grid)
    for box in picture.boxes:
        if box not in grid.placed:
            grid.put(box, right, grid.near(right, -1))
    return grid


# ---- the columns -------------------------------------------------------------------------------------------------


def _zone_of_roles(band: Any) -> dict[Role, str]:
    """Roles on the state's way are "main"; those that only feed it "below", those that only use it "above"."""
    loops = [(a, b) for a, b in band.carried if a not in band.accumulators]
    if not loops:
        return {role: "above" if role.loose else "main" for role in band.roles.values()}
    order = sorted(band.roles.values(), key=lambda r: r.order)
    after: dict[Role, list[Role]] = {}
    for a, b in band.inner:
        after.setdefault(a, []).append(b)
    down = {b for _, b in loops}
    up = {a for a, _ in loops}
    for role in order:
        if role in down:
            down.update(after.get(role, ()))
    feeding: set[Role] = set()
    for role in reversed(order):
        if any(b in up or b in feeding for b in after.get(role, ())):
            (up if role in down else feeding).add(role)
    main = down & up
    return {role: "main" if role in main else "below" if role in feeding else "above" for role in order}


def _group(grid: Grid, group: int, left: int) -> int:
    """Place one time axis from grid column ``left`` on; returns the first column after it."""
    picture = grid.picture
    bands = [(b, band) for b, band in enumerate(picture.bands) if band.group == group]
    columns = [(k, c) for k, c in enumerate(picture.columns) if c.group == group]
    sizes: dict[int, tuple[int, int, int]] = {}
    for b, band in bands:
        zones = _zone_of_roles(band)
        vertices = {r: (r.path, r.order, zones[r]) for r in band.roles.values()}
        loops = [(a, c) for a, c in band.carried if a not in band.accumulators]
        leaving = {e.src.role for box in picture.boxes if box.band == b and box.zone == "step" for e in grid.out[box]
                   if e.dst.band != b}  # fmt: skip
        spots, w, h, port = nest(vertices, band.inner, loops, band.accumulators, leaving if not loops else ())
        sizes[b] = (w, h, port)
        for role, (x, y) in spots.items():
            role.x, role.y = (w - 1 - x if band.reverse else x), y
    width = max(w for w, _, _ in sizes.values())
    for b, band in bands:
        if band.reverse:
            for role in band.roles.values():
                role.x += width - sizes[b][0]
    gutter = _depth_before(grid, group) + 1
    at = left + gutter
    restarts = _restarts(grid, group)
    for k, column in columns:
        at += k in restarts.values()  # a state that starts anew has a place of its own before the column
        column.start, column.width = at, 1 if column.fold else width
        at += column.width
    low = 0
    base = grid.base
    for n, (b, band) in enumerate(bands):
        bars, rails, inputs = _under(grid, b)
        if n == 0:  # the first band of every time axis runs on the same row
            low = -len(bars) - inputs - len(rails) - sizes[b][2]
        row = low + len(bars) + inputs
        for k, bar in enumerate(bars):
            grid.put(bar, left + gutter, low + k, across=at - left - gutter)
        for k, rail in enumerate(rails):
            grid.put(rail, left if rail.is_source else left + gutter - 1, row + k)
        base[b] = row + len(rails)
        for role in band.roles.values():
            for k, box in role.boxes.items():
                grid.put(box, picture.columns[k].start + role.x, base[b] + role.y)
        for box in picture.boxes:
            if box.zone == "fold" and box.band == b and box.column is not None:
                grid.put(box, picture.columns[box.column].start, base[b], up=sizes[b][1])
        low = base[b] + sizes[b][1]
        for box in picture.boxes:  # what gathers the steps of this band stands right above it
            if box.zone == "bar" and box not in grid.placed:
                bands_in = {e.src.band for e in grid.into[box] if e.src.zone in ("step", "fold")}
                if bands_in and max(bands_in) == b:  # type: ignore[type-var]
                    grid.put(box, left + gutter, low, across=at - left - gutter)
                    low += 1
    for bar in [
        box for box in picture.boxes if box.zone == "bar" and box not in grid.placed and _group_of(grid, box) == group
    ]:
        grid.put(bar, left + gutter, low, across=at - left - gutter)
        low += 1
    for box, k in restarts.items():
        x = picture.columns[k].start - 1
        grid.put(box, x, grid.near(x, next(e.dst.Y for e in grid.out[box])))
    _before(grid, group, left, at)
    return at


def _group_of(grid: Grid, box: Box) -> int:
    """The time axis that a box outside the columns belongs to: that of the first step it is connected to, near or far."""
    seen, front = {box}, [box]
    while front:
        for b in front:
            if b.band is not None and b.zone in ("step", "fold"):
                return int(grid.picture.bands[b.band].group)
        new = []
        for b in front:
            for other in (*(e.src for e in grid.into[b]), *(e.dst for e in grid.out[b])):
                if other not in seen:
                    seen.add(other)
                    new.append(other)
        front = new
    return 0


def _under(grid: Grid, b: int) -> tuple[list[Box], list[Box], int]:
    """What stands under a band: bars that feed it, shared boxes on rails, and how many rows of inputs."""
    bars, rails = [], []
    for box in grid.picture.boxes:
        if box in grid.placed or box.zone not in ("bar", "rail"):
            continue
        used = [e.dst.band for e in grid.out[box] if e.dst.zone in ("step", "fold")]
        if box.zone == "rail" and used and min(used) == b:  # type: ignore[type-var]
            rails.append(box)
        elif box.zone == "bar" and used and min(used) == b:  # type: ignore[type-var]
            chain = [box]  # with bars that only lead to it
            at = box
            while True:
                before = [
                    e.src
                    for e in grid.into[at]
                    if e.src.zone == "bar" and e.src not in grid.placed and e.src not in bars
                ]
                if len(before) != 1 or before[0] in chain:
                    break
                at = before[0]
                chain.append(at)
            bars.extend(reversed(chain))
    stack: dict[Any, set[Box]] = {}
    for box in grid.picture.boxes:
        if box.zone == "source" and box.band == b and not _is_first_state(grid, box):
            edge = next(e for e in grid.out[box] if not e.cut)
            role = edge.dst.role
            alone = len({e.dst for e in grid.out[box]}) > 1
            stack.setdefault((role.x if role is not None else None, box.column), set()).add(box if alone else edge.dst)
    return list(dict.fromkeys(bars)), rails[::-1], max(map(len, stack.values()), default=0)


def _is_first_state(grid: Grid, box: Box) -> bool:
    """Whether a source only starts what the column before brings everywhere else."""
    for edge in grid.out[box]:
        role = edge.dst.role
        if edge.cut or role is None or edge.slot < 0:
            return False
        others = [o for k, o in islice(role.boxes.items(), 6) if k != edge.dst.column]
        if not any(e.slot == edge.slot and e.src.column not in (None, o.column) for o in others for e in grid.into[o]):
            return False
    return bool(grid.out[box])


def _restarts(grid: Grid, group: int) -> dict[Box, int]:
    """Sources that start the state anew in the middle of a loop (a cut, a reset), with their columns."""
    found: dict[Box, int] = {}
    first = min((k for k, c in enumerate(grid.picture.columns) if c.group == group), default=0)
    for box in grid.picture.boxes:
        if box.zone == "source" and box.band is not None and box.column is not None and box.kind != "fold":
            band = grid.picture.bands[box.band]
            if band.group == group and not band.reverse and box.column > first and _is_first_state(grid, box):
                found[box] = box.column
    return found


# ---- before the columns, after them, and what feeds single boxes ----------------------------------------------------


def _waiting(grid: Grid, group: int) -> list[Box]:
    """Boxes that stand left of the columns of ``group``, those nearest to the columns first."""
    found: list[Box] = []
    chosen: set[Box] = set()
    for box in reversed(grid.picture.boxes):
        users = [e.dst for e in grid.out[box] if not e.cut]
        if box.zone == "pre" and _group_of(grid, box) == group:
            chosen.add(box)
        elif box.zone == "source" and users:
            ahead = (
                any(u in chosen or u.zone in ("rail", "bar", "pre") for u in users) and _group_of(grid, box) == group
            )
            starts = box.band is not None and grid.picture.bands[box.band].group == group and _is_first_state(grid, box)
            if ahead or (starts and box not in grid.placed):
                chosen.add(box)
        if box in chosen:
            found.append(box)
    return found


def _depth_before(grid: Grid, group: int) -> int:
    depth: dict[Box, int] = {}
    for box in _waiting(grid, group):
        depth[box] = 1 + max((depth.get(e.dst, 1 if e.dst.zone == "rail" else 0) for e in grid.out[box]), default=0)
    return max(depth.values(), default=1)


def _before(grid: Grid, group: int, left: int, right: int) -> None:
    for box in _waiting(grid, group):
        users = [e.dst for e in grid.out[box] if e.dst in grid.placed]
        if box in grid.placed or not users:
            continue
        to = min(users, key=lambda u: (u.X, u.Y))
        if box.band is not None and grid.picture.bands[box.band].reverse and _is_first_state(grid, box):
            grid.put(box, right, grid.near(right, to.Y))
            continue
        x = left if box.is_source and to.zone not in ("rail", "bar", "pre") else to.X - 1
        grid.put(box, x, grid.near(x, to.Y))


def _after(grid: Grid, left: int) -> None:
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


def _sources(grid: Grid) -> None:
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
        alone = [box for box in boxes if not clear or len({e.dst for e in grid.out[box]}) > 1]
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
    row = min([grid.base[to.band], *(box.Y for box in grid.placed_rails(to.band))]) - 1  # type: ignore[index]
    while (x, row) in grid.cells:
        row -= 1
    return row

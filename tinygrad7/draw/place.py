"""The grid: every box gets a column ``X`` and a row ``Y`` of one grid for the whole picture.

From left to right: what comes before the first step, the steps, what comes after. From the bottom to the top, for each
band: ops on the whole sequence (bars), inputs, shared parameters on rails of their own, the ops of the steps.
"""

from __future__ import annotations

from typing import Any

from tinygrad7.draw.beside import after, before, depth_before, restarts, sources
from tinygrad7.draw.columns import Role
from tinygrad7.draw.grid import Grid, group_of, is_first_state
from tinygrad7.draw.model import Box, Picture
from tinygrad7.draw.nest import nest


def place(picture: Picture) -> Grid:
    """Give every box its cell."""
    grid = Grid(picture)
    right = 0
    if picture.bands:
        groups = sorted({band.group for band in picture.bands})
        for group in groups:
            right = _group(grid, group, right) + 1
    after(grid, right)
    sources(grid)
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
    gutter = depth_before(grid, group) + 1
    at = left + gutter
    anew = restarts(grid, group)
    for k, column in columns:
        at += k in anew.values()  # a state that starts anew has a place of its own before the column
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
                if bands_in and max(bands_in) == b:
                    grid.put(box, left + gutter, low, across=at - left - gutter)
                    low += 1
    for bar in [
        box for box in picture.boxes if box.zone == "bar" and box not in grid.placed and group_of(grid, box) == group
    ]:
        grid.put(bar, left + gutter, low, across=at - left - gutter)
        low += 1
    for box, k in anew.items():
        x = picture.columns[k].start - 1
        grid.put(box, x, grid.near(x, next(e.dst.Y for e in grid.out[box])))
    before(grid, group, left, at)
    return at


def _under(grid: Grid, b: int) -> tuple[list[Box], list[Box], int]:
    """What stands under a band: bars that feed it, shared boxes on rails, and how many rows of inputs."""
    bars: list[Box] = []
    rails: list[Box] = []
    for box in grid.picture.boxes:
        if box in grid.placed or box.zone not in ("bar", "rail"):
            continue
        used = [e.dst.band for e in grid.out[box] if e.dst.zone in ("step", "fold")]
        if box.zone == "rail" and used and min(used) == b:
            rails.append(box)
        elif box.zone == "bar" and used and min(used) == b:
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
        if box.zone == "source" and box.band == b and not is_first_state(grid, box):
            edge = next(e for e in grid.out[box] if not e.cut)
            role = edge.dst.role
            alone = box.kind == "cut" or len({e.dst for e in grid.out[box]}) > 1
            stack.setdefault((role.x if role is not None else None, box.column), set()).add(box if alone else edge.dst)
    return list(dict.fromkeys(bars)), rails[::-1], max(map(len, stack.values()), default=0)

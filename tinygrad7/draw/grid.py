"""The grid on which a picture stands, and what its places are decided by."""

from __future__ import annotations

from itertools import islice

from tinygrad7.draw.model import Box, Edge, Picture


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


def group_of(grid: Grid, box: Box) -> int:
    """The time axis that a box outside the columns belongs to: that of the nearest step it is connected to."""
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


def is_first_state(grid: Grid, box: Box) -> bool:
    """Whether a source only starts what the column before brings everywhere else."""
    for edge in grid.out[box]:
        role = edge.dst.role
        if edge.cut or role is None or edge.slot < 0:
            return False
        others = [o for k, o in islice(role.boxes.items(), 6) if k != edge.dst.column]
        if not any(e.slot == edge.slot and e.src.column not in (None, o.column) for o in others for e in grid.into[o]):
            return False
    return bool(grid.out[box])

"""Bézier paths, as Graphviz writes them: a first point, then three more for every piece."""

from __future__ import annotations

Point = tuple[float, float]
RADIUS = 7.0
ARROW = 6.0  # an arrow head's length: the path ends where the head begins


def polyline(points: list[Point], arrow: float = ARROW) -> list[Point]:
    """Straight pieces with round corners. The last point is the arrow's tip, the one before it the end of the path."""
    kept = [points[0]]
    for p in points[1:]:
        if abs(p[0] - kept[-1][0]) + abs(p[1] - kept[-1][1]) > 0.01:
            kept.append(p)
    if len(kept) == 1:
        kept.append((kept[0][0] + 0.1, kept[0][1]))
    tip = kept[-1]
    kept[-1] = toward(tip, kept[-2], arrow)
    path = [kept[0]]
    for k in range(1, len(kept) - 1):
        before, corner, after = kept[k - 1], kept[k], kept[k + 1]
        share_in = distance(before, corner) / (2 if k > 1 else 1)
        share_out = distance(corner, after) / (2 if k < len(kept) - 2 else 1)
        r = min(RADIUS, share_in, share_out)
        a, b = toward(corner, before, r), toward(corner, after, r)
        straight(path, a)
        path += [toward(corner, a, r * 0.45), toward(corner, b, r * 0.45), b]
    straight(path, kept[-1])
    return [*path, tip]


def curve(start: Point, left: float, right: float, end: Point, arrow: float = ARROW) -> list[Point]:
    """Along the row of ``start`` to ``left``, an S to the row of ``end`` at ``right``, along that row to ``end``."""
    way = 1.0 if end[0] >= start[0] else -1.0
    path = [start]
    a, b = (left, start[1]), (right, end[1])
    if (a[0] - start[0]) * way > 1:
        straight(path, a)
    else:
        a = start
    base = (end[0] - way * arrow, end[1])
    if (base[0] - b[0]) * way < 0:
        b = base
    middle = (a[0] + b[0]) / 2
    path += [(middle, a[1]), (middle, b[1]), b]
    if (base[0] - b[0]) * way > 1:
        straight(path, base)
    else:
        path[-1] = base
    return [*path, end]


def rise(start: Point, end: Point, arrow: float = ARROW) -> list[Point]:
    """Straight up or down, the last stretch an S where the two ends do not stand above each other."""
    if abs(start[0] - end[0]) < 1:
        return polyline([start, end], arrow)
    way = 1.0 if end[1] >= start[1] else -1.0
    turn = max(abs(end[1] - start[1]) - 30, 0.0) * way + start[1]
    base = (end[0], end[1] - way * arrow)
    path = [start]
    if abs(turn - start[1]) > 1:
        straight(path, (start[0], turn))
    middle = (path[-1][1] + base[1]) / 2
    return [*path, (start[0], middle), (end[0], middle), base, end]


def straight(path: list[Point], to: Point) -> None:
    """A straight piece from the end of ``path``."""
    a = path[-1]
    path += [
        (a[0] + (to[0] - a[0]) / 3, a[1] + (to[1] - a[1]) / 3),
        (a[0] + 2 * (to[0] - a[0]) / 3, a[1] + 2 * (to[1] - a[1]) / 3),
        to,
    ]


def distance(a: Point, b: Point) -> float:
    return float(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5)


def toward(a: Point, b: Point, by: float) -> Point:
    """The point ``by`` from ``a`` in the direction of ``b``, at most two thirds of the way."""
    d = distance(a, b)
    if d < 1e-9:
        return a
    share = min(by / d, 2 / 3)
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share

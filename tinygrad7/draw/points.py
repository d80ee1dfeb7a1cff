"""From ways to curves: where an edge touches its boxes, and the points that it runs through."""

from __future__ import annotations

from typing import Any

from tinygrad7.draw.model import Box
from tinygrad7.draw.route import Way
from tinygrad7.draw.splines import curve, polyline, rise

TRACK = 7.0  # from one track of a channel to the next
CLEAR = 0.9  # from an arrow's tip to the box


def ports(ways: list[Way], flat: bool) -> None:
    """Spread the ends that arrive at one side of a box; one that runs straight keeps the middle."""
    sides: dict[tuple[Box, str], list[Way]] = {}
    for way in ways:
        sides.setdefault((way.edge.dst, way.end), []).append(way)
        if way.start == way.end or way.kind == "loop":
            continue
    for (box, side), group in sides.items():
        if box.across > 1 or len(group) == 1:
            continue
        if box.up > 1 and side in "EW":
            continue
        w, h = (box.w, box.h) if flat else (box.h, box.w)
        extent = h if side in "EW" else w
        pitch = min(10.0, (extent - 8) / len(group))
        if side in "EW":
            group.sort(key=lambda g: (g.low, g.edge.slot))
            level = [k for k, g in enumerate(group) if g.kind == "row" and g.low == g.high]
            straight = level[0] if level and len({group[k].edge.src for k in level}) == len(level) else None
        else:
            group.sort(key=lambda g: (g.edge.src.X, g.edge.src.shift, -g.low if g.kind != "up" else 0))
            level = [k for k, g in enumerate(group) if g.kind == "up"]
            straight = level[0] if len(level) == 1 and not group[level[0]].edge.src.shift else None
        middle = straight if straight is not None else (len(group) - 1) / 2
        for k, way in enumerate(group):
            way.into = (k - middle) * pitch
            limit = extent / 2 - 5
            way.into = max(-limit, min(limit, way.into))


def points(plan: Any, way: Way) -> list[tuple[float, float]]:
    a, b = way.edge.src, way.edge.dst
    wa, ha = plan.half(a)
    wb, hb = (half + CLEAR for half in plan.half(b))
    y, v = plan.row_y(a, way.low), plan.row_y(b, way.high)
    start = (a.x + wa, y) if way.start == "E" else (a.x - wa, y)
    end = (b.x + wb, v + way.into) if way.end == "E" else (b.x - wb, v + way.into)
    track = plan.track_x.get(way.channel, 0.0) + TRACK * way.first
    if way.kind == "row":
        if way.low == way.high:
            if a.up == 1 and b.up == 1 and way.into:
                start = (start[0], start[1] + way.into)
            return polyline([start, end])
        left, right = plan.end_x[way.channel], plan.begin_x[way.channel]
        if way.start == "W":
            left, right = right, left
        return curve(start, left, right, end)
    if way.kind == "up":
        up = way.start == "N"
        other, x = (a, b.x + way.into) if a.across > 1 or b.across == 1 else (b, a.x)
        reach = plan.half(other)[0] - 3
        x_start = x if a.across > 1 or abs(x - a.x) < reach else a.x
        return rise((x_start, a.y + (ha if up else -ha)), (x, b.y - hb if up else b.y + hb))
    if way.kind == "tap":
        x = b.x + way.into
        return polyline([start, (x, y), (x, b.y - hb)])
    if way.kind in ("step", "loop"):
        return polyline([start, (track, y), (track, end[1]), end])
    if way.kind == "side":
        if a.across > 1:
            return polyline([(track, a.y + (ha if way.start == "N" else -ha)), (track, end[1]), end])
        return polyline([start, (track, y), (track, b.y - hb if way.end == "S" else b.y + hb)])
    second = plan.track_x.get(way.channel2, 0.0) + TRACK * way.second
    level = plan.track_y.get(way.row, 0.0) + TRACK * way.third
    return polyline([start, (track, y), (track, level), (second, level), (second, end[1]), end])

"""Rows and columns for a body of ops: what flows on runs along rows, what only feeds it stands below, results above.

``nest`` places ops in nested blocks: the innermost first, each then a rectangle in the block around it. Inside a block
the state's way through (``_spines``) is a straight row; everything else is packed beside it in chains.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from typing import Any


class Item:
    """A rectangle of ``w`` × ``h`` cells: an op, or a block already placed inside; ``port``: the row of its spine."""

    __slots__ = ("key", "w", "h", "port", "order", "zone", "before", "after", "x", "y", "entry", "exit", "wide")

    def __init__(self, key: Hashable, order: float, zone: str) -> None:
        self.key, self.order, self.zone = key, order, zone
        self.w = self.h = 1
        self.port = self.x = self.y = 0
        self.before: list[tuple[Item, int, int]] = []  # (item, x of the vertex inside it, x of ours inside us)
        self.after: list[tuple[Item, int, int]] = []
        self.entry = self.exit = self.wide = False


class Rows:
    """Which stretches of which rows are taken."""

    def __init__(self) -> None:
        self.taken: dict[int, list[tuple[int, int]]] = {}

    def free(self, row: int, a: int, b: int) -> bool:
        spans = self.taken.get(row)
        if not spans:
            return True
        i = bisect_left(spans, (a, b))
        return (i == len(spans) or spans[i][0] >= b) and (i == 0 or spans[i - 1][1] <= a)

    def take(self, row: int, a: int, b: int) -> None:
        insort(self.taken.setdefault(row, []), (a, b))

    def fits(self, x: int, y: int, w: int, h: int) -> bool:
        return all(self.free(row, x, x + w) for row in range(y, y + h))

    def put(self, item: Item, x: int, y: int) -> None:
        item.x, item.y = x, y
        for row in range(y, y + item.h):
            self.take(row, x, x + item.w)


def nest(
    vertices: dict[Any, tuple[tuple[Hashable, ...], float, str]],
    edges: Iterable[tuple[Any, Any]],
    carried: Iterable[tuple[Any, Any]] = (),
    wide: Iterable[Any] = (),
    exits: Iterable[Any] = (),
    entries: Iterable[Any] = (),
) -> tuple[dict[Any, tuple[int, int]], int, int, int]:
    """Places for ``vertices`` (name → path of blocks, order, zone: main, below, above): (x, y); width, height, port.

    ``carried``: pairs whose edge goes to the next column; ``wide``: vertices that want a row of their own; ``exits``
    and ``entries``: vertices with edges to and from outside.
    """
    members: dict[tuple[Hashable, ...], dict[Hashable, Item]] = {(): {}}
    for v, (path, order, zone) in vertices.items():
        for depth in range(len(path)):
            prefix, block = path[:depth], path[: depth + 1]
            members.setdefault(block, {})
            items = members[prefix]
            if block not in items:
                items[block] = Item(block, order, zone)
            elif zone == "main" or (zone == "above" and items[block].zone == "below"):
                items[block].zone = zone
        members[path][v] = Item(v, order, zone)
    for v in wide:
        members[vertices[v][0]][v].wide = True
    lifted: dict[tuple[Hashable, ...], list[tuple[Any, Any]]] = {}
    for a, b in edges:
        p, q = vertices[a][0], vertices[b][0]
        if p == q:
            lifted.setdefault(p, []).append((a, b))
            continue
        common = 0
        while common < len(p) and common < len(q) and p[common] == q[common]:
            common += 1
        lifted.setdefault(p[:common], []).append((a, b))
        for depth in range(common + 1, len(p) + 1):
            members[p[:depth]][_child(p, a, depth)].exit = True
        for depth in range(common + 1, len(q) + 1):
            members[q[:depth]][_child(q, b, depth)].entry = True
    for ends, flag in ((exits, "exit"), (entries, "entry")):
        for v in ends:
            path = vertices[v][0]
            for depth in range(len(path) + 1):
                setattr(members[path[:depth]][_child(path, v, depth)], flag, True)
    pairs = list(carried)
    inside: dict[Any, tuple[int, int]] = dict.fromkeys(vertices, (0, 0))  # place within the block finished last
    size = (0, 0, 0)
    within: dict[tuple[Hashable, ...], list[Any]] = {}
    for v, (path, _, _) in vertices.items():
        within.setdefault(path, []).append(v)
    for block in sorted(members, key=len, reverse=True):
        items, depth = members[block], len(block)

        def item_of(v: Any, depth: int = depth, items: dict[Hashable, Item] = items) -> Item:
            return items[_child(vertices[v][0], v, depth)]

        for a, b in lifted.get(block, ()):
            s, t = item_of(a), item_of(b)
            s.after.append((t, inside[b][0], inside[a][0]))
            t.before.append((s, inside[a][0], inside[b][0]))
        loops = [
            (item_of(a), item_of(b)) for a, b in pairs if vertices[a][0][:depth] == block == vertices[b][0][:depth]
        ]
        size = _place(list(items.values()), loops)
        contents: list[Any] = []
        for item in items.values():
            for v in within.get(item.key, ()) if item.key in members and item.key != () else (item.key,):
                x, y = inside[v]
                inside[v] = (x + item.x, y + item.y)
                contents.append(v)
        within[block] = contents
        if block:
            me = members[block[:-1]][block]
            me.w, me.h, me.port = size
    return inside, *size


def _child(path: tuple[Hashable, ...], v: Any, depth: int) -> Hashable:
    return v if len(path) == depth else path[: depth + 1]


def _place(items: list[Item], loops: list[tuple[Item, Item]]) -> tuple[int, int, int]:
    """Place the items of one block; its width, height and port."""
    items.sort(key=lambda i: i.order)
    main = [i for i in items if i.zone == "main"]
    rows = Rows()
    width = 1
    if main:
        _rank(main)
        width = max(i.x + i.w for i in main)
        _lanes(main, loops, width, rows)
    else:
        for item in items:
            item.zone = "above"
    for item in sorted(items, key=lambda i: -i.order):
        if item.zone == "below":
            _upright(item, [(t, x, mine, t.y) for t, x, mine in item.after if t.zone != "above"], -1, rows, width)
    for item in items:
        if item.zone == "above":
            _upright(item, [(s, x, mine, s.y + s.h - 1) for s, x, mine in item.before], 1, rows, width)
    left, bottom = min(i.x for i in items), min(i.y for i in items)
    for item in items:
        item.x, item.y = item.x - left, item.y - bottom
    return max(i.x + i.w for i in items), max(i.y + i.h for i in items), -bottom if main else 0


def _rank(main: list[Item]) -> None:
    """Each item right of all that it uses; one that uses nothing here close to its first user."""
    for item in main:
        item.x = max((s.x + s.w for s, _, _ in item.before if s.zone == "main" and s.order < item.order), default=0)
    for item in reversed(main):
        if not item.entry and not any(s.zone == "main" for s, _, _ in item.before):
            users = [t.x for t, _, _ in item.after if t.zone == "main" and t.order > item.order]
            if users:
                item.x = max(0, min(users) - item.w)


def _spines(main: list[Item], loops: list[tuple[Item, Item]]) -> list[list[Item]]:
    """The straight rows: for each carried state the shortest way through; without any, from the entry to the exit."""
    wanted: list[tuple[list[Item], Item]] = []
    into: dict[Item, list[Item]] = {}
    for a, b in loops:
        if a.zone == "main" == b.zone:
            into.setdefault(a, []).append(b)
    for end, starts in into.items():
        wanted.append((starts, end))
    if not wanted:
        ends = (
            [i for i in main if i.exit] or [i for i in main if not any(t.zone == "main" for t, _, _ in i.after)] or main
        )
        end = max(ends, key=lambda i: (i.x, i.order))
        starts = [i for i in main if i.entry]
        if not starts:
            first = [i for i in main if not any(s.zone == "main" for s, _, _ in i.before)]
            starts = [min(first, key=lambda i: (i.x, i.order))] if first else main[:1]
        wanted.append((starts, end))
    found = [way for starts, end in wanted if (way := _shortest(set(starts), end))]
    if not found:
        found = [_shortest(set(main), wanted[0][1])]
    found.sort(key=lambda way: (-len(way), way[0].order))
    used: set[Item] = set()
    spines = []
    for way in found:
        if not used & set(way):
            spines.append(way)
            used.update(way)
    return spines


def _shortest(starts: set[Item], end: Item) -> list[Item]:
    """The way with the fewest items from one of ``starts`` to ``end``; empty where there is none."""
    following: dict[Item, Item | None] = {end: None}
    front = [end]
    while front:
        hit = [i for i in front if i in starts]
        if hit:
            way, item = [], min(hit, key=lambda i: (i.x, i.order))
            at: Item | None = item
            while at is not None:
                way.append(at)
                at = following[at]
            return way
        new = []
        for item in front:
            for s, _, _ in item.before:
                if s not in following and s.zone == "main" and s.order < item.order:
                    following[s] = item
                    new.append(s)
        front = new
    return []


def _lanes(main: list[Item], loops: list[tuple[Item, Item]], width: int, rows: Rows) -> None:
    spines = _spines(main, loops)
    lane: dict[Item, int] = {item: k for k, spine in enumerate(spines) for item in spine}
    chains: list[list[Item]] = list(spines)
    for item in main:
        if item in lane:
            continue
        for s, _, _ in item.before:
            k = lane.get(s, -1)
            if k >= len(spines) and chains[k][-1] is s and s.x + s.w <= item.x:
                chains[k].append(item)
                break
        else:
            k = len(chains)
            chains.append([item])
        lane[item] = k
    place = _positions(chains, lane, len(spines))
    base = 0
    for k, spine in enumerate(spines):
        if k:
            for c in range(len(spines), len(chains)):
                if k - 1 < place[c] <= k and (k == len(spines) - 1 or place[c] < k):
                    _pack(chains[c], base + 1, 1, rows)
            base = max(rows.taken) + 1 + max(i.port for i in spine)
        for item in spine:
            rows.put(item, item.x, base - item.port)
        at = 0
        for item in spine:  # the row stays free from end to end: the state runs through it
            if at < item.x:
                rows.take(base, at, item.x)
            at = item.x + item.w
        if at < width:
            rows.take(base, at, width)
    for c in range(len(spines), len(chains)):
        if place[c] <= 0:
            _pack(chains[c], -1, -1, rows)


def _positions(chains: list[list[Item]], lane: dict[Item, int], spines: int) -> list[float]:
    """Where each chain stands between the spines: the mean of what it is connected to, a few times over."""
    place = [float(k) if k < spines else 0.0 for k in range(len(chains))]
    if spines > 1:
        near = [
            [lane[o] for item in chain for o, _, _ in (*item.before, *item.after) if lane.get(o, k) != k]
            for k, chain in enumerate(chains)
        ]
        for _ in range(6):
            for k in range(spines, len(chains)):
                if near[k]:
                    place[k] = sum(place[j] for j in near[k]) / len(near[k])
    return place


def _pack(chain: list[Item], row: int, way: int, rows: Rows) -> None:
    """Put a chain on the nearest row from ``row`` on (``way``: up or down) where all of it is free."""
    up, down = max(i.h - i.port for i in chain) - 1, max(i.port for i in chain)
    row += down if way > 0 else -up
    a, b = chain[0].x, chain[-1].x + chain[-1].w
    while not (rows.free(row, a, b) and all(rows.fits(i.x, row - i.port, i.w, i.h) for i in chain)):
        row += way
    at = a
    for item in chain:
        rows.put(item, item.x, row - item.port)
        if at < item.x:
            rows.take(row, at, item.x)
        at = item.x + item.w


def _upright(item: Item, near: list[tuple[Item, int, int, int]], way: int, rows: Rows, width: int) -> None:
    """Put an item below or above what it is connected to, in the same column of cells where that is free."""
    spots = [o.x + theirs - mine for o, theirs, mine, _ in near]
    x = max(0, round(sum(spots) / len(spots))) if near else 0
    levels = [y for _, _, _, y in near]
    if way < 0 and near:
        high = min(levels) - item.h
        while not rows.fits(x, high, item.w, item.h):
            high -= 1
        if len(set(spots)) > 1 or high < min(levels) - item.h:  # the way up is not free: from the left, then
            x = min(spots) - item.w
    y = (min(levels) - item.h if way < 0 else max(levels) + 1) if levels else min(0, *rows.taken, 0) if way < 0 else 0
    if item.wide:
        reach = (*rows.taken, y)
        y = min(reach) - item.h if way < 0 else max(reach) + 1
        for row in range(y, y + item.h):
            rows.take(row, 0, x)
            rows.take(row, x + item.w, max(width, x + item.w) + 1)
    while not rows.fits(x, y, item.w, item.h):
        y += way
    rows.put(item, x, y)

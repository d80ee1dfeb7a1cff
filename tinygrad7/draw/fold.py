"""Folding: many steps alike become first, second, ``⋯ ×996 ⋯``, last but one, last; likewise blocks of a stack.

Nothing is dropped: the fold's box stands for every entry that it hides and says how many, and edges that cross its
border enter and leave it on the row of the op that they belong to.
"""

from __future__ import annotations

from typing import Any

from tinygrad7.context import Scope
from tinygrad7.draw.columns import Column
from tinygrad7.draw.model import Box, Edge, Picture

AUTO = 60  # boxes; above it a picture no longer fits a page at a legible size
ENDS = 2  # shown on either side of a fold


def fold(picture: Picture, budget: int | None) -> None:
    """Fold what repeats until at most ``budget`` boxes are left, or nothing more repeats; None: leave all."""
    if budget is None or len(picture.boxes) <= budget:
        return
    if picture.columns:
        _fold_columns(picture)
    if len(picture.boxes) > budget:
        _fold_blocks(picture, budget)


def _fold_columns(picture: Picture) -> None:
    signatures = _signatures(picture)
    runs: list[tuple[int, int]] = []  # first and last column of each run of columns alike
    for k, column in enumerate(picture.columns):
        if runs and signatures[k] == signatures[runs[-1][1]] and column.group == picture.columns[runs[-1][0]].group:
            runs[-1] = (runs[-1][0], k)
        else:
            runs.append((k, k))
    hide: dict[int, int] = {}  # column → the first column of its fold
    for first, last in runs:
        begins = first == 0 or picture.columns[first - 1].group != picture.columns[first].group
        ends = last == len(picture.columns) - 1 or picture.columns[last + 1].group != picture.columns[last].group
        start = first + (
            ENDS if begins else 1
        )  # the column before the run is the first of the loop, this is the second
        stop = last - (ENDS - 1 if ends else 0)
        if stop - start >= 2:
            hide.update(dict.fromkeys(range(start, stop), start))
    if not hide:
        return
    folds: dict[tuple[int, int], Box] = {}
    counts: dict[int, int] = {}
    for start in hide.values():
        counts[start] = counts.get(start, 0) + 1
    hidden: dict[Box, Box] = {}
    for box in picture.boxes:
        if box.zone == "step" and box.column in hide:
            start = hide[box.column]
            key = (box.band or 0, start)
            if key not in folds:
                scope = picture.bands[key[0]].parent
                path = box.path[: next((i for i, s in enumerate(box.path) if s.kind == "step"), 0)]
                made = Box("fold", f"⋯ ×{counts[start]} ⋯", box.order, path if scope is not None else ())
                made.zone, made.band, made.column = "fold", key[0], start
                folds[key] = made
            hidden[box] = folds[key]
    _collapse(picture, hidden)
    _renumber(picture, hide, counts)


def _signatures(picture: Picture) -> list[frozenset[Any]]:
    """What a column is made of: its ops, and where each takes its operands from."""
    found: list[set[Any]] = [set() for _ in picture.columns]
    for box in picture.boxes:
        if box.zone == "step":
            found[box.column].add((box.role, box.bad))
    for edge in picture.edges:
        a, b = edge.src, edge.dst
        if b.zone == "step":
            where = (a.role, b.column - a.column) if a.zone == "step" else a if a.zone in ("rail", "bar") else a.zone
            found[b.column].add((where, b.role, edge.slot))
    return [frozenset(s) for s in found]


def _renumber(picture: Picture, hide: dict[int, int], counts: dict[int, int]) -> None:
    """Columns without the hidden ones, with one for each fold."""
    place: dict[int, int] = {}
    columns: list[Column] = []
    for k, column in enumerate(picture.columns):
        if k in hide and hide[k] != k:
            place[k] = place[hide[k]]
            continue
        place[k] = len(columns)
        columns.append(Column(column.group, column.index, fold=counts.get(k, 0) if k in hide else 0))
    picture.columns = columns
    for box in picture.boxes:
        if box.column is not None:
            box.column = place[box.column]
    for band in picture.bands:
        band.column_of = {scope: place[k] for scope, k in band.column_of.items() if k not in hide}
        for role in band.roles.values():
            role.boxes = {place[k]: box for k, box in role.boxes.items() if k not in hide}


def _collapse(picture: Picture, hidden: dict[Box, Box]) -> None:
    """Put the folds in the place of what they hide; a leaf or constant that only hidden boxes use goes with them."""
    users: dict[Box, set[Box]] = {}
    for edge in picture.edges:
        if edge.src.is_source:
            users.setdefault(edge.src, set()).add(edge.dst)
        if edge.cut:
            users.setdefault(edge.dst, set())
    for source, boxes in users.items():
        if boxes and all(b in hidden for b in boxes):
            hidden[source] = hidden[next(iter(sorted(boxes, key=lambda b: b.order)))]
    edges: list[Edge] = []
    merged: dict[Any, Edge] = {}
    for edge in picture.edges:
        a, b = hidden.get(edge.src, edge.src), hidden.get(edge.dst, edge.dst)
        if a is edge.src and b is edge.dst:
            edges.append(edge)
        elif a is not b:
            row = edge.src.role if a is not edge.src else edge.dst.role
            key = (a, b, row)
            if key in merged:
                merged[key].count += 1
            else:
                merged[key] = made = Edge(a, b, edge.slot, edge.output, cut=edge.cut, row=row)
                edges.append(made)
    kept: list[Box] = []
    for box in picture.boxes:
        into = hidden.get(box)
        if into is None:
            kept.append(box)
            continue
        if not into.nodes:
            kept.append(into)
            into.stand = 0
        into.nodes.extend(box.nodes)
        into.stand += box.stand
        into.bad |= box.bad
        into.root |= box.root
        for node in box.nodes:
            picture.box_of[node] = into
    for into in set(hidden.values()):
        into.note = f"{into.stand:,} nodes folded"
    picture.boxes, picture.edges = kept, edges
    for number, box in enumerate(kept):
        box.number = number


# ---- blocks of a stack, outside of time --------------------------------------------------------------------------


def _fold_blocks(picture: Picture, budget: int) -> None:
    """Sibling blocks of the same name and inside, one after the other: the outermost first."""
    depth = max((len(box.path) for box in picture.boxes), default=0)
    for level in range(depth):
        if len(picture.boxes) <= budget:
            return
        inside: dict[Scope, list[Box]] = {}
        for box in picture.boxes:
            if len(box.path) > level and box.zone == "post":
                inside.setdefault(box.path[level], []).append(box)
        blocks: dict[Any, list[Scope]] = {}
        for scope, boxes in inside.items():
            signature = tuple((tuple(s.label for s in b.path[level + 1 :]), b.op) for b in boxes)
            blocks.setdefault((scope.parent, scope.name, signature), []).append(scope)
        hidden: dict[Box, Box] = {}
        for (_, _name, _), scopes in blocks.items():
            middle = scopes[ENDS:-ENDS]
            if len(middle) < 2:
                continue
            first = inside[middle[0]][0]
            made = Box("fold", f"⋯ ×{len(middle)} ⋯", first.order, first.path[:level])
            made.zone = "post"
            hidden.update({box: made for scope in middle for box in inside[scope]})
        if hidden:
            _collapse(picture, hidden)

"""The time axis: which column a box stands in, and which boxes of different columns are the same op of different steps.

A *band* is one loop over steps: a layer, a direction. Its steps are columns; bands that run side by side share them.
A *role* is one op of the loop's body: the box of that op in every column. Places are worked out for roles, so the same
op of every step stands on the same row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinygrad7.context import Scope
from tinygrad7.draw.model import Box, Edge, Picture


@dataclass(slots=True, eq=False)
class Role:
    """One op of a loop's body. ``path``: the scopes inside the step, as keys that agree between steps."""

    path: tuple[Any, ...]
    op: str
    order: float
    boxes: dict[int, Box] = field(default_factory=dict)
    loose: bool = False
    x: int = 0  # grid place inside the column and the band
    y: int = 0


@dataclass(slots=True, eq=False)
class Band:
    """One loop. ``column_of``: step scope → column; ``carried``: pairs of roles with an edge to the next column."""

    parent: Scope | None
    column_of: dict[Scope, int] = field(default_factory=dict)
    indices: dict[int, Scope] = field(default_factory=dict)
    roles: dict[Any, Role] = field(default_factory=dict)
    reverse: bool = False
    group: int = 0
    inner: dict[tuple[Role, Role], None] = field(default_factory=dict)  # in the order of the tape
    carried: dict[tuple[Role, Role], None] = field(default_factory=dict)
    accumulators: set[Role] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Column:
    """One column: a step index on one time axis (``group``)."""

    group: int
    index: int
    fold: int = 0  # how many steps it stands for, if it is a fold
    start: int = 0
    width: int = 1


def arrange(picture: Picture) -> None:
    """Find bands, columns and roles, and give every box its ``zone``."""
    _bands(picture)
    _columns(picture)
    _roles(picture)
    _zones(picture)
    _links(picture)


def step_scope(box: Box) -> Scope | None:
    """The outermost time step around a box (or the one that it stands for)."""
    for scope in box.path:
        if scope.kind == "step":
            return scope
    return box.own if box.own is not None and box.own.kind == "step" else None


def _bands(picture: Picture) -> None:
    """First fit: a step scope joins the oldest loop of its parent that has not had this index."""
    bands: list[Band] = []
    under: dict[Any, list[Band]] = {}
    known: dict[Scope, int] = {}
    for box in picture.boxes:
        scope = step_scope(box)
        if scope is None or box.is_source:
            continue
        number = known.get(scope)
        if number is None:
            siblings = under.setdefault(scope.parent, [])
            index = scope.index or 0
            band = next((b for b in siblings if index not in b.indices), None)
            if band is None:
                band = Band(scope.parent)
                siblings.append(band)
                bands.append(band)
            band.indices[index] = scope
            number = known[scope] = bands.index(band)
        box.band = number
    picture.bands = bands


def _columns(picture: Picture) -> None:
    """Loops that run beside each other share their columns; one that starts where another ended comes after it."""
    bands: list[Band] = picture.bands
    links: dict[tuple[int, int], list[tuple[Scope, Scope]]] = {}
    for edge in picture.edges:
        a, b = edge.src.band, edge.dst.band
        if a is not None and b is not None and a != b:
            source, target = step_scope(edge.src), step_scope(edge.dst)
            if source is not None and target is not None:
                links.setdefault((a, b), []).append((source, target))
    groups = 0
    for i, band in enumerate(bands):
        order = list(band.indices)
        band.reverse = len(order) > 1 and order[-1] < order[0]
        band.group = groups
        if i == 0:
            continue
        arriving = [
            (j, pairs)
            for (j, k), pairs in links.items()
            if k == i and bands[j].group == groups and len(bands[j].indices) > 1
        ]
        last = [list(bands[j].indices.values())[-1] for j, _ in arriving]
        first = next(iter(band.indices.values()))
        if arriving and all(
            p[0] is end and p[1] is first for (_, pairs), end in zip(arriving, last, strict=True) for p in pairs
        ):
            groups += 1
            band.group = groups
    keys = sorted({(band.group, index) for band in bands for index in band.indices})
    place = {key: k for k, key in enumerate(keys)}
    picture.columns = [Column(*key) for key in keys]
    for band in bands:
        band.column_of = {scope: place[band.group, index] for index, scope in band.indices.items()}
    for box in picture.boxes:
        if box.band is not None:
            box.column = bands[box.band].column_of[step_scope(box)]


def _roles(picture: Picture) -> None:
    """The same op of different steps: same scopes inside the step, same label, same turn among its likes."""
    keys: dict[Scope, tuple[Any, ...]] = {}
    turns: dict[Any, int] = {}
    for box in picture.boxes:
        if box.band is None:
            continue
        key: tuple[Any, ...] = ()
        top: Scope | None = None
        for scope in box.path:
            if top is not None:
                found = keys.get(scope)
                if found is None:
                    turn = turns[top, key, scope.label] = turns.get((top, key, scope.label), -1) + 1
                    found = keys[scope] = (*key, (scope.label, turn))
                key = found
            elif scope.kind == "step":
                top = scope
        step = step_scope(box)
        turn = turns[step, key, box.op] = turns.get((step, key, box.op), -1) + 1
        _join(picture, box, key, box.op, turn)


def _join(picture: Picture, box: Box, path: tuple[Any, ...], op: str, turn: int, loose: bool = False) -> None:
    roles = picture.bands[box.band].roles
    role = roles.get((path, op, turn))
    if role is None:
        role = roles[path, op, turn] = Role(path, op, box.order, loose=loose)
    role.boxes[box.column] = box
    box.role, box.zone = role, "step"


def _zones(picture: Picture) -> None:
    """Where a box outside every step stands: beside the columns, across them, or with the column that it belongs to."""
    into: dict[Box, list[Edge]] = {box: [] for box in picture.boxes}
    out: dict[Box, list[Edge]] = {box: [] for box in picture.boxes}
    for edge in picture.edges:
        if not edge.cut:
            into[edge.dst].append(edge)
            out[edge.src].append(edge)
    if not picture.bands:
        for box in picture.boxes:
            box.zone = "source" if box.is_source else "post"
        return
    loose = [box for box in picture.boxes if box.band is None and not box.is_source]
    depends: set[Box] = set()
    feeds: set[Box] = set()
    for box in loose:
        if any(e.src.zone == "step" or e.src in depends for e in into[box]):
            depends.add(box)
    for box in reversed(loose):
        if any(e.dst.zone == "step" or e.dst in feeds for e in out[box]):
            feeds.add(box)
    turns: dict[Any, int] = {}
    last = len(picture.columns) - 1
    for box in loose:
        sources = {e.src.column: e.src for e in into[box] if e.src.zone == "step"}
        targets = {e.dst.column: e.dst for e in out[box] if e.dst.zone == "step"}
        home: Box | None = None
        if box in depends:
            if (box in feeds and len(targets) > 1) or len(sources) > 2 or (box.variadic and len(sources) > 1):
                box.zone = "bar"
            elif sources:
                column = max(sources)
                chained = any(e.src.zone == "step" and e.src.role.loose and e.src.op == box.op for e in into[box])
                home = sources[column] if box in feeds or column < last or chained else None
                box.zone = "" if home else "post"
            else:
                box.zone = "bar" if box in feeds else "post"
        elif box not in feeds:
            box.zone = "post"
        elif len(targets) > 1:
            box.zone = "bar" if any(e.output is not None for e in out[box]) else "rail"
        elif targets and len(out[box]) == 1 and not _carries(into, out[box][0]):
            home = next(iter(targets.values()))
        else:
            box.zone = "pre"
        if home is not None:
            box.band, box.column = home.band, home.column
            turn = turns[box.column, box.op] = turns.get((box.column, box.op), -1) + 1
            _join(picture, box, (("", 0),), box.op, turn, loose=True)
    for box in picture.boxes:
        if box.is_source:
            columns = {e.dst.column for e in out[box]}
            users = {e.dst.zone for e in out[box]}
            box.zone = "rail" if len(columns) > 1 and "step" in users else "source"
            if len(columns) == 1 and users == {"step"}:
                box.column, box.band = next(iter(columns)), min(e.dst.band for e in out[box])


def _carries(into: dict[Box, list[Edge]], edge: Edge) -> bool:
    """Whether the place that an edge enters is fed by the column before, elsewhere: then it brings the first state."""
    role = edge.dst.role
    others = [box for column, box in role.boxes.items() if column != edge.dst.column][:1]
    for other in others:
        return any(e.slot == edge.slot and e.src.column not in (None, other.column) for e in into[other])
    return False


def _links(picture: Picture) -> None:
    """Edges between roles: inside a step, and carried to the next one."""
    for edge in picture.edges:
        a, b = edge.src, edge.dst
        if a.zone == b.zone == "step" and a.band == b.band and not edge.cut:
            band = picture.bands[a.band]
            (band.inner if a.column == b.column else band.carried)[a.role, b.role] = None
    for band in picture.bands:
        leaving, arriving = {a for a, _ in band.inner}, {b for _, b in band.inner}
        to: dict[Role, set[Role]] = {}
        for a, b in band.carried:
            to.setdefault(a, set()).add(b)
        band.accumulators = {a for a, targets in to.items() if targets == {a} and a in arriving and a not in leaving}

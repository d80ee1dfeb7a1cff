"""Blocks: the rectangles around what was recorded in one scope, nested as the scopes are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinygrad7.context import Scope
from tinygrad7.draw.model import Box, Picture
from tinygrad7.draw.words import module_title


@dataclass(slots=True, eq=False)
class Cluster:
    """One block: a scope with its rectangle. ``level``: how many blocks are nested in it, itself included."""

    scope: Any
    parent: Any
    title: str
    kind: str
    level: int = 1
    sides: tuple[int, int, int, int] = (1, 1, 1, 1)  # borders on each side from the cells out: left, low, right, top
    cells: tuple[int, int, int, int] = (1 << 30, 1 << 30, -(1 << 30), -(1 << 30))
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    members: list[Box] = field(default_factory=list)


def blocks(picture: Picture) -> list[Cluster]:
    """Blocks in the order of first use, with the cells that their members cover."""
    found: dict[Scope, Cluster] = {}
    for box in picture.boxes:
        chain = [found.get(scope) or _start(found, scope) for scope in box.path]
        for depth, cluster in enumerate(chain):
            cluster.parent = chain[depth - 1].scope if depth else None
            cluster.level = max(cluster.level, len(chain) - depth)
            x, y, right, top = cluster.cells
            far, high = box.X + box.across - 1, box.Y + box.up - 1
            cluster.cells = (min(x, box.X), min(y, box.Y), max(right, far), max(top, high))
        if chain:
            chain[-1].members.append(box)
    for inner in sorted(found.values(), key=lambda c: c.level):
        outer = found.get(inner.parent)
        if outer is not None:  # where both end at the same cells the outer border stands one further out
            pairs = zip(outer.sides, inner.sides, outer.cells, inner.cells, strict=True)
            left, low, right, top = [max(o, i + 1) if same == mine else o for o, i, same, mine in pairs]
            outer.sides = (left, low, right, top)
    return list(found.values())


def _start(found: dict[Scope, Cluster], scope: Scope) -> Cluster:
    title = f"{scope.name} = {scope.index}" if scope.kind == "step" else scope.label
    if scope.kind == "module":
        title = module_title(scope)
    elif scope.detail == "backward":
        title += "  backward"
    cluster = found[scope] = Cluster(scope, scope.parent, title, scope.kind)
    return cluster

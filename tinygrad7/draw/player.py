"""The tape player: one HTML file in which a tape is stepped through, forward and then backward, entry by entry.

The page holds everything itself: the drawing as SVG, what there is to say of every step as JSON, and the style and
script that stand beside this file (``player.html``, ``player.css``, ``player.js``). It asks no network for anything.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from tinygrad7.draw.columns import arrange
from tinygrad7.draw.dot import clean
from tinygrad7.draw.fold import AUTO
from tinygrad7.draw.fold import fold as fold_picture
from tinygrad7.draw.layout import Drawing, layout, text_width
from tinygrad7.draw.model import Box, Picture, build
from tinygrad7.draw.replay import Replay
from tinygrad7.draw.script import EVENTS, Script
from tinygrad7.draw.svg import TITLE_SIZE, escape, points_of, resource, style, svg
from tinygrad7.draw.values import barred, heat, norm, statistics, symbols
from tinygrad7.draw.words import shape_text
from tinygrad7.node import Leaf
from tinygrad7.tensor import Tensor
from tinygrad7.wengert import Tape

BOXES = 600  # above this many the player draws modules, then steps, in the place of ops


def save_player(
    y: Any,
    path: str | os.PathLike[str],
    *,
    level: str = "op",
    fold: Any = "auto",
    time: str = "LR",
    expand: bool = False,
) -> None:
    """Write the player of ``y``, a recorded tensor or a ``Tape``, to ``path``.

    What is folded is played in one step. A result that is not one scalar is played forward only. Raises ``ValueError``
    for a constant, ``RuntimeError`` where a leaf has been written into since the tape was recorded."""
    Path(path).write_text(page(y, level=level, fold=fold, time=time, expand=expand), encoding="utf-8")


def page(y: Any, *, level: str = "op", fold: Any = "auto", time: str = "LR", expand: bool = False) -> str:
    """The text of that file."""
    tape = y if isinstance(y, Tape) else Tape(y)
    tape = tape.expand() if expand else tape
    notes: list[str] = []
    budget = AUTO if fold == "auto" or fold is True else None if fold is False else int(fold)
    picture = _picture(tape, level, budget)
    for coarser in ("module", "step"):
        if level == "op" and fold == "auto" and len(picture.boxes) > BOXES:
            notes.append(f"{len(picture.boxes):,} boxes would be too many: one box for each {coarser}.")
            picture = _picture(tape, coarser, budget)
    folded = sum(box.stand for box in picture.boxes if box.kind == "fold")
    if folded:
        notes.append(f"{folded:,} nodes are folded; what is folded is played in one step.")
    told = {i for i, node in enumerate(tape.nodes) if picture.box_of[node].kind != "fold"}
    if len(told) > EVENTS:  # then entries are played several at a time, and only the weights' sums are told
        told = {i for i in told if isinstance(tape.nodes[i], Leaf)}
    played = Replay(tape, told)
    if not played.scalar:
        what = f"has shape {shape_text(tape.outputs[0].shape)}" if len(tape.outputs) == 1 else "is several tensors"
        notes.append(f"The result {what}: only one scalar is played backward.")
    drawing = layout(_annotated(picture, played), time)
    script = Script(tape, drawing, played)
    notes += script.notes
    result = tape.outputs[0]
    value = f" = {statistics(result._value)}" if result.size == 1 else ""
    title = f"{script.names[picture.box_of[result._node]]}{value}"
    subtitle = f"{len(tape):,} entries on the tape, {len(picture.boxes):,} boxes"
    data = {
        "title": title,
        "notes": notes,
        "forward": script.forward,
        "events": script.events,
        "grads": script.gradients,
    }
    data |= _geometry(drawing)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    parts = {
        "TITLE": escape(title), "SUBTITLE": escape(subtitle), "NOTES": escape(" ".join(notes)),
        "STYLE": style() + resource("player.css"),
        "DRAWING": svg(drawing, player=True, title=f"The computation graph of {title}"),
        "DATA": text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
        "SCRIPT": resource("player.js"),
    }  # fmt: skip
    template = resource("player.html")
    return clean(re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], template))  # one pass: names may hold {{DATA}} too


def _picture(tape: Tape, level: str, budget: int | None) -> Picture:
    picture = build(tape.outputs[0], level, tape.nodes, [t._node for t in tape.outputs])
    arrange(picture)
    fold_picture(picture, budget)
    return picture


def _annotated(picture: Picture, played: Replay) -> Picture:
    """With values and bars, in few words: the rest stands beside the drawing."""
    names = symbols(picture)
    for box in picture.boxes:
        if box.kind in ("fold", "module", "step") or not box.nodes:
            continue
        node = box.nodes[0]
        value = node._value if isinstance(node, Tensor) else played.value(node)
        if not isinstance(value, tuple):
            if value.size == 1 and not (box.is_source and box.label == statistics(value)):
                box.lines.append(f"= {statistics(value)}")
            box.strip = heat(value)
        bar = played.bar(node)
        if bar is not None and not isinstance(bar, tuple):
            name = barred(names[box])
            box.lines.append(f"{name} = {statistics(bar)}" if bar.size == 1 else f"‖{name}‖ = {norm(bar):.2g}")
    return picture


def _geometry(drawing: Drawing) -> dict[str, Any]:
    """Where everything lies, for the page to close blocks: boxes, blocks, edges, with y pointing down."""
    height = drawing.size[1]
    place = {cluster.scope: k for k, cluster in enumerate(drawing.clusters)}
    inside: dict[Box, int] = {box: k for k, cluster in enumerate(drawing.clusters) for box in cluster.members}
    counts = [0] * len(drawing.clusters)
    parents = [place.get(cluster.parent, -1) for cluster in drawing.clusters]
    for box, k in inside.items():
        while k >= 0:
            counts[k] += len(box.nodes)
            k = parents[k]
    flat = drawing.flat
    boxes = []
    for box in drawing.picture.boxes:
        along, over = box.across > 1, box.up > 1 or box.kind == "fold"
        stretched = (along, over) if flat else (over, along)  # what spans several columns or rows shrinks with them
        boxes.append([*_short(box.x, height - box.y, box.w, box.h), *map(int, stretched), inside.get(box, -1)])
    blocks = []
    for k, c in enumerate(drawing.clusters):
        l, b, r, t = c.box
        title = c.title.partition("   ")[0]
        room = round(text_width(title, TITLE_SIZE) + 28)
        blocks.append([*_short(l, height - t, r, height - b), parents[k], title, counts[k], room])
    edges = [
        [e.src.number, e.dst.number, _short(*(v for point in points_of(e, height) for v in point))]
        for e in drawing.picture.edges
    ]
    return {"size": _short(*drawing.size), "boxes": boxes, "clusters": blocks, "edges": edges}


def _short(*numbers: float) -> list[float]:
    return [round(v, 1) for v in numbers]

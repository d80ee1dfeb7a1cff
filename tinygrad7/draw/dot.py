"""DOT text: a drawing with all its places written out, for Graphviz to draw (its engine ``nop2`` moves nothing).

Names come from users, so every string goes through ``clean`` and then through the escaping of the place where it lands.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from tinygrad7.draw.blocks import Cluster
from tinygrad7.draw.layout import LABEL, NOTE, Drawing, text_width
from tinygrad7.draw.model import Box, Edge
from tinygrad7.draw.values import BAR, Scale

FONT = "Arial"
TITLE = 11.0  # font size
INK, FAINT, LINE = "#1f2a3d", "#6f7b8f", "#5d6b82"
STYLES = {  # fill, border, text
    "op": ("#ffffff", "#46587a", INK),
    "parameter": ("#fdf1d3", "#c08f2f", "#5e4310"),
    "input": ("#e4f2ec", "#4f9479", "#174a38"),
    "cut": ("#fbe9e7", "#c4513f", "#8c2f20"),
    "module": ("#eef2fb", "#46587a", INK),
    "step": ("#eef2fb", "#46587a", INK),
    "fold": ("#f4f6fa", "#94a1b8", "#4a5770"),
}
ROOT = ("#dfe8fb", "#2b4a9b", "#16306f")
BAD = ("#fbd9d5", "#c0281a", "#8a1408")
GRADIENT = ("#f6ecfa", "#8b58a8", "#4e2467")
BACK, VALUE = "#a03a2a", "#3a5f8f"
SHAPES = {"parameter": "filled", "cut": "filled,dashed", "fold": "rounded,filled,dashed"}
CLUSTERS = {"step": ("#f3f6fb", "#c9d4e6")}
BLOCK = ("#fafbfd", "#d5dbe6")
EDGES = {"parameter": "#c9a04a", "input": "#6aa88f"}

_INVALID = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # compiled when first used: it takes 4 ms


def clean(text: str) -> str:
    """Without the characters that XML cannot hold: each becomes U+FFFD."""
    return text if text.isascii() and text.isprintable() else re.sub(_INVALID, "\ufffd", text)


def quote(text: str) -> str:
    """A DOT string that stands for exactly ``text``."""
    text = clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{text}"'


def markup(text: str) -> str:
    """Text inside an HTML-like label."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return re.sub(r"[\n\r\t]", " ", text)


def font(text: str, colour: str, size: float | None = None) -> str:
    """Marked-up text in a colour, and in a size other than the label's."""
    points = f' POINT-SIZE="{size:g}"' if size else ""
    face = ' FACE="DejaVu Sans,Verdana,sans-serif"' if BAR in text else ""  # Arial sets the bar through tall letters
    return f'<FONT{face}{points} COLOR="{colour}">{text}</FONT>'


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def n(value: float) -> str:
    """A coordinate, to a tenth of a point."""
    return str(round(value, 1))


def attributes(drawing: Drawing) -> dict[str, dict[str, str]]:
    """The defaults of the graph, its nodes and its edges."""
    w, h = drawing.size
    graph = {
        "layout": "nop2",
        "bb": f"0,0,{n(w)},{n(h)}",
        "pad": "0.15",
        "bgcolor": "#ffffff",
        "style": "rounded,filled",
    }
    return {
        "graph": {**graph, "fontname": FONT, "fontsize": f"{TITLE:g}", "fontcolor": "#5b6a84"},
        "node": {"shape": "box", "fixedsize": "true", "fontname": FONT, "fontsize": f"{LABEL:g}", "penwidth": "1.1"},
        "edge": {"color": LINE, "arrowsize": "0.6", "penwidth": "1.1"},
    }


def write(drawing: Drawing) -> list[str]:
    """The lines of the body of a digraph."""
    lines: list[str] = []
    children: dict[Any, list[Cluster]] = {}
    for cluster in drawing.clusters:
        children.setdefault(cluster.parent, []).append(cluster)
    stack: list[Any] = children.get(None, [])[::-1]
    inside: set[Box] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            lines.append(item)
            continue
        lines += _cluster(item, len(lines))
        lines += [_node(box) for box in item.members]
        inside.update(item.members)
        stack.append("}")
        stack += children.get(item.scope, [])[::-1]
    picture, scale = drawing.picture, drawing.picture.scale
    lines += [_node(box) for box in picture.boxes if box not in inside]
    lines += [_edge(edge, scale) for edge in picture.edges]
    if picture.backward:
        lines += [_back(edge, scale) for edge in picture.edges if edge.src.kind not in ("input", "cut")]
    low = -14.0
    if any(box.gradient for box in picture.boxes):
        lines.append(_passes(drawing.size[0] / 2, low))
        low -= 32
    if scale is not None:
        lines.append(_legend(scale, drawing.size[0] / 2, low - 18))
    return lines


# ---- blocks and boxes ----------------------------------------------------------------------------------------------


def _cluster(cluster: Cluster, number: int) -> list[str]:
    left, low, right, top = cluster.box
    fill, border = CLUSTERS.get(cluster.kind, BLOCK)
    words = fitting(cluster.title, right - left - 10, TITLE)
    step = cluster.kind == "step"
    title = f"<<B>{markup(words)}</B>>" if step else quote(words)
    x = (left + right) / 2 if step else left + 9 + text_width(words, TITLE) / 2
    return [
        f"subgraph cluster_{number} {{",
        f'graph [bb="{n(left)},{n(low)},{n(right)},{n(top)}" label={title} lp="{n(x)},{n(top - 9)}" fillcolor="{fill}" '
        f'color="{border}" tooltip={quote(cluster.title)}]',
    ]


def fitting(title: str, width: float, size: float) -> str:
    """As much of a title as fits: without its second part, then cut short."""
    if text_width(title, size) <= width:
        return title
    title = title.partition("   ")[0]
    while len(title) > 2 and text_width(title, size) > width:
        title = title[:-2] + "…"
    return title


def _node(box: Box) -> str:
    fill, border, ink = STYLES[box.kind]
    if box.gradient and box.kind == "op":
        fill, border, ink = GRADIENT
    if box.root and box.kind != "fold":
        fill, border, ink = ROOT
    if box.bad:
        fill, border, ink = BAD
    notes = [shorten(line, 60) for line in box.note.split("\n")] if box.note else []
    if box.is_source and box.uses > 1:
        notes = [f"{notes[0]}  ×{box.uses}" if notes else f"×{box.uses}", *notes[1:]]
    parts = [font(markup(shorten(box.label, 40)) or " ", ink)]
    parts += [font(markup(note), FAINT, NOTE) for note in notes]
    parts += [font(markup(line), BACK if BAR in line else VALUE, NOTE) for line in box.lines]
    if box.strip:
        parts.append("".join([font("■", colour, 9) for colour in box.strip]))
    tip = box.tip or " / ".join([*[s.label for s in box.path], box.label])
    return (
        f'n{box.number} [label=<{"<BR/>".join(parts)}> pos="{n(box.x)},{n(box.y)}" width={box.w / 72:.3f} '
        f'height={box.h / 72:.3f} style="{SHAPES.get(box.kind, "rounded,filled")}" fillcolor="{fill}" color="{border}" '
        f"tooltip={quote(tip)}]"
    )


# ---- edges ---------------------------------------------------------------------------------------------------------


def _spline(points: list[tuple[float, float]], tip: tuple[float, float]) -> str:
    return f"e,{tip[0]:.1f},{tip[1]:.1f} " + " ".join([f"{x:.1f},{y:.1f}" for x, y in points])


def _norm(edge: Edge) -> float | None:
    """The norm that an edge shows: of its source's cotangent, and for a shared parameter of the one that it adds to."""
    if edge.src.kind in ("input", "cut"):
        return None
    return (edge.dst if edge.src.kind == "parameter" else edge.src).norm


def _edge(edge: Edge, scale: Scale | None) -> str:
    *path, tip = edge.points
    more = ""
    if edge.cut:
        more = f' style=dashed color="{STYLES["cut"][1]}"'
    elif scale is not None:
        colour, width = scale.style(_norm(edge))
        more = f' color="{colour}" penwidth={width:.2f}'
    elif edge.src.kind in EDGES:
        more = f' color="{EDGES[edge.src.kind]}"'
    return f'n{edge.src.number} -> n{edge.dst.number} [pos="{_spline(path, tip)}"{more}]'


def _back(edge: Edge, scale: Scale | None) -> str:
    """The cotangent's way: beside the forward edge, in the other direction."""
    *path, tip = edge.points
    path = [*path[:-1], tip][::-1]
    ends = abs(path[1][0] - path[0][0]) < 0.5, abs(path[-1][0] - path[-2][0]) < 0.5
    bends = any(abs(a[0] - b[0]) < 0.1 < abs(a[1] - b[1]) for a, b in pairwise(path))
    right, down = (5.0, 0.0) if all(ends) else (4.0, 4.0) if any(ends) or bends else (0.0, 5.0)
    moved = [(x + right, y - down) for x, y in path]
    if not any(ends):
        moved[0], moved[-1] = (path[0][0], moved[0][1]), (path[-1][0], moved[-1][1])
    (ax, ay), end = moved[-2], moved[-1]
    share = min(6 / max(((ax - end[0]) ** 2 + (ay - end[1]) ** 2) ** 0.5, 0.01), 0.9)
    moved[-1] = (end[0] + (ax - end[0]) * share, end[1] + (ay - end[1]) * share)
    width = f" penwidth={scale.style(_norm(edge))[1]:.2f}" if scale is not None else ""
    return (
        f'n{edge.dst.number} -> n{edge.src.number} [pos="{_spline(moved, end)}" style=dashed color="{BACK}" '
        f"class=backward{width}]"
    )


# ---- legends -------------------------------------------------------------------------------------------------------


def _legend(scale: Scale, x: float, y: float) -> str:
    """The scale of edge colours, under the drawing."""
    colours = [scale.style(scale.middle * 10.0**k)[0] for k in range(-3, 4)]
    swatches = "".join([font("■■", colour, 10) for colour in colours])
    words = f"gradient norm: {scale.middle:.2g} where the backward pass starts, "
    words += f"{scale.least:.2g} to {scale.most:.2g} in all"
    ends = [font(text, FAINT, NOTE) for text in ("a thousandth  ", "  a thousandfold")]
    label = f"{font(words, FAINT, 9)}<BR/>{ends[0]}{swatches}{ends[1]}"
    return f'legend [label=<{label}> shape=plain pos="{n(x)},{n(y)}" fixedsize=false]'


def _passes(x: float, y: float) -> str:
    """What the other colour of boxes means."""
    fill, border, ink = GRADIENT
    label = f"<{font('recorded backward pass', ink, 9)}>"
    return (
        f'passes [label={label} style="rounded,filled" fillcolor="{fill}" color="{border}" pos="{n(x)},{n(y)}" '
        f"width=1.7 height=0.26]"
    )

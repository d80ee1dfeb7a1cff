"""DOT text: a drawing with all its places written out, for Graphviz to draw (layout engine ``nop2``, which moves nothing).

Names come from users, so every string goes through ``clean`` and then through the escaping of the place where it lands.
"""

from __future__ import annotations

import re
from typing import Any

from tinygrad7.draw.layout import LABEL, NOTE, Cluster, Drawing
from tinygrad7.draw.model import Box, Edge

FONT = "Helvetica,Arial,sans-serif"
INK, FAINT, LINE = "#1f2a3d", "#7a8699", "#5d6b82"
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
CLUSTERS = {"step": ("#f3f6fb", "#c9d4e6"), "module": ("#fafbfd", "#d5dbe6"), "scope": ("#fafbfd", "#d5dbe6")}

_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Without the characters that XML cannot hold: each becomes U+FFFD."""
    return _INVALID.sub("\ufffd", text)


def quote(text: str) -> str:
    """A DOT string that stands for exactly ``text``."""
    text = clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{text}"'


def markup(text: str) -> str:
    """Text inside an HTML-like label."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return re.sub(r"[\n\r\t]", " ", text)


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def n(value: float) -> str:
    """A coordinate in as few characters as it needs."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def write(drawing: Drawing) -> list[str]:
    """The lines of the body of a digraph."""
    lines = []
    width, height = drawing.size
    children: dict[Any, list[Cluster]] = {}
    for cluster in drawing.clusters:
        children.setdefault(cluster.parent, []).append(cluster)
    number = 0
    stack: list[Any] = list(reversed(children.get(None, [])))
    inside: set[Box] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            lines.append(item)
            continue
        lines += _cluster(item, number)
        number += 1
        lines += [_node(box) for box in item.members]
        inside.update(item.members)
        stack.append("}")
        stack.extend(reversed(children.get(item.scope, [])))
    lines += [_node(box) for box in drawing.picture.boxes if box not in inside]
    lines += [_edge(edge) for edge in drawing.picture.edges]
    return lines


def _cluster(cluster: Cluster, number: int) -> list[str]:
    l, b, r, t = cluster.box
    fill, border = CLUSTERS.get(cluster.kind, CLUSTERS["scope"])
    title = f"<<B>{markup(shorten(cluster.title, 60))}</B>>" if cluster.kind == "step" else quote(shorten(cluster.title, 60))
    return [
        f"subgraph cluster_{number} {{",
        f'graph [bb="{n(l)},{n(b)},{n(r)},{n(t)}" label={title} lp="{n((l + r) / 2)},{n(t - 9)}" fillcolor="{fill}" color="{border}"]',
    ]


def _node(box: Box) -> str:
    fill, border, text = STYLES[box.kind]
    if box.gradient and box.kind == "op":
        fill, border, text = GRADIENT
    if box.root and box.kind != "fold":
        fill, border, text = ROOT
    if box.bad:
        fill, border, text = BAD
    style = {"op": "rounded,filled", "input": "rounded,filled", "fold": "rounded,filled,dashed", "cut": "filled,dashed"}.get(
        box.kind, "rounded,filled" if box.kind in ("module", "step") else "filled"
    )
    parts = [f'<FONT COLOR="{text}">{markup(shorten(box.label, 40)) or " "}</FONT>']
    notes = [shorten(line, 60) for line in box.note.split("\n")] if box.note else []
    if box.is_source and box.uses > 1:
        notes = [f"{notes[0]}  ×{box.uses}" if notes else f"×{box.uses}", *notes[1:]]
    for note in notes:
        parts.append(f'<FONT POINT-SIZE="{NOTE}" COLOR="{FAINT}">{markup(note)}</FONT>')
    for line in box.lines:
        colour = "#a03a2a" if "\u0304" in line else "#3a5f8f"
        parts.append(f'<FONT POINT-SIZE="{NOTE}" COLOR="{colour}">{markup(line)}</FONT>')
    label = "<BR/>".join(parts)
    if box.strip:
        cells = "".join(f'<TD BGCOLOR="{c}" WIDTH="7" HEIGHT="6" FIXEDSIZE="TRUE"></TD>' for c in box.strip)
        label = (
            f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR><TD>{label}</TD></TR><TR><TD>'
            f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{cells}</TR></TABLE></TD></TR></TABLE>'
        )
    tip = box.tip or " / ".join([*(s.label for s in box.path), box.label])
    return (
        f'n{box.number} [label=<{label}> pos="{n(box.x)},{n(box.y)}" width={box.w / 72:.3f} height={box.h / 72:.3f} '
        f'style="{style}" fillcolor="{fill}" color="{border}" tooltip={quote(tip)}]'
    )


def _edge(edge: Edge) -> str:
    *path, tip = edge.points
    spline = " ".join(f"{n(x)},{n(y)}" for x, y in path)
    more = ""
    if edge.cut:
        more = ' style=dashed color="#c4513f"'
    elif edge.src.kind == "parameter":
        more = ' color="#c9a04a"'
    elif edge.src.kind == "input":
        more = ' color="#6aa88f"'
    return f'n{edge.src.number} -> n{edge.dst.number} [pos="e,{n(tip[0])},{n(tip[1])} {spline}"{more}]'

"""DOT text: a drawing with all its places written out, for Graphviz to draw (layout engine ``nop2``, which moves nothing).

Names come from users, so every string goes through ``clean`` and then through the escaping of the place where it lands.
"""

from __future__ import annotations

import re
from typing import Any

from tinygrad7.draw.layout import LABEL, NOTE, Cluster, Drawing, text_width
from tinygrad7.draw.model import Box, Edge

FONT = "Arial"
TITLE_SIZE = 11.0
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
CLUSTERS = {"step": ("#f3f6fb", "#c9d4e6"), "module": ("#fafbfd", "#d5dbe6"), "scope": ("#fafbfd", "#d5dbe6")}

_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Without the characters that XML cannot hold: each becomes U+FFFD."""
    return text if text.isascii() and text.isprintable() else _INVALID.sub("\ufffd", text)


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
    return str(round(value, 1))


def attributes(drawing: Drawing) -> dict[str, dict[str, str]]:
    """The defaults of the graph, its nodes and its edges."""
    w, h = drawing.size
    return {
        "graph": {
            "layout": "nop2", "bb": f"0,0,{n(w)},{n(h)}", "pad": "0.15", "bgcolor": "#ffffff", "style": "rounded,filled",
            "fontname": FONT, "fontsize": f"{TITLE_SIZE:g}", "fontcolor": "#5b6a84",
        },
        "node": {
            "shape": "box", "fixedsize": "true", "fontname": FONT, "fontsize": f"{LABEL:g}", "fontcolor": INK, "penwidth": "1.1",
        },
        "edge": {"color": LINE, "arrowsize": "0.6", "penwidth": "1.1"},
    }  # fmt: skip


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
    scale = drawing.picture.scale
    lines += [_edge(edge, scale) for edge in drawing.picture.edges]
    if drawing.picture.backward:
        lines += [_back(edge, scale) for edge in drawing.picture.edges if edge.src.kind not in ("input", "cut")]
    if scale is not None:
        lines.append(_legend(drawing))
    if any(box.gradient for box in drawing.picture.boxes):
        fill, border, text = GRADIENT
        lines.append(
            f'passes [label="recorded backward pass" style="rounded,filled" fillcolor="{fill}" color="{border}" '
            f'fontcolor="{text}" fontsize=9 pos="{n(drawing.size[0] / 2)},-{90 if scale is not None else 24}.0" width=1.6 height=0.26]'
        )
    return lines


def _cluster(cluster: Cluster, number: int) -> list[str]:
    l, b, r, t = cluster.box
    fill, border = CLUSTERS.get(cluster.kind, CLUSTERS["scope"])
    words = fitting(cluster.title, r - l - 10, TITLE_SIZE)
    title = f"<<B>{markup(words)}</B>>" if cluster.kind == "step" else quote(words)
    x = (l + r) / 2 if cluster.kind == "step" else l + 9 + text_width(words, TITLE_SIZE) / 2
    return [
        f"subgraph cluster_{number} {{",
        f'graph [bb="{n(l)},{n(b)},{n(r)},{n(t)}" label={title} lp="{n(x)},{n(t - 9)}" fillcolor="{fill}" color="{border}"]',
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
    fill, border, text = STYLES[box.kind]
    if box.gradient and box.kind == "op":
        fill, border, text = GRADIENT
    if box.root and box.kind != "fold":
        fill, border, text = ROOT
    if box.bad:
        fill, border, text = BAD
    style = {
        "op": "rounded,filled",
        "input": "rounded,filled",
        "fold": "rounded,filled,dashed",
        "cut": "filled,dashed",
    }.get(box.kind, "rounded,filled" if box.kind in ("module", "step") else "filled")
    parts = [f'<FONT COLOR="{text}">{markup(shorten(box.label, 40)) or " "}</FONT>']
    notes = [shorten(line, 60) for line in box.note.split("\n")] if box.note else []
    if box.is_source and box.uses > 1:
        notes = [f"{notes[0]}  ×{box.uses}" if notes else f"×{box.uses}", *notes[1:]]
    for note in notes:
        parts.append(f'<FONT POINT-SIZE="{NOTE}" COLOR="{FAINT}">{markup(note)}</FONT>')
    for line in box.lines:
        colour = "#a03a2a" if "\u0304" in line else "#3a5f8f"
        parts.append(f'<FONT POINT-SIZE="{NOTE}" COLOR="{colour}">{markup(line)}</FONT>')
    if box.strip:
        parts.append("".join(f'<FONT POINT-SIZE="9" COLOR="{c}">■</FONT>' for c in box.strip))
    label = "<BR/>".join(parts)
    tip = box.tip or " / ".join([*(s.label for s in box.path), box.label])
    return (
        f'n{box.number} [label=<{label}> pos="{n(box.x)},{n(box.y)}" width={box.w / 72:.3f} height={box.h / 72:.3f} '
        f'style="{style}" fillcolor="{fill}" color="{border}" tooltip={quote(tip)}]'
    )


def _edge(edge: Edge, scale: Any) -> str:
    *path, tip = edge.points
    spline = " ".join(["%.1f,%.1f" % point for point in path])
    more = ""
    if edge.cut:
        more = ' style=dashed color="#c4513f"'
    elif scale is not None:
        through = edge.dst if edge.src.kind == "parameter" else edge.src
        colour, width = scale.style(None if edge.src.kind in ("input", "cut") else through.norm)
        more = f' color="{colour}" penwidth={width:.2f}'
    elif edge.src.kind == "parameter":
        more = ' color="#c9a04a"'
    elif edge.src.kind == "input":
        more = ' color="#6aa88f"'
    return f'n{edge.src.number} -> n{edge.dst.number} [pos="e,{n(tip[0])},{n(tip[1])} {spline}"{more}]'


BACK = "#a03a2a"


def _back(edge: Edge, scale: Any) -> str:
    """The cotangent's way: beside the forward edge, in the other direction."""
    *path, tip = edge.points
    path = [*path[:-1], tip][::-1]
    upright = abs(path[1][0] - path[0][0]) < 0.5, abs(path[-1][0] - path[-2][0]) < 0.5
    right, down = (5.0, 0.0) if all(upright) else (4.0, 4.0) if any(upright) else (0.0, 5.0)
    if (
        not any(upright)
        and len(path) > 8
        and any(abs(a[0] - b[0]) < 0.1 < abs(a[1] - b[1]) for a, b in zip(path, path[1:], strict=False))
    ):
        right = 4.0
    moved = [(x + right, y - down) for x, y in path]
    if not any(upright):
        moved[0], moved[-1] = (path[0][0], moved[0][1]), (path[-1][0], moved[-1][1])
    (ax, ay), (bx, by) = moved[-2], moved[-1]
    d = max(((ax - bx) ** 2 + (ay - by) ** 2) ** 0.5, 0.01)
    moved[-1] = (bx + (ax - bx) * min(6 / d, 0.9), by + (ay - by) * min(6 / d, 0.9))
    spline = " ".join(["%.1f,%.1f" % point for point in moved])
    through = edge.dst if edge.src.kind == "parameter" else edge.src
    width = f" penwidth={scale.style(through.norm)[1]:.2f}" if scale is not None else ""
    return (
        f'n{edge.dst.number} -> n{edge.src.number} [pos="e,{n(bx)},{n(by)} {spline}" style=dashed color="{BACK}" '
        f"class=backward{width}]"
    )


def _legend(drawing: Drawing) -> str:
    """The scale of edge colours, under the drawing on the right."""
    scale = drawing.picture.scale
    cells = "".join(
        f'<TD BGCOLOR="{scale.style(scale.middle * 10.0**k)[0]}" WIDTH="16" HEIGHT="7" FIXEDSIZE="TRUE"></TD>'
        for k in range(-3, 4)
    )
    text = f"gradient norm: {scale.middle:.2g} where the backward pass starts, {scale.least:.2g} to {scale.most:.2g} in all"
    label = (
        f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1"><TR><TD COLSPAN="9"><FONT POINT-SIZE="9">{markup(text)}</FONT>'
        f'</TD></TR><TR><TD><FONT POINT-SIZE="8">÷ 1000 </FONT></TD>{cells}<TD><FONT POINT-SIZE="8"> × 1000</FONT></TD></TR></TABLE>'
    )
    return f'legend [label=<{label}> shape=plain pos="{n(drawing.size[0] / 2)},-32" width=6.4 height=0.7 fontcolor="{FAINT}"]'

"""SVG text straight from a drawing, with no renderer: for the tape player and for notebooks.

Every part has a class that says what it is; in a player, an id as well (``b3``, ``e7``, ``c1``). Colours stand in
``drawing.css``. Names come from users: they pass through ``escape``, whatever they hold.
"""

from __future__ import annotations

from typing import Any

from tinygrad7.draw.dot import clean, fitting, n, shorten
from tinygrad7.draw.layout import LABEL, NOTE, Drawing
from tinygrad7.draw.model import Box, Edge

BAR = "\u0304"
HEAD = 6.0  # length of an arrowhead
MARGIN = 8.0
TITLE_SIZE = 11.0


def escape(text: str) -> str:
    """``text`` for the inside of an element or of a quoted attribute, on one line."""
    import html

    return html.escape(" ".join(clean(text).split("\n"))).replace("\r", " ").replace("\t", " ")


def style() -> str:
    """The sheet of a drawing."""
    return resource("drawing.css")


def resource(name: str) -> str:
    """The text of a file that stands beside this one."""
    from importlib.resources import files

    return files("tinygrad7.draw").joinpath(name).read_text(encoding="utf-8")


def svg(drawing: Drawing, *, player: bool = False, title: str = "") -> str:
    """The drawing as one ``<svg>`` element; for a ``player`` with ids, buttons for blocks and no sheet of its own."""
    width, height = drawing.size
    whole = f'width="{n(width + 2 * MARGIN)}" height="{n(height + 2 * MARGIN)}"'
    view = f'viewBox="{n(-MARGIN)} {n(-MARGIN)} {n(width + 2 * MARGIN)} {n(height + 2 * MARGIN)}"'
    name = f'aria-label="{escape(title)}"'
    parts = [_cluster(c, k, height, player) for k, c in sorted(enumerate(drawing.clusters), key=lambda p: -p[1].level)]
    parts += [_edge(e, k, height, player) for k, e in enumerate(drawing.picture.edges)]
    parts += [_box(b, height, player) for b in drawing.picture.boxes]
    body = "\n".join(parts)
    if player:
        open_ = f'<svg class="tg7" id="drawing" {view} role="group" tabindex="-1" {name}>'
        return f'{open_}\n<g id="world">\n{body}\n</g>\n</svg>'
    paper = f'<rect class="paper" x="{n(-MARGIN)}" y="{n(-MARGIN)}" {whole} rx="6"/>'
    return (
        f'<svg class="tg7" xmlns="http://www.w3.org/2000/svg" {whole} {view} role="img" {name}>'
        f"<style>{style()}</style>\n{paper}\n{body}\n</svg>"
    )


def _cluster(cluster: Any, number: int, height: float, player: bool) -> str:
    l, b, r, t = cluster.box
    words = fitting(cluster.title, r - l - 10, TITLE_SIZE)
    x = (l + r) / 2 if cluster.kind == "step" else l + 9
    more = (
        f' id="c{number}" tabindex="0" role="button" aria-expanded="true" aria-label="{escape(cluster.title)}"'
        if player
        else ""
    )
    return (
        f'<g class="cluster {cluster.kind}"{more}><title>{escape(cluster.title)}</title>'
        f'<rect x="{n(l)}" y="{n(height - t)}" width="{n(r - l)}" height="{n(t - b)}" rx="6"/>'
        f'<text x="{n(x)}" y="{n(height - t + 13)}" font-size="{TITLE_SIZE:g}">{escape(words)}</text></g>'
    )


def points_of(edge: Edge, height: float) -> list[tuple[float, float]]:
    """The Bézier path of an edge from box to box, with y pointing down."""
    path = edge.points[:-1] if len(edge.points) % 3 == 2 else edge.points
    return [(x, height - y) for x, y in path[:-1]] + [(edge.points[-1][0], height - edge.points[-1][1])]


def path_text(points: list[tuple[float, float]]) -> str:
    """``M x y C ...``: the ``d`` of a path through Bézier points."""
    (x, y), rest = points[0], points[1:]
    curves = [" ".join(f"{n(a)} {n(b)}" for a, b in rest[i : i + 3]) for i in range(0, len(rest), 3)]
    return f"M{n(x)} {n(y)}" + "".join(f"C{curve}" for curve in curves)


def head(tip: tuple[float, float], back: tuple[float, float]) -> str:
    """A triangle whose point is at ``tip``, coming from ``back``."""
    dx, dy = tip[0] - back[0], tip[1] - back[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    dx, dy = dx / length, dy / length
    x, y = tip[0] - HEAD * dx, tip[1] - HEAD * dy
    w = HEAD * 0.42
    return f"M{n(tip[0])} {n(tip[1])}L{n(x - w * dy)} {n(y + w * dx)}L{n(x + w * dy)} {n(y - w * dx)}Z"


def _before(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The last point that differs from the end: where the end is come from."""
    end = points[-1]
    return next((p for p in reversed(points[:-1]) if abs(p[0] - end[0]) + abs(p[1] - end[1]) > 0.5), points[0])


def _edge(edge: Edge, number: int, height: float, player: bool) -> str:
    points = points_of(edge, height)
    kind = "cut" if edge.cut else edge.src.kind
    mark = f' id="e{number}"' if player else ""
    return (
        f'<g class="edge {kind}"{mark}><path class="line" d="{path_text(points)}"/>'
        f'<path class="head" d="{head(points[-1], _before(points))}"/>'
        f'<path class="tail" d="{head(points[0], _before(points[::-1]))}"/></g>'
    )


def _box(box: Box, height: float, player: bool) -> str:
    classes = [box.kind] + [name for name in ("root", "bad", "gradient") if getattr(box, name)]
    notes = [shorten(line, 60) for line in box.note.split("\n")] if box.note else []
    if box.is_source and box.uses > 1:
        notes = [f"{notes[0]}  ×{box.uses}" if notes else f"×{box.uses}", *notes[1:]]
    rows = [("label", shorten(box.label, 40), LABEL)] + [("note", line, NOTE) for line in notes]
    rows += [("bar" if BAR in line else "value", line, NOTE) for line in box.lines]
    total = LABEL + 2 + 10.5 * (len(rows) - 1) + (9 if box.strip else 0)
    at = -total / 2 + LABEL - 1
    texts = []
    strip = box.strip
    for kind, text, size in [*rows, ("", "", 0)]:
        if strip and kind in ("bar", ""):  # the value's strip stands under the value
            texts += _strip(strip, at)
            at, strip = at + 9, []
        if kind:
            texts.append(f'<text class="{kind}" y="{n(at)}" font-size="{size:g}">{escape(text)}</text>')
        at += 10.5 if kind == "label" else 10.8
    corner = 2 if box.kind in ("parameter", "cut") else 6
    mark = f' id="b{box.number}"' if player else ""
    extent = f'width="{n(box.w)}" height="{n(box.h)}"'
    tip = box.tip or " / ".join([*(s.label for s in box.path), box.label])
    return (
        f'<g class="box {" ".join(classes)}"{mark} transform="translate({n(box.x)} {n(height - box.y)})">'
        f"<title>{escape(tip)}</title>"
        f'<rect class="frame" x="{n(-box.w / 2)}" y="{n(-box.h / 2)}" {extent} rx="{corner}"/>'
        f"{''.join(texts)}</g>"
    )


def _strip(colours: list[str], at: float) -> list[str]:
    left = -3.0 * len(colours)
    return [
        f'<rect class="cell" x="{n(left + 6 * k)}" y="{n(at - 7)}" width="5.4" height="5.4" fill="{colour}"/>'
        for k, colour in enumerate(colours)
    ]

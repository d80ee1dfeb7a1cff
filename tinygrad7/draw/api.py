"""``draw``: from a tensor to a picture."""

from __future__ import annotations

from typing import Any

from tinygrad7.draw.columns import arrange
from tinygrad7.draw.dot import FONT, INK, LINE, quote, write
from tinygrad7.draw.fold import AUTO, fold as fold_picture
from tinygrad7.draw.layout import Drawing, layout
from tinygrad7.draw.model import build
from tinygrad7.tensor import Tensor


def compose(y: Tensor, *, level: str = "op", fold: Any = "auto", time: str = "LR") -> Drawing:
    picture = build(y, level)
    arrange(picture)
    fold_picture(picture, AUTO if fold == "auto" else None if fold is False else int(fold))
    return layout(picture, time)


def dot_text(drawing: Drawing) -> str:
    w, h = drawing.size
    head = (
        f'graph [layout=nop2 bb="0,0,{w:.1f},{h:.1f}" fontname="{FONT}" fontsize=11 fontcolor="#5b6a84" style="rounded,filled" '
        f'bgcolor="#ffffff" pad=0.15]\n'
        f'node [shape=box fixedsize=true fontname="{FONT}" fontsize=13 fontcolor="{INK}" penwidth=1.1]\n'
        f'edge [color="{LINE}" arrowsize=0.6 penwidth=1.1]\n'
    )
    return "digraph tinygrad7 {\n" + head + "\n".join(write(drawing)) + "\n}\n"

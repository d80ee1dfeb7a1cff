"""``draw``: from a tensor to a picture of everything that it was computed from."""

from __future__ import annotations

import gc
import os
from typing import Any

from tinygrad7.draw.columns import arrange
from tinygrad7.draw.dot import attributes, write
from tinygrad7.draw.fold import AUTO
from tinygrad7.draw.fold import fold as fold_picture
from tinygrad7.draw.layout import Drawing, layout
from tinygrad7.draw.model import build
from tinygrad7.draw.player import save_player
from tinygrad7.draw.render import digraph, save
from tinygrad7.draw.values import Scale, annotate
from tinygrad7.tensor import Tensor
from tinygrad7.wengert import Tape

LEVELS, TIMES = ("op", "module", "step"), ("LR", "TB")


def draw(
    y: Any,
    *,
    values: bool = False,
    gradients: bool = False,
    level: str = "op",
    fold: bool | int | str = "auto",
    time: str = "LR",
    backward: bool = False,
    expand: bool = False,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """The computation graph of ``y`` as a ``graphviz.Digraph``: time runs to the right, a shared weight is one node.

    ``values`` writes forward values on the boxes, ``gradients`` the cotangents (``h̄(3)``), with edges coloured by their
    norm; ``backward`` adds the arrows of the backward pass. ``level``: a box for each "op", "module" call or time
    "step". ``fold`` collects steps and blocks that repeat above a budget of boxes ("auto", a number; False: never).
    ``time``: "LR" or "TB". ``expand`` draws the reference of every fused op in its place. ``path`` saves it, by
    its ending as svg, png, pdf, dot or html (the tape player). ``y`` is a tensor or a ``Tape``. Raises ``ValueError``
    for an option that does not exist, ``RendererError`` where nothing can render a file.
    """
    collecting = gc.isenabled()
    gc.disable()  # thousands of small objects, none of them garbage: the collector would only walk them again and again
    try:
        drawing = compose(
            y, values=values, gradients=gradients, level=level, fold=fold, time=time, backward=backward, expand=expand
        )
        graph = digraph(write(drawing), attributes(drawing))
    finally:
        if collecting:
            gc.enable()
    if path is not None and os.fspath(path).lower().endswith((".html", ".htm")):
        save_player(y, path, level=level, fold=fold, time=time, expand=expand)
    elif path is not None:
        save(graph.source, path)
    return graph


def compose(
    y: Any,
    *,
    values: bool = False,
    gradients: bool = False,
    level: str = "op",
    fold: bool | int | str = "auto",
    time: str = "LR",
    backward: bool = False,
    expand: bool = False,
) -> Drawing:
    """The same, one stage earlier: boxes, edges and blocks with their places."""
    _check(level, fold, time)
    if not isinstance(y, Tensor | Tape):
        raise TypeError(f"draw: a tensor or a Tape is needed, this is a {type(y).__name__}")
    if isinstance(y, Tensor) and y._node is None:
        picture = build(y, level)
        tape = None
    else:
        tape = y if isinstance(y, Tape) else Tape(y)
        if expand:
            tape = tape.expand()
        picture = build(tape.outputs[0], level, tape.nodes, [t._node for t in tape.outputs])
    arrange(picture)
    fold_picture(picture, AUTO if fold == "auto" or fold is True else None if fold is False else int(fold))
    if tape is not None and (values or gradients):
        annotate(picture, tape, values, gradients)
        picture.scale = Scale(picture) if gradients else None
    picture.backward = backward
    return layout(picture, time)


def _check(level: str, fold: Any, time: str) -> None:
    if level not in LEVELS:
        raise ValueError(f"draw: level must be one of {LEVELS}, not {level!r}")
    if time not in TIMES:
        raise ValueError(f"draw: time must be one of {TIMES}, not {time!r}")
    if fold != "auto" and not isinstance(fold, int):
        raise ValueError(f"draw: fold must be 'auto', False or a number of boxes, not {fold!r}")

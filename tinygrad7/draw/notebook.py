"""How tensors, tapes and modules show themselves in a notebook: value and small graph, table of ops, summary.

Nothing here raises, needs a renderer or grows with the size of what is shown: there is a budget for everything, and
what goes beyond it is counted. Where a picture fails, the text is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad7.backend import to_numpy
from tinygrad7.draw.api import compose
from tinygrad7.draw.svg import escape, svg
from tinygrad7.draw.values import heat, statistics
from tinygrad7.draw.words import shape_text
from tinygrad7.nn.module import Module
from tinygrad7.nn.parameter import Buffer
from tinygrad7.node import Leaf
from tinygrad7.tensor import Tensor
from tinygrad7.wengert import Entry, Tape

NODES = 1500  # a graph of more entries than this is not drawn: Tape and draw do that
BOXES = 60  # nor one that folding leaves with more boxes
ROWS = 60  # of a table: the first and the last
LARGE = 5_000_000  # elements of a value that is not looked through
ELEMENTS = 64  # of a value that is written out as a table

TABLE = "border-collapse:collapse;font-size:13px"
CELL = "padding:2px 10px;text-align:left;white-space:nowrap"
NUMBER = CELL.replace("left", "right")
QUIET = "opacity:.65"
MONO = "font-family:ui-monospace,Menlo,Consolas,monospace"


def _table(heading: list[str], rows: list[list[str]], numbers: tuple[int, ...] = ()) -> str:
    """An HTML table of escaped cells; columns in ``numbers`` are set to the right."""

    def line(cells: list[str], tag: str) -> str:
        styles = [NUMBER if k in numbers else CELL for k in range(len(cells))]
        return (
            "<tr>"
            + "".join(f'<{tag} style="{s}">{escape(c)}</{tag}>' for s, c in zip(styles, cells, strict=True))
            + "</tr>"
        )

    body = "".join(line(row, "td") for row in rows)
    return f'<table style="{TABLE}"><thead>{line(heading, "th")}</thead><tbody>{body}</tbody></table>'


def _text(value: Any) -> str:
    """What the prompt would print."""
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return '<pre style="margin:0">' + "\n".join(escape(line) for line in text.split("\n")) + "</pre>"


def _safely(show: Callable[[Any], str | None], otherwise: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """A notebook shows something, whatever happens: the fault would hide the value that one wanted to look at."""

    def shown(self: Any) -> str | None:
        try:
            return show(self)
        except Exception:
            return otherwise(self)

    shown.__doc__ = show.__doc__
    return shown


def _nothing(_: object) -> None:
    return None


# ---- tensors -------------------------------------------------------------------------------------------------------


def _grid(a: np.ndarray) -> str:
    """A small vector or matrix, number by number, each tinted by its size."""
    rows = a.reshape(1, -1) if a.ndim == 1 else a
    if a.dtype.kind == "f":
        words = [[f"{v:.4g}" for v in row] for row in rows.tolist()]
    else:
        words = [[str(v) for v in row] for row in rows.tolist()]
    top = float(np.max(np.abs(a[np.isfinite(a)].astype(np.float64)), initial=0.0)) or 1.0
    cells = []
    for row, text in zip(rows.tolist(), words, strict=True):
        pairs = zip(row, text, strict=True)
        cells.append("".join(f'<td style="{NUMBER};background:{_tint(v, top)}">{escape(w)}</td>' for v, w in pairs))
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<table style="{TABLE};{MONO}">{body}</table>'


def _tint(v: float, top: float) -> str:
    if not math.isfinite(v):
        return "none"
    return f"rgba({'178,69,45' if v > 0 else '45,95,168'},{0.32 * abs(float(v)) / top:.2f})"


def _value(a: np.ndarray) -> str:
    """A scalar as itself, a small array number by number, a larger one as range, mean and heat strip."""
    if 1 < a.size <= ELEMENTS and a.ndim in (1, 2) and a.shape[-1] <= 16:
        return _grid(a)
    shown = f'<span style="font-size:15px">{escape(statistics(a))}</span>'
    cell = '<span style="display:inline-block;width:11px;height:11px;background:{}"></span>'
    cells = "".join(cell.format(colour) for colour in heat(a))
    return f'{shown}  <span style="vertical-align:-1px">{cells}</span>'


def _tensor_html(t: Tensor) -> str:
    """The value, what kind of tensor it is, and where it comes from."""
    parts = ["tensor", shape_text(t.shape) or "scalar", str(t.dtype)]
    if t.device != "cpu":
        parts.append(t.device)
    head = f"<b>{escape(t.name)}</b>  " if t.name else ""
    if isinstance(t._node, Leaf):
        parts.append("requires grad" if t._node.grad is None else "has a gradient")
    elif t._node is not None:
        parts.append(f"from {t._node.plan.op.label}")
    shown = _value(to_numpy(t._value)) if t.size <= LARGE else f"{t.size:,} elements"
    graph = _graph(t)
    return f'<div><div style="{QUIET};font-size:13px">{head}{escape(", ".join(parts))}</div>{shown}{graph}</div>'


def _small(y: Tensor) -> bool:
    """Whether there are at most ``NODES`` entries behind ``y``; looks at no more than that."""
    seen = {y._node}
    stack: list[Any] = [y._node]
    while stack and len(seen) <= NODES:
        for parent in stack.pop().parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return len(seen) <= NODES


def _graph(t: Tensor) -> str:
    if t._node is None or isinstance(t._node, Leaf):
        return ""
    if not _small(t):
        return f'<div style="{QUIET};font-size:13px">a graph of more than {NODES:,} entries: tg.draw(t) draws it</div>'
    picture = _safely(_tensor_svg, _nothing)(t)
    if picture is None:
        return f'<div style="{QUIET};font-size:13px">{len(Tape(t)):,} entries on the tape: tg.draw(t) draws them</div>'
    return f'<div style="margin-top:6px;overflow-x:auto">{picture}</div>'


def _tensor_svg(t: Tensor) -> str | None:
    """The graph of a recorded tensor, folded; None for a leaf or constant, and where it would be too large."""
    if t._node is None or isinstance(t._node, Leaf) or not _small(t):
        return None
    drawing = compose(t, fold=BOXES)
    if len(drawing.picture.boxes) > BOXES:
        return None
    return svg(drawing, title=f"computation graph of {len(drawing.picture.boxes)} boxes")


# ---- tapes ---------------------------------------------------------------------------------------------------------


def _tape_html(tape: Tape) -> str:
    """One row an entry; of a long tape the first and the last."""
    count = len(tape)
    shown = list(range(count)) if count <= ROWS else [*range(ROWS // 2), *range(count - ROWS // 2, count)]
    rows = []
    for i in shown:
        if count > ROWS and i == count - ROWS // 2:
            rows.append(["⋯", f"{count - len(shown):,} more entries", "", "", "", ""])
        rows.append(_row(tape[i]))
    table = _table(["", "entry", "shape", "dtype", "scope", "saved"], rows, numbers=(0, 5))
    saved = f", {tape.nbytes:,} bytes saved" if count <= NODES else ""
    return f'<div><div style="{QUIET};font-size:13px">Tape of {count:,} entries{saved}</div>{table}</div>'


def _row(entry: Entry) -> list[str]:
    several = isinstance(entry.dtype, tuple)
    shape = shape_text(entry.shape) or "scalar"
    dtype = ", ".join(dict.fromkeys(map(str, entry.dtype))) if several else str(entry.dtype)
    text = f"leaf {entry.name or ''}" if entry.op == "leaf" else entry.text
    saved = f"{entry.saved_bytes:,}" if entry.saved_bytes else ""
    return [f"%{entry.index}", text[:200], shape, dtype, " / ".join(entry.scope), saved]


# ---- modules -------------------------------------------------------------------------------------------------------


def _module_html(module: Module) -> str:
    """Layers with the tensors that they hold: names, shapes, counts; parameters counted once, however often shared."""
    rows: list[list[str]] = []
    seen: set[int] = set()
    hidden = 0
    for path, part in module.named_modules():
        own = [(n, t) for n, t in part._held() if isinstance(t, Buffer) or isinstance(getattr(t, "_node", None), Leaf)]
        if len(rows) >= ROWS:
            hidden += 1 + len(own)
            continue
        rows.append([path or "·", part.detail.partition("  ")[0], "", "", ""])
        for name, t in own:
            note = "shared" if id(t) in seen else "buffer" if isinstance(t, Buffer) else ""
            seen.add(id(t))
            full = f"{path}.{name}" if path else name
            rows.append([full, "", shape_text(t.shape) or "scalar", "" if note == "shared" else f"{t.size:,}", note])
    if hidden:
        rows.append(["⋯", f"{hidden:,} more rows", "", "", ""])
    table = _table(["name", "layer", "shape", "numbers", ""], rows, numbers=(3,))
    buffers = sum(t.size for _, t in module.named_buffers())
    total = f"{module.parameter_count:,} parameters" + (f", {buffers:,} numbers in buffers" if buffers else "")
    head = f'<b>{escape(type(module).__name__)}</b>  <span style="{QUIET}">{total}</span>'
    return f'<div><div style="font-size:13px">{head}</div>{table}</div>'


for _kind, _name, _show, _otherwise in (
    (Tensor, "_repr_html_", _tensor_html, _text),
    (Tensor, "_repr_svg_", _tensor_svg, _nothing),
    (Tape, "_repr_html_", _tape_html, _text),
    (Module, "_repr_html_", _module_html, _text),
):
    setattr(_kind, _name, _safely(_show, _otherwise))

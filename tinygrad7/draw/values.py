"""Values and bars on a picture: what the forward pass computed, and every cotangent, in the lecture's writing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad7.backend import Array, to_numpy
from tinygrad7.draw.columns import step_scope
from tinygrad7.draw.model import Box, Picture
from tinygrad7.draw.words import number_text, short

BAR = "\u0304"
CELLS = 9  # of a heat strip
COLD = ("#2d5fa8", "#6f9ad3", "#b9cfea", "#e9ebef", "#f4c9b5", "#dc8a68", "#b2452d")
VANISHED = "#c3cad6"


def barred(name: str) -> str:
    """The name with the lecture's bar on its first letter: ``h̄(3)``, ``W̄_hh``."""
    return (name[:1] + BAR + name[1:]) if name else "y" + BAR


def statistics(value: Array) -> str:
    """A scalar as itself, an array as its range and mean."""
    a = to_numpy(value)
    if a.size == 1:
        return number_text(float(a.reshape(-1)[0]))
    if a.size == 0:
        return "empty"
    if a.dtype.kind not in "fiu":
        a = a.astype(np.int64)
    finite = a[np.isfinite(a)]
    if finite.size == 0:
        return "nothing finite"
    text = f"[{_few(finite.min())}, {_few(finite.max())}]  μ {_few(finite.mean())}"
    return text if finite.size == a.size else f"{text}  {a.size - finite.size} not finite"


def _few(x: Any) -> str:
    return f"{float(x):.2g}".replace("-", "−")


def heat(value: Array) -> list[str]:
    """The array as a few coloured cells: means of consecutive parts, blue below zero, red above."""
    a = to_numpy(value)
    if a.size < 2:
        return []
    flat = np.nan_to_num(a.reshape(-1).astype(np.float64), posinf=0.0, neginf=0.0)
    parts = [float(part.mean()) for part in np.array_split(flat, min(CELLS, flat.size))]
    top = max(abs(p) for p in parts) or 1.0
    return [COLD[round((p / top + 1) * (len(COLD) - 1) / 2)] for p in parts]


def symbols(picture: Picture) -> dict[Box, str]:
    """What a value is called: leaves by their names, carried states ``h`` and ``c``, the loss ``L``, the rest ``z``."""
    names: dict[Any, str] = {}
    for band in picture.bands:
        carried = [role for role in band.roles.values() if any(a is role for a, _ in band.carried)]
        states = [r for r in carried if r not in band.accumulators]
        states.sort(key=lambda r: -r.order)  # the state that a step computes last is the one it shows: h, then c
        for role, letter in zip(states, "hcs", strict=False):
            names[role] = letter
        for role in band.accumulators:
            names[role] = "L"
    found: dict[Box, str] = {}
    for box in picture.boxes:
        if box.is_source:
            found[box] = box.label
            continue
        name = "L" if box.root and not box.shape else names.get(box.role, "y" if box.root else "z")
        scope = step_scope(box)
        found[box] = f"{name}({scope.index})" if scope is not None and not box.root else name
    return found


def annotate(picture: Picture, tape: Any, values: bool, gradients: bool) -> None:
    """Write values, bars and cotangent norms on the boxes that stand for one entry."""
    forward = dict(zip(tape.nodes, tape.values(), strict=True)) if values else {}
    bars = dict(zip(tape.nodes, tape.cotangents(), strict=True)) if gradients else {}
    names = symbols(picture) if gradients else {}
    for box in picture.boxes:
        if box.kind in ("fold", "module", "step") or not box.nodes:
            if gradients and box.nodes:
                box.norm = max((s for node in box.nodes if (s := norm(bars.get(node))) is not None), default=None)
            continue
        node = box.nodes[0]
        if values:
            _tell(box, node._value if hasattr(node, "_value") else forward.get(node))
        if gradients:
            bar = bars.get(node)
            box.norm = norm(bar)
            if bar is not None and not isinstance(bar, tuple | list):
                name = barred(names[box])
                box.lines.append(f"{name} = {statistics(bar)}" if bar.size == 1 else f"‖{name}‖ = {_few(box.norm)}")


def _tell(box: Box, value: Any) -> None:
    """The forward value; of an op of several outputs, a line for each of the first three."""
    if isinstance(value, tuple):
        box.lines += [f"{k}: {statistics(part)}" for k, part in enumerate(value[:3])]
    elif value is not None and not (box.is_source and box.label == short(value)):  # else its label is its value
        box.lines.append(("= " if value.size == 1 else "") + statistics(value))
        box.strip = heat(value)


def norm(bar: Any) -> float | None:
    """The Euclidean norm of a cotangent (of all outputs together); None where none arrived."""
    if bar is None:
        return None
    parts = [b for b in bar if b is not None] if isinstance(bar, tuple | list) else [bar]
    return math.sqrt(sum(float(np.sum(np.square(to_numpy(p).astype(np.float64)))) for p in parts))


class Scale:
    """Colour and width for a gradient norm: logarithmic, three decades either way of where the backward pass starts.

    So what has vanished on the way back is pale and thin, and what has exploded red and thick.
    """

    def __init__(self, picture: Picture) -> None:
        boxes = [b for b in picture.boxes if b.norm and math.isfinite(b.norm)]
        norms = [b.norm for b in boxes if b.norm is not None]
        self.least, self.most = min(norms, default=0.0), max(norms, default=0.0)
        late = [b.norm for b in boxes if b.kind == "op" and b.norm is not None and not b.root] or norms
        late = sorted(late[-max(3, len(late) // 10) :])
        self.middle = late[len(late) // 2] if late else 1.0

    def style(self, value: float | None) -> tuple[str, float]:
        if value is None:
            return "#dfe3ea", 0.8
        if value == 0:
            return VANISHED, 0.5
        if not math.isfinite(value):
            return "#c0281a", 4.0
        share = max(-1.0, min(1.0, math.log10(value / self.middle) / 3))
        return blend(share), 1.5 + 1.1 * share + 0.6 * max(0.0, share)


def blend(share: float) -> str:
    """From pale blue (−1, vanished) through slate (0) to strong red (1, exploded)."""
    low, middle, high = (168, 199, 235), (74, 92, 124), (200, 42, 22)
    a, b, s = (middle, high, share) if share > 0 else (middle, low, -share)
    return "#" + "".join(f"{round(x + (y - x) * s):02x}" for x, y in zip(a, b, strict=True))

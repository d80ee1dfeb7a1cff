"""The words on boxes: labels of ops, shapes, numbers, titles of modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.context import Scope
from tinygrad7.node import Node

SIGNS = frozenset("+−×÷^")  # an operand that is a number stands beside these: ``× 2``


def module_title(scope: Scope) -> str:
    """What a module's block is called: ``fc1: Linear(3 → 4)``, ``[0] Tanh()``; its parameters after three spaces."""
    what, _, count = scope.detail.rpartition("  ")
    if not count.replace(",", "").isdigit():
        what, count = scope.detail, ""
    index = "" if scope.index is None else f"[{scope.index}] "
    name = index + what if what.startswith(f"{scope.name}(") else f"{scope.label}: {what}" if what else scope.label
    return f"{name}   {count} parameters" if count not in ("", "0") else name


def shape_text(shape: Any) -> str:
    """``(2, 3)``; nothing for a scalar; the first of several outputs and how many there are."""
    if not shape:
        return ""
    if isinstance(shape[0], tuple):
        inner = "×".join(map(str, shape[0])) or "scalar"
        return f"{len(shape)} of {inner}" if len(set(shape)) == 1 else f"{len(shape)} outputs"
    return "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]}"


def short(data: Any) -> str:
    """A constant that is one number all over, as that number."""
    if data.size == 1:
        return number_text(data.reshape(-1)[0].item())
    if 0 < data.size <= 4096 and not bool((data != 0).any()):
        return "0"
    return ""


def number_text(value: Any) -> str:
    """A number in few characters: ``0.5``, ``1e-08``."""
    return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("-", "−")


def op_label(node: Node, numbers: list[tuple[int, Any]]) -> str:
    """The op's label with what it was given beside tensors: ``× 2``, ``[3:5]``, ``sum axis 0``."""
    label: str = node.plan.op.label.replace("-", "−") if node.plan.op.label == "-" else node.plan.op.label
    if label == "[ ]":
        return _index(node.params[0]) if node.params else label
    if len(numbers) == 1 and label in SIGNS:
        slot, value = numbers[0]
        return f"{label} {number_text(value)}" if slot else f"{number_text(value)} {label}"
    return label


def _index(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    words = []
    for part in parts:
        if isinstance(part, slice):
            ends = ["" if e is None else str(e) for e in (part.start, part.stop)]
            words.append(":".join(ends) + ("" if part.step is None else f":{part.step}"))
        elif part is Ellipsis:
            words.append("…")
        elif isinstance(part, int | np.integer):
            words.append(str(part))
        else:
            words.append("None" if part is None else "i")
    text = ", ".join(words)
    return f"[{text}]" if len(text) <= 14 else "[ ]"

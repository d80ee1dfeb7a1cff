"""Writes what follows from the registry: ``docs/ops.md`` and ``tinygrad7/methods.py``.

``python docs/generate.py`` after adding or changing an op; a test holds both files against the registry.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import tinygrad7 as tg  # noqa: E402
from tinygrad7.op import REGISTRY, Op  # noqa: E402
from tinygrad7.tensor import Tensor  # noqa: E402

TITLES = {
    "elementwise": "Element by element",
    "activation": "Activations",
    "trigonometry": "Trigonometry",
    "compare": "Comparisons",
    "shape": "The same elements, elsewhere",
    "indexing": "Parts",
    "convert": "Dtype and device",
    "reduce": "Along axes",
    "linalg": "Products",
    "layers": "What layers are made of",
    "conv": "Convolution and pooling",
    "loss": "Losses",
    "recurrent": "Whole sequences",
    "create": "Made from nothing",
}


# ---- docs/ops.md -------------------------------------------------------------------------------------------------


def first_line(doc: str | None) -> tuple[str, str]:
    """The summary and the formulas of a docstring whose first line reads ``Summary.   y = …      x̄ = …``."""
    line = (doc or "").strip().split("\n")[0]
    parts = [part.strip() for part in re.split(r"\s{2,}", line) if part.strip()]
    return (parts[0], "; ".join(parts[1:])) if parts else ("", "")


def saves(op: Op) -> str:
    """What the rules of ``op`` keep of a call: the parameters that they name beside the cotangent."""
    if op.joint is not None:
        rules = [op.joint]
    else:
        rules = [op.rules[name] for name in op.names if name in op.rules]
    names: dict[str, None] = {}
    for rule in rules:
        for name in list(inspect.signature(rule).parameters)[1:]:
            base = name.removesuffix("_shape") if name not in op.names else name
            static = base in op.names and op.names.index(base) not in op.tensors and base != op.variadic
            if name not in ("index", "needs") and not name.endswith("_shape") and not static:
                names[name] = None
    return ", ".join(names) or "nothing"


def escape(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("``", "`")


def composed() -> dict[str, list[tuple[str, Any]]]:
    """Public functions that are made of ops, by the file that they are in."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for name in sorted(dir(tg)):
        value = getattr(tg, name)
        module = getattr(value, "__module__", "")
        if callable(value) and module.startswith("tinygrad7.ops.") and not hasattr(value, "op"):
            found.setdefault(module.rpartition(".")[2], []).append((name, value))
    return found


def ops_table() -> str:
    """The whole of ``docs/ops.md``."""
    own = [op for op in REGISTRY.values() if op.module.startswith("tinygrad7.ops.")]
    functions = composed()
    lines = [
        "# Ops",
        "",
        "Written by `docs/generate.py` from the docstrings and rules of the ops themselves.",
        "",
        "ȳ is the cotangent of y: the derivative of the loss with respect to it. *Saves* is what a node keeps for its",
        "rules beside the op's settings (an axis, an index, a mask): the values that they name; and of those, only",
        "what the rules that will run need. A fused op also keeps its tensor arguments, to run its reference for",
        "higher orders. *In drawings* is the label.",
        "Composed functions are made of the ops above them, so they have no rule of their own.",
    ]
    for module in dict.fromkeys([*TITLES, *(op.module.rpartition(".")[2] for op in own), *functions]):
        mine = [op for op in own if op.module.rpartition(".")[2] == module]
        others = functions.get(module, [])
        if not mine and not others:
            continue
        lines += ["", f"## {TITLES.get(module, module)} (`ops/{module}.py`)"]
        if mine:
            lines += ["", "| op | in drawings | what it does | value and derivative | saves |", "|---|---|---|---|---|"]
            for op in mine:
                summary, formula = first_line(op.doc)
                lines.append(
                    " | ".join([f"| `{op.name}`", *map(escape, (op.label, summary, formula, saves(op)))]) + " |"
                )
        if others:
            lines += ["", "| function | what it does |", "|---|---|"]
            for name, value in others:
                summary, formula = first_line(value.__doc__)
                lines.append(f"| `{name}` | {escape(' '.join(part for part in (summary, formula) if part))} |")
    return "\n".join(lines) + "\n"


# ---- tinygrad7/methods.py ----------------------------------------------------------------------------------------

PLAIN = {"argmax", "argmin"}  # answer with plain values


def methods() -> dict[str, Any]:
    """What ops have attached to ``Tensor``: name to function, operators after words."""
    own = {name: value for name, value in vars(Tensor).items() if inspect.isfunction(value)}
    ours = {n: f for n, f in own.items() if f.__module__.startswith("tinygrad7.") and not re.match(r"_[^_]", n)}
    attached = {n: f for n, f in ours.items() if f.__module__ != "tinygrad7.tensor"}
    return dict(sorted(attached.items(), key=lambda item: (item[0].startswith("__"), item[0])))


def signature(name: str, f: Any) -> str:
    """The line that declares a method."""
    parameters = list(inspect.signature(f).parameters.values())
    if f.__module__ == "tinygrad7.ops.compare":
        return f"def {name}(self, other: {'object' if name in ('__eq__', '__ne__') else 'Any'}) -> Any: ..."
    parts, star = ["self"], False
    for p in parameters[1:]:
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        if p.kind is p.VAR_POSITIONAL:
            star = True
        prefix = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        annotation = p.annotation if isinstance(p.annotation, str) else "Any"
        default = "" if p.default is p.empty else f" = {p.default!r}"
        parts.append(f"{prefix}{p.name}: {annotation}{default}")
    given = inspect.signature(f).return_annotation
    result = "Any" if name in PLAIN else "Tensor" if given in ("Any", inspect.Signature.empty) else given
    result = result.replace("[Any", "[Tensor")
    return f"def {name}({', '.join(parts)}) -> {result}: ..."


def methods_file() -> str:
    """The whole of ``tinygrad7/methods.py``, formatted."""
    lines = [
        '"""The methods that ops attach to ``Tensor`` as they register, for editors and type checkers.',
        "",
        "Written by ``docs/generate.py`` from the registry; at run time the class is empty.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import TYPE_CHECKING, Any",
        "",
        "if TYPE_CHECKING:",
        "    from tinygrad7.tensor import Tensor",
        "",
        "",
        "class Methods:",
        '    """The base of ``Tensor``: what is declared here exists once ``tinygrad7.ops`` has been imported."""',
        "",
        "    __slots__ = ()",
        "",
        "    if TYPE_CHECKING:",
        "",
        "        @property",
        "        def T(self) -> Tensor: ...",
        *[f"        {signature(name, f)}" for name, f in methods().items()],
    ]
    source = "\n".join(lines) + "\n"
    ruff = shutil.which("ruff") or str(Path(sys.executable).with_name("ruff"))
    command = [ruff, "format", "--stdin-filename", str(ROOT / "tinygrad7" / "methods.py"), "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True, check=True).stdout


def main() -> None:
    (ROOT / "docs" / "ops.md").write_text(ops_table(), encoding="utf-8")
    (ROOT / "tinygrad7" / "methods.py").write_text(methods_file(), encoding="utf-8")


if __name__ == "__main__":
    main()

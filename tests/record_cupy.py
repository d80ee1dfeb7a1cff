"""Records what the real CuPy offers, for the stand-in to be held against: ``python tests/record_cupy.py``.

Run it where a CuPy wheel is installed (it imports without a GPU); it rewrites ``tests/data/cupy_api.json``: for every
public name of the modules below, and every method of ``cupy.ndarray``, the names of its parameters, read from the
signature or, for compiled functions and ufuncs, from the first line of the docstring. ``null``: not a function.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

MODULES = (
    "cupy",
    "cupy.linalg",
    "cupy.lib.stride_tricks",
    "cupy.cuda",
    "cupy.cuda.runtime",
    "cupyx",
    "cupyx.scipy.special",
)
OPEN = {  # functions that take **kwargs: what their documentation lists
    "einsum": ["*operands", "dtype", "optimize"],
    "pad": ["array", "pad_width", "mode", "stat_length", "constant_values", "end_values", "reflect_type"],
}
CLASSES = ("ElementwiseKernel", "RawKernel", "ReductionKernel", "RawModule")


def parameters(name: str, value: Any) -> list[str] | None:
    """Parameter names of a callable, ``*`` before those that take any number; None for what is no function."""
    if name in OPEN:
        return OPEN[name]
    if inspect.isclass(value) and name not in CLASSES:
        return None
    if inspect.ismodule(value) or not callable(value):
        return None
    try:
        signature = inspect.signature(value)
        kinds = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
        return [kinds.get(p.kind, "") + p.name for p in signature.parameters.values() if p.name != "self"]
    except (TypeError, ValueError):
        first = (value.__doc__ or "").strip().splitlines()[:1]
        found = re.search(r"\((.*)\)", first[0]) if first else None
        if not found:
            return None
        names = []
        for part in re.sub(r"\([^()]*\)", "", found[1]).split(","):
            part = part.split("=")[0].replace("\\", "").strip(" []")
            name = part.split(" ")[-1]  # "Py_ssize_t axis" in compiled functions
            if name and name not in ("/", "*", "self"):
                names.append(name)
        return names


def public(module: Any) -> dict[str, list[str] | None]:
    return {name: parameters(name, getattr(module, name)) for name in sorted(dir(module)) if not name.startswith("_")}


def main() -> None:
    import cupy

    recorded: dict[str, Any] = {"version": cupy.__version__}
    for name in MODULES:
        recorded[name] = public(importlib.import_module(name))
    recorded["ufuncs"] = sorted(n for n in dir(cupy) if type(getattr(cupy, n)).__name__ == "ufunc")
    methods = {n: getattr(cupy.ndarray, n) for n in sorted(dir(cupy.ndarray))}
    recorded["cupy.ndarray"] = {
        n: parameters("method " + n, m) for n, m in methods.items() if not n.startswith("_") or n.startswith("__")
    }
    for name, value in recorded.items():  # one name a line, so that a new release can be compared
        if isinstance(value, dict):
            recorded[name] = {key: value[key] for key in sorted(value)}
    lines = []
    for name, value in recorded.items():
        if isinstance(value, dict):
            rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value[key])}" for key in value)
            lines.append(f" {json.dumps(name)}: {{\n{rows}\n }}")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
    path = Path(__file__).parent / "data" / "cupy_api.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(
        f"{path.name}: cupy {cupy.__version__}, {sum(len(v) for v in recorded.values() if isinstance(v, dict))} names"
    )


if __name__ == "__main__":
    main()

"""CUDA kernels on the stand-in: their own source, read as Python, with all threads at once.

It reads the small language that element-by-element kernels need: ``const real a = ..., b = ...;`` and ``x[i] = ...;``
with arithmetic and ``tanh``. What it cannot read it refuses. What NVIDIA's compiler says of it is another test.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

REAL = {"float": np.float32, "double": np.float64}


def parts_of(line: str) -> list[str]:
    """``a = f(x, y), b = 1`` at its outer commas."""
    depth, parts = 0, [""]
    for letter in line:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def kernels_of(code: str) -> dict[str, tuple[list[str], list[str]]]:
    """Each kernel's parameters and statements."""
    plain = re.sub(r"//[^\n]*", "", code)
    found = {}
    for name, parameters, body in re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{(.*?)\n\}', plain, re.S):
        statements = [s.strip() for s in body.split(";") if s.strip()]
        assert statements[0] == "const int k = blockDim.x * blockIdx.x + threadIdx.x", statements[0]
        assert statements[1] == "if (k >= n) return", statements[1]
        found[name] = ([p.strip() for p in parameters.split(",")], statements[2:])
    return found


def run(code: str, name: str, real: Any, threads: int, values: list[Any]) -> None:
    """Run a kernel on flat host arrays: what it writes, it writes into them."""
    parameters, statements = kernels_of(code)[name]
    assert len(parameters) == len(values), f"{name} takes {parameters}, got {len(values)} arguments"
    scope: dict[str, Any] = {"tanh": np.tanh}
    for parameter, value in zip(parameters, values, strict=True):
        kind, label = parameter.replace("*", "* ").rsplit(maxsplit=1)
        if kind.endswith("*"):
            assert value.dtype == real, f"{name}: {label} is {value.dtype}, compiled for {np.dtype(real)}"
            value = value.view()
            value.flags.writeable = not kind.startswith("const")
        else:
            assert kind == "const int" and isinstance(value, np.int32), f"{name}: {label} must be int32"
        scope[label] = value
    assert threads >= scope["n"], f"{name}: {threads} threads for {scope['n']} elements"
    scope["k"] = np.arange(scope["n"])
    for statement in statements:
        declares = statement.startswith("const real ")
        for part in parts_of(statement.removeprefix("const real ")):
            target, _, value = part.partition(" = ")
            assert re.fullmatch(r"\w+" if declares else r"\w+\[.*\]", target), f"{name}: cannot read {part!r}"
            result = eval(value, {}, scope)
            if declares:
                scope[target] = real(result) if np.isscalar(result) else result.astype(real)
            else:
                exec(f"{target} = _result", {"_result": result}, scope)


class RawModule:
    """``cupy.RawModule``, for such kernels. ``host`` gives the memory of a device array; ``launched`` counts."""

    def __init__(self, host: Any, launched: Any, *, code: str, options: tuple[str, ...] = ()) -> None:
        self.host, self.launched, self.code = host, launched, code
        self.real = REAL[next(o for o in options if o.startswith("-Dreal=")).removeprefix("-Dreal=")]

    def get_function(self, name: str) -> Any:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            self.launched()
            values = []
            for a in args:
                if not isinstance(a, np.generic):
                    assert a.flags.c_contiguous, f"{name}: a kernel reads memory in order; got a strided view"
                    a = self.host(a).reshape(-1)
                values.append(a)
            run(self.code, name, self.real, grid[0] * block[0], values)

        return launch

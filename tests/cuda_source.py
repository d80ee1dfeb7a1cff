"""Own CUDA source without a device: its statements run on NumPy arrays, and NVRTC compiles it where it is installed.

``Kernel`` understands what elementwise kernels are written in: one thread an element, declarations of numbers, reads
and writes at an index, arithmetic and a few functions of the C library. It computes for all threads at once.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np

KERNEL = re.compile(r'extern "C" __global__ void (\w+)\((.*?)\)\s*\{(.*?)\n\}', re.DOTALL)
TYPES = {"float": "float32", "double": "float64", "int": "int32", "long long": "int64"}
FUNCTIONS = {"tanh": np.tanh, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "fmax": np.maximum, "fmin": np.minimum}
INDEX = "blockDim.x * blockIdx.x + threadIdx.x"


class _Pointer:
    """An array as a kernel sees it: memory from its first element on, also beyond the array's own end."""

    def __init__(self, a: np.ndarray) -> None:
        if not a.flags.c_contiguous:
            raise TypeError("a kernel would read this array's memory as if it were contiguous, which it is not")
        owner = a
        while owner.base is not None:
            owner = owner.base
        start = (a.__array_interface__["data"][0] - owner.__array_interface__["data"][0]) // a.itemsize
        self.memory = (
            owner.reshape(-1)[start:] if owner.flags.c_contiguous and owner.dtype == a.dtype else a.reshape(-1)
        )

    def __getitem__(self, index: Any) -> Any:
        return self.memory[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.memory[index] = value


class Kernel:
    """One ``extern "C" __global__`` function of a source, called as CuPy calls it: (grid), (block), (arguments)."""

    def __init__(self, source: str, name: str, options: tuple[str, ...] = ()) -> None:
        defined = dict(option.removeprefix("-D").split("=") for option in options)
        found = {m[1]: (m[2], m[3]) for m in KERNEL.finditer(source)}
        parameters, self.body = found[name]
        self.name, self.parameters = name, []
        for parameter in parameters.split(","):
            kind, _, variable = parameter.replace("*", "* ").rpartition(" ")
            base = kind.replace("const", "").replace("*", "").strip()
            self.parameters.append((variable, TYPES[defined.get(base, base)], "*" in kind, "const" in kind))
        self.real = defined.get("real", "float")

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name}: {len(self.parameters)} parameters, {len(args)} arguments")
        names: dict[str, Any] = dict(FUNCTIONS)
        for (name, dtype, pointer, constant), value in zip(self.parameters, args, strict=True):
            if str(value.dtype) != dtype or (pointer != isinstance(value, np.ndarray)):
                raise TypeError(
                    f"{self.name}: {name} is {dtype}{'*' * pointer}, got {type(value).__name__} of {value.dtype}"
                )
            names[name] = _Pointer(value) if pointer else int(value)
            if constant and pointer:
                names[name].memory = names[name].memory.view()
                names[name].memory.flags.writeable = False
        threads = np.arange(grid[0] * block[0])
        for statement in re.sub(r"//.*", "", self.body).split(";"):
            threads = self._run(" ".join(statement.split()), names, threads)

    def _run(self, statement: str, names: dict[str, Any], threads: Any) -> Any:
        """One statement for all threads that still run; those that return are gone afterwards."""
        guard = re.fullmatch(r"if \((.*)\) return", statement)
        if guard:
            still = ~eval(guard[1], {}, names)
            for name, value in names.items():
                if isinstance(value, np.ndarray) and value.shape == threads.shape:
                    names[name] = value[still]
            return threads[still]
        declared = re.match(r"(?:const )?(real|float|double|int|long long) (.*)", statement)
        for part in re.split(r",\s*(?=\w+ =)", declared[2]) if declared else [statement] if statement else []:
            value_of = part.replace("(long long)", "").replace(INDEX, "threads_")
            if declared:
                name, _, expression = value_of.partition(" = ")
                dtype = TYPES.get(self.real if declared[1] == "real" else declared[1])
                value = eval(expression, {}, names | {"threads_": threads})
                names[name] = value if name == "k" else np.asarray(value).astype(dtype)[()]
            else:
                exec(value_of, {}, names)
        return threads


def sources() -> dict[str, tuple[str, tuple[str, ...]]]:
    """The CUDA source in the package: module name to source and the types that ``real`` is compiled as."""
    found = {}
    for path in sorted((Path(__file__).parent.parent / "tinygrad7").rglob("*.py")):
        if "__global__" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(path.parent.parent.parent).with_suffix("").parts
            module = importlib.import_module(".".join(parts))
            found[module.__name__] = (module.SOURCE, tuple(module.REAL.values()))
    return found


def nvrtc_path() -> Path | None:
    """NVIDIA's run-time compiler, from its wheel (``nvidia-cuda-nvrtc-cu12``), if it is installed."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for library in sorted(Path(folder).rglob("libnvrtc.so*")):
            return library
    return None


def nvrtc_compile(source: str, options: tuple[str, ...]) -> str:
    """The PTX of ``source``; raises ``SyntaxError`` with the compiler's log."""
    library = ctypes.CDLL(str(nvrtc_path()))
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"source.cu", 0, None, None)
    flags = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    status = library.nvrtcCompileProgram(program, len(options), flags)
    get = ("ProgramLog", "PTX")[status == 0]
    getattr(library, f"nvrtcGet{get}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{get}")(program, text)
    if status:
        raise SyntaxError(text.value.decode())
    return text.value.decode()

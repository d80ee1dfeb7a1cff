"""A strict stand-in for CuPy, so that device code can be tested on a machine without a GPU.

``install()`` puts a module ``cupy`` into ``sys.modules``. Its arrays hold NumPy arrays, and do only what the real ones
do (``tests/data/cupy_api.json``, recorded from the wheel by ``record_cupy.py``): a name or keyword that CuPy lacks is
an error, and so are an implicit conversion to NumPy, a NumPy array, list or tuple as operand, an array that is not on
the current device, and what CuPy leaves out of NumPy's functions (``REFUSED`` below). An integer array as index wraps
round. Reductions and single elements are 0-d arrays. ``counts`` counts transfers and launches.
"""

from __future__ import annotations

import json
import operator
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.cuda_source import Kernel

API: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "cupy_api.json").read_text(encoding="utf-8"))
DEVICES = 2
counts = {"to device": 0, "to host": 0, "launches": 0}
_current = threading.local()

KINDS = "biufc"  # of dtypes
PLAIN = {"ndim", "size", "shape", "may_share_memory", "shares_memory", "result_type", "can_cast", "isscalar"}
VIEWS = {
    "asarray", "reshape", "transpose", "swapaxes", "moveaxis", "rollaxis", "expand_dims", "squeeze", "broadcast_to",
    "ravel", "view", "atleast_1d", "atleast_2d", "broadcast_arrays", "diagonal", "split", "array_split",
    "permute_dims", "flip", "sliding_window_view", "as_strided",
}  # fmt: skip
MAKERS = {"zeros", "ones", "empty", "full", "arange", "eye", "identity", "linspace", "indices", "tri"}  # of no array
JOINERS = {"concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"}  # of a sequence of arrays
CONVERTERS = {"isclose", "allclose", "einsum"}  # the real ones call asanyarray: a host array is moved without a word
REDUCTIONS = {
    "sum", "prod", "max", "min", "amax", "amin", "mean", "var", "std", "any", "all", "argmax", "argmin", "cumsum",
    "cumprod", "nansum", "nanmax", "nanmin", "ptp",
}  # fmt: skip
SCATTERED = {  # what f.at can do: dtypes by function; the real ones have no others
    "add": "int32 int64 uint32 uint64 float16 float32 float64",
    "subtract": "int32 uint32",
    "maximum": "int32 int64 uint32 uint64 float32 float64",
    "minimum": "int32 int64 uint32 uint64 float32 float64",
    "bitwise_and": "int32 int64 uint32 uint64",
    "bitwise_or": "int32 int64 uint32 uint64",
    "bitwise_xor": "int32 int64 uint32 uint64",
}
IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


def current_device() -> int:
    return getattr(_current, "id", 0)


@contextmanager
def counting() -> Any:
    """The counts of what happens inside: ``with counting() as seen: ...; seen["launches"]``."""
    before, seen = dict(counts), {}  # type: ignore[var-annotated]
    yield seen
    seen.update({key: counts[key] - before[key] for key in counts})


def check_call(where: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise for a keyword, or a number of arguments, that the recorded signature of the real thing does not have."""
    if name == "matmul" and len(args) > 2:  # the record has *args; the third positional one is not ``out``
        raise TypeError("matmul() takes two positional arguments; out= is given by name")
    known = API[where][name] or []
    if "**kwargs" in known or any(p.startswith("**") for p in known):
        return
    names = [p.lstrip("*") for p in known]
    unknown = sorted(set(kwargs) - set(names))
    if unknown:
        raise TypeError(f"{where}.{name}() got an unexpected keyword argument {unknown[0]!r} (CuPy has {known})")
    if len(args) > len(known) and not any(p.startswith("*") for p in known):
        raise TypeError(f"{where}.{name}() takes {len(known)} arguments ({known}), got {len(args)}")


def refuse(f: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise for what NumPy does and CuPy does not, by the place in CuPy's own source where it fails."""
    first = args[0] if args else None
    if isinstance(f, np.ufunc) or (getattr(f, "__module__", "") == "_operator" and not f.__name__.endswith("item")):
        for value in (*args, *kwargs.values()):
            if isinstance(value, list | tuple | str | bytes):
                raise TypeError(f"Unsupported type {type(value)}")
    elif name in JOINERS:
        for part in first if isinstance(first, list | tuple) else [first]:
            if not isinstance(part, ndarray | np.ndarray):
                raise TypeError("Only cupy arrays can be concatenated")
    elif name == "where" and not isinstance(first, ndarray | np.ndarray | np.bool_):
        raise AttributeError(f"{type(first).__name__!r} object has no attribute 'astype'")
    elif name == "array_equal" and any(isinstance(a, list | tuple | int | float) for a in args):
        raise AttributeError("'list' object has no attribute 'shape'")
    elif name in API["cupy"] and name not in MAKERS | PLAIN | CONVERTERS and isinstance(first, list | tuple):
        raise AttributeError(f"{type(first).__name__!r} object has no attribute {name!r}")
    elif name == "norm" and isinstance(first, list | tuple):
        raise AttributeError(f"{type(first).__name__!r} object has no attribute 'dtype'")
    if name in REDUCTIONS and isinstance(first, ndarray) and not first.ndim:
        axis = args[1] if len(args) > 1 else kwargs.get("axis")
        if axis is not None and axis != ():
            raise np.exceptions.AxisError(f"axis {axis} is out of bounds for array of dimension 0")


def unwrap(value: Any) -> Any:
    """What the host computes with in place of ``value``; raises for what the device could not read."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)([unwrap(v) for v in value])
    return value


def wrap(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return ndarray._of(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)([wrap(v) for v in value])
    return value


def _check_places(args: Any) -> None:
    """A kernel runs on the current device, whatever device its arrays are on (here: no device can read another's)."""
    for a in args:
        if isinstance(a, ndarray) and a._device != current_device():
            raise ValueError(
                f"The device where the array resides ({a._device}) is different from the current device "
                f"({current_device()}). Peer access is unavailable between these devices."
            )


def call(f: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    refuse(f, name, args, kwargs)
    flat = [b for a in (*args, *kwargs.values()) for b in (a if isinstance(a, list | tuple) else (a,))]
    if name in VIEWS:  # no kernel: the result is where the array is
        with Device(next((a._device for a in flat if isinstance(a, ndarray)), current_device())):
            return _computed(f, name, args, kwargs)
    _check_places(flat)
    counts["launches"] += 1
    return _computed(f, name, args, kwargs)


def _computed(f: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = kwargs.get("out")
    with np.errstate(all="ignore"):  # a kernel does not warn
        result = f(*[unwrap(a) for a in args], **{k: unwrap(v) for k, v in kwargs.items()})
    if out is not None:
        return out
    return result if name in PLAIN else wrap(np.asarray(result) if isinstance(result, bool) else result)


def _wrapped(a: ndarray, index: Any) -> Any:
    """``index`` into ``a`` as CuPy reads it: arrays of integers modulo the axis; no objects that have __index__."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if not isinstance(part, ndarray | np.ndarray | np.number | np.bool_ | int | slice | list | tuple | str):
            if part is not None and part is not Ellipsis:
                raise IndexError(
                    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean "
                    "arrays are valid indices"
                )
    widths = [_axes_of(part) for part in parts]
    found: list[Any] = []
    axis = 0
    for part, width in zip(parts, widths, strict=True):
        if part is Ellipsis:
            width = a.ndim - sum(widths)
        elif isinstance(part, ndarray) and part.dtype.kind in "iu" and axis < a.ndim and a.shape[axis]:
            part = part._like(part._a.astype(np.int64) % a.shape[axis])
        found.append(part)
        axis += width
    return tuple(found) if isinstance(index, tuple) else found[0]


def _axes_of(part: Any) -> int:
    """How many axes one part of an index takes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, ndarray) and part.dtype.kind == "b" else 1


def _is_view(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(part, ndarray | list | bool | np.bool_) for part in parts)


class Device:
    """``cupy.cuda.Device``: a number and a context manager."""

    def __init__(self, id: int | None = None) -> None:
        self.id = current_device() if id is None else int(id)
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(current_device())
        _current.id = self.id
        return self

    def __exit__(self, *exception: object) -> None:
        _current.id = self._before.pop()

    def use(self) -> Device:
        _current.id = self.id
        return self

    def synchronize(self) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id


class _Flags:
    def __init__(self, flags: Any) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata


class ndarray:
    """An array that only the device can read."""

    __slots__ = ("_a", "_device", "__weakref__")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("the stand-in makes arrays by cupy.empty, not by cupy.ndarray(...)")

    @classmethod
    def _of(cls, a: np.ndarray) -> ndarray:
        if a.dtype.kind not in KINDS or a.dtype.itemsize > (16 if a.dtype.kind == "c" else 8):
            raise TypeError(f"Unsupported dtype {a.dtype}")
        self = object.__new__(cls)
        self._a, self._device = a, current_device()
        return self

    shape = property(lambda self: self._a.shape)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    dtype = property(lambda self: self._a.dtype)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    strides = property(lambda self: self._a.strides)
    device = property(lambda self: Device(self._device))
    flags = property(lambda self: _Flags(self._a.flags))
    base = property(lambda self: None if self._a.base is None else self._like(self._a.base))
    T = property(lambda self: self._like(self._a.T))
    mT = property(lambda self: self._like(self._a.mT))

    def _like(self, a: Any) -> ndarray:
        with Device(self._device):
            return wrap(a)

    # -- leaving the device: by name, or where Python itself asks for one number; always counted --
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        counts["to host"] += 1
        return self._a.copy(order=order)  # type: ignore[arg-type]

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    __bool__ = lambda self: bool(self.get())
    __int__ = lambda self: int(self.get())
    __float__ = lambda self: float(self.get())
    __complex__ = lambda self: complex(self.get())
    __str__ = lambda self: str(self.get())
    __repr__ = lambda self: repr(self.get())
    __format__ = lambda self, spec: format(self.get(), spec)
    __reduce__ = lambda self: (_restore, (self.get(),))
    __len__ = lambda self: len(self._a)
    __copy__ = lambda self: self._like(self._a.copy())
    __deepcopy__ = lambda self, memo: self._like(self._a.copy())

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(IMPLICIT)

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self))])

    # -- NumPy's protocols: np.f(device array) runs cupy.f where every array is on the device --
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(hasattr(x, "__array_ufunc__") and not isinstance(x, ndarray | np.ndarray | np.generic) for x in inputs):
            return NotImplemented
        if any(isinstance(x, np.ndarray) for x in inputs):
            raise TypeError(f"Unsupported type {np.ndarray}")
        found = getattr(MODULE, ufunc.__name__)
        return (found if method == "__call__" else getattr(found, method))(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(t not in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        module: Any = MODULE
        for part in function.__module__.split(".")[1:]:
            module = getattr(module, part)
        return getattr(module, function.__name__)(*args, **kwargs)

    def __getitem__(self, index: Any) -> Any:
        try:
            return call(operator.getitem, "view" if _is_view(index) else "take", (self, _wrapped(self, index)), {})
        except IndexError as error:
            raise IndexError(str(error)[:1].upper() + str(error)[1:]) from None

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(value, ndarray | np.generic | int | float | bool):
            raise ValueError(f"non-scalar {type(value).__name__} cannot be used for fill")
        call(operator.setitem, "setitem", (self, _wrapped(self, index), value), {})


def _restore(a: np.ndarray) -> ndarray:
    return MODULE.asarray(a)  # type: ignore[no-any-return]


UFUNCS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal", "eq": "equal", "ne": "not_equal", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor",
}  # fmt: skip


def _operator(name: str) -> Any:
    python = getattr(operator, name)
    ufunc = UFUNCS[name.strip("_")]

    def forward(self: ndarray, other: Any) -> Any:
        if not isinstance(other, ndarray) and hasattr(other, "__array_ufunc__") and not isinstance(other, np.generic):
            return getattr(np, ufunc)(self, other)
        return call(python, ufunc, (self, other), {})

    def reflected(self: ndarray, other: Any) -> Any:
        return call(python, ufunc, (other, self), {})

    return forward, reflected


def _in_place(name: str) -> Any:
    python = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        call(python, name, (self, other), {})
        return self

    return method


def _method(name: str) -> Any:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        check_call("cupy.ndarray", name, args, kwargs)
        kwargs.pop("blocking", None)
        return call(getattr(np.ndarray, name), name, (self, *args), kwargs)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _forward, _reflected = _operator(f"__{_name}__")
    setattr(ndarray, f"__{_name}__", _forward)
    setattr(ndarray, f"__r{_name}__", _reflected)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__")[0])
for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor"):
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(
        ndarray, f"__{_name}__", (lambda f, n: lambda self: call(f, n, (self,), {}))(getattr(operator, _name), _name)
    )
for _name in API["cupy.ndarray"]:
    if not hasattr(ndarray, _name) and callable(getattr(np.ndarray, _name, None)):
        setattr(ndarray, _name, _method(_name))


class ufunc:
    """One of CuPy's element-wise functions."""

    def __init__(self, name: str) -> None:
        self.name, self.__name__ = f"cupy_{name}", name
        self._ufunc = getattr(np, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        check_call("cupy", self.__name__, args, kwargs)
        return call(self._ufunc, self.__name__, args, kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        if self.__name__ not in SCATTERED:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        if not _is_view(indices) and str(a.dtype) not in SCATTERED[self.__name__].split():
            raise TypeError(f"cupy.{self.__name__}.at only supports {SCATTERED[self.__name__]} as data type")
        call(self._ufunc.at, f"{self.__name__}.at", (a, _wrapped(a, indices), *(() if b is None else (b,))), {})

    def reduce(self, array: ndarray, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return call(
            self._ufunc.reduce, self.__name__, (array, axis), {"dtype": dtype, "keepdims": keepdims, "out": out}
        )

    def outer(self, A: ndarray, B: ndarray) -> Any:
        return call(self._ufunc.outer, self.__name__, (A, B), {})


def _function(where: str, host: Any, name: str) -> Any:
    f = getattr(host, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        check_call(where, name, args, kwargs)
        if name == "einsum":
            kwargs.pop("optimize", None)
        if name in CONVERTERS:
            args = tuple([MODULE.asarray(a) if isinstance(a, np.ndarray | list) else a for a in args])
        if name.endswith("_like") and kwargs.get("shape", True) in (0, ()):  # taken for "not given"
            del kwargs["shape"]
        return call(f, name, args, kwargs)

    function.__name__ = name
    return function


def _array(obj: Any, dtype: Any = None, *, copy: bool = True, **kwargs: Any) -> ndarray:
    """``cupy.array``, and with ``copy=False`` ``cupy.asarray``: the way onto the device."""
    if isinstance(obj, ndarray):
        if not copy and obj._device == current_device() and (dtype is None or obj.dtype == dtype):
            return obj
        counts["launches"] += 1
        return wrap(np.array(obj._a, dtype=dtype))  # type: ignore[no-any-return]
    parts = obj if isinstance(obj, list | tuple) else ()
    if any(isinstance(part, ndarray) for part in parts):
        return wrap(np.stack([unwrap(part) for part in parts]).astype(dtype or parts[0].dtype))  # type: ignore[no-any-return]
    counts["to device"] += 1
    return wrap(np.array(obj, dtype=dtype))  # type: ignore[no-any-return]


class _Module(ModuleType):
    """Offers the recorded names of the real module, as far as NumPy can stand in for them."""

    def __getattr__(self, name: str) -> Any:
        known = API.get(self.__name__, {})
        host = self.__dict__.get("_host")
        if name not in known or host is None or not hasattr(host, name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}" + (
                " that the stand-in can do" if name in known else ""))  # fmt: skip
        plain = getattr(host, name)
        if isinstance(plain, ModuleType):
            raise AttributeError(f"module {self.__name__!r} has {name!r}, which the stand-in does not do")
        if isinstance(plain, type) or not callable(plain):
            value = plain
        elif self.__name__ == "cupy" and name in API["ufuncs"] and isinstance(plain, np.ufunc):
            value = ufunc(name)
        else:
            value = _function(self.__name__, host, name)
        setattr(self, name, value)
        return value


class RawModule:
    """Own CUDA source, run by ``tests/cuda_source.py``."""

    def __init__(self, **kwargs: Any) -> None:
        check_call("cupy", "RawModule", (), kwargs)
        self._source, self._options = kwargs["code"], kwargs.get("options", ())

    def get_function(self, name: str) -> Any:
        kernel = Kernel(self._source, name, self._options)
        return lambda grid, block, args: call(lambda *a: kernel(grid, block, a), "kernel", args, {})


class CUDARuntimeError(RuntimeError):
    pass


class _Stream:
    def synchronize(self) -> None:
        pass


def _build() -> Any:
    def module(name: str, host: Any = None, **names: Any) -> Any:
        made = _Module(name)
        made.__dict__.update(names, _host=host)
        return made

    runtime = module(
        "cupy.cuda.runtime", CUDARuntimeError=CUDARuntimeError, getDeviceCount=lambda: DEVICES, getDevice=current_device
    )
    cuda = module("cupy.cuda", Device=Device, runtime=runtime, get_current_stream=_Stream)
    stride_tricks = module("cupy.lib.stride_tricks", np.lib.stride_tricks)
    built = module(
        "cupy", np, ndarray=ndarray, ufunc=ufunc, cuda=cuda, linalg=module("cupy.linalg", np.linalg),
        lib=module("cupy.lib", stride_tricks=stride_tricks), array=_array,
        asarray=lambda a, dtype=None, **kwargs: _array(a, dtype, copy=False),
        RawModule=RawModule, asnumpy=lambda a, **kwargs: a.get() if isinstance(a, ndarray) else np.asarray(a),
        get_array_module=lambda *args: built if any(isinstance(a, ndarray) for a in args) else np,
    )  # fmt: skip
    return built


ndarray.__module__ = ufunc.__module__ = "cupy"
MODULE = _build()


def install() -> Any:
    """Make ``import cupy`` give the stand-in, from now on and for the whole process."""
    for name, module in (("cupy", MODULE), ("cupy.cuda", MODULE.cuda), ("cupy.cuda.runtime", MODULE.cuda.runtime)):
        sys.modules[name] = module
    return MODULE

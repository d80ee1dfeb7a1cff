"""``Tensor``: an array and, where it needs a gradient, the node that it came from.

Ops attach themselves as methods when they are declared (``declare.primitive``); editors and type checkers read them
in ``methods.py``, which a test holds against the registry. ``t.backward`` comes from ``grad.py``.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tinygrad7.arrays import as_array
from tinygrad7.backend import Array, check_device, device_of, is_array, to_device, to_numpy, writable_array, xp
from tinygrad7.context import STATE, check_dtype
from tinygrad7.methods import Methods
from tinygrad7.names import INSTEAD, instead, instead_of_arguments, instead_of_method
from tinygrad7.node import Cut, Leaf, Node

# NumPy function or ufunc -> what runs in its place when an argument is a tensor. Ops fill it as they register.
NUMPY: dict[Any, Callable[..., Any]] = {}


_NO_GRAD_OF_A_RESULT = (
    ".grad of a recorded result is None, since only leaves collect: after w = w - 0.1 * w.grad, w is such a result, "
    "while w.assign(w.numpy() - 0.1 * w.grad) steps the leaf; for a result's gradient use tg.gradients(loss, [result])"
)


class Tensor(Methods):
    """An n-dimensional array that can be differentiated. Made by ``tg.tensor`` and by ops, not by calling this."""

    __slots__ = ("_value", "_info", "_node")

    def __init__(self, data: Array, node: Node | Leaf | None = None, info: str | Cut | None = None) -> None:
        if node is None and not hasattr(data, "dtype"):
            raise TypeError(f"Tensor(...) wraps an array, not a {type(data).__name__}: write tg.tensor(...)")
        self._value = data  # an array, or for 0-d results of NumPy a NumPy scalar; never written into by an op
        self._node = node  # None: a constant
        self._info = info  # the name of a constant, or where it was cut

    # ---- the value -------------------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The value as a read-only array on its device (CuPy has no read-only arrays: there, do not write)."""
        view = writable_array(self._value).view()
        if isinstance(view, np.ndarray):
            view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: Any) -> NoReturn:
        raise AttributeError("t.data is read-only, so that recorded values stay true: write with t.assign(value)")

    def numpy(self) -> np.ndarray:
        """The value as a read-only NumPy array, copied from the device if need be.

        Of a leaf on the CPU it is a view: ``assign`` shows in it, and so do optimizer steps, but for the first, which
        moves the parameter and leaves earlier views as they were. ``t.numpy().copy()`` is sure to stay."""
        view = to_numpy(self._value).view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The only element, as a Python number. Raises ``ValueError`` for a tensor of any other size."""
        if self._value.size != 1:
            raise ValueError(f"item() needs a tensor of one element; this one has shape {self.shape}")
        return self._value.item()

    def tolist(self) -> Any:
        """The value as nested Python lists."""
        return self._value.tolist()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return self._value.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self._value.size  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype:
        return self._value.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> str:
        """'cpu' or 'cuda:N'."""
        return device_of(self._value)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can flow through this tensor."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> NoReturn:
        raise AttributeError(
            "requires_grad is settled when a tensor is made: tg.tensor(t, requires_grad=True), or t.detach() to cut"
        )

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by ``tensor`` (or is a constant), not by a recorded op."""
        return not isinstance(self._node, Node)

    @property
    def name(self) -> str | None:
        if isinstance(self._node, Leaf):
            return self._node.name
        return self._info if isinstance(self._info, str) else None

    @name.setter
    def name(self, name: str | None) -> None:
        if isinstance(self._node, Node):
            raise ValueError("only leaves and constants have names; name a result's place with tg.scope(...)")
        if self._node is not None:
            self._node.name = name
        else:
            self._info = name

    def detach(self) -> Tensor:
        """The same value as a constant: gradients stop here, and drawings show the cut.

        It shares memory, as ``numpy()`` does, and shows what is written as long; ``tg.tensor(t)`` is a copy."""
        if self._node is None:
            return self
        return Tensor(self._value, None, Cut(self._node))

    def to(self, device: str) -> Tensor:
        """The tensor on ``device`` ('cpu', 'cuda', 'cuda:1'): itself if it is there.

        Of a result it is recorded, so gradients come back; of a leaf it is a new leaf, with a ``.grad`` of its own."""
        device = check_device(device)
        if device == self.device:
            return self
        if isinstance(self._node, Leaf):
            data = to_device(writable_array(self._value), device)
            return Tensor(data, Leaf(data, self._node.name))
        return self._transfer(device)  # type: ignore[attr-defined, no-any-return]

    # ---- the gradient ----------------------------------------------------------------------------------------

    @property
    def grad(self) -> Array | None:
        """What backward collected here: an array of this tensor's shape, dtype and device, or None.

        A recorded result collects nothing: there it is None, with a warning."""
        if isinstance(self._node, Node):
            warnings.warn(_NO_GRAD_OF_A_RESULT, stacklevel=2)
        return self._node.grad if isinstance(self._node, Leaf) else None

    @grad.setter
    def grad(self, value: Any) -> None:
        if not isinstance(self._node, Leaf):
            raise ValueError("only a leaf made with requires_grad=True has a .grad")
        if value is not None:
            value = value_of(value)
            found = (getattr(value, "shape", None), getattr(value, "dtype", None))
            if not is_array(value) or found != (self.shape, self.dtype):
                raise ValueError(
                    f"grad must be None or an array of shape {self.shape} and dtype {self.dtype}; "
                    f"got {type(value).__name__} of shape {found[0]} and dtype {found[1]}"
                )
            if device_of(value) != self.device:
                raise ValueError(f"grad must live on {self.device}, like its tensor; got one on {device_of(value)}")
        self._node.grad = None if value is None else writable_array(value.copy())

    def assign(self, value: Any) -> Tensor:
        """Write ``value`` into this leaf or constant; shape must match, dtype is converted. Returns the tensor.

        Graphs recorded before, whose rules saved the old value, refuse to run backward: see ``docs/decisions.md``.
        Raises ``ValueError`` for a recorded result or another shape.
        """
        if isinstance(self._node, Node):
            raise ValueError("assign: a recorded result cannot be changed; only leaves and constants can")
        new = value._value if isinstance(value, Tensor) else as_array(value, self.dtype, self.device)
        if new.shape != self.shape:
            raise ValueError(
                f"assign: the tensor has shape {self.shape}, the value {new.shape}; a tensor keeps its shape: write "
                "t = tg.tensor(value) for one of another"
            )
        if device_of(new) != self.device:
            new = to_device(new, self.device)
        if isinstance(self._node, Leaf):
            self._value[...] = new
            self._node.written("assign")
        else:
            self._value = new.astype(self.dtype)
        return self

    # ---- Python's protocols ----------------------------------------------------------------------------------

    __hash__ = object.__hash__

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor cannot be iterated")
        return iter(self.unstack())

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            "tensors cannot be changed in place, since recorded ops hold their values: build the new one instead, "
            "tg.where(mask, v, x) or tg.stack([...]), or x.assign(array) for a leaf between training steps"
        )

    def __bool__(self) -> bool:
        self._refuse("bool()", "compare it (t > 0 gives a plain array), or use t.item()")
        return bool(self._value)

    def __float__(self) -> float:
        self._refuse(
            "float() (math.exp and the like call it)", "use t.item(), or the op of that name: t.exp(), tg.sin(t)"
        )
        return float(self._value)

    def __int__(self) -> int:
        self._refuse("int()", "use int(t.item())")
        return int(self._value)

    def __index__(self) -> int:
        self._refuse("an index", "use int(t.item())")
        return to_numpy(self._value).__index__()  # CuPy arrays have none

    def __complex__(self) -> NoReturn:
        raise TypeError("complex(): tensors are real; use t.item()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._refuse(
            "np.asarray(t)",
            "use t.numpy() for the value, the op of that name on the tensor itself, or tg.stack([...]) for a list",
        )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def _refuse(self, what: str, instead: str) -> None:
        """A tensor that needs a gradient never turns silently into a plain number: the gradient would be lost."""
        if self._node is not None:
            raise TypeError(f"{what} of a tensor that needs a gradient would lose the gradient: {instead}")

    def __format__(self, spec: str) -> str:
        if spec and self.size != 1:
            raise ValueError(f"format {spec!r} needs a tensor of one element; this one has shape {self.shape}")
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self) -> str:
        value = np.array2string(to_numpy(self._value), separator=", ", prefix="tensor(", threshold=60, precision=5)
        parts = [value, f"dtype={self.dtype}"]
        if self.device != "cpu":
            parts.append(f"device={self.device!r}")
        if self.name:
            parts.append(f"name={self.name!r}")
        if isinstance(self._node, Node):
            parts.append(f"op={self._node.plan.op.label!r}")
        elif self._node is not None:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if isinstance(self._node, Node):
            raise TypeError("a recorded result cannot be deep-copied: copy t.detach(), or the leaves and compute again")
        data = copy.deepcopy(self._value, memo)
        node = Leaf(data, self._node.name) if self._node is not None else None
        new = type(self)(data, node, self._info if node is None else None)
        if isinstance(self._node, Leaf) and isinstance(new._node, Leaf) and self._node.grad is not None:
            new._node.grad = self._node.grad.copy()
        return new

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __reduce__(self) -> Any:
        if isinstance(self._node, Node):
            raise TypeError("a recorded result cannot be pickled: pickle t.detach() or t.numpy()")
        return _restore, (type(self), self.numpy(), self.device, self.name, self.requires_grad)

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()) - INSTEAD.keys())

    # ---- NumPy's protocols -----------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = NUMPY.get(ufunc)
        if method == "__call__" and handler is not None and not kwargs:
            return handler(*inputs)
        what = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if kwargs and handler is not None:
            what += f" with {', '.join(kwargs)}="
        return _fall_back(what, ufunc.__name__, getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        handler = NUMPY.get(function)
        if handler is not None:
            return handler(*args, **kwargs)
        module = function.__module__.replace("numpy", "np", 1)
        return _fall_back(f"{module}.{function.__name__}", function.__name__, function, args, kwargs)


class _Elsewhere:
    """Under a name that tensors have elsewhere: as if nothing were there, but for what the error says.

    (A ``__getattr__`` on the class would cost every op 4 %: CPython then looks all attributes up the slow way.)"""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Tensor | None, owner: type) -> NoReturn:
        raise AttributeError(f"'Tensor' object has no attribute {self.name!r}: {INSTEAD[self.name]}")


for _name in INSTEAD:
    setattr(Tensor, _name, _Elsewhere(_name))


def _fall_back(what: str, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A NumPy function without a counterpart: plain arrays for constants, an error where a gradient would be lost."""
    tensors: list[Tensor] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            tensors.append(value)
            return value.numpy()
        if isinstance(value, list | tuple):
            return type(value)([plain(v) for v in value])
        return value

    plain_args = [plain(a) for a in args]
    plain_kwargs = {key: plain(value) for key, value in kwargs.items()}
    if not any(t.requires_grad for t in tensors):
        return function(*plain_args, **plain_kwargs)
    ours = sys.modules[__name__.partition(".")[0]]
    names = sorted({f.__name__ for f in NUMPY if hasattr(ours, f.__name__)} - {name})
    ufunc = getattr(function, "__self__", None)
    if not isinstance(ufunc, np.ufunc):
        found = instead(name, names)
    elif function.__name__ != "__call__":
        found = instead_of_method(f"{name}.{function.__name__}")
    else:
        found = instead_of_arguments(NUMPY[ufunc].__name__, kwargs) if ufunc in NUMPY else instead(name, names)
    nearest = f"{found}; " if found else ""
    raise TypeError(
        f"{what} has no derivative here, and the gradient must not be lost silently: {nearest}"
        "use t.numpy() or t.detach() if no gradient is meant, or write your own op with @tg.primitive"
    )


def value_of(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return value._value if isinstance(value, Tensor) else value


def _restore(kind: type[Tensor], value: np.ndarray, device: str, name: str | None, requires_grad: bool) -> Tensor:
    data = to_device(value.copy(), device)
    return kind(data, Leaf(data, name)) if requires_grad else kind(data, None, name)


def tensor(
    data: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None, device: str | None = None
) -> Tensor:
    """A new tensor holding a copy of ``data``: an array, a number, a tensor or nested lists.

    Arrays keep their dtype; Python floats become the default dtype (float32). With ``requires_grad`` it is a leaf:
    backward collects into its ``.grad``. Raises ``TypeError`` for complex or object data and for an integer or
    boolean tensor that asks for a gradient, ``ValueError`` for ragged lists, ``DeviceError`` for a missing device.
    """
    if isinstance(data, Tensor):
        device, data = device or data.device, data._value
    elif isinstance(data, list | tuple) and any(isinstance(d, Tensor) and d.requires_grad for d in data):
        raise TypeError("a list of tensors that need gradients: use tg.stack([...]), which is recorded")
    place = (
        check_device(device)
        if device is not None
        else (device_of(data) if is_array(data) and xp(data) is not np else STATE.get().device)
    )
    wanted = check_dtype(dtype) if dtype is not None else None
    array = as_array(data, wanted, place)
    lent = not is_array(data) and hasattr(data, "__array__")  # perhaps the very array that ``data`` keeps
    if array is data or lent or getattr(array, "base", None) is not None or isinstance(array, np.generic):
        array = xp(array).array(array)
    if not requires_grad:
        return Tensor(array, None, name)
    if array.dtype.kind != "f":
        raise TypeError(f"a tensor of dtype {array.dtype} cannot have a gradient: use dtype='float32', or floats")
    return Tensor(array, Leaf(array, name))

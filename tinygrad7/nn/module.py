"""Modules: things that hold parameters, and know their own names.

A module finds its parameters, buffers and children among its attributes, also inside lists, tuples and dicts of them,
in the order in which they were set. Calling it runs ``forward`` under a scope that bears its name in its parent,
so tapes, drawings and messages say where an op happened.
"""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from tinygrad7.arrays import NUMBERS
from tinygrad7.backend import check_device, is_array, to_device, to_numpy, writable_array
from tinygrad7.context import STATE, check_dtype, scope
from tinygrad7.messages import describe
from tinygrad7.nn.parameter import Buffer
from tinygrad7.node import Leaf
from tinygrad7.tensor import Tensor

_STRUCTURE = itertools.count(1)  # grows whenever any module gains, loses or swaps a part
_structure = [0]


class Module:
    """The base of all layers. Write ``__init__`` that sets parts as attributes, and ``forward``; call the module.

    A part shared under two names counts once, under the first. ``training`` is read by layers that behave
    differently in training, such as ``Dropout``.
    """

    training: bool = True
    _name: str | None = None  # in the parent, for scopes
    _index: int | None = None
    _groups: tuple[str, ...] = ()  # attributes that are lists or dicts, which may gain parts later
    _told: tuple[int, str] = (-1, "")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward: define forward(self, x) and call the module")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for name in self._groups:
            self._adopt(name, vars(self)[name])
        with scope(self._name or type(self).__name__, self._index, kind="module", detail=self.detail):
            return self.forward(*args, **kwargs)

    # ---- parts -----------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        if isinstance(old, Tensor) and isinstance(old._node, Leaf):
            self._parameter_lost(name, old, value)
        object.__setattr__(self, name, value)
        if name in Module.__annotations__ or (not isinstance(value, _PARTS) and not isinstance(old, _PARTS)):
            return
        _structure[0] = next(_STRUCTURE)
        groups = [g for g in self._groups if g != name]
        self._groups = (*groups, name) if isinstance(value, list | dict) else tuple(groups)
        if isinstance(value, _PARTS):
            self._adopt(name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._groups = tuple([g for g in self._groups if g != name])
        _structure[0] = next(_STRUCTURE)

    def _parameter_lost(self, name: str, old: Tensor, value: Any) -> None:
        """Warn where a constant takes a parameter's place, as in ``with no_grad(): m.weight *= 0.5``."""
        constant = (isinstance(value, Tensor) and value._node is None) or is_array(value) or type(value) in NUMBERS
        if not constant or isinstance(value, Buffer) or STATE.get().depth:
            return
        if not any(part is old for key, part in vars(self).items() if key != name):  # it has no other name here
            warnings.warn(
                f"{type(self).__name__}.{name} was a parameter, and the constant in its place is neither trained nor "
                f"saved: change it with .{name}.assign(value), or say tg.nn.Buffer(value) or del it first",
                stacklevel=4,
            )

    def _adopt(self, name: str, value: Any) -> None:
        """Tell the parts in an attribute what they are called here, unless they have a name already."""
        if isinstance(value, Tensor):
            if isinstance(value._node, Leaf) and value.name is None:
                value.name = name
        elif isinstance(value, Module):
            if value._name is None:
                value._called(name, None, name)
        elif isinstance(value, _NAMELESS):
            self._refuse(name, value)
        else:
            for key, part in _parts_of(value):
                if isinstance(part, Module) and part._name is None:
                    part._called(*self._label_of(name, key, part), self._key(name, key))
                elif isinstance(part, Tensor):
                    self._adopt(self._key(name, key), part)

    def _refuse(self, name: str, value: Any) -> None:
        """Raise if a container that gives its parts no names holds any: they would be overlooked."""
        part = next((part for part in value if isinstance(part, Module) or _is_state(part)), None)
        if part is not None:
            raise TypeError(
                f"{type(self).__name__}.{name} is a {type(value).__name__} that holds a {type(part).__name__}; parts "
                "are found, and named, in a list, tuple or dict: write it as one"
            )

    def _label_of(self, name: str, key: Any, part: Module) -> tuple[str, int | None]:
        """The scope name and index of a part held in a list (``blocks[3]``) or a dict (``heads.left``)."""
        return (name, key) if isinstance(key, int) else (f"{name}.{key}", None)

    def _called(self, name: str, index: int | None, path: str) -> None:
        self._name, self._index = name, index
        _structure[0] = next(_STRUCTURE)
        for own, parameter in self.named_parameters():
            if parameter.name in (None, own):  # a name that the user gave stays
                parameter.name = f"{path}.{own}"

    def _held(self) -> Iterator[tuple[str, Any]]:
        """Every tensor and module held directly, with its name here."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor | Module):
                yield name, value
            elif isinstance(value, list | tuple | dict):
                for key, part in _parts_of(value):
                    yield self._key(name, key), part
            elif isinstance(value, _NAMELESS):
                self._refuse(name, value)

    def _key(self, name: str, key: Any) -> str:
        return f"{name}.{key}"

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules held directly, each once, with their names."""
        seen: set[int] = set()
        for name, part in self._held():
            if isinstance(part, Module) and id(part) not in seen:
                seen.add(id(part))
                yield name, part

    def children(self) -> Iterator[Module]:
        """The modules held directly, each once."""
        return (part for _, part in self.named_children())

    def _walk(self, prefix: str, seen: set[int] | None, above: tuple[Module, ...] = ()) -> Iterator[tuple[str, Module]]:
        """This module and all below with their paths: each once, or on every path where ``seen`` is None."""
        if any(module is self for module in above):
            raise ValueError(
                f"{type(self).__name__}: it contains itself, as {prefix!r}, so its parts would have no end of names: "
                "take that out (del); a part that needs the whole can be given it in forward"
            )
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield prefix, self
        for name, part in self._held():
            if isinstance(part, Module):
                yield from part._walk(f"{prefix}.{name}" if prefix else name, seen, (*above, self))

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module (named "") and all below it, each once, with their paths."""
        return self._walk("", set())

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _tensors(self, *, once: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers with their paths: each once, or under every name that reaches it."""
        seen: set[int] = set()
        for path, module in self._walk("", set() if once else None):
            for name, part in module._held():
                if _is_state(part):
                    if not (once and id(part) in seen):
                        seen.add(id(part))
                        yield (f"{path}.{name}" if path else name), part

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter once, with its path: ``("encoder.weight_ih_l0", tensor)``."""
        return ((name, t) for name, t in self._tensors() if t.requires_grad)

    def parameters(self) -> Iterator[Tensor]:
        """Every parameter once."""
        return (t for _, t in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Every buffer once, with its path."""
        return ((name, t) for name, t in self._tensors() if not t.requires_grad)

    @property
    def parameter_count(self) -> int:
        """How many numbers training changes."""
        return sum(t.size for t in self.parameters())

    # ---- modes and places --------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Training mode (or evaluation, with False) here and in all below. Returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: no dropout, batch norm by its running statistics. Returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Clear the gradient of every parameter."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str | None = None, *, dtype: Any = None) -> Self:
        """Move every parameter and buffer to ``device``, in place, and convert to ``dtype`` where one is given.

        Gradients are moved too, and optimizers made before follow at their next step (``HessianFree`` only on the same
        dtype and device). Returns the module.
        """
        place = check_device(device) if device is not None else None
        kind = check_dtype(dtype) if dtype is not None else None
        if kind is not None and kind.kind != "f":
            raise TypeError(f"{type(self).__name__}.to: {kind} is no floating dtype: use float16, float32 or float64")
        for _, t in self._tensors():
            t._value = _moved(t._value, place, kind)
            if isinstance(t._node, Leaf):
                t._node.data, t._node.dtype = t._value, t._value.dtype
                t._node.grad = None if t._node.grad is None else _moved(t._node.grad, place, kind)
        return self

    # ---- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter and buffer as a host array, by path."""
        return {name: to_numpy(t._value).copy() for name, t in self._tensors()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the arrays of ``state``, converted to each tensor's dtype and device; all of them or none.

        Raises ``ValueError`` that lists every missing key, every unknown key (with the nearest that is there) and
        every wrong shape or dtype; ``TypeError`` for what is no mapping. A tensor that is shared may come under each of
        its names, with one value.
        """
        _check_mapping(self, "load_state_dict", state)
        own, known = dict(self._tensors()), dict(self._tensors(once=False))
        first = {id(t): name for name, t in own.items()}
        values: dict[str, np.ndarray] = {}
        complaints = []
        for key, value in state.items():
            if key not in known:
                import difflib

                near = difflib.get_close_matches(str(key), known, n=1)
                complaints.append(f"unknown key {key!r}" + (f" (is {near[0]!r} meant?)" if near else ""))
                continue
            array, t, name = to_numpy(getattr(value, "_value", value)), known[key], first[id(known[key])]
            if array.dtype.kind not in "fiub":
                complaints.append(f"{key!r} has dtype {array.dtype}, which holds no real numbers")
            elif array.shape != t.shape:
                complaints.append(f"{key!r} has shape {array.shape}, the module's has {t.shape}")
            elif name in values and not np.array_equal(values[name], array, equal_nan=array.dtype.kind == "f"):
                complaints.append(f"{key!r} is shared with {name!r}, but the two values differ")
            values.setdefault(name, array)
        complaints += [f"missing key {name!r}" for name in own if name not in values]
        if complaints:
            raise ValueError(f"load_state_dict of {type(self).__name__}, nothing was changed: " + "; ".join(complaints))
        for name, t in own.items():
            t.assign(values[name])

    def load_torch_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights in PyTorch's names and layout: a mapping of arrays, such as ``safetensors`` reads.

        ``num_batches_tracked`` is accepted and ignored. Raises as ``load_state_dict`` does.
        """
        _check_mapping(self, "load_torch_state_dict", state)
        rest = {key: to_numpy(getattr(value, "_value", value)) for key, value in state.items()}
        converted: dict[str, Any] = {}
        for path, module in self.named_modules():
            converted |= module._convert_torch(f"{path}." if path else "", rest)
        self.load_state_dict(converted | rest)

    def _convert_torch(self, prefix: str, mapping: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The hook of ``load_torch_state_dict``, for layers whose names or layout differ from PyTorch's.

        Take out of ``mapping`` (``pop``) the entries of this module's own tensors, whose names start with ``prefix``
        ("" or "encoder."), and return them under this package's full names. What stays in ``mapping`` is taken as
        it is, and complained of if it is unknown; so a layer that agrees with PyTorch need not define this.
        """
        return {}

    # ---- how it shows itself -----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the parentheses: ``64 → 128`` for a ``Linear``. For layers to define."""
        return ""

    @property
    def detail(self) -> str:
        """One line: ``Linear(64 → 128)  8,320``, the number being how many parameters there are in it."""
        if self._told[0] != _structure[0]:
            count = self.parameter_count
            line = f"{type(self).__name__}({self.extra_repr()})" + (f"  {count:,}" if count else "")
            object.__setattr__(self, "_told", (_structure[0], line))
        return self._told[1]

    def __repr__(self) -> str:
        for _ in self.modules():  # a module that contains itself is told of, not shown without end
            pass
        lines = [self.detail]
        for name, part in self._shown():
            if isinstance(part, Module):
                inner = repr(part).split("\n")
                lines += [f"  ({name}): {inner[0]}", *[f"  {line}" for line in inner[1:]]]
            elif not isinstance(part, Tensor):
                lines.append(f"  ({name}): {getattr(part, '__name__', repr(part))}")
            elif _is_state(part):
                lines.append(f"  {name}: {part.shape} {part.dtype}{' (buffer)' if isinstance(part, Buffer) else ''}")
        return "\n".join(lines)

    def _shown(self) -> Iterator[tuple[str, Any]]:
        """What ``repr`` lists."""
        return self._held()


class Layer(Module):
    """A module of one array, as those of this package are. Raises ``TypeError`` for None, and for the pair that a
    recurrent layer returns, which NumPy might stack; where not ``numbers``, for a number too."""

    numbers = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args and not isinstance(args[0], Tensor):
            check_array(self, args[0], self.numbers)
        return super().__call__(*args, **kwargs)


def check_array(module: Module, x: Any, numbers: bool = True) -> None:
    """Raise ``TypeError`` for None, a tuple of tensors, and unless ``numbers`` for a number."""
    kind = type(module).__name__
    if x is None:
        raise TypeError(f"{kind}: an array is needed, not None; does the function that made it return nothing?")
    if isinstance(x, int | float) and not numbers:
        raise TypeError(f"{kind}: an array is needed, not the number {x}; a batch of one example is [[{x}, ...]]")
    if isinstance(x, tuple) and any(isinstance(part, Tensor) for part in x):
        raise TypeError(
            f"{kind}: one array is needed, not a tuple of {len(x)}, such as the (y, state) of a recurrent layer: "
            "write y, state = rnn(x), and inside a Sequential put lambda output: output[0] between the two"
        )


_NAMELESS = (set, frozenset, deque)
_PARTS = (Tensor, Module, list, tuple, dict, *_NAMELESS)


def _is_state(part: Any) -> bool:
    """Whether it is a parameter or a buffer: a leaf or a ``Buffer``, no result and no constant."""
    return isinstance(part, Buffer) or (isinstance(part, Tensor) and isinstance(part._node, Leaf))


def _parts_of(group: Any) -> Iterator[tuple[Any, Any]]:
    """The tensors and modules in a list, tuple or dict, also nested, with their index or key."""
    for key, part in group.items() if isinstance(group, dict) else enumerate(group):
        if isinstance(part, Tensor | Module):
            yield key, part
        elif isinstance(part, list | tuple | dict):
            for deeper, inner in _parts_of(part):
                yield f"{key}.{deeper}", inner


def _check_mapping(module: Module, name: str, state: Any) -> None:
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{name} of {type(module).__name__}: a mapping of names to arrays is needed, as state_dict() returns, not "
            f"{describe(state)}"
        )


def _moved(a: Any, device: str | None, dtype: Any) -> Any:
    a = writable_array(a)
    a = a if dtype is None or a.dtype == dtype else a.astype(dtype)
    return a if device is None else to_device(a, device)

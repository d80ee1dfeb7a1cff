"""What a module holds: ``Parameter``, which training changes, and ``Buffer``, which it does not."""

from __future__ import annotations

from typing import Any

from tinygrad7.tensor import Tensor, tensor


class Parameter(Tensor):
    """A tensor that training changes: a copy of ``data`` that collects gradients. Raises as ``tg.tensor`` does.

    Any leaf held by a module is a parameter of it; this class only says so aloud."""

    __slots__ = ()

    def __init__(self, data: Any, node: Any = None, info: Any = None, *, name: str | None = None) -> None:
        if node is None:
            leaf = tensor(data, requires_grad=True, name=name)
            data, node = leaf._value, leaf._node
        super().__init__(data, node, info)


class Buffer(Tensor):
    """A tensor that belongs to a module's state but is not trained, such as the running mean of ``BatchNorm1d``."""

    __slots__ = ()

    def __init__(self, data: Any, node: Any = None, info: Any = None) -> None:
        super().__init__(tensor(data)._value, None, info)

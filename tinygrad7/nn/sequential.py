"""``Sequential``: layers one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad7.nn.module import Module


class Sequential(Module):
    """Layers one after another: ``y = layerₙ(… layer₁(x))``. Takes modules and plain functions such as ``tg.tanh``.

    Can be indexed and sliced (a slice shares its layers), iterated, measured, and appended to.
    """

    def __init__(self, *layers: Any) -> None:
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"Sequential: layer {i} is a {type(layer).__name__}, which cannot be called")
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def append(self, layer: Any) -> Sequential:
        """Add a layer at the end."""
        self.layers = [*self.layers, layer]
        return self

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, index: Any) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def _shown(self) -> Iterator[tuple[str, Any]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def _key(self, name: str, key: Any) -> str:
        """ "0.weight", as in PyTorch, not "layers.0.weight"."""
        return str(key) if name == "layers" else super()._key(name, key)

    def _label_of(self, name: str, key: Any, part: Module) -> tuple[str, int | None]:
        return (type(part).__name__, key) if name == "layers" else super()._label_of(name, key, part)

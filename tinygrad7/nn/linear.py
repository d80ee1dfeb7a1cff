"""Layers without a window or a time axis: affine maps, embeddings, dropout, activations, flattening."""

from __future__ import annotations

import math
from typing import Any

from tinygrad7.nn import init
from tinygrad7.nn.module import Layer
from tinygrad7.nn.parameter import Parameter
from tinygrad7.ops.activation import gelu, relu, sigmoid
from tinygrad7.ops.elementwise import tanh
from tinygrad7.ops.layers import _linear, dropout
from tinygrad7.ops.linalg import embedding
from tinygrad7.ops.shape import _reshape, shape_of
from tinygrad7.random import generator
from tinygrad7.settings import check_number, check_whole


class Linear(Layer):
    """Affine map of the last axis.   y = x Wᵀ + b      x̄ = ȳ W      W̄ = ȳᵀ x      b̄ = Σ ȳ over rows

    x (..., in) gives y (..., out); ``weight`` (out, in), ``bias`` (out). Starts uniform in ±1/√in.
    """

    numbers = False

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, rng: Any = None) -> None:
        check_whole(self, 0, in_features=in_features, out_features=out_features)
        rng = generator(rng)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init.fan_in_uniform((out_features, in_features), in_features, rng=rng))
        self.bias = Parameter(init.fan_in_uniform((out_features,), in_features, rng=rng)) if bias else None

    def forward(self, x: Any) -> Any:
        return _linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features} → {self.out_features}" + ("" if self.bias is not None else ", no bias")


class Embedding(Layer):
    """A table of vectors looked up by index.   y = W[i]      W̄[i] = Σ ȳ where i was used

    Integers (...) in [0, V) give (..., E); ``weight`` (V, E) starts normal with standard deviation 1. Raises
    ``IndexError`` for an index outside.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, rng: Any = None) -> None:
        check_whole(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(init.normal((num_embeddings, embedding_dim), rng=rng))

    def forward(self, indices: Any) -> Any:
        return embedding(self.weight, indices)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings} → {self.embedding_dim}"


class Flatten(Layer):
    """All axes from ``start`` on made one: (N, C, H, W) gives (N, C·H·W)."""

    def __init__(self, start: int = 1) -> None:
        self.start = start

    def forward(self, x: Any) -> Any:
        shape = shape_of(x)
        return _reshape(x, (*shape[: self.start], math.prod(shape[self.start :])))


class Dropout(Layer):
    """Each unit set to 0 with probability ρ in training.   y = m x / (1 − ρ)      (y = x in evaluation)

    ``mode="classic"`` is the lecture's: y = m x in training, (1 − ρ) x in evaluation. ``rng``: a generator, a seed, or
    None for that of ``tg.seed``. Srivastava et al., 2014.
    """

    def __init__(self, rho: float = 0.5, *, mode: str = "inverted", rng: Any = None) -> None:
        check_number(self, below=1, rho=rho)
        dropout([0.0], rho, training=False, mode=mode)  # refuses a bad mode here, not in the first step
        self.rho, self.mode = rho, mode
        self.rng = None if rng is None else generator(rng)

    def forward(self, x: Any) -> Any:
        return dropout(x, self.rho, training=self.training, rng=self.rng, mode=self.mode)

    def extra_repr(self) -> str:
        return f"ρ = {self.rho}" + ("" if self.mode == "inverted" else f", {self.mode}")


class ReLU(Layer):
    """Rectifier.   y = max(x, 0)      x̄ = ȳ [x > 0]"""

    def forward(self, x: Any) -> Any:
        return relu(x)


class Tanh(Layer):
    """Hyperbolic tangent.   y = tanh x      x̄ = ȳ (1 − y²)"""

    def forward(self, x: Any) -> Any:
        return tanh(x)


class Sigmoid(Layer):
    """Logistic function.   y = 1 / (1 + e⁻ˣ)      x̄ = ȳ y (1 − y)"""

    def forward(self, x: Any) -> Any:
        return sigmoid(x)


class GELU(Layer):
    """Gaussian error linear unit.   y = x Φ(x)      (``approximate="tanh"``: the common approximation)"""

    def __init__(self, approximate: str = "none") -> None:
        gelu(0.0, approximate)  # refuses an unknown approximation here
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return gelu(x, self.approximate)

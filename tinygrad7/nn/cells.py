"""Single steps of recurrent nets, for loops of one's own: ``RNNCell``, ``LSTMCell``, ``GRUCell``.

The state goes in and comes out. Call a cell under ``tg.step(t)``, and drawings and tapes know the time step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad7.backend import xp
from tinygrad7.messages import ShapeError
from tinygrad7.nn import init
from tinygrad7.nn.module import Layer
from tinygrad7.nn.parameter import Parameter
from tinygrad7.nn.recurrent import from_torch
from tinygrad7.ops.recurrent import gru_step, lstm_step, rnn_step
from tinygrad7.ops.shape import shape_of
from tinygrad7.random import generator
from tinygrad7.settings import check_whole
from tinygrad7.tensor import Tensor


class Cell(Layer):
    """What the cells share: ``weight_ih`` (G·H, I), ``weight_hh`` (G·H, H), ``bias`` (G·H), for G parts."""

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True, rng: Any = None) -> None:
        check_whole(self, input_size=input_size, hidden_size=hidden_size)
        rng = generator(rng)
        self.input_size, self.hidden_size = input_size, hidden_size
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(init.fan_in_uniform((rows, input_size), hidden_size, rng=rng))
        self.weight_hh = Parameter(init.fan_in_uniform((rows, hidden_size), hidden_size, rng=rng))
        self.bias = Parameter(init.zeros(rows)) if bias else None

    def _state(self, x: Any, state: Any, name: str = "h") -> Any:
        """The state given, or zeros; x and it must be (B, I) and (B, H)."""
        kind, shape = type(self).__name__, shape_of(x)
        if len(shape) != 2 or shape[1] != self.input_size:
            raise ShapeError(f"{kind}: x must be one step, (B, {self.input_size}); got {shape}")
        if state is None:
            data = self.weight_hh._value  # made there: tg.zeros would send them
            return Tensor(xp(data).zeros((shape[0], self.hidden_size), data.dtype))
        if shape_of(state) != (shape[0], self.hidden_size):
            raise ShapeError(f"{kind}: {name} must be {(shape[0], self.hidden_size)}; got {shape_of(state)}")
        return state

    def extra_repr(self) -> str:
        return f"{self.input_size} → {self.hidden_size}"

    def _convert_torch(self, prefix: str, mapping: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = from_torch(self.gates, prefix, "", mapping, bias=self.bias is not None)
        return {f"{prefix}{name}": value for name, value in found.items()}


class RNNCell(Cell):
    """One step of a plain recurrent net, ``h = cell(x, h)``.   h' = φ(W_ih x + W_hh h + b)

    x (B, I), h (B, H) or None for zeros. ``nonlinearity``: "tanh" or "relu".
    """

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **kwargs: Any) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(*args, **kwargs)

    def forward(self, x: Any, h: Any = None) -> Any:
        return rnn_step(x, self._state(x, h), self.weight_ih, self.weight_hh, self.bias, self.nonlinearity)


class LSTMCell(Cell):
    """One step of an LSTM, ``h, c = cell(x, (h, c))``.   c' = f c + i g,   h' = o tanh c'

    x (B, I), h and c (B, H), or None for zeros. Gates in the order i, f, o, g; the forget gate's bias starts at 1.
    """

    gates = 4

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.bias is not None:
            self.bias.assign(init.forget_bias(self.hidden_size))

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            raise TypeError(f"LSTMCell: the state is a pair (h, c) or None; got {type(state).__name__}")
        h, c = (None, None) if state is None else state
        h, c = self._state(x, h), self._state(x, c, "c")
        return lstm_step(x, h, c, self.weight_ih, self.weight_hh, self.bias)


class GRUCell(Cell):
    """One step of gated recurrent units, ``h = cell(x, h)``.   h' = (1 − z) n + z h

    n = tanh(W_in x + b_n + r (W_hn h + b_hn)); parts in the order r, z, n. x (B, I), h (B, H) or None for zeros.
    """

    gates = 3

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bias_hn = Parameter(init.zeros(self.hidden_size)) if self.bias is not None else None

    def forward(self, x: Any, h: Any = None) -> Any:
        return gru_step(x, self._state(x, h), self.weight_ih, self.weight_hh, self.bias, self.bias_hn)

"""Recurrent layers over whole sequences: ``RNN``, ``LSTM``, ``GRU``, in several layers and in both directions.

Sequences are (T, B, I), steps first. The state goes in and comes out, ``y, h = rnn(x, h)``; no layer keeps it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tinygrad7.context import scope
from tinygrad7.messages import ShapeError, describe
from tinygrad7.nn import init
from tinygrad7.nn.module import Layer
from tinygrad7.nn.parameter import Parameter
from tinygrad7.ops.layers import dropout
from tinygrad7.ops.recurrent import gru, lstm, rnn
from tinygrad7.ops.shape import broadcast_to, concatenate, shape_of, stack
from tinygrad7.random import generator
from tinygrad7.settings import check_number, check_whole


class Recurrent(Layer):
    """What the recurrent layers share: parameters by layer and direction, states, dropout between layers."""

    gates = 1  # parts of the weights
    states: tuple[str, ...] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        bidirectional: bool = False,
        dropout: float = 0.0,
        unroll: bool = False,
        learn_initial_state: bool = False,
        rng: Any = None,
    ) -> None:
        check_whole(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_number(self, below=1, dropout=dropout)
        if dropout and num_layers == 1:
            warnings.warn(
                f"{type(self).__name__}: dropout={dropout} stands between layers, and num_layers is 1, so nothing is "
                "dropped: take more layers, or a Dropout after this one",
                stacklevel=2,
            )
        rng = generator(rng)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.dropout, self.unroll, self.rng = bidirectional, dropout, unroll, rng
        ends = ("", "_reverse") if bidirectional else ("",)
        self.suffixes = [f"l{k}{end}" for k in range(num_layers) for end in ends]
        H, directions = hidden_size, len(ends)
        for number, suffix in enumerate(self.suffixes):
            inputs = input_size if number < directions else directions * H
            for name, value in self.initial(inputs, H, bias, rng).items():
                setattr(self, f"{name}_{suffix}", Parameter(value) if value is not None else None)
        for name in self.states:
            learned = Parameter(init.zeros((len(self.suffixes), H))) if learn_initial_state else None
            setattr(self, f"{name}_0", learned)

    def initial(self, inputs: int, H: int, bias: bool, rng: Any) -> dict[str, Any]:
        """The parameters of one layer in one direction. Weights start uniform in ±1/√H, biases at zero."""
        return {
            "weight_ih": init.fan_in_uniform((self.gates * H, inputs), H, rng=rng),
            "weight_hh": init.fan_in_uniform((self.gates * H, H), H, rng=rng),
            "bias": init.zeros(self.gates * H) if bias else None,
        }

    def run(self, x: Any, state: tuple[Any, ...], suffix: str, **how: Any) -> tuple[Any, ...]:
        """One layer in one direction: ``(y, *final states)``."""
        raise NotImplementedError

    def parameter(self, name: str, suffix: str) -> Any:
        return getattr(self, f"{name}_{suffix}")

    def _begin(self, x: Any, state: Any, lengths: Any) -> list[tuple[Any, ...]]:
        """The initial states of every layer and direction: those given, those learned, or None for zeros."""
        count, kind = len(self.suffixes), type(self).__name__
        if len(shape_of(x)) != 3 or shape_of(x)[2] != self.input_size:
            raise ShapeError(f"{kind}: x must be (T, B, {self.input_size}), steps first; got {shape_of(x)}")
        B, H = shape_of(x)[1], self.hidden_size
        if lengths is not None and shape_of(lengths) != (B,):
            raise ShapeError(
                f"{kind}: lengths must be {B} integers, the steps of each sequence; got {describe(lengths)}"
            )
        if state is None:
            learned = [getattr(self, f"{name}_0") for name in self.states]
            if learned[0] is None:
                return [(None,) * len(self.states)] * count
            return [tuple([broadcast_to(s[k], (B, H)) for s in learned]) for k in range(count)]
        given = (state,) if len(self.states) == 1 else state
        if not isinstance(given, tuple | list) or len(given) != len(self.states):
            raise TypeError(f"{kind}: the state is a pair (h, c) or None; got {type(state).__name__}")
        for name, s in zip(self.states, given, strict=True):
            if shape_of(s) != (count, B, H):
                raise ShapeError(
                    f"{kind}: {name} must be {(count, B, H)}, layers × directions first; got {shape_of(s)}. "
                    "Is it the state of a batch of another size?"
                )
        return [tuple([s[k] for s in given]) for k in range(count)]

    def forward(self, x: Any, state: Any = None, *, lengths: Any = None) -> Any:
        """Outputs (T, B, directions × H) of the last layer, and the final state, (layers × directions, B, H) each."""
        begin = self._begin(x, state, lengths)
        final: list[tuple[Any, ...]] = []
        directions = 2 if self.bidirectional else 1
        for k in range(self.num_layers):
            if k and self.dropout:
                x = dropout(x, self.dropout, training=self.training, rng=self.rng)
            ys = []
            for d in range(directions):
                place = k * directions + d
                how = {"lengths": lengths, "reverse": d == 1, "unroll": self.unroll}
                if len(self.suffixes) == 1:
                    y, *last = self.run(x, begin[place], "l0", **how)
                else:
                    with scope(self.suffixes[place]):
                        y, *last = self.run(x, begin[place], self.suffixes[place], **how)
                ys.append(y)
                final.append(tuple(last))
            x = ys[0] if directions == 1 else concatenate(ys, axis=-1)
        states = tuple([stack(list(s)) for s in zip(*final, strict=True)])
        return x, states if len(states) > 1 else states[0]

    def extra_repr(self) -> str:
        options = [f"{self.input_size} → {self.hidden_size}"]
        options += [f"{self.num_layers} layers"] if self.num_layers > 1 else []
        options += ["bidirectional"] if self.bidirectional else []
        options += [f"dropout {self.dropout}"] if self.dropout else []
        return ", ".join(options)

    def _convert_torch(self, prefix: str, mapping: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            f"{prefix}{name}_{suffix}": value
            for suffix in self.suffixes
            for name, value in from_torch(
                self.gates, prefix, f"_{suffix}", mapping, bias=self.parameter("bias", suffix) is not None
            ).items()
        }


def from_torch(
    gates: int, prefix: str, suffix: str, mapping: dict[str, np.ndarray], *, bias: bool
) -> dict[str, np.ndarray]:
    """Weights of one layer taken out of PyTorch's: LSTM gates i, f, g, o in the order i, f, o, g; two biases made one.

    PyTorch adds ``bias_ih`` and ``bias_hh`` everywhere but in the GRU's candidate: there ``bias_hn`` stays apart."""

    def ordered(a: np.ndarray) -> np.ndarray:
        i, f, g, o = np.split(a, 4)
        return np.concatenate([i, f, o, g])

    found: dict[str, np.ndarray] = {}
    for name in ("weight_ih", "weight_hh"):
        value = mapping.pop(f"{prefix}{name}{suffix}", None)
        if value is not None:
            found[name] = ordered(value) if gates == 4 and len(value) % 4 == 0 else value
    names = [f"{prefix}bias_{side}{suffix}" for side in ("ih", "hh")]
    if bias and all(name in mapping for name in names):
        b_ih, b_hh = (mapping.pop(name) for name in names)
        if gates == 3 and len(b_hh) % 3 == 0:
            found["bias_hn"] = b_hh[2 * len(b_hh) // 3 :]
            b_hh = np.where(np.arange(len(b_hh)) < 2 * len(b_hh) // 3, b_hh, 0)
        found["bias"] = ordered(b_ih + b_hh) if gates == 4 and len(b_ih) % 4 == 0 else b_ih + b_hh
    return found


class RNN(Recurrent):
    """A plain recurrent net.   h_t = φ(W_ih x_t + W_hh h_{t−1} + b)

    ``y, h = rnn(x, h)``: x (T, B, I), h (layers × directions, B, H) or None; y (T, B, directions × H).
    ``nonlinearity``: "tanh" or "relu". ``lengths=`` (B) for padded batches: padding changes nothing, and y is zero
    there. ``unroll``: step by step in small ops, slower, for drawings. ``learn_initial_state``: a parameter ``h_0``
    (the lecture's biases of the first step). ``dropout`` between layers, in training. Slides "Recurrent neural nets".
    """

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **kwargs: Any) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(*args, **kwargs)

    def run(self, x: Any, state: tuple[Any, ...], suffix: str, **how: Any) -> tuple[Any, ...]:
        weights = [self.parameter(name, suffix) for name in ("weight_ih", "weight_hh", "bias")]
        y, h = rnn(x, state[0], *weights, nonlinearity=self.nonlinearity, **how)
        return y, h


class LSTM(Recurrent):
    """Long short-term memory.   c_t = f c_{t−1} + i g,   h_t = o tanh c_t

    ``y, (h, c) = lstm(x, (h, c))``: x (T, B, I), h and c (layers × directions, B, H) or None; y (T, B, directions × H).
    The parts of ``weight_ih_l0`` (4H, I), ``weight_hh_l0`` (4H, H) and ``bias_l0`` (4H) stand in the lecture's order,
    i, f, o, g; the forget gate's bias starts at 1. Options: as for ``RNN``. Hochreiter and Schmidhuber, 1997; slides
    "Long-Term Short Term Memory".
    """

    gates = 4
    states = ("h", "c")

    def initial(self, inputs: int, H: int, bias: bool, rng: Any) -> dict[str, Any]:
        return super().initial(inputs, H, bias, rng) | {"bias": init.forget_bias(H) if bias else None}

    def run(self, x: Any, state: tuple[Any, ...], suffix: str, **how: Any) -> tuple[Any, ...]:
        weights = [self.parameter(name, suffix) for name in ("weight_ih", "weight_hh", "bias")]
        y, (h, c) = lstm(x, state, *weights, **how)
        return y, h, c


class GRU(Recurrent):
    """Gated recurrent units.   h_t = (1 − z) n + z h_{t−1},   n = tanh(W_in x_t + b_n + r (W_hn h_{t−1} + b_hn))

    ``y, h = gru(x, h)``: x (T, B, I), h (layers × directions, B, H) or None; y (T, B, directions × H). The parts of
    ``weight_ih_l0`` (3H, I), ``weight_hh_l0`` (3H, H) and ``bias_l0`` (3H) stand in the order r, z, n; ``bias_hn_l0``
    (H) is inside the reset gate's product. Options: as for ``RNN``. Cho et al., 2014.
    """

    gates = 3

    def initial(self, inputs: int, H: int, bias: bool, rng: Any) -> dict[str, Any]:
        return super().initial(inputs, H, bias, rng) | {"bias_hn": init.zeros(H) if bias else None}

    def run(self, x: Any, state: tuple[Any, ...], suffix: str, **how: Any) -> tuple[Any, ...]:
        weights = [self.parameter(name, suffix) for name in ("weight_ih", "weight_hh", "bias", "bias_hn")]
        y, h = gru(x, state[0], *weights, **how)
        return y, h

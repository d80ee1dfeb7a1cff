"""``MultiplicativeRNN``: the input chooses the recurrent matrix (Sutskever, Martens and Hinton, 2011)."""

from __future__ import annotations

from typing import Any

from tinygrad7.nn import init
from tinygrad7.nn.recurrent import Recurrent
from tinygrad7.ops.elementwise import tanh
from tinygrad7.ops.layers import _linear
from tinygrad7.ops.recurrent import check_lengths, clear_padding, over_time, zero_state
from tinygrad7.settings import check_whole


class MultiplicativeRNN(Recurrent):
    """A recurrent net whose recurrent matrix depends on the input, through F factors.

    f_t = (W_fx x_t) ∘ (W_fh h_{t−1}),   h_t = tanh(W_hf f_t + W_hx x_t + b): the recurrent matrix of step t is
    W_hf diag(W_fx x_t) W_fh, so every character of a text can have one of its own. ``factors`` is F, H unless given.
    ``y, h = mrnn(x, h)`` and options: as for ``RNN``. Parameters of layer 0: ``weight_fx_l0`` (F, I), ``weight_fh_l0``
    (F, H), ``weight_hf_l0`` (H, F), ``weight_hx_l0`` (H, I), ``bias_l0`` (H). Always step by step in small ops.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *args: Any, factors: int | None = None, **kwargs: Any
    ) -> None:
        check_whole(self, factors=1 if factors is None else factors)
        self.factors = hidden_size if factors is None else factors
        super().__init__(input_size, hidden_size, *args, **kwargs)

    def initial(self, inputs: int, H: int, bias: bool, rng: Any) -> dict[str, Any]:
        """Xavier's uniform, so that the factors' two sides have variance 1 for inputs of variance 1; b at zero."""
        F = self.factors
        shapes = {"weight_fx": (F, inputs), "weight_fh": (F, H), "weight_hf": (H, F), "weight_hx": (H, inputs)}
        weights = {name: init.xavier_uniform(shape, rng=rng) for name, shape in shapes.items()}
        return weights | {"bias": init.zeros(H) if bias else None}

    def run(self, x: Any, state: tuple[Any, ...], suffix: str, **how: Any) -> tuple[Any, ...]:
        fx, fh, hf, hx = (self.parameter(f"weight_{name}", suffix) for name in ("fx", "fh", "hf", "hx"))
        b, lengths = self.parameter("bias", suffix), check_lengths("MultiplicativeRNN", how["lengths"], x)
        x = clear_padding(x, lengths)
        h = zero_state(x, fh) if state[0] is None else state[0]

        def advance(x_f: Any, x_h: Any, h: Any) -> tuple[Any]:
            return (tanh(_linear(x_f * _linear(h, fh, None), hf, None) + x_h),)

        y, h = over_time((_linear(x, fx, None), _linear(x, hx, b)), (h,), advance, lengths, how["reverse"])
        return y, h

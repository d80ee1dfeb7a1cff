"""Makes ``torch_recurrent.npz``: what PyTorch computes for recurrent layers, in float64.

    python tests/data/make_torch_recurrent.py

Made with PyTorch 2.13.0 (CPU). For every case ``name``: ``name/x``, ``name/lengths`` (if any), ``name/state<k>``,
``name/weights/<PyTorch's name>``, the seeds ``name/seed<k>`` of outputs and final states, what they came to
(``name/out<k>``), and the gradients ``name/grads/<name>``, ``name/grad_x``, ``name/grad_state<k>``.
"""

from pathlib import Path

import numpy as np
import torch

CASES = {
    "rnn": (torch.nn.RNN, {}),
    "relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
}
SHAPES = {
    "plain": {},
    "no_bias": {"bias": False},
    "deep": {"num_layers": 2, "bidirectional": True},
    "padded": {"num_layers": 2, "bidirectional": True},
}
CELLS = {"rnn_cell": torch.nn.RNNCell, "lstm_cell": torch.nn.LSTMCell, "gru_cell": torch.nn.GRUCell}
T, B, I, H = 6, 4, 3, 5


def main() -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    kept: dict[str, np.ndarray] = {}

    def keep(name: str, value: torch.Tensor) -> None:
        kept[name] = value.detach().numpy().copy()

    def record(case: str, module: torch.nn.Module, inputs: list, outputs: list) -> None:
        seeds = [torch.randn_like(y) for y in outputs]
        sum((y * s).sum() for y, s in zip(outputs, seeds, strict=True)).backward()
        for k, (y, s) in enumerate(zip(outputs, seeds, strict=True)):
            keep(f"{case}/out{k}", y)
            keep(f"{case}/seed{k}", s)
        for k, t in enumerate(inputs):
            keep(f"{case}/x" if k == 0 else f"{case}/state{k - 1}", t)
            keep(f"{case}/grad_x" if k == 0 else f"{case}/grad_state{k - 1}", t.grad)
        for name, p in module.named_parameters():
            keep(f"{case}/weights/{name}", p)
            keep(f"{case}/grads/{name}", p.grad)

    for kind, (make, options) in CASES.items():
        for shape, more in SHAPES.items():
            module = make(I, H, **options, **more)
            count = more.get("num_layers", 1) * (2 if more.get("bidirectional") else 1)
            x = torch.randn(T, B, I, requires_grad=True)
            states = [torch.randn(count, B, H, requires_grad=True) for _ in range(2 if kind == "lstm" else 1)]
            state = tuple(states) if kind == "lstm" else states[0]
            given = x
            if shape == "padded":
                lengths = torch.tensor([6, 2, 1, 4])
                kept[f"{kind}/{shape}/lengths"] = lengths.numpy()
                given = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            y, last = module(given, state)
            if shape == "padded":
                y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=T)
            record(f"{kind}/{shape}", module, [x, *states], [y, *(last if kind == "lstm" else (last,))])
    for kind, make in CELLS.items():
        module = make(I, H)
        x = torch.randn(B, I, requires_grad=True)
        states = [torch.randn(B, H, requires_grad=True) for _ in range(2 if kind == "lstm_cell" else 1)]
        out = module(x, tuple(states) if kind == "lstm_cell" else states[0])
        record(f"{kind}/plain", module, [x, *states], list(out) if kind == "lstm_cell" else [out])
    np.savez_compressed(Path(__file__).with_name("torch_recurrent.npz"), **kept)


if __name__ == "__main__":
    main()

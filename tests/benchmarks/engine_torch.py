"""The works in PyTorch, as its users would write them, on the fastest form it offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Step = Callable[[], float]


def _leaves(data: dict[str, Any], *names: str) -> list[torch.Tensor]:
    return [torch.tensor(data[name], requires_grad=True) for name in names]


def _ops(data: dict[str, Any]) -> Step:
    x, w, b = _leaves(data, "x", "w", "b")

    def step() -> float:
        h = x
        for _ in range(333):
            h = torch.tanh(h * w + b)
        loss = h.sum()
        loss.backward()
        x.grad = w.grad = b.grad = None
        return loss.item()

    return step


def _adds(data: dict[str, Any]) -> Step:
    (x,) = _leaves(data, "x")

    def step() -> float:
        y = x
        for _ in range(200_000):
            y = y + 1.0
        loss = y.sum()
        loss.backward()
        x.grad = None
        return loss.item()

    return step


def _loop(data: dict[str, Any]) -> Step:
    (x,) = _leaves(data, "x")

    def step() -> float:
        total = torch.zeros(32, 16)
        for t in range(len(x)):
            total = total + torch.tanh(x[t])
        loss = total.sum()
        loss.backward()
        x.grad = None
        return loss.item()

    return step


def _reorder(gates: np.ndarray) -> torch.Tensor:
    """Gate order i, f, o, g into PyTorch's i, f, g, o."""
    i, f, o, g = np.split(gates, 4)
    return torch.tensor(np.concatenate([i, f, g, o]))


def _char(data: dict[str, Any]) -> Step:
    x, targets = torch.tensor(data["x"]), torch.tensor(data["targets"]).reshape(-1)
    hidden, vocabulary = data["w_hh"].shape[1], data["x"].shape[2]
    lstm, linear = nn.LSTM(vocabulary, hidden), nn.Linear(hidden, vocabulary)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(_reorder(data["w_ih"]))
        lstm.weight_hh_l0.copy_(_reorder(data["w_hh"]))
        lstm.bias_ih_l0.copy_(_reorder(data["b"]))
        lstm.bias_hh_l0.zero_()
        linear.weight.copy_(torch.tensor(data["w"]))
        linear.bias.copy_(torch.tensor(data["c"]))
    params = [*lstm.parameters(), *linear.parameters()]
    optimizer = torch.optim.Adam(params, 1e-3)

    def step() -> float:
        y, _ = lstm(x)
        loss = F.cross_entropy(linear(y).reshape(-1, vocabulary), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        return loss.item()

    return step


def _rnn(data: dict[str, Any], unroll: bool) -> Step:
    x, target = torch.tensor(data["x"]), torch.tensor(data["target"])
    if unroll:
        w_ih, w_hh, b = params = _leaves(data, "w_ih", "w_hh", "b")
    else:
        rnn = nn.RNN(64, 128)
        with torch.no_grad():
            rnn.weight_ih_l0.copy_(torch.tensor(data["w_ih"]))
            rnn.weight_hh_l0.copy_(torch.tensor(data["w_hh"]))
            rnn.bias_ih_l0.copy_(torch.tensor(data["b"]))
            rnn.bias_hh_l0.zero_()
        params = [p for name, p in rnn.named_parameters() if name != "bias_hh_l0"]
        rnn.bias_hh_l0.requires_grad_(False)
    optimizer = torch.optim.SGD(params, 1e-3)

    def by_hand() -> torch.Tensor:
        h = torch.zeros(32, 128)
        u, v = w_ih.T, w_hh.T
        for x_t in x.unbind():
            h = torch.tanh(x_t @ u + h @ v + b)
        return h

    def step() -> float:
        loss = F.mse_loss(by_hand() if unroll else rnn(x)[1][0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class _Block(nn.Module):
    def __init__(self, arrays: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64, bias=False)
        with torch.no_grad():
            for parameter, array in zip((self.first.weight, self.first.bias, self.second.weight), arrays, strict=True):
                parameter.copy_(torch.tensor(array))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.tanh(self.first(x)))


def _residual(data: dict[str, Any]) -> Step:
    x, target = torch.tensor(data["x"]), torch.tensor(data["target"])
    model = nn.Sequential(*[_Block(arrays) for arrays in data["blocks"]])
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def step() -> float:
        loss = F.mse_loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _mlp(data: dict[str, Any]) -> Step:
    x, targets = torch.tensor(data["x"]), torch.tensor(data["targets"])
    linear = [nn.Linear(w.shape[1], w.shape[0]) for w, _ in data["layers"]]
    with torch.no_grad():
        for layer, (w, b) in zip(linear, data["layers"], strict=True):
            layer.weight.copy_(torch.tensor(w))
            layer.bias.copy_(torch.tensor(b))
    model = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)

    def step() -> float:
        loss = F.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _conv(data: dict[str, Any]) -> Step:
    x, targets = torch.tensor(data["x"]), torch.tensor(data["targets"])
    w1, b1, w2, b2, w, b = params = _leaves(data, "w1", "b1", "w2", "b2", "w", "b")
    optimizer = torch.optim.SGD(params, 1e-3)

    def step() -> float:
        h = F.relu(F.conv2d(x, w1, b1))
        h = F.relu(F.conv2d(h, w2, b2))
        h = F.max_pool2d(h, 2).reshape(32, -1)
        loss = F.cross_entropy(h @ w.T + b, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _elementwise(data: dict[str, Any]) -> Step:
    x, w, b = _leaves(data, "x", "w", "b")

    def step() -> float:
        loss = torch.sum(torch.tanh(x * w + b) * torch.sigmoid(x))
        loss.backward()
        x.grad = w.grad = b.grad = None
        return loss.item()

    return step


WORKS = {
    "ops": _ops,
    "ops-0d": _ops,
    "adds": _adds,
    "loop-50": _loop,
    "loop-1000": _loop,
    "char-256": _char,
    "char-64": _char,
    "rnn": lambda data: _rnn(data, unroll=False),
    "rnn-unrolled": lambda data: _rnn(data, unroll=True),
    "residual": _residual,
    "mlp": _mlp,
    "conv": _conv,
    "elementwise": _elementwise,
}


def threads(count: int) -> None:
    torch.set_num_threads(count)


def on(device: str) -> torch.device:
    """Where tensors and layers are made, as a context; products are in float32 there, as they are on a host."""
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(device)

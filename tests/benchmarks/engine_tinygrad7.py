"""The works in tinygrad7, as its users would write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad7 as tg

Step = Callable[[], float]


def _leaves(data: dict[str, Any], *names: str) -> list[tg.Tensor]:
    return [tg.tensor(data[name], requires_grad=True) for name in names]


def _ops(data: dict[str, Any]) -> Step:
    x, w, b = _leaves(data, "x", "w", "b")

    def step() -> float:
        h = x
        for _ in range(333):
            h = tg.tanh(h * w + b)
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


def _no_grad(data: dict[str, Any]) -> Step:
    x, w, b = _leaves(data, "x", "w", "b")

    def step() -> float:
        with tg.no_grad():
            h = x
            for _ in range(333):
                h = tg.tanh(h * w + b)
        return h.sum().item()

    return step


def _loop(data: dict[str, Any]) -> Step:
    (x,) = _leaves(data, "x")

    def step() -> float:
        total = tg.zeros((32, 16))
        for t in range(len(x)):
            total = total + tg.tanh(x[t])
        loss = total.sum()
        loss.backward()
        x.grad = None
        return loss.item()

    return step


def _char(data: dict[str, Any]) -> Step:
    x, targets = tg.tensor(data["x"]), data["targets"]
    w_ih, w_hh, b, w, c = params = _leaves(data, "w_ih", "w_hh", "b", "w", "c")
    optimizer = tg.optim.Adam(params, 1e-3, clip_norm=1.0)
    batch, hidden = x.shape[1], w_hh.shape[1]
    zeros = tg.zeros((batch, hidden))

    def step() -> float:
        weight = w.T
        y, _ = tg.lstm(x, (zeros, zeros), w_ih, w_hh, b)
        loss = tg.cross_entropy(y @ weight + c, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _rnn(data: dict[str, Any], unroll: bool) -> Step:
    x, target = tg.tensor(data["x"]), tg.tensor(data["target"])
    w_ih, w_hh, b = params = _leaves(data, "w_ih", "w_hh", "b")
    optimizer = tg.optim.SGD(params, 1e-3)

    def fused() -> tg.Tensor:
        return tg.rnn(x, tg.zeros((32, 128)), w_ih, w_hh, b)[1]

    def by_hand() -> tg.Tensor:
        h = tg.zeros((32, 128))
        u, v = w_ih.T, w_hh.T
        for t, x_t in enumerate(x):
            with tg.step(t):
                h = tg.tanh(x_t @ u + h @ v + b)
        return h

    def step() -> float:
        loss = tg.mse_loss((by_hand if unroll else fused)(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _residual(data: dict[str, Any]) -> Step:
    x, target = tg.tensor(data["x"]), tg.tensor(data["target"])
    blocks = [tg.nn.ResidualBlock(64) for _ in range(50)]
    for block, arrays in zip(blocks, data["blocks"], strict=True):
        for parameter, array in zip((block.W1, block.b1, block.W2), arrays, strict=True):
            parameter.assign(array)
    model = tg.nn.Sequential(*blocks)
    optimizer = tg.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def step() -> float:
        loss = tg.mse_loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _mlp(data: dict[str, Any]) -> Step:
    x, targets = tg.tensor(data["x"]), data["targets"]
    linear = [tg.nn.Linear(w.shape[1], w.shape[0]) for w, _ in data["layers"]]
    for layer, (w, b) in zip(linear, data["layers"], strict=True):
        layer.weight.assign(w)
        layer.bias.assign(b)
    model = tg.nn.Sequential(linear[0], tg.nn.ReLU(), linear[1], tg.nn.ReLU(), linear[2])
    optimizer = tg.optim.SGD(model.parameters(), 1e-2)

    def step() -> float:
        loss = tg.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _conv(data: dict[str, Any]) -> Step:
    x, targets = tg.tensor(data["x"]), data["targets"]
    w1, b1, w2, b2, w, b = params = _leaves(data, "w1", "b1", "w2", "b2", "w", "b")
    optimizer = tg.optim.SGD(params, 1e-3)

    def step() -> float:
        h = tg.relu(tg.conv2d(x, w1, b1))
        h = tg.relu(tg.conv2d(h, w2, b2))
        h = tg.max_pool2d(h, 2).reshape(32, -1)
        loss = tg.cross_entropy(h @ w.T + b, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _elementwise(data: dict[str, Any]) -> Step:
    x, w, b = _leaves(data, "x", "w", "b")

    def step() -> float:
        loss = tg.sum(tg.tanh(x * w + b) * tg.sigmoid(x))
        loss.backward()
        x.grad = w.grad = b.grad = None
        return loss.item()

    return step


WORKS = {
    "ops": _ops,
    "ops-0d": _ops,
    "adds": _adds,
    "no-grad": _no_grad,
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


on = tg.device

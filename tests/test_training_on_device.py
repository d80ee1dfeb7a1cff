"""Layers, recurrent nets, optimizers and training on device arrays, held against the same on NumPy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tests.standin import counting
from tinygrad7 import nn, optim


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SEQUENCE = data(5, 3, 4)
IMAGES = data(2, 3, 6, 6)
ROWS = data(6, 4)

# name -> (how to make it, its input); every public layer has a row, which a test below checks
LAYERS: dict[str, tuple[Any, Any]] = {
    "Linear": (lambda: nn.Linear(4, 3, rng=0), ROWS),
    "Embedding": (lambda: nn.Embedding(7, 3, rng=0), np.array([[0, 6, 6], [1, 2, 0]])),
    "Conv1d": (lambda: nn.Conv1d(3, 2, 3, padding=1, rng=0), IMAGES[:, :, 0]),
    "Conv2d": (lambda: nn.Conv2d(3, 2, 3, stride=2, padding=1, rng=0), IMAGES),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), IMAGES),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1), IMAGES),
    "Flatten": (lambda: nn.Flatten(), IMAGES),
    "Dropout": (lambda: nn.Dropout(0.4, rng=3), ROWS),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), ROWS),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), IMAGES),
    "LayerNorm": (lambda: nn.LayerNorm(4), ROWS),
    "ReLU": (lambda: nn.ReLU(), ROWS),
    "Tanh": (lambda: nn.Tanh(), ROWS),
    "Sigmoid": (lambda: nn.Sigmoid(), ROWS),
    "GELU": (lambda: nn.GELU(), ROWS),
    "RNN": (lambda: nn.RNN(4, 3, 2, bidirectional=True, rng=0), SEQUENCE),
    "LSTM": (lambda: nn.LSTM(4, 3, 2, bidirectional=True, learn_initial_state=True, rng=0), SEQUENCE),
    "GRU": (lambda: nn.GRU(4, 3, 2, rng=0), SEQUENCE),
    "RNN unrolled": (lambda: nn.RNN(4, 3, unroll=True, rng=0), SEQUENCE),
    "LSTM unrolled": (lambda: nn.LSTM(4, 3, unroll=True, rng=0), SEQUENCE),
    "GRU unrolled": (lambda: nn.GRU(4, 3, unroll=True, bidirectional=True, rng=0), SEQUENCE),
    "MultiplicativeRNN": (lambda: nn.MultiplicativeRNN(4, 3, rng=0), SEQUENCE),
    "RNNCell": (lambda: _cell(nn.RNNCell(4, 3, rng=0), 1), SEQUENCE),
    "LSTMCell": (lambda: _cell(nn.LSTMCell(4, 3, rng=0), 2), SEQUENCE),
    "GRUCell": (lambda: _cell(nn.GRUCell(4, 3, rng=0), 1), SEQUENCE),
    "Residual": (lambda: nn.Residual(nn.Linear(4, 4, rng=0)), ROWS),
    "ResidualBlock": (lambda: nn.ResidualBlock(4, 5, rng=0), ROWS),
    "ConvResidualBlock": (lambda: nn.ConvResidualBlock(3, 4, stride=2, rng=0), IMAGES),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1)), ROWS),
}


class _Stepped(nn.Module):
    """A cell stepped over a sequence by hand."""

    def __init__(self, cell: Any, states: int) -> None:
        self.cell, self.states = cell, states

    def forward(self, x: Any) -> Any:
        zero = tg.zeros((x.shape[1], 3), device=x.device)
        state: Any = zero if self.states == 1 else (zero, zero)
        for t, row in enumerate(x):
            with tg.step(t):
                state = self.cell(row, state)
        return state


def _cell(cell: Any, states: int) -> Any:
    return _Stepped(cell, states)


def on(device: str, value: np.ndarray) -> Any:
    return tg.tensor(value, device=device, requires_grad=value.dtype.kind == "f")


def loss_of(result: Any) -> Any:
    parts = (
        [result]
        if isinstance(result, tg.Tensor)
        else [t for r in result for t in (r if isinstance(r, tuple) else (r,))]
    )
    return sum((tg.sin(part) * part).sum() for part in parts)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_agrees_with_numpy_in_value_and_gradients(name: str, cuda: Any) -> None:
    make, value = LAYERS[name]
    found: dict[str, list[Any]] = {}
    for device in ("cpu", "cuda"):
        with tg.device(device):
            module = make()
        x = on(device, value)
        loss = loss_of(module(x))
        loss.backward()
        assert loss.device.startswith(device)
        parameters = dict(module.named_parameters())
        assert all(type(p.grad) is type(p.data) for p in parameters.values())
        found[device] = [loss, *[p.grad for p in parameters.values()], *([x.grad] if x.requires_grad else [])]
        found[device] += [v for _, v in sorted(module.state_dict().items())]
    for a, b in zip(found["cpu"], found["cuda"], strict=True):
        np.testing.assert_allclose(host(b), host(a), rtol=2e-5, atol=1e-6)


def test_every_public_layer_has_a_row() -> None:
    layers = {n for n in dir(nn) if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)}
    assert layers - {"Module", "EncoderDecoder"} <= {name.split()[0] for name in LAYERS}


def test_a_module_moves_and_its_state_comes_back_as_host_arrays(cuda: Any) -> None:
    with tg.device("cpu"):
        module = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Tanh())
    before = {k: host(v).copy() for k, v in module.state_dict().items()}
    module.to("cuda")
    assert {p.device for _, p in module.named_parameters()} == {"cuda:0"}
    module.load_state_dict({k: v + 1 for k, v in before.items()})
    assert {p.device for _, p in module.named_parameters()} == {"cuda:0"}
    module.to("cpu")
    for name, p in module.named_parameters():
        assert p.device == "cpu"
        np.testing.assert_allclose(p, before[name] + 1)
    assert copy.deepcopy(module)(on("cpu", ROWS)).shape == (6, 3)


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, l2=0.01),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, l1=0.001),
    "clipped": lambda p: optim.SGD(p, 0.1, clip_norm=0.5),
    "clipped by value": lambda p: optim.SGD(p, 0.1, clip_value=0.05),
    "RMSprop": lambda p: optim.RMSprop(p, 0.01),
    "Adam": lambda p: optim.Adam(p, 0.01, clip_norm=1.0, l2=0.01),
    "AdamW": lambda p: optim.AdamW(p, 0.01, decoupled_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_on_the_device_as_on_numpy(name: str, cuda: Any) -> None:
    ends, targets = {}, np.array([0, 1, 2, 0, 1, 2])
    for device in ("cpu", "cuda"):
        with tg.device(device):
            module = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 3, rng=1))
        optimizer = OPTIMIZERS[name](list(module.named_parameters()))
        losses = []
        for _ in range(8):
            loss = tg.cross_entropy(module(on(device, ROWS)), tg.tensor(targets, device=device))
            module.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        assert {p.device for _, p in module.named_parameters()} == {"cpu" if device == "cpu" else "cuda:0"}
        state = optimizer.state_dict()
        OPTIMIZERS[name](list(module.named_parameters())).load_state_dict(state)
        ends[device] = [losses, *[p for _, p in module.named_parameters()]]
    for a, b in zip(ends["cpu"], ends["cuda"], strict=True):
        np.testing.assert_allclose(host(b), host(a), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_a_step_of_a_character_model_stays_on_the_device(cell: str, cuda: Any) -> None:
    """Forward, backward, clipping and update of an embedding, a recurrent layer and a projection."""

    class Model(nn.Module):
        def __init__(self) -> None:
            self.embedding = nn.Embedding(11, 6, rng=0)
            self.core = getattr(nn, cell)(6, 8, rng=1)
            self.out = nn.Linear(8, 11, rng=2)

        def forward(self, x: Any, state: Any) -> Any:
            y, state = self.core(self.embedding(x), state)
            return self.out(y), state

    ends = {}
    for device in ("cpu", "cuda"):
        with tg.device(device):
            model = Model()
        optimizer, state, losses, counts = optim.Adam(list(model.named_parameters()), 0.02, clip_norm=1.0), None, [], []
        for i in range(4):
            text = np.random.default_rng(i).integers(0, 11, (7, 2))
            with counting() as seen:
                logits, state = model(text[:-1], state)
                loss = tg.cross_entropy(logits, text[1:])
                state = tg.truncate(state)
                model.zero_grad()
                loss.backward()
                optimizer.step()
            counts.append(seen)
            losses.append(loss.item())
        ends[device] = losses
        if device == "cuda" and cuda.__name__ == "cupy" and hasattr(cuda, "_host"):
            assert counts[-1]["to device"] <= 4, "only the text goes to the device"
            assert counts[-1]["to host"] <= 2, "only the norm of the gradient comes back"
    np.testing.assert_allclose(ends["cuda"], ends["cpu"], rtol=1e-4)


def test_per_step_gradients_on_the_device(cuda: Any) -> None:
    w = tg.tensor([[0.5, 0.1], [0.2, -0.3]], requires_grad=True, device="cuda", dtype="float64")
    h = tg.tensor([[1.0, -1.0]], device="cuda", dtype="float64")
    for t in range(4):
        with tg.step(t):
            h = tg.tanh(h @ w)
    loss = (h * h).sum()
    (steps,) = tg.diagnose.gradients_by_step(loss, [w])
    loss.backward()
    total = sum(host(g) for g in steps.values())
    np.testing.assert_allclose(total, host(w.grad), rtol=1e-12)


def test_checkpoint_on_the_device_is_bit_equal(cuda: Any) -> None:
    def f(x: Any, w: Any) -> Any:
        return tg.dropout(tg.tanh(x @ w), 0.3, rng=generator)

    found = []
    for use in (lambda *a: f(*a), lambda *a: tg.checkpoint(f, *a)):
        generator = np.random.default_rng(5)
        x, w = (tg.tensor(data(3, 3, seed=s), requires_grad=True, device="cuda") for s in (1, 2))
        unused = tg.tensor([1.0], requires_grad=True, device="cuda")
        (use(x, w).sum() + 0.0 * unused.sum()).backward()
        found.append([host(x.grad), host(w.grad)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_argument_that_a_checkpointed_segment_ignores_gets_zeros_on_its_device(cuda: Any) -> None:
    x, unused = (tg.tensor([1.0, 2.0], requires_grad=True, device="cuda") for _ in range(2))
    (tg.checkpoint(lambda a, b: a * a, x, unused).sum() + unused.sum()).backward()
    np.testing.assert_array_equal(unused.grad, [1.0, 1.0])
    assert type(unused.grad) is cuda.ndarray

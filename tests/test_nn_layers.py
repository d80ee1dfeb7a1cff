"""Layers: Sequential, affine maps, activations, dropout, normalisation; initial values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import nn
from tinygrad7.messages import ShapeError
from tinygrad7.nn import init

# ---- layers ------------------------------------------------------------------------------------------------------


def test_a_sequential_composes_slices_and_iterates() -> None:
    layers = [nn.Linear(2, 3, rng=0), tg.relu, nn.Linear(3, 1, rng=1)]
    net, x = nn.Sequential(*layers), tg.ones((4, 2))
    np.testing.assert_array_equal(net(x), layers[2](tg.relu(layers[0](x))))
    np.testing.assert_array_equal(net[:2](x), tg.relu(layers[0](x)))
    assert (
        list(net) == layers
        and net[-1] is layers[2]
        and list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    )
    with pytest.raises(TypeError, match="Sequential: layer 1 is a int, which cannot be called"):
        nn.Sequential(tg.relu, 3)


@given(st.lists(st.integers(1, 3), max_size=3), st.booleans())
def test_linear_maps_the_last_axis_of_any_shape(lead: list[int], bias: bool) -> None:
    layer = nn.Linear(3, 2, bias=bias, rng=0)
    x = np.random.default_rng(0).normal(size=(*lead, 3)).astype("float32")
    y = layer(tg.tensor(x))
    assert y.shape == (*lead, 2)
    wanted = x @ host(layer.weight).T + (host(layer.bias) if bias else 0)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


def test_linear_says_when_x_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"linear: the last axis of x \(4, 2\) must be 3, the inputs of W \(5, 3\)"):
        nn.Linear(3, 5, rng=0)(tg.ones((4, 2)))


def test_flatten() -> None:
    assert nn.Flatten()(tg.ones((2, 3, 4))).shape == (2, 12) and nn.Flatten(2)(tg.ones((2, 3, 4, 5))).shape == (
        2,
        3,
        20,
    )
    assert nn.Flatten()(tg.ones((0, 3, 4))).shape == (0, 12)


@pytest.mark.parametrize(
    ("layer", "op"), [(nn.ReLU, "relu"), (nn.Tanh, "tanh"), (nn.Sigmoid, "sigmoid"), (nn.GELU, "gelu")]
)
def test_activations_are_their_ops(layer: Any, op: str) -> None:
    x = tg.tensor([-1.0, 0.5, 2.0])
    np.testing.assert_array_equal(layer()(x), getattr(tg, op)(x))


def test_dropout_follows_the_mode_and_its_own_generator() -> None:
    layer, x = nn.Dropout(0.5, rng=3), tg.ones(100)
    first, second = host(layer(x)), host(layer(x))
    assert set(np.unique(first)) == {0, 2} and (first != second).any()
    np.testing.assert_array_equal(nn.Dropout(0.5, rng=3)(x), first)
    assert layer.eval()(x) is x
    classic = nn.Dropout(0.25, mode="classic", rng=0)
    assert set(np.unique(host(classic(x)))) == {0, 1} and host(classic.eval()(x))[0] == 0.75


@pytest.mark.parametrize("layer", [nn.Linear, nn.ResidualBlock])
def test_a_number_is_no_batch(layer: Any) -> None:
    for x in (3.0, 3):
        with pytest.raises(
            TypeError, match=rf"{layer.__name__}: an array is needed, not the number {x}; a batch of one"
        ):
            layer(4, 2, rng=0)(x)
    assert nn.ReLU()(3.0).item() == 3  # an activation works on anything


ALL = [
    nn.Linear(3, 3), nn.Embedding(3, 3), nn.Flatten(), nn.Dropout(), nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(),
    nn.Conv1d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.MaxPool2d(1), nn.AvgPool2d(1), nn.BatchNorm1d(3), nn.BatchNorm2d(3),
    nn.LayerNorm(3), nn.ResidualBlock(3), nn.ConvResidualBlock(3), nn.RNN(3, 3), nn.LSTM(3, 3), nn.GRU(3, 3),
    nn.MultiplicativeRNN(3, 3), nn.RNNCell(3, 3), nn.LSTMCell(3, 3), nn.GRUCell(3, 3),
]  # fmt: skip


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: type(layer).__name__)
def test_no_layer_takes_none_or_what_a_recurrent_layer_returns(layer: Any) -> None:
    kind = type(layer).__name__
    with pytest.raises(
        TypeError, match=f"^{kind}: an array is needed, not None; does the function that made it return"
    ):
        layer(None)
    for recurrent in (nn.LSTM(3, 3, rng=0), nn.RNN(3, 3, rng=0)):
        pair = recurrent(tg.ones((1, 2, 3)))
        with pytest.raises(
            TypeError, match=rf"^{kind}: one array is needed, not a tuple of 2, such as the \(y, state\)"
        ):
            layer(pair)
        with tg.no_grad():  # one step: y and h have one shape, and would be stacked
            with pytest.raises(TypeError, match=f"^{kind}: one array is needed"):
                layer(recurrent(tg.ones((1, 2, 3))))


def test_a_recurrent_layer_in_a_sequential() -> None:
    lstm, linear, x = nn.LSTM(3, 4, rng=0), nn.Linear(4, 2, rng=0), tg.ones((5, 1, 3))
    with pytest.raises(TypeError, match=r"^Linear: .* inside a Sequential put lambda output: output\[0\] between"):
        nn.Sequential(lstm, linear)(x)
    np.testing.assert_array_equal(nn.Sequential(lstm, lambda output: output[0], linear)(x), linear(lstm(x)[0]))
    with pytest.raises(TypeError, match="^Residual: one array is needed, not a tuple of 2"):
        nn.Residual(nn.LSTM(3, 3, rng=0))(x)


def test_layers_refuse_bad_settings_when_they_are_made() -> None:
    with pytest.raises(ValueError, match="Dropout: rho must be a number, 0 <= rho < 1, not 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="mode must be"):
        nn.Dropout(0.5, mode="plain")
    with pytest.raises(ValueError, match="approximate must be"):
        nn.GELU("exact")
    with pytest.raises(ValueError, match="Linear: in_features must be a whole number of at least 0, not -4"):
        nn.Linear(-4, 2)
    with pytest.raises(ValueError, match="Linear: out_features must be a whole number of at least 0, not 2.0"):
        nn.Linear(4, 2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Embedding: num_embeddings must be a whole number of at least 1, not 0"):
        nn.Embedding(0, 3)
    with pytest.raises(ValueError, match="BatchNorm1d: num_features must be a whole number of at least 1, not 0"):
        nn.BatchNorm1d(0)
    with pytest.raises(ValueError, match="ResidualBlock: hidden must be a whole number of at least 1, not 0"):
        nn.ResidualBlock(4, 0)
    with pytest.raises(ValueError, match="Conv2d: out_channels must be a whole number of at least 1, not True"):
        nn.Conv2d(1, True, 3)
    for size in ("ab", None, -1, (3, 0)):
        with pytest.raises(ValueError, match="LayerNorm: normalized_shape must be a whole number of at least 1, not "):
            nn.LayerNorm(size)
    assert nn.LayerNorm(np.int64(3)).shape == (3,)
    for value in (None, "0.5", -1, 2, float("nan")):
        with pytest.raises(ValueError, match="BatchNorm1d: momentum must be a number, 0 <= momentum <= 1, not "):
            nn.BatchNorm1d(3, momentum=value)  # type: ignore[arg-type]
    for make in (nn.BatchNorm2d, nn.LayerNorm):
        with pytest.raises(ValueError, match=f"{make.__name__}: eps must be a number, 0 <= eps < inf, not None"):
            make(3, eps=None)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_layer() -> None:
    makes = [
        lambda r: nn.Linear(3, 2, rng=r), lambda r: nn.Conv2d(2, 3, 3, rng=r), lambda r: nn.Embedding(4, 2, rng=r),
        lambda r: nn.ResidualBlock(3, rng=r), lambda r: nn.ConvResidualBlock(2, 3, rng=r),
    ]  # fmt: skip
    for make in makes:
        a, b, c = make(0).state_dict(), make(0).state_dict(), make(1).state_dict()
        assert all(np.array_equal(a[key], b[key]) for key in a) and any(not np.array_equal(a[key], c[key]) for key in a)
        tg.seed(5)
        d = make(None).state_dict()
        tg.seed(5)
        assert all(np.array_equal(value, make(None).state_dict()[key]) for key, value in list(d.items())[:1])


# ---- normalisation -----------------------------------------------------------------------------------------------


def test_batch_norm_normalises_over_the_batch_and_follows_it() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(50, 4)).astype("float32")
    layer = nn.BatchNorm1d(4, momentum=0.5)
    y = host(layer(tg.tensor(x)))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(layer.running_mean, 0.5 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, 0.5 + 0.5 * x.var(0, ddof=1), rtol=1e-5)
    before = layer.state_dict()
    wanted = (x - before["running_mean"]) / np.sqrt(before["running_var"] + 1e-5)
    np.testing.assert_allclose(layer.eval()(tg.tensor(x)), wanted, rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(value, layer.state_dict()[key]) for key, value in before.items())


def test_batch_norm_without_running_statistics_uses_the_batch_in_evaluation_too() -> None:
    x = tg.normal((9, 3), rng=0)
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    assert list(layer.state_dict()) == ["weight", "bias"]
    np.testing.assert_array_equal(layer(x), layer.eval()(x))


def test_norms_say_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match=r"BatchNorm1d: x must have shape \(N, 3\) or \(N, 3, L\), not \(2, 4\)"):
        nn.BatchNorm1d(3)(tg.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"BatchNorm2d: x must have shape \(N, 3, H, W\), not \(2, 3\)"):
        nn.BatchNorm2d(3)(tg.ones((2, 3)))
    with pytest.raises(
        ValueError,
        match=r"BatchNorm1d: one value a channel in x \(1, 3\) has no variance: train on more, or call .eval\(\)",
    ):
        nn.BatchNorm1d(3)(tg.ones((1, 3)))
    nn.BatchNorm1d(3).eval()(tg.ones((1, 3)))
    with pytest.raises(ShapeError, match=r"LayerNorm: the last axes of x must be \(4,\), x has shape \(2, 3\)"):
        nn.LayerNorm(4)(tg.ones((2, 3)))


def test_layer_norm_normalises_every_example() -> None:
    y = host(nn.LayerNorm(64)(tg.tensor(np.random.default_rng(0).normal(5, 3, (4, 64)).astype("float32"))))
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(-1), 1, atol=1e-4)
    assert (
        list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"] and not nn.LayerNorm(4, affine=False).state_dict()
    )


# ---- initial values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "std"),
    [
        (init.xavier_uniform, np.sqrt(2 / 500)),
        (init.xavier_normal, np.sqrt(2 / 500)),
        (init.kaiming_uniform, np.sqrt(2 / 300)),
        (init.kaiming_normal, np.sqrt(2 / 300)),
        (lambda shape, rng: init.fan_in_uniform(shape, 300, rng=rng), np.sqrt(1 / 900)),
        (init.normal, 1),
        (init.uniform, np.sqrt(1 / 12)),
    ],
)
def test_the_spread_of_initial_values(make: Any, std: float) -> None:
    w = make((200, 300), rng=0)
    assert w.dtype == np.float32 and w.shape == (200, 300)
    assert w.std() == pytest.approx(std, rel=0.02)
    np.testing.assert_array_equal(w, make((200, 300), rng=0))


def test_fans_count_the_window() -> None:
    assert init.fans((8, 3, 5, 5)) == (75, 200)
    assert init.kaiming_normal((200, 30, 5, 2), gain=2, rng=0).std() == pytest.approx(2 / np.sqrt(300), rel=0.02)
    with pytest.raises(ValueError, match=r"shape \(3,\) has no fan-in"):
        init.xavier_uniform((3,))


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3, 3)])
def test_orthogonal_keeps_lengths(shape: Any) -> None:
    with tg.default_dtype("float64"):
        w = init.orthogonal(shape, gain=2, rng=0).reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)
    with pytest.raises(ValueError, match="orthogonal: a shape of at least"):
        init.orthogonal((3,))


def test_gains_keep_the_variance_of_a_deep_net() -> None:
    x = np.random.default_rng(0).normal(size=(200, 256))
    for i in range(20):
        x = np.maximum(x @ init.kaiming_normal((256, 256), gain=init.gain("relu"), rng=i).T, 0)
    assert 0.3 < (x**2).mean() < 3
    assert init.gain("tanh") == 5 / 3 and init.gain("leaky_relu", 1.0) == 1
    with pytest.raises(ValueError, match="gain: 'swish' is not known"):
        init.gain("swish")


def test_the_forget_gate_starts_open() -> None:
    np.testing.assert_array_equal(init.forget_bias(2), [0, 0, 1, 1, 0, 0, 0, 0])

"""What the lecture says of residual blocks, and how they are built."""

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


def block(dim: int = 5, hidden: int | None = None, rng: int = 0, **keywords: Any) -> nn.ResidualBlock:
    with tg.default_dtype("float64"):
        return nn.ResidualBlock(dim, hidden, rng=rng, **keywords)


def jacobian_of_f(b: nn.ResidualBlock, x: np.ndarray) -> np.ndarray:
    """∂F/∂x = W2 diag(1 − tanh² z) W1, by hand."""
    w1, b1, w2 = host(b.W1), host(b.b1), host(b.W2)
    return w2 @ np.diag(1 - np.tanh(w1 @ x + b1) ** 2) @ w1


def test_the_formula() -> None:
    b, x = block(5, 7), np.random.default_rng(0).normal(size=(3, 5))
    z = x @ host(b.W1).T + host(b.b1)
    np.testing.assert_allclose(b(tg.tensor(x)), x + np.tanh(z) @ host(b.W2).T)
    assert [(name, p.shape) for name, p in b.named_parameters()] == [("W1", (7, 5)), ("b1", (7,)), ("W2", (5, 7))]


def test_blocks_whose_f_is_0_pass_x_straight_through() -> None:
    net = nn.Sequential(*[block(rng=i) for i in range(10)])
    for b in net:
        b.W2.assign(np.zeros((5, 5)))
    x = tg.tensor(np.random.default_rng(0).normal(size=(2, 5)), requires_grad=True)
    y = net(x)
    np.testing.assert_array_equal(y, x)
    g = np.random.default_rng(1).normal(size=(2, 5))
    y.backward(g)
    np.testing.assert_array_equal(x.grad, g)


@given(st.integers(0, 1000))
def test_the_cotangent_is_multiplied_by_the_identity_plus_the_jacobian_of_f(seed: int) -> None:
    rng = np.random.default_rng(seed)
    b, x, g = block(rng=seed), tg.tensor(rng.normal(size=5), requires_grad=True), rng.normal(size=5)
    b(x).backward(g)
    np.testing.assert_allclose(x.grad, g @ (np.eye(5) + jacobian_of_f(b, host(x))), rtol=1e-10, atol=1e-12)


def test_through_a_stack_it_is_the_product_layer_by_layer() -> None:
    blocks = [block(rng=i) for i in range(4)]
    x = tg.tensor(np.random.default_rng(0).normal(size=5), requires_grad=True)
    states, y = [host(x)], x
    for b in blocks:
        y = b(y)
        states.append(host(y))
    g = np.ones(5)
    y.backward(g)
    for b, state in zip(reversed(blocks), reversed(states[:-1]), strict=True):
        g = g + g @ jacobian_of_f(b, state)  # x̄(l) = x̄(l+1) + x̄(l+1) ∂F/∂x
    np.testing.assert_allclose(x.grad, g, rtol=1e-10)


def gradient_norm_at_the_input(net: Any) -> float:
    x = tg.tensor(np.random.default_rng(0).normal(size=(4, 16)), requires_grad=True)
    net(x).backward(np.ones((4, 16)))
    return float(np.linalg.norm(host(x.grad))) / 8  # relative to that at the output


def test_gradients_stay_where_the_jacobian_is_small_and_vanish_without_the_skip() -> None:
    small, plain = [], []
    with tg.default_dtype("float64"):
        for i in range(50):
            b = nn.ResidualBlock(16, rng=i)
            b.W2.assign(host(b.W2) * 0.05)
            small.append(b)
            plain.append(nn.Linear(16, 16, rng=i))
            plain.append(nn.Tanh())
    assert 0.5 < gradient_norm_at_the_input(nn.Sequential(*small)) < 2
    assert gradient_norm_at_the_input(nn.Sequential(*plain)) < 1e-6


def test_phi_may_be_any_function_or_module() -> None:
    x = np.ones((2, 3))
    b = block(3, phi=tg.relu)
    np.testing.assert_allclose(b(tg.tensor(x)), x + np.maximum(x @ host(b.W1).T, 0) @ host(b.W2).T)
    assert block(3, phi=nn.ReLU())(tg.tensor(x)).shape == (2, 3)
    assert b.detail == "ResidualBlock(3, φ = relu)  21"


def test_residual_adds_any_module_to_its_input() -> None:
    f = nn.Linear(3, 3, rng=0)
    x = tg.ones((2, 3))
    np.testing.assert_allclose(nn.Residual(f)(x), 1 + host(f(x)))
    p = nn.Linear(3, 2, rng=1)
    np.testing.assert_allclose(nn.Residual(nn.Linear(3, 2, rng=0), p)(x), host(p(x)) + host(nn.Linear(3, 2, rng=0)(x)))
    assert [name for name, _ in nn.Residual(f, p).named_parameters()] == [
        "f.weight",
        "f.bias",
        "shortcut.weight",
        "shortcut.bias",
    ]


def test_residual_says_when_shapes_differ() -> None:
    with pytest.raises(
        ShapeError, match=r"the skip has shape \(2, 3\), what the module computes \(2, 4\).*give a shortcut="
    ):
        nn.Residual(nn.Linear(3, 4))(tg.ones((2, 3)))


def test_a_block_says_when_x_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"the last axis of x \(2, 4\) must be 3, the inputs of W \(3, 3\)"):
        block(3)(tg.ones((2, 4)))


def test_the_convolutional_block_keeps_shapes_or_projects() -> None:
    x = tg.normal((2, 3, 7, 8), rng=0)
    same, other = nn.ConvResidualBlock(3, rng=0), nn.ConvResidualBlock(3, 6, 2, rng=0)
    assert same(x).shape == (2, 3, 7, 8) and same.projection is None
    assert other(x).shape == (2, 6, 4, 4) and other.projection is not None
    t = tg.tensor(x, requires_grad=True)
    other(t).sum().backward()
    assert all(p.grad is not None and np.isfinite(host(p.grad)).all() for p in [t, *other.parameters()])
    assert other.detail == "ConvResidualBlock(3 → 6)  540"


def test_the_convolutional_block_is_relu_of_the_skip_where_f_is_0() -> None:
    b = nn.ConvResidualBlock(3, rng=0)
    b.bn2.weight.assign(np.zeros(3))
    x = tg.normal((2, 3, 7, 8), rng=0)
    np.testing.assert_array_equal(b(x), np.maximum(host(x), 0))

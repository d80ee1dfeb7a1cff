"""Optimizers: PyTorch's numbers, closed forms, the lecture's algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import leaf
from tests.optimizing import MAKE, TORCH, give, network, numbers, one_step, rates, train, vectors
from tinygrad7.optim import (
    SGD,
    Adam,
    AdamW,
    Link,
    Optimizer,
    add_l2,
    chain,
    clip_by_norm,
    clip_by_value,
    flat,
    momentum,
    nesterov,
    scale,
    scale_by_adam,
    scale_by_rms,
)

# ---- PyTorch's numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MAKE)
def test_fifty_steps_are_pytorchs(key: str) -> None:
    with np.load(TORCH) as data:
        w, loss = network(data)
        losses = train(loss, MAKE[key](w.items()), 50)
        np.testing.assert_allclose(losses, data[f"{key}.losses"], rtol=1e-9)
        for name, value in w.items():
            np.testing.assert_allclose(value, data[f"{key}.{name}"], rtol=1e-9, atol=1e-12)


def test_every_configuration_is_compared() -> None:
    with np.load(TORCH) as data:
        assert {name.removesuffix(".losses") for name in data if name.endswith(".losses")} == set(MAKE)


@pytest.mark.parametrize("key", MAKE)
@pytest.mark.parametrize("chunk", [1, 7, 18])
def test_the_size_of_the_pieces_changes_nothing(key: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(TORCH) as data:
        w, loss = network(data)
        train(loss, MAKE[key](w.items()), 5)
        monkeypatch.setattr(flat, "CHUNK", chunk)
        v, loss = network(data)
        train(loss, MAKE[key](v.items()), 5)
    for name in w:
        np.testing.assert_allclose(v[name], w[name], rtol=1e-13)


# ---- closed forms ------------------------------------------------------------------------------------------------


@given(vectors, rates, numbers)
def test_gradient_descent(w: list[float], lr: float, g: float) -> None:
    np.testing.assert_allclose(one_step(lambda p: SGD(p, lr), w, g), np.array(w) - lr * g, rtol=1e-12, atol=1e-12)


@given(vectors, rates, numbers, st.floats(0, 0.5))
def test_the_lectures_algebra_l2_is_weight_decay_for_sgd(w: list[float], lr: float, g: float, lam: float) -> None:
    decayed = (1 - lr * lam) * np.array(w) - lr * g
    np.testing.assert_allclose(one_step(lambda p: SGD(p, lr, l2=lam), w, g), decayed, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        one_step(lambda p: SGD(p, lr, decoupled_decay=lam), w, g), decayed, rtol=1e-12, atol=1e-12
    )


def test_l2_is_not_weight_decay_for_adam() -> None:
    w, g, lr, lam = [2.0, -1.0], [0.5, 0.1], 0.1, 0.3
    l2 = one_step(lambda p: Adam(p, lr, l2=lam), w, g)
    decoupled = one_step(lambda p: Adam(p, lr, decoupled_decay=lam), w, g)
    assert np.abs(l2 - decoupled).max() > 0.01
    # In Adam's first step every element moves by α, whatever the size of its gradient: L2 leaves no other trace
    # than a sign, while decoupled decay shrinks every weight by its share.
    np.testing.assert_allclose(l2, np.array(w) - lr * np.sign(np.array(g) + lam * np.array(w)), rtol=1e-6)
    np.testing.assert_allclose(decoupled, (1 - lr * lam) * np.array(w) - lr * np.sign(g), rtol=1e-6)


@given(vectors, st.floats(0, 1), st.floats(0, 1))
def test_decoupled_decay_follows_the_current_learning_rate(w: list[float], first: float, second: float) -> None:
    parameter = leaf(w)
    optimizer = AdamW([parameter], [first, second].__getitem__, decoupled_decay=0.5)
    for _ in range(2):
        give(parameter, 0.0)
        optimizer.step()
    np.testing.assert_allclose(parameter, np.array(w) * (1 - first / 2) * (1 - second / 2), rtol=1e-12, atol=1e-300)


def test_l1() -> None:
    w = one_step(lambda p: SGD(p, 0.1, l1=0.5), [2.0, -3.0, 0.0], 0.0)
    np.testing.assert_allclose(w, [1.95, -2.95, 0.0])


def test_momentum_and_nesterov() -> None:
    for link, expected in ((momentum(0.5), [-1, -2.5]), (nesterov(0.5), [-1.5, -3.25])):
        parameter = leaf([0.0])
        optimizer = Optimizer([parameter], chain(link, scale(-1.0)))
        for target in expected:
            give(parameter, 1.0)
            optimizer.step()
            np.testing.assert_allclose(parameter, [target])


def test_rms_and_adam() -> None:
    np.testing.assert_allclose(
        one_step(lambda p: Optimizer(p, chain(scale_by_rms(0.75, 0.5))), [0.0], 2.0), [2 / (1 + 0.5)]
    )
    np.testing.assert_allclose(one_step(lambda p: Optimizer(p, chain(scale_by_adam(eps=1.0))), [0.0], 3.0), [3 / 4])


def test_links_apply_in_order() -> None:
    clipped_first = one_step(lambda p: Optimizer(p, chain(clip_by_value(1.0), scale(-3.0))), [0.0], 5.0)
    scaled_first = one_step(lambda p: Optimizer(p, chain(scale(-3.0), clip_by_value(1.0))), [0.0], 5.0)
    assert (clipped_first, scaled_first) == (-3.0, -1.0)
    l2_first = one_step(lambda p: Optimizer(p, chain(add_l2(1.0), clip_by_norm(1.0), scale(-1.0))), [4.0], 5.0)
    clip_first = one_step(lambda p: Optimizer(p, chain(clip_by_norm(1.0), add_l2(1.0), scale(-1.0))), [4.0], 5.0)
    assert (l2_first, clip_first) == (3.0, -1.0)


def test_a_clip_sees_what_stands_before_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "CHUNK", 2)
    w, g = np.arange(5.0), np.array([3.0, -1.0, 2.0, 0.0, 1.0])
    changed = one_step(lambda p: Optimizer(p, chain(add_l2(0.5), clip_by_norm(1.0), scale(-1.0))), w, g)
    np.testing.assert_allclose(changed, w - (g + w / 2) / np.linalg.norm(g + w / 2), rtol=1e-12)


def test_chains_in_chains_are_spliced() -> None:
    assert repr(chain(chain(clip_by_norm(5.0), add_l2(0.1)), scale(-1.0))) == (
        "chain(clip_by_norm(5.0), add_l2(0.1), scale(-1.0))"
    )


def test_your_own_link() -> None:
    class sign_of(Link):
        keeps = ("seen",)

        def update(self, u: Any, w: Any, now: Any, seen: Any) -> Any:
            seen += 1
            return now.xp.sign(u, out=now.out)

    parameter = leaf([0.0, 0.0], "w")
    optimizer = Optimizer([parameter], chain(sign_of(), scale(-0.5)))
    give(parameter, [7.0, -3.0])
    optimizer.step()
    np.testing.assert_allclose(parameter, [-0.5, 0.5])
    np.testing.assert_allclose(optimizer.state_dict()["w.seen"], [1, 1])


def test_readymade_chains() -> None:
    p = leaf(np.ones((2, 2)))
    adam = Adam([p], 0.1, clip_norm=5.0, clip_value=1.0, l2=0.1, l1=0.2, decoupled_decay=0.3, decay_biases=False)
    assert repr(adam.groups[0].chain) == (
        "chain(clip_by_norm(5.0), clip_by_value(1.0), add_l2(0.1, biases=False), add_l1(0.2, biases=False), "
        "scale_by_adam(), decoupled_decay(0.3, biases=False), scale(-0.1))"
    )
    assert repr(AdamW([p]).groups[0].chain) == "chain(scale_by_adam(), decoupled_decay(0.01), scale(-0.001))"
    assert (
        repr(SGD([p], 0.1, momentum=0.9, nesterov=True))
        == "SGD(\n  1 parameters, 4 numbers: chain(nesterov(0.9), scale(-0.1))\n)"
    )


class Naive:
    """Adam with everything, parameter by parameter, as the formulas say it."""

    def __init__(self, values: list[np.ndarray]) -> None:
        self.w = [v.copy() for v in values]
        self.m, self.v = [0 * w for w in self.w], [0 * w for w in self.w]
        self.t = [0 for _ in self.w]

    def step(self, gradients: list[np.ndarray | None], lr: float, eta: float, l2: float, decay: float) -> float:
        norm = float(np.sqrt(sum((g**2).sum() for g in gradients if g is not None)))
        for i, g in enumerate(gradients):
            if g is None:
                continue
            w = self.w[i]
            g = g * (eta / norm if norm > eta else 1.0)
            if w.ndim >= 2:
                g = g + l2 * w
            self.t[i] += 1
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.99 * self.v[i] + 0.01 * g**2
            m, v = self.m[i] / (1 - 0.9 ** self.t[i]), self.v[i] / (1 - 0.99 ** self.t[i])
            shrunk = (1 - lr * decay) * w if w.ndim >= 2 else w
            self.w[i] = shrunk - lr * m / (np.sqrt(v) + 1e-3)
        return norm


shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=6)


@given(shapes, st.integers(1, 40), st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=12, max_size=12))
def test_flat_passes_do_what_the_formulas_say(sizes: Any, chunk: int, seed: int, present: list[bool]) -> None:
    """Any shapes, any size of pieces, gradients missing here and there, values assigned in between."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=shape) for shape in sizes]
    params, naive = [leaf(v) for v in values], Naive(values)
    options = dict(betas=(0.9, 0.99), eps=1e-3, clip_norm=1.5, l2=0.1, decoupled_decay=0.2, decay_biases=False)
    whole, flat.CHUNK = flat.CHUNK, chunk
    try:
        optimizer = Adam(params, 0.05, **options)
        for k in range(4):
            gradients = [rng.normal(size=s) if present[(i + 5 * k) % 12] else None for i, s in enumerate(sizes)]
            for p, g in zip(params, gradients, strict=True):
                p.grad = None
                if g is not None:
                    give(p, g)
            assert optimizer.step() == pytest.approx(naive.step(gradients, 0.05, 1.5, 0.1, 0.2), rel=1e-12)
            for p, w in zip(params, naive.w, strict=True):
                np.testing.assert_allclose(p, w, rtol=1e-9, atol=1e-12)
            naive.w[0] = naive.w[0] + 1.0
            params[0].assign(naive.w[0])
    finally:
        flat.CHUNK = whole

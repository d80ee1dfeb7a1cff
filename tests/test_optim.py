"""Optimizers: closed forms, PyTorch's numbers, the lecture's algebra, flat buffers, state, errors."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.optim import (
    SGD,
    Adam,
    AdamW,
    Chain,
    Link,
    Optimizer,
    RMSprop,
    add_l1,
    add_l2,
    chain,
    clip_by_norm,
    clip_by_value,
    constant,
    cosine,
    decoupled_decay,
    flat,
    momentum,
    nesterov,
    scale,
    scale_by_adam,
    scale_by_rms,
    step_decay,
    warmup,
)

TORCH = Path(__file__).parent / "data" / "torch_optim.npz"


def leaf(value: Any, name: str | None = None, dtype: Any = np.float64) -> Any:
    return tg.tensor(np.asarray(value, dtype), requires_grad=True, name=name)


def give(parameter: Any, gradient: Any) -> None:
    parameter.grad = tg.tensor(np.broadcast_to(np.asarray(gradient, parameter.dtype), parameter.shape))


def one_step(make: Any, w: Any, g: Any, dtype: Any = np.float64) -> np.ndarray:
    """``w`` after one step of ``make([w])`` with gradient ``g``."""
    parameter = leaf(w, dtype=dtype)
    give(parameter, g)
    make([parameter]).step()
    return parameter.numpy()


# ---- PyTorch's numbers -------------------------------------------------------------------------------------------

MAKE = {
    "sgd": lambda p: SGD(p, 0.02),
    "sgd_momentum": lambda p: SGD(p, 0.01, momentum=0.9),
    "sgd_nesterov_l2": lambda p: SGD(p, 0.01, momentum=0.8, nesterov=True, l2=0.1),
    "rmsprop": lambda p: RMSprop(p, 0.01, beta=0.95, eps=1e-6),
    "rmsprop_momentum_l2": lambda p: RMSprop(p, 0.003, momentum=0.9, l2=0.05),
    "adam": lambda p: Adam(p, 0.02),
    "adam_l2": lambda p: Adam(p, 0.02, betas=(0.8, 0.99), eps=1e-6, l2=0.1),
    "adamw": lambda p: AdamW(p, 0.02, decoupled_decay=0.1),
    "sgd_clip_norm": lambda p: SGD(p, 0.1, momentum=0.5, clip_norm=1.0),
    "adam_clip_value": lambda p: Adam(p, 0.02, clip_value=0.05),
}


def network(data: Any) -> tuple[dict[str, Any], Any]:
    w = {name: leaf(data[f"start.{name}"], name) for name in ("W1", "b1", "W2", "b2")}
    x, target = tg.tensor(data["x"]), tg.tensor(data["target"])

    def loss() -> Any:
        error = tg.tanh(x @ w["W1"] + w["b1"]) @ w["W2"] + w["b2"] - target
        return (error * error).sum()

    return w, loss


def train(loss: Any, optimizer: Any, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        j = loss()
        j.backward()
        optimizer.step()
        losses.append(j.item())
    return losses


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

numbers = st.floats(-10, 10, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
vectors = st.lists(numbers, min_size=1, max_size=5)
rates = st.floats(1e-3, 1.0)


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


# ---- clipping ----------------------------------------------------------------------------------------------------


@given(st.lists(vectors, min_size=1, max_size=4), st.floats(1e-3, 100))
def test_clipping_scales_exactly_when_the_norm_is_greater(gradients: list[list[float]], eta: float) -> None:
    params = [leaf(np.zeros(len(g))) for g in gradients]
    for p, g in zip(params, gradients, strict=True):
        give(p, g)
    optimizer = Optimizer(params, chain(clip_by_norm(eta)))
    norm = float(np.linalg.norm(np.concatenate(gradients)))
    assert optimizer.step() == optimizer.grad_norm == pytest.approx(norm, rel=1e-12)
    for p, g in zip(params, gradients, strict=True):
        if norm > eta * (1 + 1e-12):
            np.testing.assert_allclose(p, np.array(g) * (eta / norm), rtol=1e-12)
        elif norm < eta * (1 - 1e-12):
            np.testing.assert_array_equal(p, g)


def test_a_norm_that_equals_the_threshold_is_left_alone() -> None:
    np.testing.assert_array_equal(
        one_step(lambda p: Optimizer(p, chain(clip_by_norm(5.0))), [0.0, 0.0], [3.0, 4.0]), [3, 4]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", ["tiny", "huge"])
def test_the_norm_neither_overflows_nor_underflows(dtype: Any, size: str) -> None:
    info = np.finfo(dtype)
    unit = float(info.smallest_normal) * 4 if size == "tiny" else float(info.max) / 8
    p = leaf([0.0, 0.0], dtype=dtype)
    give(p, np.array([3 * unit, 4 * unit], dtype))
    optimizer = Optimizer([p], chain(clip_by_norm(unit), scale(1.0)))
    assert optimizer.step() == pytest.approx(5 * unit, rel=1e-6)
    np.testing.assert_allclose(p, np.array([0.6 * unit, 0.8 * unit], dtype), rtol=1e-6)


def test_the_norm_of_float16_gradients_is_not_a_float16_number() -> None:
    p = leaf(np.zeros(4), dtype=np.float16)
    for size in (60000.0, 0.00123):
        give(p, size)
        p.assign(np.zeros(4))
        assert Optimizer([p], chain(clip_by_norm(size))).step() == pytest.approx(2 * size, rel=1e-3)
        np.testing.assert_allclose(p, size / 2, rtol=1e-3)


def test_zero_gradients_have_norm_zero() -> None:
    p = leaf([1.0, 2.0])
    give(p, 0.0)
    assert SGD([p], 0.1, clip_norm=1.0).step() == 0.0
    np.testing.assert_array_equal(p, [1.0, 2.0])


def test_one_norm_over_all_groups_and_dtypes() -> None:
    a, b, c = leaf([0.0]), leaf([0.0], dtype=np.float32), leaf([0.0])
    for p, g in ((a, 2.0), (b, 3.0), (c, 6.0)):
        give(p, g)
    optimizer = SGD([{"params": [a, b]}, {"params": [c], "lr": 2.0}], 1.0, clip_norm=1.0)
    assert optimizer.step() == pytest.approx(7.0)
    np.testing.assert_allclose([a.item(), b.item(), c.item()], [-2 / 7, -3 / 7, -12 / 7], rtol=1e-6)


def test_separate_clips_measure_separate_groups() -> None:
    a, b = leaf([0.0]), leaf([0.0])
    give(a, 4.0), give(b, 4.0)
    groups = [{"params": [a], "chain": chain(clip_by_norm(1.0))}, {"params": [b], "chain": chain(clip_by_norm(3.0))}]
    Optimizer(groups).step()
    assert (a.item(), b.item()) == (1.0, 3.0)


def test_no_norm_without_clipping() -> None:
    p = leaf([1.0])
    give(p, 1.0)
    optimizer = SGD([p], 0.1)
    assert optimizer.step() is None and optimizer.grad_norm is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("size", [2, 50])
def test_a_norm_that_is_not_finite_names_the_parameter_and_changes_nothing(
    bad: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "CHUNK", 16)
    params = {name: leaf(np.ones((size, 2)), name) for name in ("rnn.weight_ih", "rnn.weight_hh", "head.bias")}
    for p in params.values():
        give(p, 1.0)
    gradient = np.ones((size, 2))
    gradient[1, 1] = bad
    give(params["rnn.weight_hh"], gradient)
    optimizer = Adam(params.items(), clip_norm=1.0)
    counted = "1 nan and 0 inf" if math.isnan(bad) else "0 nan and 1 inf"
    with pytest.raises(FloatingPointError, match=rf"'rnn.weight_hh' \({size}, 2\) has {counted}.*detect_anomaly"):
        optimizer.step()
    for p in params.values():
        np.testing.assert_array_equal(p, np.ones((size, 2)))
    assert optimizer.steps == 0 and not any(np.any(v) for k, v in optimizer.state_dict().items() if "adam" in k)


def test_a_norm_beyond_floats_of_finite_gradients_is_told_as_such() -> None:
    p = leaf(np.zeros(4))
    give(p, 1.7e308)
    with pytest.raises(FloatingPointError, match="norm of the gradient is inf, beyond what a Python float holds"):
        Optimizer([p], chain(clip_by_norm(1.0))).step()


def test_a_step_with_a_norm_that_is_not_finite_can_be_skipped() -> None:
    p = leaf([1.0, 2.0], "p")
    optimizer = Optimizer([p], chain(clip_by_norm(1.0, nonfinite="skip"), scale_by_adam(), scale(-0.1)))
    give(p, [math.inf, 1.0])
    assert optimizer.step() == math.inf
    np.testing.assert_array_equal(p, [1.0, 2.0])
    assert (optimizer.steps, optimizer.state_dict()["counts"].tolist()) == (1, [0])
    give(p, [3.0, 4.0])
    assert optimizer.step() == pytest.approx(5.0)
    np.testing.assert_allclose(p, [0.9, 1.9], rtol=1e-6)


# ---- which parameters --------------------------------------------------------------------------------------------


def test_a_parameter_without_gradient_is_skipped() -> None:
    a, b = leaf([1.0], "a"), leaf([1.0], "b")
    optimizer = Adam([a, b], 0.1, l2=0.1, decoupled_decay=0.1)
    alone = leaf([1.0], "b")
    reference = Adam([alone], 0.1, l2=0.1, decoupled_decay=0.1)
    for gradients in ((1.0, None), (1.0, 2.0), (None, 1.0), (None, None), (1.0, 1.0)):
        a.grad = b.grad = alone.grad = None
        before = b.numpy().copy()
        if gradients[0] is not None:
            give(a, gradients[0])
        if gradients[1] is not None:
            give(b, gradients[1])
            give(alone, gradients[1])
        optimizer.step()
        if gradients[1] is not None:
            reference.step()  # b's history is that of its own updates only
        np.testing.assert_array_equal(b, alone)
        if gradients[1] is None:
            np.testing.assert_array_equal(b, before)
    assert optimizer.state_dict()["counts"].tolist() == [3, 3]


def test_biases_and_norms_can_be_left_out_of_decay() -> None:
    for options in (dict(l2=0.5), dict(l1=0.5), dict(decoupled_decay=0.5)):
        for everything in (True, False):
            weight, bias = leaf(np.ones((2, 2))), leaf(np.ones(2))
            give(weight, 0.0), give(bias, 0.0)
            SGD([weight, bias], 0.1, decay_biases=everything, **options).step()
            np.testing.assert_allclose(weight, 0.95 * np.ones((2, 2)))
            np.testing.assert_allclose(bias, np.ones(2) * (0.95 if everything else 1.0))


def test_groups_have_options_of_their_own() -> None:
    a, b = leaf([1.0], "a"), leaf([1.0], "b")
    optimizer = SGD([{"params": [a]}, {"params": [("second", b)], "lr": 0.5, "l2": 1.0, "momentum": 0.9}], 0.1)
    give(a, 1.0), give(b, 1.0)
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.9, 0.0])
    assert [group.names for group in optimizer.groups] == [["a"], ["second"]]
    assert [group.lr for group in optimizer.groups] == [0.1, 0.5]
    optimizer.lr = 0.2
    assert [group.lr for group in optimizer.groups] == [0.2, 0.2]


def test_setting_a_rate_does_not_reach_into_another_optimizer() -> None:
    rules = chain(scale(-0.1))
    a, b = Optimizer([leaf([1.0])], rules), Optimizer([leaf([1.0])], rules)
    a.lr = 0.7
    assert (a.lr, b.lr, repr(rules)) == (0.7, 0.1, "chain(scale(-0.1))")


def test_parameters_may_come_as_pairs_dict_or_generator() -> None:
    for params in ({"w": leaf([1.0])}, [("w", leaf([1.0]))], (pair for pair in [("w", leaf([1.0]))])):
        assert SGD(params, 0.1).groups[0].names == ["w"]
    assert SGD((leaf([1.0], name) for name in ("u", "v")), 0.1).groups[0].names == ["u", "v"]


def test_names_are_made_unique() -> None:
    a, b, c = leaf([1.0], "w"), leaf([1.0], "w"), leaf([1.0])
    assert len(set(SGD([a, b, c], 0.1).groups[0].names)) == 3


# ---- the flat buffer ---------------------------------------------------------------------------------------------


def test_parameters_are_views_of_one_array_and_keep_their_values() -> None:
    values = [np.arange(6.0).reshape(2, 3), np.array(7.0), np.zeros((0, 3)), np.ones(4)]
    params = [leaf(v) for v in values]
    optimizer = SGD(params, 0.1)
    for p, v in zip(params, values, strict=True):
        np.testing.assert_array_equal(p, v)
        assert p.shape == v.shape and p._node.data is p._data
    (block,) = optimizer.groups[0].blocks
    block.values[...] = 5.0
    for p in params:
        np.testing.assert_array_equal(p, np.full(p.shape, 5.0))


def test_mixed_dtypes_get_a_block_each() -> None:
    a, b = leaf(np.ones(3)), leaf(np.ones(3), dtype=np.float32)
    optimizer = Adam([a, b], 0.1)
    assert len(optimizer.groups[0].blocks) == 2
    give(a, 1.0), give(b, 1.0)
    optimizer.step()
    assert (a.dtype, b.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_assign_writes_into_what_the_optimizer_steps_from() -> None:
    p = leaf([1.0, 2.0])
    optimizer = SGD([p], 0.1)
    p.assign([5.0, 6.0])
    give(p, 10.0)
    optimizer.step()
    np.testing.assert_allclose(p, [4.0, 5.0])


def test_two_optimizers_may_take_turns_on_one_parameter() -> None:
    p = leaf([0.0, 0.0])
    give(p, 1.0)
    first, second = SGD([p], 1.0, momentum=0.5), SGD([p], 10.0)
    for optimizer in (first, second, first, second):
        optimizer.step()
    np.testing.assert_allclose(p, [-1.0 - 10.0 - 1.5 - 10.0] * 2)


def test_a_deep_copy_is_independent() -> None:
    p = leaf([1.0])
    optimizer = SGD([p], 0.1, momentum=0.9)
    q = copy.deepcopy(p)
    for parameter in (p, q):
        give(parameter, 1.0)
    optimizer.step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 1.0])
    SGD([q], 0.5).step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 0.5])


def test_a_parameter_and_its_optimizer_copied_together_stay_together() -> None:
    p = leaf([1.0])
    give(p, 1.0)
    original = Adam([p], 0.1)
    original.step()
    held = {"p": p, "optimizer": original}
    copied = copy.deepcopy(held)
    assert copied["optimizer"].params[0] is copied["p"]
    for which in (held, copied):
        give(which["p"], 1.0)
        which["optimizer"].step()
    np.testing.assert_array_equal(copied["p"], p)
    assert not np.shares_memory(copied["p"].numpy(), p.numpy())


def test_a_parameter_that_changed_dtype_takes_its_history_along() -> None:
    p, q = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    moved, plain = Adam([p], 0.1), Adam([q], 0.1)
    for _ in range(2):
        give(p, [1.0, -3.0]), give(q, [1.0, -3.0])
        moved.step(), plain.step()
        p._data = p._node.data = p._data.astype(np.float32)
    assert p.dtype == np.float32 and moved.state_dict()["counts"].tolist() == [2]
    np.testing.assert_allclose(p, q, rtol=1e-6)


def test_a_module_may_change_its_dtype_under_an_optimizer() -> None:
    layer = tg.nn.Linear(3, 2, rng=np.random.default_rng(0))
    optimizer = SGD(layer.named_parameters(), 1.0, momentum=0.5)
    expected = {name: p.numpy().astype(np.float64) for name, p in layer.named_parameters()}
    for moved in (1.0, 1.5):
        for name, p in layer.named_parameters():
            give(p, 1.0)
            expected[name] -= moved
        optimizer.step()
        layer.to(dtype="float64")
    assert all(p.dtype == np.float64 for p in optimizer.params)
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(p, expected[name], rtol=1e-6)


def test_a_graph_recorded_before_the_step_refuses_to_run_backward_after_it() -> None:
    w = leaf([2.0, 3.0], "w")
    optimizer = SGD([w], 0.1)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="'w', which an optimizer step has changed"):
        loss.backward()


def test_gradients_are_read_not_changed() -> None:
    p, q = leaf([1.0, 2.0]), leaf([1.0])
    give(p, 3.0), give(q, 3.0)
    Adam([p, q], 0.1, clip_norm=0.1, l2=0.5).step()
    np.testing.assert_array_equal(p.grad, [3.0, 3.0])


def test_a_gradient_in_another_memory_order() -> None:
    p = leaf(np.zeros((2, 3)))
    gradient = np.arange(6.0).reshape(3, 2).T
    p.grad = tg.tensor(np.zeros((3, 2)))._data.T
    p.grad[...] = tg.tensor(gradient)._data
    SGD([p], 1.0).step()
    np.testing.assert_array_equal(p, -gradient)


def test_zero_grad() -> None:
    p = leaf([1.0])
    give(p, 1.0)
    SGD([p], 1.0).zero_grad()
    assert p.grad is None


# ---- schedules ---------------------------------------------------------------------------------------------------


def test_schedules() -> None:
    assert [constant(0.5)(t) for t in (0, 9)] == [0.5, 0.5]
    assert [step_decay(1.0, 10, 0.5)(t) for t in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]
    np.testing.assert_allclose([cosine(2.0, 10, 1.0)(t) for t in (0, 5, 10, 99)], [2, 1.5, 1, 1])
    np.testing.assert_allclose([warmup(1.0, 4)(t) for t in (0, 1, 3, 4, 9)], [0.25, 0.5, 1, 1, 1])
    np.testing.assert_allclose([warmup(step_decay(1.0, 2, 0.1), 2)(t) for t in range(5)], [0.5, 1, 1, 1, 0.1])
    assert (-constant(2.0))(0) == -2.0 and (3 * constant(2.0))(0) == 6.0
    assert repr(-warmup(cosine(0.1, 5), 2)) == "-1 * warmup(cosine(0.1, 5, 0), 2)"


def test_an_optimizer_follows_its_schedule() -> None:
    for schedule in (step_decay(1.0, 1, 0.5), lambda t: 0.5**t):
        p = leaf([0.0])
        optimizer = SGD([p], schedule)
        for _ in range(3):
            give(p, 1.0)
            optimizer.step()
        np.testing.assert_allclose(p, [-1.75])
        assert optimizer.lr(3) == 0.125


# ---- state -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MAKE)
def test_a_resumed_run_is_the_same_bit_for_bit(key: str, tmp_path: Path) -> None:
    with np.load(TORCH) as data:
        w, loss = network(data)
        optimizer = MAKE[key](w.items())
        train(loss, optimizer, 7)
        w["b1"].grad = None
        optimizer.step()  # uneven counts
        np.savez(tmp_path / "state.npz", **{f"w/{k}": v.numpy() for k, v in w.items()}, **optimizer.state_dict())
        train(loss, optimizer, 7)

        v, loss = network(data)
        resumed = MAKE[key](v.items())
        with np.load(tmp_path / "state.npz", allow_pickle=False) as kept:
            for name, value in v.items():
                value.assign(kept[f"w/{name}"])
            resumed.load_state_dict({k: kept[k] for k in kept.files if not k.startswith("w/")})
        train(loss, resumed, 7)
    for name in w:
        np.testing.assert_array_equal(v[name], w[name])
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], value)


def test_state_is_a_copy() -> None:
    p = leaf([1.0], "p")
    optimizer = SGD([p], 0.1, momentum=0.9)
    give(p, 1.0)
    optimizer.step()
    state = optimizer.state_dict()
    optimizer.step()
    assert state["p.momentum"] == 1.0 and state["steps"] == 1


def test_state_holds_a_rate_that_was_set_and_no_schedule() -> None:
    optimizer, other = SGD([leaf([1.0])], 0.1), SGD([leaf([1.0])], 0.1)
    optimizer.lr = 0.025
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == 0.025
    assert "lr.0" not in SGD([leaf([1.0])], constant(0.1)).state_dict()


def test_two_links_of_a_kind_keep_apart() -> None:
    optimizer = Optimizer([leaf([1.0], "p")], chain(momentum(0.5), momentum(0.9), scale(-1.0)))
    assert {"p.momentum_0", "p.momentum_1"} < set(optimizer.state_dict())


def test_state_that_does_not_fit_is_refused() -> None:
    p = leaf([1.0, 2.0], "p")
    state = Adam([p]).state_dict()
    with pytest.raises(KeyError, match=r"missing \['p.momentum'\], unknown \['p.adam_m', 'p.adam_v'\]"):
        SGD([p], 0.1, momentum=0.9).load_state_dict(state)
    with pytest.raises(ValueError, match=r"'p.adam_m' has shape \(2,\), expected \(3,\)"):
        Adam([leaf([1.0, 2.0, 3.0], "p")]).load_state_dict(state)


# ---- errors ------------------------------------------------------------------------------------------------------


def test_errors_of_parameters() -> None:
    p = leaf([1.0], "p")
    with pytest.raises(ValueError, match="'p' is given twice"):
        SGD([p, p], 0.1)
    with pytest.raises(ValueError, match="'p' is given twice"):
        SGD([{"params": [p]}, {"params": [p]}], 0.1)
    with pytest.raises(ValueError, match="no parameters"):
        SGD([], 0.1)
    with pytest.raises(TypeError, match=r"got a Tensor; of a module pass module.parameters\(\)"):
        SGD(p, 0.1)
    with pytest.raises(TypeError, match=r"module.parameters\(\)"):
        SGD(tg.nn.Linear(2, 2), 0.1)
    with pytest.raises(TypeError, match="parameter 0 is a ndarray, not a tensor"):
        SGD([np.ones(2)], 0.1)
    with pytest.raises(TypeError, match=r"of shape \(1,\) is a constant: make it with requires_grad=True"):
        SGD([tg.tensor([1.0])], 0.1)
    with pytest.raises(TypeError, match="is a recorded result; optimizers change leaves only"):
        SGD([p * 2], 0.1)
    with pytest.raises(TypeError, match="groups must all be dicts"):
        SGD([{"params": [p]}, leaf([1.0])], 0.1)
    with pytest.raises(TypeError, match="unknown option 'learning_rate'"):
        SGD([{"params": [p], "learning_rate": 1.0}], 0.1)


def test_errors_of_chains() -> None:
    with pytest.raises(TypeError, match=r"chain: 0\.1 is no link"):
        chain(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a chain of links is needed"):
        Optimizer([leaf([1.0])], None)
    for later in (scale_by_adam(), momentum(0.9), clip_by_norm(1.0)):
        with pytest.raises(ValueError, match=f"before {type(later).__name__}.*move decoupled_decay"):
            chain(decoupled_decay(0.1), later, scale(-0.1))
    with pytest.raises(AttributeError, match=r"no scale\(-lr\) link"):
        Optimizer([leaf([1.0])], chain(momentum(0.9))).lr
    with pytest.raises(NotImplementedError):
        one_step(lambda p: Optimizer(p, Chain([Link()])), [1.0], 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clip_by_norm(0.0), r"clip_by_norm: eta must lie in \(0, inf\), got 0"),
        (lambda: clip_by_norm(1.0, nonfinite="pass"), "nonfinite must be 'raise' or 'skip', got 'pass'"),
        (lambda: clip_by_value(-1.0), r"clip_by_value: eta must lie in \(0, inf\), got -1"),
        (lambda: add_l2(-0.1), r"add_l2: lam must lie in \[0, inf\), got -0.1"),
        (lambda: add_l1(-0.1), "add_l1: lam"),
        (lambda: decoupled_decay(math.nan), "decoupled_decay: lam .* got nan"),
        (lambda: momentum(1.0), r"momentum: mu must lie in \[0, 1\), got 1"),
        (lambda: nesterov(-0.5), "nesterov: mu"),
        (lambda: scale_by_rms(1.5), r"scale_by_rms: beta must lie in \[0, 1\)"),
        (lambda: scale_by_adam(beta2=1.0), "scale_by_adam: beta2"),
        (lambda: scale_by_adam(eps=-1.0), "scale_by_adam: eps"),
        (lambda: scale(math.inf), "scale: the factor must be a finite number or a schedule, got inf"),
        (lambda: SGD([leaf([1.0])], -0.1), r"SGD: lr must lie in \[0, inf\), got -0.1"),
        (lambda: SGD([leaf([1.0])], 0.1, nesterov=True), "nesterov=True needs momentum="),
        (lambda: step_decay(1.0, 0), "step_decay: every must be at least 1"),
        (lambda: cosine(1.0, 0), "cosine: steps must be at least 1"),
        (lambda: warmup(1.0, 0), "warmup: steps must be at least 1"),
    ],
)
def test_errors_of_numbers(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="mu must be a number or a schedule, got 'big'"):
        momentum("big")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.1", True])
def test_a_rate_that_is_set_is_checked_as_one_that_is_given(value: Any) -> None:
    optimizer = SGD([leaf([1.0])], 0.5)
    with pytest.raises((TypeError, ValueError), match="lr: the rate must|the factor must be a finite number"):
        optimizer.lr = value
    assert optimizer.lr == 0.5


def test_host_values_of_state() -> None:
    """The state is NumPy arrays and numbers, whatever the device."""
    p = leaf([1.0], "p")
    give(p, 1.0)
    optimizer = Adam([p], 0.1)
    optimizer.step()
    assert all(isinstance(v, np.ndarray | int | float) for v in optimizer.state_dict().values())
    assert host(p) is not None

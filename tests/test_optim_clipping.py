"""Clipping: exactly when, over which gradients, and norms that are no numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import leaf
from tests.optimizing import give, one_step, vectors
from tinygrad7.optim import (
    SGD,
    Adam,
    Optimizer,
    chain,
    clip_by_norm,
    flat,
    scale,
    scale_by_adam,
)


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

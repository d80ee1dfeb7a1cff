"""float16: what is summed or squared on the way passes 65,504 long before the result does, so it is done in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host, leaf, placed
from tinygrad7.ops.layers import _normalise, _normalise_composed

FAR = [300.0, -400.0, 50.0, 1000.0]  # their squares do not fit


def both(f: Any, value: Any) -> tuple[Any, Any]:
    """``f`` and its gradient in float16, and in float64 of the same numbers; both must fit into float16."""
    found = []
    for dtype in ("float16", "float64"):
        x = leaf(np.asarray(value, "float16"), dtype=dtype)
        y = f(x)
        assert y.dtype == dtype
        y.backward(placed((1 + np.arange(y.size).reshape(y.shape) % 7).astype(dtype)))
        found += [(host(y).astype(float), host(x.grad).astype(float))]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("f", "value"),
    [
        (tg.softmax, np.zeros(70_000)),
        (tg.log_softmax, np.zeros(70_000)),
        (lambda x: tg.norm(x, 3), np.ones(70_000)),
        (lambda x: tg.norm(x, 2.5), np.array(FAR)),
        (tg.std, np.array(FAR)),
        (lambda x: tg.std(x, axis=1, ddof=1), np.array([FAR, FAR[::-1]])),
        (tg.std, np.arange(70_000) % 3),
        (tg.var, np.arange(70_000) % 3),
        (lambda x: tg.cross_entropy(x, [5]), np.zeros((1, 70_000))),
        (lambda x: tg.cross_entropy(x, np.eye(1, 70_000, 5)), np.zeros((1, 70_000))),
        (lambda x: tg.cross_entropy(x, np.zeros(70_000, int)), np.zeros((70_000, 2))),
        (lambda x: tg.cross_entropy(x, np.zeros(70_000, int), mask=np.ones(70_000)), np.zeros((70_000, 2))),
        (lambda x: tg.avg_pool2d(x, 2), np.full((1, 1, 4, 4), 30_000.0)),
        (lambda x: _normalise(x, None, None, (0,), 1e-5)[0], FAR),
        (lambda x: _normalise_composed(x, None, None, (0,), 1e-5)[0], FAR),
    ],
    ids=[
        "softmax", "log_softmax", "norm 3", "norm 2.5", "std", "std of rows", "std of many", "var of many",
        "cross_entropy", "cross_entropy of probabilities", "cross_entropy of many rows", "cross_entropy masked",
        "avg_pool2d", "normalise", "normalise in small ops",
    ],
)  # fmt: skip
def test_no_total_overflows_on_the_way(f: Any, value: Any) -> None:
    (y, g), (wanted, slope) = both(f, value)
    np.testing.assert_allclose(y, wanted, rtol=4e-3, atol=2e-3)
    np.testing.assert_allclose(g, slope, rtol=1e-2, atol=2e-3 * np.abs(slope).max() + 1e-7)


def test_layers_that_normalise_float16() -> None:
    x = leaf([[FAR, FAR], [FAR[::-1], FAR]], dtype="float16")
    for layer in (tg.nn.LayerNorm(4), tg.nn.BatchNorm1d(2)):
        y = layer(x)
        assert np.isfinite(host(y)).all() and host(y).std() > 0.5
        (g,) = tg.gradients((y * y * y).sum(), [x])
        assert np.isfinite(host(g)).all() and host(g).any()


def test_second_derivatives_of_float16() -> None:
    x = leaf(FAR, dtype="float16")
    (g,) = tg.gradients(tg.std(x), x, create_graph=True)
    (h,) = tg.gradients((g * tg.tensor([1.0, 2.0, 3.0, 4.0], dtype="float16")).sum(), x)
    assert h.dtype == np.float16 and np.isfinite(host(h)).all()


def test_float32_is_left_as_it_is() -> None:
    """No conversion is recorded for other dtypes."""
    x = leaf(FAR, dtype="float32")
    for f in (lambda x: tg.norm(x, 3), tg.softmax, tg.std):
        assert "astype" not in [entry.op for entry in tg.Tape(f(x))]

"""Convolution and pooling against loops written out, at drawn shapes; ties; and what they say of bad input."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7 import nn
from tinygrad7.messages import ShapeError
from tinygrad7.ops import conv
from tinygrad7.testing import check_gradients


def by_loops(x: np.ndarray, w: np.ndarray, b: Any, s: Any, p: Any, d: Any) -> np.ndarray:
    """Convolution as the formula says it, one window at a time."""
    x = np.pad(x, ((0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])))
    reach = [d[i] * (w.shape[2 + i] - 1) + 1 for i in (0, 1)]
    rows, columns = ((x.shape[2 + i] - reach[i]) // s[i] + 1 for i in (0, 1))
    y = np.empty((len(x), len(w), rows, columns))
    for r in range(rows):
        for c in range(columns):
            seen = x[:, :, r * s[0] : r * s[0] + reach[0] : d[0], c * s[1] : c * s[1] + reach[1] : d[1]]
            y[:, :, r, c] = np.einsum("nchw,ochw->no", seen, w)
    return y if b is None else y + b[:, None, None]


@st.composite
def convolutions(draw: Any) -> Any:
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))
    size, dilation, padding = pair(1, 3), pair(1, 2), pair(0, 2)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(size, dilation, padding, strict=True)]
    n, c, o = (draw(st.integers(1, 3)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=(n, c, least[0] + draw(st.integers(0, 4)), least[1] + draw(st.integers(0, 12))))
    b = rng.normal(size=o) if draw(st.booleans()) else None
    return (
        x,
        rng.normal(size=(o, c, *size)),
        b,
        draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (3, 2)])),
        padding,
        dilation,
    )


RUNS = (np.random.default_rng(0).normal(size=(3, 2, 6, 16)), np.random.default_rng(1).normal(size=(2, 2, 2, 3)))


@given(convolutions(), st.sampled_from([1, 200, 2**17]))
@example((*RUNS, None, (1, 1), (0, 0), (2, 2)), 2**17)  # long runs with dilation, which are rarely drawn
@example((*RUNS, np.ones(2), (1, 1), (1, 2), (1, 2)), 1)
@settings(max_examples=60)
def test_conv2d_is_what_the_loops_say_forward_and_backward(call: Any, cached: int) -> None:
    x, w, b, s, p, d = call
    with patch.dict(conv._AT_A_TIME, numpy=cached, cupy=cached):  # one image at a time, a few, all
        X, W = tg.tensor(x, requires_grad=True), tg.tensor(w, requires_grad=True)
        B = None if b is None else tg.tensor(b, requires_grad=True)
        y = tg.conv2d(X, W, B, stride=s, padding=p, dilation=d)
        np.testing.assert_allclose(y, by_loops(x, w, b, s, p, d), atol=1e-12)
        g = np.random.default_rng(0).normal(size=y.shape)
        y.backward(g)
    # a linear map's gradient is its transpose: ⟨ȳ, conv(v, w)⟩ = ⟨x̄, v⟩ for any v, and the same in w
    rng = np.random.default_rng(1)
    v, u = rng.normal(size=x.shape), rng.normal(size=w.shape)
    np.testing.assert_allclose((g * by_loops(v, w, None, s, p, d)).sum(), (host(X.grad) * v).sum(), atol=1e-9)
    np.testing.assert_allclose((g * by_loops(x, u, None, s, p, d)).sum(), (host(W.grad) * u).sum(), atol=1e-9)
    if B is not None:
        np.testing.assert_allclose(B.grad, g.sum((0, 2, 3)))


@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2))
def test_conv1d_is_conv2d_of_images_one_high(size: int, stride: int, padding: int, dilation: int) -> None:
    rng = np.random.default_rng(size)
    x, w, b = rng.normal(size=(2, 3, 7)), rng.normal(size=(4, 3, size)), rng.normal(size=4)
    y = tg.conv1d(x, w, b, stride=stride, padding=padding, dilation=dilation)
    wide = by_loops(x[:, :, None], w[:, :, None], b, (1, stride), (0, padding), (1, dilation))
    np.testing.assert_allclose(y, wide[:, :, 0], atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 2, 4, 9), (0, 2, 4, 9)])
def test_gradients_of_two_orders_and_empty_batches(shape: Any) -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=shape), rng.normal(size=(2, 2, 3, 2)), rng.normal(size=2)
    assert tg.conv2d(x, w, b).shape == (shape[0], 2, 2, 8)
    if shape[0]:
        check_gradients(lambda x, w, b: tg.conv2d(x, w, b, padding=1).tanh(), x, w, b)
        check_gradients(lambda x, w: tg.conv2d(x, w, stride=2).tanh(), x, w)


def test_an_infinity_reaches_only_the_windows_that_see_it() -> None:
    x = np.zeros((1, 1, 4, 9))
    x[0, 0, 0, 8] = np.inf  # the runs of columns wrap round here
    y = host(tg.conv2d(x, np.ones((1, 1, 2, 2))))
    assert np.isinf(y[0, 0, 0, 7]) and np.isfinite(y).sum() == y.size - 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_kept(dtype: str) -> None:
    x, w = (
        tg.tensor(np.ones((1, 1, 5, 6), dtype), requires_grad=True),
        tg.tensor(np.ones((1, 1, 2, 2), dtype), requires_grad=True),
    )
    for y in (tg.conv2d(x, w), tg.max_pool2d(x, 2), tg.avg_pool2d(x, 2)):
        assert y.dtype == dtype
        y.backward(np.ones(y.shape, dtype))
    assert x.grad.dtype == w.grad.dtype == dtype


def test_inputs_need_not_be_contiguous() -> None:
    rng = np.random.default_rng(0)
    x, w = (
        rng.normal(size=(9, 5, 2, 3)).transpose(3, 2, 1, 0),
        rng.normal(size=(2, 3, 2, 4)).transpose(3, 0, 2, 1)[..., ::-1],
    )
    np.testing.assert_allclose(tg.conv2d(x, w), by_loops(x, w, None, (1, 1), (0, 0), (1, 1)), atol=1e-12)
    np.testing.assert_array_equal(tg.max_pool2d(x, 2), tg.max_pool2d(np.ascontiguousarray(x), 2))


# ---- pooling -----------------------------------------------------------------------------------------------------


def pooled(x: np.ndarray, k: Any, s: Any, p: Any, border: float, f: Any) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])), constant_values=border)
    rows, columns = ((x.shape[2 + i] - k[i]) // s[i] + 1 for i in (0, 1))
    windows = [
        [x[:, :, r * s[0] : r * s[0] + k[0], c * s[1] : c * s[1] + k[1]] for c in range(columns)] for r in range(rows)
    ]
    return np.moveaxis(np.array([[f(window, axis=(2, 3)) for window in row] for row in windows]), (0, 1), (2, 3))


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.one_of(st.none(), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    st.booleans(), st.integers(0, 4), st.integers(0, 4),
)  # fmt: skip
def test_pools_are_what_the_loops_say(k: Any, stride: Any, padded: bool, more: int, further: int) -> None:
    p = (k[0] // 2, k[1] // 2) if padded else (0, 0)
    x = np.random.default_rng(more).normal(size=(2, 2, k[0] + more, k[1] + further))
    s = stride or k
    np.testing.assert_array_equal(tg.max_pool2d(x, k, stride, p), pooled(x, k, s, p, -np.inf, np.max))
    np.testing.assert_allclose(tg.avg_pool2d(x, k, stride, p), pooled(x, k, s, p, 0.0, np.mean))
    X = tg.tensor(x, requires_grad=True)
    y = tg.max_pool2d(X, k, stride, p)
    y.backward(np.ones(y.shape))
    assert host(X.grad).sum() == y.size  # every window sends its cotangent to one place
    check_gradients(lambda x: tg.max_pool2d(x, k, stride, p).tanh(), x)
    check_gradients(lambda x: tg.avg_pool2d(x, k, stride, p).tanh(), x)


def test_ties_share_the_cotangent_equally() -> None:
    x = tg.tensor([[[[1.0, 1.0, 5.0, 0.0], [1.0, 0.0, 5.0, 5.0]]]], requires_grad=True)
    tg.max_pool2d(x, 2).backward(np.array([[[[6.0, 9.0]]]], "float32"))
    np.testing.assert_array_equal(x.grad, np.array([[[[2, 2, 3, 0], [2, 0, 3, 3]]]], "float32"))
    x.grad = None
    tg.max_pool2d(x, 2, 1).sum().backward()
    np.testing.assert_allclose(
        x.grad, np.array([[[[1 / 3, 1 / 3, 5 / 6, 0], [1 / 3, 0, 5 / 6, 1 / 3]]]], "float32"), rtol=1e-6
    )


def test_the_composition_shares_ties_alike() -> None:
    x = np.zeros((1, 1, 3, 3))
    found = []
    for f in (conv._max_pool2d, conv._max_composed):
        t = tg.tensor(x, requires_grad=True)
        f(t, (2, 2), (1, 1), (0, 0)).sum().backward()
        found.append(host(t.grad))
    np.testing.assert_allclose(*found)


# ---- layers and errors -------------------------------------------------------------------------------------------


def test_layers_tell_their_form() -> None:
    assert nn.Conv2d(1, 16, 3, rng=0).detail == "Conv2d(1 → 16, 3 × 3)  160"
    assert (
        nn.Conv1d(2, 4, 3, 2, 1, 2, bias=False, rng=0).detail
        == "Conv1d(2 → 4, 3, stride 2, padding 1, dilation 2, no bias)  24"
    )
    assert (
        nn.MaxPool2d(2).detail == "MaxPool2d(2)"
        and nn.AvgPool2d((3, 2), 2, (1, 0)).detail == "AvgPool2d(3 × 2, stride 2, padding 1 × 0)"
    )


X, W = np.ones((2, 3, 6, 6)), np.ones((4, 3, 3, 3))
ERRORS = {
    r"conv2d: x \(2, 3, 6, 6\) has 3 channels, w \(4, 2, 3, 3\) takes 2": lambda: tg.conv2d(X, np.ones((4, 2, 3, 3))),
    r"conv2d: x and w must have shapes \(N, C, H, W\) and \(O, C, h, w\), not \(3, 6, 6\)": lambda: tg.conv2d(X[0], W),
    r"conv1d: x and w must have shapes \(N, C, W\) and \(O, C, w\)": lambda: tg.conv1d(X, W),
    r"conv2d: b must have shape \(4,\), one number for each of w's 4 outputs, not \(3,\)": lambda: tg.conv2d(
        X, W, np.ones(3)
    ),
    r"conv2d: a window of 7 does not fit on axis 2 of x \(2, 3, 6, 6\), 6 with padding; pad more": lambda: tg.conv2d(
        X, W, dilation=3
    ),
    "conv2d: stride must be an integer ≥ 1 or a pair of them, not 0": lambda: tg.conv2d(X, W, stride=0),
    "conv2d: padding must be an integer ≥ 0": lambda: tg.conv2d(X, W, padding=-1),
    r"conv2d: dilation must be an integer ≥ 1 or a pair of them, not \(1, 2, 3\)": lambda: tg.conv2d(
        X, W, dilation=(1, 2, 3)
    ),
    "conv2d: stride must be an integer ≥ 1 or a pair of them, not 1.5": lambda: tg.conv2d(X, W, stride=1.5),
    r"max_pool2d: x must have shape \(N, C, H, W\), not \(6, 6\)": lambda: tg.max_pool2d(X[0, 0], 2),
    r"avg_pool2d: a window of \(7, 7\) does not fit on x \(2, 3, 6, 6\) with padding \(0, 0\)": lambda: tg.avg_pool2d(
        X, 7
    ),
    r"max_pool2d: padding \(2, 2\) is more than half the window \(3, 3\)": lambda: tg.max_pool2d(X, 3, 1, 2),
    "max_pool2d: size must be an integer ≥ 1": lambda: tg.max_pool2d(X, 0),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message: str) -> None:
    kind = ShapeError if " must be an integer" not in message and "more than half" not in message else ValueError
    with pytest.raises(kind, match=message):
        ERRORS[message]()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("value", [np.full((1, 1, 4, 4), np.nan), None], ids=["all", "some"])
def test_max_pooling_sends_the_cotangent_to_a_nan_as_its_reference_does(value: Any, stride: int) -> None:
    if value is None:
        value = np.random.default_rng(0).normal(size=(2, 1, 6, 6))
        value[0, 0, 1, 1] = value[1, 0, 4, 3] = value[1, 0, 4, 4] = np.nan
    grads = []
    for pool in (conv._max_pool2d, conv._max_composed):
        x = tg.tensor(value, requires_grad=True)
        y = pool(x, (2, 2), (stride, stride), (0, 0))
        y.sum().backward()
        grads.append(host(x.grad))
    np.testing.assert_array_equal(*grads)
    assert np.isfinite(grads[0]).all()


@pytest.mark.parametrize("narrow", ["float16", "float32"])
@pytest.mark.parametrize("which", ["x", "w", "b"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_widest_operand_of_a_convolution_decides_its_dtype(which: str, narrow: str, stride: int) -> None:
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 3, 5, 6), "w": (2, 3, 2, 2), "b": (2,)}
    arrays = [rng.normal(size=s).astype("float64" if k == which else narrow) for k, s in shapes.items()]
    found = []
    for f in (conv._conv2d, conv._conv_composed):
        operands = [tg.tensor(a, requires_grad=True) for a in arrays]
        y = f(*operands, (stride, stride), (1, 0), (1, 1))
        assert y.dtype == np.float64
        y.backward(tg.ones(y.shape, dtype="float64"))
        assert [t.grad.dtype for t in operands] == [a.dtype for a in arrays]
        found.append([host(y), *[host(t.grad) for t in operands]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2 if narrow == "float16" else 1e-5, atol=1e-2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "outputs"), [(0, 2), (2, 0), (0, 0)])
def test_a_convolution_of_no_channels_or_to_none(channels: int, outputs: int, stride: int) -> None:
    for f in (conv._conv2d, conv._conv_composed):
        x, w, b = (
            tg.tensor(np.ones(s), requires_grad=True) for s in ((2, channels, 4, 5), (outputs, channels, 2, 2), outputs)
        )
        y = f(x, w, b, (stride, stride), (1, 1), (1, 1))
        assert y.shape[:2] == (2, outputs) and (host(y) == 1).all()
        y.sum().backward()
        for t in (x, w, b):
            assert t.grad.shape == t.shape
        assert not host(x.grad).any() and (host(b.grad) == y.shape[0] * y.shape[2] * y.shape[3]).all()

"""Windows for truncated backpropagation: every target once, the state carried, the graph cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad7 as tg
from tinygrad7.data import bptt_batches


def numbers(stream: Any) -> list[list[int]]:
    return [x.numpy().ravel().tolist() for x in stream]


def counter(x: Any, state: Any) -> tuple[Any, Any]:
    """A "model" whose output is every input so far, added up: its state shows whether it was carried."""
    outputs, total = [], tg.zeros(x.shape[1:]) if state is None else state
    for t in range(len(x)):
        total = total + x[t]
        outputs.append(total)
    return tg.stack(outputs), total


@given(n=st.integers(2, 90), batch=st.integers(1, 4), k1=st.integers(1, 7), more=st.integers(0, 9))
def test_every_target_comes_once_with_the_state_of_its_whole_past(n: int, batch: int, k1: int, more: int) -> None:
    """Whatever k1 and k2: as far as values go, truncation is invisible."""
    if n < batch + 1:
        return
    sequence = np.arange(1, n + 1)
    windows = bptt_batches(sequence, batch=batch, k1=k1, k2=k1 + more)
    steps = (n - 1) // batch
    for _ in range(2):  # epochs are alike
        outputs, targets, count = [], [], 0
        for x, y in windows:
            assert len(x) <= k1 + more and len(y) <= k1
            found = windows.unroll(counter, x)
            assert found.shape == y.shape
            outputs.append(found.numpy())
            targets.append(y.numpy())
            count += 1
        assert count == len(windows)
        streams = sequence[: steps * batch].reshape(batch, steps).T
        np.testing.assert_array_equal(np.concatenate(outputs), np.cumsum(streams, axis=0))
        np.testing.assert_array_equal(np.concatenate(targets), streams + 1)
        assert windows.state is None and windows.position == 0
    assert windows.epoch == 2


def test_the_gradient_goes_back_over_k2_steps_and_no_further() -> None:
    """h_t = w h_{t−1} + x_t: the error at the end of a window, against the truncated sum computed by hand."""
    sequence = np.random.default_rng(0).integers(1, 5, size=24)
    value = 0.7
    for k1, k2 in ((4, 4), (3, 6), (2, 7), (1, 5)):
        w = tg.tensor(np.float64(value), requires_grad=True)

        def model(x: Any, h: Any, w: Any = w) -> tuple[Any, Any]:
            outputs = []
            for t in range(len(x)):
                h = w * (0.0 if h is None else h) + x[t]
                outputs.append(h)
            return tg.stack(outputs), h

        windows = bptt_batches(sequence, batch=1, k1=k1, k2=k2)
        end = 0
        for x, y in windows:
            end += len(y)
            w.grad = None
            windows.unroll(model, x)[-1].sum().backward()
            start = max(0, end - len(y) + k1 - k2)
            hidden = [0.0]
            for a in sequence:
                hidden.append(value * hidden[-1] + a)
            # ∂h_end/∂w = Σ_{s in window} w^{end−1−s} h_s, the window's initial h being a constant
            expected = sum(value ** (end - 1 - s) * hidden[s] for s in range(start, end))
            np.testing.assert_allclose(w.grad, expected, rtol=1e-12)


def test_windows_do_not_hold_the_graph_of_the_past() -> None:
    w = tg.tensor(1.0, requires_grad=True)
    windows = bptt_batches(np.ones(40, int), batch=2, k1=4)
    for x, _ in windows:
        out = windows.unroll(lambda x, h: ((x * w), (x * w).sum(axis=0) + (0.0 if h is None else h)), x)
        assert not windows.state.requires_grad
        assert out.requires_grad
        out.sum().backward()


@given(stop=st.integers(0, 14), shift=st.booleans())
def test_windows_go_on_where_their_state_was_taken(stop: int, shift: bool) -> None:
    def make() -> Any:
        return bptt_batches(np.arange(60), batch=2, k1=5, k2=8, shift=shift, rng=3)

    def endless(windows: Any) -> Any:
        while True:
            for x, y in windows:
                yield windows.unroll(counter, x).numpy(), y.numpy()

    one = make()
    walk = endless(one)
    for _ in range(stop):
        next(walk)
    two = make()
    two.load_state_dict(one.state_dict())
    again = endless(two)
    for _ in range(9):
        for a, b in zip(next(walk), next(again), strict=True):
            np.testing.assert_array_equal(a, b)


def test_shifted_epochs_start_elsewhere() -> None:
    windows = bptt_batches(np.arange(100), batch=1, k1=10, shift=True, rng=0)
    starts = set()
    for _ in range(40):
        starts.add(int(next(iter(windows))[0].numpy()[0, 0]))
        for _ in windows:
            pass
    assert starts <= set(range(10)) and len(starts) > 5


def test_restart_goes_back_to_the_beginning() -> None:
    windows = bptt_batches(np.arange(20), batch=1, k1=4)
    x, _ = next(iter(windows))
    windows.unroll(counter, x)
    windows.restart()
    assert windows.state is None
    assert numbers(x for x, _ in windows)[0] == [0, 1, 2, 3]


def test_windows_refuse_what_cannot_be_cut() -> None:
    text = np.arange(10)
    with pytest.raises(ValueError, match="1-d array of indices"):
        bptt_batches(text.reshape(2, 5), batch=1, k1=1)
    with pytest.raises(ValueError, match="not list"):
        bptt_batches([1, 2, 3], batch=1, k1=1)
    with pytest.raises(ValueError, match="batch must be a whole number"):
        bptt_batches(text, batch=0, k1=1)
    with pytest.raises(ValueError, match="k1 must be a whole number"):
        bptt_batches(text, batch=1, k1=0)
    with pytest.raises(ValueError, match="k2 must be a whole number of at least 1, not 2.5"):
        bptt_batches(text, batch=1, k1=2, k2=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch must be a whole number of at least 1, not None"):
        bptt_batches(text, batch=None, k1=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"k2 \(3\) must be at least k1 \(4\)"):
        bptt_batches(text, batch=1, k1=4, k2=3)
    with pytest.raises(ValueError, match="10 elements are too few for 10 streams"):
        bptt_batches(text, batch=10, k1=1)
    with pytest.raises(ValueError, match="a sequence of 10 elements, this one has 9"):
        bptt_batches(text[:9], batch=1, k1=1).load_state_dict(bptt_batches(text, batch=1, k1=1).state_dict())
    with pytest.raises(ValueError, match="belongs to 1 streams, batch=2 was asked for"):
        bptt_batches(text, batch=2, k1=1).load_state_dict(bptt_batches(text, batch=1, k1=1).state_dict())

"""Early stopping: its definition, smoothing, state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training import make, weights
from tinygrad7.train import EarlyStopping


@given(
    values=st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=25),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.5]),
    mode=st.sampled_from(["min", "max"]),
)
def test_stopping_follows_its_definition(values: list[float], patience: int, min_delta: float, mode: str) -> None:
    stopping = EarlyStopping(patience, min_delta=min_delta, mode=mode)
    sign, best, since = (1 if mode == "min" else -1), np.inf, 0
    for value in values:
        improved = best - sign * value > min_delta
        best, since = (sign * value, 0) if improved else (best, since + 1)
        assert stopping.update(value) == (since >= patience)
        assert stopping.best == sign * best


def test_smoothing_watches_the_average_of_a_noisy_curve() -> None:
    rng = np.random.default_rng(0)
    falling = np.linspace(2, 1, 60) + 0.15 * rng.standard_normal(60)
    rough, smooth = EarlyStopping(5), EarlyStopping(5, smoothing=0.9)
    assert True in [rough.update(v) for v in falling]
    assert True not in [smooth.update(v) for v in falling]
    constant = EarlyStopping(1, smoothing=0.9, min_delta=1e-9)
    constant.update(4.0)
    assert constant.best == pytest.approx(4.0)  # unbiased from the start
    constant.update(2.0)
    assert constant.best == pytest.approx((0.9 * 4 + 2) / 1.9)


def test_stopping_goes_on_from_its_state() -> None:
    model, _, _, _ = make()
    one, two = EarlyStopping(3, smoothing=0.5), EarlyStopping(3, smoothing=0.5)
    for value in (3.0, 1.0, 2.0):
        one.update(value, model)
    best = weights(model)
    two.load_state_dict(one.state_dict())
    assert [two.update(v, model) for v in (4.0, 5.0)] == [one.update(v, model) for v in (4.0, 5.0)] == [False, True]
    next(model.parameters()).assign(np.zeros((8, 3)))
    two.restore(model)
    np.testing.assert_array_equal(weights(model), best)


def test_stopping_says_what_is_wrong() -> None:
    for options, message in (
        ({"patience": 0}, "patience must be a whole number of at least 1, not 0"),
        ({"min_delta": -1}, "min_delta must be a number, 0 <= min_delta < inf, not -1"),
        ({"smoothing": 1.0}, "smoothing must be a number, 0 <= smoothing < 1, not 1.0"),
        ({"mode": "lowest"}, "mode must be 'min' or 'max'"),
    ):
        with pytest.raises(ValueError, match=message):
            EarlyStopping(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="validation value is nan"):
        EarlyStopping().update(float("nan"))
    with pytest.raises(ValueError, match="is inf, which no smoothing would ever forget"):
        EarlyStopping(smoothing=0.5).update(float("inf"))
    with pytest.raises(RuntimeError, match="no weights to restore"):
        EarlyStopping().restore(None)

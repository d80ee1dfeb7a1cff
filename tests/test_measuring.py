"""What the checker measures, where functions jump, change fast or round; and how inputs are matched to arguments."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tinygrad7.backend import xp
from tinygrad7.op import REGISTRY
from tinygrad7.testing import GradientError, check_gradients, given_gradients, strategies


@pytest.fixture
def wrong_sine() -> Any:
    """A sine whose rule is half as much again."""

    @tg.primitive("wrong sine")
    def wrong_sine(x: Any) -> Any:
        return xp(x).sin(x)

    wrong_sine.vjp(x=lambda g, x: 1.5 * g * tg.cos(x))
    yield wrong_sine
    del REGISTRY["wrong_sine"]


# ---- jumps, kinks and lengths ------------------------------------------------------------------------------------


def test_a_jump_in_one_element_excuses_no_other(wrong_sine: Any) -> None:
    x = np.array([0.0, 1.2, -0.7])
    verdict = check_gradients(lambda a: tg.tensor((a.data > 0) * 1.0) + tg.sin(a), x)
    assert "element (0,): the function jumps here" in str(verdict)
    with pytest.raises(GradientError, match="the op to blame is wrong_sine"):
        check_gradients(lambda a: tg.tensor((a.data > 0) * 1.0) + wrong_sine(a), x)


@pytest.mark.parametrize("x", [[1e8, 1.0], [1e8], [1e5], [1e-4, 3.0]])
def test_a_function_that_changes_fast_is_measured_finely(wrong_sine: Any, x: list[float]) -> None:
    assert check_gradients(tg.sin, np.array(x)).status == "pass"
    with pytest.raises(GradientError, match="the gradient is wrong"):
        check_gradients(wrong_sine, np.array(x))


def test_rounding_of_a_cast_inside_is_allowed_for_in_every_order(wrong_sine: Any) -> None:
    x = np.array([0.3, 1.2, -0.7])
    assert check_gradients(lambda a: tg.square(a.astype("float32")), x).status == "pass"
    with pytest.raises(GradientError):
        check_gradients(lambda a: wrong_sine(a.astype("float32")), x)


# ---- given_gradients -------------------------------------------------------------------------------------------------


def test_inputs_are_matched_by_name_where_the_names_are_the_functions() -> None:
    def quotient(x: Any, y: Any) -> Any:
        assert x.shape == (2,) and y.shape == ()
        return x / y

    given_gradients(quotient, order=1, y=strategies.well_conditioned(()), x=strategies.arrays((2,)))()


def test_what_is_no_strategy_is_told() -> None:
    with pytest.raises(TypeError, match=r"given_gradients: x= must be a strategy, such as .*, not a ndarray"):
        given_gradients(tg.tanh, x=np.ones(3))


def test_a_failure_names_the_line_of_the_test(wrong_sine: Any) -> None:
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    wrong = given_gradients(wrong_sine, order=1, x=strategies.arrays((1,), 0.5, 1))
    with pytest.raises(GradientError, match=rf"checked at .*test_measuring\.py:{line}\b"):
        wrong()

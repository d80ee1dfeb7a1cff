"""``given_gradients`` beside what pytest and Hypothesis bring: fixtures, parameters, settings, examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, seed, settings

import tinygrad7 as tg
from tinygrad7.testing import GradientError, given_gradients
from tinygrad7.testing.strategies import arrays, well_conditioned


@pytest.fixture(scope="module")
def factor() -> float:
    return 3.0


@given_gradients(x=arrays((2,)))
def test_a_fixture_stands_beside_what_is_drawn(factor: float, x: Any) -> Any:
    assert factor == 3.0 and x.shape == (2,)
    return factor * tg.tanh(x)


@pytest.mark.parametrize("power", [2, 3])
@given_gradients(tg.tanh, x=arrays((2,)))
def test_the_function_under_the_decorator_has_parameters(x: Any, power: int, factor: float) -> None:
    assert power in (2, 3) and factor == 3.0 and x.shape == (2,)


def test_what_is_given_beside_the_inputs_arrives() -> None:
    seen = []

    @given_gradients(tg.tanh, x=arrays((2,)))
    def check(x: Any, power: int, more: float = 0.5) -> None:
        seen.append((power, more))

    check(power=3)
    assert set(seen) == {(3, 0.5)}


def test_in_a_class_too() -> None:
    class Tests:
        @given_gradients(x=arrays((2,)))
        def test_method(self, x: Any, wrong: bool) -> Any:
            return x * x.data if wrong else x * 1.0

    tests = Tests()
    tests.test_method(wrong=False)
    with pytest.raises(GradientError, match="(gradient|second derivative) is wrong for input 'x'"):
        tests.test_method(wrong=True)


@pytest.mark.parametrize("above", [settings(max_examples=3), seed(5), example(x=np.array([70.0, 71.0]))])
def test_what_stands_above_one_line_holds(above: Any) -> None:
    def drawn(decorate: Any) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = []

        def f(x: Any) -> Any:
            found.append(tuple(x.tolist()))
            return tg.tanh(0.1 * x)

        decorate(given_gradients(f, order=1, x=arrays((2,))))()
        return found

    told, otherwise = drawn(above), drawn(lambda test: test)
    assert told != otherwise
    if isinstance(above, settings):
        assert 3 * len(told) < len(otherwise)
    assert ((70.0, 71.0) in told) == (above.__class__.__name__ == "example")


def test_an_input_that_is_not_the_first_argument_is_given_by_name() -> None:
    def over(x: Any = 2.0, y: Any = 1.0) -> Any:
        assert x == 2.0
        return x / y

    given_gradients(over, order=1, y=well_conditioned((2,)))()

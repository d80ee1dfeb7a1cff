"""``given_gradients`` beside what pytest and Hypothesis bring: fixtures, parameters, settings, examples."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, seed, settings
from hypothesis.errors import DeadlineExceeded
from hypothesis.strategies import integers, just

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


test_parameters_of_pytest = pytest.mark.parametrize("power", [1, 2])(
    given_gradients(lambda x, power: x**power, x=arrays((2,)))
)
test_a_fixture_of_one_line = given_gradients(lambda x, factor: factor * x, x=arrays((2,)))


class TestsInAClass:
    def helper(self, x: Any) -> Any:
        assert isinstance(self, TestsInAClass)
        return tg.tanh(x)

    test_its_own_function = given_gradients(helper, x=arrays((2,)))
    test_another_function = given_gradients(tg.tanh, x=arrays((2,)))


def test_an_example_may_stand_by_position() -> None:
    found = []

    @example(np.array([70.0, 71.0]))
    @given_gradients(order=1, x=arrays((2,)))
    def check(x: Any) -> Any:
        found.append(tuple(x.tolist()))
        return tg.tanh(0.01 * x)

    check()
    assert (70.0, 71.0) in found


def test_no_deadline_is_set_but_by_those_who_want_one() -> None:
    calls = itertools.count()

    def lazy(x: Any) -> Any:
        time.sleep(0.3 * (next(calls) % 20 == 0))
        return x * 2.0

    with_one = settings(deadline=50, max_examples=1)
    given_gradients(order=1, x=just(np.ones(1)))(lazy)()
    with pytest.raises(DeadlineExceeded):
        with_one(given_gradients(order=1, x=just(np.ones(1)))(lazy))()


def test_arguments_that_have_no_place_are_given_by_name() -> None:
    targets, mask = just(np.array([0, 1])), just(np.array([1, 0]))
    given_gradients(tg.cross_entropy, order=1, logits=arrays((2, 3)), targets=targets, mask=mask)()
    given_gradients(lambda **k: k["a"] * k["b"], order=1, a=arrays((2,)), b=arrays((2,)))()

    @given_gradients(order=1, x=arrays((2,)), k=integers(1, 3))
    def check(x: Any, *, k: int) -> Any:
        return x * k

    check()

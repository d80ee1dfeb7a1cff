"""How small an error the checker sees, and what else it holds a function to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import find

import tinygrad7 as tg
from tinygrad7.testing import GradientError, check_gradients, check_op, given_gradients
from tinygrad7.testing import strategies as some

pytestmark = [pytest.mark.usefixtures("forget"), pytest.mark.host]
X = np.array([1.0, 2.0, 3.0])


def square_off_by(factor: float) -> Any:
    @tg.primitive("x²", domain=[(1, 3)])
    def square_off(x: Any) -> Any:
        return x * x

    return square_off.vjp(x=lambda g, x: 2 * factor * g * x)


@pytest.mark.parametrize("beside", [0.0, 1e2, 1e4, 1e6])
def test_a_thousandth_is_seen_also_beside_what_is_large(beside: float) -> None:
    f = square_off_by(1.001)
    with pytest.raises(GradientError, match="the op to blame is square_off"):
        check_gradients(lambda x: beside + f(x), X)
    check_gradients(lambda x: beside + square_off_by(1.0)(x), X)


def test_a_thousandth_of_what_is_small_is_seen() -> None:
    with pytest.raises(GradientError):
        check_gradients(lambda x: 1e-9 * square_off_by(1.001)(x), X)


@pytest.mark.parametrize(("dtype", "factor"), [("float32", 1.005), ("float16", -1.0)])
@pytest.mark.parametrize("inside", [False, True], ids=["input", "cast inside"])
def test_in_lower_precision_less_is_seen(dtype: str, factor: float, inside: bool) -> None:
    f = square_off_by(factor)
    with pytest.raises(GradientError):
        check_gradients((lambda x: f(x.astype(dtype))) if inside else f, X if inside else X.astype(dtype))


def test_parameters_in_float32_blunt_nothing() -> None:
    """The product of a float64 input with them is a float64 one."""
    layer, x = tg.nn.Linear(3, 3, rng=0), np.random.default_rng(0).normal(size=(5, 3)) + 2
    with pytest.raises(GradientError):
        check_gradients(lambda v: layer(square_off_by(1.002)(v)), x)
    assert check_gradients(lambda v: layer(square_off_by(1.0)(v)), x).status == "pass"


@pytest.mark.parametrize(
    "f", [lambda x: tg.sin(1e5 * x), lambda x: tg.exp(20 * x), lambda x: x - x, lambda x: 1e30 * x * x, tg.log],
    ids=["fast", "steep", "nothing", "large", "log"],
)  # fmt: skip
def test_what_is_right_is_not_blamed_for_its_scale(f: Any) -> None:
    assert check_gradients(f, X).status == "pass"


@pytest.mark.parametrize("at", [np.zeros(()), np.zeros(2), np.array([0.0, 1.0, -1.0])], ids=["0-d", "zeros", "some"])
@pytest.mark.parametrize(
    ("f", "verdict"),
    [
        (lambda x: tg.relu(x) ** 2, "at a kink"),
        (lambda x: x * tg.abs(x), "at a kink"),
        (lambda x: tg.maximum(x, 0.0) * tg.maximum(x, 0.0), "at a kink"),
        (lambda x: tg.relu(x) ** 3, "pass"),
    ],
)
def test_a_kink_of_a_derivative_is_one_of_its_own_order(f: Any, verdict: str, at: Any) -> None:
    assert check_gradients(f, at).status == verdict
    assert check_gradients(f, at, order=1).status == "pass"


def test_beside_such_a_kink_errors_are_seen() -> None:
    wrong = square_off_by(1.001)
    for at in (np.zeros(2), np.array([0.0, 1.0, -1.0])):
        with pytest.raises(GradientError):
            check_gradients(lambda x: x * tg.abs(x) + wrong(x + 2), at)
        with pytest.raises(GradientError):
            check_gradients(lambda x: x * tg.abs(x) + 1e-3 * x.data * x, at + 0.1)


def test_rounding_inside_a_rule_is_no_error() -> None:
    assert check_gradients(tg.softmax, np.random.default_rng(0).normal(size=(4, 5)) * 100).status == "pass"


def test_a_test_in_a_class_is_run() -> None:
    class Tests:
        test_wrong = given_gradients(square_off_by(1.5), x=some.arrays((2,), 1, 3))
        test_right = given_gradients(tg.tanh, x=some.arrays((2,)))
        seen = 0

        @given_gradients(x=some.arrays((2,)))
        def test_method(self, x: Any) -> Any:
            Tests.seen += 1
            return tg.tanh(x)

        @given_gradients(tg.tanh, x=some.arrays((2,)))
        def test_more(self, x: Any) -> None:
            Tests.seen += 1
            assert x.shape == (2,)

    with pytest.raises(GradientError, match="square_off"):
        Tests().test_wrong()
    for name in ("test_right", "test_method", "test_more"):
        before = Tests.seen
        getattr(Tests(), name)()
        assert Tests.seen > before or name == "test_right"


def test_a_fused_op_is_held_to_the_value_of_its_reference() -> None:
    @tg.primitive(reference=lambda a: tg.tanh(a) + 5, domain=[(-1, 1)])
    def tanh_and_five(a: Any) -> Any:
        return np.tanh(a), None

    tanh_and_five.joint_vjp(lambda g, a: (g * (1 - np.tanh(a) ** 2),))
    with pytest.raises(GradientError, match="tanh_and_five and its reference differ by 5 in output 0"):
        check_op(tanh_and_five)


def test_inputs_that_are_written_into_are_told() -> None:
    def counts_up(x: Any, k: Any) -> Any:
        k += 1
        return x * 2

    with pytest.raises(GradientError, match="the value of input 'k' was changed"):
        check_gradients(counts_up, X, np.array([0, 1, 2]))

    def moves_on(x: Any, k: Any) -> Any:
        y = x[k]
        k.assign([2, 1, 0])
        return y

    with pytest.raises(GradientError, match="the value of input 'k' was changed"):
        check_gradients(moves_on, X, tg.tensor([0, 1, 2]))

    def assigns_after(x: Any) -> Any:
        y = x * x
        x.assign(x.numpy() + 1)
        return y

    with pytest.raises(GradientError, match=r"writes into input 'x' \(t.assign\)"):
        check_gradients(assigns_after, X)

    def assigns(x: Any) -> Any:
        if x.requires_grad and x.is_leaf:
            x.assign(x.numpy())
        return x * 2

    with pytest.raises((GradientError, ValueError, RuntimeError)):
        check_gradients(assigns, X)


def test_a_rule_that_keeps_tensors_alive_is_told() -> None:
    kept = []

    @tg.primitive
    def keeping(x: Any) -> Any:
        return x * 2

    def rule(g: Any, x: Any) -> Any:
        kept.append(x)
        return 2 * g + 0 * x

    keeping.vjp(x=rule)
    with pytest.raises(GradientError, match="is still alive after its result is gone"):
        check_gradients(keeping, X)


def test_an_error_inside_a_checkpoint_is_blamed_on_its_op() -> None:
    with pytest.raises(GradientError, match="the op to blame is square_off, argument 'x'"):
        check_gradients(lambda x: tg.checkpoint(lambda v: tg.tanh(square_off_by(1.5)(v)), x), X)


def test_the_line_of_the_rule_is_named() -> None:
    with pytest.raises(GradientError) as caught:
        check_gradients(square_off_by(1.5), X)
    line = square_off_by.__code__.co_firstlineno + 5
    assert f"test_testing_sensitivity.py:{line})" in str(caught.value)


def test_what_is_no_op_is_told() -> None:
    with pytest.raises(TypeError, match="'qube' is no op that tg.primitive registered"):
        check_op("qube")
    with pytest.raises(TypeError, match="norm is no op that tg.primitive registered; check a function of ops with"):
        check_op(tg.norm)


def test_strategies_take_intervals_of_every_length() -> None:
    with pytest.raises(ValueError, match="values between 3 and -3: the lower limit comes first"):
        find(some.arrays((2,), 3, -3), lambda x: True)
    np.testing.assert_array_equal(find(some.arrays((2,), 1.5, 1.5), lambda x: True), [1.5, 1.5])
    assert find(some.arrays((2,), 0, 1e7), lambda x: bool((x > 1e6).all())).min() > 1e6
    with pytest.raises(ValueError, match=r"no value between 0 and 0.05 is 0.1 away from all of \(0.0,\)"):
        find(some.arrays((2,), 0, 0.05, away=[0.0]), lambda x: True)
    assert find(some.arrays(3), lambda x: True).shape == (3,)
    assert find(some.indices(3), lambda i: True) is not None

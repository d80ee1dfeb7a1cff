"""The checker: it passes what is right, finds what is wrong and says where, and knows a kink."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tinygrad7.domains import elementwise
from tinygrad7.testing import GradientError, check_gradients, check_op, examples

# ---- what it says ------------------------------------------------------------------------------------------------


@tg.primitive("cube", domain=elementwise((-2, 2)))
def cube(x: Any) -> Any:
    """Third power.   y = x³      x̄ = 3 ȳ x²"""
    return x * x * x


cube.vjp(x=lambda g, x: 3 * g * x * x)


def wrong_cube(rule: Any) -> Any:
    @tg.primitive("wrong cube", domain=elementwise((0.5, 2)))
    def cube_with_a_wrong_rule(x: Any) -> Any:
        return x * x * x

    return cube_with_a_wrong_rule.vjp(x=rule)


def test_a_users_own_op_is_tested_from_its_domain() -> None:
    assert all(v.status == "pass" and v.order == 2 for v in check_op(cube))
    with pytest.raises(GradientError):
        check_op(wrong_cube(lambda g, x: 2 * g * x * x))


def test_a_domain_may_be_a_list_of_intervals_and_must_be_there() -> None:
    @tg.primitive("a b²", domain=[(1, 2), (-1, 0)])
    def product_with_a_square(a: Any, b: Any) -> Any:
        return a * b * b

    product_with_a_square.vjp(a=lambda g, b: g * b * b, b=lambda g, a, b: 2 * g * a * b)
    for (a, b), _ in examples(product_with_a_square, 0, 20):
        assert a.min() >= 1 and b.max() <= 0
        np.broadcast_shapes(a.shape, b.shape)
    check_op(product_with_a_square)

    @tg.primitive("no domain")
    def without_a_domain(x: Any) -> Any:
        return x

    with pytest.raises(ValueError, match="without_a_domain has no domain: give @primitive one"):
        check_op(without_a_domain)


def test_a_failure_names_op_input_element_both_numbers_and_the_line() -> None:
    cubed = wrong_cube(lambda g, x: g * x * x * 2.9)

    def loss(params: Any, x: Any) -> Any:
        with tg.step(3):
            return tg.sum(cubed(params["w"] * x))  # HERE

    line = inspect.getsourcelines(loss)[1] + 2
    with pytest.raises(GradientError) as caught:
        check_gradients(loss, {"b": np.ones(2), "w": np.array([1.0, 2.0])}, np.array([1.0, 3.0]))
    message = str(caught.value)
    assert "the gradient is wrong for input 'params'['w'], element (1,): the rules give" in message
    numbers = [float(n) for n in re.findall(r"give (\S+), central differences (\S+)", message)[0]]
    assert numbers[0] / numbers[1] == pytest.approx(2.9 / 3, rel=1e-6)
    assert "the op to blame is cube_with_a_wrong_rule in t=3, argument 'x', element (1,)" in message
    assert f"recorded at {__file__}:{line}" in message
    assert f"checked at {__file__}" in message


def test_a_wrong_second_derivative_is_found_though_the_first_is_right() -> None:
    cubed = wrong_cube(lambda g, x: 3 * g * (x.detach() if isinstance(x, tg.Tensor) else x) * x)
    assert check_gradients(cubed, np.array([1.5]), order=1).status == "pass"
    with pytest.raises(
        GradientError, match=r"(?s)the second derivative is wrong.*blame is cube_with_a_wrong_rule"
    ) as caught:
        check_gradients(lambda x: tg.exp(cubed(x)), np.array([0.5]))
    assert "(0,)" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_third_order() -> None:
    assert check_gradients(lambda x: tg.sin(x) * x, np.array([0.5, 2.0]), order=3).order == 3


def test_a_gradient_cut_on_the_way_is_wrong_though_every_op_is_right() -> None:
    with pytest.raises(GradientError, match=r"every op on the tape passes by itself: is the gradient cut on the way"):
        check_gradients(lambda x: x.detach() * x, np.array([2.0]))


def test_recorded_rules_that_differ_from_those_on_arrays_fail_the_adjoint_test() -> None:
    cubed = wrong_cube(lambda g, x: (3 if not isinstance(g, tg.Tensor) else 3.1) * g * x * x)
    with pytest.raises(GradientError, match=r"J v⟩ is .* but ⟨Jᵀ u, v⟩ is .*: the recorded rules differ"):
        check_gradients(cubed, np.array([1.0]), order=1)


def test_a_nan_gradient_of_a_finite_function_is_wrong() -> None:
    with pytest.raises(GradientError, match=r"element \(1,\): it is (nan|inf), where the function is finite"):
        with np.errstate(all="ignore"):
            check_gradients(lambda x: tg.sqrt(x * x), np.array([1.0, 0.0]))


def test_the_op_to_blame_is_found_beside_values_that_are_not_finite() -> None:
    cubed = wrong_cube(lambda g, x: 2 * g * x * x)
    finite = lambda x: 1 / (1 / (x * 0.0))  # 1 / ∞ on the way, where nothing can be measured
    with np.errstate(all="ignore"):
        with pytest.raises(GradientError, match="(?s)it is nan.*to blame is cube_with_a_wrong_rule, argument"):
            check_gradients(lambda x: cubed(x) + finite(x), np.ones(1))
        with pytest.raises(GradientError, match="(?s)it is nan.*to blame is divide, argument 'b'"):
            check_gradients(lambda x: x * x + finite(x), np.ones(1))


def test_the_op_to_blame_is_found_behind_an_op_of_several_outputs() -> None:
    cubed = wrong_cube(lambda g, x: 2 * g * x * x)
    with pytest.raises(GradientError, match=r"to blame is cube_with_a_wrong_rule, argument 'x', element \(1,\)"):
        check_gradients(lambda x: cubed(tg.unstack(x)[1]), np.array([[1.0, 1.0], [0.5, 2.0]]))


def test_of_a_large_input_some_elements_are_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad7.testing.orders._MOST", 2)
    shift = lambda k: lambda x: x + (x - x.detach())[k] * tg.tensor(np.eye(4)[k])
    with pytest.raises(GradientError, match=r"input 'x', element \(1,\): the rules give"):
        check_gradients(shift(1), np.ones(4), order=1)
    with pytest.raises(GradientError, match=r"input 'x': along a random direction the rules give"):
        check_gradients(shift(2), np.ones(4), order=1)


# ---- kinks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "values"),
    [
        (tg.relu, [1.0, 0.0, -2.0]),
        (tg.abs, [0.0]),
        (tg.leaky_relu, [0.0, 1.0]),
        (lambda x: tg.maximum(x, 1.0), [1.0, 3.0]),
        (tg.max, [2.0, 2.0, 1.0]),
        (lambda x: tg.clip(x, 0, 1), [0.0, 0.5, 1.0]),
        (tg.norm, [0.0, 0.0]),
        (lambda x: tg.norm(x, 1), [0.0, 1.0]),
    ],
)
def test_at_a_kink_the_verdict_is_a_kink(f: Any, values: list[float]) -> None:
    for dtype in ("float64", "float32"):
        verdict = check_gradients(f, np.array(values, dtype))
        assert verdict.at_kink and verdict.status == "at a kink", str(verdict)
        assert "input" in str(verdict) and "lies between the slopes" in str(verdict)


def test_a_wrong_subgradient_at_a_kink_is_still_wrong() -> None:
    @tg.primitive("relu?", domain=None)
    def relu_of_slope_two_at_zero(x: Any) -> Any:
        return tg.relu(x)

    relu_of_slope_two_at_zero.vjp(x=lambda g, x: g * tg.where(x > 0, 1.0, tg.where(x == 0, 2.0, 0.0)))
    check_gradients(relu_of_slope_two_at_zero, np.array([1.0, -1.0]))
    with pytest.raises(GradientError, match=r"element \(1,\)"):
        check_gradients(relu_of_slope_two_at_zero, np.array([1.0, 0.0]))


def test_beside_a_kink_there_is_none_and_a_kink_elsewhere_hides_no_error() -> None:
    for distance in (1e-3, 1e-5, -1e-4):
        assert check_gradients(tg.relu, np.array([distance, 1.0])).status == "pass"
    cubed = wrong_cube(lambda g, x: 3.01 * g * x * x)
    with pytest.raises(GradientError, match=r"input '?\w+'?, element \(1,\)"):
        check_gradients(lambda x: tg.concatenate([tg.relu(x[:1]), cubed(x[1:])]), np.array([0.0, 1.0]))


def test_smooth_functions_of_every_scale_pass() -> None:
    for scale in (1e-3, 1.0, 1e3, 1e6):
        x = scale * np.array([0.5, -1.0, 2.0])
        assert check_gradients(lambda t, s=scale: (t / s) ** 3 + tg.sin(t / s), x).status == "pass"
        assert check_gradients(lambda t, s=scale: s * tg.tanh(t / s), x).status == "pass"


def test_where_a_function_jumps_there_is_no_gradient_to_be_wrong() -> None:
    assert check_gradients(tg.sign, np.array([0.0])).status in ("pass", "at a kink")
    assert check_gradients(lambda x: tg.where(x > 0, x + 1, x), np.array([0.0])).at_kink


def test_a_kink_or_jump_that_no_single_element_meets_is_one_along_a_direction() -> None:
    both = lambda x, y: tg.where(x[1] != 0, y, 0.0)  # at (0, 0), to be seen where both elements move
    verdict = check_gradients(lambda x: both(x, tg.abs(x[0])), np.zeros(2))
    assert str(verdict).startswith("at a kink: input 'x': the gradient 0 lies between the slopes")
    verdict = check_gradients(lambda x: both(x, tg.where(x[0] > 0, 1.0, 0.0) + x[0]), np.zeros(2))
    assert str(verdict) == "at a kink: input 'x': the function jumps here"


def test_a_kink_beside_curvature_is_a_kink() -> None:
    """The rule gives the left slope of leaky_relu at 0; the other term bends the function away from it."""
    for bend in (30.0, -30.0):
        verdict = check_gradients(lambda x: tg.sum(tg.leaky_relu(x) + bend * x * x), np.zeros(1))
        assert "kink" in str(verdict)


def test_rounding_of_what_cancels_is_no_error() -> None:
    """x − x is 0 however x moves, while the rules sum contributions that cancel up to rounding."""
    for seed in range(10):
        check_gradients(lambda x: x.reshape(1) - tg.broadcast_to(x, (3, 2)), np.array(0.0), rng=seed)
    with pytest.raises(GradientError):
        check_gradients(lambda x: (x - x) + (x - x.detach()) * 1e-9, np.ones(2))

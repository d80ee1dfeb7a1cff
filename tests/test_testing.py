"""The checker is itself checked: it passes what is right, and no wrong rule of any op gets past it."""

from __future__ import annotations

import gc
import inspect
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad7 as tg
from tests.helpers import host
from tests.test_ops import OWN_TEST
from tinygrad7.domains import elementwise
from tinygrad7.op import REGISTRY, Op
from tinygrad7.ops.reduce import sum_to
from tinygrad7.testing import GradientError, check_gradients, check_op, examples, given_gradients, plain, strategies
from tinygrad7.testing.ops import of_tensors
from tinygrad7.testing.picks import GeneratorPick, grid
from tinygrad7.testing.problem import Problem
from tinygrad7.testing.programs import Operand, Program, Step, composable, draw_program, fit

RNG = np.random.default_rng(0)

# ---- the mutation test -------------------------------------------------------------------------------------------
#
# For every registered op and every tensor argument, a rule that is wrong in one way must make the op's own test fail.


def scaled(gradient: Any, shape: tuple[int, ...]) -> Any:
    return gradient * 1.001


def sign_flipped(gradient: Any, shape: tuple[int, ...]) -> Any:
    return -gradient


def axis_summed(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Summed over its last axis and stretched again: what a forgotten or superfluous ``sum`` makes of it."""
    axis = next((i for i in reversed(range(len(gradient.shape))) if gradient.shape[i] > 1), None)
    return gradient if axis is None else tg.broadcast_to(tg.sum(gradient, axis, True), gradient.shape)


def broadcast_left(gradient: Any, shape: tuple[int, ...]) -> Any:
    """The broadcast not undone: of what was stretched, the first part instead of the sum."""
    while len(gradient.shape) > len(shape):
        gradient = gradient[0]
    for axis, n in enumerate(shape):
        if gradient.shape[axis] != n:
            gradient = gradient[(slice(None),) * axis + (slice(0, n),)]
    return gradient


def something_added(gradient: Any, shape: tuple[int, ...]) -> Any:
    return gradient + 0.01


MUTANTS = [scaled, sign_flipped, axis_summed, broadcast_left, something_added]


def with_more(rule: Callable[..., Any], extra: str, change: Callable[..., Any]) -> Callable[..., Any]:
    """``rule`` with a parameter ``extra`` besides its own (the tape reads the names), and its result changed."""
    names = list(inspect.signature(rule).parameters)
    known = extra in names

    def mutant(*values: Any) -> Any:
        given = values if known else values[:-1]
        return change(rule(*given), values[names.index(extra) if known else -1], dict(zip(names, values, strict=False)))

    parameters = [
        inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in [*names, *([] if known else [extra])]
    ]
    mutant.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return mutant


@contextmanager
def mutated(op: Op, argument: str, position: int, mutant: Callable[..., Any], differed: list[bool]) -> Iterator[None]:
    """The rule of one argument replaced. ``differed`` collects whether what it gives is another gradient."""

    def change(right: Any, shape: Any) -> Any:
        wrong = mutant(right, shape)
        differed.append(not np.array_equal(host(undone(right, shape)), host(undone(wrong, shape))))
        return wrong

    rules, into, joint = dict(op.rules), dict(op.into), op.joint
    extra = f"{argument}_shape"
    try:
        if joint is not None:

            def joint_change(results: Any, shape: Any, given: Any) -> Any:
                results = list(results)
                if results[position] is not None:
                    results[position] = change(results[position], shape)
                return results

            op.joint = with_more(joint, extra, joint_change)
        else:

            def rule_change(right: Any, shape: Any, given: Any) -> Any:
                return change(right, shape[given["index"]] if op.variadic and "index" in given else shape)

            op.rules[argument] = with_more(op.rules[argument], extra, rule_change)
            op.into.pop(argument, None)
        op.forget_plans()
        yield
    finally:
        op.rules, op.into, op.joint = rules, into, joint
        op.forget_plans()


def undone(gradient: Any, shape: tuple[int, ...]) -> Any:
    """As the engine does: summed over what was stretched."""
    return gradient if gradient.shape == shape else sum_to(gradient, shape)


BROADCASTING = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"]
OWN = sorted(n for n, op in REGISTRY.items() if op.module.startswith("tinygrad7.") and n != "transfer")
ARGUMENTS = [
    (name, argument, k)
    for name in OWN
    for op in [REGISTRY[name]]
    for k, argument in enumerate([op.variadic] if op.variadic else [op.names[i] for i in op.tensors])
]


class NothingWrong(Exception):
    """The mutant gives the right gradients: there is nothing to sum or to undo, or the gradient is zero everywhere."""


def play(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """One call and its backward, at random cotangents."""
    f, operands = of_tensors(op, args, kwargs)
    leaves = [tg.tensor(a, requires_grad=True) for a in operands]
    ys = f(*leaves)
    ys = [y for y in (ys if isinstance(ys, tuple) else (ys,)) if y.requires_grad]
    tg.gradients(ys, leaves, [RNG.normal(size=y.shape) for y in ys], unreached="zero")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
@pytest.mark.parametrize(
    ("name", "argument", "position"), ARGUMENTS, ids=lambda v: str(v) if isinstance(v, str) else ""
)
def test_no_wrong_rule_gets_past_the_ops_own_test(name: str, argument: str, position: int, mutant: Any) -> None:
    op = REGISTRY[name]
    differed: list[bool] = []
    with mutated(op, argument, position, mutant, differed):
        for args, kwargs in examples(op, 0, 2 * OWN_TEST["count"]):
            play(op, args, kwargs)
        try:
            if not any(differed):
                raise NothingWrong
            check_op(op, order=1, **OWN_TEST)  # the first of the two orders; the calls and directions are the same
        except GradientError:
            return
        except NothingWrong:
            pass
    assert not any(differed), f"{name}: a rule for {argument} that is wrong ({mutant.__name__}) passes"
    assert mutant is not something_added
    assert mutant not in (scaled, sign_flipped) or name == "sign"
    assert mutant is not broadcast_left or name not in BROADCASTING


def test_the_rules_are_whole_again_after_the_mutants() -> None:
    for name in OWN:
        check_op(name, count=1, order=1)


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


# ---- what else it looks at ---------------------------------------------------------------------------------------


def test_nested_inputs_and_outputs_tensors_arrays_and_numbers() -> None:
    def f(params: Any, scale: float, table: Any) -> Any:
        hidden = tg.tanh(params["layers"][0] @ params["x"])
        return {"y": hidden * scale, "rest": (table, [params["layers"][1] * 2])}

    params = {"x": tg.tensor([1.0, 2.0], requires_grad=True), "layers": (np.ones((3, 2)), np.float32(2.0) * np.ones(1))}
    assert check_gradients(f, params, 0.5, np.arange(3)).status == "pass"
    assert params["x"].grad is None


def test_what_the_function_closes_over_keeps_its_gradient() -> None:
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    (w * w).sum().backward()
    before = host(w.grad).copy()
    check_gradients(lambda x: w * x, np.ones(2))
    np.testing.assert_array_equal(w.grad, before)


def test_inputs_that_do_not_matter_have_gradient_zero() -> None:
    assert check_gradients(lambda x, y: x * 2, np.ones(2), np.ones(3, np.float32)).status == "pass"
    assert check_gradients(lambda x: tg.ones(2), np.ones(3)).status == "pass"


def test_a_function_without_a_signature_is_checked() -> None:
    assert check_gradients(max, [np.ones(2)]).status == "pass"
    assert Problem(max, ([np.ones(2)],)).names == ["0[0]"]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_low_precision_inputs_are_compared_at_their_own_precision(dtype: str) -> None:
    x = np.array([0.3, -1.4, 2.1], dtype)
    large = {"float16": 3e4, "float32": 3e6}[dtype]
    assert check_gradients(lambda t: tg.softmax(t * 2), x).status == "pass"

    @tg.primitive("lossy", domain=None)
    def adds_and_takes_away_a_large_number(x: Any) -> Any:
        return x * x

    adds_and_takes_away_a_large_number.vjp(x=lambda g, x: g * ((2 * x + large) - large))
    assert check_gradients(adds_and_takes_away_a_large_number, x.astype(np.float64), order=1).status == "pass"
    with pytest.raises(
        GradientError, match=rf"the gradient in {dtype} is .*, in float64 .*: the op loses its precision"
    ):
        check_gradients(adds_and_takes_away_a_large_number, x, order=1)


def test_a_function_that_casts_down_inside_is_measured_with_larger_steps() -> None:
    assert check_gradients(lambda x: tg.tanh(x.astype("float32")), np.array([0.5, 1.0]), order=1).status == "pass"


def test_a_rule_that_writes_into_its_cotangent_is_found() -> None:
    @tg.primitive("in place", domain=None)
    def doubles_in_place(x: Any) -> Any:
        return x * 2

    def rule(g: Any, x: Any) -> Any:
        if not isinstance(g, tg.Tensor):
            x += 1e-3
        return 2 * g

    doubles_in_place.vjp(x=rule)
    with pytest.raises((GradientError, TypeError)):  # NumPy's arrays are lent to it read-only, CuPy's cannot be
        check_gradients(lambda x: doubles_in_place(x) * x, np.array([0.5, 1.0]), order=1)


def test_a_rule_that_gives_something_else_the_second_time_is_found() -> None:
    @tg.primitive("forgetful", domain=None)
    def triples_with_a_drift(x: Any) -> Any:
        return x * 3

    calls: list[int] = []
    triples_with_a_drift.vjp(x=lambda g: g * (3 + 1e-14 * len(calls)) if calls.append(1) is None else None)
    with pytest.raises(GradientError, match="two backwards did not add exactly twice for input 'x': does a rule write"):
        check_gradients(triples_with_a_drift, np.ones(5), order=1)


@pytest.mark.host  # elsewhere the input is copied to the device first
def test_a_function_that_writes_into_its_input_is_found() -> None:
    x = np.array([1.0, 2.0])

    def f(t: Any) -> Any:
        x[0] += 1
        return t * 2

    with pytest.raises(GradientError, match="the value of input 't' was changed"):
        check_gradients(f, x)


def test_a_kept_graph_is_found() -> None:
    kept = []

    def f(x: Any) -> Any:
        kept.append(tg.tanh(x))
        return kept[-1] * 2

    with pytest.raises(GradientError, match=r"(?s)the graph of input 'x' is still alive .* keep t\.detach"):
        check_gradients(f, np.array([1.0]))
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        check_gradients(tg.tanh, np.ones(1), order=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_gradient_of_the_wrong_dtype_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grad = sys.modules["tinygrad7.grad"]  # tg.grad is the function of that name
    walk = grad.walk

    def careless(*args: Any, **kwargs: Any) -> Any:
        return {node: bar.astype(np.float64) for node, bar in walk(*args, **kwargs).items()}

    monkeypatch.setattr(grad, "walk", careless)
    with pytest.raises(GradientError, match=r"input 'x' is \(1,\) float32 on \S+, its gradient \(1,\) float64"):
        check_gradients(lambda x: x * 2, np.ones(1, np.float32))


def test_misuse_is_explained() -> None:
    with pytest.raises(TypeError, match="no input has a floating dtype"):
        check_gradients(lambda x: x, np.arange(3))
    with pytest.raises(TypeError, match="gave a str; tensors are needed"):
        check_gradients(lambda x: "y", np.ones(3))
    with pytest.raises(TypeError, match="gave nothing with a floating dtype"):
        check_gradients(lambda x: x > 0, np.ones(3))
    with pytest.raises(ValueError, match="order=0 checks nothing"):
        check_gradients(tg.exp, np.ones(3), order=0)
    with pytest.raises(ValueError, match="two calls with the same inputs give different values"):
        check_gradients(lambda x: x * RNG.normal(), np.ones(3))
    with pytest.raises(ValueError, match="not finite at these inputs"), np.errstate(all="ignore"):
        check_gradients(tg.log, np.array([-1.0]))
    with pytest.raises(ValueError, match=r"at the edge of its domain.*move them inwards"):
        check_gradients(lambda x: x**1.5, np.array([0.0, 1.0]))


def test_importing_needs_no_hypothesis() -> None:
    code = (
        "import sys, tinygrad7 as tg; assert 'hypothesis' not in sys.modules; "
        "import numpy as np; sys.modules['hypothesis'] = None; print(tg.testing.check_gradients(tg.tanh, np.ones(2)));"
        "del sys.modules['hypothesis']; print(tg.testing.strategies.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "pass\ntinygrad7.testing.strategies\n"
    with pytest.raises(AttributeError, match="module 'tinygrad7.testing' has no attribute 'strategy'"):
        tg.testing.strategy


# ---- strategies --------------------------------------------------------------------------------------------------


@given(strategies.arrays(low=-1, high=2, away=(0.0, 1.0), dtype="float16"))
def test_arrays_lie_where_they_are_asked_to(x: np.ndarray) -> None:
    assert x.dtype == np.float16
    assert x.ndim <= 3 and ((x >= -1) & (x <= 2) & (np.abs(x) >= 0.1) & (np.abs(x - 1) >= 0.099)).all()


@given(
    strategies.away_from_kinks((0.0, 1.0), (2, 3)),
    strategies.well_conditioned((3,)),
    strategies.well_conditioned(positive=False),
)
def test_values_to_relu_to_divide_by_and_to_take_logarithms_of(x: Any, y: Any, z: Any) -> None:
    assert x.shape == (2, 3) and (np.abs(x) >= 0.1).all() and (np.abs(x - 1) >= 0.1).all()
    assert len(np.unique(x)) == x.size
    assert ((y >= 0.5) & (y <= 4)).all()
    assert ((np.abs(z) >= 0.5) & (np.abs(z) <= 4)).all()


@given(strategies.tensors((2,)), strategies.broadcastable(3), strategies.matrices("float32"))
def test_tensors_pairs_and_matrices(t: Any, trio: Any, pair: Any) -> None:
    assert isinstance(t, tg.Tensor) and t.requires_grad and t.shape == (2,)
    np.broadcast_shapes(*[x.shape for x in trio])
    a, b = pair
    assert (a @ b).dtype == np.float32


@given(st.data(), strategies.shapes(0, 3, 0, 3))
def test_indices_fit_their_shape(data: Any, shape: Any) -> None:
    _ = np.zeros(shape)[data.draw(strategies.indices(shape))]


@given(
    strategies.sequences(),
    strategies.sequences("lstm"),
    strategies.sequences("gru", dtype="float32"),
    strategies.sequences("rnn"),
)
@settings(max_examples=15)
def test_sequences_feed_the_recurrent_ops(x: Any, lstm: Any, gru: Any, rnn: Any) -> None:
    assert x.ndim == 3
    y, (h, c) = tg.lstm(*placed(lstm))
    assert y.shape == (*lstm[0].shape[:2], h.shape[-1]) and c.shape == h.shape
    y, h = tg.gru(*placed(gru))
    assert y.dtype == np.float32
    check_gradients(lambda *a: tg.rnn(*a), *rnn, order=1)


def placed(value: Any) -> Any:
    return tuple([placed(v) for v in value]) if isinstance(value, tuple) else tg.tensor(value)


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(ValueError, match="cell 'lstn' is not there; use 'rnn', 'lstm' or 'gru'"):
        hypothesis.find(strategies.sequences("lstn"), lambda s: True)


def shrunk(strategy: Any, condition: Any) -> Any:
    return hypothesis.find(strategy, condition, settings=settings(max_examples=2000, derandomize=True, database=None))


def test_examples_shrink_to_the_smallest_that_fail() -> None:
    x = shrunk(strategies.arrays(), lambda x: bool((x > 0.7).any()))
    assert x.size == 1 and x.item() == 1.0
    x = shrunk(strategies.arrays(away=(0.0,)), lambda x: x.size >= 2)
    assert x.size == 2 and set(np.abs(x.ravel())) == {1.0}
    a, b = shrunk(strategies.broadcastable(), lambda p: p[0].shape != p[1].shape)
    assert a.size + b.size <= 3
    x, *_ = shrunk(strategies.sequences("rnn"), lambda s: len(s[0]) >= 3)
    assert x.shape == (3, 1, 1) and not x.any()


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


@pytest.mark.parametrize("name", ["tanh", "matmul"])
def test_programs_shrink_to_few_steps(name: str) -> None:
    """Of five searches, most end at one or two steps; Hypothesis stops shrinking after 500 successes, so not all do."""
    sizes = []
    for seed in range(5):
        program = hypothesis.find(
            strategies.programs(),
            lambda p: any(step.op == name for step in p.steps),
            settings=settings(max_examples=2000, database=None),
            random=random.Random(seed),
        )
        assert len(program.inputs) == 1
        sizes.append(len(program.steps))
    assert sorted(sizes)[2] <= 2, sizes


# ---- given_gradients ---------------------------------------------------------------------------------------------

test_product = given_gradients(tg.multiply, x=strategies.arrays((2, 3)), y=strategies.arrays((3,)))


@given_gradients(x=strategies.arrays((2, 2)))
def test_a_function_under_the_decorator(x: Any) -> Any:
    return tg.sum(x * x, axis=0)


SEEN: list[Any] = []


@settings(max_examples=7)
@given_gradients(lambda a, b: a / b, order=1, a=strategies.arrays(()), b=strategies.well_conditioned(()))
def test_a_function_and_more_about_its_inputs(b: Any) -> None:
    SEEN.append(b)
    assert b >= 0.5


def test_the_decorators_ran_and_fail_where_they_should() -> None:
    test_a_function_and_more_about_its_inputs()
    assert 0 < len(SEEN) <= 14
    assert test_a_function_under_the_decorator.__name__ == "test_a_function_under_the_decorator"
    with pytest.raises(GradientError):
        given_gradients(wrong_cube(lambda g, x: g * x), order=1, x=strategies.arrays((1,), 0.5, 2))()
    with pytest.raises(TypeError, match="give a strategy for each input"):
        given_gradients(tg.tanh)


# ---- picks and programs ------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_examples() -> None:
    first, second = (list(examples("conv2d" if "conv2d" in REGISTRY else "matmul", 5, 3)) for _ in range(2))
    for (a, _), (b, _) in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y) if isinstance(x, np.ndarray) else None


def test_the_grid_is_exact_in_float16_and_simple_first() -> None:
    values = grid(-3.0, 3.0)
    assert values[0] == 0 and values[1] == 1 and values[2] == -1
    np.testing.assert_array_equal(values.astype(np.float16).astype(float), values)
    assert len(grid(0.0, 0.25)) >= 64


def test_a_value_to_keep_away_from_that_fills_the_interval_is_given_up() -> None:
    x = GeneratorPick(np.random.default_rng(0)).array((5,), -0.05, 0.05, away=(0.0,))
    assert x.shape == (5,) and (np.abs(x) <= 0.05).all()


@pytest.mark.host
def test_a_program_is_what_it_prints() -> None:
    pick = GeneratorPick(np.random.default_rng(4))
    names = {name: op.call for name, op in REGISTRY.items()}
    names |= {"fit": fit, "array": np.array, "dtype": np.dtype, "sigmoid": plain.sigmoid, "inf": np.inf}
    for _ in range(60):
        program = draw_program(pick)
        namespace: dict[str, Any] = dict(names)
        exec(str(program), namespace)
        with np.errstate(all="ignore"):
            for y, wanted in zip(namespace["program"](*program.inputs), program.numpy(*program.inputs), strict=True):
                np.testing.assert_allclose(y, wanted, rtol=1e-9, atol=1e-9)


def test_a_program_prints_numpys_numbers_as_numbers() -> None:
    program = Program([np.ones(2)], [Step("multiply", (Operand(0), np.float64(2.5)), {}, None)])
    assert str(program).splitlines()[2:] == ["    v1 = multiply(v0, 2.5)", "    return v1,"]
    np.testing.assert_array_equal(program(*program.inputs)[0], [2.5, 2.5])


def test_a_domain_that_does_not_fit_its_op_is_told() -> None:
    @tg.primitive("picky", domain=elementwise((0, 1)))
    def takes_no_values_below_one(x: Any) -> Any:
        raise ArithmeticError("below one")

    with pytest.raises(ArithmeticError, match="below one"):
        draw_program(GeneratorPick(np.random.default_rng(0)), ops=["takes_no_values_below_one"])


def test_what_was_not_stretched_is_not_summed_here_and_in_plain_numpy() -> None:
    for f in (sum_to, plain.plain("sum_to")):
        with pytest.raises(ValueError, match=r"\(2,\) was not stretched from \(3, 2\)"):
            f(np.ones(2), (3, 2))


def test_programs_use_every_op() -> None:
    pick = GeneratorPick(np.random.default_rng(0))
    for name in composable():
        program = draw_program(pick, ops=[name], max_steps=1)
        assert [step.op for step in program.steps] == [name]
        assert program.outputs

"""What else the checker looks at: precision, what a rule or function changes or keeps, misuse."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.testing import GradientError, check_gradients
from tinygrad7.testing.problem import Problem

RNG = np.random.default_rng(0)


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
    triples_with_a_drift.vjp(x=lambda g: g * (3 + 3e-14 * len(calls)) if calls.append(1) is None else None)
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
    with pytest.raises(TypeError, match="gave a set; tensors are needed"):
        check_gradients(lambda x: {"y"}, np.ones(3))
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

"""What is right is not blamed, whatever it rounds by and however many kinks meet; and what that lets through."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad7 as tg
from tests.helpers import host
from tinygrad7.backend import xp
from tinygrad7.testing import GradientError, check_gradients, check_op, strategies

pytestmark = pytest.mark.usefixtures("forget")
RNG = np.random.default_rng(0)
V = np.array([0.1, 0.2, 0.3])


def vae(m: Any, log_variance: Any) -> Any:
    return -0.5 * (1 + log_variance - m * m - tg.exp(log_variance)).sum()


def kl(p: Any, q: Any) -> Any:
    return (tg.softmax(p) * (tg.log_softmax(p) - tg.log_softmax(q))).sum()


def cosine(a: Any, b: Any) -> Any:
    return 1 - (a * b).sum() / (tg.norm(a) * tg.norm(b))


def normalised(x: Any) -> Any:
    return (x - x.mean()) / tg.sqrt(x.var() + 1e-5)


@pytest.mark.parametrize(
    ("f", "inputs"),
    [
        *[(tg.tanh, (np.array([v]),)) for v in (11.0, 12.0, 13.0, 15.0)],
        (tg.softmax, (np.array([19.0, 0.0, 0.0]),)),
        (normalised, (np.full(3, 5.53275414),)),
        *[(vae, (scale * V, scale * V[::-1])) for scale in (0.0, 1e-3, 1e-5)],
        (kl, (V, V)),
        (kl, (1e-6 * V, 1e-6 * V[::-1])),
        (cosine, (V, 2 * V)),
        (lambda x: 1e30 * x * x, (V,)),
        (lambda x: (1e6 + x) - 1e6, (V,)),
    ],
)
def test_rounding_of_what_is_large_on_the_way_is_no_error(f: Any, inputs: Any) -> None:
    assert check_gradients(f, *inputs).status == "pass"


@pytest.mark.parametrize("seed", range(6))
def test_saturated_nets_are_not_blamed_in_low_precision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, u = ((3 * rng.normal(size=s)).astype(np.float32) for s in ((3, 4), (4, 5), (5, 2)))
    assert check_gradients(lambda x, w, u: tg.tanh(tg.tanh(x @ w) @ u), x, w, u).status == "pass"


@settings(max_examples=25)
@given(strategies.sequences("gru", max_steps=1), strategies.sequences("lstm", max_steps=1))
def test_one_step_is_the_same_in_two_calls(gru: Any, lstm: Any) -> None:
    """Unrecorded, one step takes the reference, which rounds otherwise."""
    check_gradients(tg.gru, *gru, order=1)
    check_gradients(tg.lstm, *lstm, order=1)


def test_a_function_may_take_gradients_itself() -> None:
    def penalised(x: Any) -> Any:
        y = (x**3).sum()
        (g,) = tg.gradients(y, [x], create_graph=True)
        return y + (g**2).sum()

    assert check_gradients(penalised, V).status == "pass"


# ---- kinks -------------------------------------------------------------------------------------------------------


def test_where_kinks_meet_each_op_speaks_for_itself() -> None:
    verdict = check_gradients(lambda x: tg.relu(x) - 2 * tg.relu(-x), np.zeros(1))
    assert verdict.at_kink and "is made of subgradients (relu has a kink here), beside the slopes" in str(verdict)
    w = RNG.normal(size=(1, 1, 3, 3))
    assert check_gradients(lambda x, w: tg.max_pool2d(tg.conv2d(x, w), 2), np.zeros((1, 1, 6, 6)), w).at_kink
    assert check_gradients(lambda x, w: (x @ w).max() ** 2, np.zeros(3), RNG.normal(size=(3, 4))).at_kink


def test_a_function_may_be_smooth_where_its_ops_have_kinks() -> None:
    verdict = check_gradients(lambda a, b: tg.minimum(a, tg.maximum(a, b)), np.zeros(()), np.zeros(()))  # it is a
    assert (
        verdict.at_kink and verdict.order == 2 and "is made of subgradients (maximum has a kink here)" in str(verdict)
    )
    for cut in (lambda x: tg.relu(x).sum() + (x.data * x).sum(), lambda x: tg.relu(x * x.data)):
        with pytest.raises(GradientError, match="beside a kink at these inputs"):
            check_gradients(cut, np.array([0.0, 1.0]))


def test_where_kinks_meet_what_is_wrong_is_still_found() -> None:
    @tg.primitive("rectifier", domain=[(-1, 1)])
    def twice_relu(x: Any) -> Any:
        return (x > 0) * x

    twice_relu.vjp(x=lambda g, x: 2 * g * (x >= 0))
    with pytest.raises(GradientError, match="the op to blame is twice_relu"):
        check_gradients(lambda x: twice_relu(x) - 2 * twice_relu(-x), np.zeros(1))


def test_a_kink_hides_nothing_beside_it() -> None:
    @tg.primitive("second wrong", domain=None, method=False)
    def second_wrong(x: Any) -> Any:
        return x * x * x

    second_wrong.vjp(x=lambda g, x: g * (x.data if isinstance(x, tg.Tensor) else x) * x * 3)
    f = lambda x, y: tg.relu(x).sum() + second_wrong(y).sum()
    with pytest.raises(
        GradientError, match=r"second derivative is wrong for input 'y'(.*\n)*.*, beside a kink at these"
    ):
        check_gradients(f, np.zeros(20), V)
    assert check_gradients(f, np.zeros(20), V, order=1).at_kink
    assert check_gradients(lambda x: tg.relu(x).sum(), np.zeros(20)).order == 2


def test_a_kink_hides_nothing_in_low_precision_or_on_its_other_side() -> None:
    @tg.primitive("tanh", domain=None, method=False)
    def wrong_in_float32(x: Any) -> Any:
        return xp(x).tanh(x)

    wrong_in_float32.vjp(x=lambda g, y: g * (1 - y * y) * (1.5 if y.dtype == np.float32 else 1.0))
    x = np.array([0.0, 1.0, -1.0], np.float32)
    with pytest.raises(GradientError, match="the gradient in float32 is"):
        check_gradients(lambda x: tg.relu(x) + wrong_in_float32(x), x, order=1)

    @tg.primitive("ramp", domain=None, method=False)
    def steeper_than_it_says(x: Any) -> Any:
        return xp(x).maximum(x, 0) * 1.01

    steeper_than_it_says.vjp(x=lambda g, x: g * (x > 0))
    for seed in range(4):
        with pytest.raises(GradientError, match="beside a kink at these inputs"):
            check_gradients(steeper_than_it_says, np.zeros(1), rng=seed)


def test_in_low_precision_what_is_small_beside_its_rounding_is_still_seen() -> None:
    """Along a random direction the slopes of a deep net cancel; along the steepest nothing does."""
    ws = [(RNG.normal(size=(64, 64)) / 8).astype(np.float32) for _ in range(20)]

    def cut(x: Any) -> Any:
        s = tg.tanh(x.astype("float32"))
        for w in ws:
            s = tg.tanh(s @ tg.tensor(w))
        return tg.mean((s - s.mean().detach()) / s.std().detach() * s)

    with pytest.raises(GradientError, match="the gradient is wrong"):
        check_gradients(cut, RNG.normal(size=(16, 64)), order=1)


def test_one_kink_in_a_large_array_is_found_in_few_looks() -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(1)
        return tg.relu(x)

    x = np.where(np.arange(2500) == 77, 0.0, 1 + RNG.random(2500)).reshape(50, 50)
    assert "element (1, 27): " in str(check_gradients(f, x, order=1)) and len(calls) < 10_000


def test_an_infinite_slope_is_called_one() -> None:
    told = r"it is nan, where the function is finite\n  every op passes by itself: an infinite slope meets 0"
    with pytest.raises(GradientError, match=told):
        check_gradients(lambda x: tg.abs(x) ** 1.5, np.zeros(2))


# ---- inputs that are none ------------------------------------------------------------------------------------------


def test_what_raises_while_an_input_is_moved_says_so() -> None:
    with pytest.raises(ValueError, match="targets are probabilities") as told:
        check_gradients(tg.binary_cross_entropy_with_logits, V, np.array([0.0, 1.0, 1.0]))
    (note,) = told.value.__notes__
    assert "had moved input 'targets' by up to" in note and "close over it" in note
    with pytest.raises(TypeError, match="no gradient can flow into 'a_min'") as told_too:
        check_gradients(tg.clip, V, -0.5, 0.5)
    assert "What is not meant so is closed over" in told_too.value.__notes__[0]


def test_outputs_that_are_no_numbers_are_passed_over() -> None:
    assert check_gradients(lambda x: {"loss": x * x, "name": "k", "state": None}, V).status == "pass"


@pytest.mark.host
def test_another_byte_order_is_no_other_dtype() -> None:
    assert check_gradients(tg.tanh, V.astype(">f8")).status == "pass"


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_two_backwards_add_exactly_twice_on_the_host_and_but_for_rounding_on_a_device(place: str, cuda: Any) -> None:
    off, calls = [0.0], itertools.count()

    @tg.primitive("in any order", domain=None, method=False)
    def in_any_order(x: Any) -> Any:
        return 1.0 * x

    in_any_order.vjp(x=lambda g: g * (1 + off[0] * (next(calls) % 2)))
    x = tg.tensor(V, device=place)
    assert check_gradients(in_any_order, x, order=1).status == "pass"
    off[0] = 4 * np.finfo(np.float64).eps
    if place == "cuda":
        assert check_gradients(in_any_order, x, order=1).status == "pass"
        off[0] = 1e-9
    with pytest.raises(GradientError, match="two backwards did not add exactly twice"):
        check_gradients(in_any_order, x, order=1)


def test_a_joint_rule_is_tried_with_each_argument_alone() -> None:
    @tg.primitive("product", domain=[(-2, 2)] * 2, reference=lambda a, b: a * b, method=False)
    def product(a: Any, b: Any) -> Any:
        return a * b, None

    def swapped(g: Any, a: Any, b: Any, needs: Any) -> Any:
        return (g * b, g * a) if all(needs) else (g * a if needs[0] else None, g * b if needs[1] else None)

    product.joint_vjp(swapped)
    with pytest.raises(GradientError, match="product: argument 0 has another gradient where no other argument needs"):
        check_op(product)


def test_cross_entropy_of_probabilities_has_its_slope_at_0() -> None:
    assert check_gradients(tg.cross_entropy, RNG.normal(size=(2, 3)), np.eye(3)[[0, 2]]).status == "pass"
    t = tg.tensor(np.eye(3)[[0]], requires_grad=True)
    z = np.array([[1.0, 2.0, 0.0]])
    tg.cross_entropy(tg.tensor(z), t).backward()
    np.testing.assert_allclose(host(t.grad), np.log(np.exp(z).sum()) - z)

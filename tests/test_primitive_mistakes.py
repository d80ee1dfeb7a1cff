"""What a user may get wrong in an op of their own is told, and names mean what a reader would think."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests.helpers import leaf
from tinygrad7.op import REGISTRY
from tinygrad7.tensor import Tensor

pytestmark = pytest.mark.usefixtures("forget")


def test_an_argument_called_y_is_the_argument_and_not_the_output() -> None:
    @tg.primitive("xy", domain=[(-2, 2), (-2, 2)])
    def product(x: Any, y: Any) -> Any:
        return x * y

    product.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)
    x, y = leaf([1.0, 2.0]), leaf([5.0, 7.0])
    product(x, y).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 7])
    np.testing.assert_array_equal(y.grad, [1, 2])
    tg.testing.check_op(product)


def test_residuals_are_of_fused_ops_alone() -> None:
    @tg.primitive
    def plain_op(x: Any) -> Any:
        return x * 2

    with pytest.raises(
        TypeError, match=r"plain_op: a rule names 'residuals', which is neither g, y nor one of \['x'\]"
    ):
        plain_op.vjp(x=lambda g, residuals: g)


def test_a_rule_takes_the_cotangent_first_and_is_named() -> None:
    @tg.primitive
    def cubed(x: Any) -> Any:
        return x * x * x

    with pytest.raises(TypeError, match=r"cubed: the rule of 'x' must take the cotangent first.*lambda g, x: \.\.\."):
        cubed.vjp(x=lambda x: 3 * x * x)
    with pytest.raises(TypeError, match=r"cubed.vjp: name the argument that a rule is for, cubed.vjp\(x=lambda g: "):
        cubed.vjp(lambda g, x: 3 * g * x * x)


def test_a_rule_may_make_constants_with_tensor_and_may_not_give_complex_numbers() -> None:
    @tg.primitive
    def squared(x: Any) -> Any:
        return x * x

    squared.vjp(
        x=lambda g, x: g * tg.tensor(2.0, dtype="float64", device="cpu" if not hasattr(x, "device") else None) * x
    )
    x = leaf([1.0, 2.0])
    (squared(x).sum() + squared(x).sum()).backward()
    assert not isinstance(x.grad, Tensor)
    np.testing.assert_array_equal(x.grad, [4, 8])

    @tg.primitive
    def turned(x: Any) -> Any:
        return x * 1.0

    turned.vjp(x=lambda g: g * (1 + 1j))
    with pytest.raises(
        TypeError, match="turned: the rule of 'x' must return .* an array, it returned an array of complex"
    ):
        turned(leaf()).sum().backward()


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (lambda g, a, b: None, r"must return a tuple of the cotangents of \(a, b\), it returned a NoneType"),
        (lambda g, a, b: (g,), r"must return a tuple of the cotangents of \(a, b\), it returned 1 values"),
        (lambda g, a, b: (g, g, g), r"must return a tuple of the cotangents of \(a, b\), it returned 3 values"),
        (lambda g, a, b: (g, [1.0]), r"must return the cotangent of 'b', an array, it returned a list"),
        (lambda g, a, b: {"a": g, "b": g}, r"must return a tuple of the cotangents of \(a, b\), it returned a dict"),
    ],
)
def test_a_joint_rule_gives_a_cotangent_for_each_argument(parts: Any, told: str) -> None:
    @tg.primitive(reference=lambda a, b: a + b)
    def fused_sum(a: Any, b: Any) -> Any:
        return a + b, None

    fused_sum.joint_vjp(parts)
    with pytest.raises(TypeError, match=f"fused_sum: the joint rule {told}"):
        fused_sum(leaf(), leaf()).sum().backward()


def test_a_fused_op_that_forgets_its_residuals_is_told_whatever_its_shape() -> None:
    @tg.primitive(reference=lambda a: tg.tanh(a))
    def forgetful(a: Any) -> Any:
        return a * 1.0

    for shape in ((2, 3), (3,)):
        with pytest.raises(TypeError, match=r"forgetful: .* must return \(an array, residuals\), it returned an array"):
            forgetful(tg.zeros(shape))


def test_as_many_outputs_as_announced() -> None:
    @tg.primitive(outputs=2)
    def three(a: Any) -> Any:
        return a, a, a

    with pytest.raises(TypeError, match="three: the forward function returned 3 arrays, not outputs=2"):
        three(tg.tensor([1.0]))


def test_what_cannot_be_declared_is_refused_at_once() -> None:
    def named(x: Any, k: Any) -> Any:
        return x * k

    for static in ("k", ("zz",)):
        with pytest.raises(TypeError, match=r"primitive: static=.* must be a tuple of arguments of named\(x, k\)"):
            tg.primitive(static=static)(named)  # type: ignore[arg-type]

    @tg.primitive(reference=lambda *xs: xs[0])
    def variadic(*xs: Any) -> Any:
        return xs[0], None

    with pytest.raises(TypeError, match=r"variadic.joint_vjp: a fused op names each of its arguments, without \*xs"):
        variadic.joint_vjp(lambda g, xs: (g,))


def test_an_op_is_a_method_where_tensors_have_nothing_of_that_name() -> None:
    @tg.primitive(method="doubled_up")
    def twice_as_much(x: Any) -> Any:
        return x * 2.0

    twice_as_much.vjp(x=lambda g: 2 * g)
    assert leaf([1.0]).doubled_up().item() == 2.0
    assert not hasattr(Tensor, "twice_as_much")

    @tg.primitive(method=False)
    def function_only(x: Any) -> Any:
        return x * 2.0

    assert not hasattr(Tensor, "function_only")

    @tg.primitive
    def item(x: Any) -> Any:
        return x * 2.0

    assert leaf([1.0]).item() == 1.0  # what tensors have stays theirs
    with pytest.raises(ValueError, match="primitive: tensors have a method 'sum' already; choose another name"):
        tg.primitive(method="sum")(lambda x: x)


def test_a_method_is_that_of_the_op_as_it_was_given_last() -> None:
    for factor in (2.0, 3.0):

        @tg.primitive
        def made_larger(x: Any, factor: Any = factor) -> Any:
            return x * factor

    assert tg.tensor([1.0]).made_larger().item() == 3.0
    with pytest.raises(TypeError, match=r"made_larger: no gradient can flow into 'x', which has no rule: give it one"):
        leaf([1.0]).made_larger()


def test_steps_inside_the_reference_of_a_users_op_are_found() -> None:
    def unrolled(w: Any) -> Any:
        with tg.step(0):
            h = w * 2
        with tg.step(1):
            return h * w

    @tg.primitive(reference=unrolled)
    def two_steps(w: Any) -> Any:
        return 2 * w * w, None

    two_steps.joint_vjp(lambda g, w: (4 * g * w,))
    w = leaf([3.0])
    (parts,) = tg.diagnose.gradients_by_step(two_steps(w).sum(), w)
    assert {step: part.tolist() for step, part in parts.items()} == {0: [6.0], 1: [6.0]}


@pytest.mark.parametrize("join", [tg.stack, tg.concatenate])
def test_joining_many_tensors_takes_time_in_proportion(join: Any) -> None:
    """Counted in steps of the plan, not in seconds: each source of a saved value is looked up, not searched for."""
    x = leaf([1.0, 2.0])
    y = join([x * float(i % 3) for i in range(3000)])
    assert len(REGISTRY[join.__name__].plans) <= 256
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [3000.0, 3000.0])


def test_plans_for_every_choice_of_live_tensors_are_not_kept_for_ever() -> None:
    rng, w = np.random.default_rng(0), leaf([1.0])
    for _ in range(400):
        parts = [w if live else tg.tensor([1.0]) for live in rng.random(12) < 0.5]
        tg.stack(parts)
    assert len(REGISTRY["stack"].plans) <= 256
